"""A small galaxy whose runs have several blocks of rows."""

import numpy as np
import pytest
from astropy.io import fits

from betis import fitting, pipeline
from betis.mock import MockOptions, make_galaxy, write_cube

TABLES = {
    "prepare": {"redshift": 0.01},
    "binning": {"method": "spaxel"},
    "continuum": {"engine": "polynomial"},
}
BLOCK = 20


def small_blocks(n_row):
    for first in range(0, n_row, BLOCK):
        yield slice(first, min(first + BLOCK, n_row))


@pytest.fixture(autouse=True)
def blocks_of_20(monkeypatch):
    """Few rows a block, so that a small galaxy has several."""
    monkeypatch.setattr(fitting, "blocks", small_blocks)


@pytest.fixture(scope="session")
def cube(tmp_path_factory):
    """A MUSE cube of 8 x 8 spaxels."""
    path = tmp_path_factory.mktemp("cube") / "galaxy.fits"
    options = MockOptions(n_y=8, n_x=8, wave_min=4800.0, wave_max=7000.0)
    write_cube(make_galaxy(options), path)
    return path


@pytest.fixture(scope="session")
def undisturbed(cube, tmp_path_factory):
    """The folder of a run that nothing has happened to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting, "blocks", small_blocks)
        run(cube, folder)
    return folder


def run(cube, folder, until="report", **compute):
    """Run the pipeline on the cube, with options of the table compute."""
    tables = {**TABLES, "compute": compute}
    pipeline.execute(pipeline.open_run(folder, cube, tables), until)


def content(path):
    """Return what a FITS file holds, its header's dates aside."""
    with fits.open(path) as hdus:
        cards = [
            {key: value for key, value in hdu.header.items() if key not in _DATED} for hdu in hdus
        ]
        return cards, [None if hdu.data is None else np.array(hdu.data).tobytes() for hdu in hdus]


_DATED = ("CHECKSUM", "DATASUM", "DATE", "", "COMMENT", "HISTORY")


def assert_same_products(one, other):
    """Two run folders hold the same products, to the last bit."""
    names = sorted(path.name for path in one.glob("*.fits"))
    assert names == sorted(path.name for path in other.glob("*.fits"))
    assert len(names) >= 8
    for name in names:
        assert content(one / name) == content(other / name), name
