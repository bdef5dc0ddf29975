"""How the noise of neighbouring spaxels is correlated, measured on the cube itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from betis.arrays import B8, F64
from betis.errors import InputError
from betis.noise import (
    ENOUGH,
    MAD,
    Block,
    Sample,
    chosen_spaxels,
    joined,
    near_lines,
    own_spectra,
    residuals,
    without_shared,
)
from betis.products import Cube

SIDES = (1, 2, 3, 4, 6)
"""Spaxels along the sides of the blocks that are summed; single spaxels are what they must beat."""

_BAND, _BANDS = 12, 8
"""Rows that are read together, a multiple of each side, and how many times at most."""

_MAX_VOXELS = 4_000_000
"""Voxels of a band that are read, at most; of a larger band, a stretch of wavelengths."""

_MAX_BLOCKS = 1000
"""Blocks of each size that are used, at most."""

_Samples = dict[int, tuple[list[Sample], list[Sample]]]


def measure_correlation(cube: Cube, line_waves: ArrayLike = ()) -> float:
    """Return alpha of the law ``1 + alpha log10(n)`` by which the noise of spaxels adds up.

    Spaxels are summed in blocks of N x N, in up to 8 bands of rows spread evenly over the field.
    What the neighbouring wavelengths do not predict of a block, over the quadratic sum of its
    errors, and its scatter, are as in `betis.noise.measure_noise`: without emission lines and
    what all blocks share, and from faint blocks where there are enough. The excess of that
    scatter over the one of single spaxels, over log10 of the spaxels in a block, is alpha: the
    median over N = 2, 3, 4, 6. So errors that are all wrong by one factor change nothing. What the
    straight lines leave of stars counts as noise: up to 0.1 in alpha where all of the field has
    a continuum S/N above 10 (`tests/test_spatial_noise.py`).

    Parameters
    ----------
    cube
        As read, or prepared.
    line_waves : Angstrom
        Emission lines, on the axis of the cube.

    Returns
    -------
    alpha, at least 0.

    Raises
    ------
    InputError
        Where there are too few usable voxels to tell.

    References
    ----------
    The law: Garcia-Benito et al. 2015, A&A 576 A135, eq. 1 (with beta = 1).
    """
    left_out = near_lines(cube.wave, np.asarray(line_waves, dtype=float))
    scatter = block_scatter(cube, left_out)
    sides = np.array([side for side in scatter if side > 1], dtype=float)
    if 1 not in scatter or not sides.size:
        raise InputError(
            "no block of 2 x 2 spaxels has enough usable wavelengths, so the correlation of the "
            "noise cannot be measured; give its alpha as a number"
        )
    growth = np.array([scatter[int(side)] for side in sides]) / scatter[1]
    return max(0.0, float(np.median((growth - 1) / np.log10(sides**2))))


def block_scatter(cube: Cube, left_out: Bool[B8, " wave"]) -> dict[int, float]:
    """Return the scatter of sums over N x N spaxels over their quadratic errors, by N.

    Parameters
    ----------
    cube
        As read, or prepared.
    left_out : [wave]
        Pixels that are not to count.
    """
    stretch = _stretch(cube, left_out)
    samples: _Samples = {side: ([], []) for side in SIDES}
    for block, usable in _bands(cube, stretch):
        for side in [n for n in SIDES if n <= min(usable.shape)]:
            summed = _summed(block, usable, side)
            chosen = chosen_spaxels(summed, _MAX_BLOCKS // _BANDS)
            for kept, some in zip(samples[side], chosen, strict=True):
                if some.size:
                    kept.append(residuals(cube.wave[stretch], left_out[stretch], summed.take(some)))
    return {side: _scatter(*parts) for side, parts in samples.items() if any(parts)}


def _scatter(faint: list[Sample], bright: list[Sample]) -> float:
    n_faint = sum(part.residual.shape[1] for part in faint)
    left = without_shared(joined(faint if n_faint >= ENOUGH else faint + bright))
    return float(MAD * np.nanmedian(np.abs(left)))


def _stretch(cube: Cube, left_out: Bool[B8, " wave"]) -> slice:
    """Return the wavelengths to read: all, or the stretch with the fewest that are left out."""
    n_wave, _, n_x = cube.shape
    length = min(n_wave, max(1, _MAX_VOXELS // (_BAND * n_x)))
    before = np.concatenate([[0], np.cumsum(left_out)])
    start = int(np.argmin(before[length:] - before[: n_wave + 1 - length]))
    return slice(start, start + length)


def _bands(cube: Cube, stretch: slice) -> Iterator[tuple[Block, Bool[B8, "y x"]]]:
    """Yield bands of rows ``[wave, y, x]`` in units of their noise, and the usable spaxels."""
    n_y, own = cube.sky.shape[0], own_spectra(cube)
    last, count = max(0, n_y - _BAND), min(_BANDS, max(1, n_y // _BAND))
    for start in np.linspace(0, last, count).astype(int).tolist():
        rows = slice(start, min(start + _BAND, n_y))
        flux, variance, mask = cube.read(rows, stretch)
        usable = own[rows] & (np.count_nonzero(~mask, axis=0) >= flux.shape[0] // 2)
        if usable.any() and not mask[:, usable].all():
            unit = float(np.median(variance[~mask]))
            yield Block(flux / np.sqrt(unit), variance / unit, ~mask), usable


def _summed(block: Block, usable: Bool[B8, "y x"], side: int) -> Block:
    """Return the sums ``[wave, block]`` over the squares all of whose spaxels are usable."""
    n_y, n_x = (size // side for size in usable.shape)

    def squares(values: F64 | B8) -> Float[F64, "wave block part"]:
        cut = values[..., : n_y * side, : n_x * side]
        parts = cut.reshape(-1, n_y, side, n_x, side).swapaxes(2, 3)
        return np.asarray(parts.reshape(len(parts), n_y * n_x, side**2))

    whole = squares(usable)[0].all(axis=1)
    flux, variance = (squares(part)[:, whole].sum(axis=2) for part in block[:2])
    good = np.all(squares(block.good)[:, whole], axis=2)
    return Block(flux, np.where(good, variance, 1.0), good)
