"""Laws of the three kinds of errors, and of the covariance of fluxes."""

from dataclasses import replace

import numpy as np
import pytest
from tests.lines.conftest import simulate as rows_of

from betis.flags import Flag
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.options import LineOptions

OPTIONS = LineOptions()
REALISED = LineOptions(errors="realisations", realisations=30)
ERRORS = ("flux_err", "velocity_err", "sigma_err", "ew_err")
WHOLE = load_line_set("betis41").primary()
SIGNED = WHOLE.select(["Hb4861", "OIII4959", "OIII5007", "NII6548", "Ha6563", "NII6583"])
PAIR = load_line_set().select(["NII6548", "Ha6563", "NII6583", "SII6716", "SII6731"])


@pytest.fixture(scope="module")
def faint():
    """Lines of a S/N of some 3 to 30, with a set of signs and bounds."""
    return rows_of(150, strength=(8.0, 60.0), sigma=(45.0, 70.0), lines=SIGNED, level=30.0, seed=31)


@pytest.fixture(scope="module")
def both(faint):
    return tuple(fit_lines(faint.spectra, SIGNED, options) for options in (OPTIONS, REALISED))


def test_realisations_change_errors_alone(both):
    one, other = both
    for name in ("flux", "velocity", "sigma", "ew", "chi2", "scatter", "w80_err"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ERRORS:
        changed = getattr(one, name) != getattr(other, name)
        assert np.mean(changed, where=one.flux != 0) > 0.7


@pytest.mark.parametrize("name", ERRORS)
def test_both_kinds_of_errors_agree_for_bright_lines(both, name):
    one, other = both
    bright = (one.snr > 12) & (one.flags == 0)
    assert bright.sum() > 100
    assert np.median(getattr(other, name)[bright] / getattr(one, name)[bright]) == pytest.approx(
        1.0, abs=0.06
    )


@pytest.mark.parametrize("name", ["flux", "velocity", "sigma"])
def test_realised_errors_cover(faint, both, name):
    """66-70 % is asked for; a sample of this size tells it to 3 %."""
    truth = getattr(faint, name)
    truth = truth if truth.ndim == 2 else truth[:, None]
    fit = both[1]
    use = (fit.snr > 5) & (fit.flags & Flag.AT_BOUND == 0)
    pull = ((getattr(fit, name) - truth) / getattr(fit, f"{name}_err"))[use]
    assert 0.62 < np.mean(np.abs(pull) < 1) < 0.73
    assert 0.9 < np.std(np.clip(pull, -5, 5)) < 1.25


def test_realised_errors_are_never_zero_or_absent(both):
    covariance, realised = both
    for name in ERRORS[:3]:
        known = np.isfinite(getattr(covariance, name))
        assert np.all(getattr(realised, name)[known] > 0)


def test_order_unit_and_batches_change_no_realisation(faint, both, monkeypatch):
    rows = np.random.default_rng(0).permutation(150)[:20]
    gas = faint.spectra.take(rows)
    monkeypatch.setattr("betis.lines.realisations._AT_ONCE", 100)
    scaled = replace(gas, flux=1e-17 * gas.flux, error=1e-17 * gas.error)
    some, small = (fit_lines(item, SIGNED, REALISED) for item in (gas, scaled))
    for name in ERRORS:
        np.testing.assert_allclose(getattr(some, name), getattr(both[1], name)[rows], rtol=1e-4)
    np.testing.assert_allclose(small.flux_err, 1e-17 * some.flux_err, rtol=1e-4)


def test_another_seed_gives_other_errors(faint):
    gas = faint.spectra.take(slice(0, 10))
    one, other = (fit_lines(gas, SIGNED, replace(REALISED, seed=seed)) for seed in (1, 2))
    assert np.all(one.flux_err != other.flux_err, where=one.flux != 0)


@pytest.mark.parametrize("k", [0.5, 3.0])
def test_residual_errors_do_not_ask_what_the_errors_are_said_to_be(many, k):
    """Right whether the stated errors are too large or too small; pulls are unit."""
    gas = many.spectra
    wrong = replace(gas, error=k * gas.error)
    fit = fit_lines(wrong, many.lines, LineOptions(errors="residual"))
    stated = fit_lines(wrong, many.lines, OPTIONS)
    use = (np.abs(many.flux) > 60) & (stated.flags & Flag.AT_BOUND == 0)
    pull = ((fit.flux - many.flux) / fit.flux_err)[use]
    assert 0.95 < pull.std() < 1.07
    growth = np.sqrt(stated.chi2 / stated.dof)[:, stated.group]
    for name in ("flux_err", "velocity_err", "flux_direct_err"):
        np.testing.assert_allclose(
            getattr(fit, name), growth * getattr(stated, name), rtol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("errors", ["covariance", "residual", "realisations"])
def test_the_covariance_of_fluxes_is_that_of_their_errors(simulate, errors):
    truth = simulate(25, lines=PAIR, strength=100.0, seed=32)
    options = LineOptions(errors=errors, realisations=20, flux_covariance=True)
    fit = fit_lines(truth.spectra, PAIR, options)
    np.testing.assert_allclose(np.einsum("sll->sl", fit.flux_cov), fit.flux_err**2)
    np.testing.assert_allclose(fit.flux_cov, fit.flux_cov.swapaxes(1, 2))
    apart = fit.group[:, None] != fit.group
    assert apart.any()
    assert np.all(fit.flux_cov[:, apart] == 0)
    i, j = fit.index("NII6548"), fit.index("NII6583")
    tied = fit.flux_cov[:, i, j] / (fit.flux_err[:, i] * fit.flux_err[:, j])
    np.testing.assert_allclose(tied, 1.0, rtol=1e-6 if errors != "realisations" else 1e-2)
    assert np.all(np.linalg.eigvalsh(fit.flux_cov) > -1e-9 * fit.flux_err.max() ** 2)


def test_sums_of_blended_fluxes_have_the_error_that_the_covariance_says(simulate):
    """The [S II] lines of broad gas overlap: the error of their sum is not the quadratic one."""
    truth = simulate(500, lines=PAIR, strength=(300.0, 400.0), sigma=(240.0, 250.0), seed=33)
    fit = fit_lines(truth.spectra, PAIR, LineOptions(flux_covariance=True))
    use = [fit.index(name) for name in ("SII6716", "SII6731")]
    change = (fit.flux - truth.flux)[:, use].sum(axis=1)
    block = fit.flux_cov[:, use][:, :, use]
    pull = change / np.sqrt(block.sum(axis=(1, 2)))
    assert 0.92 < pull.std() < 1.08
    quadratic = change / np.sqrt(np.einsum("sll->s", block))
    assert abs(quadratic.std() - 1) > 1.5 * abs(pull.std() - 1)


def test_shared_kinematics_are_held_in_realisations(simulate):
    """Lines that share with others keep the small errors that sharing gives them."""
    lines = load_line_set().select(["Hb4861", "OIII4959", "OIII5007", "Ha6563"])
    truth = simulate(12, lines=lines, strength=60.0, seed=34)
    shared = LineOptions(kinematics="one")
    one = fit_lines(truth.spectra, lines, shared)
    other = fit_lines(truth.spectra, lines, replace(shared, errors="realisations", realisations=40))
    for name in ("flux_err", "velocity_err"):
        ratio = getattr(other, name) / getattr(one, name)
        assert np.median(ratio) == pytest.approx(1.0, abs=0.15)


def test_without_the_option_there_is_no_covariance(many):
    assert fit_lines(many.spectra.take(slice(0, 3)), many.lines, OPTIONS).flux_cov is None
