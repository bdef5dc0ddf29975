"""Mock spectra made without the engine: a dense grid, interpolation and sums in place of FFTs."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from betis.continuum.fit import fit_all, template_engine
from betis.extinction import extinction_curve
from betis.io.templates import load_templates
from betis.options import ContinuumOptions
from betis.products import Spectra, Templates
from betis.wavelength import C_KMS, pixel_edges, rest_wave

WAVE = 4700.0 + 1.25 * np.arange(1200)
"""Rest frame; one axis for all tests, so that one program is compiled."""
REDSHIFT = 0.02
FWHM = 2.5


def mock_flux(templates, mixture, velocity, sigma, av, *, medium="air", redshift=REDSHIFT):
    """Return the flux of a mixture ``{template: light}`` on WAVE, unit median, without noise."""
    step = 4.0
    log_wave = np.arange(np.log(4400.0), np.log(6600.0), step / C_KMS)
    window = np.abs(rest_wave(templates.wave, medium, redshift) - 5635) <= 45
    light = sum(
        share * templates.flux[k] / np.median(templates.flux[k, window])
        for k, share in mixture.items()
    )
    stars = CubicSpline(templates.wave, light)(np.exp(log_wave))
    offsets = np.arange(-500, 501) * step
    losvd = np.exp(-0.5 * (offsets / sigma) ** 2)
    stars = np.convolve(stars, losvd / losvd.sum(), mode="same")
    axis = rest_wave(np.exp(log_wave) * (1 + velocity / C_KMS), medium, redshift)
    missing = np.sqrt(FWHM**2 - templates.fwhm[0] ** 2) / 2.3548200450309493
    nodes = np.linspace(-5, 5, 41)
    shares = np.exp(-0.5 * nodes**2) / np.exp(-0.5 * nodes**2).sum()
    inside = (np.arange(7) - 3) / 7 * 1.25
    points = WAVE[:, None, None] + inside[:, None] + missing * nodes
    flux = (np.interp(points, axis, stars) @ shares).mean(axis=1)
    flux *= 10 ** (-0.4 * av * extinction_curve("CCM89", WAVE))
    return flux / np.median(flux)


def as_spectra(flux, error, mask=None, medium="air"):
    flux = np.atleast_2d(flux)
    return Spectra(
        WAVE,
        flux,
        np.broadcast_to(error, flux.shape),
        mask,
        medium=medium,
        lsf=FWHM,
        edges=pixel_edges(WAVE),
        redshift=REDSHIFT,
    )


def run(spectra, templates, options=None, line_waves=(), progress=None):
    engine = template_engine(
        spectra,
        templates,
        options or ContinuumOptions(),
        dust=extinction_curve("CCM89", spectra.wave),
        line_waves=np.asarray(line_waves, dtype=float),
    )
    return fit_all(engine, spectra, progress)


@dataclass(frozen=True)
class Galaxy:
    """Noisy rows of known truth, and the fit of all of them."""

    templates: Templates
    clean: np.ndarray
    truth: np.ndarray
    spectra: Spectra
    fit: object

    def refit(self, rows=slice(None), **changes):
        return run(replace(self.spectra.take(rows), **changes), self.templates)


@pytest.fixture(scope="session")
def templates():
    """Every third of the shipped base that is older than 20 Myr."""
    base = load_templates("bpass")
    picked = np.flatnonzero(base.age > 2e7)[::3]
    return replace(
        base,
        flux=base.flux[picked],
        age=base.age[picked],
        metallicity=base.metallicity[picked],
        mass_fraction=base.mass_fraction[picked],
    )


@pytest.fixture(scope="session")
def galaxy(templates):
    """64 rows at S/N 40 a pixel."""
    rng = np.random.default_rng(3)
    truth = np.column_stack(
        [rng.uniform(-250, 250, 64), rng.uniform(70, 220, 64), rng.uniform(0.3, 1.2, 64)]
    )
    clean = []
    for row in truth:
        picked = rng.choice(templates.n_template, 3, replace=False)
        mixture = dict(zip(picked, rng.uniform(0.2, 1, 3), strict=True))
        clean.append(mock_flux(templates, mixture, *row))
    spectra = as_spectra(clean + rng.normal(0, 1 / 40, (64, WAVE.size)), 1 / 40)
    return Galaxy(templates, np.array(clean), truth, spectra, run(spectra, templates))


@pytest.fixture(scope="session")
def tools():
    """The makers of mocks, for tests that need other rows."""
    return {"mock_flux": mock_flux, "as_spectra": as_spectra, "run": run, "wave": WAVE}
