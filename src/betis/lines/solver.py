"""Damped Newton steps within bounds, for one fit group of one row.

Written in scalars, the Cholesky factorisation unrolled: under ``vmap`` over a last row axis each
operation is one vector operation over rows, and no small matrix goes through LAPACK.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from betis import compute
from betis.arrays import B8, F64
from betis.lines.model import LineTerms, Problem, columns, line_terms, model_of, split_params, total

__all__ = ["STEPS", "Solution", "lm_step", "quadratic", "solve"]

STEPS = (7, 3, 3, 4, 8, 60)
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

    ``gradient`` is minus half the gradient of chi², ``hessian`` the lower triangle, row by row, of
    half its second derivatives, ``scale`` the diagonal of the normal matrix; all at ``params``.

    Outside the kernels the same fields hold numpy arrays of all rows, the row axis first.
    """

    params: Float[Some, " param"]
    chi2: Some
    gradient: Float[Some, " param"]
    hessian: Float[Some, " element"]
    scale: Float[Some, " param"]
    damping: Some
    n_iter: Int[Some, ""]
    converged: Bool[Some, ""]
    done: Bool[Some, ""]


class Quadratic(NamedTuple):
    """Chi² and its derivatives at one place; the fields are those of `Solution`."""

    chi2: Scalar
    gradient: Float[Array, " param"]
    hessian: Float[Array, " element"]
    scale: Float[Array, " param"]


def quadratic(params: Float[Array, " param"], problem: Problem) -> Quadratic:
    """Return chi² and its exact first and second derivatives.

    All sums over pixels are two matrix products: XLA sums a product of two columns at a time six
    times more slowly.
    """
    terms = line_terms(params, problem)
    residual = (problem.flux - model_of(params, problem, terms)) * problem.weight
    weighted = jnp.stack(columns(params, problem, terms)) * problem.weight
    n_param = weighted.shape[0]
    stacked = jnp.concatenate([weighted, residual[None]])
    gram = stacked @ stacked.T
    bends = _bends(params, problem, terms, residual * problem.weight)
    pairs = [(a, b) for a in range(n_param) for b in range(a + 1)]
    return Quadratic(
        chi2=gram[n_param, n_param],
        gradient=gram[n_param, :n_param],
        hessian=jnp.stack([gram[pair] - bends.get(pair, 0.0) for pair in pairs]),
        scale=jnp.stack([gram[a, a] for a in range(n_param)]),
    )


def _bends(
    params: Float[Array, " param"],
    problem: Problem,
    terms: list[LineTerms],
    pull: Float[Array, " pixel"],
) -> dict[tuple[int, int], Any]:
    """Return the sum over pixels of ``pull`` times the model's second derivatives.

    Where a line is weak the noise is as large as the model, and these terms, which Gauss-Newton
    leaves out, make the difference between some 30 steps and 6.
    """
    n_line, n_flux = problem.ratio.shape
    n_kin = problem.kinematics.shape[1]
    width = split_params(params, problem)[2]
    by_line = _line_bends(terms, pull)
    member = problem.kinematics
    found: dict[tuple[int, int], Any] = {}
    for k in range(n_kin):
        v, t = n_flux + k, n_flux + n_kin + k
        lines = [(i, member[i, k], width[k] / terms[i].sigma) for i in range(n_line)]
        for f in range(n_flux):
            share = [problem.ratio[i, f] * weight for i, weight, _ in lines]
            found[v, f] = total(share[i] * by_line[i, 0] for i, _, _ in lines)
            found[t, f] = total(share[i] * turn * by_line[i, 1] for i, _, turn in lines)
        found[v, v] = total(
            weight * terms[i].flux * by_line[i, 1] / terms[i].sigma for i, weight, _ in lines
        )
        found[t, v] = total(
            weight * terms[i].flux * turn * by_line[i, 2] for i, weight, turn in lines
        )
        found[t, t] = total(
            weight
            * terms[i].flux
            * (turn**2 * by_line[i, 3] + (1 - turn**2) / terms[i].sigma * by_line[i, 1])
            for i, weight, turn in lines
        )
    return found


def _line_bends(terms: list[LineTerms], pull: Float[Array, " pixel"]) -> Float[Array, "line 4"]:
    """Return the sum of ``pull`` times each line's derivatives: v, sigma, v and sigma, sigma²."""
    slopes = jnp.stack([value for term in terms for value in term.profile[1:]])
    return (slopes @ pull).reshape(len(terms), 4)


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
    scale = [
        jnp.where(free[a], jax.lax.rsqrt(jnp.where(free[a], now.scale[a], 1.0)), 0.0)
        for a in range(n_param)
    ]
    factor, inverse = _factorise(now.hessian, scale, free, damping)
    z: list[Any] = []
    for a in range(n_param):
        value = now.gradient[a] * scale[a]
        for k in range(a):
            value = value - factor[a, k] * z[k]
        z.append(value * inverse[a])
    for a in reversed(range(n_param)):
        value = z[a]
        for k in range(a + 1, n_param):
            value = value - factor[k, a] * z[k]
        z[a] = value * inverse[a]
    return jnp.stack([z[a] * scale[a] for a in range(n_param)])


def _factorise(
    hessian: Float[Array, " element"],
    scale: list[Any],
    free: Bool[Array, " param"],
    damping: Scalar,
) -> tuple[dict[tuple[int, int], Any], list[Any]]:
    """Return the Cholesky factor of the scaled, damped matrix, and its inverse diagonal."""
    factor: dict[tuple[int, int], Any] = {}
    inverse: list[Any] = []
    for a in range(len(scale)):
        for b in range(a):
            value = hessian[element(a, b)] * scale[a] * scale[b]
            for k in range(b):
                value = value - factor[a, k] * factor[b, k]
            factor[a, b] = value * inverse[b]
        pivot = jnp.where(free[a], hessian[element(a, a)] * scale[a] ** 2 + damping, 1.0)
        for k in range(a):
            pivot = pivot - factor[a, k] * factor[a, k]
        inverse.append(jax.lax.rsqrt(jnp.maximum(jnp.abs(pivot), _SMALLEST_PIVOT)))
    return factor, inverse


def element(a: int, b: int) -> int:
    """Return the place of row ``a``, column ``b <= a`` in a lower triangle."""
    return a * (a + 1) // 2 + b


def lm_step(state: tuple[Any, ...], *row: Any) -> tuple[Any, ...]:
    """Return the state of one row after one more step; a row that is done stays as it is.

    A parameter on a bound whose gradient points outward is held there, as is one that changes
    nothing (the velocity of a line of no flux). A step is accepted where chi² decreases. The row
    is done where an accepted step decreased chi² by less than 1e-6, or where the model of chi²
    promises less than that; or, unconverged, where no step helps.

    Parameters
    ----------
    state
        The fields of `Solution`.
    row
        The fields of `Problem`.
    """
    now, problem = Solution(*state), Problem(*row)
    outward = ((now.params <= problem.lower) & (now.gradient <= 0)) | (
        (now.params >= problem.upper) & (now.gradient >= 0)
    )
    step = solve_damped(now, now.damping, ~outward & (now.scale > 0))
    share = _longest_share(step, now.params, problem)
    trial = jnp.clip(now.params + share * step, problem.lower, problem.upper)
    there = quadratic(trial, problem)
    slope = jnp.sum(step * now.gradient)
    bend = slope - now.damping * jnp.sum(step * step * now.scale)
    gain = now.chi2 - there.chi2
    stop = _CHI2_STOP + _RELATIVE_STOP * now.chi2
    accepted = (gain > 0) & ~now.done
    flat = jnp.isfinite(now.chi2) & (slope * (1 + now.damping) < 0.1 * stop)
    converged = (accepted & (gain < stop)) | flat
    damping = _next_damping(now.damping, gain, share * (2 * slope - share * bend))
    stuck = ~accepted & (damping > _MOST_DAMPING)
    moved = Solution(trial, *there, damping, now.n_iter, now.converged, now.done)
    kept = now._replace(damping=jnp.where(now.done, now.damping, damping))
    new = Solution(*(jnp.where(accepted, a, b) for a, b in zip(moved, kept, strict=True)))
    return tuple(
        new._replace(
            n_iter=now.n_iter + (~now.done).astype(now.n_iter.dtype),
            converged=jnp.where(now.done, now.converged, converged),
            done=now.done | converged | stuck,
        )
    )


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


def _next_damping(damping: Scalar, gain: Scalar, promised: Scalar) -> Scalar:
    """Return less damping where chi² fell as promised, more where it did not."""
    good = gain > 0.5 * promised
    eased = jnp.maximum(damping * jnp.where(good, _EASE, 1.0), _LEAST_DAMPING)
    tightened = jnp.maximum(damping * _TIGHTEN, _FIRST_DAMPING)
    return jnp.where(gain > 0, jnp.where(gain > 0.1 * promised, eased, damping * 3), tightened)


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
        hessian=np.zeros((n_row, n_param * (n_param + 1) // 2)),
        scale=np.zeros((n_row, n_param)),
        damping=np.full(n_row, _FIRST_DAMPING),
        n_iter=np.zeros(n_row, np.int32),
        converged=np.zeros(n_row, bool),
        done=skip.copy(),
    )
    final = compute.run_until_done(lm_step, start, rows, n_step=STEPS, chunk=CHUNK)
    return Solution(*final)
