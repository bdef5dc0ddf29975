"""Bins keep their promise, whatever the map."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label
from tests.binning.fields import field

import betis
from betis.binning.quadtree import quadtree
from betis.binning.spaxel import spaxels
from betis.errors import ConfigError, InputError
from betis.options import BinningOptions


def test_a_bright_spaxel_in_emptiness_stays_alone():
    signal, noise = np.zeros((16, 16)), np.ones((16, 16))
    signal[5, 9] = 11.0
    bins = quadtree(signal, noise, BinningOptions(target=10.0))
    row = bins.bin_id[5, 9]
    assert bins.n_spaxel[row] == 1
    assert bins.flags[row] == 0


def test_the_last_row_and_column_count():
    signal, noise = np.full((17, 19), 20.0), np.ones((17, 19))
    bins = quadtree(signal, noise, BinningOptions(target=10.0))
    assert bins.n_bin == 17 * 19
    assert bins.bin_id[-1, -1] == bins.n_bin - 1


def test_a_uniform_field_makes_equal_square_blocks():
    bins = quadtree(np.ones((32, 32)), np.ones((32, 32)), BinningOptions(target=4.0, margin=0.0))
    assert np.all(bins.n_spaxel == 16)
    assert np.all(bins.flags == 0)


def test_quantised_signal_merges_no_bins():
    rng = np.random.default_rng(2)
    signal = rng.integers(5, 9, (64, 64)).astype(float)
    bins = quadtree(signal, np.ones_like(signal), BinningOptions(target=10.0))
    assert bins.n_bin == np.unique(bins.bin_id).size
    assert all(label(bins.bin_id == number)[1] == 1 for number in range(bins.n_bin))


def test_spaxels_are_the_identity():
    signal, noise = field(4)
    bins = spaxels(signal, noise, BinningOptions())
    assert np.all(bins.n_spaxel == 1)
    assert np.array_equal(
        bins.paint(bins.snr)[bins.bin_id >= 0], (signal / noise)[bins.bin_id >= 0]
    )


def test_public_face_takes_the_contract_arguments():
    signal, noise = field(5)
    bins = betis.quadtree(signal, noise, target=10.0, correlation=None)
    assert bins.bin_id.dtype == np.int32
    assert bins.target == 10.0


def test_maps_of_two_shapes_are_refused():
    with pytest.raises(InputError, match=r"shapes \(3, 3\) and \(4, 4\)"):
        quadtree(np.ones((3, 3)), np.ones((4, 4)), BinningOptions())


def test_a_map_without_a_usable_spaxel_is_refused():
    with pytest.raises(InputError, match="nothing to bin"):
        quadtree(np.full((3, 3), np.nan), np.ones((3, 3)), BinningOptions())


@pytest.mark.parametrize("value", [0.0, -3.0, float("nan")])
def test_a_target_without_meaning_is_refused(value):
    with pytest.raises(betis.ConfigError, match=r"the option 'target' of \[binning\]"):
        betis.quadtree(np.ones((3, 3)), np.ones((3, 3)), target=value)


@pytest.mark.parametrize("level", range(5))
def test_no_block_is_smaller_than_the_smallest(level):
    options = BinningOptions(target=10.0, min_level=level)
    bins = quadtree(np.full((32, 32), 20.0), np.ones((32, 32)), options)
    assert np.all(bins.n_spaxel == 4**level)
    assert np.all(bins.flags == 0)


def test_the_smallest_block_is_no_larger_than_the_largest():
    with pytest.raises(ConfigError, match=r"'min_level' of \[binning\] is 4, where at most .* 3,"):
        quadtree(np.ones((3, 3)), np.ones((3, 3)), BinningOptions(min_level=4, max_level=3))


def same_bins(one, two):
    """Whether two maps part the field alike, whatever the numbers."""
    pairs = np.unique(np.stack([one.ravel(), two.ravel()]), axis=1)
    return np.unique(pairs[0]).size == np.unique(pairs[1]).size == pairs.shape[1]


@given(seed=st.integers(0, 1000), axis=st.sampled_from([0, 1, (0, 1)]))
def test_round_the_middle_a_field_and_its_mirror_image_are_binned_alike(seed, axis):
    signal, noise = field(seed, (36, 52), holes=0.0)
    options = BinningOptions(anchor="center")
    bins = quadtree(signal, noise, options)
    mirrored = quadtree(np.flip(signal, axis), np.flip(noise, axis), options)
    assert same_bins(np.flip(mirrored.bin_id, axis), bins.bin_id)


@pytest.mark.parametrize("anchor", ["center", "brightest"])
@given(seed=st.integers(0, 1000), above=st.integers(0, 40), left=st.integers(0, 40))
def test_anchored_blocks_move_with_the_field(anchor, seed, above, left):
    signal, noise = field(seed, (17, 23), holes=0.0)
    margin = ((above, 3), (left, 5))
    options = BinningOptions(anchor=anchor)
    alone = quadtree(signal, noise, options)
    framed = quadtree(
        np.pad(signal, margin, constant_values=np.nan), np.pad(noise, margin), options
    )
    assert np.array_equal(framed.bin_id[above : above + 17, left : left + 23], alone.bin_id)


def test_blocks_of_all_levels_meet_at_the_brightest_spaxel():
    signal = np.full((64, 64), 0.5)
    signal[21, 38] = 5.0
    options = BinningOptions(target=4.0, margin=0.0, anchor="brightest")
    bins = quadtree(signal, np.ones_like(signal), options)
    corners = bins.bin_id[20:22, 37:39]
    assert np.unique(corners).size == 4
    assert bins.bin_id[21, 38] not in np.delete(bins.bin_id, 21 * 64 + 38)
    assert np.sum(bins.bin_id == bins.bin_id[20, 37]) == 64
