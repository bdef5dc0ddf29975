"""One spectrum: the model, its derivatives, and steps towards the best fit. Pure JAX.

The model at data pixel ``i`` is ::

    10^(-0.4 A_V dust_i) sum_k x_k (template_k * Gaussian(u, s2))_i       x_k >= 0

with ``u = c ln(1 + v/c)`` and ``s2 = sigma^2``, in km/s. In ``s2`` the model is smooth at zero.
Parameters are always in the order ``u, s2, A_V``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from betis.continuum.bounded import solve_bounded

_LOG_PER_MAG = -0.4 * 2.302585092994046
_MAX_ACTIVE = 32
"""The most templates with light; noise leaves fewer than 15."""
_SHRINK, _MAX_SHRINK = 0.35, 6
_CHI2_TOLERANCE = 1e-4
"""A fit is done when a step promises less than this; 0.01 of an error bar in a parameter."""
_CHI2_NEGLIGIBLE = 0.05
_SCAN_SIGMA = 150.0
_SCAN_COMPONENTS = 6


class Grid(NamedTuple):
    """A base on a ring of constant velocity step, and how to read it at the data's pixels.

    Attributes
    ----------
    templates : [template, grid]
        Spline coefficients.
    components : complex [component, frequency]
        Fourier transform of the reduced base, which gives the directions of the fit.
    mixing : [template, component]
    frequency : s/km [frequency]
        Phase per km/s.
    first, taps : [wave], [4, wave]
        First of the four coefficients of each pixel, and their shares.
    dust : [wave]
        A(wave)/A(V).
    lower, upper : [3]
    """

    templates: Float[Any, "template grid"]
    components: Complex[Any, "component frequency"]
    mixing: Float[Any, "template component"]
    frequency: Float[Any, " frequency"]
    first: Int[Any, " wave"]
    taps: Float[Any, "4 wave"]
    dust: Float[Any, " wave"]
    lower: Float[Any, " 3"]
    upper: Float[Any, " 3"]


class RowFit(NamedTuple):
    """Where a row stands: its best point so far, and the one to be tried next.

    Attributes
    ----------
    params, light : [3], [template]
        The best point.
    chi2, promise
        Chi-square there, and by how much the next step should lower it.
    covariance : [3, 3]
        Of the parameters there.
    next_params, next_light : [3], [template]
        The point to be tried.
    n_step
        Points tried.
    n_shrink
        Of these, how many in a row were no better than the best.
    converged, done
    """

    params: Float[Array, " 3"]
    light: Float[Array, " template"]
    chi2: Float[Array, ""]
    promise: Float[Array, ""]
    covariance: Float[Array, "3 3"]
    next_params: Float[Array, " 3"]
    next_light: Float[Array, " template"]
    n_step: Array
    n_shrink: Array
    converged: Array
    done: Array


def scan_row(
    flux: Float[Array, " wave"],
    weight: Float[Array, " wave"],
    velocities: Float[Array, " velocity"],
    *arrays: Array,
) -> Float[Array, ""]:
    """Return the velocity (km/s) at which a few components, any sign, leave the least chi2."""
    grid = Grid(*arrays)
    scaled = flux * weight

    def chi2(velocity: Float[Array, ""]) -> Float[Array, ""]:
        few = grid.components[:_SCAN_COMPONENTS]
        shape = _at_pixels(grid, few * _broadening(grid, velocity, _SCAN_SIGMA**2))
        design = jnp.concatenate([shape, shape[:2] * grid.dust]) * weight
        normal, right = design @ design.T, design @ scaled
        size = jnp.maximum(jnp.max(jnp.diagonal(normal)), 1e-300)
        ridge = 1e-9 * size * jnp.eye(right.size)
        return -right @ jax.scipy.linalg.solve(normal + ridge, right, assume_a="pos")

    return velocities[jnp.argmin(jax.lax.map(chi2, velocities))]


def fit_row(
    flux: Float[Array, " wave"],
    weight: Float[Array, " wave"],
    params: Float[Array, " 3"],
    light: Float[Array, " template"],
    limit: Array,
    *arrays: Array,
) -> tuple[RowFit, Float[Array, " wave"]]:
    """Take steps from a start until the fit has converged or the limit is reached.

    Parameters
    ----------
    flux, weight : [wave]
        Flux density and the inverse of its error; both 0 at pixels left out.
    params, light
        The start; light may be all 0.
    limit
        Number of steps.
    arrays
        The fields of `Grid`.

    Returns
    -------
    Where it ended, and the model [wave].
    """
    grid = Grid(*arrays)
    end = jax.lax.while_loop(
        lambda state: ~state.done & (state.n_step < limit),
        lambda state: _step(grid, flux, weight, state),
        _begin(params, light),
    )
    return end, evaluate(grid, end.params, end.light)


def depth_error_row(
    weight: Float[Array, " wave"],
    params: Float[Array, " 3"],
    light: Float[Array, " template"],
    contrast: Float[Array, "core wave"],
    *arrays: Array,
) -> Float[Array, " core"]:
    """Return the 1-sigma errors of linear functions of the model at the best fit.

    From the normal matrix of the active templates and the three parameters.

    Parameters
    ----------
    weight : [wave]
        Inverse of the error of the flux; 0 at pixels left out.
    params, light
        The best point.
    contrast : [core, wave]
        What each function multiplies the model with.
    arrays
        The fields of `Grid`.
    """
    grid = Grid(*arrays)
    shapes = _shapes(grid, params)
    slopes = _model_and_slopes(grid, params, light)[1]
    scaled = shapes * weight
    normal, _ = _linearise(grid.mixing, (scaled, scaled @ scaled.T), slopes * weight, 0 * weight)
    change = jnp.concatenate([grid.mixing @ (shapes @ contrast.T), slopes @ contrast.T])
    index = jnp.concatenate(
        [
            jax.lax.top_k(light, min(light.size, _MAX_ACTIVE))[1],
            light.size + jnp.arange(params.size),
        ]
    )
    active = jnp.concatenate([light, jnp.ones_like(params)])[index] > 0
    block = normal[index[:, None], index] * (active[:, None] & active)
    scale = jnp.where(active, 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(block), 1e-300)), 0.0)
    unit = block * scale[:, None] * scale + jnp.diag(jnp.where(active, 1e-10, 1.0))
    steps = change[index] * scale[:, None]
    variance = jnp.sum(steps * jax.scipy.linalg.solve(unit, steps, assume_a="pos"), axis=0)
    return jnp.sqrt(jnp.maximum(variance, 0.0))


def _begin(params: Float[Array, " 3"], light: Float[Array, " template"]) -> RowFit:
    infinite, none = jnp.full_like(params[0], jnp.inf), jnp.zeros((), jnp.int32)
    return RowFit(
        params=params,
        light=light,
        chi2=infinite,
        promise=infinite,
        covariance=jnp.full((3, 3), jnp.nan),
        next_params=params,
        next_light=light,
        n_step=none,
        n_shrink=none,
        converged=jnp.asarray(False),
        done=jnp.asarray(False),
    )


def evaluate(
    grid: Grid, params: Float[Array, " 3"], light: Float[Array, " template"]
) -> Float[Array, " wave"]:
    """Return the model at the data's pixels."""
    spectrum = jnp.fft.rfft(light @ grid.templates) * _broadening(grid, params[0], params[1])
    return _at_pixels(grid, spectrum[None])[0] * _screen(grid, params[2])


def _broadening(grid: Grid, shift: Array, variance: Array | float) -> Array:
    """Return the Fourier transform of a Gaussian of that shift (km/s) and variance."""
    phase = shift * grid.frequency
    size = jnp.exp(-0.5 * variance * grid.frequency**2)
    # XLA would work these out again for each component that they multiply, but it keeps the
    # result of a matrix product, be it with the identity.
    parts = jnp.eye(2) @ jnp.stack([size * jnp.cos(phase), -size * jnp.sin(phase)])
    return jax.lax.complex(parts[0], parts[1])


def _screen(grid: Grid, av: Array) -> Float[Array, " wave"]:
    return jnp.exp(_LOG_PER_MAG * av * grid.dust)


def _at_pixels(grid: Grid, spectra: Array) -> Float[Array, "row wave"]:
    """Go from Fourier space to the data's pixels."""
    values = jnp.fft.irfft(spectra, grid.templates.shape[1])
    picked = [
        jnp.take(values, grid.first + tap, axis=1, mode="clip") * grid.taps[tap] for tap in range(4)
    ]
    return jnp.asarray(picked[0] + picked[1] + picked[2] + picked[3])


def _model_and_slopes(
    grid: Grid, params: Float[Array, " 3"], light: Float[Array, " template"]
) -> tuple[Float[Array, " wave"], Float[Array, "3 wave"]]:
    """Return the model and its derivatives with respect to ``u, s2, A_V``."""
    spectrum = jnp.fft.rfft(light @ grid.templates) * _broadening(grid, params[0], params[1])
    by_shift = spectrum * jax.lax.complex(jnp.zeros_like(grid.frequency), -grid.frequency)
    by_variance = spectrum * (-0.5 * grid.frequency**2)
    rows = _at_pixels(grid, jnp.stack([spectrum, by_shift, by_variance]))
    rows = rows * _screen(grid, params[2])
    model = rows[0]
    return model, jnp.concatenate([rows[1:], (_LOG_PER_MAG * grid.dust * model)[None]])


def _step(
    grid: Grid, flux: Float[Array, " wave"], weight: Float[Array, " wave"], state: RowFit
) -> RowFit:
    """Try a point: keep it and plan the next, or come back nearer to the best one."""
    params = state.next_params
    shapes = _shapes(grid, params) * weight
    products = shapes @ shapes.T
    light = _best_light(grid, (shapes, products), (flux, weight), state)
    model, slopes = _model_and_slopes(grid, params, light)
    residual = (flux - model) * weight
    chi2 = jnp.sum(jnp.square(residual))
    normal, pull = _linearise(grid.mixing, (shapes, products), slopes * weight, residual)
    change, solved = _best_change(grid, normal, pull, (params, light))
    tried = RowFit(
        params=params,
        light=light,
        chi2=chi2,
        promise=2 * pull @ change - change @ normal @ change,
        covariance=_covariance(normal, light),
        next_params=jnp.clip(params + change[light.size :], grid.lower, grid.upper),
        next_light=jnp.maximum(light + change[: light.size], 0.0),
        n_step=state.n_step + 1,
        n_shrink=jnp.zeros_like(state.n_shrink),
        converged=solved,
        done=state.done,
    )
    return _judge(tried, state, _tolerances(flux * weight, weight, chi2))


def _tolerances(
    scaled: Float[Array, " wave"], weight: Float[Array, " wave"], chi2: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the changes of chi2 at which a row is done, and those that it may be stuck at.

    The latter in units of the scatter where that exceeds the errors: the errors of the data are
    then not what limits the parameters.
    """
    rounding = 1e-13 * jnp.sum(jnp.square(scaled))
    reduced = chi2 / jnp.maximum(jnp.sum(weight > 0), 1)
    return (
        _CHI2_TOLERANCE * jnp.minimum(1.0, reduced) + rounding,
        _CHI2_NEGLIGIBLE * jnp.maximum(1.0, reduced) + rounding,
    )


def _judge(
    tried: RowFit, best: RowFit, tolerances: tuple[Float[Array, ""], Float[Array, ""]]
) -> RowFit:
    """Return the tried point where it is better; else the best, with a shorter step to try."""
    is_better = tried.chi2 < best.chi2
    is_small = tried.promise < tolerances[0]
    accepted = tried._replace(converged=tried.converged & is_small, done=is_small)
    n_shrink = best.n_shrink + 1
    is_stuck = n_shrink >= _MAX_SHRINK
    shorter = best.params + _SHRINK * (best.next_params - best.params)
    rejected = best._replace(
        next_params=shorter,
        next_light=best.light,
        n_step=tried.n_step,
        n_shrink=n_shrink,
        converged=is_stuck & (best.promise < tolerances[1]),
        done=is_stuck,
    )
    pairs = zip(accepted, rejected, strict=True)
    return RowFit(*(jnp.where(is_better, new, old) for new, old in pairs))


def _shapes(grid: Grid, params: Float[Array, " 3"]) -> Float[Array, "component wave"]:
    """Return the reduced base at the data's pixels, shifted, broadened and reddened."""
    broadened = grid.components * _broadening(grid, params[0], params[1])
    return _at_pixels(grid, broadened) * _screen(grid, params[2])


def _best_light(
    grid: Grid,
    design: tuple[Float[Array, "component wave"], Float[Array, "component component"]],
    row: tuple[Float[Array, " wave"], Float[Array, " wave"]],
    state: RowFit,
) -> Float[Array, " template"]:
    """Return the light of each template that fits best at the parameters to be tried.

    The reduced base stands only for the change; the residual is that of the templates.
    """
    (shapes, products), (flux, weight) = design, row
    start = state.next_light
    residual = (flux - evaluate(grid, state.next_params, start)) * weight
    normal = grid.mixing @ products @ grid.mixing.T
    pull = grid.mixing @ (shapes @ residual)
    bounds = (jnp.zeros_like(start), jnp.full_like(start, jnp.inf))
    n_free = min(start.size, _MAX_ACTIVE)
    return solve_bounded(normal, pull + normal @ start, *bounds, start, n_free)[0]


def _linearise(
    mixing: Float[Array, "template component"],
    design: tuple[Float[Array, "component wave"], Float[Array, "component component"]],
    slopes: Float[Array, "3 wave"],
    residual: Float[Array, " wave"],
) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """Return the normal matrix of all templates and the three parameters, and J r."""
    shapes, products = design
    cross = mixing @ (shapes @ slopes.T)
    normal = jnp.block([[mixing @ products @ mixing.T, cross], [cross.T, slopes @ slopes.T]])
    return normal, jnp.concatenate([mixing @ (shapes @ residual), slopes @ residual])


def _best_change(
    grid: Grid,
    normal: Float[Array, "n n"],
    pull: Float[Array, " n"],
    point: tuple[Float[Array, " 3"], Float[Array, " template"]],
) -> tuple[Float[Array, " n"], Array]:
    """Return the change that the linear problem asks for, within bounds and a trust region."""
    params, light = point
    reach = jnp.stack([jnp.full_like(params[1], 200.0), 3 * params[1] + 2500.0, 1 + 0 * params[2]])
    back = reach.at[1].set(0.75 * params[1])
    lower = jnp.concatenate([0 * light, jnp.maximum(grid.lower - params, -back)])
    upper = jnp.concatenate(
        [jnp.full_like(light, jnp.inf), jnp.minimum(grid.upper - params, reach)]
    )
    start = jnp.concatenate([light, jnp.zeros_like(params)])
    n_free = min(light.size, _MAX_ACTIVE) + params.size
    values, solved = solve_bounded(normal, pull + normal @ start, lower, upper, start, n_free)
    return values - start, solved


def _covariance(
    normal: Float[Array, "n n"], light: Float[Array, " template"]
) -> Float[Array, "3 3"]:
    """Return the covariance of the three parameters, the active templates' light eliminated."""
    n_active = min(light.size, _MAX_ACTIVE)
    index = jax.lax.top_k(light, n_active)[1]
    active = light[index] > 0
    size = jnp.maximum(jnp.max(jnp.diagonal(normal)[: light.size]), 1e-300)
    block = normal[index[:, None], index] * (active[:, None] & active)
    block = block / size + jnp.diag(jnp.where(active, 1e-10, 1.0))
    cross = normal[index, light.size :] * active[:, None]
    schur = (
        normal[light.size :, light.size :]
        - cross.T @ jax.scipy.linalg.solve(block, cross, assume_a="pos") / size
    )
    scale = jnp.sqrt(jnp.maximum(jnp.diagonal(schur), 1e-300))
    unit = scale[:, None] * scale
    return jnp.asarray(jnp.linalg.inv(schur / unit) / unit)
