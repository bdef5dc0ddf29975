"""Figures of the S/N of the bins: predicted from the maps, and measured on stacked spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.report.binfacts import measured_too, promise
from betis.report.canvas import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    finite,
    new_figure,
    nice_ticks,
    plain,
    robust_range,
    to_png,
)
from betis.report.content import ReportContent
from betis.report.page import Panel, Picture
from betis.report.summary import counted, fixed, number, reached

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNMEASURED = "it was not measured on the stacked spectra of the bins."
_MANY = 2000
"""Bins from which the points are small and let others shine through."""
_DECADES = 3.0
"""How far below the largest S/N a logarithmic axis reaches at most."""
_OUTLINE: dict[str, Any] = {"histtype": "step", "color": INK, "linewidth": 1.1}


def draw_snr_histogram(content: ReportContent) -> Panel:
    """Return the distribution of the S/N of the bins, predicted and measured, with the target."""
    bins, predicted = content.bins, finite(content.bins.snr)
    if predicted.size == 0:
        return "S/N of the bins: there is no finite value to show."
    measured = finite([] if bins.snr_measured is None else bins.snr_measured)
    low, high = _histogram_range(np.concatenate([predicted, measured]), bins.target)
    edges = np.linspace(low, high, 41).tolist()
    figure = new_figure(4.47, 3.68)
    axes = figure.add_subplot()
    axes.hist(np.clip(predicted, low, high), edges, color=BLUE, alpha=0.6, label="predicted")
    if measured.size:
        axes.hist(np.clip(measured, low, high), edges, **_OUTLINE, label="measured")
    if np.isfinite(bins.target):
        axes.axvline(bins.target, color=ORANGE, linewidth=1.8, label=_target_label(bins.target))
    axes.legend()
    axes.set(xlabel=plain(f"S/N of the bin in {content.label(content.snr.line)}"), ylabel="bins")
    axes.set_title("S/N reached")
    beyond = _beyond_sentence(int((predicted > high).sum()), int((measured > high).sum()))
    caption = f"{_reached_sentence(content)} {_promise_sentence(content)}{beyond}"
    return Picture(to_png(figure), "Histogram of the S/N of the bins", caption)


def draw_measured_snr(content: ReportContent) -> Panel:
    """Return the S/N of each bin as measured on its stacked spectrum against the predicted one."""
    bins, shown = content.bins, measured_too(content.bins)
    if bins.snr_measured is None:
        return f"Measured against predicted S/N: {_UNMEASURED}"
    if not (bins.snr[shown] > 0).any():
        return "Measured against predicted S/N: no bin has both."
    predicted, measured = bins.snr[shown], bins.snr_measured[shown]
    low, high = _log_range(np.concatenate([predicted, measured]))
    figure = new_figure(4.47, 3.68)
    axes = figure.add_subplot()
    good = reached(content)[shown]
    for kept, color in ((~good, GREY), (good, BLUE)):
        _draw_points(axes, predicted[kept], measured[kept], low, color=color)
    axes.plot([low, high], [low, high], color=INK, linewidth=1, label="equal")
    if low < bins.target < high:
        axes.axhline(bins.target, color=ORANGE, linewidth=1.2, label=_target_label(bins.target))
        axes.axvline(bins.target, color=ORANGE, linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel="S/N predicted from the maps", ylabel="S/N measured on the stacked spectrum")
    _set_plain_log_ticks(axes, low, high)
    axes.set_title(plain(f"S/N of {content.label(content.snr.line)}, measured and predicted"))
    axes.legend(loc="upper left")
    below = int(((predicted < low) | (measured < low)).sum())
    caption = (
        "A point is a bin; below the line it has less than the maps promised. Grey: it does not "
        f"reach the target.{_short_sentence(content)}{_edge_sentence(below)}"
    )
    return Picture(to_png(figure), "S/N of the bins, measured against predicted", caption)


def _histogram_range(values: Float[F64, " value"], target: float) -> tuple[float, float]:
    """Return a range with nearly all values, 0 and the target in it."""
    low, high = robust_range(values, 0.5, 99)
    return min(low, 0.0), max(high, 1.2 * target if np.isfinite(target) else high)


def _log_range(values: Float[F64, " value"]) -> tuple[float, float]:
    """Return a range with all values, but for those far below the largest and below 0."""
    high = float(values.max())
    low = max(float(values[values > 0].min()), high / 10**_DECADES)
    return low / 1.25, high * 1.25


def _draw_points(
    axes: Axes, x: Float[F64, " bin"], y: Float[F64, " bin"], low: float, *, color: str
) -> None:
    """Draw points, those too low on the edge."""
    size, alpha = (4.0, 0.8) if x.size <= _MANY else (1.5, 0.35)
    style: dict[str, Any] = {"markersize": size, "markeredgewidth": 0, "clip_on": x.size > _MANY}
    axes.plot(np.maximum(x, low), np.maximum(y, low), "o", color=color, alpha=alpha, **style)


def _set_plain_log_ticks(axes: Axes, low: float, high: float) -> None:
    from matplotlib.colors import LogNorm

    ticks = nice_ticks(LogNorm(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()


def _target_label(target: float) -> str:
    return f"target {number(target)}"


def _reached_sentence(content: ReportContent) -> str:
    bins = content.bins
    if not np.isfinite(bins.target):
        return "No target was asked for."
    return f"{int(reached(content).sum()):,} of {bins.n_bin:,} bins reach the target."


def _promise_sentence(content: ReportContent) -> str:
    """Return how the measured S/N stands to the predicted one."""
    if content.bins.snr_measured is None:
        return f"Predicted from the maps; {_UNMEASURED}"
    kept = promise(content.bins)
    if not np.isfinite(kept.ratio):
        return "Predicted from the maps, and measured on the stacked spectra of the bins."
    return (
        "Measured on the stacked spectra, the S/N is "
        f"{fixed(kept.ratio, 2)} times the one predicted from the maps: the median of "
        f"{counted(kept.n_bin, 'bin')} without a flag."
    )


def _short_sentence(content: ReportContent) -> str:
    """Return how many bins that should reach the target do not as measured."""
    kept, target = promise(content.bins), content.bins.target
    if not kept.n_bin or not np.isfinite(target):
        return ""
    return f" {kept.n_short:,} of {counted(kept.n_bin, 'bin')} without a flag measure below it."


def _beyond_sentence(predicted: int, measured: int) -> str:
    if not predicted and not measured:
        return ""
    return f" The last column holds all beyond it: {predicted:,} predicted, {measured:,} measured."


def _edge_sentence(count: int) -> str:
    return f" On the edge: {counted(count, 'bin')} below it." if count else ""
