"""What is drawn of one bin, of several, or of their sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.report.bin_view import (
    BinView,
    drawn_group,
    drawn_whole,
    group_members,
    limits_of,
    unit_text,
)
from betis.report.spectra import Drawn, flux_limits, gaps
from betis.wavelength import pixel_edges

__all__ = ["WHOLE", "Curve", "curve_of", "flux_range", "named_lines", "residual_range",
           "runs_of", "sum_of", "zoom_limits", "zooms_of"]  # fmt: skip

WHOLE = -1
"""In place of a fit group: the whole spectrum."""
_CALM = 6.0
"""Residual (sigma) up to which all axes are the same."""
_CLOSE = 1000.0
"""Range (Angstrom) below which the peaks of lines are kept in sight."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """A spectrum with its model.

    Attributes
    ----------
    name
        What it is of.
    drawn
        Data, stars, model and residual.
    base : flux density [wave]
        What the lines stand on: stars and local backgrounds.
    unit
        Of the flux density.
    """

    name: str
    drawn: Drawn
    base: Float[F64, " wave"]
    unit: str


def curve_of(view: BinView, group: int = WHOLE) -> Curve:
    """Return a bin with the model that the fit of one group had, or the whole."""
    drawn = drawn_group(view, group) if group in group_members(view) else drawn_whole(view)
    return Curve(
        name=f"bin {view.row}",
        drawn=drawn,
        base=drawn.total - view.profiles.sum(axis=0),
        unit=unit_text(view, density=True),
    )


def sum_of(curves: Sequence[Curve]) -> Curve:
    """Return the sum of spectra and of their models; a pixel that one lacks is masked.

    Errors are added in quadrature, as if the noise of the bins were independent.
    """
    every = [curve.drawn for curve in curves]
    mask = np.any([drawn.mask for drawn in every], axis=0)
    flux = np.sum([drawn.flux for drawn in every], axis=0)
    total = np.sum([drawn.total for drawn in every], axis=0)
    error = np.sqrt(np.sum([np.square(drawn.error) for drawn in every], axis=0))
    drawn = replace(
        every[0],
        flux=flux,
        error=error,
        continuum=np.sum([drawn.continuum for drawn in every], axis=0),
        total=total,
        residual=(flux - total) / error,
        mask=mask,
        unused=np.any([drawn.unused for drawn in every], axis=0) & ~mask,
    )
    base = np.sum([curve.base for curve in curves], axis=0)
    name = f"sum of {', '.join(curve.name.removeprefix('bin ') for curve in curves)}"
    return Curve(name=name, drawn=drawn, base=np.asarray(base), unit=curves[0].unit)


def zooms_of(view: BinView) -> list[tuple[int, str]]:
    """Return the fit groups that can be zoomed to, the whole spectrum first, with their lines."""
    groups = [
        (group, ", ".join(view.labels[i] for i in member))
        for group, member in group_members(view).items()
    ]
    return [(WHOLE, "the whole spectrum"), *groups]


def zoom_limits(view: BinView, group: int) -> tuple[float, float]:
    """Return the range of wavelengths of a group or the whole, Angstrom."""
    if group in group_members(view):
        return limits_of(view, group)
    return float(view.wave[0]), float(view.wave[-1])


def flux_range(curves: Sequence[Curve], low: float, high: float) -> tuple[float, float]:
    """Return the range of flux density that shows these spectra between two wavelengths."""
    ends = []
    for curve in curves:
        where = (curve.drawn.wave >= low) & (curve.drawn.wave <= high)
        bottom, top = flux_limits(curve.drawn, where, whole=high - low < _CLOSE)
        base = curve.base[where] if high - low < _CLOSE else np.empty(0)
        least = float(np.nanmin(base)) if np.isfinite(base).any() else bottom
        ends.append((min(bottom, least - 0.05 * (top - bottom)), top))
    return min(end[0] for end in ends), max(end[1] for end in ends)


def residual_range(curves: Sequence[Curve], low: float, high: float) -> float:
    """Return how far the axis of the residual has to reach between two wavelengths, sigma."""
    most = _CALM
    for curve in curves:
        where = (curve.drawn.wave >= low) & (curve.drawn.wave <= high)
        seen = np.abs(curve.drawn.residual[where])
        seen = seen[np.isfinite(seen)]
        if seen.size:
            share = 100.0 if high - low < _CLOSE else 99.5
            most = max(most, 1.1 * float(np.percentile(seen, share)))
    return most


def runs_of(drawn: Drawn, where: Bool[B8, " wave"]) -> tuple[list[float], list[float]]:
    """Return the ends (Angstrom) of the runs of pixels of a spectrum that are marked."""
    wave = drawn.wave
    edges = pixel_edges(wave)
    broken = np.zeros(wave.size, bool)
    broken[gaps(wave)] = broken[gaps(wave) + 1] = True
    marked = where & ~broken
    step = np.diff(np.concatenate([[0], marked.astype(int), [0]]))
    first, last = np.flatnonzero(step == 1), np.flatnonzero(step == -1)
    return edges[first].tolist(), edges[last].tolist()


def named_lines(curve: Curve, low: float, high: float) -> list[tuple[str, float, bool]]:
    """Return the lines in a range that have room for their names: label, place, detected.

    The detected come first, the strong before the faint, as `Drawn` has them.
    """
    room = 0.016 * (high - low)
    named: list[tuple[str, float, bool]] = []
    for line in sorted(curve.drawn.lines, key=lambda line: not line[2]):
        if low < line[1] < high and all(abs(line[1] - other[1]) > room for other in named):
            named.append(line)
    return named
