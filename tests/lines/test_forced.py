"""Laws of fluxes at fixed places."""

from dataclasses import replace

import numpy as np
import pytest

from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.options import LineOptions

OPTIONS = LineOptions()
WHOLE = load_line_set("betis41").primary()
SIGNED = WHOLE.select(line.name for line in WHOLE.lines if 4800 < line.air < 6780)


@pytest.mark.parametrize("name", ["standard", "betis41"])
def test_in_noise_the_fixed_snr_is_standard_normal(simulate, name):
    """Also for a set whose fitted fluxes cannot be negative."""
    lines = {"lines": SIGNED} if name == "betis41" else {}
    noise = simulate(300, strength=0.0, seed=21, **lines)
    fit = fit_lines(noise.spectra, noise.lines, OPTIONS)
    free = np.array([not line.ratio_of for line in noise.lines.lines])
    snr = fit.snr_fixed[:, free]
    assert abs(snr.mean()) < 4 / np.sqrt(snr.size)
    assert 0.96 < snr.std() < 1.04
    assert 0.66 < np.mean(np.abs(snr) < 1) < 0.705
    mean, error = fit.flux_fixed.mean(axis=0), fit.flux_fixed.std(axis=0) / np.sqrt(300)
    assert np.all(np.abs(mean) < 3.7 * error)
    assert np.mean(np.abs(fit.flux_fixed) > fit.upper_limit) < 0.006


def test_a_faint_line_beside_bright_ones_is_not_biased_where_its_own_fit_is(simulate):
    """He I of no flux, where Halpha says place and width: the sign of its set biases the fit."""
    truth = simulate(400, strength=(100.0, 300.0), lines=SIGNED, sigma=(40.0, 70.0), seed=22)
    i = SIGNED.names.index("HeI6678")
    place = SIGNED.waves("air", 0.0)[i]
    empty = simulate(400, strength=0.0, lines=SIGNED, seed=23).spectra
    near = np.abs(truth.spectra.wave - place) < 12
    flux = np.where(near, empty.flux, truth.spectra.flux)
    fit = fit_lines(replace(truth.spectra, flux=flux), SIGNED, OPTIONS)
    snr = fit.snr_fixed[:, i]
    assert abs(snr.mean()) < 0.15
    assert 0.92 < snr.std() < 1.08
    assert fit.snr[:, i].mean() > 0.4


def test_a_detected_line_has_its_own_flux_at_its_own_place(many):
    fit = fit_lines(many.spectra.take(slice(0, 60)), many.lines, OPTIONS)
    bright = (np.abs(fit.snr) > 8) & (fit.flags == 0)
    together = fit.group[:, None] == fit.group
    bright = np.all(bright[:, None] | ~together, axis=2)
    assert bright.mean() > 0.3
    np.testing.assert_allclose(fit.flux_fixed[bright], fit.flux[bright], rtol=1e-3)
    assert np.all(fit.upper_limit[bright] <= 3.001 * fit.flux_err[bright])


def test_lines_outside_have_no_fixed_flux(simulate):
    truth = simulate(4)
    fit = fit_lines(truth.spectra, load_line_set(), OPTIONS)
    for name in ("flux_fixed", "snr_fixed", "upper_limit"):
        assert np.isnan(getattr(fit, name)[:, fit.index("SIII9069")]).all()


def test_absorption_lines_are_held_where_absorption_lines_are(simulate):
    """Na I at 250 km/s from the gas; the other, faint, takes its place from the deep one."""
    lines = SIGNED.select(["Ha6563", "NII6583", "NaI5890", "NaI5896", "DIB6284"])
    truth = simulate(80, strength=400.0, sigma=(30.0, 50.0), lines=lines, apart=250.0, seed=24)
    fit = fit_lines(truth.spectra, lines, OPTIONS)
    i = fit.index("DIB6284")
    pull = (fit.flux_fixed - truth.flux)[:, i] / (fit.upper_limit[:, i] / 3)
    assert np.median(np.abs(pull)) < 1.5
