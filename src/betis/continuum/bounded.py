"""Least squares within bounds, of a size fixed at compilation: an active set for one row."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_LEAST_PIVOT = 1e-10
"""Of a unit diagonal: variables nearly alike share the light in one way only."""
_STEPS_PER_VARIABLE = 3
_LEAST_CURVATURE = 0.1
"""Along a step, over what was expected: with less, the next would go further than is known."""


class Table(NamedTuple):
    """A quadratic form, swept by its free variables.

    Attributes
    ----------
    swept : [n, n]
        Of the matrix with unit diagonal: minus the inverse of its free block; beside that the
        free block's inverse times the rest, and the Schur complement.
    scale : [n]
        Roots of the diagonal that the matrix had.
    free : [n]
        Variables off their bounds.
    """

    swept: Float[Array, "n n"]
    scale: Float[Array, " n"]
    free: Bool[Array, " n"]


class Solution(NamedTuple):
    """A minimum within bounds.

    Attributes
    ----------
    values : [n]
    gain
        How far ``z H z - 2 linear z`` has fallen from the start.
    solved
        Whether no variable can lower it any more.
    pull : [n]
        What is left of it there.
    table
        Swept by what is free there; another right-hand side begins with it.
    """

    values: Float[Array, " n"]
    gain: Float[Array, ""]
    solved: Bool[Array, ""]
    pull: Float[Array, " n"]
    table: Table


class _State(NamedTuple):
    values: Float[Array, " n"]
    pull: Float[Array, " n"]
    swept: Float[Array, "n n"]
    free: Bool[Array, " n"]
    barred: Bool[Array, " n"]
    gain: Float[Array, ""]
    n_step: Array
    done: Array


def swept_table(hessian: Float[Array, "n n"], free: Bool[Array, " n"]) -> Table:
    """Return a symmetric, positive semidefinite matrix, swept by some of its variables.

    Those that are combinations of others are left out. A row of zeros has a variable that stays
    where it is.
    """
    diagonal = jnp.diagonal(hessian)
    scale = jnp.where(diagonal > 0, jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 1.0)
    unit = hessian / (scale[:, None] * scale)

    def enter(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        swept, wanted, free = carry
        pivots = jnp.where(wanted, jnp.diagonal(swept), -1.0)
        chosen = _one_of(pivots)
        good = jnp.max(pivots) > _LEAST_PIVOT
        swept = _pivoted(swept, chosen, jnp.where(good, 1.0, 0.0))
        return swept, wanted & ~chosen & good, free | (chosen & good)

    swept, _, entered = jax.lax.while_loop(
        lambda carry: jnp.any(carry[1]), enter, (unit, free, jnp.zeros_like(free))
    )
    return Table(swept, scale, entered)


def inverse_product(
    table: Table, one: Float[Array, "row n"], other: Float[Array, "column n"]
) -> Float[Array, "row column"]:
    """Return ``one H^-1 other`` over the variables that a table has been swept by."""
    share = jnp.where(table.free, 1 / table.scale, 0.0)
    return -((one * share) @ table.swept @ (other * share).T)


def with_secant(
    table: Table,
    step: Float[Array, " n"],
    expected: Float[Array, " n"],
    found: Float[Array, " n"],
) -> Table:
    """Return the table of a matrix that takes a step to what was found in place of the expected.

    Parameters
    ----------
    table
        Of ``H``.
    step, expected, found : [n]
        A step, ``H step``, and by how much the pull fell along it. Where that has next to no
        curvature along the step the table stays.

    References
    ----------
    The formula of Broyden, Fletcher, Goldfarb and Shanno: Nocedal & Wright 2006, Numerical
    Optimization, eq. 6.19.
    """
    before, after = step @ expected, step @ found
    good = after > _LEAST_CURVATURE * before
    grown = _with_square(table, found, after, good)
    return _with_square(grown, expected, -before, good)


def _with_square(
    table: Table, vector: Float[Array, " n"], divisor: Float[Array, ""], wanted: Array
) -> Table:
    """Return the table of ``H + vector vector^T / divisor``, or the same.

    The square comes in as one variable more, ``-divisor`` on the diagonal, that is swept out.
    """
    unit = vector / table.scale
    column = jnp.where(table.free, 0.0, unit) - table.swept @ jnp.where(table.free, unit, 0.0)
    pivot = -divisor - jnp.sum(jnp.where(table.free, column * unit, 0.0))
    pivot = jnp.where(wanted & (pivot != 0), pivot, jnp.inf)
    return table._replace(swept=table.swept - column[:, None] * (column / pivot))


def solve_bounded(
    table: Table,
    pull: Float[Array, " n"],
    start: Float[Array, " n"],
    bounds: tuple[Float[Array, " n"], Float[Array, " n"]],
    tolerance: Float[Array, ""],
) -> Solution:
    """Return the minimum of ``z H z - 2 linear z`` within bounds, from a start within them.

    Parameters
    ----------
    table
        `swept_table` of ``H``, by the variables that are thought to be free.
    pull, start : [n]
        ``linear - H start`` and ``start``; the nearer it is, the fewer the steps.
    bounds : [n], [n]
        Lower and upper; a variable whose bounds coincide stays there.
    tolerance
        What a variable must lower the function by to be freed.

    References
    ----------
    Stark & Parker 1995, Computational Statistics 10 129 (bounded variables), after Lawson &
    Hanson 1974, Solving Least Squares Problems, chapter 23. The free block is not factored anew
    but swept: Goodnight 1979, The American Statistician 33 149.
    """
    low, high = bounds[0] * table.scale, bounds[1] * table.scale
    false = jnp.zeros_like(table.free)
    begin = _State(
        values=start * table.scale,
        pull=pull / table.scale,
        swept=table.swept,
        free=table.free,
        barred=false,
        gain=jnp.zeros_like(tolerance),
        n_step=jnp.asarray(0),
        done=jnp.asarray(False),
    )
    limit = _STEPS_PER_VARIABLE * pull.size
    end = jax.lax.while_loop(
        lambda state: ~state.done & (state.n_step < limit),
        lambda state: _advance(state, (low, high), tolerance),
        begin,
    )
    found = Table(end.swept, table.scale, end.free)
    # Rounding must not take a value past the bound that it sits on.
    values = jnp.clip(end.values / table.scale, *bounds)
    return Solution(values, end.gain, end.done, end.pull * table.scale, found)


def _advance(
    state: _State, bounds: tuple[Float[Array, " n"], Float[Array, " n"]], tolerance: Array
) -> _State:
    """Go to the minimum over the free variables, or to the first bound; change one of them."""
    low, high = bounds
    free, values = state.free, state.values
    product = state.swept @ jnp.where(free, state.pull, 0.0)
    step = jnp.where(free, -product, 0.0)
    outside = free & ((values + step < low) | (values + step > high))
    share = _share_of_way(values, step, bounds, outside)
    is_minimum = ~jnp.any(outside)
    reach = jnp.where(is_minimum, 1.0, jnp.min(share))
    leaving = _one_of(jnp.where(outside, -share, -jnp.inf)) & outside
    values = jnp.where(
        leaving, jnp.where(step < 0, low, high), jnp.clip(values + reach * step, low, high)
    )
    pull = state.pull - reach * jnp.where(free, state.pull, product)
    barred = (state.barred & (reach < 1e-9)) | (leaving & (reach < 1e-9))
    gains = _gains(values, pull, jnp.diagonal(state.swept), bounds)
    gains = jnp.where(free | barred, 0.0, gains)
    entering = _one_of(gains) & is_minimum & (gains > tolerance)
    sign = jnp.where(is_minimum, jnp.where(jnp.any(entering), 1.0, 0.0), -1.0)
    return _State(
        values=values,
        pull=pull,
        swept=_pivoted(state.swept, entering | leaving, sign),
        free=(free & ~leaving) | entering,
        barred=barred,
        gain=state.gain + (2 - reach) * reach * jnp.sum(jnp.where(free, state.pull, 0.0) * step),
        n_step=state.n_step + 1,
        done=is_minimum & ~jnp.any(entering),
    )


def _gains(
    values: Float[Array, " n"],
    pull: Float[Array, " n"],
    curvature: Float[Array, " n"],
    bounds: tuple[Float[Array, " n"], Float[Array, " n"]],
) -> Float[Array, " n"]:
    """Return by how much each variable alone, the free ones following, would lower the sum."""
    low, high = bounds
    allowed = jnp.where(pull > 0, values < high, values > low) & (curvature > _LEAST_PIVOT)
    return jnp.where(allowed, pull**2 / jnp.where(allowed, curvature, 1.0), 0.0)


def _share_of_way(
    values: Float[Array, " n"],
    step: Float[Array, " n"],
    bounds: tuple[Float[Array, " n"], Float[Array, " n"]],
    outside: Bool[Array, " n"],
) -> Float[Array, " n"]:
    """Return how much of the way each variable can go before its bound; 1 for those inside."""
    bound = jnp.where(step < 0, bounds[0], bounds[1])
    way = jnp.where(outside, step, 1.0)
    return jnp.where(outside, jnp.clip((bound - values) / way, 0.0, 1.0), 1.0)


def _one_of(values: Float[Array, " n"]) -> Bool[Array, " n"]:
    """Return True at the largest value."""
    return jnp.arange(values.size) == jnp.argmax(values)


def _pivoted(
    swept: Float[Array, "n n"], chosen: Bool[Array, " n"], sign: Float[Array, ""]
) -> Float[Array, "n n"]:
    """Return the matrix swept by one variable more (sign 1), or less (-1), or as it is (0)."""
    at = chosen.astype(swept.dtype)
    column = swept @ at
    pivot = jnp.where(sign == 0, jnp.inf, column @ at)
    rank_one = column - sign * at
    # One product for the row, the column and the rest; the pivot itself is 2 off.
    return swept - rank_one[:, None] * (rank_one / pivot) - (2 * sign) * at[:, None] * at
