"""Resampling keeps the flux, and knows the variance of every sum of pixels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cubes import line

import betis
from betis.errors import ConfigError, InputError
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.lsf import FWHM_PER_SIGMA, muse_fwhm
from betis.options import LineOptions
from betis.products import Spectra
from betis.resampling import flux_conserving, linear, linear_axis, pixel_bounds, resample
from betis.wavelength import pixel_edges

MUSE = 4750.0 + 1.25 * np.arange(400)
OFFSET = 4751.3 + 1.0 * np.arange(490)


@st.composite
def axes(draw):
    """Centres near 5000 A: a constant step, a constant ratio, or two pieces with a gap between."""
    start, step = draw(st.floats(4900.0, 4905.0)), draw(st.floats(0.3, 4.0))
    count = draw(st.integers(30, 120))
    kind = draw(st.sampled_from(["linear", "log", "gap"]))
    if kind == "log":
        return start * np.exp(step / 5000.0 * np.arange(count))
    wave = start + step * np.arange(count)
    if kind == "gap":
        first = draw(st.integers(5, count - 15))
        return np.delete(wave, slice(first, first + draw(st.integers(1, 8))))
    return wave


def bounds(wave):
    return pixel_bounds(wave, pixel_edges(wave))


def stack(wave, seed=0, n_spectrum=3, masked=0.0):
    rng = np.random.default_rng(seed)
    shape = (n_spectrum, wave.size)
    flux, error = rng.normal(5, 2, shape), rng.uniform(0.5, 2.0, shape)
    return Spectra(wave, flux, error, rng.random(shape) < masked, edges=pixel_edges(wave), lsf=2.5)


def integral(low, high, flux, start, stop):
    """Integral of a piecewise-constant spectrum, pixel by pixel, in plain words."""
    covered = np.maximum(np.minimum(high, stop) - np.maximum(low, start), 0.0)
    return float(np.sum(flux * covered))


def dense(operator, variance):
    matrix = operator.toarray()
    return matrix @ np.diag(variance) @ matrix.T


@given(source=axes(), target=axes(), seed=st.integers(0, 100))
def test_flux_is_conserved_between_any_two_axes(source, target, seed):
    flux = np.random.default_rng(seed).normal(3, 2, source.size)
    (low, high), (first, last) = bounds(source).T, bounds(target).T
    made = flux_conserving(bounds(source), bounds(target)) @ flux
    wanted = [integral(low, high, flux, *pixel) for pixel in zip(first, last, strict=True)]
    scale = np.abs(flux).max() * (last - first)
    np.testing.assert_allclose(made * (last - first) / scale, wanted / scale, atol=1e-12)
    common = sum(
        integral(first, last, np.ones(target.size), *at) * f
        for at, f in zip(zip(low, high, strict=True), flux, strict=True)
    )
    assert np.sum(made * (last - first)) == pytest.approx(common, rel=1e-12, abs=1e-9)


@given(source=axes(), step=st.floats(0.4, 3.0))
def test_the_flux_between_two_edges_of_the_new_axis_is_what_it_was(source, step):
    spectra = stack(source)
    made = resample(spectra, step=step)
    low, high = bounds(source).T
    whole = flux_conserving(bounds(source), made.edges).sum(axis=1) > 1 - 1e-9
    for start, stop in runs(whole):
        wanted = integral(low, high, spectra.flux[0], made.edges[start], made.edges[stop])
        found = np.sum((made.flux[0] * np.diff(made.edges))[start:stop])
        assert found == pytest.approx(wanted, rel=1e-12, abs=1e-10)


def runs(true):
    change = np.flatnonzero(np.diff(np.concatenate([[0], true, [0]])))
    return zip(change[::2], change[1::2], strict=True)


def test_a_constant_stays_a_constant():
    flat = Spectra(MUSE, np.full(MUSE.size, 7.0), np.ones(MUSE.size), edges=pixel_edges(MUSE))
    for method in ("conserving", "linear"):
        np.testing.assert_allclose(resample(flat, method=method).flux, 7.0, rtol=1e-12)


@given(source=axes(), target=axes(), masked=st.sampled_from([0.0, 0.2]))
@pytest.mark.parametrize("method", ["conserving", "linear"])
def test_the_bands_are_the_covariance_of_the_dense_algebra(method, source, target, masked):
    spectra = stack(source, masked=masked)
    made = resample(spectra, target, method=method)
    operator = (
        flux_conserving(bounds(source), bounds(target))
        if method == "conserving"
        else linear(source, target)
    )
    for row in range(spectra.n_spectrum):
        good = ~spectra.mask[row]
        own = operator * good
        share = np.where(made.mask[row], np.inf, own.sum(axis=1))
        whole = dense(own, np.where(good, spectra.error[row], 0.0) ** 2) / np.outer(share, share)
        n_band = made.covariance.shape[1]
        for lag in range(target.size):
            band = np.diagonal(whole, lag)
            wanted = made.covariance[row, lag, : band.size] if lag < n_band else 0.0
            np.testing.assert_allclose(band, wanted, rtol=1e-9, atol=1e-12)


@given(step=st.floats(0.4, 3.0), seed=st.integers(0, 1000), masked=st.sampled_from([0.0, 0.1]))
def test_the_variance_of_any_sum_is_that_of_the_input_pixels_it_is_made_of(step, seed, masked):
    spectra = stack(MUSE, seed, n_spectrum=2, masked=masked)
    made = resample(spectra, step=step)
    weights = np.random.default_rng(seed).normal(0, 1, made.wave.size)
    operator = flux_conserving(spectra.edges, made.edges)
    for row in range(2):
        good = ~spectra.mask[row]
        share = np.where(made.mask[row], np.inf, operator @ good.astype(float))
        own = (operator.T @ (weights / share)) * good
        wanted = np.sum((own * np.where(good, spectra.error[row], 0.0)) ** 2)
        assert made.variance_of(weights)[row] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("method", ["conserving", "linear"])
def test_noise_scatters_as_the_covariance_says_and_not_as_independent_pixels_would(method):
    n_noise, wave = 40_000, MUSE[:60]
    sigma = np.random.default_rng(1).uniform(0.5, 2.0, wave.size)
    noise = np.random.default_rng(2).normal(0, sigma, (n_noise, wave.size))
    spectra = Spectra(wave, noise, np.broadcast_to(sigma, noise.shape), edges=pixel_edges(wave))
    made = resample(spectra, method=method)
    for start, stop in ((0, made.wave.size), (10, 30), (17, 19), (25, 26)):
        scatter = made.flux[:, start:stop].sum(axis=1).var()
        assert made.variance_of_sum(start, stop)[0] == pytest.approx(scatter, rel=0.025)
        if stop - start > 10:
            alone = np.sum(made.error[0, start:stop] ** 2)
            assert scatter > 1.1 * alone
    weights = np.random.default_rng(3).normal(0, 1, (30, made.wave.size))
    ratio = [np.var(made.flux @ each) / made.variance_of(each)[0] for each in weights]
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.01)


def test_the_variance_of_an_integral_over_whole_input_pixels_is_known_to_one_per_cent():
    spectra = stack(MUSE)
    made = resample(spectra, step=0.5)
    start, stop = np.searchsorted(made.wave, [4800.0, 4900.0])
    found = made.variance_of_sum(start, stop) * 0.5**2
    inside = (spectra.wave > made.edges[start]) & (spectra.wave < made.edges[stop])
    wanted = np.sum((1.25 * spectra.error[:, inside]) ** 2, axis=1)
    np.testing.assert_allclose(found, wanted, rtol=0.03)
    assert np.all(np.sum(made.error[:, start:stop] ** 2, axis=1) * 0.5**2 < 0.6 * wanted)


@pytest.mark.parametrize("redshift", [0.0, 0.0264, 0.05, 0.1])
def test_without_the_covariance_the_variance_of_a_sum_is_half_again_too_small(redshift):
    wave = (4750.0 + 1.25 * np.arange(3681)) / (1 + redshift)
    even = Spectra(wave, np.zeros(wave.size), np.ones(wave.size), edges=pixel_edges(wave))
    made = resample(even)
    for start in range(0, 4000, 17):
        alone = np.sum(made.error[0, start : start + 20] ** 2)
        assert 1.5 < made.variance_of_sum(start, start + 20)[0] / alone < 1.71
    neighbours = made.covariance[0, 1, :-1] / (made.error[0, :-1] * made.error[0, 1:])
    assert 0.3 < neighbours.mean() < 0.45


@pytest.mark.parametrize("redshift", [0.0, 0.0264, 0.05, 0.1])
def test_linear_interpolation_claims_a_wrong_variance_for_pixels_and_for_sums(redshift):
    wave = (4750.0 + 1.25 * np.arange(3681)) / (1 + redshift)
    even = Spectra(wave, np.zeros(wave.size), np.ones(wave.size), edges=pixel_edges(wave))
    made = resample(even, method="linear")
    share = made.covariance[0, 0] / made.error[0] ** 2
    assert 0.5 <= share.min() < 0.53
    assert 0.99 < share.max() < 1.0 + 1e-9
    sums = np.array([made.variance_of_sum(at, at + 20)[0] for at in range(0, 4000, 7)])
    excess = sums / np.array([np.sum(made.error[0, at : at + 20] ** 2) for at in range(0, 4000, 7)])
    assert np.all((excess > 1.10) & (excess < 1.24))


@given(source=axes(), step=st.floats(0.4, 3.0))
def test_the_linear_variant_is_numpy_interp_for_flux_and_for_sigma(source, step):
    spectra = stack(source, n_spectrum=1)
    made = resample(spectra, step=step, method="linear")
    good = ~made.mask[0]
    for name in ("flux", "error"):
        wanted = np.interp(made.wave, source, getattr(spectra, name)[0])
        np.testing.assert_allclose(getattr(made, name)[0, good], wanted[good], rtol=1e-12)
    gap = np.diff(source) > 1.9 * np.diff(source).min()
    place = np.searchsorted(source, made.wave, side="right") - 1
    inside_gap = gap[np.clip(place, 0, gap.size - 1)] & ~np.isin(made.wave, source)
    assert np.array_equal(made.mask[0], inside_gap)


@pytest.mark.parametrize("method", ["conserving", "linear"])
@given(wave=axes())
def test_nothing_changes_where_the_axes_agree(method, wave):
    spectra = replace(stack(wave, masked=0.1), edges=pixel_edges(wave) + 0.02)
    made = resample(spectra, wave, method=method)
    for name in ("edges", "flux", "error", "mask"):
        np.testing.assert_array_equal(getattr(made, name), getattr(spectra, name), err_msg=name)
    np.testing.assert_allclose(made.spectra.lsf, spectra.lsf, rtol=1e-7)
    assert not made.covariance[:, 1:].any()


@pytest.mark.parametrize("method", ["conserving", "linear"])
def test_rows_do_not_know_each_other(method):
    spectra = stack(MUSE, n_spectrum=7, masked=0.1)
    whole = resample(spectra, method=method)
    for rows in (slice(0, 3), slice(3, 7), slice(2, 3)):
        part = resample(spectra.take(rows), method=method)
        for name in ("flux", "error", "mask", "covariance"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[rows]), name


@pytest.mark.parametrize("method", ["conserving", "linear"])
@given(factor=st.floats(1e-3, 1e3))
def test_error_and_covariance_scale_with_the_flux(method, factor):
    spectra = stack(MUSE, masked=0.05)
    scaled = Spectra(
        MUSE, factor * spectra.flux, factor * spectra.error, spectra.mask, edges=spectra.edges
    )
    first, second = resample(spectra, method=method), resample(scaled, method=method)
    np.testing.assert_allclose(second.flux, factor * first.flux, rtol=1e-10)
    np.testing.assert_allclose(second.error, factor * first.error, rtol=1e-10)
    np.testing.assert_allclose(second.covariance, factor**2 * first.covariance, rtol=1e-10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
@given(pixel=st.integers(0, MUSE.size - 1), step=st.floats(0.3, 4.0))
def test_a_bad_pixel_reaches_only_the_new_pixels_that_it_overlaps(bad, pixel, step):
    spectra = stack(MUSE, n_spectrum=1)
    flux, mask = spectra.flux.copy(), np.zeros(spectra.mask.shape, bool)
    flux[0, pixel], mask[0, pixel] = bad, np.isfinite(bad)
    spoilt = Spectra(MUSE, flux, spectra.error, mask, edges=spectra.edges)
    before, after = resample(spectra, step=step), resample(spoilt, step=step)
    operator = flux_conserving(spectra.edges, before.edges)
    touched = operator[:, [pixel]].toarray()[:, 0]
    assert np.array_equal(before.flux[0, touched == 0], after.flux[0, touched == 0])
    assert np.array_equal(after.mask[0], touched > 0.5 + 1e-9)
    assert np.all(np.abs(after.flux) < 100)


def test_a_new_pixel_is_the_mean_of_its_good_part_or_masked():
    wave = np.arange(5000.0, 5010.0)
    spectra = Spectra(wave, np.arange(10.0), np.ones(10), wave == 5004.0, edges=pixel_edges(wave))
    made = resample(spectra, 5001.4 + np.arange(6.0))
    assert made.mask[0].tolist() == [False, False, False, True, False, False]
    assert made.flux[0, 0] == pytest.approx(0.6 * 1 + 0.4 * 2)
    assert made.flux[0, 2] == pytest.approx(3.0)
    assert made.error[0, 2] == pytest.approx(1.0)
    assert made.flux[0, 4] == pytest.approx(0.6 * 5 + 0.4 * 6)
    assert (made.flux[0, 3], made.error[0, 3]) == (0.0, np.inf)


def test_what_lies_in_a_gap_is_masked_and_what_lies_beside_it_is_kept():
    wave = np.concatenate([np.arange(5000.0, 5020.0), np.arange(5040.0, 5060.0)])
    spectra = Spectra(wave, np.where(wave < 5030, 1.0, 3.0), np.ones(40), edges=pixel_edges(wave))
    for method in ("conserving", "linear"):
        made = resample(spectra, step=1.0, method=method)
        missing = made.wave[made.mask[0]]
        assert np.array_equal(missing, np.arange(5020.0, 5040.0))
        good = ~made.mask[0]
        np.testing.assert_allclose(made.flux[0, good], np.where(made.wave < 5030, 1.0, 3.0)[good])


@given(step=st.floats(0.1, 9.0), start=st.floats(3000, 9000), native=st.floats(0.2, 3.0))
def test_the_axis_has_round_centres_and_lies_inside_the_spectra(step, start, native):
    wave = start + native * np.arange(300)
    edges = pixel_edges(wave)
    axis = linear_axis(wave, edges, step)
    np.testing.assert_allclose(axis.wave / step, np.round(axis.wave / step), atol=1e-6)
    assert edges[0] - 1e-6 < axis.edges[0]
    assert axis.edges[-1] < edges[-1] + 1e-6
    assert axis.wave[0] - wave[0] < 1.5 * step + native
    assert wave[-1] - axis.wave[-1] < 1.5 * step + native


@pytest.mark.parametrize("method", ["conserving", "linear"])
@pytest.mark.parametrize(("native", "step"), [(1.25, 1.0), (1.218, 1.0), (0.6, 1.0), (1.25, 0.3)])
def test_the_line_spread_function_says_how_broad_a_line_has_become(method, native, step):
    wave = 6400.0 + native * np.arange(300)
    sigma = 1.1
    spectra = Spectra(
        wave,
        np.zeros(wave.size),
        np.ones(wave.size),
        edges=pixel_edges(wave),
        lsf=FWHM_PER_SIGMA * sigma,
    )
    made, centers = resample(spectra, step=step, method=method), np.linspace(6490, 6510, 41)
    operator = (
        flux_conserving(spectra.edges, made.edges)
        if method == "conserving"
        else linear(wave, made.wave)
    )
    widths = []
    for center in centers:
        profile = operator @ gaussian(wave, center, sigma)
        mean = np.sum(made.wave * profile) / profile.sum()
        widths.append(np.sum((made.wave - mean) ** 2 * profile) / profile.sum())
    at = np.searchsorted(made.wave, 6500.0)
    wanted = (made.spectra.lsf[at] / FWHM_PER_SIGMA) ** 2 + step**2 / 12
    assert np.mean(widths) == pytest.approx(wanted, rel=0.02)


def gaussian(wave, center, sigma):
    from scipy.stats import norm

    edges = pixel_edges(wave)
    return np.diff(norm.cdf((edges - center) / sigma)) / np.diff(edges)


def test_a_line_keeps_its_flux_velocity_and_width_when_it_is_fitted_after_resampling():
    redshift, wave = 0.013, 6500.0 + 1.25 * np.arange(400)
    names = ["Ha6563", "NII6583", "SII6716", "SII6731"]
    places = {"Ha6563": 6562.80, "NII6583": 6583.45, "SII6716": 6716.44, "SII6731": 6730.82}
    flux = sum(line(wave, places[n], 500.0, sigma=60.0, redshift=redshift) for n in names)
    lsf = muse_fwhm(wave) / (1 + redshift)
    error = np.full(wave.size, 1.0)
    native = Spectra(
        wave / (1 + redshift),
        (1 + redshift) * flux,
        error,
        redshift=redshift,
        lsf=lsf,
        edges=pixel_edges(wave) / (1 + redshift),
    )
    chosen = load_line_set().select(names)
    before = fit_lines(native, chosen, LineOptions())
    after = fit_lines(resample(native).spectra, chosen, LineOptions())
    np.testing.assert_allclose(after.flux, before.flux, rtol=0.01)
    np.testing.assert_allclose(after.velocity, before.velocity, atol=1.0)
    np.testing.assert_allclose(after.sigma, before.sigma, atol=2.0)


def test_what_is_no_number_travels_with_the_spectra():
    window = (MUSE > 4900) & (MUSE < 4910)
    spectra = Spectra(
        MUSE,
        np.ones((2, MUSE.size)),
        np.ones((2, MUSE.size)),
        medium="vacuum",
        redshift=0.1,
        sky_window=window,
        n_spaxel=np.array([3, 8], np.int32),
        edges=pixel_edges(MUSE),
    )
    made = resample(spectra).spectra
    assert (made.medium, made.redshift, made.n_spaxel.tolist()) == ("vacuum", 0.1, [3, 8])
    inside = made.wave[made.sky_window]
    assert 4899 <= inside.min() <= 4901
    assert 4909 <= inside.max() <= 4911


def test_an_axis_or_a_method_that_makes_no_sense_is_refused():
    spectra = stack(MUSE)
    with pytest.raises(ConfigError, match="'spline', where conserving or linear was expected"):
        resample(spectra, method="spline")
    with pytest.raises(ConfigError, match="both wave and step were given"):
        resample(spectra, OFFSET, step=1.0)
    for step, said in ((0.0, "positive"), (np.nan, "positive"), (1e-6, "at most 1000000")):
        with pytest.raises(ConfigError, match=said):
            resample(spectra, step=step)
    with pytest.raises(ConfigError, match="choose a smaller step"):
        resample(spectra, step=300.0)
    with pytest.raises(InputError, match="strictly increasing"):
        resample(spectra, OFFSET[::-1])
    with pytest.raises(InputError, match="ask for an axis within that"):
        resample(spectra, OFFSET + 5000)
    with pytest.raises(InputError, match=r"weights have shape \(3,\)"):
        resample(spectra).variance_of(np.ones(3))
    with pytest.raises(InputError, match="overlap or are swapped"):
        flux_conserving([[1.0, 2.5], [2.0, 3.0]], [1.0, 2.0])


def test_it_is_a_public_function():
    made = betis.resample(stack(MUSE), OFFSET)
    assert isinstance(made, betis.Resampled)
    assert repr(made).startswith("Resampled(")
