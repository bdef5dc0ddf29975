"""Laws of the line fit."""

from dataclasses import replace

import numpy as np
import pytest

from betis import compute
from betis.errors import InputError
from betis.flags import Flag
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.lines.measure import intrinsic
from betis.options import LineOptions
from betis.products import ContinuumFit, LineFit, Spectra
from betis.wavelength import C_KMS

OPTIONS = LineOptions()
VALUES = ("flux", "flux_err", "velocity", "velocity_err", "sigma", "sigma_err", "ew", "chi2")


@pytest.fixture(scope="module")
def fitted(many) -> LineFit:
    return fit_lines(many.spectra, many.lines, OPTIONS)


def _continuum(model) -> ContinuumFit:
    rows = np.full(len(model), np.nan)
    names = (
        "velocity", "velocity_err", "sigma", "sigma_err", "av", "av_err", "chi2", "dof",
        "mean_log_age_light", "mean_log_age_mass", "mean_metallicity_light",
        "mean_metallicity_mass",
    )  # fmt: skip
    return ContinuumFit(
        model=model,
        weights=np.ones((len(model), 1)),
        flags=np.zeros(len(model), np.int32),
        used=np.ones(model.shape, bool),
        **dict.fromkeys(names, rows),
    )


def _pulls(values, errors, truth, use):
    pull = ((values - truth) / errors)[use]
    return pull[np.isfinite(pull)]


@pytest.mark.parametrize("quantity", ["flux", "velocity", "sigma"])
def test_pulls_of_detected_lines_are_normal(many, fitted, quantity) -> None:
    """Standard deviation 0.95-1.05, coverage of 68 % intervals 66-70 %, no bias."""
    use = (np.abs(many.flux) > 60) & (fitted.flags == 0)
    truth = getattr(many, quantity)
    truth = truth if truth.ndim == 2 else truth[:, None]
    pull = _pulls(getattr(fitted, quantity), getattr(fitted, f"{quantity}_err"), truth, use)
    assert pull.size > 3000
    assert abs(pull.mean()) < 0.08
    assert 0.95 < pull.std() < 1.05
    assert 0.66 < np.mean(np.abs(pull) < 1) < 0.70


def test_pulls_of_equivalent_widths_are_normal(simulate) -> None:
    level = 20.0
    truth = simulate(300, strength=(60.0, 300.0), level=level, seed=5)
    fit = fit_lines(truth.spectra, truth.lines, OPTIONS)
    use = (np.abs(truth.flux) > 60) & (fit.flags == 0)
    pull = _pulls(fit.ew, fit.ew_err, truth.flux / level, use)
    assert pull.size > 1000
    assert 0.95 < pull.std() < 1.05


@pytest.mark.parametrize("pixels", [0.3, 0.5, 1.0, 2.0, 5.0])
def test_lines_of_any_width_are_recovered(simulate, pixels) -> None:
    """Of no line-spread function, random sub-pixel shifts, observed dispersion 0.3-5 pixels."""
    kms = pixels * 1.25 / 6600.0 * C_KMS
    truth = simulate(100, fwhm=0.0, sigma=(kms, 1.02 * kms), strength=400.0, seed=8)
    fit = fit_lines(truth.spectra, truth.lines, replace(OPTIONS, max_sigma=600.0))
    i = fit.index("SII6716")
    pull = (fit.flux - truth.flux)[:, i] / fit.flux_err[:, i]
    assert abs(pull.mean()) < 0.35
    assert 0.8 < pull.std() < 1.2
    assert np.median(np.abs(fit.velocity[:, i] - truth.velocity)) < 0.3 * max(kms, 57.0)


def test_without_noise_the_truth_comes_out(simulate) -> None:
    truth = simulate(20, noise=0.0)
    fit = fit_lines(truth.spectra, truth.lines, OPTIONS)
    np.testing.assert_allclose(fit.flux, truth.flux, rtol=1e-6)
    np.testing.assert_allclose(fit.velocity, np.tile(truth.velocity[:, None], 11), atol=1e-4)
    np.testing.assert_allclose(fit.sigma, np.tile(truth.sigma[:, None], 11), atol=1e-3)
    np.testing.assert_allclose(fit.flux_direct, fit.flux, rtol=0.01)


def test_lines_that_are_not_there_have_no_flux_on_average(simulate) -> None:
    noise = simulate(400, strength=0.0, seed=3)
    fit = fit_lines(noise.spectra, noise.lines, OPTIONS)
    mean = fit.flux.mean(axis=0)
    assert np.all(np.abs(mean) < 3.5 * fit.flux.std(axis=0) / np.sqrt(400))
    assert np.all((fit.flags & Flag.NOT_DETECTED > 0) == (np.abs(fit.snr) < OPTIONS.detection))
    assert np.mean(fit.flags & Flag.NOT_DETECTED > 0) > 0.9
    assert np.mean(fit.flags & Flag.NOT_CONVERGED > 0) < 0.002


def test_upper_limits_hold(simulate) -> None:
    noise = simulate(300, strength=0.0, seed=4)
    fit = fit_lines(noise.spectra, noise.lines, OPTIONS)
    assert np.all(fit.upper_limit > 0)
    assert np.mean(np.abs(fit.flux_fixed) < fit.upper_limit) > 0.99
    np.testing.assert_allclose(fit.upper_limit, 3 * fit.flux_fixed / fit.snr_fixed)


def test_a_sodium_trough_comes_out(many, fitted) -> None:
    i = fitted.index("NaI5890")
    deep = (many.flux[:, i] < -100) & (many.sigma < 150)
    assert deep.mean() > 0.2
    assert np.all(fitted.flux[deep, i] < 0)
    pull = ((fitted.flux - many.flux) / fitted.flux_err)[deep, i]
    assert abs(pull.mean()) < 0.2


@pytest.mark.parametrize("k", [1e-17, 3.7, 1e6])
def test_flux_times_k_gives_flux_and_error_times_k(many, k) -> None:
    gas = many.spectra.take(slice(0, 40))
    scaled = replace(gas, flux=k * gas.flux, error=k * gas.error)
    one, other = (fit_lines(item, many.lines, OPTIONS) for item in (gas, scaled))
    for name in ("flux", "flux_err", "amplitude", "flux_direct", "upper_limit"):
        np.testing.assert_allclose(getattr(other, name), k * getattr(one, name), rtol=1e-6)
    for name in ("velocity", "velocity_err", "sigma", "chi2"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-6, atol=1e-5)


def test_velocities_move_with_the_axis(simulate) -> None:
    truth = simulate(20, noise=0.0)
    gas, step = replace(truth.spectra, medium="vacuum"), 1 + 100.0 / C_KMS
    moved = replace(gas, wave=gas.wave * step, edges=gas.edges * step, lsf=gas.lsf * step)
    one, other = (fit_lines(item, truth.lines, OPTIONS) for item in (gas, moved))
    shift = C_KMS * ((1 + one.velocity / C_KMS) * step - 1)
    np.testing.assert_allclose(other.velocity, shift, atol=1e-3)
    np.testing.assert_allclose(other.sigma, one.sigma, rtol=1e-4)
    np.testing.assert_allclose(other.flux, step * one.flux, rtol=1e-5)


def test_the_redshift_of_a_vacuum_axis_changes_nothing(many) -> None:
    gas = replace(many.spectra.take(slice(0, 10)), medium="vacuum")
    one, other = (fit_lines(replace(gas, redshift=z), many.lines, OPTIONS) for z in (0.0, 0.2))
    for name in VALUES:
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-7)


def test_ties_hold_exactly(fitted) -> None:
    i = {name: fitted.index(name) for name in fitted.names}
    line_set = load_line_set()
    for name, parent in (("OIII4959", "OIII5007"), ("NII6548", "NII6583")):
        ratio = line_set[name].ratio
        np.testing.assert_allclose(fitted.flux[:, i[name]], ratio * fitted.flux[:, i[parent]])
        np.testing.assert_allclose(fitted.snr[:, i[name]], fitted.snr[:, i[parent]])
    for one, other in (("SII6716", "SII6731"), ("NII6548", "NII6583"), ("NaI5890", "NaI5896")):
        for name in ("velocity", "velocity_err", "sigma", "sigma_err"):
            value = getattr(fitted, name)
            np.testing.assert_array_equal(value[:, i[one]], value[:, i[other]])


def test_order_and_number_of_rows_change_nothing(many, fitted) -> None:
    rows = np.random.default_rng(0).permutation(600)[:130]
    part = fit_lines(many.spectra.take(rows), many.lines, OPTIONS)
    for name in VALUES:
        np.testing.assert_allclose(getattr(part, name), getattr(fitted, name)[rows], rtol=1e-8)


def test_blocks_change_nothing(many, fitted, monkeypatch) -> None:
    monkeypatch.setattr("betis.compute.BLOCK", 50)
    told: list[int] = []
    part = fit_lines(many.spectra.take(slice(0, 120)), many.lines, OPTIONS, progress=told.append)
    assert told == [50, 50, 20]
    for name in VALUES:
        np.testing.assert_allclose(getattr(part, name), getattr(fitted, name)[:120], rtol=1e-8)


def test_a_bad_row_changes_no_other_and_is_flagged(many, fitted) -> None:
    gas = many.spectra.take(slice(0, 12))
    flux, mask = gas.flux.copy(), gas.mask.copy()
    flux[3], mask[7], flux[5] = np.nan, True, 1e300
    fit = fit_lines(replace(gas, flux=flux, mask=mask), many.lines, OPTIONS)
    for row in (3, 7):
        assert np.isnan(fit.flux[row]).all()
        assert np.all(fit.flags[row] == Flag.NO_DATA)
        assert np.isnan(fit.chi2[row]).all()
    others = [0, 1, 2, 4, 6, 8, 9, 10, 11]
    for name in VALUES:
        np.testing.assert_allclose(
            getattr(fit, name)[others], getattr(fitted, name)[others], rtol=1e-8
        )


def test_a_hot_pixel_inside_the_mask_changes_nothing(many, fitted) -> None:
    gas = many.spectra.take(slice(0, 8))
    flux, mask = gas.flux.copy(), gas.mask.copy()
    place = int(np.searchsorted(gas.wave, 6590.0))
    mask[:, place] = True
    clean = fit_lines(replace(gas, mask=mask), many.lines, OPTIONS)
    flux[:, place] = 1e4
    hot = fit_lines(replace(gas, flux=flux, mask=mask), many.lines, OPTIONS)
    for name in VALUES:
        np.testing.assert_array_equal(getattr(hot, name), getattr(clean, name))


def test_a_hot_pixel_outside_the_mask_changes_only_its_own_group(many, fitted) -> None:
    gas = many.spectra.take(slice(0, 40))
    flux = gas.flux.copy()
    flux[:, int(np.searchsorted(gas.wave, 4845.0))] = 1e4
    hot = fit_lines(replace(gas, flux=flux), many.lines, OPTIONS)
    hit = fitted.group == fitted.group[fitted.index("Hb4861")]
    for name in ("flux", "velocity", "sigma"):
        change = getattr(hot, name) - getattr(fitted, name)[:40]
        assert np.all(np.abs(change / getattr(fitted, f"{name}_err")[:40])[:, ~hit] < 1e-3)
    assert np.all(hot.flags[:, hit] & Flag.BAD_CHI2 > 0)


def test_lines_outside_the_spectra_stay_in_the_table(simulate) -> None:
    line_set = load_line_set()
    truth = simulate(4)
    fit = fit_lines(truth.spectra, line_set, OPTIONS)
    assert fit.names == line_set.names
    outside = [fit.index(name) for name in ("OII3726", "SIII9069")]
    assert np.isnan(fit.flux[:, outside]).all()
    assert np.all(fit.flags[:, outside] == Flag.NO_DATA)
    assert np.all(np.isfinite(fit.flux[:, fit.index("Ha6563")]))
    assert fit.chi2.shape[1] == fit.group.max() + 1


def test_spectra_without_any_line_give_an_empty_table(simulate) -> None:
    truth = simulate(3, wave=np.arange(5300.0, 5500.0, 1.25))
    fit = fit_lines(truth.spectra, truth.lines, OPTIONS)
    assert np.all(fit.flags == Flag.NO_DATA)


def test_a_masked_line_is_lost_and_its_group_is_not(many, fitted) -> None:
    gas = many.spectra.take(slice(0, 5))
    mask = gas.mask.copy()
    mask[:, np.abs(gas.wave - 6716.44) < 15] = True
    fit = fit_lines(replace(gas, mask=mask), many.lines, OPTIONS)
    one, other = fit.index("SII6716"), fit.index("SII6731")
    assert np.all(fit.flags[:, one] & (Flag.NO_DATA | Flag.FEW_PIXELS) > 0)
    assert np.all(np.isfinite(fit.flux[:, other]))


def test_too_few_pixels_are_flagged(many) -> None:
    gas = many.spectra.take(slice(0, 2))
    mask = np.abs(gas.wave - 4861.33) > 2.5
    fit = fit_lines(replace(gas, mask=np.tile(mask, (2, 1))), many.lines, OPTIONS)
    i = fit.index("Hb4861")
    assert np.all(fit.flags[:, i] & Flag.FEW_PIXELS > 0)
    assert np.isnan(fit.flux[:, i]).all()
    assert np.all(fit.dof[:, fit.group[i]] == 0)


def test_bounds_are_respected_and_flagged(many) -> None:
    tight = replace(OPTIONS, max_velocity=50.0)
    fit = fit_lines(many.spectra.take(slice(0, 60)), many.lines, tight)
    assert np.all(np.abs(fit.velocity) <= 50.0)
    at_edge = np.abs(fit.velocity) == 50.0
    assert at_edge.mean() > 0.3
    assert np.all(fit.flags[at_edge] & Flag.AT_BOUND > 0)
    assert np.all(fit.velocity_err[at_edge] > 0)


def test_unresolved_lines_have_no_width_and_a_finite_error(simulate) -> None:
    truth = simulate(80, sigma=(0.0, 1.0), strength=100.0)
    fit = fit_lines(truth.spectra, truth.lines, OPTIONS)
    thin = fit.sigma == 0
    assert 0.2 < thin.mean() < 0.8
    assert np.all((fit.flags & Flag.UNRESOLVED > 0) == thin)
    assert np.all(np.isfinite(fit.sigma_err) & (fit.sigma_err > 0))
    i = fit.index("OIII5007")
    pull = (fit.flux - truth.flux)[:, i] / fit.flux_err[:, i]
    assert 0.7 < pull.std() < 1.3


def test_the_error_of_a_width_is_linear_until_the_width_is_lost() -> None:
    sigma, error = intrinsic(np.array([5.0, 3.0, 2.0]), np.full(3, 0.1), np.full(3, 3.0))
    np.testing.assert_allclose(sigma, [4.0, 0.0, 0.0])
    np.testing.assert_allclose(error, [5.0 * 0.1 / 4.0, np.sqrt(0.3), np.sqrt(0.2)])


def test_sky_windows_and_bad_fits_are_flagged(many) -> None:
    gas = many.spectra.take(slice(0, 4))
    window = np.abs(gas.wave - 6563.0) < 12
    fit = fit_lines(replace(gas, sky_window=window, error=gas.error / 3), many.lines, OPTIONS)
    i = fit.index("Ha6563")
    assert np.all(fit.flags[:, i] & Flag.IN_SKY_WINDOW > 0)
    assert np.all(fit.flags[:, fit.index("Hb4861")] & Flag.IN_SKY_WINDOW == 0)
    assert np.all(fit.flags & Flag.BAD_CHI2 > 0)


def test_equivalent_widths_take_the_continuum_that_was_subtracted(simulate) -> None:
    truth = simulate(10, strength=300.0, sigma=(60.0, 100.0))
    gas = truth.spectra
    model = np.broadcast_to(10.0 + 0.002 * (gas.wave - 6000.0), gas.flux.shape)
    fit = fit_lines(gas, truth.lines, OPTIONS, continuum=_continuum(model))
    level = 10.0 + 0.002 * (fit.wave_obs - 6000.0)
    np.testing.assert_allclose(fit.ew, fit.flux / level, rtol=0.1)
    alone = fit_lines(gas, truth.lines, OPTIONS)
    assert np.isnan(alone.ew).mean() > 0.9
    np.testing.assert_array_equal(alone.flux, fit.flux)


def test_another_galaxys_continuum_is_refused(simulate) -> None:
    truth = simulate(3)
    with pytest.raises(InputError, match=r"the continuum has shape \(2, 1616\)"):
        fit_lines(truth.spectra, truth.lines, OPTIONS, continuum=_continuum(np.ones((2, 1616))))


def test_statistics_are_consistent(many, fitted) -> None:
    ratio = fitted.chi2 / fitted.dof
    assert 0.97 < ratio.mean() < 1.03
    parameters = (fitted.bic - fitted.chi2) / np.log(fitted.dof + 9)
    i = fitted.group[fitted.index("Ha6563")]
    np.testing.assert_allclose(
        fitted.bic[:, i], fitted.chi2[:, i] + 8 * np.log(fitted.dof[:, i] + 8)
    )
    assert parameters.min() > 4
    np.testing.assert_allclose(
        fitted.amplitude * np.sqrt(2 * np.pi) * fitted.sigma_obs, fitted.flux, rtol=1e-12
    )


def test_fits_converge_in_few_steps_and_few_programs(many, fitted) -> None:
    """Deterministic measures of speed: iterations, and one program a class of groups."""
    assert np.mean(fitted.flags & Flag.NOT_CONVERGED > 0) < 0.001
    assert fitted.n_iter.mean() < 12
    assert np.quantile(fitted.n_iter, 0.99) < 25
    before = compute.programs_made()
    fit_lines(many.spectra.take(slice(0, 33)), many.lines, OPTIONS)
    assert compute.programs_made() == before > 0


def test_an_empty_stack_gives_an_empty_table(many) -> None:
    wave = many.spectra.wave
    empty = Spectra(wave, np.zeros((0, wave.size)), np.zeros((0, wave.size)))
    fit = fit_lines(empty, many.lines, OPTIONS)
    assert fit.flux.shape == (0, 11)


def test_the_error_of_the_continuum_under_a_line_is_in_the_error_of_its_flux(simulate) -> None:
    """Dips of random depth under Hbeta: pulls are unit with their size known, wide without."""
    truth = simulate(300, strength=(60.0, 120.0), sigma=(40.0, 60.0), seed=11)
    gas, depth = truth.spectra, 1.5
    index = truth.lines.names.index("Hb4861")
    place = truth.lines.waves("air", 0.0)[index]
    dip = np.exp(-0.5 * ((gas.wave / place - 1) * C_KMS / 500.0) ** 2)
    dips = depth * np.random.default_rng(2).normal(size=(gas.n_spectrum, 1)) * dip
    continuum = _continuum(np.zeros(gas.flux.shape))
    known = replace(
        continuum, core_wave=np.array([place]), core_err=np.full((gas.n_spectrum, 1), depth)
    )
    spoiled = replace(gas, flux=gas.flux + dips)
    fits = {
        name: fit_lines(spoiled, truth.lines, OPTIONS, continuum=given)
        for name, given in (("unknown", continuum), ("known", known))
    }
    widths = {
        name: np.std((fit.flux - truth.flux)[:, index] / fit.flux_err[:, index])
        for name, fit in fits.items()
    }
    assert widths["unknown"] > 1.4
    assert widths["known"] == pytest.approx(1.0, abs=0.15)
    others = np.delete(np.arange(len(truth.lines.names)), index)
    np.testing.assert_array_equal(
        fits["known"].flux_err[:, others], fits["unknown"].flux_err[:, others]
    )
