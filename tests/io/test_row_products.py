"""Spectra, continuum and lines go to disk piece by piece and come back as they were."""

from dataclasses import fields

import numpy as np
import pytest
from astropy.io import fits
from tests.cubes import WAVE, WCS
from tests.io.same import same

from betis.io import row_products as files
from betis.io.fits import _COUNT
from betis.io.stored_lines import PER_LINE
from betis.io.wcs import celestial_cards
from betis.linelist import load_line_set
from betis.products import ContinuumFit, LineFit, RowStream, Sky, Spectra

SKY = Sky(shape=(6, 8), wcs=celestial_cards(fits.Header(WCS)), flux_scale=1e-20)
RNG = np.random.default_rng(0)
CARDS = {"BETISKEY": "abc"}
WHOLE = (slice(0, 4),)
PIECES = (slice(0, 1), slice(1, 4))
SCATTERED = (np.array([3, 0]), np.array([1, 2]))


def stream(product, pieces):
    return RowStream(n_row=4, pieces=((rows, product.take(rows)) for rows in pieces))


def every_way(test):
    return pytest.mark.parametrize(
        "pieces", [WHOLE, PIECES, SCATTERED], ids=["whole", "pieces", "scattered"]
    )(test)


def spectra():
    flux = RNG.normal(5, 1, (4, WAVE.size))
    flux[1, 7] = np.nan
    return Spectra(
        WAVE, flux, np.ones_like(flux), lsf=2.6, redshift=0.01, n_spaxel=[1, 2, 3, 4], sky=SKY
    )


@every_way
def test_spectra(pieces, tmp_path):
    first = spectra()
    files.write_spectra(tmp_path / "spectra.fits", stream(first, pieces), CARDS)
    found = files.read_spectra(tmp_path / "spectra.fits")
    same(first, found.take(slice(None)))
    same(first.take(np.array([2, 0])), found.take(np.array([2, 0])))
    assert (found.n_spectrum, found.medium, found.redshift) == (4, "air", 0.01)
    np.testing.assert_array_equal(found.n_spaxel, first.n_spaxel)
    np.testing.assert_array_equal(fits.getdata(tmp_path / "spectra.fits", "WAVE"), first.wave)
    same(first, files.read_spectra(str(tmp_path / "spectra.fits")).take(slice(None)))


def test_the_mean_flux_of_stored_spectra_is_that_of_those_in_memory(tmp_path):
    first = spectra()
    mask = np.zeros(first.flux.shape, bool)
    mask[2], mask[3, 5:90] = True, True
    first = Spectra(WAVE, first.flux, first.error, mask, sky=SKY)
    files.write_spectra(tmp_path / "spectra.fits", stream(first, WHOLE), CARDS)
    found = files.read_spectra(tmp_path / "spectra.fits").mean_flux()
    np.testing.assert_array_equal(found, first.mean_flux())
    assert np.isnan(found).tolist() == [False, False, True, False]
    assert found[3] == pytest.approx(first.flux[3][~mask[3]].mean())


@every_way
def test_continuum(pieces, tmp_path):
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
    files.write_continuum(tmp_path / "continuum.fits", stream(fit, pieces), SKY, CARDS)
    found = files.read_continuum(tmp_path / "continuum.fits")
    same(fit, found.take(slice(None)))
    same(fit.take(np.array([3, 1])), found.take(np.array([3, 1])))
    np.testing.assert_array_equal(found.table.av, fit.av)
    same(fit, files.read_continuum(str(tmp_path / "continuum.fits")).take(slice(None)))


def line_fit(n_row=4, **more):
    per_line = {name: RNG.normal(size=(n_row, 3)) for name in PER_LINE if name != "flags"}
    return LineFit(
        names=("Hb4861", "Ha6563", "SII6731"),
        flags=RNG.integers(0, 64, (n_row, 3)).astype(np.int32),
        group=np.array([0, 1, 1], dtype=np.int32),
        chi2=RNG.normal(size=(n_row, 2)),
        scatter=RNG.normal(size=(n_row, 2)),
        dof=RNG.normal(size=(n_row, 2)),
        bic=RNG.normal(size=(n_row, 2)),
        n_iter=RNG.integers(1, 9, (n_row, 2)).astype(np.int32),
        background=RNG.normal(size=(n_row, 2, 2)),
        background_wave=np.array([4861.0, 6600.0]),
        sky=SKY,
        **per_line,
        **more,
    )


@every_way
def test_lines(pieces, tmp_path):
    fit = line_fit()
    known = load_line_set().select(fit.names)
    files.write_lines(tmp_path / "lines.fits", stream(fit, pieces), known, CARDS)
    same(fit, files.read_lines(str(tmp_path / "lines.fits")))
    known = fits.getdata(tmp_path / "lines.fits", "LINELIST")
    assert list(known["line"]) == list(fit.names)
    assert known["air"][1] == 6562.80
    table = fits.getdata(tmp_path / "lines.fits", "LINES")
    assert len(table) == 12
    assert table["line"][1] == "Ha6563"
    assert table["flux"][4] == fit.flux[1, 1]
    assert {"chi2", "dof", "bic", "n_iter", "upper_limit", "flux_direct"} <= set(table.names)
    assert {"w80", "w80_err", "sigma_direct", "snr_fixed", "scatter"} <= set(table.names)


@every_way
def test_the_covariance_of_fluxes(pieces, tmp_path):
    fit = line_fit(flux_cov=RNG.normal(size=(4, 3, 3)))
    known = load_line_set().select(fit.names)
    files.write_lines(tmp_path / "lines.fits", stream(fit, pieces), known, CARDS)
    same(fit, files.read_lines(tmp_path / "lines.fits"))
    unit = fits.getheader(tmp_path / "lines.fits", "FLUX_COV")["BUNIT"]
    assert unit == "10**(-40) erg2 s-2 cm-4"


def test_a_file_of_fewer_quantities_is_read_with_nan_for_the_others(tmp_path):
    fit = line_fit()
    path = tmp_path / "lines.fits"
    known = load_line_set().select(fit.names)
    files.write_lines(path, stream(fit, WHOLE), known, CARDS)
    with fits.open(path) as hdus:
        kept = [name for name in hdus["LINES"].columns.names if not name.startswith("w80")]
        hdus["LINES"] = fits.BinTableHDU.from_columns(
            [hdus["LINES"].columns[name] for name in kept], name="LINES"
        )
        del hdus["SCATTER"]
        hdus[0].header[_COUNT] -= 1
        hdus.writeto(tmp_path / "old.fits")
    found = files.read_lines(tmp_path / "old.fits")
    assert np.isnan(found.w80).all()
    assert found.scatter.shape == fit.chi2.shape
    np.testing.assert_array_equal(found.sigma_direct, fit.sigma_direct)


def test_a_file_in_pieces_is_the_file_at_once(tmp_path):
    product = spectra()
    for name, pieces in (("a.fits", WHOLE), ("b.fits", SCATTERED)):
        files.write_spectra(tmp_path / name, stream(product, pieces), CARDS)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_what_stops_on_the_way_leaves_the_file_that_was_there(tmp_path):
    product, path = spectra(), tmp_path / "spectra.fits"
    files.write_spectra(path, stream(product, WHOLE), CARDS)
    before = path.read_bytes()

    def stopped():
        yield slice(0, 2), product.take(slice(0, 2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_spectra(path, RowStream(n_row=4, pieces=stopped()), CARDS)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["spectra.fits"]
