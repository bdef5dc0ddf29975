"""Each product to disk and back is the same product."""

import numpy as np
import pytest
from astropy.io import fits
from tests.cubes import WCS
from tests.io.same import same

from betis.binning.quadtree import quadtree
from betis.io import products as files
from betis.io.wcs import celestial_cards
from betis.options import BinningOptions
from betis.products import Sky, SnrMap

SKY = Sky(shape=(6, 8), wcs=celestial_cards(fits.Header(WCS)), flux_scale=1e-20)
RNG = np.random.default_rng(0)
CARDS = {"BETISKEY": "abc"}


def snr_map():
    noise = RNG.uniform(1, 2, SKY.shape)
    signal = RNG.uniform(0, 9, SKY.shape)
    signal[0, 0] = np.nan
    return SnrMap(
        signal=signal,
        noise=noise,
        line="SII6731",
        method="matched",
        velocity=RNG.normal(0, 50, SKY.shape),
        continuum=RNG.normal(9, 1, SKY.shape),
        sigma=50.0,
    )


def test_snr_map(tmp_path):
    files.write_snr(tmp_path / "snr.fits", snr_map(), SKY, CARDS)
    assert files.read_key(tmp_path / "snr.fits") == "abc"
    with fits.open(tmp_path / "snr.fits") as hdus:
        assert [hdu.name for hdu in hdus][1:4] == ["SIGNAL", "NOISE", "SNR"]
        assert all("CHECKSUM" in hdu.header for hdu in hdus)
        assert hdus["SIGNAL"].header["BUNIT"] == "10**(-20) erg s-1 cm-2"
    first = snr_map()
    files.write_snr(tmp_path / "snr.fits", first, SKY, CARDS)
    same(first, files.read_snr(tmp_path / "snr.fits"))


@pytest.mark.parametrize("correlation", [0.2, "manga", "gaussian:1.2"])
def test_bins(tmp_path, correlation):
    measured = snr_map()
    bins = quadtree(measured.signal, measured.noise, BinningOptions(correlation=correlation))
    files.write_bins(tmp_path / "bins.fits", bins, SKY, CARDS)
    same(bins, files.read_bins(tmp_path / "bins.fits"))
    table = fits.getdata(tmp_path / "bins.fits", "BINS")
    facts = ["bin_id", "x", "y", "n_spaxel", "area", "snr", "flags", "growth"]
    assert list(table.names) == facts
    np.testing.assert_allclose(table["area"], bins.n_spaxel * (5.5e-5 * 3600) ** 2, rtol=1e-6)


def test_bins_without_a_growth_of_the_noise_follow_the_law(tmp_path):
    measured, path = snr_map(), tmp_path / "bins.fits"
    bins = quadtree(measured.signal, measured.noise, BinningOptions(correlation=0.2))
    files.write_bins(path, bins, SKY, CARDS)
    with fits.open(path, mode="update") as hdus:
        hdus["BINS"].columns.del_col("growth")
    np.testing.assert_array_equal(files.read_bins(str(path)).growth, bins.growth)
    assert bins.growth.max() > 1


@pytest.mark.parametrize("scale", [0.0, 1e-17])
def test_units_are_fits_units(scale):
    from astropy.units import Unit

    text = files.flux_unit(Sky(shape=(1, 1), flux_scale=scale), density=True)
    if scale:
        parsed = Unit(text, format="fits")
        assert parsed.to("erg / (s cm2 Angstrom)") == pytest.approx(scale)
    else:
        assert text == ""
