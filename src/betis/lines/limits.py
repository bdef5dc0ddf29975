"""What holds each line of a set: its window, bounds, sign and first guess, from set and options."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.linelist import Line, LineSet
from betis.lsf import FWHM_PER_SIGMA
from betis.options import LineOptions

__all__ = ["Limits", "line_limits"]


_WINDOW, _MAX_VELOCITY, _MAX_SIGMA = 30.0, 500.0, 400.0
_FLUX = {"any": (-np.inf, np.inf), "emission": (0.0, np.inf), "absorption": (-np.inf, 0.0)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Limits:
    """What holds each line, in the order of the set.

    Attributes
    ----------
    window : Angstrom [line]
        Half-width of the fit window.
    velocity, sigma : km/s [line, 2]
        Least and most; the dispersion without the line-spread function.
    width : Angstrom [line, 2]
        Least and most observed dispersion.
    shift : Angstrom [line]
        How far from its first guess, either way.
    flux : [line, 2]
        0 or infinity: the signs that it may have.
    search : Angstrom [line]
        How far from the velocity of the spectrum its own first guess may lie.
    start_width : Angstrom
        Observed dispersion of the first guess; 0 for one from the line-spread function.
    max_velocity : km/s
        How far from rest the velocity of a spectrum is looked for.
    """

    window: Float[F64, " line"]
    velocity: Float[F64, "line 2"]
    sigma: Float[F64, "line 2"]
    width: Float[F64, "line 2"]
    shift: Float[F64, " line"]
    flux: Float[F64, "line 2"]
    search: Float[F64, " line"]
    start_width: float
    max_velocity: float


def line_limits(line_set: LineSet, options: LineOptions) -> Limits:
    """Return what holds each line.

    A line's own word goes before the options, these before the set's, this before the defaults: a
    window of 30 Angstrom, velocities within 500 km/s, dispersions up to 400 km/s.
    """
    window = _first(options.window, line_set.window, _WINDOW)
    fastest = _first(options.max_velocity, line_set.max_velocity, _MAX_VELOCITY)
    broadest = _first(options.max_sigma, line_set.max_sigma, _MAX_SIGMA)
    start_width = _first(options.fwhm, line_set.fwhm, 0.0) / FWHM_PER_SIGMA
    lines = line_set.lines
    return Limits(
        window=_column([_first(line.window, window) for line in lines]),
        velocity=_pairs([line.bounds.velocity or (-fastest, fastest) for line in lines]),
        sigma=_pairs([line.bounds.sigma or (0.0, broadest) for line in lines]),
        width=_pairs([_width(line, start_width) for line in lines]),
        shift=_column([_first(line.bounds.shift, np.inf) for line in lines]),
        flux=_pairs([_FLUX[line.sign] for line in lines]),
        search=_column([line.search for line in lines]),
        start_width=start_width,
        max_velocity=fastest,
    )


def _first(*values: float | None) -> float:
    """Return the first value that is given."""
    return float(next(value for value in values if value is not None))


def _width(line: Line, start_width: float) -> tuple[float, float]:
    if line.bounds.width is None:
        return 0.0, np.inf
    return line.bounds.width[0] * start_width, line.bounds.width[1] * start_width


def _column(values: list[float]) -> Float[F64, " line"]:
    return np.array(values, dtype=float)


def _pairs(values: list[tuple[float, float]]) -> Float[F64, "line 2"]:
    return np.array(values, dtype=float).reshape(-1, 2)
