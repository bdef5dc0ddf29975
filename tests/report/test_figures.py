from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import AsinhNorm, LogNorm
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from PIL import Image
from tests.report.conftest import make_sky

from betis.derived.classes import CURVES, kauffmann_nii, kewley_nii, kewley_sii
from betis.errors import InputError
from betis.flags import Flag
from betis.io.row_products import read_lines, write_lines
from betis.products import RowStream
from betis.report import field, summary
from betis.report.binmap import color_bins, touching_bins
from betis.report.bpt import class_table
from betis.report.canvas import house_style, nice_ticks, robust_range, to_png
from betis.report.derivedmaps import draw_classes, draw_quantities
from betis.report.field import scale_bar_length
from betis.report.linemaps import log_range, velocity_range
from betis.report.page import Picture
from betis.report.spectra import (
    brightness,
    choose_rows,
    draw_spectra,
    flux_limits,
    gaps,
    prepare_row,
)

NUMBERS = st.floats(-1e6, 1e6) | st.just(float("nan"))
LABELS = arrays(
    np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-1, 6)
)


@given(LABELS)
def test_touching_bins_differ_in_colour(bin_id):
    color = color_bins(touching_bins(bin_id), 7)
    ny, nx = bin_id.shape
    for y, x in np.ndindex(ny, nx):
        around = bin_id[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].ravel()
        for other in around[(around != bin_id[y, x]) & (around >= 0)]:
            if bin_id[y, x] >= 0:
                assert color[other] != color[bin_id[y, x]]


def test_a_grid_of_squares_needs_four_colours():
    bin_id = np.arange(100, dtype=np.int32).reshape(10, 10)
    assert color_bins(touching_bins(bin_id), 100).max() <= 4


@given(arrays(float, st.integers(0, 30), elements=NUMBERS))
def test_a_range_is_never_empty(values):
    low, high = robust_range(values)
    assert low < high
    good = values[np.isfinite(values)]
    if good.size:
        assert low <= np.median(good) <= high


@given(arrays(float, 20, elements=NUMBERS), st.floats(-1e3, 1e3))
def test_velocity_ranges_move_with_the_velocities(values, shift):
    center, half = velocity_range(values)
    moved_center, moved_half = velocity_range(values + shift)
    if np.isfinite(values).any():
        assert moved_center == pytest.approx(center + shift, abs=1e-6)
    assert moved_half == pytest.approx(half, abs=1e-6)
    assert half >= 10


@given(arrays(float, 20, elements=NUMBERS))
def test_log_ranges_are_positive_and_open(values):
    limits = log_range(values)
    if limits is None:
        assert not (values > 0).any()
    else:
        assert 0 < limits[0] < limits[1]


@given(st.floats(-3, 5), st.floats(0.09, 4))
def test_ticks_are_few_round_and_apart(start, decades):
    norm = LogNorm(10**start, 10 ** (start + decades))
    ticks = nice_ticks(norm)
    places = np.asarray(norm(ticks)) if ticks else np.zeros(0)
    assert np.all(np.diff(places) > 0.09)
    assert np.all((places >= 0) & (places <= 1))
    assert ticks or decades < 0.4
    assert all(f"{tick:e}"[0] in "125" for tick in ticks)


def test_ticks_of_both_signs():
    ticks = nice_ticks(AsinhNorm(1.0, vmin=-100, vmax=1000))
    assert 0 in ticks
    assert min(ticks) < 0 < max(ticks)


@given(st.floats(0.05, 5), st.integers(3, 500))
def test_the_scale_bar_fits(pixel, n_x):
    length = scale_bar_length(pixel, n_x)
    if length is None:
        assert 0.33 * pixel * n_x < 0.1
    else:
        assert 0 < length <= 0.33 * pixel * n_x


def test_demarcations_pass_through_published_points():
    assert kewley_nii(np.array([0.0]))[0] == pytest.approx(1.19 - 0.61 / 0.47)
    assert kauffmann_nii(np.array([-0.95]))[0] == pytest.approx(0.69)
    assert kewley_sii(np.array([-0.4]))[0] == pytest.approx(0.30)


def test_pure_star_formation_lies_below_the_maximum_starburst_where_both_are_drawn():
    kewley, kauffmann = CURVES["LOG_NII_HA"]
    x = np.linspace(kauffmann.first, kauffmann.last, 50)
    assert np.all(kauffmann.at(x) < kewley.at(x))


def test_classes_share_out_all_bins_and_all_light(content):
    rows = class_table(content)[1:]
    for name in content.derived.classes:
        own = [row for row in rows if row[0] == name]
        assert sum(int(row[2].replace(",", "")) for row in own) == content.bins.n_bin
        assert sum(float(row[4].rstrip(" %")) for row in own) == pytest.approx(100, abs=0.3)


def test_what_follows_from_the_lines_is_drawn(content):
    assert len(draw_quantities(content)) >= 5
    assert len(draw_classes(content)) == 3
    panels = [*draw_quantities(content), *draw_classes(content)]
    assert all(isinstance(panel, Picture) for panel in panels)


def test_the_frame_of_the_field_is_drawn_once_for_all_maps(content, monkeypatch):
    frames = []
    draw = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda self, *a: frames.append(self) or draw(self, *a))
    field._frame.cache_clear()
    panels = draw_quantities(content)
    assert len(panels) >= 5
    assert len(frames) == len(panels) + 1


def test_the_frame_is_over_the_image_and_labelled():
    sky = make_sky()
    field._frame.cache_clear()
    frame = field._frame(sky.shape, tuple(sky.wcs.items()))
    figure, axes = field.sky_axes(sky)
    axes.imshow(np.ones(sky.shape), cmap="Greys", vmin=0, vmax=1)
    shown = np.asarray(Image.open(BytesIO(to_png(figure))).convert("L")).astype(int)
    assert shown.shape == frame.shape[:2]
    opaque = frame[..., 3] == 255
    assert opaque.sum() > 500
    ink = frame[..., :3].mean(axis=2).astype(int)
    assert np.abs(shown - ink)[opaque].max() < 12
    left, below = opaque[:, : opaque.shape[1] // 6], opaque[-opaque.shape[0] // 9 :]
    assert left.any()
    assert below.any()


def test_no_tick_label_of_a_map_is_a_formula(content, monkeypatch):
    parsed, parse = [], MathTextParser.parse
    monkeypatch.setattr(
        MathTextParser, "parse", lambda self, *a: parsed.append(a[0]) or parse(self, *a)
    )
    field._frame.cache_clear()
    with house_style():
        assert all(isinstance(panel, Picture) for panel in draw_quantities(content))
    assert not parsed


def test_a_report_on_fits_in_a_file_is_that_on_fits_in_memory(content, tmp_path):
    pieces = [(slice(0, content.bins.n_bin), content.lines)]
    stream = RowStream(n_row=content.bins.n_bin, pieces=pieces)
    write_lines(tmp_path / "lines.fits", stream, content.line_set, {})
    stored = replace(content, lines=read_lines(tmp_path / "lines.fits", room=1))
    for draw in (summary.line_table, summary.key_numbers, summary.verdict, choose_rows):
        assert draw(stored) == draw(content)
    one, two = (draw_quantities(each) + draw_spectra(each)[:1] for each in (content, stored))
    assert [panel.png for panel in one] == [panel.png for panel in two]


def test_the_chosen_spectra_are_what_they_are_called(content):
    chosen = choose_rows(content)
    bright = brightness(content)
    why = {reason: row for row, text in chosen.items() for reason in text.split(", ")}
    assert 4 <= len(chosen) <= 6
    assert bright[why["brightest"]] == bright.max()
    assert content.bins.n_spaxel[why["largest bin"]] == content.bins.n_spaxel.max()
    worst = content.continuum.chi2 / content.continuum.dof
    assert worst[why["worst continuum χ²"]] == worst.max()
    clean = (content.bins.flags | content.continuum.flags) == 0
    assert bright[why["faintest without a flag"]] == bright[clean].min()


def test_where_every_bin_is_flagged_none_is_called_clean(small):
    bins = replace(small.bins, flags=np.full_like(small.bins.flags, Flag.LOW_SNR))
    assert not any("flag" in why for why in choose_rows(replace(small, bins=bins)).values())


def test_residuals_are_those_of_data_and_both_models(content):
    row = 3
    model = content.model_lines(np.array([row]))[0]
    drawn = prepare_row(content, row, model)
    good = ~content.spectra.mask[row]
    difference = content.spectra.flux[row] - content.continuum.model[row] - model
    np.testing.assert_allclose(
        drawn.residual[good], (difference / content.spectra.error[row])[good]
    )
    assert np.std(drawn.residual[good]) == pytest.approx(1, abs=0.1)
    assert np.isnan(drawn.residual[~good]).all()


def test_peaks_stay_in_sight_of_close_ups(content):
    row = next(iter(choose_rows(content)))
    drawn = prepare_row(content, row, content.model_lines(np.array([row]))[0])
    where = (drawn.wave > 6500) & (drawn.wave < 6780)
    low, high = flux_limits(drawn, where, whole=True)
    assert low < drawn.total[where].min()
    assert high > drawn.total[where].max()


def test_jumps_of_the_axis_are_found():
    wave = np.concatenate([np.arange(3700.0, 3710.0), np.arange(6300.0, 6320.0, 0.6)])
    np.testing.assert_array_equal(gaps(wave), [9])


def test_products_of_two_runs_are_refused(small):
    with pytest.raises(InputError, match="their numbers must be the same"):
        replace(small, spectra=small.spectra.take(slice(0, 1)))
    with pytest.raises(InputError, match=r"images of the shapes .* where the field has \(8, 8\)"):
        replace(small, cube_image=np.zeros((3, 3)))
