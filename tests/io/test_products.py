"""Each product to disk and back is the same product."""

from dataclasses import fields

import numpy as np
import pytest
from astropy.io import fits
from tests.cubes import WAVE, WCS

from betis.binning.quadtree import quadtree
from betis.io import products as files
from betis.io.wcs import celestial_cards
from betis.linelist import load_line_set
from betis.options import BinningOptions
from betis.products import ContinuumFit, LineFit, Sky, SnrMap, Spectra

SKY = Sky(shape=(6, 8), wcs=celestial_cards(fits.Header(WCS)), flux_scale=1e-20)
RNG = np.random.default_rng(0)
CARDS = {"BETISKEY": "abc"}


def same(one, two):
    for item in fields(one):
        a, b = getattr(one, item.name), getattr(two, item.name)
        if isinstance(a, Sky):
            assert (a.shape, a.flux_scale) == (b.shape, b.flux_scale)
            assert b.wcs["CRVAL1"] == a.wcs["CRVAL1"]
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=item.name)
            assert a.dtype == b.dtype, item.name
        else:
            assert a == b, item.name


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


def test_bins(tmp_path):
    measured = snr_map()
    bins = quadtree(measured.signal, measured.noise, BinningOptions(correlation=0.2))
    files.write_bins(tmp_path / "bins.fits", bins, SKY, CARDS)
    same(bins, files.read_bins(tmp_path / "bins.fits"))
    table = fits.getdata(tmp_path / "bins.fits", "BINS")
    assert list(table.names) == ["bin_id", "x", "y", "n_spaxel", "area", "snr", "flags"]
    np.testing.assert_allclose(table["area"], bins.n_spaxel * (5.5e-5 * 3600) ** 2, rtol=1e-6)


def spectra():
    flux = RNG.normal(5, 1, (4, WAVE.size))
    flux[1, 7] = np.nan
    return Spectra(
        WAVE, flux, np.ones_like(flux), lsf=2.6, redshift=0.01, n_spaxel=[1, 2, 3, 4], sky=SKY
    )


def test_spectra(tmp_path):
    first = spectra()
    files.write_spectra(tmp_path / "spectra.fits", first, CARDS)
    same(first, files.read_spectra(tmp_path / "spectra.fits"))
    np.testing.assert_array_equal(fits.getdata(tmp_path / "spectra.fits", "WAVE"), first.wave)


def test_continuum(tmp_path):
    rows = {
        item.name: RNG.normal(size=4)
        for item in fields(ContinuumFit)
        if item.name not in {"model", "weights", "used", "flags", "core_wave", "core_err"}
    }
    fit = ContinuumFit(
        model=RNG.normal(size=(4, WAVE.size)),
        weights=RNG.uniform(size=(4, 9)),
        used=RNG.uniform(size=(4, WAVE.size)) > 0.5,
        flags=np.arange(4, dtype=np.int32),
        core_wave=np.array([6563.0, 6583.0]),
        core_err=RNG.uniform(size=(4, 2)),
        **rows,
    )
    files.write_continuum(tmp_path / "continuum.fits", fit, SKY, CARDS)
    same(fit, files.read_continuum(tmp_path / "continuum.fits"))


def line_fit(n_row=4):
    per_line = {name: RNG.normal(size=(n_row, 3)) for name in files._PER_LINE if name != "flags"}
    return LineFit(
        names=("Hb4861", "Ha6563", "SII6731"),
        flags=RNG.integers(0, 64, (n_row, 3)).astype(np.int32),
        group=np.array([0, 1, 1], dtype=np.int32),
        chi2=RNG.normal(size=(n_row, 2)),
        dof=RNG.normal(size=(n_row, 2)),
        bic=RNG.normal(size=(n_row, 2)),
        n_iter=RNG.integers(1, 9, (n_row, 2)).astype(np.int32),
        background=RNG.normal(size=(n_row, 2, 2)),
        background_wave=np.array([4861.0, 6600.0]),
        sky=SKY,
        **per_line,
    )


def test_lines(tmp_path):
    fit = line_fit()
    files.write_lines(tmp_path / "lines.fits", fit, load_line_set().select(fit.names), CARDS)
    same(fit, files.read_lines(tmp_path / "lines.fits"))
    known = fits.getdata(tmp_path / "lines.fits", "LINELIST")
    assert list(known["line"]) == list(fit.names)
    assert known["air"][1] == 6562.80
    table = fits.getdata(tmp_path / "lines.fits", "LINES")
    assert len(table) == 12
    assert table["line"][1] == "Ha6563"
    assert table["flux"][4] == fit.flux[1, 1]
    assert {"chi2", "dof", "bic", "n_iter", "upper_limit", "flux_direct"} <= set(table.names)


@pytest.mark.parametrize("scale", [0.0, 1e-17])
def test_units_are_fits_units(scale):
    from astropy.units import Unit

    text = files.flux_unit(Sky(shape=(1, 1), flux_scale=scale), density=True)
    if scale:
        parsed = Unit(text, format="fits")
        assert parsed.to("erg / (s cm2 Angstrom)") == pytest.approx(scale)
    else:
        assert text == ""
