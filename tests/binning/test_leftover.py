"""Bins below the target join those that can bear them, or are dropped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.binning.fields import field, own_snr

import betis
from betis.binning.leftover import finished
from betis.binning.quadtree import quadtree
from betis.binning.voronoi import voronoi
from betis.errors import InputError
from betis.options import BinningOptions

BOTH = pytest.mark.parametrize("binning", [quadtree, voronoi])


def touching(bins):
    """Pairs of bins that share an edge of a spaxel, and how many they share."""
    pairs = {}
    for one, two in (
        (bins.bin_id[1:], bins.bin_id[:-1]),
        (bins.bin_id[:, 1:], bins.bin_id[:, :-1]),
    ):
        for a, b in zip(one.ravel().tolist(), two.ravel().tolist(), strict=True):
            if a != b and min(a, b) >= 0:
                for pair in ((a, b), (b, a)):
                    pairs[pair] = pairs.get(pair, 0) + 1
    return pairs


def joined_snr(bins, signal, noise, pair, correlation):
    inside = np.isin(bins.bin_id, pair)
    growth = 1 + correlation * np.log10(inside.sum())
    return signal[inside].sum() / np.sqrt((noise[inside] ** 2).sum()) / growth


@BOTH
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), correlation=st.sampled_from([0.0, 0.3]))
def test_what_can_be_borne_is_merged_and_no_bin_is_brought_below(binning, seed, correlation):
    signal, noise = field(seed, (24, 31), peak=60.0)
    kept, merged = (
        binning(signal, noise, BinningOptions(correlation=correlation, leftover=leftover))
        for leftover in ("keep", "merge")
    )
    goal = BinningOptions().goal
    for row in np.flatnonzero(kept.flags == 0):
        inside = kept.bin_id == row
        (home,) = np.unique(merged.bin_id[inside])
        assert merged.flags[home] == 0
    for (low, other), _ in touching(merged).items():
        if merged.flags[low] and not merged.flags[other]:
            assert joined_snr(merged, signal, noise, (low, other), correlation) < goal
    np.testing.assert_allclose(merged.snr, own_snr(merged, signal, noise, correlation), rtol=1e-9)
    assert np.array_equal(merged.bin_id >= 0, kept.bin_id >= 0)


@BOTH
def test_something_is_merged(binning):
    counts = []
    for seed in range(4):
        signal, noise = field(seed, peak=60.0)
        kept, merged = (
            binning(signal, noise, BinningOptions(leftover=leftover))
            for leftover in ("keep", "merge")
        )
        counts.append(np.sum(kept.flags != 0) - np.sum(merged.flags != 0))
    assert min(counts) >= 0
    assert sum(counts) > 0


def test_a_piece_joins_the_bin_with_which_it_shares_the_longest_border():
    drawn = np.array([[0, 0, 0, 0], [2, 1, 1, 3], [4, 4, 4, 4]], dtype=np.int32)
    signal = np.where(drawn == 1, 0.0, 30.0)
    options = BinningOptions(leftover="merge")
    bins = finished(drawn, signal, np.ones_like(signal), options)
    assert np.all(bins.bin_id == [[0, 0, 0, 0], [1, 0, 0, 2], [3, 3, 3, 3]])
    signal[0] = 6.0
    bins = finished(drawn, signal, np.ones_like(signal), options)
    assert np.all(bins.bin_id == [[0, 0, 0, 0], [1, 2, 2, 3], [2, 2, 2, 2]])
    signal[2] = 6.0
    bins = finished(drawn, signal, np.ones_like(signal), options)
    assert np.all(bins.bin_id == [[0, 0, 0, 0], [1, 1, 1, 2], [3, 3, 3, 3]])


def test_a_chain_of_pieces_joins_one_after_the_other():
    signal = np.array([[900.0, 0.0, 0.0, 0.0, 0.0]])
    bins = quadtree(signal, np.ones_like(signal), BinningOptions(max_level=0, leftover="merge"))
    assert bins.n_bin == 1
    assert bins.snr[0] == pytest.approx(900 / np.sqrt(5))


@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_merging_counts_all_pairs_of_correlated_noise(seed):
    signal, noise = field(seed, (24, 31), peak=90.0)
    kept, merged = (
        quadtree(signal, noise, BinningOptions(correlation="gaussian:1.2", leftover=leftover))
        for leftover in ("keep", "merge")
    )
    assert np.sum(merged.flags != 0) <= np.sum(kept.flags != 0)
    good = kept.paint(kept.flags, blank=1) == 0
    assert np.all(merged.paint(merged.flags, blank=1)[good] == 0)


@BOTH
def test_a_field_of_which_nothing_would_be_left_is_refused(binning):
    signal = np.random.default_rng(0).normal(size=(20, 20))
    with pytest.raises(InputError, match=r"no bin reaches S/N 10: the best has"):
        binning(signal, np.ones_like(signal), BinningOptions(leftover="drop"))


def test_a_rule_that_does_not_exist_is_refused():
    with pytest.raises(betis.ConfigError, match=r"'leftover' of \[binning\] is 'burn'"):
        betis.quadtree(np.ones((3, 3)), np.ones((3, 3)), leftover="burn")
