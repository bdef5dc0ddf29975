"""H II regions are found, whatever they stand on, and become bins beside others."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label as pieces_of
from tests.binning.fields import field, own_snr

from betis.binning.background import clipped_median, diffuse_level
from betis.binning.labels import labels
from betis.binning.quadtree import quadtree
from betis.binning.regions import find_regions, regions, smoothed, with_diffuse
from betis.binning.spaxel import spaxels
from betis.binning.voronoi import voronoi
from betis.errors import InputError
from betis.io.products import read_bins, write_bins
from betis.options import BinningOptions, RegionOptions
from betis.products import Sky

OPTIONS = RegionOptions()
BINNING = BinningOptions(target=10.0)
SHAPE = (41, 53)


def blob(y, x, peak=60.0, sigma=1.8, shape=SHAPE):
    """A round region."""
    rows, columns = np.indices(shape)
    return peak * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))


def nebula(seed, shape=SHAPE, holes=0.0, peak=60.0):
    """Regions drawn at random on a sloping diffuse level, in noise 1 to 2, with holes."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(1.0, 2.0, shape)
    signal = 5 + 0.1 * np.indices(shape)[1] + noise * rng.normal(size=shape)
    for y, x, bright in zip(*rng.uniform(0, 1, (3, 8)), strict=True):
        signal += blob(y * shape[0], x * shape[1], peak * (0.5 + bright), shape=shape)
    signal[rng.uniform(size=shape) < holes] = np.nan
    return signal, noise


def white(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    y=st.floats(8, 32),
    x=st.floats(8, 44),
    sigma=st.floats(1.3, 2.5),
    level=st.floats(-200, 200),
    slope=st.floats(-0.5, 0.5),
)
def test_a_lone_region_is_found_where_it_is_on_any_diffuse_level(seed, y, x, sigma, level, slope):
    ramp = level + slope * np.indices(SHAPE)[0]
    found = find_regions(ramp + blob(y, x, 60, sigma) + white(seed), np.ones(SHAPE), OPTIONS)
    assert found.max() == 1
    assert found.dtype == np.int32
    rows, columns = np.nonzero(found)
    assert np.hypot(rows.mean() - y, columns.mean() - x) < 1.0
    expected = np.pi * (sigma**2 + 1) * 2 * np.log(10)
    assert 0.6 * expected < rows.size < 1.4 * expected


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 1.0, 2.0])
def test_pure_noise_has_no_region(smoothing):
    options = replace(OPTIONS, smoothing=smoothing)
    found = [find_regions(white(seed, (150, 150)), np.ones((150, 150)), options) for seed in (1, 2)]
    assert not np.any(found)


@pytest.mark.parametrize("width", [0.0, 0.3, 1.0, 2.5])
def test_the_smoothed_map_has_the_noise_it_says_beside_holes_and_edges_too(width):
    rng = np.random.default_rng(4)
    valid = rng.uniform(size=(150, 150)) > 0.3
    noise = np.where(valid, rng.uniform(0.5, 2.0, valid.shape), 0.0)
    draws = [smoothed(valid, rng.normal(size=valid.shape) * noise, noise, width) for _ in range(20)]
    pulls = np.array([mean / error for mean, error in draws])[:, valid]
    assert pulls.mean() == pytest.approx(0.0, abs=0.02)
    assert pulls.std() == pytest.approx(1.0, abs=0.02)
    level, _ = smoothed(valid, np.where(valid, 7.0, 0.0), noise, width)
    np.testing.assert_allclose(level[valid], 7.0, rtol=1e-12)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), holes=st.sampled_from([0.0, 0.1]), edge=st.floats(0, 0.9))
def test_each_region_is_one_piece_within_its_limits_and_numbered_by_its_peak(seed, holes, edge):
    signal, noise = nebula(seed, holes=holes)
    options = replace(OPTIONS, edge=edge, max_radius=4.0)
    found = find_regions(signal, noise, options)
    usable = np.isfinite(signal)
    mean, error = smoothed(
        usable, np.where(usable, signal, 0.0), np.where(usable, noise, 0.0), options.smoothing
    )
    assert np.all(usable[found > 0])
    over = mean - diffuse_level(usable, mean, options.background)
    heights = []
    for number in range(1, found.max() + 1):
        inside = found == number
        assert pieces_of(inside)[1] == 1
        assert inside.sum() >= options.min_area
        peak = np.unravel_index(np.argmax(np.where(inside, over, -np.inf)), SHAPE)
        y, x = np.nonzero(inside)
        assert np.hypot(y - peak[0], x - peak[1]).max() <= options.max_radius
        assert np.all(over[inside] >= edge * over[peak] * (1 - 1e-5))
        assert np.all((over / error)[inside] >= options.edge_snr * (1 - 1e-5))
        assert over[peak] >= options.peak_snr * error[peak] * (1 - 1e-5)
        heights.append(over[peak])
    assert np.all(np.diff(heights) <= 1e-4)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), factor=st.sampled_from([1e-17, 1e-3, 3.0, 1e20]))
def test_signal_and_noise_scale_together(seed, factor):
    signal, noise = nebula(seed, holes=0.05)
    one = find_regions(signal, noise, OPTIONS)
    assert np.array_equal(one, find_regions(factor * signal, factor * noise, OPTIONS))
    assert one.any()


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), factor=st.sampled_from([1e-17, 0.1, 3.0, 7e19]))
def test_equal_values_stay_equal_under_a_common_factor(seed, factor):
    # Whole numbers: many neighbours are the same, and a rounding error would choose between them.
    signal, noise = np.round(nebula(seed)[0]), np.ones(SHAPE)
    options = replace(OPTIONS, smoothing=0.0)
    one = find_regions(signal, noise, options)
    assert np.array_equal(one, find_regions(factor * signal, factor * noise, options))


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), before=st.integers(0, 9), after=st.integers(0, 9))
def test_nothing_beyond_the_field_changes_it(seed, before, after):
    signal, noise = nebula(seed)
    margin = ((before, after), (after, before))
    alone = find_regions(signal, noise, OPTIONS)
    framed = find_regions(
        np.pad(signal, margin, constant_values=np.nan),
        np.pad(noise, margin, constant_values=np.nan),
        OPTIONS,
    )
    assert np.array_equal(framed, np.pad(alone, margin))


@settings(max_examples=15)
@given(seed=st.integers(0, 1000))
def test_a_field_seen_turned_over_has_the_same_regions(seed):
    # Odd sizes whose mesh is symmetric.
    signal, noise = nebula(seed, (41, 51))
    there = find_regions(signal.T, noise.T, OPTIONS)
    assert np.array_equal(there.T, find_regions(signal, noise, OPTIONS))


@pytest.mark.parametrize(("y", "x"), [(0, 20), (40, 20), (20, 0), (20, 52), (0, 0), (40, 52)])
def test_a_region_on_the_edge_of_the_map_is_found(y, x):
    found = find_regions(blob(y, x) + white(3), np.ones(SHAPE), OPTIONS)
    assert found.max() == 1
    assert found[y, x] == 1


@pytest.mark.parametrize(("apart", "count"), [(2.0, 1), (8.0, 2), (14.0, 2)])
def test_two_regions_are_two_once_they_are_apart(apart, count):
    signal = blob(20, 20) + blob(20, 20 + apart, 40.0) + white(2)
    assert find_regions(signal, np.ones(SHAPE), OPTIONS).max() == count


def test_a_peak_that_hardly_stands_over_its_saddle_is_none_of_its_own():
    # Flat on top, where the noise makes peaks.
    signal = np.minimum(blob(20, 26, 300.0, sigma=6.0), 100.0) + white(1)
    options = replace(OPTIONS, background=60, max_radius=30.0)
    count = [
        find_regions(signal, np.ones(SHAPE), replace(options, prominence=prominence)).max()
        for prominence in (0.0, 8.0)
    ]
    assert count[0] > 3
    assert count[1] == 1


@pytest.mark.parametrize(
    ("knob", "mild", "strict"),
    [
        ("peak_snr", 5.0, 100.0),
        ("edge", 0.05, 0.6),
        ("edge_snr", 2.0, 30.0),
        ("max_radius", 8.0, 2.0),
        ("min_area", 1, 40),
        ("prominence", 1.0, 90.0),
        ("min_distance", 1, 12),
    ],
)
def test_each_knob_leaves_less_in_regions(knob, mild, strict):
    signal, noise = nebula(5)
    signal += blob(8, 8, 12.0)
    much, little = (
        find_regions(signal, noise, replace(OPTIONS, **{knob: value})) for value in (mild, strict)
    )
    assert (little > 0).sum() < (much > 0).sum()


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (60, 1), (2, 2), (2, 77)])
def test_a_map_of_any_shape_may_be_asked(shape):
    assert not find_regions(np.ones(shape), np.ones(shape), OPTIONS).any()


def test_a_strip_one_spaxel_wide_may_have_a_region():
    signal = blob(0, 30, shape=(1, 60))
    found = find_regions(signal, np.ones((1, 60)), OPTIONS)
    assert found.max() == 1
    assert found[0, 30] == 1


def test_a_peak_that_is_below_the_edge_asked_for_is_no_region():
    options = replace(OPTIONS, edge_snr=500.0)
    assert not find_regions(blob(20, 20) + white(1), np.ones(SHAPE), options).any()


def test_a_step_in_depth_cuts_no_region_in_two():
    # As between the slices of an instrument, or the exposures of a mosaic.
    noise = np.where(np.indices(SHAPE)[1] < 24, 4.0, 1.0)
    found = find_regions(blob(20, 22, 100.0, sigma=2.5) + noise * white(2), noise, OPTIONS)
    assert found.max() == 1
    assert found[20, 22] == found[20, 25] == 1


def test_one_far_noisier_spaxel_makes_no_region():
    signal, noise = white(6), np.ones(SHAPE)
    signal[20, 20], noise[20, 20] = 300.0, 100.0
    assert not find_regions(signal, noise, OPTIONS).any()


def test_the_given_maps_stay_as_they_were():
    signal, noise = nebula(7, holes=0.1)
    before = signal.copy(), noise.copy()
    one, two = (find_regions(signal, noise, OPTIONS) for _ in range(2))
    assert np.array_equal(one, two)
    np.testing.assert_array_equal(signal, before[0])
    np.testing.assert_array_equal(noise, before[1])


def test_maps_of_two_shapes_are_refused():
    with pytest.raises(InputError, match=r"shapes \(3, 3\) and \(4, 4\)"):
        find_regions(np.ones((3, 3)), np.ones((4, 4)), OPTIONS)


def test_the_level_of_pure_noise_is_its_mean_and_what_stands_out_does_not_lift_it():
    noise = white(8, (300, 300)).ravel()
    np.testing.assert_allclose(clipped_median(noise), (0.0, 1.0), atol=0.03)
    crowded = np.append(noise, np.linspace(2, 500, noise.size // 2))
    np.testing.assert_allclose(clipped_median(crowded), (0.0, 1.0), atol=0.15)
    assert np.median(crowded) > 0.4


@pytest.mark.parametrize("width", [5, 8, 21, 500])
@pytest.mark.parametrize("shape", [SHAPE, (1, 60), (60, 2)])
def test_the_level_is_that_of_a_plane_beside_holes_and_edges_too(width, shape):
    rows, columns = np.indices(shape)
    plane = 3.0 + 0.2 * rows - 0.1 * columns
    valid = np.random.default_rng(1).uniform(size=shape) > 0.1
    valid[10:30, 15:45] = False
    level = diffuse_level(valid, np.where(valid, plane, np.nan), width)
    assert np.all(np.isfinite(level))
    most = 0.25 if width < 10 else 0.1 * np.ptp(plane) if width < max(shape) else np.ptp(plane)
    assert np.abs(level - plane)[valid].max() < most


@pytest.mark.parametrize("slope", [0.1, 0.3, 1.0])
def test_a_slope_has_no_region_not_even_on_the_edge_of_the_field(slope):
    rows, columns = np.indices(SHAPE)
    signal = slope * (rows + 0.5 * columns) + white(9)
    assert not find_regions(signal, np.ones(SHAPE), OPTIONS).any()


METHODS = (quadtree, voronoi, spaxels)


@pytest.mark.parametrize("diffuse", [*METHODS, None])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), correlation=st.sampled_from([0.0, 0.3]))
def test_each_bin_has_the_snr_of_its_own_spaxels_and_each_spaxel_one_bin(
    diffuse, seed, correlation
):
    traced, noise = nebula(seed)
    signal, faint_noise = field(seed, SHAPE)
    options = replace(BINNING, correlation=correlation)
    bins = regions(traced, noise, signal, faint_noise, options, OPTIONS, diffuse)
    label = find_regions(traced, noise, OPTIONS)
    usable = np.isfinite(signal)
    np.testing.assert_allclose(bins.snr, own_snr(bins, signal, faint_noise, correlation), rtol=1e-9)
    assert bins.is_region.shape == bins.snr.shape
    region = np.append(bins.is_region, False)[bins.bin_id]
    assert np.array_equal(region, usable & (label > 0))
    assert np.array_equal(bins.bin_id >= 0, region if diffuse is None else usable)
    assert np.array_equal(np.bincount(bins.bin_id[bins.bin_id >= 0]), bins.n_spaxel)
    # Regions first, in the order of their labels.
    assert np.array_equal(bins.is_region, np.sort(bins.is_region)[::-1])
    assert np.array_equal(
        bins.bin_id[region], labels(label, signal, faint_noise, options).bin_id[region]
    )


@pytest.mark.parametrize("diffuse", METHODS)
def test_the_rest_is_binned_as_if_the_regions_were_outside_the_field(diffuse):
    signal, noise = field(3, SHAPE)
    label = np.zeros(SHAPE, dtype=int)
    label[15:22, 10:20] = 7
    bins = with_diffuse(label, signal, noise, BINNING, diffuse)
    rest = diffuse(np.where(label > 0, np.nan, signal), noise, BINNING)
    outside = np.isfinite(signal) & (label == 0)
    assert bins.n_bin == 1 + rest.n_bin
    assert np.array_equal(bins.bin_id[outside], 1 + rest.bin_id[outside])
    np.testing.assert_array_equal(bins.flags[1:], rest.flags)


def test_bins_of_the_rest_that_are_to_be_dropped_leave_the_regions():
    signal, noise = np.where(blob(20, 20) > 6, 20.0, 0.0), np.ones(SHAPE)
    label = (signal > 0).astype(int)
    bins = with_diffuse(label, signal, noise, replace(BINNING, leftover="drop"), quadtree)
    assert bins.n_bin == 1
    assert np.array_equal(bins.bin_id, label - 1)


def test_a_field_without_a_region_is_all_diffuse_or_refused():
    signal, noise = field(1, SHAPE)
    bins = regions(white(1), np.ones(SHAPE), signal, noise, BINNING, OPTIONS, quadtree)
    assert np.array_equal(bins.bin_id, quadtree(signal, noise, BINNING).bin_id)
    assert not bins.is_region.any()
    with pytest.raises(
        InputError, match=r"no region of 5 spaxels .* S/N 5 .* lower regions.peak_snr"
    ):
        regions(white(1), np.ones(SHAPE), signal, noise, BINNING, OPTIONS)


def test_a_map_of_labels_over_all_of_the_field_leaves_no_rest():
    signal, noise = field(2, SHAPE)
    noise[0, 0] = np.inf
    bins = with_diffuse(np.ones(SHAPE), signal, noise, BINNING, quadtree)
    assert bins.n_bin == 1
    assert bins.is_region.all()


@given(
    seed=st.integers(0, 1000),
    dtype=st.sampled_from(["int8", "uint16", "int64", "float32", "float64"]),
    names=st.lists(st.integers(1, 120), min_size=1, max_size=6, unique=True),
)
@settings(max_examples=15)
def test_a_segmentation_keeps_the_rules_of_labels(seed, dtype, names):
    signal, noise = field(seed, (17, 23))
    # Neither connected nor consecutive, with what is no bin between.
    drawn = np.random.default_rng(seed).choice([0, *names], signal.shape).astype(dtype)
    drawn[0, :2] = names[0]
    if drawn.dtype.kind != "u":
        drawn[1] = -3
    if drawn.dtype.kind == "f":
        drawn[2] = np.nan
    alone = labels(drawn, signal, noise, BINNING)
    bins = with_diffuse(drawn, signal, noise, BINNING, quadtree)
    inside = alone.bin_id >= 0
    assert np.array_equal(bins.bin_id[inside], alone.bin_id[inside])
    np.testing.assert_array_equal(bins.snr[bins.is_region], alone.snr)
    assert np.all(bins.bin_id[~inside & np.isfinite(signal)] >= alone.n_bin)


def test_our_own_bins_count_from_zero():
    signal, noise = field(4, SHAPE)
    own = np.where(blob(20, 20) > 6, 0, -1)
    bins = with_diffuse(own, signal, noise, BINNING, quadtree, none_below=0)
    assert np.array_equal(bins.bin_id == 0, np.isfinite(signal) & (own == 0))


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        (np.ones((4, 5)), r"shape \(4, 5\), where the field has \(41, 53\)"),
        (np.full(SHAPE, 1.5), "holds 1.5, where whole numbers"),
        (np.zeros(SHAPE), "no spaxel with a label"),
    ],
)
def test_what_is_no_map_of_labels_is_refused(drawn, said):
    with pytest.raises(InputError, match=said):
        with_diffuse(drawn, *field(1, SHAPE), BINNING, quadtree)


@pytest.mark.parametrize("told_apart", [True, False])
def test_which_bins_are_regions_is_in_the_file(tmp_path, told_apart):
    signal, noise = field(4, SHAPE)
    bins = with_diffuse(np.where(blob(20, 20) > 6, 3, 0), signal, noise, BINNING, quadtree)
    given_bins = bins if told_apart else replace(bins, is_region=None)
    write_bins(tmp_path / "bins.fits", given_bins, Sky(shape=SHAPE), {})
    again = read_bins(tmp_path / "bins.fits").is_region
    if told_apart:
        assert again.dtype == bool
        assert np.array_equal(again, bins.is_region)
    else:
        assert again is None
