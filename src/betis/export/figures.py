"""Figures of merit of the whole model of each spectrum."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.export.cube import Modelled

__all__ = ["figures_of_merit"]

_SHARES = (68.0, 99.0, 100.0)
"""Percentiles of the absolute residuals."""


def figures_of_merit(part: Modelled) -> Float[F64, "spectrum figure"]:
    """Return nine figures of each spectrum, over its good pixels.

    The root mean square of the residual, and of the residual over the model; the mean of the square
    of the residual over the error; the 68th and 99th percentile and the largest of the absolute
    residual over the model, and over the error. NaN where there is no good pixel.
    """
    stars = 0.0 if part.stars is None else part.stars
    model, residual = part.lines + stars, part.residual
    figures = np.full((part.spectra.n_spectrum, 9), np.nan)
    for row in range(part.spectra.n_spectrum):
        good: Bool[B8, " wave"] = np.isfinite(residual[row])
        if good.any():
            rest, error = residual[row, good], part.spectra.error[row, good]
            figures[row] = _of_row(rest, model[row, good], error)
    return figures


def _of_row(
    rest: Float[F64, " pixel"], model: Float[F64, " pixel"], error: Float[F64, " pixel"]
) -> Float[F64, " figure"]:
    lit = model != 0
    share, pull = np.abs(rest[lit] / model[lit]), np.abs(rest / error)
    of_share = np.percentile(share, _SHARES) if lit.any() else np.full(len(_SHARES), np.nan)
    squares = (np.mean(rest**2), np.mean(share**2) if lit.any() else np.nan, np.mean(pull**2))
    head = [np.sqrt(squares[0]), np.sqrt(squares[1]), squares[2]]
    return np.array([*head, *of_share, *np.percentile(pull, _SHARES)])
