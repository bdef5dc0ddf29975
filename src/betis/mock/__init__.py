"""Mock galaxies with known truth, written as an instrument writes its cubes.

::

    galaxy = make_galaxy(MockOptions(seed=3))
    write_muse(galaxy, "mock.fits")                  # and mock_truth.fits beside it
    truth = read_truth("mock_truth.fits")
    recovery = compare(truth, bins.bin_id, lines, continuum)
"""

from betis.mock.galaxy import Galaxy, make_galaxy
from betis.mock.muse import truth_path, write_muse
from betis.mock.options import MockOptions
from betis.mock.recovery import LineRecovery, Recovery, StellarRecovery, compare
from betis.mock.truth import Truth, read_truth, write_truth

__all__ = [
    "Galaxy",
    "LineRecovery",
    "MockOptions",
    "Recovery",
    "StellarRecovery",
    "Truth",
    "compare",
    "make_galaxy",
    "read_truth",
    "truth_path",
    "write_muse",
    "write_truth",
]
