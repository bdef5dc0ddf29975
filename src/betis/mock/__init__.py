"""Mock galaxies with known truth, written as an instrument writes its cubes.

::

    galaxy = make_galaxy(MockOptions(seed=3))
    write_cube(galaxy, "mock.fits")                  # and mock_truth.fits beside it
    truth = read_truth("mock_truth.fits")
    recovery = compare(truth, bins.bin_id, lines, continuum)
"""

from betis.mock.files import cube_paths, truth_path, write_cube
from betis.mock.galaxy import Galaxy, make_galaxy
from betis.mock.instruments import INSTRUMENTS
from betis.mock.options import MockOptions
from betis.mock.recovery import LineRecovery, Recovery, StellarRecovery, compare
from betis.mock.truth import Truth, read_truth, write_truth

__all__ = [
    "INSTRUMENTS",
    "Galaxy",
    "LineRecovery",
    "MockOptions",
    "Recovery",
    "StellarRecovery",
    "Truth",
    "compare",
    "cube_paths",
    "make_galaxy",
    "read_truth",
    "truth_path",
    "write_cube",
    "write_truth",
]
