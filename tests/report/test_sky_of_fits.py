"""Flags, fit quality, components and equivalent widths on the page."""

from dataclasses import fields, replace

import numpy as np
import pytest

from betis.flags import Flag
from betis.lines.second import with_components
from betis.options import LineOptions
from betis.products import LineFit
from betis.report.bpt import alpha_light, alpha_width
from betis.report.canvas import house_style
from betis.report.components import component_table, components_of, draw_components
from betis.report.flagmaps import draw_doubt, draw_fit_quality, draw_flags, leading_flag
from betis.report.page import Picture
from betis.report.widths import draw_width_distribution


@pytest.fixture(autouse=True)
def style():
    with house_style():
        yield


@pytest.fixture(scope="module")
def two(small):
    """A run whose fit could keep a second component of Halpha, kept in every other bin."""
    fit, at = small.lines, small.lines.index("Ha6563")
    kept = np.arange(small.bins.n_bin) % 2 == 0
    grown = {}
    for item in fields(LineFit):
        value = getattr(fit, item.name)
        if np.ndim(value) == 2 and value.shape[1] == len(fit.names):
            part = np.where(kept, 0.5 * value[:, at], np.nan)
            if item.name == "flags":
                part = np.where(kept, 0, Flag.NO_COMPONENT)
            grown[item.name] = np.column_stack([value, part]).astype(value.dtype)
    names, group = (*fit.names, "Ha6563_2"), np.append(fit.group, fit.group[at])
    line_set = with_components(small.line_set, LineOptions(components=2))
    lines = replace(fit, names=names, group=group.astype(np.int32), **grown)
    return replace(small, lines=lines, line_set=line_set), kept


def test_the_flag_that_leads_is_that_of_most_fits_and_of_equals_the_worst():
    bound, failed, faint = int(Flag.AT_BOUND), int(Flag.FIT_FAILED), int(Flag.NOT_DETECTED)
    flags = np.array([[bound, bound, failed], [bound, failed, 0], [0, faint, 0]], np.int32)
    assert leading_flag(flags).tolist()[0] == leading_flag(flags[:1, :2])[0]
    assert leading_flag(flags).tolist()[1] == 1
    assert leading_flag(flags).tolist()[2] == 0


def test_maps_of_flags_are_drawn_or_said_to_be_empty(small):
    flagged = np.where(np.arange(small.bins.n_bin) < 3, Flag.AT_BOUND, 0).astype(np.int32)
    table = replace(small.continuum.table, flags=flagged)
    stars, lines = draw_flags(replace(small, continuum=table))
    assert isinstance(stars, Picture)
    assert stars.caption.startswith("3 of ")
    assert lines == "Flags of the detected lines: no bin has one."
    assert draw_doubt(small) == "Detected lines in doubt: there is none."
    bad = small.lines.flags | np.int32(Flag.BAD_CHI2)
    doubtful = replace(small, lines=replace(small.lines, flags=bad))
    assert isinstance(draw_doubt(doubtful), Picture)


def test_the_quality_of_fits_is_drawn_where_a_line_is_detected(small):
    assert all(isinstance(panel, Picture) for panel in draw_fit_quality(small))
    nothing = replace(small.lines, snr=np.zeros_like(small.lines.snr))
    stars, lines = draw_fit_quality(replace(small, lines=nothing))
    assert isinstance(stars, Picture)
    assert "no finite value" in lines


def test_components_are_shown_where_they_were_kept(two, small):
    content, kept = two
    assert components_of(small) == {}
    assert components_of(content) == {"Ha6563_2": "Ha6563"}
    (row,) = component_table(content)[1:]
    assert row[:2] == ("Hα (2)", f"{kept.sum()}")
    assert row[3:5] == ("33.3 %", row[4])
    count, share = draw_components(content)
    assert f"in {kept.sum()} of {kept.size} bins" in count.caption
    assert share.alt.startswith("Map: Hα (2): share of the flux")


def test_components_that_no_bin_asks_for_make_a_sentence(two):
    content, _ = two
    gone = content.lines.flags.copy()
    gone[:, -1] = Flag.NO_COMPONENT
    empty = replace(content, lines=replace(content.lines, flags=gone))
    assert draw_components(empty) == ["Further components: the data ask for none in any bin."]
    assert len(component_table(empty)) == 1


def test_light_and_width_of_halpha_are_those_of_all_its_components(two, small):
    content, kept = two
    factor = np.where(kept, 1.5, 1.0)
    np.testing.assert_allclose(alpha_width(content), factor * alpha_width(small))
    np.testing.assert_allclose(alpha_light(content), factor * alpha_light(small))


def test_the_distribution_of_widths_names_the_share_of_the_diffuse_gas(small):
    drawn = draw_width_distribution(small)
    assert isinstance(drawn, Picture)
    width, light = alpha_width(small), alpha_light(small)
    kept = (small.derived.classes["EW_CLASS"].value > 0) & (width > 0)
    low = kept & (width < 14)
    assert f"{100 * light[low].sum() / light[kept].sum():.3g} % of their light" in drawn.caption


def test_a_run_without_halpha_has_no_distribution(small):
    none = replace(small.derived, classes={})
    assert draw_width_distribution(replace(small, derived=none)).endswith("was not fitted.")
    blank = {
        "EW_CLASS": replace(small.derived.classes["EW_CLASS"], value=np.zeros(small.bins.n_bin))
    }
    none = replace(small.derived, classes=blank)
    assert "no bin has Hα" in draw_width_distribution(replace(small, derived=none))
