"""Flux of lines by weighted linear least squares, for many spectra at once.

Vectors run over spectra (the last axis), loops over the few columns of the fit: factors of a
hundred thousand 5 x 5 matrices take as long as a hundred vector operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import erf

from betis.arrays import B8, F64
from betis.snr.window import HALF_WINDOW, MAD, Rows, Window, median
from betis.wavelength import C_KMS

Floats = np.ndarray[tuple[Any, ...], np.dtype[Any]]
"""In single or double precision."""

CLIP = 5.0
"""Residuals beyond this many errors, and beyond as many times their scatter, are left out."""

_ROUNDS = 8
_WORST_SHARE = 0.3
_FEW = 12
_FOOT = 1e-3
"""A pixel belongs to a line where its profile exceeds this share of its peak."""
_RIDGE = 1e-12


class Design(NamedTuple):
    """Columns of a fit: those wanted are the last ones; the first is the pseudo-continuum.

    Attributes
    ----------
    columns : [column, wave]
    n_wanted
        How many of the last columns are wanted.
    free : [wave]
        Pixels that belong to no line.
    """

    columns: Float[F64, "column wave"]
    n_wanted: int
    free: B8


class RowFit(NamedTuple):
    """What was measured of each spectrum; NaN where nothing was.

    Attributes
    ----------
    signal, noise : [row]
        Wanted flux and its error.
    level : [row]
        Pseudo-continuum.
    scatter : [row]
        What the formal error was multiplied by.
    """

    signal: Float[F64, " row"]
    noise: Float[F64, " row"]
    level: Float[F64, " row"]
    scatter: Float[F64, " row"] | None = None


class Weighed(NamedTuple):
    """Weights of pixels, the flux times these, and 1 where there is one."""

    ivar: Float[Floats, "wave row"]
    weighted: Float[Floats, "wave row"]
    seen: Float[Floats, "wave row"]


class _Factor(NamedTuple):
    """Normal equations, factored: ``lower lower^T`` of the columns in units of ``scale``."""

    lower: Float[F64, "column column row"]
    right: Float[F64, "column row"]
    scale: Float[F64, "column row"]
    good: B8


def line_design(window: Window, velocity: float, sigma: float) -> Design:
    """Return the columns for lines at a velocity and with a dispersion, km/s; unit fluxes."""
    center = window.lines * (1 + velocity / C_KMS)
    width = np.hypot(window.sigma_lsf, center * sigma / C_KMS)
    z = (window.edges[None] - center[:, None]) / (np.sqrt(2) * width[:, None])
    profiles = 0.5 * np.diff(erf(z), axis=1) / np.diff(window.edges)
    middle = 0.5 * (window.edges[1:] + window.edges[:-1])
    slope = (middle - window.origin) / HALF_WINDOW
    foot = _FOOT * profiles.max(axis=1, keepdims=True)
    return Design(
        columns=np.concatenate([np.ones((1, middle.size)), slope[None], profiles]),
        n_wanted=window.n_wanted,
        free=(profiles < foot).all(axis=0),
    )


def weigh(rows: Rows, dtype: type[np.floating[Any]] = np.float64) -> Weighed:
    """Return what `wanted_flux` needs of spectra that are fitted many times."""
    seen = rows.ivar > 0
    parts = (rows.ivar, rows.ivar * rows.flux, seen)
    return Weighed(*(part.astype(dtype, copy=False) for part in parts))


def wanted_flux(design: Design, spectra: Weighed) -> tuple[Float[F64, " row"], Float[F64, " row"]]:
    """Return the summed flux of the wanted lines and its inverse variance, of every pixel given.

    Both are 0 where a spectrum cannot be fitted.
    """
    factor = _factor(design, spectra)
    value = _solution(factor, design.n_wanted).sum(axis=0)
    inverse = 1.0 / _variance(factor, design.n_wanted)
    return np.where(factor.good, value, 0.0), np.where(factor.good, inverse, 0.0)


def fit_rows(design: Design, rows: Rows, noise: str = "variance") -> RowFit:
    """Fit each spectrum, leaving out pixels beside the lines that do not fit, until none is left.

    Such pixels are cosmic rays, lines that the set does not list, residuals of the sky; their
    neighbours go with them. They lose their weight in ``rows``, in place. Where the scatter of
    the residuals is larger than the errors, as on stellar continua, it decides what fits.

    Parameters
    ----------
    design
    rows
        A spectrum needs good pixels under each wanted line (half of its profile's weight) and
        twice as many pixels as columns.
    noise
        "variance": the formal error; "scatter": that times the scatter of the residuals beside
        the lines over their errors. The scatter is taken over two degrees of freedom fewer than
        there are, so that on pure noise signal over noise has the variance 1 (that of Student's
        t is dof / (dof - 2)).
    """
    solution, variance, good = _solved(design, rows)
    chosen, some = np.arange(good.size), rows
    for _ in range(_ROUNDS):
        spoiled = _outliers(_residual(design, some, solution[:, chosen]), design.free, noise)
        hit = spoiled.any(axis=0) & good[chosen]
        if not hit.any():
            break
        chosen, some = chosen[hit], some.take(hit)
        some.ivar[spoiled[:, hit]] = 0.0
        rows.ivar[:, chosen] = some.ivar
        solution[:, chosen], variance[chosen], good[chosen] = _solved(design, some)
    scatter = np.ones(variance.shape)
    if noise == "scatter":
        scatter = _scatter(_residual(design, rows, solution), design)
    error = np.sqrt(variance) * scatter
    columns = (solution[-design.n_wanted :].sum(axis=0), error, solution[0], scatter)
    return RowFit(*(np.where(good & (error > 0), column, np.nan) for column in columns))


def _solved(design: Design, rows: Rows) -> tuple[F64, F64, B8]:
    """Return every unknown, the variance of the wanted sum, and which spectra could be fitted."""
    factor = _factor(design, weigh(rows))
    solution = _solution(factor, len(design.columns))
    return solution, _variance(factor, design.n_wanted), factor.good


def _factor(design: Design, rows: Weighed) -> _Factor:
    columns = design.columns.astype(rows.ivar.dtype, copy=False)
    n_column = len(columns)
    upper, lower = np.triu_indices(n_column)
    normal = np.empty((n_column, n_column, rows.ivar.shape[1]))
    normal[lower, upper] = (columns[upper] * columns[lower]) @ rows.ivar
    wanted = columns[-design.n_wanted :] ** 2
    share = np.concatenate([wanted, np.ones_like(wanted[:1])]) @ rows.seen
    covered = (share[:-1] > 0.5 * wanted.sum(axis=1)[:, None]).all(axis=0)
    good = covered & (share[-1] > 2 * n_column - 0.5)
    diagonal = np.einsum("ccr->cr", normal)
    scale = np.sqrt(np.where(good & (diagonal > 0), diagonal, 1.0))
    right = (columns @ rows.weighted) / scale
    return _Factor(_cholesky(normal, scale, good), right, scale, good)


def _cholesky(normal: F64, scale: F64, good: B8) -> Float[F64, "column column row"]:
    """Return the lower factor of the normal matrix in units of ``scale``, in its place.

    A neighbour that falls on masked pixels has no column left; the ridge keeps it at zero.
    """
    for j in range(len(normal)):
        normal[j:, j] /= scale[j:] * scale[j]
        normal[j:, j] = np.where(good, normal[j:, j], 0.0)
        normal[j, j] += np.where(good, _RIDGE, 1.0)
        for k in range(j):
            normal[j:, j] -= normal[j:, k] * normal[j, k]
        normal[j, j] = np.sqrt(np.maximum(normal[j, j], _RIDGE))
        normal[j + 1 :, j] /= normal[j, j]
    return normal


def _solution(factor: _Factor, n_last: int) -> Float[F64, "column row"]:
    """Return the last ``n_last`` unknowns: forward through the factor, and back."""
    lower, value = factor.lower, factor.right.copy()
    n_column = len(value)
    for j in range(n_column):
        value[j] /= lower[j, j]
        value[j + 1 :] -= lower[j + 1 :, j] * value[j]
    for j in range(n_column - 1, n_column - 1 - n_last, -1):
        value[j] /= lower[j, j]
        value[:j] -= lower[j, :j] * value[j]
    return np.asarray(value[n_column - n_last :] / factor.scale[n_column - n_last :])


def _variance(factor: _Factor, n_last: int) -> Float[F64, " row"]:
    """Return the variance of the sum of the last ``n_last`` unknowns."""
    lower = factor.lower[-n_last:, -n_last:]
    part = 1.0 / factor.scale[-n_last:]
    for j in range(n_last):
        part[j] /= lower[j, j]
        part[j + 1 :] -= lower[j + 1 :, j] * part[j]
    return np.asarray((part**2).sum(axis=0))


def _residual(design: Design, rows: Rows, solution: F64) -> Float[F64, "wave row"]:
    """Return data minus fit over the error; 0 where there is no weight."""
    return np.asarray((rows.flux - design.columns.T @ solution) * np.sqrt(rows.ivar))


def _outliers(residual: Float[F64, "wave row"], free: B8, noise: str) -> B8:
    """Tell which pixels beside the lines, and neighbours of theirs, do not fit."""
    result = np.zeros(residual.shape, dtype=bool)
    size = np.abs(residual[free])
    if noise == "scatter":
        rows = np.arange(residual.shape[1])
        limit = _limit_of_scatter(size)
    else:
        # The scatter can only raise the limit, so that most spectra need none.
        rows = np.flatnonzero((size > CLIP).any(axis=0))
        size = size[:, rows]
        limit = CLIP * np.maximum(_robust_scatter(size), 1.0)
    # The worst first: until they have gone, the fit is bent and others seem not to fit.
    limit = np.maximum(limit, _WORST_SHARE * size.max(axis=0, initial=0.0))
    far = np.zeros((residual.shape[0], rows.size), dtype=bool)
    far[free] = size > limit
    far[1:] |= far[:-1] & free[1:, None]
    far[:-1] |= far[1:] & free[:-1, None]
    result[:, rows] = far & (residual[:, rows] != 0)
    return result


def _robust_scatter(size: Float[F64, "wave row"]) -> Float[F64, " row"]:
    return MAD * median(np.where(size > 0, size, np.nan))


def _limit_of_scatter(size: Float[F64, "wave row"]) -> Float[F64, " row"]:
    """Return `CLIP` times the scatter; more where so few pixels tell it that it may be too low."""
    count = np.maximum((size > 0).sum(axis=0), 1)
    return np.asarray(CLIP * (1 + _FEW / count) * _robust_scatter(size))


def _scatter(residual: Float[F64, "wave row"], design: Design) -> Float[F64, " row"]:
    """Return the scatter beside the lines in units of the errors; NaN where it is not known."""
    beside = residual[design.free]
    dof = (beside != 0).sum(axis=0) - _unknowns_beside(design)
    total = (beside**2).sum(axis=0)
    return np.sqrt(np.where(dof > 2, total / np.maximum(dof - 2, 1), np.nan))


def _unknowns_beside(design: Design) -> float:
    """Return how many of the unknowns the pixels beside the lines fix: the sum of their leverage.

    Pixels under the lines fix the others, and some of the pseudo-continuum.
    """
    columns = design.columns
    leverage = np.einsum("wc,cw->w", np.linalg.pinv(columns), columns)
    return float(leverage[design.free].sum())
