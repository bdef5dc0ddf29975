"""Drawing without pyplot: house style, figures, PNG bytes, robust ranges."""

from __future__ import annotations

from contextlib import AbstractContextManager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from betis.arrays import F64

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

INK = "#1d2530"
GREY = "#8c96a3"
FAINT = "#cfd4da"
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
"""Colours that the colour-blind tell apart (Okabe & Ito 2008)."""

DPI = 150.0
"""Pixels an inch."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
    "axes.formatter.limits": (-3, 6),
    "axes.formatter.use_mathtext": False,  # setting a formula takes longer than drawing a figure
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "legend.fontsize": 7.5,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "image.origin": "lower",
    "image.interpolation": "nearest",
    "path.simplify": True,
    "svg.hashsalt": "betis",
}


def house_style() -> AbstractContextManager[None]:
    """Return a context in which figures look alike, whatever the user's matplotlibrc says."""
    from matplotlib import style

    context: AbstractContextManager[None] = style.context(["default", _STYLE])
    return context


def new_figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure, dpi: float = DPI) -> bytes:
    """Return the figure as the bytes of a PNG that holds nothing of the machine or the time."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def plain(text: str) -> str:
    """Return text that matplotlib draws as it is, dollar signs included."""
    return text.replace("$", r"\$")


def finite(values: ArrayLike) -> Float[F64, " value"]:
    """Return the finite values, flat."""
    flat = np.asarray(values, dtype=float).ravel()
    return np.asarray(flat[np.isfinite(flat)])


def robust_range(values: ArrayLike, low: float = 1.0, high: float = 99.0) -> tuple[float, float]:
    """Return the low and high percentile of the finite values, never equal; (0, 1) for none."""
    good = finite(values)
    if good.size == 0:
        return 0.0, 1.0
    bottom, top = (float(v) for v in np.percentile(good, [low, high]))
    if top - bottom > 1e-9 * max(abs(top), abs(bottom)):
        return bottom, top
    pad = 0.1 * abs(top) or 1.0
    return bottom - pad, top + pad


def nice_ticks(norm: Normalize, room: float = 0.09) -> list[float]:
    """Return 0 and 1, 2, 5 times powers of ten inside a stretch, at least ``room`` of it apart.

    Decades come before 5 and 5 before 2 where there is no room for all.
    """
    low, high = (float(value) for value in (norm.vmin or 0.0, norm.vmax or 1.0))
    largest = np.log10(max(abs(low), abs(high)))
    powers = 10.0 ** np.arange(np.floor(largest), np.floor(largest) - 6, -1)
    steps = [step * power for step in (1, 5, 2) for power in powers]
    signed = [value for step in steps for value in (step, -step)]
    ticks: list[float] = []
    for value in [0.0, *signed]:
        place = float(norm(value)) if low <= value <= high else np.nan
        if all(abs(place - float(norm(other))) > room for other in ticks) and place == place:
            ticks.append(value)
    return sorted(ticks)


def set_plain_ticks(bar: Colorbar, norm: Normalize) -> None:
    """Give the colour bar of a logarithmic or asinh stretch a few ticks in plain numbers."""
    from matplotlib.colors import Normalize

    if type(norm) is Normalize:
        return
    ticks = nice_ticks(norm)
    bar.set_ticks(ticks, labels=[f"{tick:g}".replace("-", "−") for tick in ticks])
    bar.minorticks_off()


def set_log_ticks(axis: Axis, low: float, high: float) -> None:
    """Give a logarithmic axis a few ticks in plain numbers."""
    from matplotlib.colors import LogNorm

    ticks = nice_ticks(LogNorm(low, high))
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_tick_params(which="minor", length=0)
    axis.set_minor_formatter("")
