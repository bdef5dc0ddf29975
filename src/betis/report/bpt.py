"""Diagnostic diagrams of line ratios."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.report.canvas import (
    GREY,
    INK,
    finite,
    new_figure,
    plain,
    robust_range,
    set_plain_ticks,
    to_png,
)
from betis.report.content import ReportContent
from betis.report.linemaps import log_range
from betis.report.page import Panel, Picture
from betis.report.summary import Measured, measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = Callable[[Float[F64, " point"]], Float[F64, " point"]]


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """Which lines stand over H alpha, and the demarcations: name, curve, its first and last x."""

    lines: tuple[str, ...]
    curves: tuple[tuple[str, Curve, float, float], ...]


def kewley_nii(x: Float[F64, " point"]) -> Float[F64, " point"]:
    """Return the maximum starburst line in [N II]/Ha (Kewley et al. 2001, ApJ 556 121, eq. 5)."""
    return 0.61 / (x - 0.47) + 1.19


def kewley_sii(x: Float[F64, " point"]) -> Float[F64, " point"]:
    """Return the maximum starburst line in [S II]/Ha (Kewley et al. 2001, ApJ 556 121, eq. 6)."""
    return 0.72 / (x - 0.32) + 1.30


def kauffmann_nii(x: Float[F64, " point"]) -> Float[F64, " point"]:
    """Return the line of pure star formation (Kauffmann et al. 2003, MNRAS 346 1055, eq. 1)."""
    return 0.61 / (x - 0.05) + 1.3


NII_DIAGRAM = Diagram(
    lines=("NII6583",),
    curves=(
        ("Kewley+01", kewley_nii, -2.5, 0.35),
        ("Kauffmann+03", kauffmann_nii, -1.28, -0.05),
    ),
)
SII_DIAGRAM = Diagram(lines=("SII6716", "SII6731"), curves=(("Kewley+01", kewley_sii, -2.5, 0.2),))

_X_WINDOW, _Y_WINDOW = (-2.5, 1.2), (-2.0, 2.0)


def draw_diagram(content: ReportContent, diagram: Diagram) -> Panel:
    """Return log [O III]/Hb against the log of other lines over Ha, or why it cannot be drawn."""
    parts = [measure(content, names) for names in (("OIII5007",), ("Hb4861",), diagram.lines)]
    fitted = [line for line in (*parts, measure(content, ("Ha6563",))) if line is not None]
    name = "+".join(diagram.lines)
    if len(fitted) < 4:
        return f"Diagram of {name}/Ha: not all of its lines were fitted."
    over, under, other, alpha = fitted
    kept = np.logical_and.reduce([line.detected & (line.flux > 0) for line in fitted])
    if not kept.any():
        return f"Diagram of {other.label}/{alpha.label}: no bin has S/N ≥ 3 in all of its lines."
    x, x_err = log_ratio(other, alpha, kept)
    y, y_err = log_ratio(over, under, kept)
    figure = new_figure(5.4, 4.4)
    axes = figure.add_subplot()
    _scatter(axes, (x, y), content.lines.ew[kept, alpha.position], content)
    _draw_curves(axes, diagram)
    _limit(axes, x, y)
    _error_cross(axes, float(np.median(x_err)), float(np.median(y_err)))
    axes.set(
        xlabel=plain(f"log {other.label} / {alpha.label}"),
        ylabel=plain(f"log {over.label} / {under.label}"),
    )
    caption = (
        f"{int(kept.sum()):,} of {kept.size:,} bins: those with S/N ≥ 3 in every ratio's lines. "
        "The cross is the median error."
    )
    return Picture(to_png(figure), f"Diagnostic diagram of {other.label}/{alpha.label}", caption)


def log_ratio(
    over: Measured, under: Measured, kept: Bool[B8, " bin"]
) -> tuple[Float[F64, " point"], Float[F64, " point"]]:
    """Return the log10 of a flux ratio and its error, errors taken as independent."""
    value = np.log10(over.flux[kept] / under.flux[kept])
    error = np.hypot(1 / over.snr[kept], 1 / under.snr[kept]) / np.log(10)
    return value, error


def _scatter(
    axes: Axes, points: tuple[F64, F64], width: Float[F64, " point"], content: ReportContent
) -> None:
    from matplotlib.colors import LogNorm

    limits = log_range(width)
    size = float(np.clip(3000 / width.size, 4, 28))
    if limits is None:
        axes.scatter(*points, s=size, color=GREY, linewidths=0)
        return
    color = np.where(width > 0, width, limits[0])
    norm = LogNorm(*limits)
    artist = axes.scatter(*points, s=size, c=color, cmap="viridis", norm=norm, linewidths=0)
    label = content.label("Ha6563")
    bar = axes.figure.colorbar(artist, ax=axes, pad=0.02, aspect=25, extend="both")
    bar.set_label(plain(f"EW of {label} (Å)"))
    set_plain_ticks(bar, norm)


def _draw_curves(axes: Axes, diagram: Diagram) -> None:
    for (name, curve, start, end), dashes in zip(diagram.curves, ("-", "--"), strict=False):
        x = np.linspace(start, end, 300)
        axes.plot(x, curve(x), dashes, color=INK, linewidth=1, label=name)
    axes.legend(loc="lower left")


def _limit(axes: Axes, x: Float[F64, " point"], y: Float[F64, " point"]) -> None:
    """Show the usual part of the plane, and more of it where there are points."""
    usual = {"x": (-1.2, 0.5), "y": (-1.2, 1.3)}
    for name, values, window in (("x", x, _X_WINDOW), ("y", y, _Y_WINDOW)):
        low, high = robust_range(finite(values), 0.5, 99.5)
        limits = (min(low - 0.1, usual[name][0]), max(high + 0.1, usual[name][1]))
        axes.set(**{f"{name}lim": tuple(np.clip(limits, *window))})


def _error_cross(axes: Axes, x_err: float, y_err: float) -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = right - 0.05 * (right - left) - x_err, top - 0.05 * (top - bottom) - y_err
    axes.errorbar([x], [y], xerr=[x_err], yerr=[y_err], color=INK, linewidth=1, capsize=2)
