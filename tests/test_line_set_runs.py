"""A line set chosen on the command line goes through the whole pipeline."""

import numpy as np
import pytest
from astropy.io import fits

from betis.cli import main
from betis.linelist import load_line_set

BETIS41 = load_line_set("betis41")


@pytest.fixture(scope="module")
def folder(mock_cube, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "galaxy"
    arguments = ["run", str(mock_cube), "-z", "0.01", "--continuum", "none", "-o", str(path)]
    assert main([*arguments, "--line-set", "betis41", "--target-snr", "30"]) == 0
    return path


def test_the_lines_and_maps_are_those_of_the_set(folder):
    with fits.open(folder / "lines.fits") as hdus:
        listed = hdus["LINELIST"].data
        assert [str(name) for name in listed["line"]] == list(BETIS41.names)
        flux = hdus["LINES"].data["flux"].reshape(-1, len(BETIS41.names))
    absorbed = np.array([line.absorption for line in BETIS41.lines])
    assert not np.any(flux[:, absorbed] > 0)
    assert not np.any(flux[:, ~absorbed] < 0)
    with fits.open(folder / "maps.fits") as hdus:
        header = hdus["FLUX"].header
        named = [header[f"LINE{i + 1}"] for i in range(len(BETIS41.names))]
        assert named == list(BETIS41.names)
        halpha = hdus["FLUX"].data[named.index("Ha6563")]
    np.testing.assert_allclose(np.nansum(halpha), flux[:, BETIS41.names.index("Ha6563")].sum())
    assert (folder / "report.html").stat().st_size > 1e5


def test_the_list_of_lines_has_the_kinematics_of_the_fit(folder, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('[lines]\nkinematics = "one"\n')
    assert main(["lines", str(folder), "-c", str(own), "--line-set", "standard"]) == 0
    with fits.open(folder / "lines.fits") as hdus:
        listed = hdus["LINELIST"].data
        shared = {str(name) for name in listed["kinematics"]}
        velocity = hdus["LINES"].data["velocity"].reshape(-1, len(listed))
    assert shared == {"gas", "NaI"}
    gas = np.array([str(name) == "gas" for name in listed["kinematics"]])
    spread = np.nanmax(velocity[:, gas], axis=1) - np.nanmin(velocity[:, gas], axis=1)
    assert np.all(spread < 1e-6)
