"""The laws of the fit for the set of the BETIS scripts: bounds, signs and guesses of its own."""

from dataclasses import replace

import numpy as np
import pytest

from betis.flags import Flag
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.lines.groups import group_classes
from betis.lines.limits import line_limits
from betis.lines.start import start_velocity
from betis.lsf import FWHM_PER_SIGMA
from betis.options import LineOptions
from betis.products import Spectra
from betis.wavelength import C_KMS

OPTIONS = LineOptions()
WHOLE = load_line_set("betis41").primary()
SET = WHOLE.select(line.name for line in WHOLE.lines if 4800 < line.air < 6780)
ABSORBED = np.array([line.absorption for line in SET.lines])
RED = WHOLE.select([*SET.names, *(line.name for line in WHOLE.lines if 7600 < line.air < 8700)])


@pytest.fixture(scope="module")
def rows(simulate):
    return simulate(400, strength=(60.0, 400.0), sigma=(40.0, 80.0), lines=SET, seed=41)


@pytest.fixture(scope="module")
def fitted(rows):
    return fit_lines(rows.spectra, SET, OPTIONS)


def _pulls(fit, truth, name, use):
    value = getattr(truth, name)
    value = value if value.ndim == 2 else value[:, None]
    pull = ((getattr(fit, name) - value) / getattr(fit, f"{name}_err"))[use]
    return pull[np.isfinite(pull)]


@pytest.mark.parametrize("kind", ["emission", "absorption"])
@pytest.mark.parametrize("quantity", ["flux", "velocity", "sigma"])
def test_pulls_of_lines_that_are_seen_are_normal(rows, fitted, quantity, kind):
    """Standard deviation 0.95-1.05, coverage of 68 % intervals 66-70 %, no bias."""
    use = (np.abs(rows.flux) > 60) & (fitted.flags == 0) & ((kind == "absorption") == ABSORBED)
    pull = _pulls(fitted, rows, quantity, use)
    assert pull.size > 800
    assert abs(pull.mean()) < 0.12
    assert 0.95 < pull.std() < 1.05
    assert 0.65 < np.mean(np.abs(pull) < 1) < 0.71


def test_every_absorption_line_that_is_put_in_comes_out(simulate):
    """Also where it moves at up to 250 km/s against the gas: within its error."""
    wave = np.arange(4780.0, 8800.0, 1.25)
    truth = simulate(
        150, strength=250.0, sigma=(30.0, 60.0), lines=RED, wave=wave, apart=250.0, seed=42
    )
    fit = fit_lines(truth.spectra, RED, OPTIONS)
    absorbed = np.flatnonzero([line.absorption for line in RED.lines])
    assert absorbed.size == 10
    pull = (fit.flux - truth.flux)[:, absorbed] / fit.flux_err[:, absorbed]
    assert np.all(fit.flux[:, absorbed] <= 0)
    assert np.all(np.mean(fit.flux[:, absorbed] < 0, axis=0) > 0.99)
    assert np.all(np.abs(np.median(pull, axis=0)) < 0.3)
    assert np.mean(np.abs(pull) < 4) > 0.98


def test_helium_beside_sodium_is_not_biased(rows, fitted):
    i = SET.names.index("HeI5876")
    use = (rows.flux[:, i] > 40) & (fitted.flags[:, i] == 0)
    pull = ((fitted.flux - rows.flux) / fitted.flux_err)[use, i]
    assert pull.size > 150
    assert abs(pull.mean()) < 3.5 / np.sqrt(pull.size)


def test_lines_have_the_sign_that_the_set_gives_them(rows, fitted, simulate):
    noise = simulate(200, strength=0.0, lines=SET, seed=43)
    for fit in (fitted, fit_lines(noise.spectra, SET, OPTIONS)):
        assert np.all(fit.flux[:, ABSORBED] <= 0)
        assert np.all(fit.flux[:, ~ABSORBED] >= 0)
        at_zero = fit.flux == 0
        assert at_zero.any()
        assert np.all(fit.flags[at_zero] & Flag.AT_BOUND > 0)
        assert np.all(fit.flags[at_zero] & Flag.NOT_DETECTED > 0)


def test_limits_hold_where_a_flux_is_held_at_zero(simulate):
    """Faint lines: the error of a flux on its bound is the one it would have without the bound."""
    faint = simulate(300, strength=(0.0, 6.0), sigma=(40.0, 80.0), lines=SET, seed=44)
    fit = fit_lines(faint.spectra, SET, OPTIONS)
    at_zero = fit.flux == 0
    assert 0.02 < at_zero.mean() < 0.7
    assert np.all(fit.flux_err[at_zero] > 0)
    assert np.all(fit.upper_limit[at_zero] > 0)
    assert np.mean(np.abs(faint.flux[at_zero]) < fit.upper_limit[at_zero]) > 0.99


def test_without_signs_lines_that_are_not_there_have_no_flux_on_average(simulate):
    unsigned = replace(SET, lines=tuple(replace(line, sign="any") for line in SET.lines))
    noise = simulate(300, strength=0.0, lines=SET, seed=45)
    fit = fit_lines(noise.spectra, unsigned, OPTIONS)
    mean, error = fit.flux.mean(axis=0), fit.flux.std(axis=0) / np.sqrt(300)
    assert np.all(np.abs(mean) < 3.5 * error)
    assert np.mean(fit.flags & Flag.NOT_CONVERGED > 0) < 0.002


def test_lines_that_are_too_broad_end_on_their_bound_and_say_so(simulate):
    broad = simulate(60, strength=400.0, sigma=(220.0, 250.0), lines=SET, seed=46)
    fit = fit_lines(broad.spectra, SET, OPTIONS)
    i = SET.names.index("Ha6563")
    np.testing.assert_allclose(fit.sigma_obs[:, i], 2 * 3.0 / FWHM_PER_SIGMA)
    assert np.all(fit.flags[:, i] & Flag.AT_BOUND > 0)
    assert np.all((fit.sigma_err[:, i] > 0) & np.isfinite(fit.sigma_err[:, i]))
    free = fit_lines(broad.spectra, SET, replace(OPTIONS, fwhm=9.0))
    assert np.all(free.flags[:, i] & Flag.AT_BOUND == 0)
    pull = (free.sigma[:, i] - broad.sigma) / free.sigma_err[:, i]
    assert 0.75 < pull.std() < 1.3


def test_no_line_strays_from_where_it_was_looked_for(simulate):
    """5 Angstrom from its guess, which is within 5 (10) of the velocity of the spectrum."""
    noise = simulate(150, strength=(0.0, 100.0), lines=SET, seed=47)
    fit = fit_lines(noise.spectra, SET, OPTIONS)
    places = SET.waves("air", 0.0)
    start = start_velocity(SET, places, noise.spectra, OPTIONS)
    away = np.abs(fit.velocity - start[:, None]) / C_KMS * places
    limits = line_limits(SET, OPTIONS)
    assert np.all(away <= limits.search + limits.shift + 1e-6)
    assert np.mean(away > 5.0) > 0.001


def test_a_hot_pixel_changes_only_its_own_group(rows, fitted):
    gas = rows.spectra.take(slice(0, 30))
    flux = gas.flux.copy()
    place = int(np.searchsorted(gas.wave, 5890.0))
    flux[:, place] = 1e4
    hot = fit_lines(replace(gas, flux=flux), SET, OPTIONS)
    hit = fitted.group == fitted.group[SET.names.index("NaI5890")]
    change = np.abs(hot.flux - fitted.flux[:30]) / fitted.flux_err[:30]
    assert np.all(change[:, ~hit] < 1e-3)
    assert np.all(hot.flags[:, hit] & Flag.BAD_CHI2 > 0)
    mask = gas.mask.copy()
    mask[:, place] = True
    masked = [
        fit_lines(replace(gas, flux=values, mask=mask), SET, OPTIONS) for values in (gas.flux, flux)
    ]
    np.testing.assert_array_equal(masked[0].flux, masked[1].flux)


def test_flux_times_k_gives_flux_and_error_times_k(rows, fitted):
    gas = rows.spectra.take(slice(0, 20))
    scaled = fit_lines(replace(gas, flux=1e-17 * gas.flux, error=1e-17 * gas.error), SET, OPTIONS)
    for name in ("flux", "flux_err", "upper_limit"):
        np.testing.assert_allclose(getattr(scaled, name), 1e-17 * getattr(fitted, name)[:20], 1e-6)


def test_few_shapes_hold_all_groups_and_no_group_is_large():
    """A class, and so a program, for 1, 2 and 3 lines, as for the standard set."""
    wave = np.arange(3600.0, 9300.0, 1.25)
    gas = Spectra(wave, np.zeros(wave.size), np.ones(wave.size), lsf=2.5)
    kinds = group_classes(WHOLE, WHOLE.waves("air", 0.0), gas, OPTIONS)
    assert [kind.line.shape[1] for kind in kinds] == [1, 2, 3]
    assert sorted(np.concatenate([kind.line[kind.line >= 0] for kind in kinds])) == list(range(39))
