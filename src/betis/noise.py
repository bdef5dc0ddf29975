"""Whether the stated errors of a cube agree with the scatter of its data, at each wavelength.

In each of some spaxels a straight line through the neighbouring wavelengths predicts each pixel.
The scatter over spaxels of data minus prediction, over the error that is stated for it, is 1
where the stated errors are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.ndimage import correlate1d, uniform_filter1d

from betis.arrays import B8, F32, F64, Index
from betis.errors import InputError
from betis.products import Cube
from betis.wavelength import C_KMS, GAP

LINE_WIDTH = 600.0
"""km/s either side of a line that are left out."""

REACH = 15
"""Pixels either side from which a pixel is predicted."""

FAINT = 10.0
"""Continuum S/N a pixel below which a spaxel's stars are lost in its noise."""

ENOUGH = 50
"""Spaxels, or values in all, from which a scatter is taken."""

PRECISION = 0.02
"""Relative sampling error beyond which neighbouring wavelengths are averaged."""

_NEAREST = 2
"""The pixel itself and its neighbours, whose noise is correlated with it, predict nothing."""

_OFFSETS = np.arange(-REACH, REACH + 1)
_NEIGHBOURS = (np.abs(_OFFSETS) >= _NEAREST).astype(float)

_FEWEST = 8
"""Pixels that must predict one."""

_CLIP = 5.0
"""Pixels beyond this many times the scatter of their spaxel predict nothing."""

_MAX_VOXELS = 40_000_000
_TILES = 20
_MAX_SPAXELS = 2000
"""Voxels read, the tiles of rows they come in, and spaxels used, at most."""

_SNR_STEP = 5
"""Every so many pixels count for the S/N of a spaxel's continuum."""

MAD = 1.4826
"""Standard deviation over the median absolute deviation of a Gaussian."""

_MAD_ERROR = 1.166
"""Relative error of that estimate, times the root of the number of values (37 % efficiency)."""

_MAD_BIAS = 0.3
"""Excess of its mean, times the number of values (from 40000 draws of 8 to 100 values)."""

_CONSISTENT = 4.0
"""Averages over more pixels that differ by more than this from those over fewer are not taken."""

_FEWEST_SHARING = 10
"""Spaxels from which it can be told what they share."""

_LARGEST_LEVERAGE = 0.9
"""A spaxel that alone fixes what is shared says nothing of its own scatter."""

_SMALLEST = 1e-3
"""Least ratio, where data without any scatter are called noisy."""

_BLOCK = 50.0
"""Angstrom, of the stretches of spectrum that `describe_noise` tells apart."""

_STANDS_OUT = 1.25
"""What a stretch must differ by from the rest to be named."""

Residuals = Float[F64, "wave spectrum"]
Kept = Float[F32, "wave spectrum"]


class NoiseCheck(NamedTuple):
    """How right the stated errors of a cube are.

    Attributes
    ----------
    ratio : [wave]
        Scatter over stated error, of single pixels; positive and finite, 1 where they are right.
    correlation
        Of the noise of neighbouring wavelengths: 0 where pixels are independent.
    """

    ratio: Float[F64, " wave"]
    correlation: float

    @property
    def of_sums(self) -> Float[F64, " wave"]:
        """Scatter over stated error of sums over many pixels, whose errors add in quadrature."""
        return np.asarray(self.ratio * np.sqrt(1 + 2 * self.correlation))


class Block(NamedTuple):
    """Spectra of some spaxels, in units of the tile's noise; ``good`` where they can be used."""

    flux: Residuals
    variance: Residuals
    good: Bool[B8, "wave spectrum"]

    def take(self, spaxels: Int[Index, " spaxel"]) -> Block:
        """Return some of them."""
        return Block(self.flux[:, spaxels], self.variance[:, spaxels], self.good[:, spaxels])


class Sample(NamedTuple):
    """Spectra of some spaxels: residual and continuum over the error of the residual."""

    residual: Kept
    level: Kept


def measure_noise(cube: Cube, line_waves: ArrayLike = ()) -> NoiseCheck:
    """Compare the stated errors of a cube with the scatter of its data.

    At most some 40 million voxels are read, in tiles of rows spread evenly over the field. Of
    those spaxels the ones with a continuum S/N below `FAINT` a pixel are used, all where they are
    fewer than `ENOUGH`. A pixel is predicted by a straight line through the pixels up to `REACH`
    away, weighted by their inverse variances, without itself, its neighbours, emission lines and
    clipped pixels; the error of the prediction is added to the pixel's own. What the spaxels share
    in proportion to their continuum (stellar features, telluric bands) is taken off. The scatter is
    1.4826 times the median of the absolute values; where spaxels are few, of those of
    neighbouring wavelengths together. Wavelengths are averaged as long as the sampling error
    is above `PRECISION` and wider averages agree with narrower ones (Lepskii 1991, Theory Probab.
    Appl. 35 454). Lines are interpolated over.

    Parameters
    ----------
    cube
        As read, or prepared.
    line_waves : Angstrom
        Emission lines, on the axis of the cube.

    Returns
    -------
    The ratio and how far the noise of neighbouring wavelengths is correlated.

    Raises
    ------
    InputError
        Where there are too few usable voxels to tell.
    """
    left_out = near_lines(cube.wave, np.asarray(line_waves, dtype=float))
    residual = without_shared(_sample(cube, left_out))
    ratio = _scatter(residual)
    return NoiseCheck(
        ratio=ratio, correlation=_correlation(residual / ratio.astype(np.float32)[:, None])
    )


def near_lines(wave: Float[F64, " wave"], lines: Float[F64, " line"]) -> Bool[B8, " wave"]:
    """Tell the pixels within `LINE_WIDTH` of any line."""
    reach = lines * LINE_WIDTH / C_KMS
    near = np.zeros(wave.shape, dtype=bool)
    for line, half in zip(lines, reach, strict=True):
        near |= np.abs(wave - line) < half
    return near


def rescaled(cube: Cube, ratio: Float[F64, " wave"]) -> Cube:
    """Return the cube with its errors multiplied by ``ratio`` at each wavelength when it is read.

    Raises
    ------
    InputError
        Where the ratio is of another axis, or not positive.
    """
    if ratio.shape != cube.wave.shape or not np.all(np.isfinite(ratio) & (ratio > 0)):
        raise InputError(
            f"the noise ratio has the shape {ratio.shape}, where {cube.wave.size} positive numbers "
            "were expected, one a wavelength of the cube; measure it on this cube"
        )
    before = 1.0 if cube.noise_scale is None else cube.noise_scale
    return replace(cube, noise_scale=before * ratio)


def describe_noise(cube: Cube, ratio: Float[F64, " wave"]) -> str:
    """Return one sentence on the stated errors: their kind, how right they are, where they fail."""
    low, middle, high = np.percentile(ratio, [16, 50, 84])
    said = (
        f"stated as {cube.noise_kind}; scatter over stated error: median {middle:.2f} "
        f"(16-84 %: {low:.2f}-{high:.2f})"
    )
    first, last, worst = _worst_stretch(cube.wave * (1 + cube.redshift), ratio, middle)
    stands_out = max(worst / middle, middle / worst) > _STANDS_OUT
    return f"{said}, {worst:.2g} in {first:.0f}-{last:.0f} Å" if stands_out else said


def _sample(cube: Cube, left_out: Bool[B8, " wave"]) -> Sample:
    """Return residuals of faint spaxels, or of all where there are not enough of them."""
    tiles = _tiles(cube)
    faint: list[Sample] = []
    bright: list[Sample] = []
    for block in _spectra(cube, tiles):
        chosen = chosen_spaxels(block, _MAX_SPAXELS // len(tiles))
        parts = (residuals(cube.wave, left_out, block.take(spaxels)) for spaxels in chosen)
        for kept, part in zip((faint, bright), parts, strict=True):
            kept.append(part)
    n_faint = sum(part.residual.shape[1] for part in faint)
    return joined(faint if n_faint >= ENOUGH else faint + bright)


def _spectra(cube: Cube, tiles: list[slice]) -> Iterator[Block]:
    """Yield the usable spaxels of each tile, in units of its noise."""
    own = own_spectra(cube)
    for rows in tiles:
        block = cube.read(rows)
        good = ~block.mask
        usable = own[rows] & (np.count_nonzero(good, axis=0) >= cube.wave.size // 2)
        flux, variance, good = block.flux[:, usable], block.variance[:, usable], good[:, usable]
        if good.any():
            unit = float(np.median(variance[good]))
            yield Block(flux / np.sqrt(unit), variance / unit, good)


def own_spectra(cube: Cube) -> Bool[B8, "y x"]:
    """Tell the spaxels that count: of copies of one spectrum only the first."""
    if cube.copies is None:
        return np.ones(cube.sky.shape, dtype=bool)
    labels = cube.copies.ravel()
    own = labels < 0
    _, first = np.unique(labels, return_index=True)
    own[first] = True
    return own.reshape(cube.sky.shape)


def _tiles(cube: Cube) -> list[slice]:
    """Return tiles of image rows: the whole field, or as much as may be read, evenly spread."""
    n_wave, n_y, n_x = cube.shape
    height = max(1, _MAX_VOXELS // _TILES // (n_wave * n_x))
    count = max(1, min(_TILES, _MAX_VOXELS // (height * n_wave * n_x)))
    if n_y <= height * count:
        return [slice(first, min(first + height, n_y)) for first in range(0, n_y, height)]
    middle = (np.arange(count) + 0.5) * n_y / count
    return [slice(first, first + height) for first in (middle - height / 2).astype(int).tolist()]


def chosen_spaxels(block: Block, most: int) -> tuple[Int[Index, " spaxel"], Int[Index, " spaxel"]]:
    """Return faint spaxels and, where they do not suffice, others; at most so many of each."""
    some = slice(None, None, _SNR_STEP)
    flux, variance, good = (part[some] for part in block)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_pixel = np.where(good, flux / np.sqrt(variance), np.nan)
    is_faint = _median(per_pixel, axis=0) < FAINT
    faint, others = (_thinned(np.flatnonzero(kind), most) for kind in (is_faint, ~is_faint))
    return faint, others[: 0 if faint.size >= ENOUGH else None]


def _thinned(spaxels: Int[Index, " spaxel"], most: int) -> Int[Index, " spaxel"]:
    return spaxels[:: max(1, -(-spaxels.size // most))]


def residuals(wave: Float[F64, " wave"], left_out: Bool[B8, " wave"], block: Block) -> Sample:
    """Return what the neighbours do not predict, arm by arm; NaN where it cannot be told."""
    used = block.good & ~left_out[:, None]
    step = np.diff(wave)
    gaps = np.flatnonzero(step > GAP * np.median(step)) + 1
    parts = [
        _arm_residuals(*arm)
        for arm in zip(
            *(np.split(array, gaps) for array in (block.flux, block.variance, used)), strict=True
        )
    ]
    return Sample(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _arm_residuals(flux: Residuals, variance: Residuals, used: Bool[B8, "wave spectrum"]) -> Sample:
    with np.errstate(divide="ignore"):
        weight = np.where(used, 1.0 / variance, 0.0)
    scaled, _ = _predicted(flux, variance, weight)
    size = np.abs(np.where(used, scaled, np.nan))
    bad = size > _CLIP * MAD * _median(size, axis=0)
    residual, level = _predicted(flux, variance, np.where(bad, 0.0, weight))
    return Sample(_kept(residual, used), _kept(level, used))


def _kept(values: Residuals, used: Bool[B8, "wave spectrum"]) -> Kept:
    return np.asarray(np.where(used, values, np.nan), dtype=np.float32)


def _predicted(
    flux: Residuals, variance: Residuals, weight: Residuals
) -> tuple[Residuals, Residuals]:
    """Fit a weighted straight line round each pixel; see `measure_noise`."""

    def total(values: Residuals, power: int) -> Residuals:
        taps = _NEIGHBOURS * _OFFSETS**power
        return np.asarray(correlate1d(values, taps, axis=0, mode="constant"))

    s0, s1, s2 = (total(weight, power) for power in (0, 1, 2))
    enough = total((weight > 0).astype(float), 0) > _FEWEST - 0.5
    determinant = s0 * s2 - s1**2
    determinant[~enough | (determinant < 1e-9 * s0 * s2)] = np.nan
    level = (s2 * total(weight * flux, 0) - s1 * total(weight * flux, 1)) / determinant
    error = np.sqrt(variance + s2 / determinant)
    return (flux - level) / error, level / error


def joined(parts: list[Sample]) -> Sample:
    """Return the samples as one.

    Raises
    ------
    InputError
        Where there is no spectrum in any.
    """
    if not sum(part.residual.shape[1] for part in parts):
        raise InputError(
            "no spaxel that was looked at has enough usable wavelengths, so the stated errors "
            "cannot be compared with the scatter of the data; check the cube's mask and errors"
        )
    return Sample(*(np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)))


def without_shared(sample: Sample) -> Kept:
    """Return the residuals without what is proportional to the continuum in all spaxels alike.

    Divided by what is left of their scatter, as the fit of one factor to n spaxels takes some.
    """
    residual, level = sample
    if residual.shape[1] < _FEWEST_SHARING:
        return residual
    typical = MAD * _median(np.abs(residual), axis=1)[:, None]
    fit = np.where(np.abs(residual) < _CLIP * typical, level, 0.0)
    power = np.sum(fit**2, axis=1, keepdims=True)
    factor = np.sum(fit * np.nan_to_num(residual), axis=1, keepdims=True) / np.maximum(power, 1e-30)
    leverage = fit**2 / np.maximum(power, 1e-30)
    left = np.where(leverage < _LARGEST_LEVERAGE, 1.0 - leverage, np.nan)
    return np.asarray((residual - factor * level) / np.sqrt(left), dtype=np.float32)


def _scatter(residual: Kept) -> Float[F64, " wave"]:
    """Return the robust scatter at each wavelength, averaged and interpolated where it must be."""
    n_wave, n_spectrum = residual.shape
    depth = -(-ENOUGH // n_spectrum)
    n_group = -(-n_wave // depth)
    padded = np.full((n_group * depth, n_spectrum), np.nan)
    padded[:n_wave] = np.abs(residual)
    values = padded.reshape(n_group, depth * n_spectrum)
    count = np.count_nonzero(np.isfinite(values), axis=1)
    known = count >= _FEWEST
    if not known.any():
        raise InputError(
            f"only {count.sum()} voxels lie on a continuum that can be told, so the stated errors "
            "cannot be compared with the scatter of the data"
        )
    scatter = MAD * _median(values[known], axis=1) / (1 + _MAD_BIAS / count[known])
    ratio = _averaged(scatter, _MAD_ERROR / np.sqrt(count[known]))
    place = depth * np.flatnonzero(known) + 0.5 * (depth - 1)
    return np.interp(np.arange(n_wave), place, np.maximum(ratio, _SMALLEST))


def _correlation(scaled: Kept) -> float:
    """Return the correlation of neighbours in residuals of scatter 1, at least 0.

    Two neighbours are predicted by nearly the same pixels, whose noise they share; that is
    taken off.
    """
    kept = np.where(np.abs(scaled) < _CLIP, scaled, np.nan)
    product = kept[1:] * kept[:-1]
    both = np.isfinite(product)
    if not both.any():
        return 0.0
    measured = float(product[both].sum() / np.square(kept[1:][both]).sum())
    shared = 1.0 / (1 + np.count_nonzero(_NEIGHBOURS))
    return max(0.0, (measured - shared) / (1 - shared))


def _averaged(ratio: Float[F64, " wave"], error: Float[F64, " wave"]) -> Float[F64, " wave"]:
    """Average over as many neighbours as the relative error demands and the values allow."""
    result, active = ratio, error > PRECISION
    low = ratio * (1 - _CONSISTENT * error)
    high = ratio * (1 + _CONSISTENT * error)
    for width in 2 ** np.arange(1, 9) + 1:
        wider = uniform_filter1d(ratio, width, mode="reflect")
        active = active & (low <= wider) & (wider <= high)
        result = np.where(active, wider, result)
        margin = _CONSISTENT * error / np.sqrt(width)
        low = np.maximum(low, wider * (1 - margin))
        high = np.minimum(high, wider * (1 + margin))
        active &= error > PRECISION * np.sqrt(width)
    return result


def _median(values: Residuals | Kept, axis: int) -> Float[F64, " _"]:
    """Return the median of what is finite; NaN where nothing is."""
    some = np.isfinite(values).any(axis=axis, keepdims=True)
    median = np.nanmedian(np.where(some, values, 0.0), axis=axis)
    return np.asarray(np.where(np.squeeze(some, axis), median, np.nan), dtype=float)


def _worst_stretch(
    wave: Float[F64, " wave"], ratio: Float[F64, " wave"], middle: float
) -> tuple[float, float, float]:
    """Return where the ratio departs most from its median, and its mean there."""
    blocks = ((wave - wave[0]) // _BLOCK).astype(int)
    names, index = np.unique(blocks, return_inverse=True)
    level = np.log(np.bincount(index, ratio) / np.bincount(index) / middle)
    worst = int(np.argmax(np.abs(level)))
    alike = level * np.sign(level[worst]) > np.log(_STANDS_OUT)
    first, last = worst, worst
    while first > 0 and alike[first - 1]:
        first -= 1
    while last < names.size - 1 and alike[last + 1]:
        last += 1
    inside = (index >= first) & (index <= last)
    return float(wave[inside][0]), float(wave[inside][-1]), float(ratio[inside].mean())
