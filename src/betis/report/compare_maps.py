"""Figures of the differences of two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.compare import STARS, Difference
from betis.report.canvas import BLUE, GREEN, INK, ORANGE, RED, finite, new_figure, to_png
from betis.report.compare_content import ComparedRuns, compared
from betis.report.field import FieldImage, draw_image
from betis.report.page import Panel, Picture
from betis.report.summary import MAIN_LINES, fixed

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

__all__ = ["draw_kinematics", "draw_pulls", "draw_ratios", "draw_stars", "draw_widths"]

_COLORS = {"flux": BLUE, "velocity": ORANGE, "sigma": GREEN, "ew": RED, "av": INK}
_NAMES = {
    "flux": "flux",
    "velocity": "velocity",
    "sigma": "σ",
    "ew": "equivalent width",
    "av": "A_V of stars",
}
_DECIMALS = {"flux": 3, "ew": 2, "av": 2}
_SMALLEST = {"flux": 0.02, "velocity": 1.0, "sigma": 1.0, "ew": 0.05, "av": 0.02}
"""Least half-range of a map: a smaller one would show rounding only."""
_FAR = 0.6
_FEWEST = 2
_PULL_REACH = 5.0


def draw_ratios(content: ComparedRuns) -> list[Panel]:
    """Return maps of the ratio of the fluxes of the main lines, and of that over both errors."""
    found = _of_main_lines(content, "flux")
    maps = [_draw(content, item) for item in found]
    return [*maps, *(_draw_pull(content, item) for item in found[:1])]


def draw_kinematics(content: ComparedRuns) -> list[Panel]:
    """Return maps of the differences of velocity of the main lines, and of σ of the first."""
    found = [*_of_main_lines(content, "velocity"), *_of_main_lines(content, "sigma")[:1]]
    return [_draw(content, item) for item in found]


def draw_widths(content: ComparedRuns) -> list[Panel]:
    """Return maps of the difference of the equivalent width of the main lines."""
    return [_draw(content, item) for item in _of_main_lines(content, "ew")[:2]]


def draw_stars(content: ComparedRuns) -> list[Panel]:
    """Return maps of the differences of what was found of the stars, or why there are none."""
    found = [compared(content, STARS, quantity) for quantity in ("velocity", "sigma", "av")]
    maps = [_draw(content, item) for item in found if item is not None]
    return list(maps) or ["Stars: there is no bin in which both runs have fitted them."]


def draw_pulls(content: ComparedRuns) -> Panel:
    """Return how the differences over both errors are distributed, a curve a quantity."""
    edges = np.linspace(-_PULL_REACH, _PULL_REACH, 51)
    figure = new_figure(5.4, 3.6)
    axes = figure.add_subplot()
    for quantity, color in _COLORS.items():
        density = _pull_density(content, quantity, edges)
        if density is not None:
            axes.stairs(density, edges, color=color, linewidth=1.2, label=_NAMES[quantity])
    x = np.linspace(-_PULL_REACH, _PULL_REACH, 400)
    axes.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), ":", color=INK, label="N(0, 1)")
    axes.set(xlabel="(second − first) / both errors", ylabel="density", title="Pulls, all lines")
    axes.set_xlim(-_PULL_REACH, _PULL_REACH)
    axes.legend()
    caption = f"What lies beyond ±{_PULL_REACH:g} is in the outermost columns."
    return Picture(to_png(figure), "Histogram of the differences over both errors", caption)


def _pull_density(
    content: ComparedRuns, quantity: str, edges: Float[F64, " edge"]
) -> Float[F64, " column"] | None:
    """Return the weighted distribution of the pulls of all lines; None where there are none."""
    mine = [item for item in content.differences if item.quantity == quantity]
    pull = np.concatenate([item.pull for item in mine]) if mine else np.empty(0)
    good = np.isfinite(pull)
    if not good.any():
        return None
    weight = np.concatenate([item.weight for item in mine])[good]
    clipped = np.clip(pull[good], edges[0], edges[-1])
    count, _ = np.histogram(clipped, edges, weights=weight)
    return np.asarray(count / (count.sum() * np.diff(edges)))


def _of_main_lines(content: ComparedRuns, quantity: str) -> list[Difference]:
    names = [name for names in MAIN_LINES for name in names]
    found = [compared(content, name, quantity) for name in names]
    kept = [item for item in found if item is not None and finite(item.value).size >= _FEWEST]
    if kept:
        return kept
    others = [item for item in content.differences if item.quantity == quantity]
    most = sorted(others, key=lambda item: -item.n_both)[:2]
    return [item for item in most if finite(item.value).size >= _FEWEST and item.what != STARS]


def _draw(content: ComparedRuns, item: Difference) -> Panel:
    """Draw a difference: blue where the second run has less, red where it has more."""
    from matplotlib.colors import Normalize

    is_ratio = item.quantity == "flux"
    with np.errstate(invalid="ignore", divide="ignore"):
        shown = np.where(item.value > 0, item.value, np.nan) if is_ratio else item.value
        half = _half_range(np.log(shown) if is_ratio else shown, item.quantity)
    norm = _ratio_norm(half) if is_ratio else Normalize(-half, half)
    sign = "ratio" if is_ratio else "difference"
    decimals = _DECIMALS.get(item.quantity, 1)
    middle, scatter = (fixed(value, decimals) for value in item.middle())
    return draw_image(
        content.sky,
        FieldImage(
            title=f"{content.label(item.what)}: {sign} of {_NAMES[item.quantity]}",
            unit="second / first" if is_ratio else f"{item.unit}, second − first",
            values=_painted(content, shown),
            norm=norm,
            color_map="RdBu_r",
            faint=_absent(content, item),
            caption=(
                f"Both runs in {item.n_both:,}, only the first in {item.only_first:,}, only the "
                f"second in {item.only_second:,} {content.unit}s. Median {middle}, scatter "
                f"{scatter}{f' {item.unit}' if item.unit else ''}."
            ),
        ),
    )


def _draw_pull(content: ComparedRuns, item: Difference) -> Panel:
    from matplotlib.colors import Normalize

    return draw_image(
        content.sky,
        FieldImage(
            title=f"{content.label(item.what)}: difference over both errors",
            unit="pull of the flux",
            values=_painted(content, item.pull),
            norm=Normalize(-_PULL_REACH, _PULL_REACH),
            color_map="RdBu_r",
            faint=_absent(content, item),
            caption="Structure here is more than noise, or noise that neighbours share.",
        ),
    )


def _ratio_norm(half: float) -> Normalize:
    """Return a stretch about 1, logarithmic where it reaches far (``half``: natural logarithm)."""
    from matplotlib.colors import LogNorm, Normalize

    if half < _FAR:
        return Normalize(1 - half, 1 + half)
    return LogNorm(float(np.exp(-half)), float(np.exp(half)))


def _half_range(values: Float[F64, " pair"], quantity: str) -> float:
    good = np.abs(finite(values))
    return max(float(np.percentile(good, 97)) if good.size else 0.0, _SMALLEST[quantity])


def _painted(content: ComparedRuns, values: Float[F64, " pair"]) -> Float[F64, "y x"]:
    return np.asarray(np.append(values, np.nan)[content.pairs.index])


def _absent(content: ComparedRuns, item: Difference) -> Bool[B8, "y x"]:
    """Tell the spaxels of a bin of both runs in which one has no detection."""
    return np.asarray((content.pairs.index >= 0) & ~np.isfinite(_painted(content, item.value)))
