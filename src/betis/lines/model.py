"""The model of one fit group in one spectrum, and the picture of a whole fit.

Lines are Gaussians integrated over pixels; a linear local background lies under them. Everything
that distinguishes one group from another (ties, lines, line-spread function) is data, so that
groups of one size share one compiled program. The model is written for one row of scalars and
vectors over pixels; `compute.run_until_done` makes each scalar a vector over rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import ArrayLike
from scipy.special import erf, erfcx

from betis.arrays import F64
from betis.errors import InputError
from betis.products import LineFit, Spectra
from betis.wavelength import C_KMS

__all__ = [
    "LinePlaces",
    "LineTerms",
    "PixelGaussian",
    "Problem",
    "apart",
    "columns",
    "gaussian_in_pixels",
    "line_model",
    "line_places",
    "line_profiles",
    "line_terms",
    "mixture",
    "model_of",
    "split_params",
]

Scalar = Float[Array, ""]
Some = Any
"""An array of JAX inside kernels, of numpy outside."""

_SQRT2 = float(np.sqrt(2.0))
_BEND = 3.75
_REACH = 8.0
"""Dispersions beyond which a line is nothing in float64."""


class Problem(NamedTuple):
    """One fit group of one row; ``n_param = n_flux + 2 n_kin + 2``, padded alike in a class.

    Outside the kernels the same fields hold numpy arrays of all rows, the row axis first.

    Attributes
    ----------
    edges : Angstrom [pixel+1]
    flux, weight : [pixel]
        In units of the row's typical error; ``weight`` is the inverse error, 0 at bad pixels.
    position : [pixel]
        Where the background's slope acts: -1 ... 1.
    line_wave : Angstrom [line]
    excess : (km/s)² [line]
        Variance of the line-spread function at the line, minus that at the reference line of its
        kinematic set (the sharpest one, so that it is never negative).
    ratio : [line, flux]
        Flux of each line per free flux.
    kinematics : [line, kin]
        1 where a line has this velocity and dispersion.
    lower, upper : [param]
    """

    edges: Float[Some, " edge"]
    flux: Float[Some, " pixel"]
    weight: Float[Some, " pixel"]
    position: Float[Some, " pixel"]
    line_wave: Float[Some, " line"]
    excess: Float[Some, " line"]
    ratio: Float[Some, "line flux"]
    kinematics: Float[Some, "line kin"]
    lower: Float[Some, " param"]
    upper: Float[Some, " param"]


def _erfc_coefficients() -> tuple[float, ...]:
    """Return the polynomial of ``(1 + 2x) exp(x²) erfc(x)`` in ``(x - k) / (x + k)``."""

    def scaled(t: F64) -> F64:
        x = _BEND * (1 + t) / np.maximum(1 - t, 1e-300)
        return np.asarray((1 + 2 * x) * erfcx(x))

    fit = Chebyshev.interpolate(scaled, 16)
    return tuple(float(value) for value in fit.convert(kind=Polynomial).coef[::-1])


_ERFC = _erfc_coefficients()


def _cumulative(z: Float[Array, " edge"]) -> tuple[Float[Array, " edge"], Float[Array, " edge"]]:
    """Return the normal distribution minus 1/2, and ``exp(-z²/2)``, which it is made from.

    One exponential for both: XLA's own float64 erf costs ten times as much.

    References
    ----------
    Shepherd & Laframboise 1981, Math. Comp. 36 249; the coefficients are our own, of degree 16
    and accurate to 2e-12.
    """
    x = jnp.abs(z) / _SQRT2
    t = (x - _BEND) / (x + _BEND)
    series = jnp.full_like(t, _ERFC[0])
    for coefficient in _ERFC[1:]:
        series = series * t + coefficient
    bell = jnp.exp(-x * x)
    half = 0.5 - 0.5 * bell * series / (1 + 2 * x)
    return jnp.where(z < 0, -half, half), bell


def apart(values: Any) -> Any:
    """Return the values, worked out once: XLA would do it anew wherever they are used."""
    barrier: Callable[[Any], Any] = lax.optimization_barrier
    return barrier(values)


class PixelGaussian(NamedTuple):
    """Share of a Gaussian in each pixel, and derivatives with respect to centre and sigma.

    That to the centre twice is ``by_sigma / sigma`` (the heat equation).
    """

    share: Float[Array, " pixel"]
    by_center: Float[Array, " pixel"]
    by_sigma: Float[Array, " pixel"]
    by_center_sigma: Float[Array, " pixel"]
    by_sigma_sigma: Float[Array, " pixel"]


def gaussian_in_pixels(
    edges: Float[Array, " edge"], center: Scalar, sigma: Scalar
) -> PixelGaussian:
    """Return the share of a Gaussian in each pixel and its derivatives.

    Integrated over the pixel, not sampled at its centre, so that flux is conserved for lines
    narrower than a pixel.

    Parameters
    ----------
    edges : [edge]
        Pixel edges, increasing.
    center, sigma
        In the unit of ``edges``; ``sigma <= 0`` gives NaN.

    References
    ----------
    Integral of the Gaussian through erf: DLMF eq. 7.2.1.
    """
    inverse = jnp.where(sigma > 0, 1 / sigma, jnp.nan)
    z = (edges - center) * inverse
    cumulative, bell, z = apart((*_cumulative(z), z))
    bell = bell * (inverse / (_SQRT2 * float(np.sqrt(np.pi))))
    slope = z * bell
    bend = slope * z
    return PixelGaussian(
        share=jnp.diff(cumulative),
        by_center=-jnp.diff(bell),
        by_sigma=-jnp.diff(slope),
        by_center_sigma=jnp.diff(bell - bend) * inverse,
        by_sigma_sigma=jnp.diff(2 * slope - bend * z) * inverse,
    )


def split_params(
    params: Float[Array, " param"], problem: Problem
) -> tuple[Float[Array, " flux"], Float[Array, " kin"], Float[Array, " kin"], Float[Array, " 2"]]:
    """Return the fluxes, velocities, dispersions (km/s) and background among the parameters."""
    n_flux, n_kin = problem.ratio.shape[1], problem.kinematics.shape[1]
    middle = n_flux + n_kin
    return params[:n_flux], params[n_flux:middle], params[middle:-2], params[-2:]


class LinePlaces(NamedTuple):
    """All lines of a model at once: fluxes, velocities and dispersions (km/s).

    ``turn[line, kin]`` is the derivative of a line's dispersion with respect to that of its set.
    """

    flux: Float[Array, " line"]
    velocity: Float[Array, " line"]
    sigma: Float[Array, " line"]
    turn: Float[Array, "line kin"]


def line_places(params: Float[Array, " param"], problem: Problem) -> LinePlaces:
    """Return fluxes and places of the lines of one row; ``params`` as in `line_terms`."""
    flux, velocity, width, _ = split_params(params, problem)
    member = problem.kinematics
    sigma = jnp.sqrt(member @ width**2 + problem.excess)
    return LinePlaces(
        problem.ratio @ flux, member @ velocity, sigma, member * width / sigma[:, None]
    )


def line_profiles(lines: LinePlaces, problem: Problem) -> PixelGaussian:
    """Return the profile of each line per Angstrom and its derivatives ``[line, pixel]``."""
    in_velocity = problem.edges * (C_KMS / problem.line_wave)[:, None] - C_KMS
    profile = gaussian_in_pixels(in_velocity, lines.velocity[:, None], lines.sigma[:, None])
    per_angstrom = 1 / jnp.diff(problem.edges)
    return PixelGaussian(*(value * per_angstrom for value in profile))


def mixture(lines: LinePlaces, problem: Problem) -> Float[Array, "param part"]:
    """Return the derivative of the model with respect to each parameter, in parts of the model.

    The parts are shares of the lines, their derivatives to the centre, and to the dispersion, then
    the two of the background.
    """
    n_line, n_kin = problem.kinematics.shape
    n_flux = problem.ratio.shape[1]
    none = jnp.zeros((n_kin, n_line))
    centre, spread = problem.kinematics.T * lines.flux, lines.turn.T * lines.flux
    lines_only = jnp.block(
        [
            [problem.ratio.T, jnp.zeros((n_flux, 2 * n_line))],
            [none, centre, none],
            [none, none, spread],
        ]
    )
    ground = jnp.pad(jnp.eye(2), ((n_flux + 2 * n_kin, 0), (3 * n_line, 0)))
    return jnp.pad(lines_only, ((0, 2), (0, 2))) + ground


class LineTerms(NamedTuple):
    """One line of the model: its flux, its place (km/s), and its profile per Angstrom."""

    flux: Scalar
    velocity: Scalar
    sigma: Scalar
    profile: PixelGaussian


def line_terms(params: Float[Array, " param"], problem: Problem) -> list[LineTerms]:
    """Return the lines of the model of one row.

    The Gaussian of a line is taken in velocity, ``c (wave / line_wave - 1)``, where its centre is
    the velocity and its dispersion ``sqrt(width² + excess)``, both in km/s.

    Parameters
    ----------
    params : [param]
        Free fluxes, velocities and dispersions at the reference line (km/s) of the kinematic
        sets, value and slope of the background.
    """
    places = line_places(params, problem)
    profiles = line_profiles(places, problem)
    return [
        LineTerms(
            places.flux[i],
            places.velocity[i],
            places.sigma[i],
            PixelGaussian(*(value[i] for value in profiles)),
        )
        for i in range(problem.ratio.shape[0])
    ]


def model_of(
    params: Float[Array, " param"], problem: Problem, terms: list[LineTerms]
) -> Float[Array, " pixel"]:
    """Return the model of one row in the unit of ``problem.flux``."""
    model: Array = params[-2] + params[-1] * problem.position
    for term in terms:
        model = model + term.flux * term.profile.share
    return model


def columns(
    params: Float[Array, " param"], problem: Problem, terms: list[LineTerms]
) -> Float[Array, "param pixel"]:
    """Return the derivative of the model with respect to each parameter."""
    profiles = [term.profile for term in terms]
    parts = jnp.stack(
        [
            *(profile.share for profile in profiles),
            *(profile.by_center for profile in profiles),
            *(profile.by_sigma for profile in profiles),
            jnp.ones_like(problem.flux),
            problem.position,
        ]
    )
    return mixture(line_places(params, problem), problem) @ parts


def line_model(
    lines: LineFit, gas: Spectra, *, background: bool = True, window: ArrayLike = 30.0
) -> Float[F64, "spectrum wave"]:
    """Return the model of all lines in each spectrum, for figures and residuals.

    Parameters
    ----------
    lines
        The fit.
    gas
        The spectra that were fitted.
    background
        Add the local backgrounds inside the fit windows.
    window : Angstrom
        Half-width of the fit windows, a number or ``[line]``.

    Returns
    -------
    Flux density ``[spectrum, wave]`` in the scale of the spectra; 0 where nothing was fitted.

    Raises
    ------
    InputError
        Where the fit has not as many rows as the spectra.
    """
    if lines.flux.shape[0] != gas.n_spectrum:
        raise InputError(
            f"the fit has {lines.flux.shape[0]} rows and the spectra {gas.n_spectrum}, where they "
            "must be the same; give the spectra that were fitted"
        )
    model = np.zeros(gas.flux.shape)
    for i in range(len(lines.names)):
        _add_line(model, lines, gas, i)
    if background:
        half = np.broadcast_to(np.asarray(window, dtype=float), len(lines.names))
        for group in range(lines.background_wave.size):
            _add_background(model, lines, gas, group, half)
    return model


def _add_line(model: F64, lines: LineFit, gas: Spectra, i: int) -> None:
    flux, center, sigma = lines.flux[:, i], lines.wave_obs[:, i], lines.sigma_obs[:, i]
    good = np.isfinite(flux) & np.isfinite(center) & (sigma > 0)
    if not good.any():
        return
    reach = _REACH * sigma[good]
    ends = [np.min(center[good] - reach), np.max(center[good] + reach)]
    first, last = np.searchsorted(gas.edges, ends).clip(1, gas.wave.size)
    edges = gas.edges[first - 1 : last + 1]
    z = (edges - center[good, None]) / (_SQRT2 * sigma[good, None])
    profile = 0.5 * np.diff(erf(z), axis=1) / np.diff(edges)
    model[np.ix_(good, np.arange(first - 1, first - 1 + profile.shape[1]))] += (
        flux[good, None] * profile
    )


def _add_background(model: F64, lines: LineFit, gas: Spectra, group: int, half: F64) -> None:
    member = np.flatnonzero(lines.group == group)
    rest = lines.wave_obs[:, member] / (1 + lines.velocity[:, member] / C_KMS)
    inside = np.zeros(gas.wave.size, bool)
    for i, places in zip(member, rest.T, strict=True):
        for wave in np.unique(np.round(places[np.isfinite(places)], 6)):
            inside |= np.abs(gas.wave - wave) <= half[i]
    value, slope = np.nan_to_num(lines.background[:, group, :, None]).swapaxes(0, 1)
    model[:, inside] += value + slope * (gas.wave[inside] - lines.background_wave[group])
