"""Lines and spectra as tables: HTML for the page, CSV to take away."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from html import escape
from io import StringIO
from typing import Any

import numpy as np

from betis.flags import MEANING, Flag, describe
from betis.products import BinMap
from betis.report.bin_view import BinView, line_rows, shown_groups, unit_text
from betis.viewer.curves import Curve
from betis.viewer.quantities import Painted

__all__ = ["lines_csv", "lines_html", "map_csv", "spectra_csv"]

_HIDDEN = {""}
_ABSENT = Flag.NOT_DETECTED | Flag.NO_DATA | Flag.FIT_FAILED | Flag.NO_COMPONENT
_CSV_FIELDS = (
    *("flux", "flux_err", "snr", "velocity", "velocity_err", "sigma", "sigma_err", "sigma_obs"),
    *("amplitude", "wave_obs", "ew", "ew_err", "upper_limit"),
)


def lines_html(views: Sequence[BinView], *, every: bool) -> str:
    """Return the table of the lines of some bins: of each fit with a detected line, or of all."""
    rows = [
        {"bin": str(view.row), **row}
        for view in views
        for row in line_rows(view, shown_groups(view, every=every))
    ]
    if not rows:
        return '<p class="note">No line is detected here; tick “all lines” to see every fit.</p>'
    hidden = _HIDDEN | (set() if len(views) > 1 else {"bin"})
    names = [name for name in rows[0] if name not in hidden]
    unit = escape(unit_text(views[0], density=False))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(_row_html(row, names) for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f'</div><p class="note">Flux and its error in {unit}; V and σ without the line-spread '
        "function; grey: not detected.</p>"
    )


def _row_html(row: dict[str, str], names: Sequence[str]) -> str:
    flags = row["flags"].split()
    faint = any(Flag[name] & _ABSENT for name in flags)
    cells = "".join(f"<td>{escape(row[name])}</td>" for name in names if name != "flags")
    chips = " ".join(_chip(name) for name in flags)
    return f'<tr class="{"faint" if faint else "seen"}">{cells}<td class="flags">{chips}</td></tr>'


def _chip(name: str) -> str:
    kind = "calm" if Flag[name] & (_ABSENT | Flag.UNRESOLVED | Flag.IN_SKY_WINDOW) else "alarm"
    return f'<span class="{kind}" title="{escape(MEANING[Flag[name]])}">{name}</span>'


def lines_csv(views: Sequence[BinView]) -> str:
    """Return every line of some bins with what was measured, a row a bin and line."""
    head = ["bin", "line", *_CSV_FIELDS, "chi2", "dof", "flags"]

    def rows() -> Iterable[list[Any]]:
        for view in views:
            fit = view.lines
            for i, name in enumerate(fit.names):
                measured = [_plain(getattr(fit, field)[0, i]) for field in _CSV_FIELDS]
                group = int(fit.group[i])
                quality = [_plain(fit.chi2[0, group]), _plain(fit.dof[0, group])]
                flags = " ".join(describe(int(fit.flags[0, i])))
                yield [view.row, name, *measured, *quality, flags]

    return _csv(head, rows())


def spectra_csv(curves: Sequence[Curve]) -> str:
    """Return spectra with their models, a row a pixel, one spectrum after the other."""
    columns = ("wave", "flux", "error", "continuum", "total", "residual", "mask")
    names = {"wave": "wave [Angstrom]", "total": "model", "residual": "residual [sigma]"}

    def rows() -> Iterable[list[Any]]:
        for curve in curves:
            values = [getattr(curve.drawn, column) for column in columns]
            for pixel in zip(*values, strict=True):
                yield [curve.name, *(_plain(value) for value in pixel)]

    return _csv(["of", *(names.get(column, column) for column in columns)], rows())


def map_csv(bins: BinMap, painted: Painted) -> str:
    """Return a map, a row a spaxel that is in a bin: x, y (from 0), bin, value."""
    y, x = np.nonzero(bins.bin_id >= 0)
    name = f"{painted.title} [{painted.unit}]" if painted.unit else painted.title
    values = painted.image[y, x]
    shown: list[Any] = [_plain(value) for value in values]
    if painted.names:
        shown = [painted.names[int(v)] if np.isfinite(v) else "" for v in values]
    columns = (x.tolist(), y.tolist(), bins.bin_id[y, x].tolist(), shown)
    return _csv(["x", "y", "bin", name], zip(*columns, strict=True))


def _plain(value: Any) -> Any:
    """Return a number as Python writes it; nothing where it is not finite."""
    if isinstance(value, np.bool_ | bool):
        return int(value)
    return float(value) if np.isfinite(value) else ""


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return stream.getvalue()
