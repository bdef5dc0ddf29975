"""A map's sum is the sum of its bins, and it knows where it is on the sky."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from tests.cubes import WCS as CARDS
from tests.io.test_products import SKY, snr_map
from tests.io.test_row_products import line_fit

from betis.binning.quadtree import quadtree
from betis.errors import InputError
from betis.maps import make_maps
from betis.options import BinningOptions


@pytest.fixture
def painted():
    measured = snr_map()
    bins = quadtree(measured.signal, measured.noise, BinningOptions())
    return bins, line_fit(bins.n_bin)


def test_flux_is_conserved_and_the_rest_is_painted_as_it_is(painted):
    bins, fit = painted
    maps = make_maps(bins, fit)
    np.testing.assert_allclose(
        np.nansum(maps["FLUX"], axis=(1, 2)), fit.flux.sum(0), rtol=1e-10, atol=1e-12
    )
    inside = bins.bin_id >= 0
    velocity = maps.line("VELOCITY", "Ha6563")
    assert np.array_equal(velocity[inside], fit.velocity[bins.bin_id[inside], 1])
    assert np.isnan(velocity[~inside]).all()
    assert (maps["FLAGS"][:, ~inside] == -1).all()


def test_errors_scale_as_fluxes_do(painted):
    bins, fit = painted
    maps = make_maps(bins, fit)
    inside = bins.bin_id >= 0
    row = bins.bin_id[inside]
    np.testing.assert_allclose(
        (maps["FLUX"][0] / maps["FLUX_ERR"][0])[inside], fit.flux[row, 0] / fit.flux_err[row, 0]
    )


def test_the_file_names_its_planes_units_and_place(painted, tmp_path):
    make_maps(*painted).write(tmp_path / "maps.fits")
    names = [
        "FLUX",
        "FLUX_ERR",
        "VELOCITY",
        "VELOCITY_ERR",
        "SIGMA",
        "SIGMA_ERR",
        "EW",
        "EW_ERR",
        "SNR",
        "FLAGS",
    ]
    with fits.open(tmp_path / "maps.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "BINID", *names]
        for name in names:
            header = hdus[name].header
            assert [header[f"LINE{i}"] for i in (1, 2, 3)] == ["Hb4861", "Ha6563", "SII6731"]
            assert "CHECKSUM" in header
            assert "BUNIT" in header
        place = WCS(hdus["FLUX"].header).celestial.pixel_to_world(2, 3)
        assert place.separation(WCS(fits.Header(CARDS)).pixel_to_world(2, 3)).arcsec < 1e-6
        assert hdus["FLUX"].shape == (3, *SKY.shape)


def test_fits_of_other_bins_are_refused(painted):
    bins, _ = painted
    with pytest.raises(InputError, match=rf"{bins.n_bin} bins and {bins.n_bin + 1} fitted rows"):
        make_maps(bins, line_fit(bins.n_bin + 1))


def test_an_unknown_line_is_refused(painted):
    with pytest.raises(InputError, match="no map of Xx1; the lines are Hb4861"):
        make_maps(*painted).line("FLUX", "Xx1")
