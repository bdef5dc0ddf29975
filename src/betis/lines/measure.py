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
from betis.lines.solver import Solution
from betis.wavelength import C_KMS

__all__ = ["LineValues", "known_flux", "measure", "n_free", "normal_matrices"]


_CORE, _SUM = 2.0, 3.0
_MOST_CHI2 = 3.0
_RIDGE = 1e-12
_CHUNK = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class LineValues:
    """What a class of groups gives: ``[row, line]``, and ``[row]`` for the whole group.

    Fluxes are in the unit of the spectra; ``background`` is value and slope per Angstrom,
    ``cov_background`` ``[row, 2, 2]`` its covariance and ``cov_flux`` ``[row, line, 2]`` that of
    each flux with it.
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
    upper_limit: Float[F64, "row line"]
    flags: Int[I32, "row line"]
    background: Float[F64, "row 2"]
    cov_background: Float[F64, "row 2 2"]
    cov_flux: Float[F64, "row line 2"]
    chi2: Float[F64, " row"]
    dof: Float[F64, " row"]
    bic: Float[F64, " row"]
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
) -> LineValues:
    """Return the quantities of every row of a class.

    ``known`` is what other groups know of the parameters: added to the normal matrix.

    Errors are those of the full normal matrix at the solution, so that the flux error counts its
    covariance with the width. A parameter on its bound keeps the error it would have without.
    """
    n_spectrum = len(scale) // kind.group.size
    good = (rows.weight > 0).sum(axis=1)
    free = n_free(rows)
    dof = np.maximum(good - free, 0).astype(float)
    failed = ~np.isfinite(solution.chi2)
    params = np.where(failed[:, None], np.nan, solution.params)
    seen = compute.map_rows(_see_row, [params, *rows], chunk=_CHUNK)
    normal = seen.normal if known is None else seen.normal + known
    covariance, fixed = _covariances(kind, rows, normal)
    values = _of_lines(kind, rows, scale, params, (covariance, fixed))
    values["flux_direct"] = seen.direct * scale[:, None]
    flags = _flags(rows, solution, values, (seen.good, seen.core))
    few = (good > 0) & (dof < 1)
    flags |= np.where(few, Flag.FEW_PIXELS, 0)[:, None]
    flags |= np.where((dof >= 1) & failed, Flag.FIT_FAILED, 0)[:, None]
    flags |= (
        np.where(solution.chi2 > _MOST_CHI2 * dof, Flag.BAD_CHI2, 0)[:, None] * ~failed[:, None]
    )
    flags |= np.where(~(failed | solution.converged), Flag.NOT_CONVERGED, 0)[:, None]
    lost = failed[:, None] | (flags & Flag.NO_DATA > 0)
    for name, value in values.items():
        values[name] = np.where(lost, np.nan, value)
    flags = np.where(flags & Flag.NO_DATA > 0, Flag.NO_DATA, flags)
    half = np.repeat(kind.half, n_spectrum)
    chi2 = np.where(failed, np.nan, solution.chi2)
    unit = scale[:, None] * np.stack([np.ones_like(half), 1 / half], axis=1)
    return LineValues(
        **values,
        flags=flags.astype(np.int32),
        background=params[:, -2:] * unit,
        cov_background=covariance[:, -2:, -2:] * unit[:, :, None] * unit[:, None],
        cov_flux=np.einsum("rlf,rfb->rlb", rows.ratio, covariance[:, : kind.n_flux, -2:])
        * (unit * scale[:, None])[:, None],
        chi2=chi2,
        dof=dof,
        bic=chi2 + free * np.log(np.maximum(good, 1)),
        n_iter=solution.n_iter,
    )


def _covariances(kind: GroupClass, rows: Problem, normal: F64) -> tuple[F64, F64]:
    """Return the covariance of all parameters, and that of flux and background at fixed places."""
    free = rows.upper > rows.lower
    linear = np.r_[: kind.n_flux, kind.n_param - 2 : kind.n_param]
    fixed = np.ix_(np.arange(len(normal)), linear, linear)
    return _inverse(normal, free), _inverse(normal[fixed], free[:, linear])


def _inverse(normal: Float[F64, "row param param"], free: Bool[B8, "row param"]) -> F64:
    """Invert normal matrices scaled to a unit diagonal; NaN for parameters that are not free."""
    diagonal = np.einsum("rpp->rp", normal)
    used = free & (diagonal > 0) & np.isfinite(diagonal)
    scale = np.where(used, 1 / np.sqrt(np.where(used, diagonal, 1.0)), 0.0)
    scaled = normal * scale[:, :, None] * scale[:, None]
    index = np.arange(normal.shape[1])
    scaled[:, index, index] = 1 + _RIDGE
    return np.asarray(np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None])


class Seen(NamedTuple):
    """What is read off the data at the solution of one row.

    ``direct`` is the data minus the background and minus the other lines' model, times the pixel
    width, summed over the good pixels that touch +-3 sigma; ``core`` and ``good`` count the pixels
    that touch +-2 sigma, and the good ones among them; ``normal`` is the normal matrix.
    """

    direct: Float[Array, " line"]
    good: Float[Array, " line"]
    core: Float[Array, " line"]
    normal: Float[Array, "param param"]


def _see_row(params: Float[Array, " param"], *row: Any) -> Seen:
    problem = Problem(*row)
    terms = line_terms(params, problem)
    residual = problem.flux - model_of(params, problem, terms)
    weighted = jnp.stack(columns(params, problem, terms)) * problem.weight
    good = problem.weight > 0
    step = jnp.diff(problem.edges)
    direct, seen, core = [], [], []
    for i, term in enumerate(terms):
        velocity = problem.edges * (C_KMS / problem.line_wave[i]) - C_KMS
        own = (term.flux * term.profile.share + residual) * step
        wide = _touch(velocity, term.velocity, _SUM * term.sigma)
        near = _touch(velocity, term.velocity, _CORE * term.sigma)
        direct.append(jnp.sum(jnp.where(good & wide, own, 0.0)))
        seen.append(jnp.sum(near & good))
        core.append(jnp.sum(near))
    return Seen(jnp.stack(direct), jnp.stack(seen), jnp.stack(core), weighted @ weighted.T)


def _touch(
    edges: Float[Array, " edge"], center: Float[Array, ""], reach: Float[Array, ""]
) -> Bool[Array, " pixel"]:
    return (edges[1:] > center - reach) & (edges[:-1] < center + reach)


def _of_lines(
    kind: GroupClass, rows: Problem, scale: F64, params: F64, covariances: tuple[F64, F64]
) -> dict[str, F64]:
    """Return flux, velocity, dispersion and their errors for each line."""
    covariance, fixed = covariances
    n_spectrum, n_flux, n_kin = len(scale) // kind.group.size, kind.n_flux, kind.n_kin
    member = rows.kinematics.argmax(axis=2)
    places = slice(n_flux, n_flux + n_kin), slice(n_flux + n_kin, -2)
    velocity, width = (np.take_along_axis(params[:, at], member, 1) for at in places)
    variance = np.einsum("rpp->rp", covariance)
    velocity_var, width_var = (np.take_along_axis(variance[:, at], member, 1) for at in places)
    reference = np.take_along_axis(np.repeat(kind.reference, n_spectrum, axis=0), member, 1)
    stretch = 1 + velocity / C_KMS
    sigma, sigma_err = intrinsic(width, np.sqrt(width_var), reference)
    real = np.repeat(kind.line >= 0, n_spectrum, axis=0)
    return {
        "flux": _tied(rows.ratio, params[:, :n_flux]) * scale[:, None],
        "flux_err": _tied_err(rows.ratio, covariance[:, :n_flux, :n_flux]) * scale[:, None],
        "velocity": velocity,
        "velocity_err": np.where(velocity_var > 0, np.sqrt(velocity_var), np.nan),
        "sigma": sigma / stretch,
        "sigma_err": np.where(width_var > 0, sigma_err / stretch, np.nan),
        "sigma_obs": np.where(real, np.sqrt(width**2 + rows.excess), np.nan)
        * rows.line_wave
        / C_KMS,
        "wave_obs": rows.line_wave * stretch,
        "upper_limit": 3 * _tied_err(rows.ratio, fixed[:, :n_flux, :n_flux]) * scale[:, None],
    }


def _tied(ratio: Float[F64, "row line flux"], flux: Float[F64, "row flux"]) -> F64:
    return np.asarray(np.einsum("rlf,rf->rl", ratio, flux))


def _tied_err(ratio: Float[F64, "row line flux"], covariance: F64) -> F64:
    return np.asarray(np.sqrt(np.einsum("rlf,rfg,rlg->rl", ratio, covariance, ratio)))


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
    at_bound |= _tied(np.abs(rows.ratio), (bound[:, :n_flux] & known).astype(float)) > 0
    flags = np.where(at_bound, Flag.AT_BOUND, 0)
    data = _tied(np.abs(rows.ratio), known.astype(float))
    fitted = np.isfinite(solution.chi2)[:, None]
    flags |= np.where((data == 0) | (fitted & (seen == 0)), Flag.NO_DATA, 0)
    flags |= np.where(fitted & (2 * seen < core), Flag.FEW_PIXELS, 0)
    flags |= np.where(values["sigma"] == 0, Flag.UNRESOLVED, 0)
    return flags
