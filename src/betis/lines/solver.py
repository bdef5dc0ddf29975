"""Damped Newton steps within bounds, for one fit group of one row.

The lines of a group are the first axis of its arrays, so that the compiled program hardly grows
with their number; under ``vmap`` rows come before them, and no small matrix goes through LAPACK.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from betis import compute
from betis.arrays import B8, F64
from betis.lines.model import (
    LinePlaces,
    Problem,
    apart,
    line_places,
    line_profiles,
    mixture,
    split_params,
)

__all__ = ["STEPS", "Solution", "lm_step", "quadratic", "solve"]

STEPS = (5, 2, 2, 2, 3, 4, 8, 60)
"""Steps of each phase; rows that are done leave after each."""

CHUNK = 64
"""Rows a device takes at once: their normal equations fit its cache."""

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 0.05, 1e-6, 1e9
_EASE, _TIGHTEN = 0.1, 8.0
_MOST_SHIFT, _MOST_GROWTH = 1.0, 0.5
_CHI2_STOP, _RELATIVE_STOP = 1e-6, 1e-10
_SMALLEST_PIVOT = 1e-10

Scalar = Float[Array, ""]
Some = Any


class Solution(NamedTuple):
    """State of the iteration; its last element tells whether the row is done.

    ``gradient`` is minus half the gradient of chi², ``hessian`` half its second derivatives,
    ``scale`` the diagonal of the normal matrix; all at ``params``. ``step`` is the next one, and
    ``slope`` its product with the gradient.

    Outside the kernels the same fields hold numpy arrays of all rows, the row axis first.
    """

    params: Float[Some, " param"]
    chi2: Some
    gradient: Float[Some, " param"]
    hessian: Float[Some, "param param"]
    scale: Float[Some, " param"]
    step: Float[Some, " param"]
    slope: Some
    damping: Some
    n_iter: Int[Some, ""]
    converged: Bool[Some, ""]
    done: Bool[Some, ""]


class Quadratic(NamedTuple):
    """Chi² and its derivatives at one place; the fields are those of `Solution`."""

    chi2: Scalar
    gradient: Float[Array, " param"]
    hessian: Float[Array, "param param"]
    scale: Float[Array, " param"]


def quadratic(params: Float[Array, " param"], problem: Problem) -> Quadratic:
    """Return chi² and its exact first and second derivatives.

    All sums over pixels are one matrix product, of what the lines consist of; what a parameter
    does to each of these is a small matrix.
    """
    n_line = problem.ratio.shape[0]
    lines = line_places(params, problem)
    profile = line_profiles(lines, problem)
    share, by_center, by_sigma, *bent = profile
    ground = jnp.stack([jnp.ones_like(problem.position), problem.position])
    residual = problem.flux - lines.flux @ share - params[-2:] @ ground
    parts = jnp.concatenate([share, by_center, by_sigma, ground, residual[None], *bent])
    weighted = parts * problem.weight
    n_part = 3 * n_line + 2
    gram = weighted @ weighted[: n_part + 1].T
    mix = mixture(lines, problem)
    normal = mix @ gram[:n_part, :n_part] @ mix.T
    pull = jnp.concatenate([gram[n_line : n_part - 2, n_part], gram[n_part + 1 :, n_part]])
    return Quadratic(
        chi2=gram[n_part, n_part],
        gradient=mix @ gram[:n_part, n_part],
        hessian=normal - _bends(lines, problem, pull.reshape(4, n_line)),
        scale=jnp.diagonal(normal),
    )


def _bends(
    lines: LinePlaces, problem: Problem, pull: Float[Array, "4 line"]
) -> Float[Array, "param param"]:
    """Return the sum over pixels of the residual times the model's second derivatives.

    Where a line is weak the noise is as large as the model, and these terms, which Gauss-Newton
    leaves out, make the difference between some 30 steps and 6.

    ``pull`` is the residual's product with each line's derivatives: to the centre, the dispersion,
    both, and the dispersion twice.
    """
    n_flux, n_kin = problem.ratio.shape[1], problem.kinematics.shape[1]
    by_center, by_sigma, by_both, by_sigmas = pull
    member, turn = problem.kinematics, lines.turn
    heat = by_sigma / lines.sigma
    centre = member * by_center[:, None]
    spread = turn * by_sigma[:, None]
    same = jnp.eye(n_kin)
    twice = turn**2 * by_sigmas[:, None] + (member - turn**2) * heat[:, None]
    cross = same * (lines.flux @ (turn * by_both[:, None]))
    flux_kin = problem.ratio.T @ jnp.concatenate([centre, spread], axis=1)
    kin_kin = jnp.block(
        [
            [same * (lines.flux @ (member * heat[:, None])), cross],
            [cross, same * (lines.flux @ twice)],
        ]
    )
    known = jnp.block([[jnp.zeros((n_flux, n_flux)), flux_kin], [flux_kin.T, kin_kin]])
    return jnp.pad(known, (0, 2))


def solve_damped(
    now: Quadratic | Solution, damping: Scalar, free: Bool[Array, " param"]
) -> Float[Array, " param"]:
    """Return the damped Newton step; 0 for parameters that are not free.

    The matrix is scaled by the diagonal of the normal matrix, so that the damping does not depend
    on units. A negative pivot is turned round, so that the step always goes downhill.

    References
    ----------
    Marquardt 1963, SIAM J. Appl. Math. 11 431; negative pivots: Nocedal & Wright 2006, section 3.4.
    """
    n_param = now.gradient.shape[0]
    scale = jnp.where(free, lax.rsqrt(jnp.where(free, now.scale, 1.0)), 0.0)
    matrix = now.hessian * scale[:, None] * scale
    matrix = matrix + jnp.diag(jnp.where(free, damping, 1.0))
    rest = jnp.concatenate([matrix, (now.gradient * scale)[:, None]], axis=1)
    factor, inverse, value = [], [], []
    for _ in range(n_param):
        turned = lax.rsqrt(jnp.maximum(jnp.abs(rest[0, 0]), _SMALLEST_PIVOT))
        row = rest[0, 1:] * turned
        factor.append(row[:-1])
        inverse.append(turned)
        value.append(row[-1])
        rest = apart(rest[1:, 1:] - row[:-1, None] * row)
    step = jnp.zeros(0)
    for a in reversed(range(n_param)):
        own = (value[a] - factor[a] @ step) * inverse[a]
        step = jnp.concatenate([own[None], step])
    return step * scale


def lm_step(state: tuple[Any, ...], *row: Any) -> tuple[Any, ...]:
    """Return the state of one row after one more step; a row that is done stays as it is.

    A parameter on a bound whose gradient points outward is held there, as is one that changes
    nothing (the velocity of a line of no flux). A step is accepted where chi² decreases. The row
    is done where an accepted step decreased chi² by less than 1e-6, or where the model of chi²
    promises less than that of the next; or, unconverged, where no step helps.

    Parameters
    ----------
    state
        The fields of `Solution`.
    row
        The fields of `Problem`.
    """
    now, problem = Solution(*state), Problem(*row)
    share = _longest_share(now.step, now.params, problem)
    trial = jnp.clip(now.params + share * now.step, problem.lower, problem.upper)
    there = quadratic(trial, problem)
    gain = now.chi2 - there.chi2
    stop = _CHI2_STOP + _RELATIVE_STOP * there.chi2
    accepted = gain > 0
    damping = _next_damping(now, gain, share)
    stuck = ~accepted & (damping > _MOST_DAMPING)
    moved = now._replace(
        params=trial,
        chi2=there.chi2,
        gradient=there.gradient,
        hessian=there.hessian,
        scale=there.scale,
    )
    here = _chosen(accepted, moved, now)
    step, slope = _next_step(here, damping, problem)
    is_flat = jnp.isfinite(here.chi2) & (slope * (1 + damping) < 0.1 * stop)
    converged = (accepted & (gain < stop)) | is_flat
    new = here._replace(
        step=step,
        slope=slope,
        damping=damping,
        n_iter=now.n_iter + 1,
        converged=converged,
        done=converged | stuck,
    )
    return tuple(_chosen(now.done, now, new))


def _chosen(which: Bool[Array, ""], one: Solution, other: Solution) -> Solution:
    return Solution(*(jnp.where(which, a, b) for a, b in zip(one, other, strict=True)))


def _next_step(
    here: Solution, damping: Scalar, problem: Problem
) -> tuple[Float[Array, " param"], Scalar]:
    """Return the next step, and how steeply chi² falls along it."""
    outward = ((here.params <= problem.lower) & (here.gradient <= 0)) | (
        (here.params >= problem.upper) & (here.gradient >= 0)
    )
    step = solve_damped(here, damping, ~outward & (here.scale > 0))
    return step, jnp.sum(step * here.gradient)


def _longest_share(
    step: Float[Array, " param"], params: Float[Array, " param"], problem: Problem
) -> Scalar:
    """Return the share of the step that moves no line by more than its width at once.

    Farther away the quadratic model of chi² means nothing.
    """
    _, _, width, _ = split_params(params, problem)
    _, by_velocity, by_width, _ = split_params(step, problem)
    far = jnp.maximum(jnp.abs(by_velocity) / _MOST_SHIFT, jnp.abs(by_width) / _MOST_GROWTH)
    return 1 / jnp.maximum(1.0, jnp.max(far / width))


def _next_damping(now: Solution, gain: Scalar, share: Scalar) -> Scalar:
    """Return less damping where chi² fell as promised, more where it did not.

    None for the first step: without flux nothing but the fluxes and the background have a slope,
    and in these chi² is quadratic.
    """
    bend = now.slope - now.damping * jnp.sum(now.step * now.step * now.scale)
    promised = share * (2 * now.slope - share * bend)
    good = gain > 0.5 * promised
    eased = jnp.maximum(now.damping * jnp.where(good, _EASE, 1.0), _LEAST_DAMPING)
    tightened = jnp.maximum(now.damping * _TIGHTEN, _FIRST_DAMPING)
    fallen = jnp.where(gain > 0.1 * promised, eased, now.damping * 3)
    later = jnp.where(gain > 0, fallen, tightened)
    return jnp.where(now.n_iter == 0, 0.0, jnp.where(now.n_iter == 1, _FIRST_DAMPING, later))


def solve(params: Float[F64, "row param"], rows: Problem, skip: B8) -> Solution:
    """Fit every row.

    Parameters
    ----------
    params : [row, param]
        Starts; fluxes of 0 are solved for exactly in the first step.
    rows
        Problems with a leading row axis.
    skip : bool [row]
        Rows that cannot be fitted; their chi² stays infinite.

    Returns
    -------
    The last state of each row, as numpy arrays with a leading row axis.
    """
    n_row, n_param = params.shape
    start = Solution(
        params=np.clip(params, rows.lower, rows.upper),
        chi2=np.full(n_row, np.inf),
        gradient=np.zeros((n_row, n_param)),
        hessian=np.zeros((n_row, n_param, n_param)),
        scale=np.zeros((n_row, n_param)),
        step=np.zeros((n_row, n_param)),
        slope=np.zeros(n_row),
        damping=np.zeros(n_row),
        n_iter=np.zeros(n_row, np.int32),
        converged=np.zeros(n_row, bool),
        done=skip.copy(),
    )
    final = compute.run_until_done(lm_step, start, rows, n_step=STEPS, chunk=CHUNK)
    return Solution(*final)
