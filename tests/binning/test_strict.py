"""Bins are merged until what is measured on their spectra reaches the target."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.binning.fields import field, own_snr, pieces

from betis.binning.quadtree import quadtree
from betis.binning.strict import held_to_the_target
from betis.flags import Flag
from betis.options import BinningOptions

OPTIONS = BinningOptions(target=10.0)


def fainter(factor):
    """A measurement that finds this factor of what was predicted."""
    return lambda bins: factor * bins.snr


@given(seed=st.integers(0, 300), factor=st.floats(0.5, 1.2))
def test_no_bin_without_a_flag_falls_short_of_the_target_as_measured(seed, factor):
    signal, noise = field(seed, (24, 31), peak=60.0)
    before = quadtree(signal, noise, OPTIONS)
    bins = held_to_the_target(before, fainter(factor), signal, noise, OPTIONS)
    good = bins.flags == 0
    assert np.all(bins.snr_measured[good] >= OPTIONS.target)
    np.testing.assert_allclose(bins.snr_measured, factor * bins.snr)
    np.testing.assert_allclose(bins.snr, own_snr(bins, signal, noise), rtol=1e-9)
    assert np.array_equal(bins.bin_id >= 0, before.bin_id >= 0)
    assert set(pieces(bins)) == {1}


def test_a_promise_that_is_kept_changes_nothing():
    signal, noise = field(3, (24, 31), peak=60.0)
    before = quadtree(signal, noise, OPTIONS)
    bins = held_to_the_target(before, fainter(1.0), signal, noise, OPTIONS)
    np.testing.assert_array_equal(bins.bin_id, before.bin_id)
    np.testing.assert_array_equal(bins.flags, before.flags)


def test_something_is_merged():
    signal, noise = field(3, (24, 31), peak=60.0)
    before = quadtree(signal, noise, OPTIONS)
    bins = held_to_the_target(before, fainter(0.8), signal, noise, OPTIONS)
    assert 0 < (bins.flags == 0).sum() < 0.9 * (before.flags == 0).sum()


def test_a_bin_without_a_neighbour_to_join_is_flagged():
    signal, noise = np.full((1, 5), np.nan), np.ones((1, 5))
    signal[0, [0, 2]] = 12.0
    bins = held_to_the_target(
        quadtree(signal, noise, OPTIONS), fainter(0.8), signal, noise, OPTIONS
    )
    assert bins.n_spaxel.tolist() == [1, 1]
    assert bins.flags.tolist() == [Flag.LOW_SNR, Flag.LOW_SNR]


@pytest.mark.parametrize("kind", [True, False])
def test_a_region_stays_a_region(kind):
    signal, noise = np.full((2, 6), 12.0), np.ones((2, 6))
    drawn = quadtree(signal, noise, OPTIONS)
    drawn = replace(drawn, is_region=np.full(drawn.n_bin, kind))
    bins = held_to_the_target(drawn, fainter(0.6), signal, noise, OPTIONS)
    assert (bins.n_bin == drawn.n_bin) == kind
    assert set(bins.is_region) == {kind}
