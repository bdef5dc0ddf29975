"""What the data themselves say of a line, without a profile: moments, and the width W80.

All is read off the pixels of one line: the data minus the local background and minus the model of
the other lines; bad pixels hold the model. Errors are propagated linearly from the errors of the
data through each of these numbers and through the fit that was subtracted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from betis import compute
from betis.arrays import F64
from betis.lines.model import LineTerms, Problem, columns, line_terms, model_of, split_params
from betis.wavelength import C_KMS

__all__ = ["W80_PER_SIGMA", "Shape", "see_shapes"]

W80_PER_SIGMA = 2.5631031310892007
"""W80 of a Gaussian in dispersions."""

_SUM, _WHOLE = 3.0, 5.0
"""Dispersions from the centre that the moments, and W80, reach."""
_LOW, _HIGH = 0.1, 0.9
_CHUNK = 64

Scalar = Float[Array, ""]
Pixels = Float[Array, " pixel"]


class Shape(NamedTuple):
    """The shapes of the lines of each row, ``[row, line]`` outside the kernel.

    Fluxes are in units of the row's scale, velocities and widths in km/s relative to the line's
    rest wavelength, the line-spread function included; widths are NaN where their square is not
    positive.
    """

    flux: Float[Any, " line"]
    flux_err: Float[Any, " line"]
    velocity: Float[Any, " line"]
    velocity_err: Float[Any, " line"]
    width: Float[Any, " line"]
    width_err: Float[Any, " line"]
    w80: Float[Any, " line"]
    w80_err: Float[Any, " line"]

    def with_larger_errors(self, growth: Float[F64, " row"]) -> Shape:
        """Return the same with the errors of each row times a number."""
        errors = {name: getattr(self, name) for name in self._fields if name.endswith("_err")}
        return self._replace(**{name: value * growth[:, None] for name, value in errors.items()})


class _Own(NamedTuple):
    """One line of the model: what it is, its share of each pixel, and the parameters' part in it.

    ``slopes``, ``velocity_slope`` and ``sigma_slope`` are derivatives by each parameter of the
    line's flux density, its velocity and its dispersion.
    """

    flux: Scalar
    velocity: Scalar
    sigma: Scalar
    share: Pixels
    slopes: Float[Array, "param pixel"]
    velocity_slope: Float[Array, " param"]
    sigma_slope: Float[Array, " param"]
    line_wave: Scalar


class _Data(NamedTuple):
    """What all lines of a row see.

    ``noise`` is the error of each pixel, 0 where it is bad; ``spread`` what the parameters of the
    fit take from each pixel, ``covariance @ columns * weight``.
    """

    edges: Float[Array, " edge"]
    residual: Pixels
    noise: Pixels
    slopes: Float[Array, "param pixel"]
    spread: Float[Array, "param pixel"]


def see_shapes(
    rows: Problem, params: Float[F64, "row param"], covariance: Float[F64, "row param param"]
) -> Shape:
    """Return the shape of every line of every row.

    The first and second moments are those of the pixels that touch 3 dispersions of the fit. W80
    is the distance over which the cumulative flux lies between 10 and 90 % of the flux within 5
    dispersions, with straight lines across pixels: where noise makes the cumulative flux cross
    such a level several times, this is the distance between the rearranged quantiles, which do not
    depend on the side one comes from. What pixels of finite width, and the tails beyond them, do
    to these numbers of the fitted Gaussian is taken off.

    Parameters
    ----------
    rows
        The problems with a leading row axis.
    params, covariance
        Of the solution, in the units of the problems.

    References
    ----------
    W80: Whittle 1985, MNRAS 213 1; Zakamska & Greene 2014, MNRAS 442 784. Rearrangement:
    Chernozhukov, Fernandez-Val & Galichon 2010, Econometrica 78 1093.
    """
    found = compute.map_rows(_see_row, [params, covariance, *rows], chunk=_CHUNK)
    return Shape(*(np.asarray(value) for value in found))


def _see_row(
    params: Float[Array, " param"], covariance: Float[Array, "param param"], *row: Any
) -> Shape:
    problem = Problem(*row)
    terms = line_terms(params, problem)
    good = problem.weight > 0
    slopes = columns(params, problem, terms)
    data = _Data(
        edges=problem.edges,
        residual=jnp.where(good, problem.flux - model_of(params, problem, terms), 0.0),
        noise=jnp.where(good, 1 / jnp.where(good, problem.weight, 1.0), 0.0),
        slopes=slopes,
        spread=covariance @ (slopes * problem.weight),
    )
    own = _stacked(params, problem, terms)
    return jax.vmap(_see_line, in_axes=(0, None))(own, data)


def _stacked(params: Float[Array, " param"], problem: Problem, terms: list[LineTerms]) -> _Own:
    """Return the lines of a row one above the other."""
    parts = [_own(params, problem, terms, i) for i in range(len(terms))]
    return _Own(*(jnp.stack(values) for values in zip(*parts, strict=True)))


def _own(params: Float[Array, " param"], problem: Problem, terms: list[LineTerms], i: int) -> _Own:
    term, width = terms[i], split_params(params, problem)[2]
    ratio, member = problem.ratio[i], problem.kinematics[i]
    no_flux, no_kin, ground = jnp.zeros_like(ratio), jnp.zeros_like(member), jnp.zeros(2)
    by_velocity = jnp.concatenate([no_flux, member, no_kin, ground])
    by_sigma = jnp.concatenate([no_flux, no_kin, member * width / term.sigma, ground])
    by_flux = jnp.concatenate([ratio, no_kin, no_kin, ground])
    profile = term.profile
    slopes = by_flux[:, None] * profile.share + term.flux * (
        by_velocity[:, None] * profile.by_center + by_sigma[:, None] * profile.by_sigma
    )
    return _Own(
        flux=term.flux,
        velocity=term.velocity,
        sigma=term.sigma,
        share=profile.share,
        slopes=slopes,
        velocity_slope=by_velocity,
        sigma_slope=by_sigma,
        line_wave=problem.line_wave[i],
    )


def _see_line(own: _Own, data: _Data) -> Shape:
    step = jnp.diff(data.edges)
    edges = data.edges * (C_KMS / own.line_wave) - C_KMS
    model = own.flux * own.share * step
    seen = model + data.residual * step
    near = _touch(edges, own.velocity, _SUM * own.sigma)
    # A flux sums good pixels only, whatever the model says of the others.
    summed = jnp.where(near & (data.noise > 0), step, 0.0)
    velocity, width = _see_moments(own, data, (seen, model), (edges, near))
    w80 = _see_w80(own, data, (seen, model), edges)
    return Shape(
        jnp.sum(summed * seen / step),
        _error(summed, own.slopes @ summed, data),
        *velocity,
        *width,
        *w80,
    )


def _see_moments(
    own: _Own, data: _Data, flux: tuple[Pixels, Pixels], where: tuple[Array, Array]
) -> tuple[tuple[Scalar, Scalar], tuple[Scalar, Scalar]]:
    """Return mean velocity and dispersion with their errors, corrected by the model's own."""
    (seen, model), (edges, near) = flux, where
    step, middle = jnp.diff(data.edges), 0.5 * (edges[1:] + edges[:-1])
    total, mean, square = _moments(seen, middle, near)
    _, model_mean, model_square = _moments(model, middle, near)
    width = own.sigma * jnp.sqrt(jnp.where(square > 0, square / model_square, jnp.nan))
    first = jnp.where(near, middle - mean, 0.0) / total
    second = jnp.where(near, (middle - mean) ** 2 - square, 0.0) / total
    velocity_err = _error(first * step, own.velocity_slope, data)
    per_square = width / (2 * square)
    width_err = _error(second * per_square * step, own.sigma_slope * (width / own.sigma), data)
    return (mean - model_mean + own.velocity, velocity_err), (width, width_err)


def _see_w80(
    own: _Own, data: _Data, flux: tuple[Pixels, Pixels], edges: Float[Array, " edge"]
) -> tuple[Scalar, Scalar]:
    """Return W80 and its error; the error of its two ends grows as the data's W80 does.

    Where that would exceed the velocity of light, as for a line without flux, it is NaN.
    """
    whole = _touch(edges, own.velocity, _WHOLE * own.sigma)
    seen = _middle_width(flux[0], edges, whole)
    model, per_flux = jax.value_and_grad(_middle_width)(flux[1], edges, whole)
    w80 = seen - model + W80_PER_SIGMA * own.sigma
    growth = seen / model
    by_param = W80_PER_SIGMA * own.sigma_slope
    error = growth * _error(per_flux * jnp.diff(data.edges), by_param, data)
    return w80, jnp.where(error < C_KMS, error, jnp.nan)


def _touch(edges: Float[Array, " edge"], center: Scalar, reach: Scalar) -> Bool[Array, " pixel"]:
    return (edges[1:] > center - reach) & (edges[:-1] < center + reach)


def _moments(
    flux: Pixels, velocity: Pixels, picked: Bool[Array, " pixel"]
) -> tuple[Scalar, Scalar, Scalar]:
    """Return the flux of some pixels, and its mean and central second moment."""
    used = jnp.where(picked, flux, 0.0)
    total = jnp.sum(used)
    mean = jnp.sum(used * velocity) / total
    return total, mean, jnp.sum(used * (velocity - mean) ** 2) / total


def _middle_width(
    flux: Pixels, edges: Float[Array, " edge"], picked: Bool[Array, " pixel"]
) -> Scalar:
    """Return the width of the middle 80 % of the flux of some pixels."""
    used = jnp.where(picked, flux, 0.0)
    running = jnp.cumsum(used)
    after = running / running[-1]
    before = (running - used) / running[-1]
    low, high = jnp.minimum(before, after), jnp.maximum(before, after)
    inside = jnp.clip(high, _LOW, _HIGH) - jnp.clip(low, _LOW, _HIGH)
    level = (low >= _LOW) & (high < _HIGH)
    share = jnp.where(high > low, inside / jnp.where(high > low, high - low, 1.0), level)
    return jnp.sum(jnp.where(picked, share, 0.0) * jnp.diff(edges))


def _error(weight: Pixels, by_param: Float[Array, " param"], data: _Data) -> Scalar:
    """Return the error of a weighted sum of the residual plus a function of the parameters.

    Noise enters by the pixels themselves and by the parameters, on which it had its part.

    Parameters
    ----------
    weight
        What the residual of each pixel, a flux density, is multiplied by.
    by_param
        Derivative of the function by each parameter.
    """
    direct = jnp.where(data.noise > 0, weight, 0.0)
    taken = data.slopes @ direct - by_param
    return jnp.sqrt(jnp.sum((direct * data.noise - taken @ data.spread) ** 2))
