"""Maps of what follows from the lines: ratios, dust, density, classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from betis.derived.classes import Classes
from betis.derived.fluxes import Quantity
from betis.report.canvas import BLUE, FAINT, GREEN, INK, ORANGE, finite, plain, robust_range, to_png
from betis.report.content import ReportContent
from betis.report.field import FieldImage, draw_image, shade, sky_axes
from betis.report.linemaps import log_range
from betis.report.page import Panel, Picture

_SHOWN = {
    "GAS_AV": ("A_V before the gas", "mag", False),
    "LOG_NII_HA": ("log [N II] 6583 / Hα", "dex", False),
    "LOG_SII_HA": ("log [S II] 6716+6731 / Hα", "dex", False),
    "LOG_OIII_HB": ("log [O III] 5007 / Hβ", "dex", False),
    "SIGMA_HA": ("Hα luminosity per area", "erg/s/kpc²", True),
    "SII_DENSITY": ("Electron density of [S II]", "cm⁻³", True),
}
"""Quantities that every report shows where they could be had: title, unit, logarithmic."""

_CLASSES = {
    "BPT_NII": "Classes of the [N II] diagram",
    "BPT_SII": "Classes of the [S II] diagram",
    "EW_CLASS": "Classes by the equivalent width of Hα",
}
_COLORS = (BLUE, GREEN, ORANGE)
_FEWEST = 3
"""A quantity that fewer bins have makes no map."""


def draw_quantities(content: ReportContent) -> list[Panel]:
    """Return maps of ratios, dust and density; grey where a line is too faint for them."""
    known = content.derived.quantities
    return [
        _draw(content, name, known[name])
        for name in _SHOWN
        if name in known and finite(known[name].value).size >= _FEWEST
    ]


def draw_classes(content: ReportContent) -> list[Panel]:
    """Return maps of the classes; grey where a spectrum has none."""
    known = content.derived.classes
    return [
        _draw_classes(content, title, known[name])
        for name, title in _CLASSES.items()
        if name in known and (known[name].value > 0).any()
    ]


def _draw(content: ReportContent, name: str, quantity: Quantity) -> Panel:
    from matplotlib.colors import LogNorm, Normalize

    title, unit, is_log = _SHOWN[name]
    paint, known = content.bins.paint, np.isfinite(quantity.value)
    limits = log_range(quantity.value) if is_log else None
    norm = LogNorm(*limits) if limits else Normalize(*robust_range(quantity.value, 1, 99))
    error = float(np.median(quantity.error[known]))
    return draw_image(
        content.sky,
        FieldImage(
            title=title,
            unit=unit,
            values=paint(quantity.value),
            norm=norm,
            color_map="viridis" if is_log else "cividis",
            faint=paint(~known, blank=False),
            caption=(
                f"{int(known.sum()):,} of {known.size:,} bins; median error {error:.2g} {unit}."
            ),
        ),
    )


def _draw_classes(content: ReportContent, title: str, classes: Classes) -> Panel:
    from matplotlib.colors import ListedColormap

    figure, axes = sky_axes(content.sky)
    painted = content.bins.paint(classes.value, -1)
    shade(axes, painted == 0)
    colors = _COLORS[: len(classes.names)]
    axes.imshow(
        np.where(painted > 0, painted, np.nan),
        cmap=ListedColormap(colors),
        vmin=0.5,
        vmax=len(colors) + 0.5,
    )
    axes.set_title(plain(title))
    draw_key(axes, classes.names, colors)
    count = int((classes.value > 0).sum())
    caption = f"{count:,} of {classes.value.size:,} bins are classified. {classes.meaning}."
    return Picture(to_png(figure), f"Map: {title}", caption)


def draw_key(axes: Any, names: Sequence[str], colors: Sequence[str]) -> None:
    """Name the colours of a map of kinds at its right; grey is none of them."""
    from matplotlib.patches import Patch

    keys = [
        Patch(color=color, label=plain(name)) for name, color in zip(names, colors, strict=True)
    ]
    keys.append(Patch(color=FAINT, label="none"))
    axes.legend(
        handles=keys,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.01),
        borderaxespad=0.0,
        fontsize=6.0,
        handlelength=0.9,
        handletextpad=0.4,
        labelcolor=INK,
    )
