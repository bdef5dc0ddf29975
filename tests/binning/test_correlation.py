"""Correlated noise in a bin: the law, the Gaussian summed over pairs, and what names them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from tests.binning.fields import disc, field

import betis
from betis.binning.quadtree import quadtree
from betis.binning.voronoi import voronoi
from betis.cli_flags import FLAG_TYPES
from betis.config import options_from
from betis.errors import ConfigError
from betis.options import BinningOptions
from betis.products import BinMap, NoiseCorrelation, noise_growth


def summed_over_pairs(inside, noise, sigma):
    """Noise of a bin over the quadratic sum, from the whole matrix of its pairs."""
    y, x = np.nonzero(inside)
    distance2 = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    rho = np.exp(-distance2 / (4 * sigma**2))
    own = noise[inside]
    return np.sqrt(own @ rho @ own / (own @ own))


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    sigma=st.floats(0.3, 3.0),
    n_bin=st.integers(1, 5),
)
def test_the_gaussian_is_the_sum_over_all_pairs(seed, shape, sigma, n_bin):
    rng = np.random.default_rng(seed)
    bin_id = rng.integers(-1, n_bin, shape).astype(np.int32)
    noise = np.where(bin_id < 0, np.nan, rng.uniform(0.1, 5.0, shape))
    growth = NoiseCorrelation(sigma=sigma).growth(bin_id, noise, n_bin)
    for row in np.unique(bin_id[bin_id >= 0]):
        expected = summed_over_pairs(bin_id == row, noise, sigma)
        assert growth[row] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("sigma", [0.8, 1.92])
def test_smoothed_noise_scatters_as_the_gaussian_says(sigma):
    rng = np.random.default_rng(1)
    white = gaussian_filter(rng.normal(size=(600, 600)), sigma, mode="wrap")
    noise = white / white.std()
    bin_id = np.full((12, 12), -1, dtype=np.int32)
    bin_id[2:9, 3:8] = 0
    bin_id[6:9, 3:5] = -1
    inside = bin_id == 0
    sums = [
        noise[y : y + 12, x : x + 12][inside].sum()
        for y in range(0, 588, 12)
        for x in range(0, 588, 12)
    ]
    growth = NoiseCorrelation(sigma=sigma).growth(bin_id, np.ones((12, 12)))[0]
    assert np.std(sums) == pytest.approx(growth * np.sqrt(inside.sum()), rel=0.05)


@given(side=st.integers(1, 30), sigma=st.floats(0.3, 5.0))
def test_by_its_number_of_spaxels_a_square_has_a_little_more_than_it_has(side, sigma):
    model = NoiseCorrelation(sigma=sigma)
    square = np.zeros((side, side), dtype=np.int32)
    exact = model.growth(square, np.ones((side, side)))[0]
    assert 0.999 * exact <= model.of_count(side**2) <= 1.03 * exact


@given(radius=st.floats(1.0, 15.0), sigma=st.floats(0.3, 5.0))
def test_by_its_number_of_spaxels_a_disc_has_no_less_than_it_has(radius, sigma):
    model = NoiseCorrelation(sigma=sigma)
    y, x = np.indices((33, 33)) - 16
    disc_ = np.where(np.hypot(y, x) <= radius, 0, -1).astype(np.int32)
    exact = model.growth(disc_, np.ones((33, 33)))[0]
    assert 0.999 * exact <= model.of_count(np.sum(disc_ == 0)) <= 1.2 * exact


@given(sigma=st.floats(0.3, 5.0), count=st.integers(1, 900), more=st.integers(1, 900))
def test_growth_starts_at_one_and_rises(sigma, count, more):
    for model in (NoiseCorrelation(sigma=sigma), NoiseCorrelation(alpha=sigma)):
        assert model.of_count(1) == 1.0
        assert model.of_count(count + more) > model.of_count(count)


@given(
    alpha=st.floats(0.01, 2.0), cap=st.integers(2, 200), count=st.integers(1, 400), seed=st.just(0)
)
def test_the_law_stops_at_its_cap(alpha, cap, count, seed):
    model = NoiseCorrelation.of(alpha, cap)
    assert model.of_count(count) == pytest.approx(noise_growth(min(count, cap), alpha), rel=1e-14)
    assert NoiseCorrelation.of(alpha).of_count(count) == noise_growth(count, alpha)


@pytest.mark.parametrize(
    ("name", "alpha", "cap"), [("califa", 1.07, 0), ("manga", 1.62, 100), ("muse", 0.18, 0)]
)
def test_surveys_bring_their_published_law(name, alpha, cap):
    assert NoiseCorrelation.of(name) == NoiseCorrelation(alpha=alpha, cap=cap)
    assert NoiseCorrelation.of(name, 50) == NoiseCorrelation(alpha=alpha, cap=50)


def test_manga_beyond_its_cap_is_the_published_constant():
    assert NoiseCorrelation.of("manga").of_count([100, 101, 5000]) == pytest.approx(4.2, abs=0.05)


def test_a_width_of_zero_is_independent_noise():
    model = NoiseCorrelation.of("gaussian:0")
    bin_id = np.zeros((4, 5), dtype=np.int32)
    assert model.growth(bin_id, np.ones((4, 5))) == 1.0
    assert model.text == "independent"


@pytest.mark.parametrize(
    "text", ["gauss:2", "gaussian:", "gaussian:x", "gaussian:-1", "gaussian:10"]
)
def test_what_names_no_model_is_refused(text):
    with pytest.raises(ConfigError, match=f"is '{text}', where alpha of the law, califa, manga"):
        NoiseCorrelation.of(text)


def test_what_must_be_measured_is_refused_without_a_cube():
    with pytest.raises(ConfigError, match=r"takes a cube; measure it with .*measure_correlation"):
        betis.quadtree(np.ones((3, 3)), np.ones((3, 3)), correlation="measured")


@pytest.mark.parametrize(
    "value", [0, 0.3, 10.0, "califa", "measured", "gaussian:1.92", "gaussian:.8"]
)
def test_numbers_and_models_are_options(value):
    chosen = options_from({"binning": {"correlation": value}}).binning.correlation
    assert chosen == value
    assert isinstance(chosen, str) == isinstance(value, str)


@pytest.mark.parametrize(
    "value", [True, "0.3", "", -0.1, 11, float("nan"), float("inf"), "gaussian:12", "gaussian:1e3"]
)
def test_what_is_neither_is_refused(value):
    with pytest.raises(
        ConfigError,
        match=r"'correlation' of \[binning\] is .*a number from 0 to 10, or one of califa, .*SIGMA",
    ):
        options_from({"binning": {"correlation": value}})


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.3", 0.3), ("1e-1", 0.1), ("califa", "califa"), ("gaussian:2", "gaussian:2")],
)
def test_the_flag_takes_numbers_and_models(text, value):
    parser = FLAG_TYPES["correlation"].__metadata__[0].parser
    assert parser(text) == value


@pytest.mark.parametrize("binning", [quadtree, voronoi])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), sigma=st.sampled_from([0.8, 1.2, 1.92]))
def test_the_snr_of_bins_counts_all_pairs(binning, seed, sigma):
    signal, noise = field(seed, (24, 31), peak=60.0)
    bins = binning(signal, noise, BinningOptions(correlation=f"gaussian:{sigma}"))
    for row in range(0, bins.n_bin, 7):
        inside = bins.bin_id == row
        growth = summed_over_pairs(inside, noise, sigma)
        quadratic = np.sqrt((noise[inside] ** 2).sum())
        assert bins.growth[row] == pytest.approx(growth, rel=1e-3)
        assert bins.snr[row] == pytest.approx(signal[inside].sum() / quadratic / growth, rel=1e-3)
    assert np.all(bins.snr[bins.flags == 0] >= bins.target)
    assert np.all(bins.snr[bins.flags != 0] < bins.target + bins.margin)


@pytest.mark.parametrize("binning", [quadtree, voronoi])
@pytest.mark.parametrize("sigma", [0.8, 1.2, 1.92])
def test_what_reaches_the_target_by_its_number_of_spaxels_reaches_it_by_its_pairs(binning, sigma):
    signal, noise, _ = disc(120, peak=60.0)
    options = BinningOptions(correlation=f"gaussian:{sigma}")
    bins = binning(signal, noise, options)
    by_count = NoiseCorrelation(sigma=sigma).of_count(bins.n_spaxel)
    promised = bins.snr * bins.growth / by_count >= options.goal
    assert promised.sum() > 200
    assert np.all(bins.flags[promised] == 0)


def test_bins_made_by_hand_follow_the_law():
    count = np.array([1, 10, 100], dtype=np.int32)
    flags = np.zeros(3, np.int32)
    bins = BinMap(
        bin_id=np.zeros((1, 1), np.int32),
        n_spaxel=count,
        snr=1.0 * count,
        flags=flags,
        correlation=0.5,
    )
    np.testing.assert_allclose(bins.growth, [1.0, 1.5, 2.0])


def test_under_the_gaussian_bins_say_the_alpha_that_suits_them():
    signal, noise, _ = disc(60, peak=30.0)
    bins = quadtree(signal, noise, BinningOptions(correlation="gaussian:1.2"))
    shared = bins.n_spaxel > 1
    alpha = (bins.growth[shared] - 1) / np.log10(bins.n_spaxel[shared])
    assert alpha.min() < bins.correlation < alpha.max()
    assert bins.noise_model == "gaussian:1.2"
