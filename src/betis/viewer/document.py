"""What happens on the page: a choice of map, of bins, of a zoom, and what follows from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from html import escape
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.events import DoubleTap, RangesUpdate, Reset, Tap
from bokeh.models import Button, Div

from betis.errors import BetisError
from betis.report.bin_view import BinView, facts_of
from betis.viewer.controls import BinControls, MapControls
from betis.viewer.curves import WHOLE, Curve, curve_of, sum_of, zoom_limits, zooms_of
from betis.viewer.map_figure import MapFigure
from betis.viewer.opened import OpenedRun
from betis.viewer.page import TABLE_STYLE, Download, image_button, page_template, theme
from betis.viewer.quantities import Painted, catalogue, paint, with_flags
from betis.viewer.ranking import ranked
from betis.viewer.spectrum_figure import MANY_COLORS, SpectrumFigure
from betis.viewer.stretch import limits_of, stretch
from betis.viewer.tables import lines_csv, lines_html, map_csv, spectra_csv

__all__ = ["Viewer"]

_MOST = len(MANY_COLORS)
_KEPT = 64
"""Bins that are kept in memory."""


class Viewer:
    """One reader's page on a run.

    Parameters
    ----------
    run
        The run.
    document
        Of this reader.
    """

    def __init__(self, run: OpenedRun, document: Document) -> None:
        self._run = run
        self._quantities = catalogue(run)
        self._chosen: list[int] = []
        self._at = -1
        self._view: Callable[[int], BinView] = lru_cache(maxsize=_KEPT)(run.view)
        self._map, self._spectrum, self._download = (
            MapFigure(run.bins),
            SpectrumFigure(),
            Download(),
        )
        self._look = MapControls(run, self._quantities, self._guarded(self._draw_map))
        self._bins = BinControls(
            run,
            go=lambda row: self._guarded(lambda: self._choose([row]))(),
            step=lambda by: self._guarded(lambda: self._step(by))(),
            changed=self._guarded(self._draw_bins),
        )
        plain: dict[str, Any] = {"sizing_mode": "stretch_width", "stylesheets": [TABLE_STYLE]}
        self._said = Div(name="said", visible=False, **plain)
        self._facts, self._table = Div(name="facts", **plain), Div(name="table", **plain)
        self._painted: Painted
        self._line = self._look.line
        self._listen()
        self._fill(document)

    def _listen(self) -> None:
        # The second of two quick clicks, at whatever places, is a double one to the browser.
        self._map.figure.on_event(Tap, self._tapped)
        self._map.figure.on_event(DoubleTap, self._tapped)
        self._spectrum.flux.on_event(RangesUpdate, self._moved)
        self._spectrum.flux.on_event(Reset, lambda _: self._guarded(self._draw_bins)())

    def _fill(self, document: Document) -> None:
        self._guarded(self._draw_map)()
        self._guarded(lambda: self._choose([_first(self._run)]))()
        document.template, document.theme = page_template(), theme()
        document.title = f"{self._run.title} · betis"
        document.template_variables.update(
            run_title=self._run.title,
            run_facts=_facts(self._run),
            run_missing=[_with_code(said) for said in self._run.missing],
        )
        for root in (
            *self._look.widgets, *self._bins.widgets, self._map.figure, self._map.key,
            self._spectrum.layout, self._said, self._facts, self._table, self._download.model,
            *self._files(),
        ):  # fmt: skip
            document.add_root(root)

    def _files(self) -> list[Any]:
        """Return the buttons that save what is shown."""
        title = self._run.title
        buttons: list[Any] = [
            image_button(self._map.figure, f"{title}-map", "map_png"),
            image_button(self._spectrum.layout, f"{title}-spectrum", "spectrum_png"),
        ]
        for name, text in (
            ("map", lambda: map_csv(self._run.bins, self._painted)),
            ("spectrum", lambda: spectra_csv(self._curves())),
            ("lines", lambda: lines_csv(self._views())),
        ):
            button: Any = Button(label="CSV", name=f"{name}_csv", width=70)
            button.on_click(self._saving(f"{title}-{name}.csv", text))
            buttons.append(button)
        return buttons

    def _saving(self, name: str, text: Callable[[], str]) -> Callable[[Any], None]:
        save = self._guarded(lambda: self._download.send(name, text()))
        return lambda _: save()

    def _guarded(self, what: Callable[[], None]) -> Callable[[], None]:
        """Return the same, but a `BetisError` is said on the page."""

        def run() -> None:
            try:
                what()
            except BetisError as error:
                self._say(str(error))
            else:
                self._say("")

        return run

    def _say(self, text: str) -> None:
        self._said.text = f'<p class="error">{escape(text)}</p>'
        self._said.visible = bool(text)

    def _draw_map(self) -> None:
        look, run = self._look, self._run
        painted = paint(run, look.quantity, look.line, look.labels.get(look.line, ""))
        kept = np.ones(painted.image.shape, bool)
        if look.flags:
            flagged = with_flags(run, look.line if look.quantity.per_line else "", look.flags)
            kept = run.bins.paint(flagged == look.only_flagged, blank=False)
        self._painted = painted
        shown = np.where(kept, painted.image, np.nan)
        limits = look.limits
        if look.share is not None:
            limits = limits_of(shown, look.share, signed=look.quantity.signed)
            look.write_limits(*limits)
        how = "linear" if painted.names else look.stretch
        stretched = stretch(painted.image, how, (0, 1) if painted.names else limits)
        self._map.show(painted, stretched, look.colors, kept)
        self._follow_line()

    def _follow_line(self) -> None:
        """Zoom to the line that the map has changed to, unless the whole spectrum is shown."""
        lines = self._run.lines
        if lines is None or self._look.line == self._line:
            return
        self._line = self._look.line
        if self._bins.group != WHOLE:
            self._bins.zoom_to(int(lines.group[lines.index(self._line)]))
            self._draw_bins()

    def _tapped(self, event: Tap | DoubleTap) -> None:
        if event.x is None or event.y is None:
            return
        row = self._map.bin_at(event.x, event.y)
        if row < 0:
            return
        more = event.modifiers is not None and event.modifiers["shift"]
        self._guarded(lambda: self._choose(self._with(row) if more else [row]))()

    def _with(self, row: int) -> list[int]:
        """Return the bins chosen with one more, or without it where it is the one clicked again."""
        if row in self._chosen:
            return [other for other in self._chosen if other != row] or [row]
        return [*self._chosen, row][-_MOST:]

    def _choose(self, rows: list[int]) -> None:
        self._chosen = rows
        colors = MANY_COLORS[: len(rows)] if len(rows) > 1 else MANY_COLORS[1:2]
        self._map.mark(rows, colors)
        if self._run.rows is None:
            self._bins.write(rows[-1], [(WHOLE, "no spectra")], several=False)
            self._facts.text = f"<h2>Bin {rows[-1]}</h2><p>There are no spectra yet.</p>"
            return
        self._bins.write(rows[-1], zooms_of(self._view(rows[-1])), several=len(rows) > 1)
        self._draw_bins()

    def _views(self) -> list[BinView]:
        return [self._view(row) for row in self._chosen]

    def _curves(self) -> list[Curve]:
        every = [curve_of(view, self._bins.group) for view in self._views()]
        return [sum_of(every)] if self._bins.summed and len(every) > 1 else every

    def _draw_bins(self) -> None:
        if self._run.rows is None:
            return
        views, curves = self._views(), self._curves()
        self._spectrum.show(curves, zoom_limits(views[-1], self._bins.group))
        self._facts.text = self._facts_html(views, curves)
        self._table.text = lines_html(views, every=self._bins.every_line)

    def _facts_html(self, views: list[BinView], curves: list[Curve]) -> str:
        if len(views) == 1:
            said = "".join(f"<p>{escape(text)}</p>" for text in facts_of(views[0]))
            return f"<h2>Bin {views[0].row}</h2>{said}"
        rows = ", ".join(
            f'<span style="color:{color}">{view.row}</span>'
            for view, color in zip(views, MANY_COLORS, strict=False)
        )
        if len(curves) == 1:
            how = ("the sum of their spectra and of their models; errors are added in quadrature, "
                   "and nothing was fitted to the sum")  # fmt: skip
        else:
            how = f"overplotted, thin the data and thick the models; at most {_MOST}"
        return f"<h2>Bins {rows}</h2><p>{how[0].upper()}{how[1:]}.</p>"

    def _moved(self, event: RangesUpdate) -> None:
        ends = (event.x0, event.x1, event.y0, event.y1)
        low, high, bottom, top = (float("nan") if end is None else float(end) for end in ends)
        if np.isfinite([low, high, bottom, top]).all():
            self._spectrum.moved(low, high, bottom, top)

    def _step(self, by: int) -> None:
        """Go on or back in the order chosen, from where that was left; to its first for 0."""
        order, values = ranked(self._run, self._bins.order, self._look.line)
        if order.size == 0:
            self._bins.place.text = '<div class="note">no such bin</div>'
            return
        at = self._at = int(np.clip(self._at + by if by else 0, 0, order.size - 1))
        row = int(order[at])
        value = f" ({values[row]:.3g})" if np.isfinite(values[row]) else ""
        self._bins.place.text = f"{at + 1:,} of {order.size:,}{value}"
        self._choose([row])


def _with_code(text: str) -> str:
    """Return a sentence as HTML, what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _first(run: OpenedRun) -> int:
    """Return the bin to begin with: that of the highest S/N."""
    return int(np.argmax(np.nan_to_num(run.bins.snr, nan=-np.inf)))


def _facts(run: OpenedRun) -> list[str]:
    n_y, n_x = run.bins.bin_id.shape
    facts = [f"{run.bins.n_bin:,} bins", f"{n_x} × {n_y} spaxels"]
    if run.rows is not None:
        wave = run.rows.spectra.wave
        facts.append(f"{wave[0]:.0f} to {wave[-1]:.0f} Å (rest), {wave.size:,} pixels")
        facts.append(f"z = {run.rows.spectra.redshift:g}")
        facts.append(f"lines: {run.rows.options.lines.line_set}")
    return facts
