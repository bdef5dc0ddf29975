"""Whole runs on cubes of other surveys than MUSE."""

import numpy as np
import pytest
from astropy.io import fits
from tests.cubes import WCS

import betis
from betis.flags import Flag
from betis.wavelength import C_KMS

_SAMI = {"Ha6563": "Halpha", "Hb4861": "Hbeta", "NII6583": "NII6583", "SII6716": "SII6716"}
_NEAR = [0, 1, 2]
"""Three spectra of MaNGA within 300 km/s of one redshift."""
_REDSHIFT = 0.0495


def survey(test_data, name):
    """The survey's own map of a line (LZIFU, one component) and its error."""
    with fits.open(test_data / "sami" / f"41144_A_{name}_sectors_1-comp.fits") as hdus:
        return [np.asarray(hdu.data[0] if hdu.data.ndim == 3 else hdu.data) for hdu in hdus[:2]]


def test_sami_in_its_own_bins_has_the_fluxes_of_the_survey(sami_run, test_data):
    _, maps = sami_run
    for ours, theirs in _SAMI.items():
        flux, error = survey(test_data, theirs)
        found, claimed = maps.line("FLUX", ours), maps.line("FLUX_ERR", ours)
        good = np.isfinite(found) & (flux > 10 * error)
        assert good.sum() > 500
        assert np.median(found[good] / flux[good]) == pytest.approx(1.0, abs=0.04)
        # Copies of one spectrum do not beat the noise down: the survey knows that too.
        assert 0.8 < np.median(claimed[good] / error[good]) < 1.6


def test_sami_keeps_its_bins_and_sees_no_line_in_the_gap_of_its_arms(sami_run, test_data):
    folder, maps = sami_run
    with fits.open(test_data / "sami" / "41144_A_sectors_blue.fits.gz") as hdus:
        labels = hdus["BIN_MASK"].data
    for label in np.unique(labels[labels > 0]):
        assert len(set(maps["BINID"][labels == label])) == 1
    assert np.all(maps["BINID"][labels == 0] == -1)
    flags = maps.line("FLAGS", "HeI5876")
    assert np.all(flags[maps["BINID"] >= 0] & Flag.NO_DATA)
    assert "arm" in (folder / "config.toml").read_text("utf-8")


def logcube(test_data, path):
    """Real spectra of MaNGA as a small LOGCUBE, made here: two rows of four spaxels.

    The first row holds three galaxies and a spectrum that is masked whole, the second the same at
    half the light; the last spaxel was not covered.
    """
    with fits.open(test_data / "spectra" / "manga" / "MaNGA_test_spectra.fits.gz") as hdus:
        wave, power = hdus["WAVE"].data, hdus["SRES"].data[0]
        rows = [*_NEAR, 5]
        flux, ivar, mask = (
            hdus[name].data[rows].T[:, None, :] for name in ("FLUX", "IVAR", "MASK")
        )
    flux = np.concatenate([flux, 0.5 * flux], axis=1).astype("f4")
    ivar = np.concatenate([ivar, 4 * ivar], axis=1).astype("f4")
    mask = np.concatenate([mask, mask], axis=1).astype("i4")
    flux[:, 1, 3], ivar[:, 1, 3], mask[:, 1, 3] = 0, 0, 1027
    step = wave[0] * np.log(10) * 1e-4
    header = fits.Header({**WCS, "CTYPE3": "WAVE-LOG", "CUNIT3": "Angstrom", "CRPIX3": 1.0})
    header.update({"CRVAL3": wave[0], "CD3_3": step, "BUNIT": "1E-17 erg/s/cm^2/Ang/spaxel"})
    known = power > 0
    lsf = wave / np.interp(wave, wave[known], power[known])
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "MaNGA", "TELESCOP": "SDSS 2.5-M"})
    extensions = [
        fits.ImageHDU(values, header, name=name)
        for name, values in (("FLUX", flux), ("IVAR", ivar), ("MASK", mask))
    ]
    axes = [fits.ImageHDU(wave, name="WAVE"), fits.ImageHDU(wave / lsf, name="SPECRES")]
    fits.HDUList([primary, *extensions, *axes]).writeto(path)
    return path


def test_spectra_of_manga_packed_into_a_cube_run_to_their_maps(test_data, tmp_path):
    path = logcube(test_data, tmp_path / "cube.fits")
    cube = betis.read_cube(path)
    assert (cube.instrument, cube.medium, cube.sky.flux_scale) == ("manga", "vacuum", 1e-17)
    with fits.open(test_data / "spectra" / "manga" / "MaNGA_test_spectra.fits.gz") as hdus:
        np.testing.assert_allclose(cube.wave, hdus["WAVE"].data, atol=1e-6)
        redshift = hdus["Z"].data[_NEAR]
    maps = betis.run(
        path, redshift=_REDSHIFT, output=tmp_path / "run", binning="spaxel", snr_line="Ha6563"
    )
    assert np.all(maps["BINID"][:, 3] == -1)
    expected = C_KMS * ((1 + redshift) / (1 + _REDSHIFT) - 1)
    np.testing.assert_allclose(maps["STELLAR_VELOCITY"][:, :3], [expected] * 2, atol=40)
    alpha = maps.line("FLUX", "Ha6563")[:, :3]
    assert np.nanmax(maps.line("SNR", "Ha6563")) > 5
    strong = maps.line("SNR", "Ha6563")[0, :3] > 5
    np.testing.assert_allclose(alpha[1, strong], 0.5 * alpha[0, strong], rtol=0.02)
