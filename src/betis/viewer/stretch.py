"""Limits and stretches of maps: what a linear colour mapper has to be given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError
from betis.report.canvas import finite, nice_ticks, robust_range

__all__ = ["STRETCHES", "Stretched", "limits_of", "stretch"]

STRETCHES = ("linear", "log", "asinh")
_SOFT = 15.0
"""Part of the range that asinh shows linearly, as in the report."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretched:
    """An image ready for a linear colour mapper.

    Attributes
    ----------
    image : [y, x]
    low, high
        Ends of the colour map, in units of ``image``.
    ticks
        Where the colour bar is ticked, and with what.
    """

    image: Float[F64, "y x"]
    low: float
    high: float
    ticks: dict[float, str]


def limits_of(
    image: Float[F64, "y x"], share: float, *, signed: bool = False
) -> tuple[float, float]:
    """Return limits that hold the middle ``share`` (per cent) of the values; (0, 1) for none.

    Symmetric about 0 where the quantity is signed.
    """
    margin = 0.5 * (100.0 - share)
    low, high = robust_range(image, margin, 100.0 - margin)
    if signed and finite(image).size:
        largest = max(abs(low), abs(high))
        return -largest, largest
    return low, high


def stretch(image: Float[F64, "y x"], how: str, limits: tuple[float, float]) -> Stretched:
    """Return an image in one of `STRETCHES`.

    Raises
    ------
    InputError
        Where the limits are not in order, or a logarithm has nothing positive to show.
    """
    low, high = limits
    if not low < high:
        raise InputError(
            f"the limits are {low:g} and {high:g}, where the first must be below the second; "
            "change one"
        )
    if how == "linear":
        return Stretched(image=image, low=low, high=high, ticks=_even_ticks(low, high))
    return _by_norm(image, how, low, high)


def _even_ticks(low: float, high: float) -> dict[float, str]:
    from matplotlib.ticker import MaxNLocator

    places = MaxNLocator(nbins=6).tick_values(low, high)
    return {float(place): _tick_text(place) for place in places if low <= place <= high}


def _tick_text(value: float) -> str:
    return f"{float(f'{value:.6g}'):g}".replace("-", "−")


def _by_norm(image: Float[F64, "y x"], how: str, low: float, high: float) -> Stretched:
    from matplotlib.colors import AsinhNorm, LogNorm, Normalize

    if how == "log":
        positive = finite(image)[finite(image) > 0]
        if high <= 0 or positive.size == 0:
            raise InputError(
                "nothing here is positive, which a logarithmic stretch needs; choose linear or "
                "asinh"
            )
        low = low if low > 0 else min(float(positive.min()), high / 10)
        norm: Normalize = LogNorm(low, high)
    else:
        norm = AsinhNorm(max(abs(low), abs(high), high - low) / _SOFT, vmin=low, vmax=high)
    inside = np.clip(image, low, high)
    shown: F64 = np.ma.filled(np.ma.asarray(norm(inside), float), np.nan)
    ticks = {float(norm(tick)): _tick_text(tick) for tick in nice_ticks(norm)}
    return Stretched(image=np.where(np.isfinite(image), shown, np.nan), low=0, high=1, ticks=ticks)
