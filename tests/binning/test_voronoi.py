"""Voronoi cells are even and round, and lose little of the light."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from tests.binning.fields import disc, field

import betis
from betis.binning.bubbles import grow_bubbles
from betis.binning.field import make_field
from betis.binning.quadtree import quadtree
from betis.binning.seeds import Seeds, hilbert_index, needed_area, sow
from betis.binning.settle import connected
from betis.binning.voronoi import voronoi
from betis.errors import ConfigError
from betis.options import BinningOptions


def light_below_target(bins, truth):
    inside = bins.bin_id >= 0
    light = np.bincount(bins.bin_id[inside], truth[inside])
    return light[bins.flags != 0].sum() / light.sum()


def shared(bins):
    """Bins that reach the target with more spaxels than one."""
    return (bins.flags == 0) & (bins.n_spaxel > 1)


@pytest.mark.parametrize("size", [100, 200])
@pytest.mark.parametrize("seed", range(3))
def test_the_snr_of_cells_is_even(size, seed):
    signal, noise, _ = disc(size, peak=5.0, seed=seed)
    bins = voronoi(signal, noise, BinningOptions(target=10.0, margin=0.0))
    assert bins.snr[shared(bins)].std() / 10.0 < 0.08
    assert bins.snr[shared(bins)].mean() / 10.0 < 1.09


@pytest.mark.parametrize("target", [5.0, 20.0])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.07])
def test_it_is_even_at_other_targets_and_with_correlated_noise(target, correlation):
    signal, noise, _ = disc(160, peak=0.5 * target * (1 + 3 * correlation))
    options = BinningOptions(target=target, correlation=correlation)
    bins = voronoi(signal, noise, options)
    assert bins.snr[shared(bins)].std() / target < 0.08


@pytest.mark.parametrize("peak", [2.0, 5.0, 30.0])
def test_more_cells_hold_more_of_the_light_than_blocks(peak):
    signal, noise, truth = disc(150, peak)
    cells, blocks = (f(signal, noise, BinningOptions(margin=0.0)) for f in (voronoi, quadtree))
    assert (cells.flags == 0).sum() > 1.1 * (blocks.flags == 0).sum()
    assert light_below_target(cells, truth) < 0.8 * light_below_target(blocks, truth)


def test_where_all_of_it_can_reach_the_target_nearly_all_does():
    signal, noise, truth = disc(150, peak=30.0)
    assert light_below_target(voronoi(signal, noise, BinningOptions()), truth) < 0.005


def test_the_snr_is_hardly_that_of_chosen_noise():
    claimed, true = [], []
    for seed in range(5):
        signal, noise, truth = disc(150, peak=5.0, seed=seed)
        bins = voronoi(signal, noise, BinningOptions())
        inside = bins.bin_id >= 0
        expected = np.bincount(bins.bin_id[inside], truth[inside]) / np.sqrt(bins.n_spaxel)
        claimed.extend(bins.snr[shared(bins)])
        true.extend(expected[shared(bins)])
    assert np.mean(claimed) - np.mean(true) < 0.2
    assert np.std(np.array(claimed) - true) == pytest.approx(1.0, abs=0.2)


def test_cells_are_round():
    signal, noise, _ = disc(200, peak=3.0)
    bins = voronoi(signal, noise, BinningOptions())
    y, x = np.indices(signal.shape)
    inside = bins.bin_id >= 0
    row = bins.bin_id[inside]
    center_y, center_x = bins.centers
    square = (y[inside] - center_y[row]) ** 2 + (x[inside] - center_x[row]) ** 2
    # That of a disc is the area over 2 pi.
    spread = np.bincount(row, square) / bins.n_spaxel / (bins.n_spaxel / (2 * np.pi))
    large = shared(bins) & (bins.n_spaxel > 20)
    assert large.sum() > 20
    assert np.median(spread[large]) < 1.15


def test_a_uniform_field_makes_even_cells():
    bins = voronoi(np.ones((60, 60)), np.ones((60, 60)), BinningOptions(target=5.0, margin=0.0))
    assert np.all(bins.flags == 0)
    assert 0.8 * 3600 / 27 < bins.n_bin <= 3600 / 25


def test_without_signal_cells_have_the_size_of_the_largest_block():
    signal = np.random.default_rng(0).normal(size=(128, 128))
    bins = voronoi(signal, np.ones_like(signal), BinningOptions(max_level=4))
    assert np.median(bins.n_spaxel) == pytest.approx(256, rel=0.1)
    assert bins.n_spaxel.max() < 2 * 256


def test_a_source_smaller_than_any_cell_of_the_background_is_found():
    y, x = np.indices((64, 64))
    rng = np.random.default_rng(4)
    signal = 5.0 * np.exp(-((y - 20) ** 2 + (x - 41) ** 2) / 8.0) + rng.normal(size=y.shape)
    bins = voronoi(signal, np.ones_like(signal), BinningOptions(target=10.0))
    row = bins.bin_id[20, 41]
    assert bins.flags[row] == 0
    assert bins.n_spaxel[row] < 60


def test_spaxels_of_enormous_noise_spoil_no_cell():
    shares = []
    for seed in range(6):
        signal, noise, truth = disc(80, peak=8.0, seed=seed)
        spoiled = np.random.default_rng(5 + seed).uniform(size=noise.shape) < 0.02
        loud = np.where(spoiled, 1e6 * noise, noise)
        clean, mixed = (voronoi(signal, n, BinningOptions()) for n in (noise, loud))
        rest = ~spoiled & (mixed.bin_id >= 0)
        light = [truth[rest & (b.paint(b.flags) == 0)].sum() for b in (clean, mixed)]
        shares.append(light[1] / light[0])
    assert np.mean(shares) > 0.9
    assert min(shares) > 0.8


@given(seed=st.integers(0, 1000), above=st.integers(1, 20), left=st.integers(1, 20))
@settings(max_examples=10)
def test_cells_move_with_the_field(seed, above, left):
    signal, noise = field(seed, (17, 23), holes=0.0)
    margin = ((above, 3), (left, 5))
    alone = voronoi(signal, noise, BinningOptions())
    framed = voronoi(
        np.pad(signal, margin, constant_values=np.nan), np.pad(noise, margin), BinningOptions()
    )
    assert np.array_equal(framed.bin_id[above : above + 17, left : left + 23], alone.bin_id)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (8, 8), (64, 64)])
def test_neighbours_along_the_curve_touch(shape):
    y, x = (axis.ravel().astype(float) for axis in np.indices(shape))
    index = hilbert_index(y, x)
    order = np.argsort(index)
    assert np.unique(index).size == index.size
    step = np.abs(np.diff(y[order])) + np.abs(np.diff(x[order]))
    assert np.all(step == 1)


def uniform(level, shape=(40, 40), **options):
    ones = np.ones(shape)
    return make_field(ones > 0, level * ones, ones, BinningOptions(**options))


@pytest.mark.parametrize("level", [0.7, 1.0, 3.0])
def test_seeds_are_as_dense_as_the_signal_allows(level):
    seeds = sow(uniform(level), aim=10.0, max_width=32)
    assert seeds.lit.sum() >= seeds.lit.size - 1
    assert seeds.area.size == pytest.approx(1600 * level**2 / 100, rel=0.15)
    assert np.median(seeds.area) == pytest.approx(100 / level**2, rel=0.01)


def test_what_no_window_reaches_needs_the_largest_area():
    assert np.all(needed_area(uniform(-1.0), 10.0, 16) == 256)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_what_is_dark_takes_nothing_within_the_rim_of_a_lit_bubble(seed):
    rng = np.random.default_rng(seed)
    y, x = np.indices((21, 21))
    middle = rng.integers(6, 15, 2)
    inside = np.hypot(y - middle[0], x - middle[1]) < 3.0
    spaxels = make_field(y >= 0, 1.0 * inside, np.ones((21, 21)), BinningOptions(target=5.0))
    label_ = inside.ravel().astype(np.intp)
    seeds = Seeds(label_, np.array([400.0, 25.0]), np.array([False, True]))
    chosen, lit = grow_bubbles(spaxels, seeds, 4.0, 1024)
    assert lit.tolist() == [False, True]
    assert np.sum(chosen == 1) == pytest.approx(16, abs=4)
    assert np.all(label_[chosen == 1] == 1)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_pieces_are_those_of_an_image(seed):
    rng = np.random.default_rng(seed)
    spaxels = uniform(1.0, (9, 11))
    chosen = rng.integers(0, 3, 99)
    piece = connected(spaxels, chosen)
    image = chosen.reshape(9, 11)
    assert piece.max() + 1 == sum(label(image == value)[1] for value in range(3))
    assert all(np.unique(chosen[piece == number]).size == 1 for number in range(piece.max() + 1))


def test_public_face_takes_the_contract_arguments():
    signal, noise = field(5)
    bins = betis.voronoi(signal.tolist(), noise, target=10.0, correlation=None)
    assert bins.bin_id.dtype == np.int32
    assert bins.target == 10.0
    with pytest.raises(ConfigError, match=r"the option 'target' of \[binning\]"):
        betis.voronoi(signal, noise, target=-1.0)
