"""Real spectra whose lines others have measured."""

import numpy as np
import pytest
from astropy.io import fits

from betis.continuum.fit import fit_continuum
from betis.extinction import extinction_curve
from betis.flags import Flag
from betis.io.templates import load_templates
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.lsf import FWHM_PER_SIGMA
from betis.options import ContinuumOptions, LineOptions
from betis.products import Spectra
from betis.wavelength import C_KMS

LINES = load_line_set()
_STARLIGHT = "0480.51989.341.7xt"
_PUBLISHED = {
    "Halpha": ("Ha6563", 0.02),
    "[OIII]5007": ("OIII5007", 0.02),
    "[OIII]4959": ("OIII4959", 0.02),
    "[NII]6584": ("NII6583", 0.08),
    "[SII]6716": ("SII6716", 0.06),
    "[SII]6731": ("SII6731", 0.06),
    "Hbeta": ("Hb4861", 0.13),
}
"""Our name, and how far the flux may be from that table's, whose local background is another."""


def continuum(spectra, **options):
    return fit_continuum(
        spectra,
        load_templates("bpass"),
        ContinuumOptions(**options),
        dust=extinction_curve("CCM89", spectra.wave),
        line_waves=LINES.emission().waves(spectra.medium, spectra.redshift),
    )


def starlight_residual(folder):
    """The residual of STARLIGHT's fit of an SDSS spectrum, in the input's flux unit."""
    lines = (folder / f"{_STARLIGHT}.sc5.C11.im.BS").read_text().splitlines()
    norm = next(float(text.split()[0]) for text in lines if "[fobs_norm" in text)
    first = next(number for number, text in enumerate(lines) if "[Nl_obs" in text) + 1
    count = int(lines[first - 1].split()[0])
    wave, flux, model = np.loadtxt(lines[first : first + count], usecols=(0, 1, 2)).T
    observed = np.loadtxt(folder / _STARLIGHT)
    error, flag = (np.interp(wave, observed[:, 0], observed[:, column]) for column in (2, 3))
    lsf = FWHM_PER_SIGMA * 58.0 / C_KMS * wave
    return Spectra(wave, (flux - model) * norm, error, flag >= 2, lsf=lsf)


def published(path):
    rows = (text.split() for text in path.read_text().splitlines()[3:])
    return {row[1]: (float(row[3]), float(row[5])) for row in rows if len(row) > 5}


def test_lines_of_an_sdss_spectrum_agree_with_the_published_table(test_data):
    gas = starlight_residual(test_data / "starlight" / "v05")
    table = published(next((test_data / "spectra" / "dobby").glob("*.ElGAk1b1.txt")))
    lines = fit_lines(gas, LINES, LineOptions())
    for name, (ours, share) in _PUBLISHED.items():
        flux, velocity = table[name]
        at = lines.index(ours)
        assert lines.flux[0, at] == pytest.approx(flux, rel=share)
        assert lines.velocity[0, at] == pytest.approx(velocity, abs=11.0)


def manga(folder, row):
    """One MaNGA spectrum: vacuum, a logarithmic axis, a resolution for each pixel."""
    with fits.open(folder / "spectra" / "manga" / "MaNGA_test_spectra.fits.gz") as hdus:
        wave, redshift = hdus["WAVE"].data, float(hdus["Z"].data[row])
        flux, ivar, mask, power = (
            hdus[name].data[row].astype(float) for name in ("FLUX", "IVAR", "MASK", "SRES")
        )
    known = power > 0
    lsf = np.interp(wave, wave[known], wave[known] / power[known])
    stretch = 1 + redshift
    error = np.divide(1.0, np.sqrt(ivar), out=np.zeros_like(ivar), where=ivar > 0)
    return Spectra(
        wave / stretch,
        flux * stretch,
        error * stretch,
        mask.astype(int) & 1,
        medium="vacuum",
        lsf=lsf / stretch,
        redshift=redshift,
    )


def test_a_bright_manga_spectrum_converges_and_has_equivalent_widths(test_data):
    """Its errors are half its scatter, and its blue end is bluer than the base."""
    spectra = manga(test_data, 3)
    fit = continuum(spectra)
    assert np.isnan(fit.model).any()
    assert not fit.flags[0] & Flag.NOT_CONVERGED
    assert abs(fit.velocity[0]) < 150
    lines = fit_lines(spectra.subtract(fit), LINES, LineOptions(), continuum=fit)
    at = [lines.index(name) for name in ("Hb4861", "Ha6563", "NII6583")]
    assert np.isfinite(lines.ew[0, at]).all()


def sami(folder, count):
    """Both arms of SAMI on one axis, the spectra of the first bins, and a spaxel of each."""
    arms = []
    for name in ("blue", "red"):
        with fits.open(folder / f"41144_A_sectors_{name}.fits.gz") as hdus:
            head = hdus[0].header
            pixel = np.arange(head["NAXIS3"]) + 1 - head["CRPIX3"]
            wave = head["CRVAL3"] + pixel * head["CDELT3"]
            arms.append((wave, hdus[0].data, hdus["VARIANCE"].data))
            bin_id, stretch = hdus["BIN_MASK"].data, 1 + head["Z_SPEC"]
    place = [np.argwhere(bin_id == one)[0] for one in np.unique(bin_id[bin_id > 0])[:count]]
    y, x = np.array(place).T
    wave = np.concatenate([arm[0] for arm in arms])
    flux, variance = (np.concatenate([arm[k][:, y, x] for arm in arms]).T for k in (1, 2))
    lsf = np.where(wave < 6000, 2.66, 1.59)
    with np.errstate(invalid="ignore"):
        error = np.sqrt(variance)
    spectra = Spectra(
        wave / stretch,
        flux * stretch,
        error * stretch,
        lsf=lsf / stretch,
        redshift=stretch - 1,
    )
    return spectra, (y, x)


def test_two_arms_of_sami_on_one_axis_give_the_fluxes_of_the_survey(test_data):
    folder = test_data / "sami"
    spectra, (y, x) = sami(folder, 8)
    fit = continuum(spectra)
    lines = fit_lines(spectra.subtract(fit), LINES, LineOptions(), continuum=fit)
    survey = {"Ha6563": "Halpha", "Hb4861": "Hbeta", "NII6583": "NII6583", "SII6716": "SII6716"}
    for ours, theirs in survey.items():
        image = fits.getdata(folder / f"41144_A_{theirs}_sectors_1-comp.fits")
        reference = (image[0] if image.ndim == 3 else image)[y, x]
        ratio = lines.flux[:, lines.index(ours)] / reference
        assert np.nanmedian(ratio) == pytest.approx(1.0, abs=0.04)
    assert np.all(lines.flags[:, lines.index("HeI5876")] & Flag.NO_DATA)
