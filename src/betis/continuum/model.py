"""The model of one spectrum at the data's pixels, its derivatives and their adjoint. Pure JAX.

The model at data pixel ``i`` is ::

    10^(-0.4 A_V (dust_i - pivot)) (1 + sum_j m_j P_ji) sum_k y_k (template_k * L)_i
        + sum_j a_j P_ji                                                  y_k >= 0

with ``L`` the velocity distribution, a Gaussian of shift ``u = c ln(1 + v/c)`` and variance
``s2 = sigma^2`` (km/s) times ``1 + h3 H_3 + h4 H_4`` (van der Marel & Franx 1993, ApJ 407 525,
eq. 9). In ``s2`` the model is smooth at zero. The light ``y`` is that seen through the screen at
the pivot, so that a change of A_V is a tilt, and nearly linear. The parameters are always in the
order ``u, s2, (h3, h4), A_V, m, a``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

LOG_PER_MAG = -0.4 * 2.302585092994046
_BLOCK = 64
_LEAST_VARIANCE = 1.0
"""Squared dispersion (km/s) below which h3 and h4 have no derivative by it."""


class Points(NamedTuple):
    """What multiplies the stars, and what is added to them, at some points.

    Attributes
    ----------
    dust : [point]
        (A(wave) - A(pivot)) / A(V).
    multiplicative, additive : [degree, point]
        Polynomials.
    """

    dust: Float[Any, " point"]
    multiplicative: Float[Any, "multiplicative point"]
    additive: Float[Any, "additive point"]


class Grid(NamedTuple):
    """A base on a ring of constant velocity step, and how to read it at the data's pixels.

    Attributes
    ----------
    templates : [template, 2, frequency]
        Fourier transform of their spline coefficients, real and imaginary part.
    frequency : s/km [frequency]
        Phase per km/s.
    first, taps : [wave], [4, wave]
        First of the four coefficients of each pixel, and their shares.
    readers, shares : [reader, grid]
        The pixels that read each coefficient, and with what share: the transpose of ``taps``.
    dust, multiplicative, additive : [wave], [degree, wave], [degree, wave]
        See `Points`.
    components : complex [component, coarse frequency]
        Fourier transform of the values of a reduced base on a coarser ring, which gives the
        directions of the fit. In single precision: its components are orthogonal, and of those
        that stand for little the error is as small.
    coarse_filter : [coarse frequency]
        From the transform of coefficients to that of values there.
    mixing, rest : [template, component], [template]
        What gives the templates from the components, and the mean square of what that leaves.
    coarse_readers, coarse_shares : [reader, coarse]
        The pixels whose weight goes to each point of that ring, and their shares.
    coarse_dust, coarse_multiplicative, coarse_additive
        See `Points`.
    penalty : [template, template]
        What a distribution of light that is not smooth adds to chi-square.
    """

    templates: Float[Any, "template 2 frequency"]
    frequency: Float[Any, " frequency"]
    first: Int[Any, " wave"]
    taps: Float[Any, "4 wave"]
    readers: Int[Any, "reader grid"]
    shares: Float[Any, "reader grid"]
    dust: Float[Any, " wave"]
    multiplicative: Float[Any, "multiplicative wave"]
    additive: Float[Any, "additive wave"]
    components: Complex[Any, "component coarse_frequency"]
    coarse_filter: Float[Any, " coarse_frequency"]
    mixing: Float[Any, "template component"]
    rest: Float[Any, " template"]
    coarse_readers: Int[Any, "coarse_reader coarse"]
    coarse_shares: Float[Any, "coarse_reader coarse"]
    coarse_dust: Float[Any, " coarse"]
    coarse_multiplicative: Float[Any, "multiplicative coarse"]
    coarse_additive: Float[Any, "additive coarse"]
    penalty: Float[Any, "template template"]

    @property
    def pixels(self) -> Points:
        """At the pixels of the data."""
        return Points(self.dust, self.multiplicative, self.additive)

    @property
    def coarse(self) -> Points:
        """On the coarse ring."""
        return Points(self.coarse_dust, self.coarse_multiplicative, self.coarse_additive)


class Losvd(NamedTuple):
    """Fourier transforms of the velocity distribution and of its derivatives.

    Attributes
    ----------
    transform : complex [frequency]
    by_param : complex [kinematic, frequency]
        By ``u, s2`` and, where these are fitted, h3 and h4.
    """

    transform: Complex[Array, " frequency"]
    by_param: Complex[Array, "kinematic frequency"]


class Stars(NamedTuple):
    """The stars of a row, without what they are seen through.

    Attributes
    ----------
    mixture : complex [frequency]
        Transform of the templates by their light, at rest.
    broadened : [wave]
        Shifted and broadened, at the pixels.
    """

    mixture: Complex[Array, " frequency"]
    broadened: Float[Array, " wave"]


def n_kinematic(grid: Grid, params: Float[Array, " param"]) -> int:
    """Return how many parameters the velocity distribution has: 2 or 4."""
    return params.size - 1 - len(grid.multiplicative) - len(grid.additive)


def evaluate(
    grid: Grid, params: Float[Array, " param"], light: Float[Array, " template"]
) -> Float[Array, " wave"]:
    """Return the model at the data's pixels."""
    return model_of(grid, params, stars_at(grid, light, losvd_at(grid, params)))


def stars_at(grid: Grid, light: Float[Array, " template"], losvd: Losvd) -> Stars:
    """Return the stars of this light, shifted and broadened."""
    mixture = _mixture(grid, light)
    return Stars(mixture, kept(at_pixels(grid, (mixture * losvd.transform)[None])[0]))


def model_of(grid: Grid, params: Float[Array, " param"], stars: Stars) -> Float[Array, " wave"]:
    """Return the model at the data's pixels; ``stars`` are those at these parameters."""
    screen = transmission(grid, grid.pixels, params)
    return stars.broadened * screen + _added(grid.pixels, params)


def pull_of(
    grid: Grid,
    params: Float[Array, " param"],
    values: Float[Array, " wave"],
    stars: Stars,
    losvd: Losvd,
) -> tuple[Float[Array, " template"], Float[Array, " param"]]:
    """Return the sums of ``values`` times each template and times each derivative of the model.

    They are those of `model_and_slopes`, without the slopes: the transform of the values, times
    that of the stars, gives the sums for the kinematics as it gives them for the templates.
    """
    screened = values * transmission(grid, grid.pixels, params)
    back = _read_back(grid, screened)
    n_av, points = n_kinematic(grid, params), grid.pixels
    kinematic = jnp.real(losvd.by_param @ (back * stars.mixture))
    by_av = LOG_PER_MAG * jnp.sum(points.dust * stars.broadened * screened)
    parts = [kinematic, by_av[None]]
    if len(points.multiplicative):
        screen = jnp.exp(LOG_PER_MAG * params[n_av] * points.dust)
        parts.append(points.multiplicative @ (stars.broadened * screen * values))
    parts.append(points.additive @ values)
    return _onto_templates(grid, back * losvd.transform), jnp.concatenate(parts)


def model_and_slopes(
    grid: Grid,
    params: Float[Array, " param"],
    light: Float[Array, " template"],
    losvd: Losvd,
) -> tuple[Float[Array, " wave"], Float[Array, "param wave"]]:
    """Return the model and its derivatives; ``losvd`` is that at these parameters."""
    rows = at_pixels(grid, _spectra(_mixture(grid, light), losvd))
    return _model_and_slopes(grid, grid.pixels, params, rows)


def directions_at(
    grid: Grid, params: Float[Array, " param"], light: Float[Array, " template"], losvd: Losvd
) -> Float[Array, "direction coarse"]:
    """Return the reduced base and the derivatives of the model, on the coarse ring.

    In the precision of the reduced base.
    """
    size, n_point = grid.coarse_filter.size, grid.coarse_dust.size
    coarse = Losvd(losvd.transform[:size], losvd.by_param[:, :size])
    stars = _spectra(_mixture(grid, light)[:size] * grid.coarse_filter, coarse)
    components = grid.components * coarse.transform.astype(grid.components.dtype)
    spectra = jnp.concatenate([components, stars.astype(components.dtype)])
    values = jnp.fft.irfft(spectra, n_point)
    count = len(grid.components)
    screen = transmission(grid, grid.coarse, params).astype(values.dtype)
    slopes = _model_and_slopes(grid, grid.coarse, params, values[count:])[1]
    return jnp.concatenate([values[:count] * screen, slopes.astype(values.dtype)])


def shapes_at(
    grid: Grid, params: Float[Array, " param"], index: Int[Array, " slot"]
) -> Float[Array, "slot wave"]:
    """Return some templates at the data's pixels, shifted, broadened and reddened."""
    parts = grid.templates[index]
    spectra = jax.lax.complex(parts[:, 0], parts[:, 1]) * losvd_at(grid, params).transform
    return at_pixels(grid, spectra) * transmission(grid, grid.pixels, params)


def coarse_sum(grid: Grid, values: Float[Array, " wave"]) -> Float[Array, " coarse"]:
    """Return the values of the pixels, shared out to the points of the coarse ring."""
    return _gathered(values, grid.coarse_readers, grid.coarse_shares)


def project(
    grid: Grid,
    params: Float[Array, " param"],
    values: Float[Array, " wave"],
    losvd: Losvd,
) -> Float[Array, " template"]:
    """Return the product of ``values`` with each template as it is at the data's pixels.

    One transform of the values takes the place of one of each template: the correlation with the
    velocity distribution is the adjoint of the convolution. ``losvd`` is that at ``params``.
    """
    back = _read_back(grid, values * transmission(grid, grid.pixels, params))
    return _onto_templates(grid, back * losvd.transform)


def _read_back(grid: Grid, values: Float[Array, " wave"]) -> Complex[Array, " frequency"]:
    """Return what, times the transform of a spectrum and summed, is the sum over the pixels.

    Of that sum the real part. Of a real transform each frequency but the first and the last stands
    for two.
    """
    spread = _gathered(kept(values), grid.readers, grid.shares)
    twice = jnp.full(grid.frequency.size, 2.0 / spread.size)
    twice = twice.at[jnp.array([0, -1])].set(1.0 / spread.size)
    return jnp.asarray(jnp.conj(jnp.fft.rfft(spread)) * twice)


def _onto_templates(grid: Grid, back: Complex[Array, " frequency"]) -> Float[Array, " template"]:
    parts = kept(jnp.concatenate([back.real, -back.imag]))
    return jnp.asarray(grid.templates.reshape(len(grid.templates), -1) @ parts)


def losvd_at(grid: Grid, params: Float[Array, " param"]) -> Losvd:
    """Return the velocity distribution of these parameters."""
    frequency = grid.frequency
    gauss = _gaussian(frequency, params)
    turn = jax.lax.complex(jnp.zeros_like(frequency), -frequency)
    if n_kinematic(grid, params) == 2:
        return Losvd(gauss, jnp.stack([turn * gauss, -0.5 * frequency**2 * gauss]))
    h3, h4 = params[2], params[3]
    sigma = jnp.sqrt(jnp.maximum(params[1], _LEAST_VARIANCE))
    y = sigma * frequency
    third, fourth = _hermite(y)
    shape = jax.lax.complex(1 + h4 * fourth, h3 * third)
    slopes = _hermite_slopes(y)
    by_variance = jax.lax.complex(h4 * slopes[1], h3 * slopes[0]) * frequency / (2 * sigma)
    by_param = [
        turn * shape,
        -0.5 * frequency**2 * shape + by_variance,
        jax.lax.complex(jnp.zeros_like(y), third),
        jax.lax.complex(fourth, jnp.zeros_like(y)),
    ]
    return Losvd(gauss * shape, gauss * jnp.stack(by_param))


def transmission(grid: Grid, points: Points, params: Float[Array, " param"]) -> Array:
    """Return what the stars are multiplied with at some points: dust and polynomials."""
    n_av = n_kinematic(grid, params)
    screen = jnp.exp(LOG_PER_MAG * params[n_av] * points.dust)
    count = len(points.multiplicative)
    if count:
        screen = screen * (1 + params[n_av + 1 : n_av + 1 + count] @ points.multiplicative)
    return kept(screen)


def _gaussian(frequency: Float[Array, " frequency"], params: Float[Array, " param"]) -> Array:
    """Return the Fourier transform of a Gaussian of that shift and variance."""
    # The frequencies are multiples of one: sines and cosines of a few of them give the others.
    turn = params[0] * frequency[1]
    far = turn * _BLOCK * jnp.arange(-(-frequency.size // _BLOCK))
    near = turn * jnp.arange(_BLOCK)
    left = jnp.stack([jnp.cos(far), jnp.sin(far)])
    right = jnp.stack([jnp.cos(near), jnp.sin(near)])
    phase = jnp.stack([left.T @ (right * jnp.array([[1.0], [-1.0]])), -left[::-1].T @ right])
    phase = phase.reshape(2, -1)[:, : frequency.size]
    parts = kept(jnp.exp(-0.5 * params[1] * frequency**2) * phase)
    return jax.lax.complex(parts[0], parts[1])


def _hermite(y: Array) -> tuple[Array, Array]:
    """Return H_3 and H_4, which are also their own Fourier transforms but for the sign."""
    return (2 * y**3 - 3 * y) / jnp.sqrt(3.0), (4 * y**4 - 12 * y**2 + 3) / jnp.sqrt(24.0)


def _hermite_slopes(y: Array) -> tuple[Array, Array]:
    return (6 * y**2 - 3) / jnp.sqrt(3.0), (16 * y**3 - 24 * y) / jnp.sqrt(24.0)


def _mixture(grid: Grid, light: Float[Array, " template"]) -> Complex[Array, " frequency"]:
    n_frequency = grid.frequency.size
    parts = light @ grid.templates.reshape(light.size, 2 * n_frequency)
    return jax.lax.complex(parts[:n_frequency], parts[n_frequency:])


def _spectra(mixture: Complex[Array, " frequency"], losvd: Losvd) -> Array:
    """Return the transforms of the stars and of their derivatives by the kinematics."""
    return mixture * jnp.concatenate([losvd.transform[None], losvd.by_param])


def _model_and_slopes(
    grid: Grid, points: Points, params: Float[Array, " param"], stars: Float[Array, "row point"]
) -> tuple[Float[Array, " point"], Float[Array, "param point"]]:
    """Return the model and its derivatives from the stars and theirs by the kinematics."""
    count, n_av = len(points.multiplicative), n_kinematic(grid, params)
    rows = kept(stars * transmission(grid, points, params))
    slopes = [rows[1:], (LOG_PER_MAG * points.dust * rows[0])[None]]
    if count:
        screen = jnp.exp(LOG_PER_MAG * params[n_av] * points.dust)
        slopes.append(points.multiplicative * (stars[0] * screen))
    return rows[0] + _added(points, params), jnp.concatenate([*slopes, points.additive])


def _added(points: Points, params: Float[Array, " param"]) -> Array:
    """Return the additive polynomials; 0 where there are none."""
    count = len(points.additive)
    return jnp.asarray(params[params.size - count :] @ points.additive)


def kept(values: Array) -> Array:
    """Return what is given, worked out once.

    XLA works out anew, wherever it is used, what is cheaper to it than to remember, and takes
    exponentials and gathered values for cheap.
    """
    barrier: Callable[[Array], Array] = jax.lax.optimization_barrier
    return barrier(values)


def _gathered(
    values: Float[Array, " wave"],
    readers: Int[Array, "reader point"],
    shares: Float[Array, "reader point"],
) -> Float[Array, " point"]:
    """Return the sum over the pixels that belong to each point, by their shares."""
    terms = [
        jnp.take(values, pixel, mode="clip") * share
        for pixel, share in zip(readers, shares, strict=True)
    ]
    return jnp.sum(jnp.stack(terms), axis=0)


def at_pixels(grid: Grid, spectra: Array) -> Float[Array, "row wave"]:
    """Go from Fourier space to the data's pixels."""
    values = jnp.fft.irfft(spectra, grid.shares.shape[1])
    picked = [
        jnp.take(values, grid.first + tap, axis=1, mode="clip") * grid.taps[tap] for tap in range(4)
    ]
    return jnp.asarray(picked[0] + picked[1] + picked[2] + picked[3])
