"""Sum the spectra of each bin: flux, variance, and the noise correlation of neighbours."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from betis.arrays import F32, F64, I32
from betis.compute import Progress
from betis.errors import InputError
from betis.products import BinMap, Cube, Spectra, noise_growth

MIN_GOOD_SHARE = 0.5
"""A bin's pixel with fewer good spaxels than this share is masked."""


def stack(cube: Cube, bins: BinMap, progress: Progress | None = None) -> Spectra:
    """Sum the spaxels of each bin, tile by tile of image rows.

    Where some spaxels of a bin are bad at a wavelength, they take the mean of the good ones, so
    that the bin's flux stays that of all its spaxels; below `MIN_GOOD_SHARE` the pixel is masked.
    The error is the quadratic sum times ``1 + alpha log10(n_spaxel)``.

    Parameters
    ----------
    cube
        ``(wave, y, x)``.
    bins
        ``bin_id [y, x]`` of the same field.
    progress
        Told how many image rows each tile held.

    Returns
    -------
    Spectra, one row a bin, in the cube's flux scale.

    Raises
    ------
    InputError
        Where the bins are of another field.
    """
    if bins.bin_id.shape != cube.sky.shape:
        raise InputError(
            f"the bins cover {bins.bin_id.shape} spaxels (y, x) and the cube {cube.sky.shape}; "
            "give the bins of this cube"
        )
    shape = (bins.n_bin, cube.wave.size)
    flux, variance, good = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=np.float32)
    for rows in cube.tiles(cube.wave.size):
        block = cube.read(rows)
        members, adder = _adder(bins.bin_id[rows])
        for total, part in ((flux, block.flux), (variance, block.variance), (good, ~block.mask)):
            total[members] += adder @ part.reshape(cube.wave.size, -1).T.astype(total.dtype)
        if progress:
            progress(rows.stop - rows.start)
    return _spectra(cube, bins, flux, variance, good)


def _adder(bin_id: Int[I32, "y x"]) -> tuple[I32, csr_array]:
    """Return the bins of a tile, and the matrix ``[bin, spaxel]`` that sums their spaxels."""
    flat = bin_id.ravel()
    inside = np.flatnonzero(flat >= 0)
    members, row = np.unique(flat[inside], return_inverse=True)
    matrix = csr_array((np.ones(inside.size), (row, inside)), shape=(members.size, flat.size))
    return members, matrix


def _spectra(
    cube: Cube,
    bins: BinMap,
    flux: Float[F64, "bin wave"],
    variance: Float[F64, "bin wave"],
    good: Float[F32, "bin wave"],
) -> Spectra:
    n_spaxel = bins.n_spaxel[:, None]
    window = np.zeros(cube.wave.size, bool) if cube.sky_window is None else cube.sky_window
    mask = good < np.maximum(MIN_GOOD_SHARE * n_spaxel, 1)
    fill = n_spaxel / np.maximum(good, 1)
    growth = noise_growth(n_spaxel, bins.correlation)
    flux *= fill
    error = np.sqrt(variance, out=variance)
    error *= fill * growth
    return Spectra(
        cube.wave,
        flux,
        error,
        mask,
        medium=cube.medium,
        lsf=cube.lsf,
        edges=cube.edges,
        redshift=cube.redshift,
        sky_window=window,
        n_spaxel=bins.n_spaxel,
        sky=cube.sky,
    )
