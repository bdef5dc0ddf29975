"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

import betis
from betis import compute
from betis.mock import MockOptions, make_galaxy, write_cube

compute.configure()
settings.register_profile("betis", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("betis")

_DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data: ``BETIS_TEST_DATA``, or ``../shared/data`` beside the checkout."""
    folder = Path(os.environ.get("BETIS_TEST_DATA", _DEFAULT_DATA))
    if not folder.is_dir():
        if os.environ.get("BETIS_REQUIRE_TEST_DATA"):
            pytest.fail(f"the folder of real data {folder} is absent")
        pytest.skip(f"the folder of real data {folder} is absent; set BETIS_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def mock_cube(tmp_path_factory) -> Path:
    """A mock MUSE cube of 12 x 12 spaxels at z = 0.01, with its truth beside it."""
    path = tmp_path_factory.mktemp("mock") / "galaxy.fits"
    options = MockOptions(n_y=12, n_x=12, snr=40.0, wave_min=4800.0, wave_max=7000.0, seed=3)
    write_cube(make_galaxy(options), path)
    return path


@pytest.fixture(scope="session")
def finished_run(mock_cube, tmp_path_factory) -> Path:
    """The folder of a whole run on the mock cube; not to be changed."""
    folder = tmp_path_factory.mktemp("run") / "galaxy"
    betis.run(mock_cube, redshift=0.01, output=folder)
    return folder
