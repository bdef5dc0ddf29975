"""What every binning promises, whatever its shapes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from tests.binning.fields import field, own_snr, pieces

from betis.binning.labels import labels
from betis.binning.quadtree import quadtree
from betis.binning.spaxel import spaxels
from betis.binning.voronoi import voronoi
from betis.errors import InputError
from betis.flags import Flag
from betis.options import BinningOptions


def stripes(signal, noise, options):
    """Labels in stripes, every fourth of them no bin."""
    stripe = np.broadcast_to(np.arange(signal.shape[1]) // 3 % 4, signal.shape)
    return labels(
        stripe + (stripe > 0) * np.arange(signal.shape[0])[:, None], signal, noise, options
    )


def chosen(binning, **fixed):
    """A binning with some options fixed; of a field of which nothing is left there is no case."""

    def variant(signal, noise, options):
        try:
            return binning(signal, noise, replace(options, **fixed))
        except InputError as error:
            if "none is left" in str(error):
                reject()
            raise

    variant.__name__ = "-".join([binning.__name__, *map(str, fixed.values())])
    return variant


ADAPTIVE = (
    quadtree,
    voronoi,
    chosen(quadtree, anchor="center", margin=0.0),
    chosen(quadtree, anchor="brightest", leftover="merge"),
    chosen(voronoi, leftover="merge"),
)
COARSE = chosen(quadtree, min_level=2)
DROPPING = (chosen(quadtree, leftover="drop"), chosen(voronoi, leftover="drop"))
WHOLE = (*ADAPTIVE, spaxels)
ALL = (*WHOLE, *DROPPING, stripes)


@pytest.mark.parametrize("binning", ALL)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    target=st.floats(3, 30),
    shape=st.tuples(st.integers(1, 40), st.integers(4, 40)),
    correlation=st.sampled_from([0.0, 0.3, 1.07]),
    max_level=st.integers(0, 6),
)
def test_each_bin_has_the_snr_of_its_own_spaxels_and_says_whether_that_will_do(
    binning, seed, target, shape, correlation, max_level
):
    signal, noise = field(seed, shape, holes=0.0)
    options = BinningOptions(target=target, correlation=correlation, max_level=max_level)
    bins = binning(signal, noise, options)
    np.testing.assert_allclose(bins.snr, own_snr(bins, signal, noise, correlation), rtol=1e-9)
    assert np.array_equal((bins.flags & Flag.LOW_SNR) != 0, bins.snr < target)
    assert bins.target == target


@pytest.mark.parametrize("binning", ALL)
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), holes=st.floats(0.0, 0.9))
def test_bins_are_numbered_without_a_gap_and_hold_usable_spaxels_only(binning, seed, holes):
    signal, noise = field(seed, holes=holes)
    noise[3, :5] = [0.0, -1.0, np.nan, np.inf, 1.0]
    bins = binning(signal, noise, BinningOptions())
    inside = bins.bin_id >= 0
    assert np.all(np.isfinite(signal[inside]) & (noise[inside] > 0) & np.isfinite(noise[inside]))
    count = np.bincount(bins.bin_id[inside], minlength=bins.n_bin)
    assert np.array_equal(count, bins.n_spaxel)
    assert np.all(count > 0)
    assert bins.bin_id.min() >= -1
    assert bins.bin_id.dtype == np.int32


@pytest.mark.parametrize("binning", [*WHOLE, COARSE])
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), holes=st.floats(0.0, 0.9))
def test_every_usable_spaxel_is_in_a_bin_of_one_piece(binning, seed, holes):
    signal, noise = field(seed, (23, 31), holes=holes)
    bins = binning(signal, noise, BinningOptions())
    assert np.array_equal(bins.bin_id >= 0, np.isfinite(signal))
    assert set(pieces(bins)) == {1}


@pytest.mark.parametrize("binning", DROPPING)
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), holes=st.floats(0.0, 0.6))
def test_what_is_dropped_is_what_would_be_flagged(binning, seed, holes):
    signal, noise = field(seed, (23, 31), holes=holes)
    whole = (quadtree if "quadtree" in binning.__name__ else voronoi)(
        signal, noise, BinningOptions()
    )
    bins = binning(signal, noise, BinningOptions())
    assert np.all(bins.flags == 0)
    assert set(pieces(bins)) == {1}
    np.testing.assert_array_equal(bins.bin_id >= 0, whole.paint(whole.flags, blank=1) == 0)
    np.testing.assert_array_equal(bins.snr, whole.snr[whole.flags == 0])


@pytest.mark.parametrize("binning", WHOLE)
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), factor=st.sampled_from([1e-17, 1e-3, 3.0, 1e20]))
def test_signal_and_noise_scale_together(binning, seed, factor):
    signal, noise = field(seed)
    one = binning(signal, noise, BinningOptions())
    many = binning(factor * signal, factor * noise, BinningOptions())
    assert np.array_equal(one.bin_id, many.bin_id)
    np.testing.assert_allclose(one.snr, many.snr, rtol=1e-9)


@pytest.mark.parametrize("binning", ALL)
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), below=st.integers(0, 20), right=st.integers(0, 20))
def test_nothing_beyond_the_field_changes_it(binning, seed, below, right):
    signal, noise = field(seed, (17, 23))
    margin = ((0, below), (0, right))
    alone = binning(signal, noise, BinningOptions())
    framed = binning(
        np.pad(signal, margin, constant_values=np.nan),
        np.pad(noise, margin, constant_values=np.nan),
        BinningOptions(),
    )
    assert np.array_equal(framed.bin_id[:17, :23], alone.bin_id)
    assert np.all(framed.bin_id[17:] == -1)
    assert np.all(framed.bin_id[:, 23:] == -1)


@pytest.mark.parametrize("binning", WHOLE)
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_bright_spaxel_in_emptiness_stays_alone(binning, level):
    signal = level * np.random.default_rng(1).normal(size=(40, 40))
    signal[5, 9] = 11.0
    bins = binning(signal, np.ones((40, 40)), BinningOptions(target=10.0))
    row = bins.bin_id[5, 9]
    assert bins.n_spaxel[row] == 1
    assert bins.flags[row] == 0
    assert np.all(np.delete(bins.flags, row) == Flag.LOW_SNR)


@pytest.mark.parametrize("binning", WHOLE)
def test_spaxels_that_reach_the_target_are_bins_to_the_last_row_and_column(binning):
    bins = binning(np.full((17, 19), 20.0), np.ones((17, 19)), BinningOptions(target=10.0))
    assert np.array_equal(bins.bin_id, np.arange(17 * 19).reshape(17, 19))


@pytest.mark.parametrize("binning", ADAPTIVE)
@pytest.mark.parametrize("target", [5.0, 10.0])
@pytest.mark.parametrize("seed", range(6))
def test_pure_noise_never_passes(binning, seed, target):
    signal = np.random.default_rng(seed).normal(size=(128, 128))
    bins = binning(signal, np.ones_like(signal), BinningOptions(target=target))
    assert np.all(bins.flags == Flag.LOW_SNR)


@pytest.mark.parametrize("binning", [*WHOLE, COARSE])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 77)])
@pytest.mark.parametrize("level", [-1.0, 0.0, 2.0])
def test_a_map_of_any_shape_and_sign_is_binned(binning, shape, level):
    bins = binning(np.full(shape, level), np.ones(shape), BinningOptions(target=4.0))
    assert np.all(bins.bin_id >= 0)
    assert set(pieces(bins)) == {1}
    reachable = level > 0 and binning is not spaxels and np.prod(shape) > 1
    assert np.any(bins.flags == 0) == reachable


@pytest.mark.parametrize("binning", ADAPTIVE)
def test_quantised_signal_merges_no_bins(binning):
    signal = np.random.default_rng(2).integers(5, 9, (64, 64)).astype(float)
    bins = binning(signal, np.ones_like(signal), BinningOptions(target=10.0))
    assert bins.n_bin == np.unique(bins.bin_id).size
    assert set(pieces(bins)) == {1}


@pytest.mark.parametrize("binning", ALL)
def test_the_same_field_gives_the_same_bins(binning):
    signal, noise = field(7)
    before = signal.copy(), noise.copy()
    one, two = (binning(signal, noise, BinningOptions()) for _ in range(2))
    assert np.array_equal(one.bin_id, two.bin_id)
    np.testing.assert_array_equal(signal, before[0])
    np.testing.assert_array_equal(noise, before[1])


@pytest.mark.parametrize("binning", WHOLE)
def test_maps_of_two_shapes_are_refused(binning):
    with pytest.raises(InputError, match=r"shapes \(3, 3\) and \(4, 4\)"):
        binning(np.ones((3, 3)), np.ones((4, 4)), BinningOptions())


@pytest.mark.parametrize("binning", WHOLE)
def test_a_map_without_a_usable_spaxel_is_refused(binning):
    with pytest.raises(InputError, match="nothing to bin"):
        binning(np.full((3, 3), np.nan), np.ones((3, 3)), BinningOptions())
