"""How the equivalent widths of Halpha are distributed over area and light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.derived.classes import DIFFUSE, STAR_FORMING
from betis.report.bpt import alpha_light, alpha_width
from betis.report.canvas import BLUE, INK, ORANGE, new_figure, set_log_ticks, to_png
from betis.report.content import ReportContent
from betis.report.page import Panel, Picture
from betis.report.summary import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_width_distribution"]

_COLUMNS = 24
_LEAST, _MOST = 0.3, 1000.0
"""Angstrom; what lies beyond counts in the outermost columns."""


def draw_width_distribution(content: ReportContent) -> Panel:
    """Return the distribution of EW(Halpha), by area and by light, with the limits of its classes.

    References
    ----------
    Lacerda et al. 2018, MNRAS 474 3727, fig. 5 to 7: hDIG, mDIG and SFc.
    """
    classes = content.derived.classes.get("EW_CLASS")
    if classes is None:
        return "Distribution of the EW of Hα: Hα was not fitted."
    kept = (classes.value > 0) & (np.nan_to_num(alpha_width(content)) > 0)
    if not kept.any():
        limit = f"S/N ≥ {content.derived.min_snr:g}"
        return f"Distribution of the EW of Hα: no bin has Hα in emission with {limit}."
    width = np.clip(alpha_width(content)[kept], _LEAST, _MOST)
    area, light = content.bins.n_spaxel[kept].astype(float), alpha_light(content)[kept]
    low, high = min(1.0, float(width.min())), max(30.0, float(width.max()))
    edges = np.geomspace(low * 0.999, high * 1.001, _COLUMNS + 1)
    figure = new_figure(5.4, 4.4)
    axes = figure.add_subplot()
    for weight, color, label in ((area, BLUE, "area"), (light, ORANGE, "Hα light")):
        axes.stairs(_shares(width, weight, edges), edges, color=color, linewidth=1.3, label=label)
    axes.set_xscale("log")
    for border in (DIFFUSE, STAR_FORMING):
        axes.axvline(border, color=INK, linewidth=0.8, linestyle="--")
    axes.set(xlabel="EW of Hα (Å, rest frame)", ylabel="share in each column (%)")
    set_log_ticks(axes.xaxis, float(edges[0]), float(edges[-1]))
    axes.set_xlim(edges[0], edges[-1])
    _name_classes(axes, classes.names, (float(edges[0]), DIFFUSE, STAR_FORMING, float(edges[-1])))
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.93))
    return Picture(
        to_png(figure),
        "Distribution of the equivalent width of Hα by area and by light",
        _caption(content, width, area, light),
    )


def _shares(
    width: Float[F64, " bin"], weight: Float[F64, " bin"], edges: Float[F64, " edge"]
) -> Float[F64, " column"]:
    """Return the share of the weight in each column, per cent."""
    count, _ = np.histogram(width, edges, weights=weight)
    total = weight.sum()
    return np.asarray(100 * count / total if total > 0 else count)


def _name_classes(axes: Axes, names: tuple[str, ...], limits: tuple[float, ...]) -> None:
    for name, low, high in zip(names, limits[:-1], limits[1:], strict=True):
        if high > 1.3 * low:
            middle, across = float(np.sqrt(low * high)), axes.get_xaxis_transform()
            axes.text(middle, 0.96, name, ha="center", va="top", transform=across)


def _caption(
    content: ReportContent,
    width: Float[F64, " bin"],
    area: Float[F64, " bin"],
    light: Float[F64, " bin"],
) -> str:
    diffuse = width < STAR_FORMING
    parts = [
        percent(float(weight[diffuse].sum() / weight.sum())) if weight.sum() > 0 else "–"
        for weight in (area, light)
    ]
    return (
        f"{width.size:,} of {content.bins.n_bin:,} bins, those with Hα at S/N ≥ "
        f"{content.derived.min_snr:g}. Below {STAR_FORMING:g} Å: {parts[0]} of their area, "
        f"{parts[1]} of their light. Dashed: {DIFFUSE:g} and {STAR_FORMING:g} Å (Lacerda+2018)."
    )
