"""A user's map of labels becomes bins, label by label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.binning.labels import labels
from betis.errors import InputError
from betis.options import BinningOptions

OPTIONS = BinningOptions(target=10.0, correlation=0.3)
FIELD = (7, 9)


def maps(seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.5, 2.0, FIELD)
    signal = 5 + rng.normal(size=FIELD)
    signal[2, 3] = np.nan
    return signal, noise


@given(
    seed=st.integers(0, 1000),
    dtype=st.sampled_from(["int8", "uint16", "int64", "float32", "float64"]),
    names=st.lists(st.integers(1, 120), min_size=1, max_size=6, unique=True),
)
def test_each_label_is_one_bin_in_the_order_of_the_labels(seed, dtype, names):
    signal, noise = maps(seed)
    given_map = np.random.default_rng(seed).choice([0, *names], FIELD).astype(dtype)
    given_map[0, 0] = names[0]
    bins = labels(given_map, signal, noise, OPTIONS)
    usable = np.isfinite(signal)
    present = np.unique(given_map[usable & (given_map > 0)])
    assert bins.n_bin == present.size
    for row, name in enumerate(present):
        inside = (given_map == name) & usable
        assert np.array_equal(bins.bin_id == row, inside)
        growth = 1 + 0.3 * np.log10(inside.sum())
        expected = signal[inside].sum() / np.sqrt((noise[inside] ** 2).sum()) / growth
        assert bins.snr[row] == pytest.approx(expected, rel=1e-12)
    assert np.array_equal(bins.flags != 0, bins.snr < OPTIONS.target)


def test_zero_negative_and_nan_are_no_bin():
    signal, noise = maps()
    given_map = np.zeros(FIELD)
    given_map[0, :4] = [3.0, -2.0, np.nan, 3.0]
    bins = labels(given_map, signal, noise, OPTIONS)
    assert bins.n_bin == 1
    assert np.flatnonzero(bins.bin_id == 0).tolist() == [0, 3]
    assert (bins.bin_id == -1).sum() == signal.size - 2


def test_our_own_bins_come_back_as_they_were():
    signal, noise = maps()
    own = np.where(np.isfinite(signal), np.arange(signal.size).reshape(FIELD) // 9, -1)
    bins = labels(own, signal, noise, OPTIONS, none_below=0)
    assert np.array_equal(bins.bin_id, own)


def test_a_label_without_a_usable_spaxel_vanishes():
    signal, noise = maps()
    given_map = np.ones(FIELD, dtype=int)
    given_map[2, 3] = 2
    given_map[4, 4] = 3
    bins = labels(given_map, signal, noise, OPTIONS)
    assert bins.n_bin == 2
    assert bins.bin_id[2, 3] == -1
    assert bins.bin_id[4, 4] == 1


def test_large_labels_stay_apart():
    signal, noise = maps()
    given_map = np.full(FIELD, 2**60)
    given_map[0, 0] += 1
    assert labels(given_map, signal, noise, OPTIONS).n_bin == 2


@pytest.mark.parametrize(("value", "said"), [(1.5, "holds 1.5"), (np.inf, "holds inf")])
def test_what_is_no_label_is_refused(value, said):
    given_map = np.ones(FIELD)
    given_map[1, 1] = value
    with pytest.raises(InputError, match=f"{said}, where whole numbers were expected"):
        labels(given_map, *maps(), OPTIONS)


def test_text_is_refused():
    with pytest.raises(InputError, match="has the type <U1, where whole numbers"):
        labels(np.full(FIELD, "a"), *maps(), OPTIONS)


def test_labels_of_another_field_are_refused():
    with pytest.raises(InputError, match=r"shape \(9, 7\), where the field has \(7, 9\)"):
        labels(np.ones(FIELD[::-1]), *maps(), OPTIONS)


def test_a_map_without_a_bin_is_refused():
    with pytest.raises(InputError, match=r"no spaxel with a label .* count from 1"):
        labels(np.zeros(FIELD), *maps(), OPTIONS)
