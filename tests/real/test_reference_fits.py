"""Real spectra whose lines others have measured."""

import numpy as np
from astropy.io import fits

from betis.continuum.fit import fit_all, template_engine
from betis.extinction import extinction_curve
from betis.flags import Flag
from betis.io.templates import load_templates
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.options import ContinuumOptions, LineOptions
from betis.products import Spectra

LINES = load_line_set()


def continuum(spectra, **options):
    engine = template_engine(
        spectra,
        load_templates("bpass"),
        ContinuumOptions(**options),
        dust=extinction_curve("CCM89", spectra.wave),
        line_waves=LINES.emission().waves(spectra.medium, spectra.redshift),
    )
    return fit_all(engine, spectra)


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
