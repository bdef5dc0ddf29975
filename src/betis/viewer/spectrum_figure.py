"""Spectra as bokeh draws them: names of the lines, data with model, residual; one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, FixedTicker, LegendItem, Range1d, Span
from bokeh.plotting import figure

from betis.report.canvas import BLUE, FAINT, GREEN, GREY, INK, ORANGE, RED
from betis.viewer.curves import Curve, flux_range, named_lines, residual_range, runs_of

__all__ = ["MANY_COLORS", "SpectrumFigure"]

MANY_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7",
               "#B8860B", "#56B4E9", "#1d2530", "#7F7F00")  # fmt: skip
"""Of bins that are overplotted, in turn; as many as can be."""
_DATA, _MASKED = "#4a5462", "#ecdff0"
_TOOLS = "pan,xwheel_zoom,box_zoom,reset"
_NAMES_HEIGHT, _FLUX_HEIGHT, _RESIDUAL_HEIGHT = 78, 330, 130
_LEFT = 66
"""Pixels left of the frames, so that they line up."""
_ALIKE = 1e-6
_PIXELS = ("wave", "left", "right", "flux", "low", "high", "continuum", "base", "total", "residual")


class SpectrumFigure:
    """The figures of spectra, and what it takes to change what they show."""

    def __init__(self) -> None:
        self.x_range = Range1d(4000.0, 7000.0)
        self._make_figures()
        self._make_sources()
        self._draw_one()
        self._draw_many()
        self._curves: Sequence[Curve] = ()
        self._shown = (0.0, 0.0, 0.0, 0.0)
        self.layout = column(self._names, self.flux, self.residual,
                             sizing_mode="stretch_width", name="spectrum")  # fmt: skip

    def _make_figures(self) -> None:
        common: dict[str, Any] = {"x_range": self.x_range, "sizing_mode": "stretch_width",
                                  "min_border_left": _LEFT, "min_border_right": 12}  # fmt: skip
        self._names: Any = figure(
            height=_NAMES_HEIGHT, y_range=Range1d(0, 1), tools="", toolbar_location=None,
            outline_line_color=None, min_border_bottom=0, min_border_top=0, **common,
        )  # fmt: skip
        self._names.axis.visible = False
        self._names.grid.visible = False
        self.flux: Any = figure(
            height=_FLUX_HEIGHT, y_range=Range1d(0, 1), tools=_TOOLS, toolbar_location="right",
            name="flux",
            active_scroll="xwheel_zoom", min_border_bottom=4, min_border_top=0, **common,
        )  # fmt: skip
        self.residual: Any = figure(
            height=_RESIDUAL_HEIGHT, y_range=Range1d(-6, 6), tools=_TOOLS, toolbar_location=None,
            active_scroll="xwheel_zoom", min_border_top=2,
            x_axis_label="rest wavelength (Å)", y_axis_label="residual / σ", **common,
        )  # fmt: skip
        # Changed in place: another ticker would make bokeh walk through the whole page.
        self._ticker = FixedTicker(ticks=[-5, 0, 5])
        self.residual.yaxis.ticker = self._ticker
        self.flux.toolbar.logo = None
        self.flux.xaxis.major_label_text_font_size = "0px"
        self.flux.xaxis.major_tick_line_color = None

    def _make_sources(self) -> None:
        self._one = ColumnDataSource(dict.fromkeys(_PIXELS, np.empty(0)))
        self._masked = ColumnDataSource({"x0": [], "x1": []})
        self._unused = ColumnDataSource({"x0": [], "x1": []})
        self._lines = ColumnDataSource({"x": [], "name": [], "color": []})
        self._ticks = ColumnDataSource({"x": [], "color": []})
        self._many = ColumnDataSource(
            {"wave": [], "flux": [], "total": [], "residual": [], "color": [], "name": []}
        )

    def _draw_one(self) -> None:
        """Draw what is seen of one spectrum."""
        flux, resid, one = self.flux, self.residual, {"source": self._one}
        strip: dict[str, Any] = {"line_color": None, "level": "underlay"}
        for place in (flux, resid):
            place.vstrip("x0", "x1", source=self._masked, fill_color=_MASKED, **strip)
        resid.vstrip("x0", "x1", source=self._unused, fill_color=ORANGE, fill_alpha=0.18, **strip)
        mode: dict[str, Any] = {"mode": "center", **one}
        # A quad a pixel: bokeh's own steps of an area never end where there is no pixel.
        band = flux.quad(
            left="left", right="right", bottom="low", top="high", fill_color=FAINT, line_color=None,
            **one,
        )  # fmt: skip
        data = flux.step("wave", "flux", line_color=_DATA, line_width=1, **mode)
        total = flux.line("wave", "total", line_color=RED, line_width=1.6, **one)
        base = flux.line("wave", "base", line_color=GREEN, line_width=1.3, line_dash=[5, 3], **one)
        stars = flux.line("wave", "continuum", line_color=BLUE, line_width=1.5, **one)
        resid.step("wave", "residual", line_color=_DATA, line_width=1, **mode)
        for level in (-3, 0, 3):
            dash = "solid" if level == 0 else "dotted"
            resid.add_layout(Span(location=level, line_color=GREY, line_width=1, line_dash=dash))
        self._ones = [band, data, total, base, stars]
        self._items: list[Any] = [
            LegendItem(label=label, renderers=[renderer])
            for label, renderer in (
                ("data", data), ("± 1σ", band), ("stars + lines", total), ("stars", stars),
                ("with local background", base),
            )
        ]  # fmt: skip
        self._draw_lines()
        self._draw_legend()

    def _draw_lines(self) -> None:
        self.flux.vspan(
            "x", line_color="color", line_alpha=0.35, line_dash="dotted", source=self._ticks,
            level="underlay",
        )  # fmt: skip
        self._names.text(
            "x", 0.04, text="name", angle=np.pi / 2, text_font_size="10.5px", text_color="color",
            text_baseline="middle", source=self._lines,
        )  # fmt: skip

    def _draw_legend(self) -> None:
        from bokeh.models import Legend

        self.legend = Legend(
            items=self._items, orientation="horizontal", click_policy="hide", spacing=12,
            border_line_color=None, background_fill_alpha=0.0, label_text_font_size="11px",
            glyph_width=16, padding=0, margin=2, label_standoff=4,
        )  # fmt: skip
        self.flux.add_layout(self.legend, "above")

    def _draw_many(self) -> None:
        """Draw what is seen of several spectra."""
        many: dict[str, Any] = {"source": self._many, "line_color": "color"}
        self._manys = [
            self.flux.multi_line("wave", "flux", line_width=0.8, line_alpha=0.55, **many),
            self.flux.multi_line("wave", "total", line_width=1.7, **many),
            self.residual.multi_line("wave", "residual", line_width=0.8, **many),
        ]

    def show(self, curves: Sequence[Curve], limits: tuple[float, float]) -> None:
        """Show one spectrum, or several over each other, between two wavelengths."""
        self._curves = curves
        self._fill(curves)
        self.x_range.update(
            start=limits[0], end=limits[1], reset_start=limits[0], reset_end=limits[1]
        )
        self._fit_axes(*limits)
        self.flux.yaxis.axis_label = f"flux density ({curves[0].unit})" if curves else ""

    def _fill(self, curves: Sequence[Curve]) -> None:
        one = len(curves) == 1
        for renderer in self._ones:
            renderer.visible = one
        for renderer in self._manys:
            renderer.visible = not one
        self.legend.visible = one
        if not curves:
            return
        drawn = curves[0].drawn
        for item, part in ((self._items[3], drawn.continuum), (self._items[4], curves[0].base)):
            item.visible = bool(np.isfinite(part).any())
        self._one.data = _columns(curves[0]) if one else dict.fromkeys(_PIXELS, np.empty(0))
        marks = ((self._masked, drawn.mask), (self._unused, drawn.unused))
        for source, where in marks:
            low, high = runs_of(drawn, where) if one else ([], [])
            source.data = {"x0": low, "x1": high}
        self._many.data = _stacked(() if one else curves)

    def _fit_axes(self, low: float, high: float) -> None:
        """Make the axes hold what is between two wavelengths, and name the lines there."""
        if not self._curves:
            return
        bottom, top = flux_range(self._curves, low, high)
        self.flux.y_range.update(start=bottom, end=top, reset_start=bottom, reset_end=top)
        most = residual_range(self._curves, low, high)
        self.residual.y_range.update(start=-most, end=most, reset_start=-most, reset_end=most)
        round_most = float(f"{0.8 * most:.1g}")
        self._ticker.ticks = [-round_most, 0, round_most]
        self._name_lines(low, high)
        self._shown = (low, high, bottom, top)

    def _name_lines(self, low: float, high: float) -> None:
        named = named_lines(self._curves[0], low, high)
        self._lines.data = {
            "x": [line[1] for line in named],
            "name": [line[0] for line in named],
            "color": [INK if line[2] else GREY for line in named],
        }
        every = self._curves[0].drawn.lines
        self._ticks.data = {
            "x": [line[1] for line in every],
            "color": [INK if line[2] else GREY for line in every],
        }

    def moved(self, low: float, high: float, bottom: float, top: float) -> None:
        """Follow the reader: heights fit a new range of wavelengths unless they chose heights."""
        if not self._curves:
            return
        height = abs(self._shown[3] - self._shown[2]) or 1.0
        same = abs(bottom - self._shown[2]) + abs(top - self._shown[3]) < _ALIKE * height
        if same:
            self._fit_axes(low, high)
        else:
            self._name_lines(low, high)


def _columns(curve: Curve) -> dict[str, Any]:
    drawn = curve.drawn
    step = np.diff(drawn.wave)
    half = 0.5 * np.minimum(np.append(step, np.inf), np.append(np.inf, step))
    return {
        "wave": drawn.wave,
        "left": drawn.wave - half,
        "right": drawn.wave + half,
        "flux": drawn.flux,
        "low": drawn.flux - drawn.error,
        "high": drawn.flux + drawn.error,
        "continuum": drawn.continuum,
        "base": curve.base,
        "total": drawn.total,
        "residual": drawn.residual,
    }


def _stacked(curves: Sequence[Curve]) -> dict[str, Any]:
    return {
        "wave": [curve.drawn.wave for curve in curves],
        "flux": [curve.drawn.flux for curve in curves],
        "total": [curve.drawn.total for curve in curves],
        "residual": [curve.drawn.residual for curve in curves],
        "color": list(MANY_COLORS[: len(curves)]),
        "name": [curve.name for curve in curves],
    }
