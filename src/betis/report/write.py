"""The report: its sections in order, written as one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from betis.derived.classes import DIAGRAMS
from betis.io.fits import write_text
from betis.report import page
from betis.report.binfacts import binning_facts, share_note, share_table
from betis.report.binmap import (
    draw_bin_sizes,
    draw_bins,
    draw_cube_image,
    draw_outlines,
    draw_snr_maps,
)
from betis.report.bpt import class_table, draw_diagram
from betis.report.canvas import house_style
from betis.report.components import component_table, components_of, draw_components
from betis.report.content import ReportContent
from betis.report.derivedmaps import draw_classes, draw_quantities
from betis.report.flagmaps import draw_doubt, draw_fit_quality, draw_flags
from betis.report.linemaps import (
    draw_dispersion,
    draw_equivalent_width,
    draw_fluxes,
    draw_stars,
    draw_velocities,
)
from betis.report.promise import draw_measured_snr, draw_snr_histogram
from betis.report.quality import draw_chi2, draw_residuals
from betis.report.spectra import draw_spectra
from betis.report.summary import (
    counted,
    flag_table,
    key_numbers,
    line_table,
    shown_lines,
    timing_table,
    undetected_sentence,
    verdict,
)
from betis.report.widths import draw_width_distribution

_FIRST_WARNINGS = 3
"""Warnings that stand at the top; all of them have their section."""
_UNDETECTED = "Grey: the line is not detected (S/N < 3). White: no bin."
_FLUX_NOTE = (
    "Surface brightness: the flux of the bin over its number of spaxels. All in a logarithmic "
    f"stretch between robust limits. {_UNDETECTED}"
)
_VELOCITY_NOTE = (
    "Relative to the redshift of the run. The velocity maps share one range, symmetric about their "
    "common median, which is white and marked in the colour bar. The line-spread function is "
    f"removed from σ; 0 where the line is not resolved. {_UNDETECTED}"
)
_TABLE_NOTE = "Fluxes are sums, velocity, σ and EW medians, over the bins in which it is detected."
_STARS_NOTE = (
    "Velocity relative to the redshift of the run, symmetric about its median; the line-spread "
    "function is removed from σ. The ranges are those of the fits without a flag."
)


def write_report(path: Path, content: ReportContent) -> None:
    """Write the report of a run as one self-contained HTML file.

    The file refers to nothing outside itself and runs no script. Its size does not grow with the
    number of bins. It replaces an older one only once it is complete.

    Parameters
    ----------
    path
        The file to write; its folder must exist.
    content
        What to show. A figure that cannot be drawn is replaced by a sentence that says why.

    Raises
    ------
    RunFolderError
        Where the file cannot be written. What was there before stays.
    """
    write_text(Path(path), make_html(content))


def make_html(content: ReportContent) -> str:
    """Return the report's HTML."""
    with house_style():
        sections = {
            "input": ("What went in", page.facts_list(content.facts)),
            "binning": ("Binning", _binning(content)),
            "lines": ("Emission lines", _lines(content)),
            "stars": ("Stellar continuum", _stars(content)),
            "diagnostics": ("Ratios, dust and classes", _diagnostics(content)),
            "spectra": ("Spectra", _spectra(content)),
            "quality": ("Quality", _quality(content)),
            **_optional(content),
            "settings": ("Settings", page.details("Show", page.facts_list(content.settings))),
        }
    return page.document(content.title, _lead(content), sections)


def _lead(content: ReportContent) -> str:
    first, rest = content.warnings[:_FIRST_WARNINGS], len(content.warnings) - _FIRST_WARNINGS
    more = (f"{counted(rest, 'more warning')} below, under Warnings.",) if rest > 0 else ()
    warned = "".join(page.paragraph(f"⚠ {text}", "warned") for text in (*first, *more))
    return page.paragraph(verdict(content), "verdict") + warned + page.tiles(key_numbers(content))


def _binning(content: ReportContent) -> str:
    panels = [
        draw_cube_image(content),
        draw_outlines(content),
        draw_bins(content),
        *draw_snr_maps(content),
        draw_snr_histogram(content),
        draw_measured_snr(content),
        draw_bin_sizes(content),
    ]
    return (
        page.facts_list(binning_facts(content))
        + page.grid(panels)
        + page.heading("Light and area in the bins")
        + page.paragraph(share_note(content), "note")
        + page.table(share_table(content))
    )


def _lines(content: ReportContent) -> str:
    shown = shown_lines(content)
    strongest = next((line for line in shown if line.detected.any()), None)
    if strongest is None:
        sentence = "No emission line is detected in any bin, so there are no maps of lines."
        return page.grid([sentence]) + _line_list(content)
    fluxes = [*draw_fluxes(content, shown), draw_equivalent_width(content, strongest)]
    velocities = [*draw_velocities(content, shown), draw_dispersion(content, strongest)]
    return (
        page.heading("Flux and equivalent width")
        + page.paragraph(_FLUX_NOTE, "note")
        + page.grid(fluxes)
        + page.heading("Velocity and dispersion")
        + page.paragraph(_VELOCITY_NOTE, "note")
        + page.grid(velocities)
        + _components(content)
        + page.heading("Every line")
        + _line_list(content)
    )


def _components(content: ReportContent) -> str:
    """Return where further components were kept; "" where the fit could keep none."""
    if not components_of(content):
        return ""
    rows = component_table(content)
    table = page.table(rows) if len(rows) > 1 else ""
    return page.heading("Further components") + page.grid(draw_components(content)) + table


def _line_list(content: ReportContent) -> str:
    """Return the table of detected lines and a sentence on the others."""
    rows = line_table(content)
    text = page.paragraph(_TABLE_NOTE, "note") + page.table(rows) if len(rows) > 1 else ""
    return text + page.paragraph(undetected_sentence(content))


def _stars(content: ReportContent) -> str:
    panels = draw_stars(content)
    drawn = any(isinstance(panel, page.Picture) for panel in panels)
    return (page.paragraph(_STARS_NOTE, "note") if drawn else "") + page.grid(panels)


def _diagnostics(content: ReportContent) -> str:
    diagrams = [draw_diagram(content, name) for name in DIAGRAMS]
    diagrams.append(draw_width_distribution(content))
    maps = [*draw_quantities(content), *draw_classes(content)]
    shares = class_table(content)
    table = page.table(shares) if len(shares) > 1 else ""
    return (
        page.grid(diagrams, "pairs")
        + page.paragraph(_derived_note(content), "note")
        + page.grid(maps)
        + table
    )


def _derived_note(content: ReportContent) -> str:
    limit = f"{content.derived.min_snr:g}"
    return (
        f"Each line of a ratio has S/N ≥ {limit}; grey: one of them is fainter. A_V before the gas "
        "is as measured, noise and all, so that it may be negative."
    )


def _spectra(content: ReportContent) -> str:
    note = "Fluxes are those of the whole bin. Lines that are not detected have grey labels."
    return page.paragraph(note, "note") + page.grid(draw_spectra(content), "wide")


def _quality(content: ReportContent) -> str:
    tables = (
        ("Bins", content.bins.flags, "bins"),
        ("Continuum fits", content.continuum.table.flags, "spectra"),
        ("Line fits", content.lines.flags, "lines in spectra"),
    )
    flags = "".join(
        f"<div>{page.heading(title)}{page.table(flag_table(np.asarray(values), what))}</div>"
        for title, values, what in tables
    )
    figures = page.grid([*draw_chi2(content), draw_residuals(content)])
    maps = page.grid([*draw_fit_quality(content), *draw_flags(content), draw_doubt(content)])
    return figures + maps + f'<div class="columns">{flags}</div>'


def _optional(content: ReportContent) -> dict[str, tuple[str, str]]:
    """Return the sections that say so in a sentence, or are left out, where there is nothing."""
    parts = {}
    if content.recovery:
        parts["recovery"] = ("Recovery of the known truth", page.table(content.recovery))
    if content.timings:
        parts["timings"] = ("Time", page.table(timing_table(content.timings)))
    warned = page.bullets(content.warnings) if content.warnings else page.paragraph("None.")
    return parts | {"warnings": ("Warnings", warned)}
