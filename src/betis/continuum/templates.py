"""A base of stellar templates, brought to the line-spread function and the axis of the data.

The data keep their pixels; the templates come to them. Once for all rows, they are converted to
the medium of the data, broadened to its line-spread function and sampled on a grid of constant
velocity step, on which a shift and a Gaussian dispersion are a product in Fourier space. The grid
holds coefficients of cubic B-splines, so that four of them give the value at any data pixel.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.interpolate import CubicSpline

from betis.arrays import B8, C128, F64, I32
from betis.continuum.model import Grid
from betis.errors import FitError, InputError
from betis.lsf import FWHM_PER_SIGMA
from betis.products import Spectra, Templates
from betis.wavelength import C_KMS, air_to_vacuum, pixel_widths, rest_wave

_STEP_PER_SIGMA = 0.85
"""Grid step over the smallest width in the data; the test of the interpolation error fixes it."""
_COMPONENT_RMS = 2e-4
"""What the reduced base may leave of a template of unit flux: it gives directions, not models."""
_COARSE_STEP = 130.0
"""km/s of the ring on which it does."""
_NORM_WAVE, _NORM_HALF_WIDTH = 5635.0, 45.0
"""Free of strong lines: the window of Cid Fernandes et al. 2005, MNRAS 358 363, section 2.1."""
_WIDEST = 30.0
"""Dispersion, in steps of the base, to which it is broadened exactly; files state absurd ones."""
_BRIDGE = 64
"""Grid points that lead from the end of the grid back to its start without a jump."""


class Range(NamedTuple):
    """Bounds of the fitted parameters: km/s, km/s, mag."""

    max_velocity: float
    max_sigma: float
    min_av: float
    max_av: float


class Shape(NamedTuple):
    """What a model has beside stars, and what its light should look like.

    Attributes
    ----------
    multiplicative, additive
        Degrees of polynomials; 0 and -1 for none.
    penalty : [template, template]
        Adds ``light penalty light`` to chi-square; None for nothing.
    """

    multiplicative: int = 0
    additive: int = -1
    penalty: Float[F64, "template template"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedBase:
    """What the fit needs of a base.

    Attributes
    ----------
    grid
        What the kernels see.
    has_flux, covered : bool [wave]
        Data pixels at which the base has flux; and those at which it also has it when shifted
        and broadened as far as the bounds allow, on which alone a fit is made.
    normalisation : [template]
        Flux of each template at ``norm_wave``, in its own unit.
    norm_wave : Angstrom
        Centre of the window (90 Angstrom wide) over which that is the median.
    pivot
        A(wave)/A(V) at which the model holds its flux while its A_V changes.
    """

    grid: Grid
    has_flux: Bool[B8, " wave"]
    covered: Bool[B8, " wave"]
    normalisation: Float[F64, " template"]
    norm_wave: float
    pivot: float


def prepare_base(
    templates: Templates,
    spectra: Spectra,
    dust: Float[F64, " wave"],
    bounds: Range,
    shape: Shape | None = None,
) -> PreparedBase:
    """Bring a base to the axis, medium and line-spread function of the spectra.

    Parameters
    ----------
    templates, spectra
        The base, and the data whose axis is to be met.
    dust : [wave]
        A(wave)/A(V) at ``spectra.wave``; pixels where it is not finite are not covered.
    bounds
        Of the parameters.
    shape
        What the model has beside stars and dust.

    Raises
    ------
    InputError
        Where the base is empty, or a template has no flux where it is normalised.
    FitError
        Where base and data have fewer than two pixels in common.
    """
    _check_base(templates)
    template_wave = _on_axis(templates, spectra)
    pixels = spectra.wave
    has_flux = (pixels >= template_wave[0]) & (pixels <= template_wave[-1]) & np.isfinite(dust)
    if has_flux.sum() < 2:
        raise FitError(
            f"the base {templates.name!r} spans {template_wave[0]:.0f} to "
            f"{template_wave[-1]:.0f} Angstrom and the spectra {pixels[0]:.0f} to "
            f"{pixels[-1]:.0f} Angstrom at rest, so that they have nothing in common; "
            "check the redshift or take another base"
        )
    margin = (bounds.max_velocity + bounds.max_sigma) / C_KMS
    inside = (pixels > template_wave[0] * (1 + margin)) & (
        pixels < template_wave[-1] * (1 - margin)
    )
    norm_wave = _normalisation_wave(pixels[has_flux])
    norm = _normalisation(templates, template_wave, norm_wave)
    log_wave = _velocity_grid(spectra, templates, template_wave, has_flux, bounds)
    values = _sample(templates, template_wave, spectra, log_wave) / norm[:, None]
    pivot = float(np.mean(dust[has_flux]))
    relative = np.where(np.isfinite(dust), dust - pivot, 0.0)
    return PreparedBase(
        grid=_grid(values, log_wave, pixels, relative, shape or Shape()),
        has_flux=has_flux,
        covered=has_flux & inside,
        normalisation=norm,
        norm_wave=norm_wave,
        pivot=pivot,
    )


def sampled_templates(
    templates: Templates, spectra: Spectra, log_wave: Float[F64, " grid"]
) -> Float[F64, "template grid"]:
    """Return the templates, in the resolution and the pixels of the spectra, on any grid.

    Parameters
    ----------
    templates, spectra
        The base, in its own unit, and the data whose medium, line-spread function and pixels it is
        brought to.
    log_wave : [grid]
        Natural logarithm of the wavelengths (Angstrom) on the axis of the spectra.
    """
    return _sample(templates, _on_axis(templates, spectra), spectra, log_wave)


def template_broader_share(templates: Templates, spectra: Spectra) -> float:
    """Return the share of the data's pixels at which the templates are broader than the data.

    There the templates are left as they are, and the dispersion comes out too small.
    """
    wave = _on_axis(templates, spectra)
    common = (spectra.wave >= wave[0]) & (spectra.wave <= wave[-1])
    fwhm = np.interp(spectra.wave, wave, templates.fwhm)
    return float(np.mean(fwhm[common] > spectra.lsf[common])) if np.any(common) else 0.0


def _check_base(templates: Templates) -> None:
    shape = (templates.n_template, templates.wave.size)
    if templates.flux.ndim != 2 or shape[0] < 1 or shape[1] < 4:
        raise InputError(
            f"the base {templates.name!r} has flux of shape {templates.flux.shape}, where at "
            "least one template of four pixels is needed; give another base"
        )
    if not np.all(np.isfinite(templates.flux)):
        raise InputError(
            f"the base {templates.name!r} holds flux that is not finite; cut it to the "
            "wavelengths where it is"
        )


def _on_axis(templates: Templates, spectra: Spectra) -> Float[F64, " sample"]:
    """Return where the templates' wavelengths lie on the axis of the spectra, Angstrom."""
    is_air = templates.medium == "air"
    vacuum = air_to_vacuum(templates.wave) if is_air else templates.wave
    return rest_wave(vacuum, spectra.medium, spectra.redshift)


def _normalisation_wave(wave: Float[F64, " wave"]) -> float:
    """Return 5635 Angstrom, or the middle of the data where that is outside of them."""
    inside = wave[0] + _NORM_HALF_WIDTH <= _NORM_WAVE <= wave[-1] - _NORM_HALF_WIDTH
    return _NORM_WAVE if inside else float(0.5 * (wave[0] + wave[-1]))


def _normalisation(
    templates: Templates, wave: Float[F64, " sample"], center: float
) -> Float[F64, " template"]:
    distance = np.abs(wave - center)
    window = distance <= max(_NORM_HALF_WIDTH, float(distance.min()))
    norm = np.median(templates.flux[:, window], axis=1)
    if np.any(norm <= 0):
        raise InputError(
            f"{int(np.sum(norm <= 0))} templates of the base {templates.name!r} have no positive "
            f"flux at {center:.0f} Angstrom, where they are normalised; leave them out"
        )
    return np.asarray(norm)


def _velocity_grid(
    spectra: Spectra,
    templates: Templates,
    template_wave: Float[F64, " sample"],
    has_flux: Bool[B8, " wave"],
    bounds: Range,
) -> Float[F64, " grid"]:
    """Return the log wavelengths of the grid: the common range, padded as far as bounds reach."""
    wave = spectra.wave[has_flux]
    step = _grid_step(spectra, templates, template_wave, has_flux)
    pad = (bounds.max_velocity + 4 * bounds.max_sigma) / C_KMS + 4 * step
    start, stop = np.log(wave[0]) - pad, np.log(wave[-1]) + pad
    n_even = 2 * next_fast_len((int((stop - start) / step) + _BRIDGE) // 2 + 1, real=True)
    return np.asarray(start + step * np.arange(n_even))


def _grid_step(
    spectra: Spectra,
    templates: Templates,
    template_wave: Float[F64, " sample"],
    has_flux: Bool[B8, " wave"],
) -> float:
    """Return the step in log wavelength: the smallest width to which anything is resolved."""
    wave = spectra.wave[has_flux]
    fwhm = np.interp(wave, template_wave, templates.fwhm)
    sample = np.interp(wave, template_wave, np.gradient(template_wave))
    resolved = np.maximum(np.maximum(spectra.lsf[has_flux], fwhm) / FWHM_PER_SIGMA, 0.5 * sample)
    pixel = np.diff(spectra.edges)[has_flux]
    return float(_STEP_PER_SIGMA * np.min(np.sqrt(resolved**2 + pixel**2 / 12) / wave))


def _sample(
    templates: Templates,
    template_wave: Float[F64, " sample"],
    spectra: Spectra,
    log_wave: Float[F64, " grid"],
) -> Float[F64, "template grid"]:
    """Return the templates, broadened to the data, at the points of the grid.

    The mean over a data pixel is a box; to 0.1 % it is the Gaussian of the same variance. Beyond
    its ends a template keeps its last value.
    """
    wave = np.exp(log_wave)
    sigma = _missing_sigma(templates, template_wave, spectra, wave)
    spline = CubicSpline(template_wave, templates.flux.T)
    spacing = float(np.median(np.diff(template_wave)))
    widest = float(sigma.max()) / spacing
    n_side = int(np.ceil(4.5 * max(2.0, 2.0 * min(widest, _WIDEST)))) if widest > 0 else 0
    nodes = np.linspace(-4.5, 4.5, 2 * n_side + 1) if n_side else np.zeros(1)
    shares = np.exp(-0.5 * nodes**2)
    total = np.zeros((wave.size, templates.n_template))
    for node, share in zip(nodes, shares / shares.sum(), strict=True):
        total += share * spline(np.clip(wave + node * sigma, template_wave[0], template_wave[-1]))
    return total.T


def _missing_sigma(
    templates: Templates,
    template_wave: Float[F64, " sample"],
    spectra: Spectra,
    wave: Float[F64, " grid"],
) -> Float[F64, " grid"]:
    """Return the dispersion (Angstrom) from the templates to the data, pixels included."""
    lsf = np.interp(wave, spectra.wave, spectra.lsf)
    fwhm = np.interp(wave, template_wave, templates.fwhm)
    pixel = np.interp(wave, spectra.wave, pixel_widths(spectra.edges))
    variance = (lsf**2 - fwhm**2) / FWHM_PER_SIGMA**2 + pixel**2 / 12
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _grid(
    values: Float[F64, "template grid"],
    log_wave: Float[F64, " grid"],
    pixels: Float[F64, " wave"],
    dust: Float[F64, " wave"],
    shape: Shape,
) -> Grid:
    """Return what the kernels see of a sampled base."""
    n_grid, step = log_wave.size, float(log_wave[1] - log_wave[0])
    turn = 2 * np.pi * np.fft.rfftfreq(n_grid)
    # Spline coefficients from values: Unser 1999, IEEE Signal Processing Magazine 16(6) 22, eq. 12.
    spectrum = np.fft.rfft(_closed(values), axis=1) * (3 / (2 + np.cos(turn)))
    first, taps, inside = _interpolation(log_wave, pixels)
    readers, shares = _transposed(first, taps * inside, n_grid)
    return Grid(
        templates=np.stack([spectrum.real, spectrum.imag], axis=1),
        frequency=turn / (step * C_KMS),
        first=first,
        taps=taps,
        readers=readers,
        shares=shares,
        dust=dust,
        multiplicative=_legendre(np.log(pixels), pixels, shape.multiplicative)[1:],
        additive=_legendre(np.log(pixels), pixels, shape.additive),
        penalty=np.zeros((len(values),) * 2) if shape.penalty is None else shape.penalty,
        **_coarse(spectrum, log_wave, pixels, dust, shape),
    )


def _coarse(
    spectrum: C128,
    log_wave: Float[F64, " grid"],
    pixels: Float[F64, " wave"],
    dust: Float[F64, " wave"],
    shape: Shape,
) -> dict[str, NDArray[Any]]:
    """Return the fields of `Grid` that give directions: a reduced base on fewer points."""
    n_grid, length = log_wave.size, log_wave.size * (log_wave[1] - log_wave[0])
    n_point = min(n_grid, 2 * next_fast_len(int(length * C_KMS / _COARSE_STEP) // 2 + 1, real=True))
    points = log_wave[0] + length / n_point * np.arange(n_point)
    size = n_point // 2 + 1
    mixing, components, rest = _reduce(spectrum, n_grid)
    to_values = (2 + np.cos(2 * np.pi * np.arange(size) / n_grid)) / 3 * (n_point / n_grid)
    first, taps, inside = _linear_interpolation(points, pixels)
    readers, shares = _transposed(first, taps * inside, n_point)
    return {
        "components": (components[:, :size] * to_values).astype(np.complex64),
        "coarse_filter": to_values,
        "mixing": mixing,
        "rest": rest,
        "coarse_readers": readers,
        "coarse_shares": shares,
        "coarse_dust": np.interp(points, np.log(pixels), dust),
        "coarse_multiplicative": _legendre(points, pixels, shape.multiplicative)[1:],
        "coarse_additive": _legendre(points, pixels, shape.additive),
    }


def _legendre(
    log_wave: Float[F64, " point"], pixels: Float[F64, " wave"], degree: int
) -> Float[F64, "degree point"]:
    """Return the Legendre polynomials up to a degree (none at -1), over the range of the pixels."""
    middle, half = 0.5 * (pixels[-1] + pixels[0]), 0.5 * (pixels[-1] - pixels[0])
    place = np.clip((np.exp(log_wave) - middle) / half, -1.0, 1.0)
    return np.asarray(legvander(place, max(degree, 0)).T[: degree + 1])


def _closed(values: Float[F64, "template grid"]) -> Float[F64, "template grid"]:
    """Return a copy whose last points lead back to the first: the Fourier grid is a ring."""
    closed = values.copy()
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, _BRIDGE + 1) / (_BRIDGE + 1))
    last, start = values[:, -_BRIDGE - 1, None], values[:, :1]
    closed[:, -_BRIDGE:] = last + (start - last) * ramp
    return closed


def _reduce(
    spectrum: C128, n_grid: int
) -> tuple[Float[F64, "template component"], C128, Float[F64, " template"]]:
    """Return the mixing that gives the templates from few components, these, and the rest.

    The components are in Fourier space; the rest is the mean square of what they leave of each
    template.
    """
    values = np.fft.irfft(spectrum, n_grid, axis=1)
    left, strength, right = np.linalg.svd(values, full_matrices=False)
    power = np.cumsum(((left * strength) ** 2)[:, ::-1], axis=1)[:, ::-1] / n_grid
    power = np.append(power[:, 1:], np.zeros((len(power), 1)), axis=1)
    count = int(np.argmax(np.sqrt(power.max(axis=0)) <= _COMPONENT_RMS)) + 1
    mixing = left[:, :count] * strength[:count]
    return mixing, np.fft.rfft(right[:count], axis=1), power[:, count - 1]


def _interpolation(
    log_wave: Float[F64, " grid"], pixels: Float[F64, " wave"]
) -> tuple[I32, Float[F64, "4 wave"], B8]:
    """Return the first of the four spline coefficients of each pixel, their shares, and where.

    Pixels beyond the grid read its end.
    """
    place = (np.log(pixels) - log_wave[0]) / (log_wave[1] - log_wave[0])
    inside = np.clip(place, 1.0, log_wave.size - 3.0)
    whole = np.floor(inside)
    t = inside - whole
    taps = np.stack([(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3])
    return whole.astype(np.int32) - 1, taps / 6, inside == place


def _linear_interpolation(
    points: Float[F64, " coarse"], pixels: Float[F64, " wave"]
) -> tuple[I32, Float[F64, "2 wave"], B8]:
    """Return the first of the two points about each pixel, their shares, and where."""
    place = (np.log(pixels) - points[0]) / (points[1] - points[0])
    inside = np.clip(place, 0.0, points.size - 2.0)
    whole = np.floor(inside)
    part = inside - whole
    return whole.astype(np.int32), np.stack([1 - part, part]), inside == place


def _transposed(
    first: I32, taps: Float[F64, "tap wave"], n_point: int
) -> tuple[I32, Float[F64, "reader point"]]:
    """Return the pixels that read each coefficient and their shares, padded with shares of 0."""
    tap, pixel = np.nonzero(taps)
    target = first[pixel] + tap
    order = np.argsort(target, kind="stable")
    target, tap, pixel = target[order], tap[order], pixel[order]
    slot = np.arange(target.size) - np.searchsorted(target, target)
    shape = (int(slot.max(initial=0)) + 1, n_point)
    readers, shares = np.zeros(shape, np.int32), np.zeros(shape)
    readers[slot, target], shares[slot, target] = pixel, taps[tap, pixel]
    return readers, shares
