"""Laws of what the data alone say of a line: moments, W80 and the scatter of the residual."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.lines.shape import W80_PER_SIGMA
from betis.lsf import FWHM_PER_SIGMA
from betis.options import LineOptions
from betis.products import Spectra
from betis.wavelength import C_KMS

OPTIONS = LineOptions()
ONE = load_line_set().select(["Hb4861"])
PLACE = float(ONE.waves("air", 0.0)[0])
STEP, LSF = 1.25, 2.0


def profiles(parts, n_row, snr, seed=0):
    """Rows with one line that is a sum of Gaussians ``(share, km/s, km/s)``, at a given S/N."""
    rng = np.random.default_rng(seed)
    wave = np.arange(PLACE - 60, PLACE + 60, STEP)
    shift = rng.uniform(-100, 100, (n_row, 1))
    edges = np.append(wave - STEP / 2, wave[-1] + STEP / 2)
    flux = np.zeros((n_row, wave.size))
    for share, velocity, sigma in parts:
        center = PLACE * (1 + (shift + velocity) / C_KMS)
        width = np.hypot(PLACE * sigma / C_KMS, LSF / FWHM_PER_SIGMA)
        flux += share * np.diff(norm.cdf(edges, center, width), axis=1) / STEP
    flux *= snr / np.sqrt(np.sum(flux**2, axis=1, keepdims=True))
    flux += rng.normal(0, 1, flux.shape)
    return Spectra(wave, flux, np.ones_like(flux), lsf=np.full(wave.size, LSF)), shift[:, 0]


def true_w80(parts):
    """Width of the middle 80 % of the sum of Gaussians, with the line-spread function taken off.

    As it is taken off: in quadrature, from the width as observed.
    """
    lsf = LSF / FWHM_PER_SIGMA / PLACE * C_KMS
    total = sum(share for share, _, _ in parts)

    def quantile(level):
        return brentq(
            lambda v: (
                sum(f * norm.cdf(v, at, np.hypot(s, lsf)) for f, at, s in parts) - level * total
            ),
            -3000,
            3000,
        )

    observed = quantile(0.9) - quantile(0.1)
    return np.sqrt(observed**2 - (W80_PER_SIGMA * lsf) ** 2)


GAUSSIAN = [(1.0, 0.0, 100.0)]
DOUBLE = [(0.6, 0.0, 90.0), (0.4, -60.0, 220.0)]


def test_without_noise_a_gaussian_has_its_moments_and_width():
    gas, shift = profiles(GAUSSIAN, 30, 1e5)
    fit = fit_lines(gas, ONE, OPTIONS)
    np.testing.assert_allclose(fit.w80[:, 0], W80_PER_SIGMA * 100, rtol=2e-3)
    np.testing.assert_allclose(fit.sigma_direct[:, 0], 100, rtol=2e-3)
    np.testing.assert_allclose(fit.velocity_direct[:, 0], shift, atol=0.1)


@pytest.mark.parametrize("pixels", [0.35, 0.6, 1.0, 3.0])
def test_pixels_however_wide_change_no_width(pixels):
    kms = pixels * STEP / PLACE * C_KMS
    gas, _ = profiles([(1.0, 0.0, kms)], 40, 1e6)
    gas = replace(gas, lsf=np.zeros(gas.wave.size))
    fit = fit_lines(gas, ONE, OPTIONS)
    observed = np.hypot(kms, LSF / FWHM_PER_SIGMA / PLACE * C_KMS)
    np.testing.assert_allclose(fit.w80[:, 0], W80_PER_SIGMA * observed, rtol=1e-3)
    np.testing.assert_allclose(fit.sigma_direct[:, 0], observed, rtol=1e-3)


@pytest.mark.parametrize("snr", [10.0, 30.0, 100.0])
@pytest.mark.parametrize("parts", [GAUSSIAN, DOUBLE], ids=["gaussian", "double"])
def test_w80_is_near_the_truth_whatever_the_profile(parts, snr):
    """Bias below 14 % at a S/N of 10, 7 % above; errors right to a half, of Gaussians to 15 %."""
    gas, _ = profiles(parts, 300, snr, seed=int(snr))
    fit = fit_lines(gas, ONE, OPTIONS)
    w80, error, truth = fit.w80[:, 0], fit.w80_err[:, 0], true_w80(parts)
    known = np.isfinite(w80)
    assert known.mean() > 0.97
    assert abs(np.median(w80[known]) / truth - 1) < (0.14 if snr < 20 else 0.07)
    half = 0.5 * np.diff(np.quantile(w80[known], [0.16, 0.84]))[0] / np.median(error[known])
    assert 0.8 < half < (1.15 if parts is GAUSSIAN and snr > 20 else 1.5)
    if parts is DOUBLE and snr == 100:
        gaussian = W80_PER_SIGMA * fit.sigma[known, 0]
        assert abs(np.median(w80[known]) - truth) < 0.6 * abs(np.median(gaussian) - truth)


@pytest.mark.parametrize("quantity", ["flux_direct", "velocity_direct", "sigma_direct"])
def test_pulls_of_sums_and_moments_are_normal(quantity):
    gas, shift = profiles(GAUSSIAN, 600, 40.0, seed=3)
    fit = fit_lines(gas, ONE, OPTIONS)
    norm_of = 40.0 / np.sqrt(np.sum(_noiseless() ** 2, axis=1)) if quantity[0] == "f" else None
    truth = {"flux_direct": norm_of, "velocity_direct": shift, "sigma_direct": 100.0}[quantity]
    pull = (getattr(fit, quantity)[:, 0] - truth) / getattr(fit, f"{quantity}_err")[:, 0]
    assert abs(pull.mean()) < 0.15
    assert 0.93 < pull.std() < 1.07


def _noiseless():
    """The same rows as those of seed 3 before they are scaled to their S/N, unit flux each."""
    rng = np.random.default_rng(3)
    shift = rng.uniform(-100, 100, (600, 1))
    wave = np.arange(PLACE - 60, PLACE + 60, STEP)
    edges = np.append(wave - STEP / 2, wave[-1] + STEP / 2)
    width = np.hypot(PLACE * 100.0 / C_KMS, LSF / FWHM_PER_SIGMA)
    return np.diff(norm.cdf(edges, PLACE * (1 + shift / C_KMS), width), axis=1) / STEP


def test_faint_lines_have_no_shape():
    gas, _ = profiles(GAUSSIAN, 100, 3.0, seed=4)
    fit = fit_lines(gas, ONE, OPTIONS)
    faint = np.abs(fit.snr) < 5
    assert faint.mean() > 0.5
    for name in ("w80", "w80_err", "velocity_direct", "sigma_direct", "sigma_direct_err"):
        np.testing.assert_array_equal(np.isnan(getattr(fit, name))[faint], True)
    assert np.isfinite(fit.flux_direct_err).all()


def test_scatter_is_one_where_errors_are_right_and_a_spike_does_not_move_it(many):
    fit = fit_lines(many.spectra, many.lines, OPTIONS)
    assert abs(fit.scatter.mean() - 1) < 0.02
    gas = many.spectra.take(slice(0, 50))
    double = fit_lines(replace(gas, error=gas.error / 2), many.lines, OPTIONS)
    np.testing.assert_allclose(double.scatter, 2 * fit.scatter[:50], rtol=1e-3)
    flux = gas.flux.copy()
    flux[:, np.abs(gas.wave - 4890).argmin()] += 40
    spiked = fit_lines(replace(gas, flux=flux), many.lines, OPTIONS)
    group = fit.group[fit.index("Hb4861")]
    assert np.all(spiked.chi2[:, group] > 10 * fit.chi2[:50, group])
    assert np.median(spiked.scatter[:, group] / fit.scatter[:50, group]) < 2.5
