"""All exported FITS files: whole, standard, summed; and what cannot be exported."""

import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from betis.cli import main
from betis.errors import InputError
from betis.export.files import Image, factor_to, observed_sigma_err, write_images
from betis.io.row_products import read_lines
from betis.lines.measure import intrinsic
from betis.products import Sky


def every_file(files):
    return [path for kind in files.values() for path in fits_in(kind)]


def fits_in(path):
    return sorted(path.rglob("*.fits")) if path.is_dir() else [path]


def test_every_file_is_standard_and_its_checksums_hold(files):
    paths = every_file(files)
    assert len(paths) > 25
    for path in paths:
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            for hdu in hdus:
                assert {"CHECKSUM", "DATASUM"} <= set(hdu.header), (path.name, hdu.name)
                assert hdu.verify_checksum() == hdu.verify_datasum() == 1


def test_images_come_back_as_they_were_written(tmp_path):
    drawn = np.random.default_rng(1).normal(size=(3, 4, 5))
    labels = np.arange(20, dtype=np.int32).reshape(4, 5)
    images = [Image("PRIMARY", drawn, {"A": 1}), Image("errores", labels, {"B": None})]
    write_images(tmp_path / "a.fits", images)
    with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
        assert np.array_equal(hdus[0].data, drawn)
        assert hdus[0].header["A"] == 1
        assert np.array_equal(hdus["errores"].data, labels)
        assert "B" not in hdus[1].header


@given(st.floats(20, 300), st.floats(0.01, 100), st.floats(0, 350))
def test_the_error_of_an_observed_width_is_the_one_that_was_propagated(width, width_err, lsf):
    sigma, sigma_err = intrinsic(*(np.array([value]) for value in (width, width_err, lsf)))
    found = observed_sigma_err(sigma, sigma_err, np.array([width]))
    assert found[0] == pytest.approx(width_err, rel=1e-9)


def test_fluxes_of_an_unknown_scale_are_not_passed_on():
    assert factor_to(1e-17, Sky(shape=(1, 1), flux_scale=1e-20)) == pytest.approx(1e-3)
    with pytest.raises(InputError, match=r"does not know what a flux of 1 .* \[cube\] scale"):
        factor_to(1e-17, Sky(shape=(1, 1)))


@pytest.mark.parametrize("kind", ["dap", "pipe3d", "cube"])
def test_no_file_of_the_run_is_overwritten(kind, run_of_exports, mock_cube, capsys):
    for path in (run_of_exports / "lines.fits", mock_cube):
        before = path.read_bytes()
        assert main(["export", kind, str(run_of_exports), "-o", str(path)]) == 2
        assert "is a file of the run itself" in capsys.readouterr().err
        assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["dap", "pipe3d", "cube", "legacy"])
def test_a_run_without_lines_is_told_how_to_make_them(kind, finished_run, tmp_path, capsys):
    copy = shutil.copytree(finished_run, tmp_path / "galaxy")
    (copy / "lines.fits").unlink()
    assert main(["export", kind, str(copy)]) == 2
    assert "make it with `betis lines" in capsys.readouterr().err
    assert main(["export", kind, str(tmp_path / "nothing")]) == 2
    assert "there is no run folder" in capsys.readouterr().err


def test_exports_leave_the_products_as_they_were(files, run_of_exports, finished_run):
    before = read_lines(finished_run / "lines.fits")
    after = read_lines(run_of_exports / "lines.fits")
    assert np.array_equal(before.flux, after.flux, equal_nan=True)


def test_files_are_read_without_a_warning(files):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in every_file(files):
            with fits.open(path) as hdus:
                assert all(hdu.data is not None or hdu.header["NAXIS"] == 0 for hdu in hdus)
