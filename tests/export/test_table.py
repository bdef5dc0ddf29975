"""``betis export table``: the lines of every bin, for programs that want a table."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from betis.cli import main
from betis.io.products import read_bins


@pytest.mark.parametrize("suffix", [".ecsv", ".csv"])
def test_the_table_is_that_of_the_run_with_its_units_and_places(suffix, finished_run, tmp_path):
    path = tmp_path / f"lines{suffix}"
    assert main(["export", "table", str(finished_run), "-o", str(path)]) == 0
    table = Table.read(path)
    known = fits.getdata(finished_run / "lines.fits", "LINES")
    bins = read_bins(finished_run / "bins.fits")
    assert len(table) == len(known)
    for name in ("flux", "velocity", "flags"):
        np.testing.assert_array_equal(np.ma.filled(table[name], np.nan), known[name])
    if suffix == ".ecsv":
        assert str(table["velocity"].unit) == "km / s"
    y, x = bins.centers
    np.testing.assert_allclose(table["x"], x[known["bin_id"]])
    np.testing.assert_allclose(table["y"], y[known["bin_id"]])


def test_a_name_that_says_no_format_is_refused(finished_run, tmp_path, capsys):
    assert main(["export", "table", str(finished_run), "-o", str(tmp_path / "x.doc")]) == 2
    assert "end its name in one of .ecsv" in capsys.readouterr().err
