"""What the stars add to the error of a line is what they do add."""

import numpy as np
import pytest

from betis.continuum.cores import contrasts

LINES = np.array([4861.33, 5006.843])


def test_the_error_of_the_depth_is_its_scatter(galaxy, tools):
    error = 1 / 30
    noise = np.random.default_rng(5).normal(0, error, galaxy.clean.shape)
    spectra = tools["as_spectra"](galaxy.clean + noise, error)
    fit = tools["run"](spectra, galaxy.templates, line_waves=LINES)
    np.testing.assert_array_equal(fit.core_wave, LINES)
    shares = contrasts(spectra, LINES, np.zeros(spectra.wave.size, bool)).shares
    pulls = ((fit.model - galaxy.clean) @ shares.T) / fit.core_err
    # 64 pulls know their width to 9 %: three of these and some for what non-negative light hides.
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 0.35)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.5)
    # The Balmer core is worse known than a stretch without a strong stellar line.
    assert np.median(fit.core_err[:, 0]) > np.median(fit.core_err[:, 1])


def test_a_level_or_a_slope_of_the_continuum_has_no_depth(galaxy):
    wave = galaxy.spectra.wave
    shares = contrasts(galaxy.spectra, LINES, np.zeros(wave.size, bool)).shares
    np.testing.assert_allclose(shares @ np.ones(wave.size), 0.0, atol=1e-12)
    np.testing.assert_allclose(shares @ (wave - 4900.0), 0.0, atol=1.0)


def test_lines_that_were_fitted_over_or_lie_outside_have_no_core(galaxy):
    usable = np.ones(galaxy.spectra.wave.size, bool)
    assert contrasts(galaxy.spectra, LINES, usable).wave.size == 0
    outside = contrasts(galaxy.spectra, np.array([9069.0]), ~usable)
    assert outside.shares.shape == (0, usable.size)


def test_it_scales_with_the_flux(galaxy, tools):
    rows = slice(0, 8)
    plain = tools["run"](galaxy.spectra.take(rows), galaxy.templates, line_waves=LINES)
    spectra = galaxy.spectra.take(rows)
    scaled = tools["as_spectra"](1e3 * spectra.flux, 1e3 * spectra.error)
    fit = tools["run"](scaled, galaxy.templates, line_waves=LINES)
    assert fit.core_err == pytest.approx(1e3 * plain.core_err, rel=1e-5)
