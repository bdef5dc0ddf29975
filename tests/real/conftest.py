"""Runs on real galaxies that several files look at."""

import pytest
from tests.real import sami_maps

import betis


@pytest.fixture(scope="session")
def sami_run(test_data, tmp_path_factory):
    """The folder and the maps of a whole run on both arms of 41144 A, in the survey's sectors."""
    blue, red = (test_data / "sami" / f"41144_A_sectors_{arm}.fits.gz" for arm in ("blue", "red"))
    output = tmp_path_factory.mktemp("sami") / "run"
    return output, betis.run(
        blue,
        redshift=0.02964,
        output=output,
        arm=red,
        binning=f"{blue}[BIN_MASK]",
        snr_line="NII6583",
    )


@pytest.fixture(scope="session")
def sectors(sami_run, test_data, tmp_path_factory):
    """The sectors of the two observations of SAMI's 41144."""
    other = tmp_path_factory.mktemp("sami") / "B"
    sami_maps.run_sectors(test_data / "sami", "41144_B", other)
    return {
        "41144_A": sami_maps.sectors_of(sami_run[0]),
        "41144_B": sami_maps.sectors_of(other),
    }
