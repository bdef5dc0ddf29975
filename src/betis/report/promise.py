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
    plain,
    robust_range,
    set_log_ticks,
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
_FAR = 20.0
"""How many times below the target, or the largest S/N, is far below."""
_SMALLEST_HALF = 0.05
"""Half-range of measured over predicted S/N that is shown at least."""
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
    beyond = _beyond_sentence(predicted, measured, high)
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
    good, ratio = reached(content)[shown], _ratio(predicted, measured)
    low, high = _log_range(np.concatenate([predicted, measured]), bins.target)
    half = _half_range(ratio[good] if good.any() else ratio)
    figure = new_figure(4.47, 3.68)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(2.6, 1))
    for kept, color in ((~good, GREY), (good, BLUE)):
        x = np.maximum(predicted[kept], low)
        _draw_points(upper, x, np.maximum(measured[kept], low), color)
        _draw_points(lower, x, np.clip(ratio[kept], 1 - half, 1 + half), color)
    _draw_one_to_one(upper, bins.target, low, high)
    lower.axhline(1, color=INK, linewidth=1)
    lower.set(ylim=(1 - half, 1 + half), xlabel="S/N predicted from the maps", ylabel="ratio")
    beyond = (predicted < low) | (measured < low) | (np.abs(ratio - 1) > half)
    return Picture(
        to_png(figure),
        "S/N of the bins, measured on their spectra against predicted from the maps",
        "Below the line a bin has less than the maps promised. Grey: it does not reach the target."
        f"{_short_sentence(content)}{_edge_sentence(int(beyond.sum()))}",
    )


def _draw_one_to_one(axes: Axes, target: float, low: float, high: float) -> None:
    """Draw the line of equal S/N, and those of the target, on logarithmic axes."""
    axes.plot([low, high], [low, high], color=INK, linewidth=1, zorder=3, label="equal")
    if low < target < high:
        axes.axhline(target, color=ORANGE, linewidth=1.2, label=_target_label(target))
        axes.axvline(target, color=ORANGE, linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    axes.set(title="S/N measured on the spectra of the bins", ylabel="S/N measured")
    axes.legend(loc="lower right")
    for axis in (axes.xaxis, axes.yaxis):
        set_log_ticks(axis, low, high)


def _histogram_range(values: Float[F64, " value"], target: float) -> tuple[float, float]:
    """Return a range with nearly all values, 0 and the target in it."""
    low, high = robust_range(values, 0.5, 99)
    return min(low, 0.0), max(high, 1.2 * target if np.isfinite(target) else high)


def _log_range(values: Float[F64, " value"], target: float) -> tuple[float, float]:
    """Return a range with all values but those that are far below the largest and the target."""
    high = float(values.max())
    far = min(high, target) if target > 0 else high
    low = max(float(values[values > 0].min()), far / _FAR)
    return low / 1.25, high * 1.25


def _ratio(predicted: Float[F64, " bin"], measured: Float[F64, " bin"]) -> Float[F64, " bin"]:
    """Return measured over predicted S/N; NaN where nothing was predicted."""
    empty = np.full_like(predicted, np.nan)
    return np.asarray(np.divide(measured, predicted, out=empty, where=predicted > 0))


def _half_range(ratio: Float[F64, " bin"]) -> float:
    """Return the half-range about 1 of nearly all ratios, at least a few per cent and at most 1."""
    off = finite(np.abs(ratio - 1))
    return float(np.clip(1.3 * np.percentile(off, 98), _SMALLEST_HALF, 1.0)) if off.size else 1.0


def _draw_points(axes: Axes, x: Float[F64, " bin"], y: Float[F64, " bin"], color: str) -> None:
    size, alpha = (4.0, 0.8) if x.size <= _MANY else (1.5, 0.35)
    axes.plot(x, y, "o", color=color, alpha=alpha, markersize=size, markeredgewidth=0)


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
        "Measured on the stacked spectra over predicted from the maps: median "
        f"{fixed(kept.ratio, 3)}, of {counted(kept.n_bin, 'bin')} without a flag."
    )


def _short_sentence(content: ReportContent) -> str:
    """Return how many bins that should reach the target do not as measured."""
    kept, target = promise(content.bins), content.bins.target
    if not kept.n_bin or not np.isfinite(target):
        return ""
    return f" {kept.n_short:,} of {counted(kept.n_bin, 'bin')} without a flag measure below it."


def _beyond_sentence(
    predicted: Float[F64, " bin"], measured: Float[F64, " bin"], high: float
) -> str:
    """Return how many bins are beyond the last column of the histogram, and so in it."""
    more = int((predicted > high).sum()), int((measured > high).sum())
    if not any(more):
        return ""
    too = f" as predicted, {more[1]:,} as measured" if measured.size else ""
    return f" The last column holds those beyond it: {counted(more[0], 'bin')}{too}."


def _edge_sentence(count: int) -> str:
    return f" On the edge: {counted(count, 'bin')} beyond it." if count else ""
