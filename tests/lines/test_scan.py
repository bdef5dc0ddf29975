"""Laws of the scan: no fit from elsewhere within the bounds ends lower; nothing leads astray."""

from dataclasses import replace

import numpy as np
import pytest

from betis.linelist import load_line_set
from betis.lines.descent import prepared, solve_groups, take_rows
from betis.lines.groups import group_classes
from betis.lines.scan import lowest_valleys
from betis.lines.solver import solve
from betis.lines.start import start_velocity
from betis.options import LineOptions
from betis.products import Spectra

OPTIONS = LineOptions()
WHOLE = load_line_set("betis41").primary()
ALONE = WHOLE.select(["HeII5412"])
PAIR = WHOLE.select(["SII6716", "SII6731"])
CROWD = WHOLE.select(["OI6300", "SIII6312"])
N_SPECTRUM = 50


def _kind(lines, gas):
    (kind,) = group_classes(lines, lines.waves("air", 0.0), gas, OPTIONS)
    return kind


def _velocity(lines, gas):
    return start_velocity(lines, lines.waves("air", 0.0), gas, OPTIONS)


def _everywhere(kind, given):
    """Return the lowest chi² of fits from everywhere within the bounds, all sets moved as one."""
    at, n_kin = kind.n_flux, kind.n_kin
    low, high = given.rows.lower, given.rows.upper
    lowest = np.full(len(low), np.inf)
    for along in np.linspace(0.02, 0.98, 19):
        for width in (0.1, 0.6):
            start = given.start.copy()
            for k in range(n_kin):
                start[:, at + k] = low[:, at + k] + along * (high - low)[:, at + k]
                span = (high - low)[:, at + n_kin + k]
                start[:, at + n_kin + k] = low[:, at + n_kin + k] + width * span
            lowest = np.fmin(lowest, solve(start, given.rows, np.zeros(len(low), bool)).chi2)
    return lowest


@pytest.mark.parametrize("lines", [ALONE, PAIR], ids=["line", "doublet"])
@pytest.mark.parametrize("strength", [0.0, (0.0, 150.0)], ids=["noise", "lines"])
def test_no_fit_from_elsewhere_within_the_bounds_ends_lower(simulate, lines, strength):
    gas = simulate(N_SPECTRUM, strength=strength, sigma=(30.0, 80.0), lines=lines, seed=51).spectra
    kind, velocity = _kind(lines, gas), _velocity(lines, gas)
    found = solve_groups(kind, gas, velocity).solution.chi2
    worse = found - _everywhere(kind, prepared(kind, gas, velocity))
    assert np.mean(worse > 0.1) < 0.04
    assert worse.max() < 1.0


def test_fits_begin_so_near_their_end_that_few_steps_are_left(simulate):
    gas = simulate(N_SPECTRUM, strength=(0.0, 150.0), lines=ALONE, seed=52).spectra
    kind, velocity = _kind(ALONE, gas), _velocity(ALONE, gas)
    given = prepared(kind, gas, velocity)
    steps = [
        solve(start, given.rows, np.zeros(len(start), bool)).n_iter.mean()
        for start in (given.valley, given.start)
    ]
    assert steps[0] < 0.8 * steps[1]


@pytest.mark.parametrize("lines", [ALONE, PAIR, CROWD], ids=["line", "doublet", "neighbours"])
def test_the_valley_is_within_the_bounds(simulate, lines):
    gas = simulate(N_SPECTRUM, strength=(0.0, 100.0), lines=lines, seed=53).spectra
    kind = _kind(lines, gas)
    given = prepared(kind, gas, _velocity(lines, gas))
    middle = slice(kind.n_flux, kind.n_param - 2)
    assert np.all(given.valley[:, middle] >= given.rows.lower[:, middle] - 1e-9)
    assert np.all(given.valley[:, middle] <= given.rows.upper[:, middle] + 1e-9)
    assert np.any(given.valley != given.start)


def test_a_faint_line_is_not_placed_on_its_bright_neighbour(simulate):
    """Both lines may lie between them; the brighter one is taken off first."""
    gas = simulate(N_SPECTRUM, strength=0.0, lines=CROWD, seed=54, noise=1.0).spectra
    wave, flux = gas.wave, gas.flux.copy()
    for place, strength in ((6300.304, 400.0), (6312.06, 30.0)):
        flux += strength * np.exp(-0.5 * ((wave - place) / 1.6) ** 2) / (1.6 * np.sqrt(2 * np.pi))
    kind, bright = _kind(CROWD, gas), replace(gas, flux=flux)
    given = prepared(kind, bright, np.zeros(N_SPECTRUM))
    places = given.valley[:, kind.n_flux : kind.n_flux + 2]
    assert np.all(np.abs(places[:, 0]) < 40.0)
    assert np.mean(np.abs(places[:, 1]) < 80.0) > 0.9


def test_a_spike_does_not_lead(simulate):
    gas = simulate(N_SPECTRUM, strength=100.0, lines=ALONE, seed=55).spectra
    flux = gas.flux.copy()
    flux[:, int(np.searchsorted(gas.wave, 5414.0))] += 1e4
    given = prepared(_kind(ALONE, gas), replace(gas, flux=flux), np.zeros(N_SPECTRUM))
    np.testing.assert_array_equal(given.valley, given.start)


def test_lines_that_are_not_looked_for_stay_where_they_were_guessed(simulate):
    near = replace(ALONE, lines=tuple(replace(line, search=0.0) for line in ALONE.lines))
    gas = simulate(N_SPECTRUM, lines=near, seed=56).spectra
    given = prepared(_kind(near, gas), gas, np.zeros(N_SPECTRUM))
    np.testing.assert_array_equal(given.valley, given.start)


@pytest.mark.parametrize("lines", [PAIR, CROWD], ids=["doublet", "neighbours"])
def test_the_other_rows_change_nothing(simulate, lines):
    gas = simulate(N_SPECTRUM, strength=(0.0, 100.0), lines=lines, seed=57).spectra
    kind, velocity = _kind(lines, gas), np.linspace(-200, 200, N_SPECTRUM)
    given = prepared(kind, gas, velocity)
    some = np.arange(0, N_SPECTRUM, 7)
    alone = lowest_valleys(kind, take_rows(given.rows, some), given.start[some])
    np.testing.assert_allclose(alone, given.valley[some], rtol=1e-12)


def test_scale_of_flux_and_error_does_not_matter(simulate):
    gas = simulate(N_SPECTRUM, strength=(0.0, 100.0), lines=PAIR, seed=58).spectra
    scaled = replace(gas, flux=1e-17 * gas.flux, error=1e-17 * gas.error)
    kind, velocity = _kind(PAIR, gas), np.zeros(N_SPECTRUM)
    both = [prepared(kind, each, velocity).valley for each in (gas, scaled)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-9)


def test_rows_without_data_stay_where_they_are():
    wave = np.arange(5300.0, 5500.0, 1.25)
    flux, error = np.zeros((3, wave.size)), np.ones((3, wave.size))
    gas = Spectra(wave, flux, error, mask=np.ones(flux.shape, bool), lsf=np.full(wave.size, 2.5))
    given = prepared(_kind(ALONE, gas), gas, np.zeros(3))
    np.testing.assert_array_equal(given.valley, given.start)
