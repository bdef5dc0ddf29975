"""What the stars leave under the Balmer lines: nothing to be taken for gas, young or old."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.stats import norm

import betis
from betis.extinction import extinction_curve
from betis.io.templates import load_templates
from betis.products import Spectra
from betis.wavelength import C_KMS, pixel_edges

WAVE = 4750.0 + 1.25 * np.arange(1700)
FWHM = 2.6
N, SNR = 96, 40.0
AGES = {"young": (1e6, 3e7), "mixed": (1e6, 1.4e10), "old": (3e9, 1.4e10)}
LINES = {"Hb4861": 4861.33, "Ha6563": 6562.80}
WORST = {"Hb4861": 0.16, "Ha6563": 0.08}
"""Angstrom: twice what is seen for the youngest stars, whose absorption is the broadest."""


def stars(kind, templates, rng):
    """Light of a few populations of these ages, broadened and reddened; 1 at the median."""
    low, high = AGES[kind]
    young = np.flatnonzero((templates.age >= low) & (templates.age <= high))
    share = np.zeros(len(templates.age))
    chosen = rng.choice(young, min(5, young.size), replace=False)
    share[chosen] = rng.uniform(0.3, 1.0, chosen.size)
    norm_at = np.abs(templates.wave - 5635) < 45
    light = share @ (templates.flux / np.median(templates.flux[:, norm_at], axis=1)[:, None])
    log_wave = np.arange(np.log(4600.0), np.log(7000.0), 4.0 / C_KMS)
    sharp = CubicSpline(templates.wave, light)(np.exp(log_wave))
    missing = np.sqrt(FWHM**2 - templates.fwhm[0] ** 2) / 2.3548 / 5700 * C_KMS
    sigma = np.hypot(rng.uniform(50, 150), missing)
    kernel = np.exp(-0.5 * (np.arange(-400, 401) * 4.0 / sigma) ** 2)
    broad = np.convolve(sharp, kernel / kernel.sum(), mode="same")
    inside = (np.arange(7) - 3) / 7 * 1.25
    flux = np.interp(WAVE[:, None] + inside, np.exp(log_wave), broad).mean(axis=1)
    flux *= 10 ** (-0.4 * rng.uniform(0, 1) * extinction_curve("CCM89", WAVE))
    return flux / np.median(flux)


def observed(kind, templates, width, seed):
    """Spectra of stars and two lines of this equivalent width; their fluxes, and the continuum.

    The continuum is that beside the line, where the stars do not absorb.
    """
    rng = np.random.default_rng(seed)
    pure = np.array([stars(kind, templates, rng) for _ in range(N)])
    edges, flux, truth, levels = pixel_edges(WAVE), pure.copy(), {}, {}
    for name, place in LINES.items():
        beside = np.abs(np.abs(WAVE / place - 1) * C_KMS - 2500) < 1000
        levels[name] = pure[:, beside].mean(axis=1)
        truth[name] = width * levels[name]
        profile = np.diff(norm.cdf(edges, place, np.hypot(60 / C_KMS * place, FWHM / 2.3548)))
        flux += truth[name][:, None] * profile / np.diff(edges)
    error = np.full(flux.shape, 1 / SNR)
    noisy = flux + rng.normal(0, error)
    return Spectra(WAVE, noisy, error, lsf=FWHM, edges=edges), truth, levels


@pytest.fixture(scope="module")
def base():
    return load_templates()


@pytest.mark.parametrize("kind", AGES)
@pytest.mark.parametrize("width", [0.0, 10.0])
def test_lines_are_unbiased_whatever_the_stars(kind, width, base):
    """In Angstrom of equivalent width; without stars 2 to 8 Angstrom would be missing."""
    spectra, truth, levels = observed(kind, base, width, seed=sum(map(ord, kind)))
    fit = betis.fit_continuum(spectra)
    lines = betis.fit_lines(spectra.subtract(fit), continuum=fit)
    for name, most in WORST.items():
        i, level = lines.names.index(name), levels[name]
        found = lines.flux if width else lines.flux_fixed
        bias = np.median((found[:, i] - truth[name]) / level)
        assert abs(bias) < most, (name, bias)
        if width:
            assert np.median(lines.ew[:, i]) == pytest.approx(width, abs=1.5 * most), name
