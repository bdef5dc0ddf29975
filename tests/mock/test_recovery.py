"""Comparison with the truth: unbiased where the fits are, and blind to nothing."""

from dataclasses import replace

import numpy as np
import pytest

from betis.errors import InputError
from betis.flags import Flag
from betis.mock import MockOptions, compare, make_galaxy
from betis.mock.recovery import LINES
from betis.products import ContinuumFit, LineFit, Sky

NAMES = (*LINES, "OI6300")


@pytest.fixture(scope="module")
def truth():
    return make_galaxy(MockOptions(n_y=60, n_x=60)).truth


@pytest.fixture(scope="module")
def bin_id(truth):
    """Bins of 2 x 2 spaxels; those that touch the edge of the field are in none."""
    y, x = np.indices(truth.shape) // 2
    block = 30 * y + x
    outside = np.unique(block[np.isnan(truth.velocity)])
    kept = np.setdiff1d(np.unique(block), outside)
    number = np.full(block.max() + 1, -1, np.int32)
    number[kept] = np.arange(kept.size)
    return number[block]


def in_bins(values, bin_id):
    return np.array([values[bin_id == row].sum() for row in range(bin_id.max() + 1)])


def synthesise(truth, bin_id, noise=1.0, seed=3):
    """Return fits that are the truth plus Gaussian noise of the size they claim."""
    rng = np.random.default_rng(seed)
    maps = [truth.flux[truth.names.index(name)] for name in NAMES]
    flux = np.array([in_bins(m, bin_id) for m in maps]).T
    velocity = np.array([in_bins(m * truth.velocity, bin_id) for m in maps]).T / flux
    flux_err, velocity_err = 0.03 * flux, rng.uniform(1, 5, flux.shape)
    found = flux + noise * flux_err * rng.standard_normal(flux.shape)
    shift = noise * velocity_err * rng.standard_normal(flux.shape)
    light = in_bins(truth.continuum, bin_id)
    stars = in_bins(truth.continuum * truth.stellar_velocity, bin_id) / light
    stars_err = rng.uniform(2, 10, stars.size)
    lines = blank(LineFit, len(flux), names=NAMES)
    lines = replace(lines, flux=found, flux_err=flux_err, snr=found / flux_err)
    lines = replace(lines, velocity=velocity + shift, velocity_err=velocity_err)
    lines = replace(lines, flags=np.zeros(flux.shape, np.int32))
    continuum = replace(
        blank(ContinuumFit, len(flux)),
        velocity=stars + noise * stars_err * rng.standard_normal(stars.size),
        velocity_err=stars_err,
        flags=np.zeros(stars.size, np.int32),
    )
    return lines, continuum


def blank(kind, n_row, **values):
    """Return a container whose other fields are NaN, which no comparison may read."""
    required = [f for f in kind.__dataclass_fields__ if f not in {*values, "sky", "flux_cov"}]
    return kind(**values, **{name: np.full((n_row, 1), np.nan) for name in required})


@pytest.fixture(scope="module")
def fits(truth, bin_id):
    return synthesise(truth, bin_id)


def test_the_truth_itself_has_no_bias(truth, bin_id):
    recovery = compare(truth, bin_id, *synthesise(truth, bin_id, noise=0.0))
    assert [row.line for row in recovery.lines] == list(LINES)
    for row in recovery.lines:
        assert row.n == bin_id.max() + 1
        assert row.flux_bias == pytest.approx(0, abs=1e-12)
        assert row.velocity_bias == pytest.approx(0, abs=1e-9)
    assert recovery.stars.velocity_bias == pytest.approx(0, abs=1e-9)


def test_noise_of_the_size_claimed_gives_unit_pulls(truth, bin_id, fits):
    recovery = compare(truth, bin_id, *fits)
    for row in recovery.lines:
        spread = 5 / np.sqrt(2 * row.n)
        assert row.n > 700
        assert abs(row.flux_bias) < 5 * 0.03 * 1.25 / np.sqrt(row.n)
        assert row.flux_pull_std == pytest.approx(1, abs=spread)
        assert row.velocity_pull_std == pytest.approx(1, abs=spread)
        assert row.flux_pull_robust == pytest.approx(1, abs=2 * spread)
        assert row.velocity_pull_robust == pytest.approx(1, abs=2 * spread)
    assert recovery.stars.velocity_pull_std == pytest.approx(1, abs=spread)
    assert abs(recovery.stars.velocity_bias) < 1


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0, 1e-9), (1.0, 0.01)])
def test_a_bias_of_five_percent_is_seen(truth, bin_id, noise, tolerance):
    lines, continuum = synthesise(truth, bin_id, noise)
    biased = replace(lines, flux=1.05 * lines.flux)
    for row in compare(truth, bin_id, biased, continuum).lines:
        assert row.flux_bias == pytest.approx(0.05, abs=tolerance)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_errors_that_are_wrong_are_seen(truth, bin_id, fits, factor):
    lines, continuum = fits
    wrong = replace(
        lines, flux_err=lines.flux_err * factor, velocity_err=lines.velocity_err * factor
    )
    row = compare(truth, bin_id, wrong, continuum)["Ha6563"]
    assert row.flux_pull_std == pytest.approx(1 / factor, rel=0.15)
    assert row.velocity_pull_std == pytest.approx(1 / factor, rel=0.15)


def test_shifted_velocities_are_seen(truth, bin_id, fits):
    lines, continuum = fits
    recovery = compare(
        truth,
        bin_id,
        replace(lines, velocity=lines.velocity - 4.0),
        replace(continuum, velocity=continuum.velocity + 7.0),
    )
    assert recovery.stars.velocity_bias == pytest.approx(7, abs=1)
    assert recovery["SII6731"].velocity_bias == pytest.approx(-4, abs=0.5)


@pytest.mark.parametrize("flag", [Flag.FIT_FAILED, Flag.AT_BOUND, Flag.NO_DATA])
def test_faint_and_flagged_rows_are_left_out(truth, bin_id, fits, flag):
    lines, continuum = fits
    flux, snr, flags = lines.flux.copy(), lines.snr.copy(), lines.flags.copy()
    flux[:300], flags[:200], snr[200:300] = np.nan, flag, 9.9
    stars, bad = continuum.velocity.copy(), continuum.flags.copy()
    stars[:50], bad[:50] = 1e4, flag
    recovery = compare(
        truth,
        bin_id,
        replace(lines, flux=flux, snr=snr, flags=flags),
        replace(continuum, velocity=stars, flags=bad),
    )
    assert recovery["Ha6563"].n == len(flux) - 300
    assert np.isfinite(recovery["Ha6563"].flux_pull_std)
    assert recovery.stars.n == len(flux) - 50
    assert abs(recovery.stars.velocity_bias) < 1


def test_an_outlier_moves_the_plain_spread_only(truth, bin_id, fits):
    lines, continuum = fits
    flux = lines.flux.copy()
    flux[10] += 100 * lines.flux_err[10]
    row = compare(truth, bin_id, replace(lines, flux=flux), continuum)["Hb4861"]
    assert row.flux_pull_std > 3
    assert row.flux_pull_robust == pytest.approx(1, abs=0.2)


def test_rows_of_which_none_is_good_give_nan(truth, bin_id, fits):
    lines, continuum = fits
    recovery = compare(truth, bin_id, replace(lines, snr=0 * lines.snr), continuum)
    assert all(row.n == 0 and np.isnan(row.flux_bias) for row in recovery.lines)


def test_only_lines_that_are_true_and_fitted_are_compared(truth, bin_id, fits):
    lines, continuum = fits
    fewer = replace(truth, names=tuple(n.replace("SII6716", "none") for n in truth.names))
    recovery = compare(fewer, bin_id, lines, continuum)
    assert [row.line for row in recovery.lines] == [n for n in LINES if n != "SII6716"]
    with pytest.raises(InputError, match="the line SII6716 was not compared; these were: Ha6563"):
        recovery["SII6716"]


def test_fits_of_another_cube_are_refused(truth, bin_id, fits):
    lines, continuum = fits
    with pytest.raises(InputError, match=r"the bins are of a field of \(59, 60\) spaxels"):
        compare(truth, bin_id[1:], lines, continuum)
    with pytest.raises(InputError, match=r"there are .* bins, but .* rows of lines and"):
        compare(truth, bin_id, lines, blank(ContinuumFit, 3))


@pytest.mark.parametrize("scale", [1e-16, 1e-17, 1e-20])
def test_fluxes_in_another_unit_are_compared_in_that_of_the_truth(truth, bin_id, fits, scale):
    lines, continuum = fits
    sky = Sky(shape=truth.shape, flux_scale=scale)
    unit = scale / 1e-20
    other = replace(lines, flux=lines.flux / unit, flux_err=lines.flux_err / unit, sky=sky)
    found, expected = (compare(truth, bin_id, fit, continuum) for fit in (other, lines))
    for row, same in zip(found.lines, expected.lines, strict=True):
        assert row.flux_bias == pytest.approx(same.flux_bias, abs=1e-9)
        assert row.flux_pull_std == pytest.approx(same.flux_pull_std, rel=1e-9)


def test_an_unknown_unit_is_taken_for_that_of_the_truth(truth, bin_id, fits):
    lines, continuum = fits
    unknown = replace(lines, sky=Sky(shape=truth.shape, flux_scale=0.0))
    assert compare(truth, bin_id, unknown, continuum) == compare(truth, bin_id, lines, continuum)
