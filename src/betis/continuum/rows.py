"""Rows of a block on their way to the best fit: start, steps, clipping, errors."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from betis import compute
from betis.arrays import B8, F64, Index
from betis.continuum.kernel import error_row, fit_row, start_row
from betis.continuum.kinematics import Kinematics, held_bounds
from betis.continuum.model import Grid, losvd_at, transmission
from betis.continuum.pixels import MIN_PIXELS, median_where, outside_clip
from betis.continuum.templates import Shape
from betis.options import ContinuumOptions
from betis.products import Spectra
from betis.wavelength import C_KMS

_PHASES = (3, 3, 6, 24)
"""Normal matrices after which converged rows leave the batch."""
_CLIP_ROUNDS = 2
_CHUNK = 4
"""Rows that a host core takes at once: they must fit its cache."""
_FEW_LIT = (8, 16)
_SCAN_STEP, _SCAN_SIGMA = 200.0, 150.0
_START_SIGMA, _START_AV = 120.0, 0.3
_MAX_MOMENT = 0.3
"""Bound of h3 and h4, either way: beyond it the distribution is negative somewhere."""
_MAX_SHARE = 0.9
"""Bound of the coefficients of a multiplicative polynomial."""


@dataclass(kw_only=True, eq=False)
class Rows:
    """Rows under way: scaled data, the pixels in use, and where each row stands.

    Attributes
    ----------
    flux, weight, used : [spectrum, wave]
        In units of the row's own scale, the inverse of its error, and the pixels in use.
    scale : [spectrum]
        The flux unit of each row.
    bounds : [spectrum, 2, param]
    params, light, model, covariance, converged, core_err
        The best point, and what is known there.
    """

    flux: Float[F64, "spectrum wave"]
    weight: Float[F64, "spectrum wave"]
    used: Bool[B8, "spectrum wave"]
    scale: Float[F64, " spectrum"]
    bounds: Float[F64, "spectrum 2 param"]
    params: Float[F64, "spectrum param"]
    light: Float[F64, "spectrum template"]
    model: Float[F64, "spectrum wave"]
    covariance: Float[F64, "spectrum param param"]
    converged: Bool[B8, " spectrum"]
    core_err: Float[F64, "spectrum core"]

    def residuals(self) -> Float[F64, "spectrum wave"]:
        """In units of the error."""
        return (self.flux - self.model) * self.weight

    @property
    def fitted(self) -> Index:
        """Those that have enough pixels."""
        return np.flatnonzero(self.used.sum(axis=1) >= MIN_PIXELS)


class Setup(NamedTuple):
    """What all rows share.

    Attributes
    ----------
    grid
        The base, on the devices.
    starts
        Parameters to start from, and the reduced base there, on the devices.
    limits : [2, param]
        Bounds of the parameters.
    contrast : [core, wave]
        See `betis.continuum.cores.contrasts`.
    """

    grid: list[Any]
    starts: list[Any]
    limits: Float[F64, "2 param"]
    contrast: Any


def limits_of(options: ContinuumOptions, shape: Shape) -> Float[F64, "2 param"]:
    """Return the bounds of the parameters, in their order (`betis.continuum.model`).

    Where polynomials multiply the model, they stand for the dust, and A_V is held at its lower
    bound.
    """
    velocity = C_KMS * np.log1p(np.array([-1.0, 1.0]) * options.max_velocity / C_KMS)
    max_av = options.min_av if shape.multiplicative else options.max_av
    n_moment = options.moments - 2
    upper = [
        *(velocity[1], options.max_sigma**2),
        *([_MAX_MOMENT] * n_moment),
        max_av,
        *([_MAX_SHARE] * shape.multiplicative),
        *([np.inf] * (shape.additive + 1)),
    ]
    lower = -np.array(upper)
    lower[:2], lower[2 + n_moment] = (velocity[0], 0.0), options.min_av
    return np.stack([lower, upper])


def make_setup(
    grid: Grid, limits: Float[F64, "2 param"], contrast: Float[F64, "core wave"], n_moment: int
) -> Setup:
    """Bring what all rows see to the devices, once."""
    arrays = compute.replicate(list(grid))
    starts = _start_params(limits, n_moment)
    shapes = compute.map_rows(_start_shapes, [starts], arrays, chunk=_CHUNK)
    return Setup(arrays, compute.replicate([starts, shapes]), limits, compute.replicate(contrast))


def _start_params(limits: Float[F64, "2 param"], n_moment: int) -> Float[F64, "start param"]:
    """Return the parameters to start from, of different velocities."""
    n_velocity = 2 * int(np.ceil(limits[1, 0] / _SCAN_STEP)) + 1
    starts = np.zeros((n_velocity, limits.shape[1]))
    starts[:, 0] = np.linspace(limits[0, 0], limits[1, 0], n_velocity)
    starts[:, 1], starts[:, n_moment] = _START_SIGMA**2, _START_AV
    return np.asarray(np.clip(starts, *limits))


def _start_shapes(params: Any, *arrays: Any) -> Any:
    grid = Grid(*arrays)
    wide = params.at[1].set(_SCAN_SIGMA**2)
    transform = losvd_at(grid, wide).transform[: grid.coarse_filter.size]
    broadened = grid.components * transform.astype(grid.components.dtype)
    values = jax.numpy.fft.irfft(broadened, grid.coarse_dust.size)
    return values * transmission(grid, grid.coarse, params).astype(values.dtype)


def begin(
    spectra: Spectra,
    usable: Bool[B8, " wave"],
    setup: Setup,
    n_template: int,
    kinematics: Kinematics | None,
) -> Rows:
    """Return rows in units of their own median flux, not fitted yet."""
    used = ~spectra.mask & usable
    level = median_where(np.abs(spectra.flux), used)
    scale = np.where(level > 0, level, 1.0)
    n_row, n_param = spectra.n_spectrum, setup.limits.shape[1]
    lower, upper = setup.limits
    return Rows(
        flux=spectra.flux / scale[:, None],
        weight=scale[:, None] / spectra.error,
        used=used,
        scale=scale,
        bounds=np.stack(held_bounds(lower, upper, n_row, kinematics), axis=1),
        params=np.full((n_row, n_param), np.nan),
        light=np.zeros((n_row, n_template)),
        model=np.full(spectra.flux.shape, np.nan),
        covariance=np.full((n_row, n_param, n_param), np.nan),
        converged=np.zeros(n_row, bool),
        core_err=np.full((n_row, len(setup.contrast)), np.nan),
    )


def fit_rows(
    rows: Rows,
    setup: Setup,
    mask: Bool[B8, "spectrum wave"],
    clip: float,
    progress: compute.Progress | None,
) -> None:
    """Fit the rows that have enough pixels, in place."""
    fitted = rows.fitted
    if progress and fitted.size < len(rows.used):
        progress(len(rows.used) - fitted.size)
    if fitted.size == 0:
        return
    rows.params[fitted], rows.light[fitted] = _map(rows, fitted, start_row, setup, setup.starts)
    follow_rows(rows, fitted, setup)
    for _ in range(_CLIP_ROUNDS if clip > 0 else 0):
        changed = _clip(rows, fitted, mask, clip)
        follow_rows(rows, changed, setup)
    _measure_errors(rows, fitted, setup, progress)


def follow_rows(rows: Rows, index: Index, setup: Setup) -> None:
    """Fit these rows from where they stand, in place; those that are done leave in between."""
    active = index
    for limit in _PHASES:
        if active.size == 0:
            return
        end = _map(rows, active, fit_row, setup, [np.asarray(limit)], stands=True)
        rows.params[active], rows.light[active] = end.params, end.light
        rows.converged[active], rows.model[active] = end.converged, end.model
        active = active[~end.done]


def _map(
    rows: Rows,
    index: Index,
    kernel: Any,
    setup: Setup,
    shared: list[Any],
    *,
    stands: bool = False,
) -> Any:
    """Run a kernel on these rows: their data, and where they stand."""
    used = rows.used[index]
    data = [rows.flux[index] * used, rows.weight[index] * used, rows.bounds[index]]
    if stands:
        data += [rows.params[index], rows.light[index]]
    return compute.map_rows(kernel, data, [*shared, *setup.grid], chunk=_CHUNK)


def _measure_errors(
    rows: Rows, index: Index, setup: Setup, progress: compute.Progress | None
) -> None:
    """Find the covariance of the parameters and the errors in the cores of lines, in place.

    Few rows have light in many templates; those that have it in as few are taken together.
    """
    n_template = rows.light.shape[1]
    n_lit = (rows.light[index] > 0).sum(axis=1)
    sizes = np.array(sorted({min(few, n_template) for few in (*_FEW_LIT, n_template)}))
    kind = np.searchsorted(sizes, n_lit)
    for number, n_slot in enumerate(sizes):
        some = index[kind == number]
        if some.size:
            data = [
                (rows.weight * rows.used)[some],
                *(rows.bounds[some], rows.params[some], rows.light[some]),
            ]
            shared = [np.arange(n_slot), setup.contrast, *setup.grid]
            rows.covariance[some], rows.core_err[some] = compute.map_rows(
                error_row, data, shared, chunk=_CHUNK, progress=progress
            )


def _clip(rows: Rows, index: Index, mask: Bool[B8, "spectrum wave"], limit: float) -> Index:
    """Choose anew which pixels are used; return the rows for which that changes anything."""
    good = ~mask[index]
    used = good & ~outside_clip(rows.residuals()[index], good, limit)
    changed = np.any(used != rows.used[index], axis=1) & (used.sum(axis=1) >= MIN_PIXELS)
    rows.used[index[changed]] = used[changed]
    return np.asarray(index[changed])
