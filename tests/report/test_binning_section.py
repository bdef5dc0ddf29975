"""What the report says of the bins: light and area, regions, and S/N promised and measured."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.collections import LineCollection

from betis.flags import Flag
from betis.products import BinMap, SnrMap
from betis.report.binfacts import (
    binning_facts,
    light_of_field,
    promise,
    region_sentence,
    share_note,
    share_table,
)
from betis.report.binmap import draw_bin_sizes, draw_outlines
from betis.report.canvas import house_style
from betis.report.field import Outline, outline, sky_axes
from betis.report.page import Picture
from betis.report.promise import draw_measured_snr, draw_snr_histogram

MEASURED = "S/N of the bins, measured on their spectra against predicted from the maps"


@pytest.fixture(autouse=True, scope="module")
def _style():
    with house_style():
        yield


def with_bins(content, **changes):
    return replace(content, bins=replace(content.bins, **changes))


def with_signal(content, signal, noise=1.0):
    snr = replace(content.snr, signal=signal, noise=np.full(signal.shape, noise))
    return replace(content, snr=snr)


def shares(content):
    """Return {flag: (spaxels, area, light)} as numbers."""
    _, *rows = share_table(content)
    read = lambda text: float(text.strip(" %<>").replace("−", "-").replace(",", ""))  # noqa: E731
    return {row[0]: tuple(read(cell) for cell in row[2:5]) for row in rows}


@given(seed=st.integers(0, 1000))
def test_without_overlapping_flags_shares_add_up_to_the_field(small, seed):
    rng = np.random.default_rng(seed)
    flags = rng.choice([0, Flag.LOW_SNR, Flag.NO_DATA], small.bins.n_bin).astype(np.int32)
    bright = with_signal(small, rng.uniform(1, 50, small.sky.shape), 0.01)
    found = shares(with_bins(bright, flags=flags))
    whole = found.pop("all")
    assert whole == (small.sky.shape[0] * small.sky.shape[1], 100, 100)
    np.testing.assert_allclose(np.sum(list(found.values()), axis=0), whole, atol=0.5)


def test_the_share_of_light_is_that_of_the_signal_in_the_flagged_bins(small):
    signal = np.where(small.bins.bin_id == 0, 300.0, 1.0)
    signal[small.bins.bin_id < 0] = 0.0
    flags = np.zeros_like(small.bins.flags)
    flags[0] = Flag.LOW_SNR
    found = shares(with_bins(with_signal(small, signal, 0.1), flags=flags))
    n, rest = small.bins.n_spaxel[0], small.bins.n_spaxel[1:].sum()
    assert found["LOW_SNR"][0] == n
    assert found["LOW_SNR"][2] == pytest.approx(100 * 300 * n / (300 * n + rest), abs=0.06)
    assert found["in no bin"][2] == 0


def test_a_bin_with_two_flags_is_in_both_rows_and_the_note_says_so(small):
    both = np.full_like(small.bins.flags, Flag.LOW_SNR | Flag.NO_DATA)
    rows = {row[0]: row[1:5] for row in share_table(with_bins(small, flags=both))}
    assert rows["LOW_SNR"] == rows["NO_DATA"]
    assert "several flags" in share_note(with_bins(small, flags=both))
    one = np.full_like(small.bins.flags, Flag.NO_DATA)
    assert "several flags" not in share_note(with_bins(small, flags=one))


@given(seed=st.integers(0, 50))
def test_empty_sky_has_next_to_no_light_however_much_of_it_there_is(seed):
    signal = np.random.default_rng(seed).normal(0, 1, (120, 120))
    signal[:5, :5] += 200
    bin_id = np.full(signal.shape, -1, dtype=np.int32)
    bin_id[:5, :5] = 0
    one = {"n_spaxel": np.array([25], np.int32), "snr": np.array([1e3]), "flags": np.zeros(1, int)}
    field = light_of_field(field_of(signal, BinMap(bin_id=bin_id, **one)))
    outside = field.signal[bin_id < 0].sum() / field.total
    assert abs(outside) < 5 * np.sqrt(signal.size) / 5000


def field_of(signal, bins):
    """What `light_of_field` looks at."""

    class Field:
        pass

    field = Field()
    field.bins = bins
    field.snr = SnrMap(
        signal=signal, noise=np.ones(signal.shape), line="a", method="matched", continuum=signal
    )
    return field


@pytest.mark.parametrize("signal", [np.zeros((8, 8)), np.full((8, 8), -2.0), np.full((8, 8), 0.3)])
def test_a_field_without_light_has_no_shares_of_it(small, signal):
    dark = with_signal(small, signal)
    assert {row[4] for row in share_table(dark)[1:]} == {"–"}
    assert "does not stand out of its noise" in share_note(dark)


def test_spaxels_without_a_signal_are_not_of_the_field(small):
    signal = np.ones(small.sky.shape)
    outside = small.bins.bin_id < 0
    assert outside.any()
    signal[outside] = np.nan
    found = shares(with_signal(small, signal, 0.1))
    assert found["in no bin"] == (0, 0, 0)
    assert found["all"][:2] == (small.bins.n_spaxel.sum(), 100)


def test_the_ratio_is_of_the_bins_without_a_flag(content):
    good = content.bins.flags == 0
    measured = np.where(good, 0.9, 5.0) * content.bins.snr
    kept = promise(replace(content.bins, snr_measured=measured))
    assert kept.ratio == pytest.approx(0.9)
    assert kept.n_bin == good.sum()
    assert kept.n_short == (measured[good] < content.bins.target).sum() > 0
    caption = draw_snr_histogram(with_bins(content, snr_measured=measured)).caption
    assert f"median 0.900, of {good.sum()} bins without a flag" in caption


def test_a_bin_that_could_not_be_measured_is_left_out(small):
    measured = small.bins.snr.copy()
    measured[np.flatnonzero(small.bins.flags == 0)[0]] = np.nan
    kept = promise(replace(small.bins, snr_measured=measured))
    assert kept.ratio == 1
    assert kept.n_bin == (small.bins.flags == 0).sum() - 1


def test_measured_nowhere_is_said_in_both_panels(small):
    silent = with_bins(small, snr_measured=None)
    sentence = "it was not measured on the stacked spectra of the bins."
    assert draw_measured_snr(silent) == f"Measured against predicted S/N: {sentence}"
    caption = draw_snr_histogram(silent).caption
    assert f"Predicted from the maps; {sentence}" in caption
    assert "measured." not in caption
    assert draw_snr_histogram(silent).png != draw_snr_histogram(small).png
    unknown = with_bins(small, snr_measured=np.full(small.bins.n_bin, np.nan))
    assert draw_measured_snr(unknown) == "Measured against predicted S/N: no bin has both."


def test_the_histogram_shows_the_measured_values(small):
    far = with_bins(small, target=1e5)
    one, other = (
        draw_snr_histogram(with_bins(far, snr_measured=np.full(small.bins.n_bin, value)))
        for value in (20.0, 5e4)
    )
    assert one.png != other.png


def test_every_bin_flagged_is_drawn_and_has_no_ratio(small):
    low = with_bins(small, flags=np.full_like(small.bins.flags, Flag.LOW_SNR))
    assert np.isnan(promise(low.bins).ratio)
    panel = draw_measured_snr(low)
    assert panel.alt == MEASURED
    assert "without a flag" not in panel.caption
    assert "median" not in draw_snr_histogram(low).caption
    assert [row[0] for row in share_table(low)[1:3]] == ["none", "LOW_SNR"]
    assert share_table(low)[1][1] == "0"


@settings(max_examples=12)  # Drawing is slow.
@given(
    values=arrays(float, (2, 9), elements=st.floats(-1e6, 1e6) | st.just(float("nan"))),
    target=st.sampled_from([10.0, 1e5, float("nan")]),
)
def test_any_snr_is_drawn_or_said(values, target):
    bins = BinMap(
        bin_id=np.arange(9, dtype=np.int32).reshape(3, 3),
        n_spaxel=np.ones(9, np.int32),
        snr=values[0],
        flags=np.where(values[0] >= 10, 0, 1).astype(np.int32),
        target=target,
        snr_measured=values[1],
    )
    panel = draw_measured_snr(Labelled(bins))
    drawn = (np.isfinite(values).all(axis=0) & (values[0] > 0)).any()
    assert isinstance(panel, Picture if drawn else str)
    assert isinstance(
        draw_snr_histogram(Labelled(bins)), Picture if np.isfinite(values[0]).any() else str
    )


class Labelled:
    """Bins, and a line that has a name."""

    def __init__(self, bins):
        self.bins = bins
        self.snr = SnrMap(
            signal=np.ones((3, 3)),
            noise=np.ones((3, 3)),
            line="a",
            method="matched",
            continuum=np.ones((3, 3)),
        )

    def label(self, name):
        return name


def test_bins_beyond_the_axes_are_counted(small):
    measured = small.bins.snr.copy()
    measured[:3] = [-5, 1e-9, 0]
    assert (
        "On the edge: 3 bins beyond it."
        in draw_measured_snr(with_bins(small, snr_measured=measured)).caption
    )


@given(
    arrays(np.int32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(-1, 3))
)
def test_an_outline_has_a_line_for_each_edge_between_labels(small, label):
    _, axes = sky_axes(replace(small.sky, shape=label.shape))
    outline(axes, Outline(label, "k", 1.0))
    (lines,) = [item for item in axes.collections if isinstance(item, LineCollection)]
    edges = (label[1:] != label[:-1]).sum() + (label[:, 1:] != label[:, :-1]).sum()
    assert len(lines.get_segments()) == edges
    for (x0, y0), (x1, y1) in lines.get_segments():
        near = [(round(y), round(x)) for y, x in straddling(x0, y0, x1, y1)]
        assert label[near[0]] != label[near[1]]


def straddling(x0, y0, x1, y1):
    """Return (y, x) of the two spaxels on either side of an edge of unit length."""
    y, x = (y0 + y1) / 2, (x0 + x1) / 2
    return [(y, x - 0.5), (y, x + 0.5)] if x0 == x1 else [(y - 0.5, x), (y + 0.5, x)]


def test_regions_are_counted_and_change_the_picture(small):
    region = np.zeros(small.bins.n_bin, dtype=bool)
    region[:2] = True
    marked = with_bins(with_signal(small, np.ones((8, 8)), 0.01), is_region=region)
    area = 100 * small.bins.n_spaxel[:2].sum() / 64
    assert region_sentence(marked) == (
        f"Orange: 2 regions, with {area:.3g} % of the light and {area:.3g} % of the area."
    )
    assert draw_outlines(marked).caption.endswith(region_sentence(marked))
    assert draw_outlines(marked).png != draw_outlines(with_bins(marked, is_region=None)).png


def test_no_region_and_none_asked_for(small):
    none = with_bins(small, is_region=np.zeros(small.bins.n_bin, dtype=bool))
    assert "No region" in draw_outlines(none).caption
    assert draw_outlines(none).png == draw_outlines(small).png
    assert region_sentence(small) == ""


def test_too_many_bins_are_not_outlined(small, monkeypatch):
    monkeypatch.setattr("betis.report.binmap._MAX_OUTLINED", small.bins.n_bin - 1)
    assert f"{small.bins.n_bin} bins, too many to outline" in draw_outlines(small).caption


@pytest.mark.parametrize(
    ("asked", "method"),
    [
        ({}, None),
        ({"binning.method": "voronoi"}, "voronoi"),
        ({"binning.method": "here/labels.fits[SEG]"}, "labels of labels.fits[SEG]"),
        (
            {
                "binning.method": "regions",
                "regions.line": "Ha6563",
                "regions.map": "",
                "regions.diffuse": "none",
            },
            "regions found in Hα; the field round them in no bin",
        ),
        (
            {
                "binning.method": "regions",
                "regions.line": "Ha6563",
                "regions.map": "here/hii.fits",
                "regions.diffuse": "voronoi",
            },
            "regions of hii.fits; the field round them by voronoi",
        ),
    ],
)
def test_the_method_is_that_of_the_settings(small, asked, method):
    assert binning_facts(replace(small, settings=asked)).get("method") == method


def test_target_and_margin(small):
    facts = binning_facts(replace(small, settings={"binning.strict": "True"}))
    assert facts["target"] == "S/N 10 in [S II] 6716, held as measured on the stacked spectra"
    assert facts["margin"] == "1: grown to S/N 11"
    region = np.ones(small.bins.n_bin, dtype=bool)
    assert binning_facts(with_bins(small, is_region=region))["margin"].endswith("but for regions")
    assert binning_facts(with_bins(small, margin=0.0))["margin"] == "none"
    given_bins = binning_facts(with_bins(small, target=float("nan")))
    assert given_bins["target"] == "none"
    assert "margin" not in given_bins


@pytest.mark.parametrize(
    ("model", "alpha", "words"),
    [
        ("", 0.0, "spaxels taken as independent"),
        ("", 0.5, "1 + 0.5 log10(n), n spaxels"),
        ("independent", 0.0, "spaxels taken as independent"),
        ("gaussian:1.9", 0.3, "spaxels correlated by a Gaussian, σ = 1.9 spaxels"),
        ("1 + 1.62 log10(n), n <= 100", 1.62, "1 + 1.62 log10(n), n <= 100, n spaxels"),
    ],
)
def test_the_noise_of_neighbours_is_said_in_words(small, model, alpha, words):
    bins = replace(small.bins, noise_model=model, correlation=alpha, growth=None)
    said = binning_facts(replace(small, bins=bins))["noise of a bin"]
    assert said.startswith(f"{words}: ")
    assert ("× 1 in every bin" in said) == (alpha == 0)


def test_growth_is_told_by_its_median_and_largest(small):
    growth = np.linspace(1, 3, small.bins.n_bin)
    said = binning_facts(with_bins(small, growth=growth))["noise of a bin"]
    assert said.endswith("× 2 (median), × 3 (largest) that of independent spaxels")


def test_bins_of_one_spaxel_have_one_size(small):
    bins = BinMap(
        bin_id=np.arange(64, dtype=np.int32).reshape(8, 8),
        n_spaxel=np.ones(64, np.int32),
        snr=np.ones(64),
        flags=np.zeros(64, np.int32),
    )
    assert draw_bin_sizes(Labelled(bins)).caption == "Median 1, largest 1."
