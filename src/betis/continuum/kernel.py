"""One spectrum: steps towards the best fit of the model, and its errors there. Pure JAX.

A normal matrix gives only the direction of a step, so it may be rough or old: the gradient and
chi-square, by which a step is judged and which say when to stop, are those of the templates
themselves, at the pixels themselves, where the row stands.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from betis.continuum.bounded import Table, inverse_product, solve_bounded, swept_table, with_secant
from betis.continuum.model import (
    Grid,
    coarse_sum,
    directions_at,
    kept,
    losvd_at,
    model_and_slopes,
    model_of,
    project,
    pull_of,
    shapes_at,
    stars_at,
)

_SHRINK, _MAX_SHRINK = 0.35, 6
_CHI2_TOLERANCE = 1e-4
"""A fit is done when a step promises less than this; 0.01 of an error bar in a parameter."""
_CHI2_NEGLIGIBLE = 0.05
_SCAN_COMPONENTS = 6
_FALL = 0.5
"""A step on an old matrix must lower the promise to this share for another to be worth it."""
_MAX_FOLLOW = 4


class RowFit(NamedTuple):
    """Where a row stands.

    Attributes
    ----------
    params, light : [param], [template]
        The best point.
    model : [wave]
    merit, pull : scalar, [template + param]
        Chi-square there, the penalty of the light included, and minus half its gradient.
    promise
        By how much the next step should lower it.
    is_stuck
        Whether no step, however short, lowered it.
    converged, done
    """

    params: Float[Array, " param"]
    light: Float[Array, " template"]
    model: Float[Array, " wave"]
    merit: Float[Array, ""]
    pull: Float[Array, " n"]
    promise: Float[Array, ""]
    is_stuck: Array
    converged: Array
    done: Array


class _Row(NamedTuple):
    """The data of a row; both are 0 at pixels left out."""

    flux: Float[Array, " wave"]
    weight: Float[Array, " wave"]
    bounds: Float[Array, "2 param"]


class _Step(NamedTuple):
    """A step from the best point.

    Attributes
    ----------
    params, light
        Where it leads.
    falls : [template + param]
        By how much the pull should fall on the way.
    n_shrink
        How often it has been shortened.
    """

    params: Float[Array, " param"]
    light: Float[Array, " template"]
    falls: Float[Array, " n"]
    n_shrink: Array


class _Following(NamedTuple):
    """Steps with one matrix, under way."""

    n_step: Array
    goes_on: Array
    best: RowFit
    step: _Step
    table: Table


def start_row(
    flux: Float[Array, " wave"],
    weight: Float[Array, " wave"],
    bounds: Float[Array, "2 param"],
    starts: Float[Array, "start param"],
    start_shapes: Float[Array, "start component coarse"],
    *arrays: Array,
) -> tuple[Float[Array, " param"], Float[Array, " template"]]:
    """Return the best of some places to start from, and the light that fits best there.

    The best is where a few components, of any sign, leave the least chi-square.

    Parameters
    ----------
    flux, weight : [wave]
        Flux density and the inverse of its error; both 0 at pixels left out.
    bounds : [2, param]
        Lower and upper, of this row; a parameter is held where they coincide.
    starts, start_shapes : [start, param], [start, component, coarse]
        Parameters, and the reduced base there.
    arrays
        The fields of `betis.continuum.model.Grid`.
    """
    grid = Grid(*arrays)
    spread = jnp.sqrt(coarse_sum(grid, jnp.square(weight)))
    scaled = coarse_sum(grid, flux * jnp.square(weight)) / jnp.where(spread > 0, spread, 1.0)
    spread, scaled = spread.astype(start_shapes.dtype), scaled.astype(start_shapes.dtype)

    dust = grid.coarse_dust.astype(start_shapes.dtype)

    def chi2(few: Float[Array, "component coarse"]) -> Float[Array, ""]:
        design = jnp.concatenate([few, few[:2] * dust]) * spread
        normal = (design @ design.T).astype(weight.dtype)
        right = (design @ scaled).astype(weight.dtype)
        table = swept_table(normal, jnp.ones(right.size, bool))
        return -inverse_product(table, right[None], right[None])[0, 0]

    best = jnp.argmin(jax.lax.map(chi2, start_shapes[:, :_SCAN_COMPONENTS]))
    params = jnp.clip(starts[best], bounds[0], bounds[1])
    losvd = losvd_at(grid, params)
    pull = project(grid, params, flux * jnp.square(weight), losvd)
    shapes = kept(start_shapes[best] * spread)
    normal = _of_templates(grid, _product(shapes, shapes).astype(weight.dtype), weight)
    light = jnp.zeros_like(pull)
    table = swept_table(normal, light > 0)
    tolerance = 1e-7 * jnp.sum(jnp.square(flux * weight))
    limits = light, jnp.full_like(light, jnp.inf)
    return params, solve_bounded(table, pull, light, limits, tolerance).values


def fit_row(
    flux: Float[Array, " wave"],
    weight: Float[Array, " wave"],
    bounds: Float[Array, "2 param"],
    params: Float[Array, " param"],
    light: Float[Array, " template"],
    limit: Array,
    *arrays: Array,
) -> RowFit:
    """Take steps from a start until the fit has converged or the limit is reached.

    Parameters
    ----------
    flux, weight, bounds, arrays
        As in `start_row`.
    params, light
        The start.
    limit
        Number of normal matrices.
    """
    grid, row = Grid(*arrays), _Row(flux, weight, bounds)

    def go_on(carry: tuple[Array, RowFit]) -> Array:
        return ~carry[1].done & (carry[0] < limit)

    def advance(carry: tuple[Array, RowFit]) -> tuple[Array, RowFit]:
        return carry[0] + 1, _follow(grid, row, carry[1])

    begin = (jnp.zeros_like(limit), _measure(grid, row, params, light))
    return jax.lax.while_loop(go_on, advance, begin)[1]


def error_row(
    weight: Float[Array, " wave"],
    bounds: Float[Array, "2 param"],
    params: Float[Array, " param"],
    light: Float[Array, " template"],
    slots: Int[Array, " slot"],
    contrast: Float[Array, "core wave"],
    *arrays: Array,
) -> tuple[Float[Array, "param param"], Float[Array, " core"]]:
    """Return the covariance of the parameters, and the errors of linear functions of the model.

    From the normal matrix of the templates that have light and the parameters off their bounds.

    Parameters
    ----------
    weight, bounds, arrays
        As in `start_row`.
    params, light
        The best point.
    slots : [slot]
        As many as templates may have light.
    contrast : [core, wave]
        What each function multiplies the model with.
    """
    grid = Grid(*arrays)
    index = jax.lax.top_k(light, slots.size)[1]
    slopes = model_and_slopes(grid, params, light, losvd_at(grid, params))[1]
    shapes = kept(jnp.concatenate([shapes_at(grid, params, index), slopes]))
    active = jnp.concatenate([light[index], bounds[1] - bounds[0]]) > 0
    scaled = kept(shapes * weight)
    normal = _product(scaled, scaled)
    normal = normal.at[: index.size, : index.size].add(grid.penalty[index[:, None], index])
    table = swept_table(normal, active)
    asked = jnp.concatenate([jnp.eye(active.size)[index.size :], _product(contrast, shapes)])
    answer = inverse_product(table, asked, asked)
    n_param = params.size
    depth = jnp.diagonal(answer)[n_param:]
    return answer[:n_param, :n_param], jnp.sqrt(jnp.maximum(depth, 0.0))


def _measure(
    grid: Grid, row: _Row, params: Float[Array, " param"], light: Float[Array, " template"]
) -> RowFit:
    """Return a row at a point from which no step has been planned."""
    losvd = losvd_at(grid, params)
    stars = stars_at(grid, light, losvd)
    model = model_of(grid, params, stars)
    residual = (row.flux - model) * row.weight
    templates, others = pull_of(grid, params, residual * row.weight, stars, losvd)
    rough = grid.penalty @ light
    pull = jnp.concatenate([templates - rough, others])
    false = jnp.asarray(False)
    return RowFit(
        params=params,
        light=light,
        model=model,
        merit=jnp.sum(jnp.square(residual)) + light @ rough,
        pull=pull,
        promise=jnp.full_like(params[0], jnp.inf),
        is_stuck=false,
        converged=false,
        done=false,
    )


def _normal(grid: Grid, row: _Row, point: RowFit) -> Float[Array, "n n"]:
    """Return the normal matrix of light and parameters, from the directions on the coarse ring."""
    weight = jnp.square(row.weight)
    losvd = losvd_at(grid, point.params)
    directions = directions_at(grid, point.params, point.light, losvd)
    scaled = kept(directions * jnp.sqrt(coarse_sum(grid, weight)).astype(directions.dtype))
    curvature = _product(scaled, scaled).astype(weight.dtype)
    count = grid.mixing.shape[1]
    cross = grid.mixing @ curvature[:count, count:]
    light = _of_templates(grid, curvature[:count, :count], row.weight)
    return jnp.block([[light, cross], [cross.T, curvature[count:, count:]]])


def _of_templates(
    grid: Grid, products: Float[Array, "component component"], weight: Float[Array, " wave"]
) -> Float[Array, "template template"]:
    """Return the normal matrix of the templates, what the components lack on its diagonal."""
    rest = jnp.diag(grid.rest * jnp.sum(jnp.square(weight)))
    light = _product(_product(grid.mixing, products), grid.mixing)
    return jnp.asarray(light + rest + grid.penalty)


def _products(
    one: Float[Array, "row point"], other: Float[Array, "column point"]
) -> Float[Array, "row column"]:
    return jnp.matmul(one, other.T)


_one_by_one: Any = jax.custom_batching.sequential_vmap
_products_one_by_one: Callable[[Array, Array], Array] = _one_by_one(_products)


def _product(
    one: Float[Array, "row point"], other: Float[Array, "column point"]
) -> Float[Array, "row column"]:
    """Return all products of two spectra's points, on the CPU for one row of a chunk at a time.

    One spectrum's directions fit the cache of a core, those of several do not; a GPU takes all
    rows together. Nor is LAPACK called: jaxlib 0.10.2 shares out larger batches of it over threads
    that two host devices may all hold while they wait.
    """
    on_cpu = jax.default_backend() == "cpu"
    return _products_one_by_one(one, other) if on_cpu else _products(one, other)


def _follow(grid: Grid, row: _Row, state: RowFit) -> RowFit:
    """Take steps with one normal matrix, that of the first, for as long as they are worth it."""
    normal = _normal(grid, row, state)
    is_free = jnp.concatenate([state.light > 0, row.bounds[1] > row.bounds[0]])
    table = swept_table(normal, is_free)
    planned, step, table = _plan(row, state, table)
    begin = _Following(jnp.asarray(0), ~planned.done, planned, step, table)
    return jax.lax.while_loop(
        lambda carry: carry.goes_on & (carry.n_step < _MAX_FOLLOW),
        lambda carry: _advance(grid, row, carry),
        begin,
    ).best


def _advance(grid: Grid, row: _Row, now: _Following) -> _Following:
    """Try a step: keep it and plan the next, or come back nearer to the best point."""
    tried = _measure(grid, row, now.step.params, now.step.light)
    gone = jnp.concatenate([tried.light - now.best.light, tried.params - now.best.params])
    # Where the model bends, the matrix is wrong along the step, and the exact pulls at its ends say
    # by how much: without it, narrow stars in noise go to and fro between too long steps.
    table = with_secant(now.table, gone, now.step.falls, now.best.pull - tried.pull)
    tried, onward, table = _plan(row, tried, table)
    is_better = tried.merit < now.best.merit
    falls = ~tried.done & (tried.promise < _FALL * now.best.promise)
    shorter = _shortened(now.best, now.step)
    # A step that is too long is shortened with the matrix of its own point, else planned anew.
    is_fresh = now.n_step == 0
    is_stuck = ~is_better & (shorter.n_shrink >= _MAX_SHRINK)
    negligible = now.best.promise < _tolerances(row, now.best.merit)[1]
    stays = now.best._replace(is_stuck=is_stuck, done=is_stuck, converged=is_stuck & negligible)
    return _Following(
        n_step=jnp.where(
            is_better, now.n_step + 1, now.n_step + jnp.where(is_fresh, 0, _MAX_FOLLOW)
        ),
        goes_on=jnp.where(is_better, falls, ~is_stuck),
        best=_choose(is_better, tried, stays),
        step=_choose(is_better, onward, shorter),
        table=_choose(is_better, table, now.table),
    )


def _plan(row: _Row, state: RowFit, table: Table) -> tuple[RowFit, _Step, Table]:
    """Return the row, done if little is promised, and the step that the linear problem asks for."""
    params, light = state.params, state.light
    tolerance = _tolerances(row, state.merit)[0]
    lower, upper = _reach(row, params)
    start = jnp.concatenate([light, jnp.zeros_like(params)])
    bounds = (
        jnp.concatenate([jnp.zeros_like(light), lower]),
        jnp.concatenate([jnp.full_like(light, jnp.inf), upper]),
    )
    found = solve_bounded(table, state.pull, start, bounds, 0.1 * tolerance)
    is_small = found.gain < tolerance
    change = found.values[light.size :]
    step = _Step(
        jnp.clip(params + change, row.bounds[0], row.bounds[1]),
        found.values[: light.size],
        state.pull - found.pull,
        jnp.zeros((), jnp.int32),
    )
    state = state._replace(promise=found.gain, converged=is_small & found.solved, done=is_small)
    return state, step, found.table


def _reach(row: _Row, params: Float[Array, " param"]) -> tuple[Array, Array]:
    """Return how far each parameter may go in a step: within its bounds, and where it is linear."""
    up = jnp.ones_like(params).at[0].set(200.0).at[1].set(3 * params[1] + 2500.0)
    down = up.at[1].set(0.75 * params[1] + 400.0)
    return jnp.maximum(row.bounds[0] - params, -down), jnp.minimum(row.bounds[1] - params, up)


def _shortened(best: RowFit, step: _Step) -> _Step:
    """Return a step that stays nearer to the best point."""
    return _Step(
        best.params + _SHRINK * (step.params - best.params),
        best.light + _SHRINK * (step.light - best.light),
        _SHRINK * step.falls,
        step.n_shrink + 1,
    )


def _tolerances(row: _Row, merit: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the changes of chi-square at which a row is done, and those it may be stuck at.

    The latter in units of the scatter where that exceeds the errors: the errors of the data are
    then not what limits the parameters.
    """
    rounding = 1e-13 * jnp.sum(jnp.square(row.flux * row.weight))
    reduced = merit / jnp.maximum(jnp.sum(row.weight > 0), 1)
    return (
        _CHI2_TOLERANCE * jnp.minimum(1.0, reduced) + rounding,
        _CHI2_NEGLIGIBLE * jnp.maximum(1.0, reduced) + rounding,
    )


def _choose(is_first: Array, first: Any, second: Any) -> Any:
    return jax.tree.map(lambda one, other: jnp.where(is_first, one, other), first, second)
