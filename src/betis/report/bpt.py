"""Diagnostic diagrams of line ratios, and how the spectra fall into their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.derived.classes import CURVES, DIAGRAMS, NamedCurve
from betis.derived.fluxes import Fluxes
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ORDINATE = "LOG_OIII_HB"
_TITLES = {
    "LOG_NII_HA": "[N II] 6583 / Hα",
    "LOG_SII_HA": "[S II] 6716+6731 / Hα",
    "LOG_OI_HA": "[O I] 6300 / Hα",
    _ORDINATE: "[O III] 5007 / Hβ",
}
_ALPHA = "Ha6563"
_X_WINDOW, _Y_WINDOW = (-2.5, 1.2), (-2.0, 2.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cloud:
    """The points of a diagram, their errors, and the equivalent widths that colour them."""

    x: Float[F64, " point"]
    y: Float[F64, " point"]
    x_err: Float[F64, " point"]
    y_err: Float[F64, " point"]
    width: Float[F64, " point"]


def draw_diagram(content: ReportContent, name: str) -> Panel:
    """Return a diagnostic diagram (a key of `DIAGRAMS`), or why it cannot be drawn."""
    abscissa, derived = DIAGRAMS[name], content.derived
    title = _TITLES[abscissa]
    if name not in derived.classes:
        return f"Diagram of {title}: not all of its lines were fitted."
    cloud = _cloud(content, abscissa)
    limit = f"S/N ≥ {derived.min_snr:g}"
    if not cloud.x.size:
        return f"Diagram of {title}: no bin has {limit} in all of its lines."
    figure = new_figure(5.4, 4.4)
    axes = figure.add_subplot()
    _scatter(axes, cloud)
    _draw_curves(axes, CURVES[abscissa])
    _limit(axes, cloud)
    _error_cross(axes, float(np.median(cloud.x_err)), float(np.median(cloud.y_err)))
    axes.set(xlabel=f"log {title}", ylabel=f"log {_TITLES[_ORDINATE]}")
    caption = (
        f"{cloud.x.size:,} of {content.bins.n_bin:,} bins: those with {limit} in all lines of both "
        "ratios. The cross is the median error."
    )
    return Picture(to_png(figure), f"Diagnostic diagram of {title}", caption)


def class_table(content: ReportContent) -> list[tuple[str, ...]]:
    """Return bins, area and light of Halpha in each class; a row a class, the head first."""
    rows: list[tuple[str, ...]] = [("diagram", "class", "bins", "spaxels", "Hα light")]
    light = alpha_light(content)
    for name, classes in content.derived.classes.items():
        for number, text in enumerate(("not classified", *classes.names)):
            member = classes.value == number
            spaxels = int(content.bins.n_spaxel[member].sum())
            share = light[member].sum() / light.sum() if light.sum() > 0 else np.nan
            said = f"{100 * share:.1f} %" if np.isfinite(share) else "–"
            rows.append((name, text, f"{int(member.sum()):,}", f"{spaxels:,}", said))
    return rows


def alpha_width(content: ReportContent) -> Float[F64, " bin"]:
    """Return the equivalent width (Angstrom) of Halpha and its components."""
    return Fluxes(content.lines, content.derived.min_snr).width(_ALPHA)


def alpha_light(content: ReportContent) -> Float[F64, " bin"]:
    """Return the flux of Halpha and its components; 0 where it is negative or unknown."""
    if _ALPHA not in content.lines.names:
        return np.zeros(content.bins.n_bin)
    flux = Fluxes(content.lines, content.derived.min_snr).flux(_ALPHA)
    return np.maximum(np.nan_to_num(flux), 0.0)


def _cloud(content: ReportContent, abscissa: str) -> _Cloud:
    across, up = (content.derived.quantities[name] for name in (abscissa, _ORDINATE))
    kept = np.isfinite(across.value) & np.isfinite(up.value)
    return _Cloud(
        x=across.value[kept],
        y=up.value[kept],
        x_err=across.error[kept],
        y_err=up.error[kept],
        width=alpha_width(content)[kept],
    )


def _scatter(axes: Axes, cloud: _Cloud) -> None:
    from matplotlib.colors import LogNorm

    limits = log_range(cloud.width)
    size = float(np.clip(3000 / cloud.x.size, 4, 28))
    if limits is None:
        axes.scatter(cloud.x, cloud.y, s=size, color=GREY, linewidths=0)
        return
    color = np.where(cloud.width > 0, cloud.width, limits[0])
    norm = LogNorm(*limits)
    artist = axes.scatter(
        cloud.x, cloud.y, s=size, c=color, cmap="viridis", norm=norm, linewidths=0
    )
    bar = axes.figure.colorbar(artist, ax=axes, pad=0.02, aspect=25, extend="both")
    bar.set_label(plain("EW of Hα (Å)"))
    set_plain_ticks(bar, norm)


def _draw_curves(axes: Axes, curves: tuple[NamedCurve, ...]) -> None:
    for curve, dashes in zip(curves, ("-", "--", ":"), strict=False):
        x = np.linspace(curve.first, curve.last, 300)
        axes.plot(x, curve.at(x), dashes, color=INK, linewidth=1, label=curve.name)
    axes.legend(loc="lower left")


def _limit(axes: Axes, cloud: _Cloud) -> None:
    """Show the usual part of the plane, and more of it where there are points."""
    usual = {"x": (-1.2, 0.5), "y": (-1.2, 1.3)}
    for name, values, window in (("x", cloud.x, _X_WINDOW), ("y", cloud.y, _Y_WINDOW)):
        low, high = robust_range(finite(values), 0.5, 99.5)
        limits = (min(low - 0.1, usual[name][0]), max(high + 0.1, usual[name][1]))
        axes.set(**{f"{name}lim": tuple(np.clip(limits, *window))})


def _error_cross(axes: Axes, x_err: float, y_err: float) -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = right - 0.05 * (right - left) - x_err, top - 0.05 * (top - bottom) - y_err
    axes.errorbar([x], [y], xerr=[x_err], yerr=[y_err], color=INK, linewidth=1, capsize=2)
