"""Two runs against each other: what was put between them comes out, whatever their bins."""

from dataclasses import replace

import numpy as np
import pytest
from tests.derived.fits import NAMES, line_fit

from betis.compare import Side, compare_sides, pair_bins
from betis.errors import InputError
from betis.flags import Flag
from betis.products import BinMap
from betis.wavelength import C_KMS

N_Y, N_X = 40, 40
SPAXELS = np.arange(N_Y * N_X, dtype=np.int32).reshape(N_Y, N_X)
BLOCKS = (10 * (np.indices((N_Y, N_X))[0] // 4) + np.indices((N_Y, N_X))[1] // 4).astype(np.int32)


def side(bin_id, flux, error, *, seed=0, factor=1.0, shift=0.0, redshift=0.01, **more):
    """Return a run whose spaxels all have this flux, with noise of this size."""
    count = np.bincount(bin_id[bin_id >= 0]).astype(np.int32)
    noise = np.random.default_rng(seed).standard_normal((2, count.size, len(NAMES)))
    of_bin = error * np.sqrt(count)[:, None]
    fit = line_fit(factor * flux * count[:, None] + of_bin * noise[0], of_bin)
    fit = replace(fit, velocity=shift + 5.0 * noise[1], velocity_err=np.full(fit.flux.shape, 5.0))
    bins = BinMap(bin_id=bin_id, n_spaxel=count, snr=count * 1.0, flags=count * 0, target=1.0)
    return Side(bins=bins, lines=replace(fit, **more), stars=None, redshift=redshift)


def differences(first, second):
    found = compare_sides(first, second, pair_bins(first.bins.bin_id, second.bins.bin_id))
    return {(item.what, item.quantity): item for item in found}


def test_a_run_is_the_same_as_itself():
    run = side(SPAXELS, 50.0, 1.0)
    for item in differences(run, run).values():
        assert item.n_both == SPAXELS.size
        assert item.only_first == item.only_second == 0
        assert item.middle() == (1.0 if item.quantity == "flux" else 0.0, 0.0)
        assert item.middle_pull() == (0.0, 0.0)


def test_independent_runs_have_pulls_of_unit_width_and_the_difference_put_in():
    first = side(SPAXELS, 50.0, 1.0, seed=1)
    same = differences(first, side(SPAXELS, 50.0, 1.0, seed=2))
    other = differences(first, side(SPAXELS, 50.0, 1.0, seed=2, factor=1.2, shift=30.0))
    for quantity in ("flux", "velocity"):
        middle, width = same["Ha6563", quantity].middle_pull()
        assert middle == pytest.approx(0, abs=0.1)
        assert width == pytest.approx(1, abs=0.08)
    assert other["Ha6563", "flux"].middle()[0] == pytest.approx(1.2, abs=0.01)
    assert other["Ha6563", "velocity"].middle()[0] == pytest.approx(30, abs=0.6)


def test_the_order_of_the_runs_only_turns_the_sign():
    first = side(SPAXELS, 50.0, 1.0, seed=1)
    second = side(SPAXELS, 50.0, 1.0, seed=2, shift=9.0)
    there, back = differences(first, second), differences(second, first)
    for key, item in there.items():
        np.testing.assert_allclose(item.pull, -back[key].pull)
        if item.quantity == "flux":
            np.testing.assert_allclose(item.value, 1 / back[key].value)


def test_bins_of_any_size_are_compared_by_equal_areas():
    fine = side(SPAXELS, 50.0, 0.01)
    found = differences(fine, side(BLOCKS, 50.0, 0.01))["Ha6563", "flux"]
    assert found.middle()[0] == pytest.approx(1.0, abs=1e-3)
    assert found.n_both == SPAXELS.size
    large = replace(fine, spaxel_area=0.04)
    quarter = replace(side(SPAXELS, 12.5, 0.01), spaxel_area=0.01)
    assert differences(large, quarter)["Ha6563", "flux"].middle()[0] == pytest.approx(1, abs=1e-3)


def test_each_bin_counts_once_where_bins_are_the_same_and_each_spaxel_otherwise():
    pairs = pair_bins(BLOCKS, BLOCKS)
    assert pairs.same_bins
    assert pairs.weight.sum() == BLOCKS.max() + 1
    other = np.where(BLOCKS == 3, -1, SPAXELS).astype(np.int32)
    pairs = pair_bins(BLOCKS, other)
    assert not pairs.same_bins
    assert pairs.weight.sum() == (other >= 0).sum() == (pairs.index >= 0).sum()
    shared = pairs.index >= 0
    np.testing.assert_array_equal(pairs.first[pairs.index[shared]], BLOCKS[shared])
    np.testing.assert_array_equal(pairs.second[pairs.index[shared]], other[shared])


def test_velocities_are_brought_to_one_redshift():
    first = side(SPAXELS, 50.0, 1.0, redshift=0.0100)
    second = side(SPAXELS, 50.0, 1.0, redshift=0.0101)
    moved = differences(first, second)["Ha6563", "velocity"].middle()[0]
    assert moved == pytest.approx(C_KMS * 0.0001 / 1.01, abs=0.01)


def test_what_one_run_does_not_detect_is_counted_and_left_out():
    first = side(SPAXELS, 50.0, 1.0)
    flags = np.zeros(first.lines.flags.shape, np.int32)
    flags[:100, NAMES.index("Ha6563")] = Flag.NOT_DETECTED
    flags[:50, NAMES.index("OI6300")] = Flag.UNRESOLVED
    found = differences(first, replace(first, lines=replace(first.lines, flags=flags)))
    lost = found["Ha6563", "flux"]
    assert (lost.n_both, lost.only_first, lost.only_second) == (SPAXELS.size - 100, 100, 0)
    assert np.isnan(lost.value[:100]).all()
    assert found["OI6300", "sigma"].only_first == 50
    assert found["OI6300", "flux"].only_first == 0


def test_runs_with_nothing_in_common_are_told_so():
    apart = np.full((N_Y, N_X), -1, np.int32)
    with pytest.raises(InputError, match="no spaxel in common"):
        pair_bins(SPAXELS, apart)
    first = side(SPAXELS, 50.0, 1.0)
    names = tuple(f"other{i}" for i in range(len(NAMES)))
    other = replace(first, lines=replace(first.lines, names=names))
    with pytest.raises(InputError, match="no line in common"):
        differences(first, other)
