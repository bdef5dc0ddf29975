"""A sum of broadened templates on the pixels of the data, and how well its parameters are known.

For engines that fit elsewhere, in logarithmic wavelength: their answer is brought back to the
pixels on which the data were taken, where residuals are independent.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.polynomial.hermite import hermval
from numpy.polynomial.legendre import legvander
from scipy.interpolate import CubicSpline

from betis.arrays import C128, F64
from betis.continuum.templates import sampled_templates
from betis.products import Spectra, Templates
from betis.wavelength import C_KMS

__all__ = ["Answer", "PixelBase", "covariance", "make_pixel_base"]

_RIDGE = 1e-10
_STEP = 1.0
"""Over which the slopes in velocity and dispersion are taken, km/s."""
_MAGNITUDE = 0.4 * float(np.log(10.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What was found for one row, in the flux unit of the fit.

    Attributes
    ----------
    shift, sigma : km/s
        ``c ln(1 + v/c)``, and the dispersion.
    hermite
        h3, h4; empty for a Gaussian.
    av : mag
    weights : [template]
        Light at the normalisation wavelength.
    additive : [order]
        Coefficients of Legendre polynomials that are added; empty for none.
    multiplicative : [order]
        Those from the first degree on of what multiplies the stars, whose mean is 1.
    """

    shift: float
    sigma: float
    hermite: Float[F64, " moment"]
    av: float
    weights: Float[F64, " template"]
    additive: Float[F64, " order"]
    multiplicative: Float[F64, " order"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelBase:
    """A base on a fine grid, and where the pixels lie on it.

    Attributes
    ----------
    stars : [template, grid]
        Of unit flux at the normalisation wavelength.
    log_wave : [grid]
        Of constant step.
    pixels : [wave]
        Natural logarithm of the wavelengths (Angstrom) of the data.
    place : [wave]
        Where they are on the interval -1 to 1 of the polynomials, held there beyond it.
    dust : [wave]
        A(wave)/A(V).
    """

    stars: Float[F64, "template grid"]
    log_wave: Float[F64, " grid"]
    pixels: Float[F64, " wave"]
    place: Float[F64, " wave"]
    dust: Float[F64, " wave"]

    def light(self, answer: Answer) -> Float[F64, " wave"]:
        """Return the stars without dust and polynomials."""
        return np.asarray(self._on_pixels(answer.weights @ self.stars, answer)[0])

    def factor(self, answer: Answer) -> Float[F64, " wave"]:
        """Return what dust and multiplicative polynomials make of them."""
        series = legvander(self.place, answer.multiplicative.size)[:, 1:]
        screen = np.exp(-_MAGNITUDE * answer.av * self.dust)
        return np.asarray(screen * (1 + series @ answer.multiplicative))

    def model(self, answer: Answer) -> Float[F64, " wave"]:
        """Return the flux density at each pixel."""
        added = self._polynomials(answer.additive.size) @ answer.additive
        return self.light(answer) * self.factor(answer) + added

    def design(self, answer: Answer) -> Float[F64, "wave param"]:
        """Return the slopes of the model: in A(V), velocity and dispersion, then what is linear.

        That is the light of the active templates and the coefficients of polynomials.
        """
        factor, light = self.factor(answer), self.light(answer)
        active = self.stars[answer.weights > 0]
        series = legvander(self.place, answer.multiplicative.size)[:, 1:]
        screen = np.exp(-_MAGNITUDE * answer.av * self.dust)
        columns = [
            (-_MAGNITUDE * self.dust * factor * light)[:, None],
            self._kinematic_slopes(answer) * factor[:, None],
            (self._on_pixels(active, answer) * factor).T,
            series * (screen * light)[:, None],
            self._polynomials(answer.additive.size),
        ]
        return np.hstack(columns)

    def _polynomials(self, count: int) -> Float[F64, "wave order"]:
        return np.asarray(legvander(self.place, count)[:, :count], dtype=float)

    def _kinematic_slopes(self, answer: Answer) -> Float[F64, "wave 2"]:
        combined = answer.weights @ self.stars
        near = [(_STEP, 0.0), (-_STEP, 0.0), (0.0, _STEP), (0.0, -min(_STEP, answer.sigma))]
        moved = [self._on_pixels(combined, answer, move)[0] for move in near]
        reach = _STEP + min(_STEP, answer.sigma)
        return np.stack(
            [(moved[0] - moved[1]) / (2 * _STEP), (moved[2] - moved[3]) / reach], axis=1
        )

    def _on_pixels(
        self, stars: F64, answer: Answer, move: tuple[float, float] = (0.0, 0.0)
    ) -> Float[F64, "template wave"]:
        """Return spectra of the grid, shifted and broadened, at the pixels."""
        rows = np.atleast_2d(stars)
        step = float(self.log_wave[1] - self.log_wave[0]) * C_KMS
        turn = np.asarray(2 * np.pi * np.fft.rfftfreq(rows.shape[1], step), dtype=float)
        kernel = _losvd(turn, answer.shift + move[0], answer.sigma + move[1], answer.hermite)
        broadened = np.fft.irfft(np.fft.rfft(rows, axis=1) * kernel, rows.shape[1], axis=1)
        return np.asarray(CubicSpline(self.log_wave, broadened, axis=1)(self.pixels))


def make_pixel_base(
    templates: Templates,
    spectra: Spectra,
    normalisation: Float[F64, " template"],
    dust: Float[F64, " wave"],
    span: tuple[float, float, float, float],
) -> PixelBase:
    """Bring a base to the resolution and the pixels of the spectra, on a fine grid.

    Parameters
    ----------
    templates, spectra
        The base, and the data, of which only the axis is used.
    normalisation : [template]
        Flux of each template that counts as 1.
    dust : [wave]
        A(wave)/A(V); taken as 0 where it is not finite.
    span
        First and last log wavelength of the polynomials, step of the grid in log wavelength, and
        how far the grid reaches beyond the data, km/s.
    """
    first, last, step, reach = span
    pixels = np.log(spectra.wave)
    start, stop = pixels[0] - reach / C_KMS, pixels[-1] + reach / C_KMS
    log_wave = start + step * np.arange(int(np.ceil((stop - start) / step)) + 1)
    stars = sampled_templates(templates, spectra, log_wave) / normalisation[:, None]
    return PixelBase(
        stars=stars,
        log_wave=log_wave,
        pixels=pixels,
        place=np.clip(2 * (pixels - first) / (last - first) - 1, -1.0, 1.0),
        dust=np.where(np.isfinite(dust), dust, 0.0),
    )


def covariance(
    design: Float[F64, "wave param"], weight: Float[F64, " wave"]
) -> Float[F64, "param param"]:
    """Return the covariance of linear parameters.

    Parameters
    ----------
    design : [wave, param]
        Slopes of the model.
    weight : [wave]
        Inverse of the error; 0 at pixels left out.

    Notes
    -----
    A ridge of 1e-10 of the diagonal bounds what columns that are alike make of each other. A
    column without any pixel gets a variance of 0.
    """
    weighted = design * weight[:, None]
    size = np.sqrt(np.sum(weighted**2, axis=0))
    unit = weighted / np.where(size > 0, size, 1.0)
    normal = unit.T @ unit + _RIDGE * np.eye(size.size)
    scale = np.where(size > 0, 1 / np.where(size > 0, size, 1.0), 0.0)
    return np.asarray(np.linalg.inv(normal) * scale[:, None] * scale)


def _losvd(
    turn: Float[F64, " frequency"], shift: float, sigma: float, hermite: Float[F64, " moment"]
) -> C128:
    """Return the transform of a Gauss-Hermite velocity distribution of unit area (h3, h4 = 0).

    Parameters
    ----------
    turn : s/km [frequency]
        Angular frequencies.
    shift, sigma : km/s
    hermite
        h3, h4 ...

    References
    ----------
    van der Marel & Franx 1993, ApJ 407 525, eq. 9; Cappellari 2017, MNRAS 466 798, eq. 38. The
    Hermite functions are their own transforms but for a power of -i.
    """
    width = sigma * turn
    order = np.arange(3, 3 + hermite.size)
    norm = np.array([2.0**n * np.prod(np.arange(1.0, n + 1)) for n in order])
    terms = np.zeros((2, 3 + hermite.size))
    for n, value in zip(order, hermite / np.sqrt(norm), strict=True):
        power = (-1j) ** int(n)
        terms[:, n] = (power * value).real, (power * value).imag
    series = 1 + hermval(width, terms[0]) + 1j * hermval(width, terms[1])
    return np.asarray(np.exp(-1j * shift * turn - 0.5 * width**2) * series)
