"""The map as bokeh draws it: the field, its colours, and rings round the bins that are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from bokeh.models import (
    BoxZoomTool,
    ColorBar,
    ColumnDataSource,
    Div,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    PanTool,
    Range1d,
    ResetTool,
    WheelZoomTool,
)
from bokeh.plotting import figure
from jaxtyping import Bool

from betis.arrays import B8
from betis.products import BinMap
from betis.viewer.quantities import Painted
from betis.viewer.stretch import Stretched

__all__ = ["CLASS_COLORS", "COLOR_MAPS", "MapFigure"]

COLOR_MAPS = ("viridis", "magma", "cividis", "inferno", "RdBu_r", "Spectral_r", "Greys_r")
CLASS_COLORS = ("#d9dde2", "#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#56B4E9")
_BIN_COLORS = ("#88CCEE", "#DDCC77", "#44AA99", "#CC6677",
               "#8577c9", "#AA4499", "#4c9a5a", "#a8b04c")  # fmt: skip
_SIZE, _TALLEST = 400, 520
"""Of the field on the page, pixels."""
_NOTHING = "#e4e7eb"


class MapFigure:
    """The figure of a field, and what it takes to change what it shows.

    Parameters
    ----------
    bins
        Which bin each spaxel is in.
    """

    def __init__(self, bins: BinMap) -> None:
        self._bins = bins
        n_y, n_x = bins.bin_id.shape
        scale = min(_SIZE / n_x, _TALLEST / n_y)
        self.figure: Any = figure(
            frame_width=max(120, round(scale * n_x)),
            frame_height=max(120, round(scale * n_y)),
            x_range=Range1d(-0.5, n_x - 0.5),
            y_range=Range1d(-0.5, n_y - 0.5),
            x_axis_label="x (spaxel, from 0)",
            y_axis_label="y",
            tools=[PanTool(), BoxZoomTool(match_aspect=True), WheelZoomTool(), ResetTool()],
            toolbar_location="above",
            name="map",
        )
        self.figure.toolbar.logo = None
        self.figure.toolbar.active_scroll = self.figure.select_one(WheelZoomTool)
        self.figure.toolbar.active_drag = None
        self.figure.grid.visible = False
        self.key = Div(name="key", sizing_mode="stretch_width", stylesheets=[_KEY_STYLE])
        self._draw_field(n_y, n_x)
        self._draw_marks()

    def _draw_field(self, n_y: int, n_x: int) -> None:
        place: dict[str, Any] = {"x": -0.5, "y": -0.5, "dw": n_x, "dh": n_y}
        inside = np.where(self._bins.bin_id >= 0, 1.0, np.nan).astype(np.float32)
        plain = LinearColorMapper(palette=[_NOTHING], low=0, high=2, nan_color="#ffffff")
        self.figure.image(image=[inside], color_mapper=plain, **place)
        self.mapper = LinearColorMapper(palette="Viridis256", nan_color="rgba(0,0,0,0)")
        blank = np.full((n_y, n_x), np.nan, np.float32)
        self.source = ColumnDataSource(
            {"image": [blank], "value": [blank], "bin": [self._bins.bin_id.astype(np.int32)]}
        )
        shown = self.figure.image(
            image="image", color_mapper=self.mapper, source=self.source, **place
        )
        # Changed in place: a colour bar does not notice another ticker.
        self._ticker = FixedTicker(ticks=[])
        self.bar = ColorBar(
            color_mapper=self.mapper, ticker=self._ticker, width=10, padding=4, label_standoff=6
        )
        self.figure.add_layout(self.bar, "right")
        tips = [("x, y", "$x{0}, $y{0}"), ("bin", "@bin"), ("value", "@value")]
        self.figure.add_tools(HoverTool(renderers=[shown], tooltips=tips))

    def _draw_marks(self) -> None:
        none: dict[str, Any] = {"x0": [], "y0": [], "x1": [], "y1": [], "color": []}
        self._edges = ColumnDataSource(none)
        self._rings = ColumnDataSource({"x": [], "y": [], "color": []})
        places: dict[str, Any] = {"x0": "x0", "y0": "y0", "x1": "x1", "y1": "y1"}
        self.figure.segment(line_color="white", line_width=4, source=self._edges, **places)
        self.figure.segment(line_color="color", line_width=2, source=self._edges, **places)
        ring: dict[str, Any] = {"size": 18, "fill_alpha": 0.0, "source": self._rings}
        self.figure.scatter("x", "y", line_color="white", line_width=4, **ring)
        self.figure.scatter("x", "y", line_color="color", line_width=1.8, **ring)

    def bin_at(self, x: float, y: float) -> int:
        """Return the bin at a place; -1 where there is none."""
        column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        n_y, n_x = self._bins.bin_id.shape
        inside = 0 <= column < n_x and 0 <= row < n_y
        return int(self._bins.bin_id[row, column]) if inside else -1

    def show(
        self, painted: Painted, stretched: Stretched, colors: str, kept: Bool[B8, "y x"]
    ) -> None:
        """Show a quantity in a stretch; spaxels that are not kept are grey."""
        image = np.where(kept, stretched.image, np.nan).astype(np.float32)
        if painted.names:
            self._use_classes(painted, kept)
        else:
            self._use_numbers(painted, stretched, colors)
        self.source.data = {**self.source.data, "image": [image],
                            "value": [painted.image.astype(np.float32)]}  # fmt: skip
        unit = f" ({painted.unit})" if painted.unit else ""
        self.figure.title.text = f"{painted.title}{unit}"

    def _use_numbers(self, painted: Painted, stretched: Stretched, colors: str) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        palette = [to_hex(color) for color in colormaps[colors](np.linspace(0, 1, 256))]
        self.mapper.update(palette=palette, low=stretched.low, high=stretched.high)
        self.bar.visible = True
        self._ticker.ticks = [*stretched.ticks]
        self.bar.major_label_overrides = dict(stretched.ticks)
        self.key.text = f'<p class="note">{escape(painted.note)}</p>' if painted.note else ""

    def _use_classes(self, painted: Painted, kept: Bool[B8, "y x"]) -> None:
        colors = CLASS_COLORS if any(painted.names) else _BIN_COLORS
        n_class = len(painted.names)
        self.mapper.update(palette=list(colors[:n_class]), low=-0.5, high=n_class - 0.5)
        self.bar.visible = False
        self.key.text = _key_html(painted, kept, colors) if any(painted.names) else ""

    def mark(self, rows: Sequence[int], colors: Sequence[str]) -> None:
        """Ring and outline bins in their colours."""
        parts = [_edges_of(self._bins.bin_id == row) for row in rows]
        every = np.concatenate(parts) if parts else np.empty((0, 4))
        repeated = [color for part, color in zip(parts, colors, strict=True) for _ in part]
        self._edges.data = {
            **{name: every[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
            "color": repeated,
        }
        y, x = self._bins.centers
        index = np.array(rows, dtype=np.intp)
        self._rings.data = {"x": x[index], "y": y[index], "color": list(colors)}


def _key_html(painted: Painted, kept: Bool[B8, "y x"], colors: Sequence[str]) -> str:
    """Return what the colours of classes stand for, and how many spaxels have each."""
    values = painted.image[kept & np.isfinite(painted.image)].astype(int)
    count = np.bincount(values, minlength=len(painted.names))
    entries = "".join(
        f'<li><i style="background:{color}"></i>{escape(name)} <b>{number:,}</b></li>'
        for color, name, number in zip(colors, painted.names, count, strict=False)
        if number
    )
    note = f'<p class="note">{escape(painted.note)}</p>' if painted.note else ""
    return f"<ul>{entries}</ul><p class='note'>Spaxels of each.</p>{note}"


def _edges_of(inside: Bool[B8, "y x"]) -> Any:
    """Return the ends ``[edge, (x0, y0, x1, y1)]`` of the edges of some spaxels."""
    padded = np.pad(inside, 1)
    y, x = np.nonzero(padded[:, 1:] != padded[:, :-1])
    upright = np.stack([x - 0.5, y - 1.5, x - 0.5, y - 0.5], 1)
    y, x = np.nonzero(padded[1:] != padded[:-1])
    level = np.stack([x - 1.5, y - 0.5, x - 0.5, y - 0.5], 1)
    return np.concatenate([upright, level])


_KEY_STYLE = """
ul { list-style: none; margin: 0; padding: 0; font-size: 12px; line-height: 1.5; }
li { display: inline-block; margin-right: 1.1em; white-space: nowrap; }
i { display: inline-block; width: 11px; height: 11px; margin-right: 5px; border-radius: 2px; }
b { color: #667080; font-weight: normal; }
.note { color: #667080; font-size: 12px; margin: 2px 0; }
"""
