"""Laws of kinematics that lines of several groups share."""

from dataclasses import replace

import numpy as np
import pytest

from betis.errors import ConfigError
from betis.flags import Flag
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.options import LineOptions
from betis.wavelength import C_KMS

ONE = LineOptions(kinematics="one")
GAS = LineOptions(kinematics="ionisation")


def _emission(truth):
    return np.array([not line.absorption for line in truth.lines.lines])


@pytest.fixture(scope="module")
def faint(simulate):
    return simulate(300, strength=(15.0, 150.0), sigma=(60.0, 150.0), seed=51)


@pytest.fixture(scope="module")
def together(faint):
    return fit_lines(faint.spectra, faint.lines, ONE)


def test_all_emission_lines_of_a_spectrum_have_one_velocity_and_one_dispersion(faint, together):
    lines = _emission(faint)
    for name in ("velocity", "sigma", "velocity_err"):
        value = getattr(together, name)[:, lines]
        np.testing.assert_allclose(value, np.tile(value[:, :1], lines.sum()), rtol=1e-7, atol=1e-6)
    assert np.all(together.velocity[:, ~lines] != together.velocity[:, lines][:, :2])
    assert np.mean(together.flags & Flag.NOT_CONVERGED > 0) < 0.01


def test_lines_of_one_kind_of_gas_share_and_others_do_not(faint):
    fit = fit_lines(faint.spectra.take(slice(0, 40)), faint.lines, GAS)
    kind = np.array([line.ionisation for line in faint.lines.lines])
    for name in ("balmer", "low", "high"):
        value = fit.velocity[:, kind == name]
        np.testing.assert_allclose(value, np.tile(value[:, :1], value.shape[1]), atol=1e-6)
    balmer, low = fit.index("Ha6563"), fit.index("NII6583")
    assert np.all(fit.velocity[:, balmer] != fit.velocity[:, low])


@pytest.mark.parametrize("quantity", ["flux", "velocity", "sigma"])
def test_pulls_of_shared_quantities_are_normal(faint, together, quantity):
    """Also of the fluxes of lines that alone would not be seen; errors count what others know."""
    use = (together.flags & ~Flag.NOT_DETECTED == 0) & _emission(faint)
    if quantity != "flux":
        use[:, 1:] = False
    truth = getattr(faint, quantity)
    truth = truth if truth.ndim == 2 else truth[:, None]
    pull = ((getattr(together, quantity) - truth) / getattr(together, f"{quantity}_err"))[use]
    assert pull.size > 200
    assert abs(pull.mean()) < 3.5 / np.sqrt(pull.size / (9 if quantity == "flux" else 1))
    limit = 0.05 if quantity == "flux" else 0.12
    assert abs(pull.std() - 1) < limit


def test_what_is_shared_is_known_better_and_costs_little_chi2(faint, together):
    apart = fit_lines(faint.spectra, faint.lines, LineOptions())
    lines = _emission(faint)
    good = np.all(together.flags[:, lines] & ~Flag.NOT_DETECTED == 0, axis=1)
    assert good.mean() > 0.9
    best = np.nanmin(apart.velocity_err[:, lines], axis=1)
    assert np.mean(together.velocity_err[good, 0] < 1.02 * best[good]) > 0.95
    cost = (together.chi2.sum(axis=1) - apart.chi2.sum(axis=1))[good]
    assert np.mean(cost < -0.1) < 0.02
    assert 4.0 < np.median(cost) < 20.0


def test_without_noise_the_truth_comes_out(simulate):
    truth = simulate(10, noise=0.0)
    for options in (ONE, GAS):
        fit = fit_lines(truth.spectra, truth.lines, options)
        np.testing.assert_allclose(fit.flux, truth.flux, rtol=1e-3)
        np.testing.assert_allclose(fit.velocity, np.tile(truth.velocity[:, None], 11), atol=0.05)


def test_no_other_velocity_or_dispersion_fits_better(faint, together):
    """Held a little beside what was found, by bounds of the set, chi² is higher."""
    gas = faint.spectra.take(slice(0, 3))
    names = [name for name, one in zip(faint.lines.names, _emission(faint), strict=True) if one]
    lines = faint.lines.select(names)
    best = fit_lines(gas, lines, ONE)
    for row in range(3):
        velocity, sigma = float(best.velocity[row, 0]), float(best.sigma[row, 0])
        for by_velocity, by_sigma in ((5, 0), (-5, 0), (0, 5), (0, -5)):
            at = (velocity + by_velocity, (sigma + by_sigma) * (1 + velocity / C_KMS))
            held = _held(lines, at)
            other = fit_lines(gas.take(slice(row, row + 1)), held, ONE)
            assert other.chi2.sum() > best.chi2[row].sum() - 1e-3


def _held(lines, at):
    def narrow(line):
        velocity, sigma = ((value - 1e-4, value + 1e-4) for value in at)
        return replace(line, bounds=replace(line.bounds, velocity=velocity, sigma=sigma))

    return replace(lines, lines=tuple(narrow(line) for line in lines.lines))


def test_bad_and_empty_rows_change_no_other(faint, together):
    gas = faint.spectra.take(slice(0, 12))
    flux, mask = gas.flux.copy(), gas.mask.copy()
    mask[3], mask[7, np.abs(gas.wave - 6563) < 80] = True, True
    fit = fit_lines(replace(gas, flux=flux, mask=mask), faint.lines, ONE)
    others = [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    np.testing.assert_allclose(fit.flux[others], together.flux[others], rtol=1e-6, atol=1e-6)
    assert np.all(fit.flags[3] == Flag.NO_DATA)
    assert np.all(fit.flags[7, [fit.index("Ha6563"), fit.index("NII6583")]] & Flag.NO_DATA > 0)
    assert np.isfinite(fit.flux[7, fit.index("OIII5007")])


def test_noise_has_no_flux_on_average_and_bounds_are_flagged(simulate):
    noise = simulate(200, strength=0.0, seed=52)
    fit = fit_lines(noise.spectra, noise.lines, replace(ONE, max_velocity=300.0))
    error = fit.flux.std(axis=0) / np.sqrt(200)
    assert np.all(np.abs(fit.flux.mean(axis=0)) < 3.5 * error)
    lines = _emission(noise)
    at_edge = np.abs(fit.velocity) == 300.0
    assert at_edge[:, lines].any()
    assert np.all(fit.flags[at_edge] & Flag.AT_BOUND > 0)


def test_betis41_can_share_too(simulate):
    whole = load_line_set("betis41").primary()
    chosen = whole.select(name for name in whole.names if 4800 < whole[name].air < 6780)
    truth = simulate(60, strength=(60.0, 200.0), sigma=(40.0, 80.0), lines=chosen, seed=53)
    fit = fit_lines(truth.spectra, chosen, ONE)
    lines = _emission(truth)
    spread = np.ptp(fit.velocity[:, lines], axis=1)
    assert np.all(spread < 1e-6)
    pull = ((fit.flux - truth.flux) / fit.flux_err)[:, lines]
    pull = pull[fit.flux[:, lines] > 0]
    assert 0.85 < pull.std() < 1.1


def test_a_set_without_kinds_of_gas_is_refused(simulate):
    truth = simulate(2)
    lines = tuple(replace(line, ionisation="") for line in truth.lines.lines)
    with pytest.raises(ConfigError, match="no line of the set 'standard' says its ionisation"):
        fit_lines(truth.spectra, replace(truth.lines, lines=lines), GAS)
