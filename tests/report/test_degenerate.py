"""Runs in which something is missing: a plain sentence, never a warning or a broken page."""

from dataclasses import fields, replace

import numpy as np
import pytest
from tests.report.conftest import derive_from

from betis.products import BinMap, LineFit, Sky
from betis.report.binmap import draw_bins, draw_cube_image, draw_outlines, draw_snr_maps
from betis.report.bpt import class_table, draw_diagram
from betis.report.canvas import house_style
from betis.report.derivedmaps import draw_classes, draw_quantities
from betis.report.field import field_wcs
from betis.report.linemaps import draw_fluxes, draw_stars, draw_velocities
from betis.report.page import Picture
from betis.report.promise import draw_measured_snr, draw_snr_histogram
from betis.report.quality import draw_chi2, draw_residuals
from betis.report.spectra import draw_spectra
from betis.report.summary import key_numbers, line_table, shown_lines, undetected_sentence, verdict
from betis.report.write import make_html


def blank(product, *names):
    """The product with these arrays all NaN."""
    return replace(
        product, **{name: np.full_like(getattr(product, name), np.nan) for name in names}
    )


def only_lines(fit: LineFit, names):
    columns = [fit.index(name) for name in names]
    per_line = {
        item.name: getattr(fit, item.name)[:, columns]
        for item in fields(LineFit)
        if np.ndim(getattr(fit, item.name)) == 2
        and getattr(fit, item.name).shape[1] == len(fit.names)
    }
    return replace(fit, names=tuple(names), group=fit.group[columns], **per_line)


def with_lines(content, lines, **others):
    """The content with these lines, and what follows from them."""
    bins = others.get("bins", content.bins)
    return replace(content, lines=lines, derived=derive_from(lines, bins), **others)


@pytest.fixture(scope="module")
def no_lines(small):
    measured = ("flux", "flux_err", "velocity", "sigma", "snr", "ew", "amplitude", "wave_obs")
    return with_lines(small, blank(small.lines, *measured))


@pytest.fixture(scope="module")
def no_stars(small):
    fit = blank(small.continuum, "velocity", "sigma", "av", "chi2", "av_err", "velocity_err")
    empty = replace(
        fit, model=np.zeros_like(fit.model), dof=0 * fit.dof, used=np.zeros_like(fit.used)
    )
    return replace(small, continuum=empty)


@pytest.fixture(scope="module", autouse=True)
def _style():
    with house_style():
        yield


def test_nothing_at_all_still_makes_a_page(no_lines, no_stars, parse):
    sky = Sky(shape=no_lines.sky.shape)
    empty = replace(
        no_lines,
        continuum=no_stars.continuum,
        sky=sky,
        cube_image=np.full(sky.shape, np.nan),
        snr=blank(no_lines.snr, "signal", "noise"),
        bins=replace(blank(no_lines.bins, "snr"), target=float("nan")),
        facts={},
        settings={},
        timings={},
        warnings=(),
        recovery=(),
    )
    page = parse(make_html(empty))
    sentences = [part.text for part in page.iter("p") if part.get("class") == "absent"]
    assert len(sentences) >= 9
    assert all(text.endswith(".") for text in sentences)
    assert "No emission line is detected" in "".join(page.itertext())


def test_no_line_detected_is_said(no_lines):
    assert verdict(no_lines).endswith("No emission line is detected at S/N 3 in any bin.")
    assert len(line_table(no_lines)) == 1
    fluxes = draw_fluxes(no_lines, shown_lines(no_lines))
    assert all("not detected" in panel for panel in fluxes)
    assert "no line is detected" in draw_velocities(no_lines, shown_lines(no_lines))[0]
    assert "no bin has S/N" in draw_diagram(no_lines, "BPT_NII")


def test_no_ratio_is_no_map(no_lines):
    assert draw_quantities(no_lines) == []
    assert draw_classes(no_lines) == []
    assert {row[1] for row in class_table(no_lines) if row[2] != "0"} <= {"class", "not classified"}


def test_no_stellar_fit_is_said(no_stars):
    (sentence,) = draw_stars(no_stars)
    assert "no stellar continuum was fitted" in sentence
    assert "no fit to show" in draw_chi2(no_stars)[0]
    assert "no fitted pixel" in draw_residuals(no_stars)
    assert key_numbers(no_stars)["median reduced χ² of the continuum"] == "–"
    assert all(isinstance(panel, Picture) for panel in draw_spectra(no_stars))


def test_stellar_fits_that_are_all_flagged_are_drawn(small):
    fit = replace(small.continuum, flags=np.ones_like(small.continuum.flags))
    assert all(isinstance(panel, Picture) for panel in draw_stars(replace(small, continuum=fit)))


def test_lines_outside_the_range_are_said(small):
    only = with_lines(small, only_lines(small.lines, ["SIII9069"]))
    assert "not all of its lines were fitted" in draw_diagram(only, "BPT_SII")
    outside = blank(only_lines(small.lines, ["OII3726", "OII3729"]), "snr")
    assert undetected_sentence(replace(small, lines=outside)) == (
        "Not measured, outside the spectra or masked: [O II] 3726, [O II] 3729."
    )


def test_other_lines_stand_in_where_no_main_line_is_detected(small):
    fit = only_lines(small.lines, ["NI5198", "OI6300"])
    strong = replace(fit, flux=10 * fit.flux_err, snr=np.full_like(fit.snr, 10.0))
    shown = shown_lines(replace(small, lines=strong))
    assert [line.label for line in shown] == ["[N I] 5198", "[O I] 6300"]


def test_no_line_was_fitted_at_all(small):
    none = with_lines(small, only_lines(small.lines, []))
    assert "No emission line" in verdict(none)
    assert key_numbers(none)["lines detected in at least one bin"] == "0 of 0"
    assert all(isinstance(panel, Picture) for panel in draw_spectra(none))


def test_one_bin_is_drawn(small):
    bins = BinMap(
        bin_id=np.zeros(small.sky.shape, np.int32),
        n_spaxel=np.array([64], np.int32),
        snr=np.array([12.0]),
        flags=np.array([0], np.int32),
        target=10.0,
    )
    row = np.array([0])
    alone = with_lines(
        small,
        small.lines.take(row),
        bins=bins,
        spectra=small.spectra.take(row),
        continuum=small.continuum.take(row),
    )
    assert isinstance(draw_bins(alone), Picture)
    assert isinstance(draw_outlines(alone), Picture)
    assert isinstance(draw_snr_histogram(alone), Picture)
    assert isinstance(draw_measured_snr(alone), str)
    assert len(draw_spectra(alone)) == 1
    assert "(1 of 1 bins)" in verdict(alone)
    assert all(isinstance(panel, Picture) for panel in draw_fluxes(alone, shown_lines(alone)))


def test_no_bin_at_all_is_said(small):
    none, row = np.zeros(0, np.int32), slice(0, 0)
    bins = replace(
        small.bins,
        bin_id=0 * small.bins.bin_id - 1,
        n_spaxel=none,
        flags=none,
        **dict.fromkeys(("snr", "growth", "snr_measured"), np.zeros(0)),
    )
    empty = with_lines(
        small,
        small.lines.take(row),
        bins=bins,
        spectra=small.spectra.take(row),
        continuum=small.continuum.take(row),
    )
    assert verdict(empty).startswith("No spaxel is in any bin.")
    assert draw_bins(empty) == "Bins: no spaxel is in any bin."
    assert draw_spectra(empty) == ["Spectra: no bin has a pixel that can be used."]
    assert make_html(empty).count("absent") > 10


def test_images_without_a_finite_value_are_said(small):
    nan = np.full(small.sky.shape, np.nan)
    assert "no finite value" in draw_cube_image(replace(small, cube_image=nan))
    dark = replace(small, snr=blank(small.snr, "signal", "noise"))
    before, after = draw_snr_maps(dark)
    assert "no finite value" in before
    assert "no finite value" in draw_outlines(dark)
    assert isinstance(after, Picture)


@pytest.mark.parametrize("image", [np.zeros((8, 8)), np.full((8, 8), -3.0)])
def test_a_flat_image_is_drawn(small, image):
    assert isinstance(draw_cube_image(replace(small, cube_image=image)), Picture)


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CRPIX1": 1.0, "CRPIX2": 1.0},
        {"CTYPE1": "RA---TAN", "CTYPE2": "NONSENSE", "CDELT1": 1.0, "CDELT2": 1.0},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": 0.0, "CDELT2": 0.0},
    ],
)
def test_a_field_without_celestial_axes_is_drawn_in_pixels(small, cards):
    sky = Sky(shape=small.sky.shape, wcs=cards, flux_scale=0.0)
    assert field_wcs(sky) is None
    panel = draw_cube_image(replace(small, sky=sky))
    assert isinstance(panel, Picture)
    assert "file's unit" in panel.alt


def test_a_spectrum_without_a_good_pixel_is_not_chosen(small):
    mask = small.spectra.mask.copy()
    mask[0] = True
    spectra = replace(small.spectra, mask=mask)
    panels = draw_spectra(replace(small, spectra=spectra))
    assert panels
    assert not any("bin 0 " in panel.alt for panel in panels)


def test_labels_with_dollars_are_drawn_as_they_are(small):
    lines = tuple(replace(line, label="$\\bad{") for line in small.line_set.lines)
    content = replace(small, line_set=replace(small.line_set, lines=lines))
    alpha = shown_lines(content)[:1]
    assert isinstance(draw_fluxes(content, alpha)[0], Picture)
    assert isinstance(draw_diagram(content, "BPT_NII"), Picture | str)
