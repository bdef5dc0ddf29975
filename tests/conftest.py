"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from betis import compute

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
