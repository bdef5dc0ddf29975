"""From the solution of a class of groups to quantities, their errors and flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from betis import compute
from betis.arrays import B8, F64, I32, Index
from betis.flags import Flag
from betis.lines.groups import GroupClass
from betis.lines.model import Problem, columns, line_terms, model_of
from betis.lines.shape import W80_PER_SIGMA, Shape, see_shapes
from betis.lines.solver import Solution
from betis.wavelength import C_KMS

__all__ = [
    "LineValues",
    "growth_of",
    "intrinsic",
    "inverse",
    "known_flux",
    "measure",
    "member_of",
    "n_free",
    "normal_matrices",
    "tied",
    "tied_covariance",
]


_CORE = 2.0
_MOST_CHI2 = 3.0
_SHAPE_SNR = 5.0
"""S/N below which the data alone say nothing of a line's place and width."""
_MAD = 1.482602218505602
"""Dispersion of a normal distribution over its median absolute value."""
_RIDGE = 1e-12
_CHUNK = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class LineValues:
    """What a class of groups gives: ``[row, line]``, and ``[row]`` for the whole group.

    Fluxes are in the unit of the spectra; ``background`` is value and slope per Angstrom,
    ``cov_background`` ``[row, 2, 2]`` its covariance, ``cov_flux`` ``[row, line, 2]`` that of each
    flux with it and ``cov_lines`` ``[row, line, line]`` that of the fluxes.
    """

    flux: Float[F64, "row line"]
    flux_err: Float[F64, "row line"]
    velocity: Float[F64, "row line"]
    velocity_err: Float[F64, "row line"]
    sigma: Float[F64, "row line"]
    sigma_err: Float[F64, "row line"]
    sigma_obs: Float[F64, "row line"]
    wave_obs: Float[F64, "row line"]
    flux_direct: Float[F64, "row line"]
    flux_direct_err: Float[F64, "row line"]
    velocity_direct: Float[F64, "row line"]
    velocity_direct_err: Float[F64, "row line"]
    sigma_direct: Float[F64, "row line"]
    sigma_direct_err: Float[F64, "row line"]
    w80: Float[F64, "row line"]
    w80_err: Float[F64, "row line"]
    flags: Int[I32, "row line"]
    background: Float[F64, "row 2"]
    cov_background: Float[F64, "row 2 2"]
    cov_flux: Float[F64, "row line 2"]
    cov_lines: Float[F64, "row line line"]
    chi2: Float[F64, " row"]
    dof: Float[F64, " row"]
    bic: Float[F64, " row"]
    scatter: Float[F64, " row"]
    n_iter: Int[I32, " row"]


def n_free(rows: Problem) -> Int[Index, " row"]:
    """Return how many parameters of each row are free: padding and absent lines are not."""
    flux = known_flux(rows)
    line = np.einsum("rlf,rf->rl", np.abs(rows.ratio), flux.astype(float)) > 0
    kin = np.einsum("rlk,rl->rk", rows.kinematics, line.astype(float)) > 0
    return np.asarray(flux.sum(axis=1) + 2 * kin.sum(axis=1) + 2)


def known_flux(rows: Problem) -> Bool[B8, "row flux"]:
    """Tell the fluxes that have data."""
    n_flux = rows.ratio.shape[2]
    return np.asarray(rows.upper[:, :n_flux] > rows.lower[:, :n_flux])


def normal_matrices(
    rows: Problem, params: Float[F64, "row param"]
) -> Float[F64, "row param param"]:
    """Return the normal matrix of every row."""
    return np.asarray(compute.map_rows(_see_row, [params, *rows], chunk=_CHUNK).normal)


def measure(
    kind: GroupClass,
    rows: Problem,
    scale: Float[F64, " row"],
    solution: Solution,
    known: Float[F64, "row param param"] | None = None,
    *,
    rescale: bool = False,
) -> LineValues:
    """Return the quantities of every row of a class.

    Errors are those of the full normal matrix at the solution, so that the flux error counts its
    covariance with the width. A parameter on its bound keeps the error it would have without.

    Parameters
    ----------
    known
        What other groups know of the parameters: added to the normal matrix.
    rescale
        Multiply all errors of a row by the root of its reduced chi², be it above 1 or below: they
        are then those of the scatter of the residual, whatever the data's errors are said to be.
    """
    good = (rows.weight > 0).sum(axis=1)
    free = n_free(rows)
    dof = np.maximum(good - free, 0).astype(float)
    failed = ~np.isfinite(solution.chi2)
    chi2 = np.where(failed, np.nan, solution.chi2)
    params = np.where(failed[:, None], np.nan, solution.params)
    seen = compute.map_rows(_see_row, [params, *rows], chunk=_CHUNK)
    normal = seen.normal if known is None else seen.normal + known
    stated = inverse(normal, rows.upper > rows.lower)
    growth = growth_of(rows, solution) if rescale else np.ones(len(chi2))
    covariance = stated * growth[:, None, None] ** 2
    values = _of_lines(kind, rows, scale, params, covariance)
    shapes = see_shapes(rows, params, stated).with_larger_errors(growth)
    values |= _of_data(kind, shapes, scale, values)
    flags = _flags(rows, solution, values, (seen.good, seen.core))
    flags |= _row_flags(solution, good, dof)[:, None]
    lost = failed[:, None] | (flags & Flag.NO_DATA > 0)
    flags = np.where(flags & Flag.NO_DATA > 0, Flag.NO_DATA, flags)
    return LineValues(
        **{name: np.where(lost, np.nan, value) for name, value in values.items()},
        **_of_background(kind, rows, scale, params, covariance),
        flags=flags.astype(np.int32),
        chi2=chi2,
        dof=dof,
        bic=chi2 + free * np.log(np.maximum(good, 1)),
        scatter=_scatter(seen.residual, good, dof),
        n_iter=solution.n_iter,
    )


def growth_of(rows: Problem, solution: Solution) -> Float[F64, " row"]:
    """Return the root of the reduced chi² of each row; NaN where it was not fitted."""
    dof = (rows.weight > 0).sum(axis=1) - n_free(rows)
    fitted = np.isfinite(solution.chi2) & (dof > 0)
    chi2 = np.where(fitted, solution.chi2, np.nan)
    return np.asarray(np.sqrt(chi2 / np.where(fitted, dof, 1)))


def _row_flags(solution: Solution, good: Index, dof: F64) -> I32:
    """Return the flags that all lines of a row have."""
    failed = ~np.isfinite(solution.chi2)
    bad = ~failed & (solution.chi2 > _MOST_CHI2 * dof)
    flags = np.where((good > 0) & (dof < 1), Flag.FEW_PIXELS, 0)
    flags |= np.where((dof >= 1) & failed, Flag.FIT_FAILED, 0)
    flags |= np.where(bad, Flag.BAD_CHI2, 0)
    return np.asarray(flags | np.where(~(failed | solution.converged), Flag.NOT_CONVERGED, 0))


def _scatter(residual: Float[F64, "row pixel"], good: Index, dof: F64) -> Float[F64, " row"]:
    """Return the robust scatter of residuals in units of their errors; NaN where there are none.

    Parameters are taken to have made the residuals smaller as they do their sum of squares.
    """
    size = np.sort(np.where(np.isnan(residual), np.inf, np.abs(residual)), axis=1)
    last = residual.shape[1] - 1
    low, high = ((good - 1) // 2).clip(0, last), (good // 2).clip(0, last)
    middle = 0.5 * sum(np.take_along_axis(size, at[:, None], 1)[:, 0] for at in (low, high))
    fitted = (dof > 0) & np.isfinite(middle)
    return np.where(
        fitted, _MAD * np.where(fitted, middle, 0.0) * np.sqrt(good / np.maximum(dof, 1)), np.nan
    )


def inverse(normal: Float[F64, "row param param"], free: Bool[B8, "row param"]) -> F64:
    """Invert normal matrices scaled to a unit diagonal; 0 for parameters that are not free."""
    diagonal = np.einsum("rpp->rp", normal)
    used = free & (diagonal > 0) & np.isfinite(diagonal)
    scale = np.where(used, 1 / np.sqrt(np.where(used, diagonal, 1.0)), 0.0)
    scaled = normal * scale[:, :, None] * scale[:, None]
    index = np.arange(normal.shape[1])
    scaled[:, index, index] = 1 + _RIDGE
    return np.asarray(np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None])


class Seen(NamedTuple):
    """What is read off the data at the solution of one row.

    ``core`` and ``good`` count the pixels of each line that touch +-2 sigma, and the good ones
    among them; ``normal`` is the normal matrix; ``residual`` is in units of the errors, NaN at bad
    pixels.
    """

    good: Float[Array, " line"]
    core: Float[Array, " line"]
    normal: Float[Array, "param param"]
    residual: Float[Array, " pixel"]


def _see_row(params: Float[Array, " param"], *row: Any) -> Seen:
    problem = Problem(*row)
    terms = line_terms(params, problem)
    residual = (problem.flux - model_of(params, problem, terms)) * problem.weight
    weighted = columns(params, problem, terms) * problem.weight
    good = problem.weight > 0
    seen, core = [], []
    for i, term in enumerate(terms):
        velocity = problem.edges * (C_KMS / problem.line_wave[i]) - C_KMS
        reach = _CORE * term.sigma
        near = (velocity[1:] > term.velocity - reach) & (velocity[:-1] < term.velocity + reach)
        seen.append(jnp.sum(near & good))
        core.append(jnp.sum(near))
    return Seen(
        jnp.stack(seen),
        jnp.stack(core),
        weighted @ weighted.T,
        jnp.where(good, residual, jnp.nan),
    )


def member_of(values: Float[F64, "row kin"], rows: Problem) -> Float[F64, "row line"]:
    """Return for each line what its kinematic set has."""
    return np.take_along_axis(values, rows.kinematics.argmax(axis=2), 1)


def _per_row(kind: GroupClass, values: F64 | B8, n_row: int) -> Any:
    """Return what the groups have, ``[group, ...]``, for every row of a class."""
    return np.repeat(values, n_row // kind.group.size, axis=0)


def _of_lines(
    kind: GroupClass, rows: Problem, scale: F64, params: F64, covariance: F64
) -> dict[str, F64]:
    """Return flux, velocity, dispersion and their errors for each line."""
    n_row, n_flux, n_kin = len(scale), kind.n_flux, kind.n_kin
    places = slice(n_flux, n_flux + n_kin), slice(n_flux + n_kin, -2)
    velocity, width = (member_of(params[:, at], rows) for at in places)
    variance = np.einsum("rpp->rp", covariance)
    velocity_var, width_var = (member_of(variance[:, at], rows) for at in places)
    reference = member_of(_per_row(kind, kind.reference, n_row), rows)
    stretch = 1 + velocity / C_KMS
    sigma, sigma_err = intrinsic(width, np.sqrt(width_var), reference)
    flux_var = tied_covariance(rows.ratio, covariance[:, :n_flux, :n_flux])
    real = _per_row(kind, kind.line >= 0, n_row)
    return {
        "flux": tied(rows.ratio, params[:, :n_flux]) * scale[:, None],
        "flux_err": np.sqrt(np.einsum("rll->rl", flux_var)) * scale[:, None],
        "velocity": velocity,
        "velocity_err": np.where(velocity_var > 0, np.sqrt(velocity_var), np.nan),
        "sigma": sigma / stretch,
        "sigma_err": np.where(width_var > 0, sigma_err / stretch, np.nan),
        "sigma_obs": np.where(real, np.sqrt(width**2 + rows.excess), np.nan)
        * rows.line_wave
        / C_KMS,
        "wave_obs": rows.line_wave * stretch,
    }


def _of_data(kind: GroupClass, seen: Shape, scale: F64, values: dict[str, F64]) -> dict[str, F64]:
    """Return what the data say of each line, the line-spread function removed."""
    lsf = _per_row(kind, kind.lsf, len(scale))
    stretch = 1 + values["velocity"] / C_KMS
    sigma, sigma_err = intrinsic(seen.width, seen.width_err, lsf)
    w80, w80_err = intrinsic(seen.w80, seen.w80_err, W80_PER_SIGMA * lsf)
    with np.errstate(invalid="ignore", divide="ignore"):
        is_seen = np.abs(values["flux"] / values["flux_err"]) >= _SHAPE_SNR
    shape = {
        "velocity_direct": seen.velocity,
        "velocity_direct_err": seen.velocity_err,
        "sigma_direct": sigma / stretch,
        "sigma_direct_err": sigma_err / stretch,
        "w80": w80 / stretch,
        "w80_err": w80_err / stretch,
    }
    return {
        "flux_direct": seen.flux * scale[:, None],
        "flux_direct_err": seen.flux_err * scale[:, None],
        **{name: np.where(is_seen, value, np.nan) for name, value in shape.items()},
    }


def _of_background(
    kind: GroupClass, rows: Problem, scale: F64, params: F64, covariance: F64
) -> dict[str, F64]:
    """Return the local background and the covariances of it and of the fluxes."""
    half = _per_row(kind, kind.half, len(scale))
    unit = scale[:, None] * np.stack([np.ones_like(half), 1 / half], axis=1)
    with_flux = np.einsum("rlf,rfb->rlb", rows.ratio, covariance[:, : kind.n_flux, -2:])
    of_flux = tied_covariance(rows.ratio, covariance[:, : kind.n_flux, : kind.n_flux])
    return {
        "background": params[:, -2:] * unit,
        "cov_background": covariance[:, -2:, -2:] * unit[:, :, None] * unit[:, None],
        "cov_flux": with_flux * (unit * scale[:, None])[:, None],
        "cov_lines": of_flux * (scale**2)[:, None, None],
    }


def tied(ratio: Float[F64, "row line flux"], flux: Float[F64, "row flux"]) -> F64:
    """Return the flux of each line from the free fluxes."""
    return np.asarray(np.einsum("rlf,rf->rl", ratio, flux))


def tied_covariance(
    ratio: Float[F64, "row line flux"], covariance: Float[F64, "row flux flux"]
) -> Float[F64, "row line line"]:
    """Return the covariance of the lines' fluxes from that of the free fluxes."""
    return np.asarray(ratio @ covariance @ ratio.swapaxes(1, 2))


def intrinsic(width: F64, width_err: F64, lsf: F64) -> tuple[F64, F64]:
    """Return the dispersion without the line-spread function, and its error; any unit.

    0 where the line is not broader. The error is propagated linearly, ``width width_err / sigma``,
    but stays finite where the line is hardly broader: it is never more than
    ``sqrt(width width_err)``, the dispersion whose square is the error of ``width²`` over 2.
    """
    sigma = np.sqrt(np.maximum(width**2 - lsf**2, 0.0))
    spread = width * width_err
    return sigma, spread / np.maximum(sigma, np.sqrt(np.maximum(spread, 1e-300)))


def _flags(
    rows: Problem, solution: Solution, values: dict[str, F64], pixels: tuple[F64, F64]
) -> I32:
    """Return the flags that each line has by itself."""
    seen, core = pixels
    n_flux, n_kin = rows.ratio.shape[2], rows.kinematics.shape[2]
    bound = (solution.params <= rows.lower) | (solution.params >= rows.upper)
    velocity, width = bound[:, n_flux : n_flux + n_kin], bound[:, n_flux + n_kin : -2]
    known = known_flux(rows)
    at_bound = np.einsum("rlk,rk->rl", rows.kinematics, (velocity | width).astype(float)) > 0
    at_bound |= tied(np.abs(rows.ratio), (bound[:, :n_flux] & known).astype(float)) > 0
    flags = np.where(at_bound, Flag.AT_BOUND, 0)
    data = tied(np.abs(rows.ratio), known.astype(float))
    fitted = np.isfinite(solution.chi2)[:, None]
    flags |= np.where((data == 0) | (fitted & (seen == 0)), Flag.NO_DATA, 0)
    flags |= np.where(fitted & (2 * seen < core), Flag.FEW_PIXELS, 0)
    flags |= np.where(values["sigma"] == 0, Flag.UNRESOLVED, 0)
    return flags
