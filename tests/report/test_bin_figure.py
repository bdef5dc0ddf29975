"""The figure of one bin shows what was fitted, whatever came of the fit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.conftest import make_content

from betis.errors import ConfigError, InputError
from betis.flags import Flag
from betis.report.bin_choice import Choice, bin_of_spaxel, choose_bins
from betis.report.bin_figure import draw_bin, figure_paths, save_bin
from betis.report.bin_view import (
    BinView,
    base_of,
    drawn_group,
    drawn_whole,
    facts_of,
    group_members,
    letter,
    line_rows,
    shown_groups,
    window_of,
)
from betis.report.canvas import house_style

HALF = 30.0
CONTENT = make_content((16, 16), step=5.0)
CHOSEN = (CONTENT.bins, CONTENT.continuum.flags, CONTENT.lines)


def view_of(content=CONTENT, row=3, *, level=0.0, slope=0.0, stars=True):
    """Return a bin of the synthetic run, its local backgrounds those given."""
    only = slice(row, row + 1)
    fit, spectra = content.lines.take(only), content.spectra
    fit = replace(fit, background=np.full_like(fit.background, (level, slope)))
    z = (spectra.wave - fit.wave_obs[0][:, None]) / fit.sigma_obs[0][:, None]
    known = {line.name: line for line in content.line_set.lines}
    return BinView(
        title=content.title,
        row=row,
        bins=content.bins,
        spectrum=spectra.take(only),
        stars=content.continuum.take(only) if stars else None,
        lines=fit,
        profiles=np.nan_to_num(fit.amplitude[0][:, None] * np.exp(-0.5 * z**2)),
        places=content.line_set.waves(spectra.medium, spectra.redshift),
        window=np.full(len(fit.names), HALF),
        labels=tuple(known[name].label for name in fit.names),
        absorbed=np.array([known[name].absorption for name in fit.names]),
    )


def failed(view):
    """Return the bin as it is where no fit of its lines gave a finite result."""
    fit = view.lines
    kept = {"names", "group", "background_wave", "sky", "flags", "n_iter"}
    gone = {
        name: np.full_like(value, np.nan)
        for name, value in vars(fit).items()
        if name not in kept and isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }
    flags = np.full_like(fit.flags, Flag.FIT_FAILED)
    return replace(view, lines=replace(fit, **gone, flags=flags), profiles=0 * view.profiles)


def drawn(view, groups):
    with house_style():
        return draw_bin(view, groups)


def words(figure):
    """Return all text of a figure."""
    return "\n".join(text.get_text() for text in figure.texts)


@given(level=st.floats(-50, 50), slope=st.floats(-1, 1), row=st.integers(0, CONTENT.bins.n_bin - 1))
def test_the_model_of_a_close_up_is_stars_background_and_every_line(level, slope, row):
    view = view_of(row=row, level=level, slope=slope)
    for group in group_members(view):
        shown, inside = drawn_group(view, group), window_of(view, group)
        position = view.wave - view.lines.background_wave[group]
        expected = view.stars.model[0] + level + slope * position + view.profiles.sum(axis=0)
        np.testing.assert_allclose(shown.total[inside], expected[inside], rtol=1e-12)
        assert np.isnan(shown.total[~inside]).all()
        residual = (view.spectrum.flux[0] - expected) / view.spectrum.error[0]
        good = inside & ~view.spectrum.mask[0]
        np.testing.assert_allclose(shown.residual[good], residual[good], rtol=1e-9, atol=1e-9)
        assert np.isnan(shown.residual[~good]).all()


@pytest.mark.parametrize("position", [0, -1])
def test_the_whole_model_has_the_background_of_the_narrowest_window(position):
    view = view_of()
    wide = np.where(view.lines.group == list(group_members(view))[position], 4000.0, HALF)
    view = replace(view, window=wide, lines=replace(view.lines, background=_by_group(view)))
    total, lines = drawn_whole(view).total, view.profiles.sum(axis=0)
    narrow = [group for group, member in group_members(view).items() if wide[member].max() == HALF]
    assert len(narrow) > 3
    for group in narrow:
        others = [window_of(view, other) for other in narrow if other != group]
        inside = window_of(view, group) & ~np.any(others, axis=0)
        expected = (view.stars.model[0] + group + lines)[inside]
        np.testing.assert_allclose(total[inside], expected, rtol=1e-12)


def _by_group(view):
    """Return backgrounds whose level is the number of their group."""
    background = np.zeros_like(view.lines.background)
    background[..., 0] = np.arange(background.shape[1])
    return background


def test_no_curve_is_drawn_across_a_gap_of_the_axis():
    content = make_content((8, 8), step=5.0)
    kept = ~((content.spectra.wave > 6540) & (content.spectra.wave < 6640))
    spectra = replace(
        content.spectra,
        wave=content.spectra.wave[kept],
        flux=content.spectra.flux[:, kept],
        error=content.spectra.error[:, kept],
        mask=content.spectra.mask[:, kept],
        **dict.fromkeys(("lsf", "edges", "sky_window")),
    )
    stars = replace(
        content.continuum,
        model=content.continuum.model[:, kept],
        used=content.continuum.used[:, kept],
    )
    view = view_of(replace(content, spectra=spectra, continuum=stars))
    before = np.searchsorted(view.wave, 6540) - 1
    assert np.isnan([drawn_whole(view).flux[before], drawn_whole(view).total[before]]).all()
    drawn(view, shown_groups(view))


def test_every_line_on_the_axis_is_in_one_group_and_one_row():
    view = view_of()
    members = group_members(view)
    listed = [row["line"] for row in line_rows(view, list(members))]
    near = np.abs(view.wave - view.places[:, None]) <= HALF
    assert sorted(listed) == sorted(np.array(view.lines.names)[near.any(axis=1)])
    starts = [view.places[member].min() for member in members.values()]
    assert starts == sorted(starts)


def test_close_ups_are_of_what_is_detected_and_what_is_asked_for():
    view = view_of()
    usual, every = shown_groups(view), shown_groups(view, every=True)
    seen = {int(group) for group in view.lines.group[view.detected]}
    assert set(usual) == seen & set(group_members(view))
    assert set(usual) < set(every) == set(group_members(view))
    unseen = next(group for group in every if group not in usual)
    name = view.lines.names[group_members(view)[unseen][0]]
    assert set(shown_groups(view, lines=[name])) == {*usual, unseen}
    assert shown_groups(view, lines=[name], only=True) == [unseen]


def test_a_line_outside_the_spectra_is_refused_only_where_it_is_all_that_is_asked_for():
    view = view_of()
    assert shown_groups(view, lines=["OII3726"]) == shown_groups(view)
    with pytest.raises(InputError, match=r"OII3726 lies outside the spectra, which run from 4628"):
        shown_groups(view, lines=["OII3726"], only=True)


def test_the_table_says_value_error_and_every_flag_by_name():
    view = view_of()
    flags = np.full_like(view.lines.flags, Flag.AT_BOUND | Flag.IN_SKY_WINDOW)
    view = replace(view, lines=replace(view.lines, flags=flags))
    (row,) = (row for row in line_rows(view, list(group_members(view))) if row["line"] == "Ha6563")
    i = view.lines.index("Ha6563")
    error = view.lines.flux_err[0, i]
    assert float(row["flux"].replace(",", "")) == pytest.approx(view.lines.flux[0, i], abs=error)
    assert float(row["error"].replace(",", "")) == pytest.approx(error, rel=0.05)
    assert row["V [km/s]"].endswith("± 4.0")
    assert row["flags"] == "AT_BOUND IN_SKY_WINDOW"


def test_the_figure_has_axes_for_each_part_and_says_what_the_table_says():
    view = view_of()
    outlier = np.argmin(np.abs(view.wave - 6585))
    flux = view.spectrum.flux.copy()
    flux[0, outlier] += 50 * view.spectrum.error[0, outlier]
    view = replace(view, spectrum=replace(view.spectrum, flux=flux))
    groups = shown_groups(view)
    figure = drawn(view, groups)
    assert len(figure.axes) == 2 + 1 + 2 * len(groups)
    said = words(figure)
    for row in line_rows(view, groups):
        assert f" {row['line']} " in said
        assert row["V [km/s]"] in said
    for text in (view.title, *facts_of(view), "erg/s/cm²"):
        assert text in said
    for position, pair in enumerate(zip(figure.axes[3::2], figure.axes[4::2], strict=True)):
        assert pair[0].texts[-2].get_text() == letter(position)
        low, high = pair[1].get_ylim()
        residual = drawn_group(view, groups[position]).residual
        assert low < np.nanmin(residual) < np.nanmax(residual) < high


def test_bins_are_drawn_whatever_came_of_their_fits():
    view = view_of()
    every = shown_groups(view, every=True)
    mask = np.ones_like(view.spectrum.mask)
    for other in (failed(view), replace(view, spectrum=replace(view.spectrum, mask=mask))):
        figure = drawn(other, every[:2])
        assert len(figure.axes) == 7
    assert "not fitted" in [
        text.get_text() for text in drawn(failed(view), every[:1]).axes[3].texts
    ]
    assert shown_groups(failed(view)) == []
    assert "No line is detected" in words(drawn(failed(view), []))


def test_without_stars_the_backgrounds_stand_for_them():
    view = view_of(level=40.0, stars=False)
    group = shown_groups(view)[0]
    np.testing.assert_array_equal(base_of(view, group), 40.0)
    assert np.isnan(drawn_group(view, group).continuum).all()
    figure = drawn(view, [group])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "continuum" not in labels
    assert "no continuum was fitted" in words(figure)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_a_figure_holds_nothing_of_the_time_and_its_folder_is_made(suffix, tmp_path):
    view = view_of()
    files = [tmp_path / name / f"bin{suffix}" for name in "ab"]
    for file in files:
        save_bin(file, view, shown_groups(view)[:1])
    first, second = (file.read_bytes() for file in files)
    assert len(first) > 10_000
    assert first == second


def test_a_suffix_that_is_no_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"suffix '\.gif', where one of \.png, \.pdf, \.svg"):
        save_bin(tmp_path / "bin.gif", view_of(), [])


def test_each_bin_has_a_file_of_its_own(tmp_path):
    assert figure_paths(tmp_path, None, [4, 17])[1] == tmp_path / "figures" / "bin-17.png"
    assert figure_paths(tmp_path, tmp_path / "a.pdf", [4]) == [tmp_path / "a.pdf"]
    several = figure_paths(tmp_path, tmp_path / "a.pdf", [4, 17])
    assert [path.name for path in several] == ["a-4.pdf", "a-17.pdf"]


def test_a_spaxel_is_x_then_y_from_zero():
    bin_id = CONTENT.bins.bin_id
    for y, x in np.argwhere(bin_id >= 0):
        assert bin_of_spaxel(CONTENT.bins, int(x), int(y)) == bin_id[y, x]
    with pytest.raises(
        InputError, match=r"x = 16, y = 0: counted from 0, x runs to 15 and y to 15"
    ):
        bin_of_spaxel(CONTENT.bins, 16, 0)
    y, x = np.argwhere(bin_id < 0)[0]
    with pytest.raises(InputError, match=r"is in no bin; choose another"):
        bin_of_spaxel(CONTENT.bins, int(x), int(y))


@given(seed=st.integers(0, 1000), flag=st.sampled_from(["LOW_SNR", "AT_BOUND", "NOT_DETECTED"]))
def test_a_bin_drawn_by_flag_has_it(seed, flag):
    bins, stars, fit = CHOSEN
    ((row, lines),) = choose_bins(Choice(flag=flag, seed=seed), *CHOSEN).items()
    again = choose_bins(Choice(flag=flag, seed=seed), *CHOSEN)
    assert again == {row: lines}
    of_line = fit.flags[row, fit.index(lines[0])] if lines else 0
    assert (bins.flags[row] | stars[row] | of_line) & Flag[flag]


def test_a_flag_may_be_asked_of_one_line():
    ((row, lines),) = choose_bins(Choice(flag="NOT_DETECTED", line="OI6300"), *CHOSEN).items()
    assert lines == ("OI6300",)
    assert CONTENT.lines.flags[row, CONTENT.lines.index("OI6300")] & Flag.NOT_DETECTED


def test_every_bin_asked_for_is_shown_once():
    y, x = np.argwhere(CONTENT.bins.bin_id == 2)[0]
    chosen = choose_bins(Choice(bins=(2, 5, 2), spaxel=(int(x), int(y)), line="Ha6563"), *CHOSEN)
    assert chosen == {2: ("Ha6563",), 5: ("Ha6563",)}


@pytest.mark.parametrize(
    ("choice", "kind", "said"),
    [
        (Choice(), ConfigError, r"no bin was asked for, .* --bin N"),
        (Choice(bins=(-1,)), InputError, r"no bin -1: .* numbered from 0 to \d+; choose"),
        (Choice(bins=(10**6,)), InputError, r"no bin 1000000: "),
        (Choice(bins=(0,), line="Ha"), InputError, r"the line Ha was not fitted"),
        (Choice(flag="BAD"), ConfigError, r"no flag 'BAD'; expected one of LOW_SNR, "),
        (Choice(flag="FEW_PIXELS"), InputError, r"no bin of this run has the flag FEW_PIXELS"),
        (Choice(flag="NO_DATA", line="Ha6563"), InputError, r"line Ha6563 of no bin has the flag"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(choice, kind, said):
    with pytest.raises(kind, match=said):
        choose_bins(choice, *CHOSEN)


def test_letters_go_on_behind_z():
    names = [letter(position) for position in range(26 * 27)]
    assert len(set(names)) == len(names)
    assert names[:2] + names[25:28] == ["a", "b", "z", "aa", "ab"]
