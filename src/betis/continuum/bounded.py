"""Least squares within bounds, of a size fixed at compilation: an active set for one row."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_RIDGE = 1e-10
"""Added to the unit diagonal: templates that are nearly alike share the light in one way only."""
_TOLERANCE = 1e-9
_MANY = 25
"""Steps in which several variables may be freed at once; then one by one, which cannot cycle."""
_MAX_STEP = 40


class _State(NamedTuple):
    values: Float[Array, " n"]
    free: Bool[Array, " n"]
    n_step: Array
    done: Array


def solve_bounded(
    hessian: Float[Array, "n n"],
    linear: Float[Array, " n"],
    lower: Float[Array, " n"],
    upper: Float[Array, " n"],
    start: Float[Array, " n"],
    n_free: int,
) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
    """Return the minimum of ``z H z / 2 - linear z`` for ``lower <= z <= upper``.

    Parameters
    ----------
    hessian : [n, n]
        Symmetric, positive semidefinite; a row of zeros leaves its variable where it starts.
    linear, lower, upper, start : [n]
        The start is put inside the bounds; the nearer it is, the fewer the steps.
    n_free
        The most variables that are off their bounds at once.

    Returns
    -------
    The minimum, and whether the conditions of Karush, Kuhn and Tucker hold there.

    References
    ----------
    Stark & Parker 1995, Computational Statistics 10 129 (bounded variables), after Lawson &
    Hanson 1974, Solving Least Squares Problems, chapter 23; several variables are freed at once.
    """
    diagonal = jnp.diagonal(hessian)
    scale = jnp.where(diagonal > 0, jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 1.0)
    unit = hessian / (scale[:, None] * scale) + _RIDGE * jnp.eye(scale.size)
    low, high, target = lower * scale, upper * scale, linear / scale
    first = jnp.clip(start * scale, low, high)
    tolerance = _TOLERANCE * jnp.maximum(jnp.max(jnp.abs(target)), 1e-30)

    def advance(state: _State) -> _State:
        return _advance(state, unit, target, (low, high), (tolerance, n_free))

    inside = (first > low) & (first < high)
    begin = _State(first, inside, jnp.asarray(0), jnp.asarray(False))
    end = jax.lax.while_loop(lambda s: ~s.done & (s.n_step < _MAX_STEP), advance, begin)
    return end.values / scale, end.done


def _advance(
    state: _State,
    hessian: Float[Array, "n n"],
    target: Float[Array, " n"],
    bounds: tuple[Float[Array, " n"], Float[Array, " n"]],
    limits: tuple[Array, int],
) -> _State:
    """Go to the minimum over the free variables, or as far as the first bound on the way."""
    low, high = bounds
    wanted, free = _solve_free(hessian, target, state.values, state.free, limits[1])
    outside = free & ((wanted < low) | (wanted > high))
    share = _share_of_way(state.values, wanted, bounds, outside)
    reach = jnp.min(share)
    moved = jnp.clip(state.values + reach * (wanted - state.values), low, high)
    hit = outside & (share <= reach)
    values = jnp.where(hit, jnp.where(wanted < low, low, high), moved)
    pull = target - hessian @ values
    excess = jnp.where(
        free & ~hit,
        0.0,
        jnp.where(values <= low, pull, jnp.where(values >= high, -pull, jnp.abs(pull))),
    )
    # A variable whose bounds coincide has nowhere to go.
    excess = jnp.where(high > low, excess, 0.0)
    is_minimum = ~jnp.any(outside)
    most = jnp.max(excess)
    fraction = jnp.where(state.n_step < _MANY, 0.5, 1.0)
    released = is_minimum & (excess >= fraction * most) & (excess > limits[0])
    done = is_minimum & (most <= limits[0])
    return _State(values, (free & ~hit) | released, state.n_step + 1, done)


def _share_of_way(
    values: Float[Array, " n"],
    wanted: Float[Array, " n"],
    bounds: tuple[Float[Array, " n"], Float[Array, " n"]],
    outside: Bool[Array, " n"],
) -> Float[Array, " n"]:
    """Return how much of the way each variable can go before its bound; 1 for those inside."""
    bound = jnp.where(wanted < bounds[0], bounds[0], bounds[1])
    way = jnp.where(outside, wanted - values, 1.0)
    return jnp.where(outside, jnp.clip((bound - values) / way, 0.0, 1.0), 1.0)


def _solve_free(
    hessian: Float[Array, "n n"],
    target: Float[Array, " n"],
    values: Float[Array, " n"],
    free: Bool[Array, " n"],
    n_free: int,
) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Minimise over at most ``n_free`` free variables; the others stay as they are."""
    index = jax.lax.top_k(free.astype(values.dtype), n_free)[1]
    used = free[index]
    solved = jnp.zeros_like(free).at[index].set(used)
    right = (target - hessian @ jnp.where(solved, 0.0, values))[index] * used
    block = hessian[index[:, None], index] * (used[:, None] & used)
    factor = jnp.linalg.cholesky(block + jnp.diag(1.0 - used))
    answer = jax.scipy.linalg.cho_solve((factor, True), right)
    return values.at[index].set(jnp.where(used, answer, values[index])), solved
