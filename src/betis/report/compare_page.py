"""The comparison of two runs as one HTML file, in the style of the report."""

from __future__ import annotations

from pathlib import Path

from betis.io.fits import write_text
from betis.report import page
from betis.report.canvas import house_style
from betis.report.compare_content import (
    TITLES,
    ComparedRuns,
    difference_table,
    pull_note,
    verdict,
)
from betis.report.compare_maps import (
    draw_kinematics,
    draw_pulls,
    draw_ratios,
    draw_stars,
    draw_widths,
)

__all__ = ["make_comparison", "write_comparison"]

_MAP_NOTE = (
    "Grey: not detected in one of the runs, or in neither. White: no bin of both. Blue: less in "
    "the second run, red: more."
)
_TABLE_NOTE = (
    "Scatter is half of the central 68 %, and so is the width of the pulls: differences over the "
    "errors of both runs, added in quadrature."
)
_NOT_ALIKE = (
    "Each spaxel counts: the runs have different bins, so that one value may stand for many "
    "spaxels, and neighbours share it. Fluxes are those of equal areas."
)


def write_comparison(path: str | Path, content: ComparedRuns) -> None:
    """Write the comparison, whole or not at all.

    Raises
    ------
    RunFolderError
        Where the file cannot be written. What was there before stays.
    """
    write_text(Path(path), make_comparison(content))


def make_comparison(content: ComparedRuns) -> str:
    """Return the HTML of the comparison."""
    with house_style():
        sections = {
            "runs": ("The runs", _runs(content)),
            "options": ("Options that differ", _options(content)),
            "fluxes": ("Fluxes", _part(content, ("flux",), draw_ratios(content))),
            "kinematics": (
                "Velocity and dispersion of the gas",
                _part(content, ("velocity", "sigma"), draw_kinematics(content)),
            ),
            "widths": ("Equivalent widths", _part(content, ("ew",), draw_widths(content))),
            "stars": ("Stars", _part(content, ("av",), draw_stars(content))),
            "pulls": ("Pulls", _pulls(content)),
        }
    lead = page.paragraph(verdict(content), "verdict")
    return page.document(f"{content.second} against {content.first}", lead, sections)


def _runs(content: ComparedRuns) -> str:
    rows = [("", f"first: {content.first}", f"second: {content.second}")]
    rows += [(name, *said) for name, said in content.facts.items()]
    note = "" if content.pairs.same_bins else page.paragraph(_NOT_ALIKE, "note")
    return page.table(rows) + note


def _options(content: ComparedRuns) -> str:
    if not content.options:
        return page.paragraph("None: both runs were made with the same options.")
    rows = [("option", content.first, content.second)]
    return page.table(rows + [(name, *said) for name, said in content.options.items()])


def _part(content: ComparedRuns, quantities: tuple[str, ...], panels: list[page.Panel]) -> str:
    """Return maps, or a sentence, and below them the table of each quantity."""
    shown = panels or ["There is no line that both runs detect in two bins or more."]
    drawn = any(isinstance(panel, page.Picture) for panel in shown)
    note = page.paragraph(_MAP_NOTE, "note") if drawn else ""
    return note + page.grid(shown) + "".join(_table(content, name) for name in quantities)


def _table(content: ComparedRuns, quantity: str) -> str:
    rows = difference_table(content, quantity)
    return page.heading(TITLES[quantity]) + page.table(rows) if len(rows) > 1 else ""


def _pulls(content: ComparedRuns) -> str:
    notes = page.paragraph(pull_note(content)) + page.paragraph(_TABLE_NOTE, "note")
    return notes + page.grid([draw_pulls(content)])
