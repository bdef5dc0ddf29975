"""Sum the spectra of each bin: flux, variance, and the noise correlation of neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from betis.arrays import B8, F64, I32, Index
from betis.compute import Progress
from betis.errors import InputError
from betis.products import BinMap, Cube, RowStream, Spectra
from betis.products.cube import CubeBlock

MIN_GOOD_SHARE = 0.5
"""A bin's pixel with fewer good spaxels than this share is masked."""

_VOXELS = 2**16
"""Voxels that are read and summed at once: few enough to stay in the processor's cache."""

_ROWS = 128
"""Finished bins that are given out at once."""


def stack(cube: Cube, bins: BinMap, progress: Progress | None = None) -> Spectra:
    """Sum the spaxels of each bin; all spectra in memory. See `stack_rows`.

    Returns
    -------
    Spectra, one row a bin, in the cube's flux scale.

    Raises
    ------
    InputError
        Where the bins are of another field.
    """
    flux, error = (np.zeros((bins.n_bin, cube.wave.size)) for _ in range(2))
    mask = np.ones(flux.shape, dtype=bool)
    for rows, part in stack_rows(cube, bins, progress).pieces:
        flux[rows], error[rows], mask[rows] = part.flux, part.error, part.mask
    return _on_axis(cube, bins.n_spaxel, flux, error, mask)


def stack_rows(cube: Cube, bins: BinMap, progress: Progress | None = None) -> RowStream[Spectra]:
    """Sum the spaxels of each bin, tile by tile of image rows.

    A bin comes out with the last tile that it reaches into, so that only the bins across an edge
    of a tile are kept in memory. Where some spaxels of a bin are bad at a wavelength, they take
    the mean of the good ones, so that the bin's flux stays that of all its spaxels; below
    `MIN_GOOD_SHARE` the pixel is masked. The error is the quadratic sum times
    `BinMap.growth`, since the noise of neighbours is correlated; copies of one spectrum
    (`Cube.copies`) add linearly.

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
    return RowStream(n_row=bins.n_bin, pieces=_finished_bins(cube, bins, progress))


def _finished_bins(
    cube: Cube, bins: BinMap, progress: Progress | None
) -> Iterator[tuple[Index, Spectra]]:
    last_row, weight = _last_rows(bins), repeats(cube, bins)
    members, sums = np.empty(0, dtype=np.intp), np.empty((3, 0, cube.wave.size))
    for rows in cube.tiles(cube.wave.size):
        members, sums = _with_tile(cube, bins, rows, weight, (members, sums))
        done = last_row[members] < rows.stop
        finished = np.flatnonzero(done)
        for first in range(0, finished.size, _ROWS):
            some = finished[first : first + _ROWS]
            yield members[some], _spectra(cube, bins, members[some], sums[:, some])
        members, sums = members[~done], sums[:, ~done]
        if progress:
            progress(rows.stop - rows.start)


def _last_rows(bins: BinMap) -> Index:
    """Return the last image row that each bin reaches into."""
    y, x = np.nonzero(bins.bin_id >= 0)
    last = np.zeros(bins.n_bin, dtype=np.intp)
    np.maximum.at(last, bins.bin_id[y, x], y)
    return last


def repeats(cube: Cube, bins: BinMap) -> Float[F64, "y x"]:
    """Return how many spaxels of its bin hold the spectrum that a spaxel holds.

    n copies of one spectrum sum to n times it, with the variance n² times, not n times.
    """
    if cube.copies is None:
        return np.ones(bins.bin_id.shape)
    pair = np.stack([bins.bin_id.ravel(), cube.copies.ravel()])
    _, place, count = np.unique(pair, axis=1, return_inverse=True, return_counts=True)
    repeated = count[place.ravel()].reshape(bins.bin_id.shape)
    return np.where((bins.bin_id >= 0) & (cube.copies >= 0), repeated, 1.0)


def _with_tile(
    cube: Cube,
    bins: BinMap,
    rows: slice,
    weight: Float[F64, "y x"],
    before: tuple[Index, Float[F64, "sum bin wave"]],
) -> tuple[Index, Float[F64, "sum bin wave"]]:
    """Return the bins under way and their sums of flux, variance and good spaxels, a tile added."""
    bin_id = bins.bin_id[rows].ravel()
    inside = np.flatnonzero(bin_id >= 0)
    members = np.union1d(before[0], bin_id[inside]).astype(np.intp)
    sums = np.zeros((3, members.size, cube.wave.size))
    sums[:, np.searchsorted(members, before[0])] = before[1]
    place = np.searchsorted(members, bin_id[inside])
    add = _adder(place, inside, weight[rows].ravel()[inside], (members.size, bin_id.size))
    depth = max(1, _VOXELS // bin_id.size)
    for first in range(0, cube.wave.size, depth):
        waves = slice(first, first + depth)
        add(sums[:, :, waves], cube.read(rows, waves))
    return members, sums


def _adder(
    place: Index, inside: Index, weight: Float[F64, " spaxel"], shape: tuple[int, int]
) -> Callable[[Float[F64, "sum bin wave"], CubeBlock], None]:
    """Return what adds a block to sums of flux, variance and good spaxels.

    Parameters
    ----------
    place, inside, weight : [spaxel]
        Row of the sums that a spaxel belongs to; which spaxel of the block it is; how often its
        variance counts.
    shape
        Rows of the sums, spaxels of the block.
    """
    alone = np.unique(place).size == place.size
    plain, weighted = (
        csr_array((one, (place, inside)), shape=shape) for one in (np.ones(place.size), weight)
    )

    def add_spaxels(sums: Float[F64, "sum bin wave"], block: CubeBlock) -> None:
        parts = (block.flux, block.variance, ~block.mask)
        flux, variance, good = (part.reshape(len(part), -1).T[inside] for part in parts)
        sums[0, place] += flux
        sums[1, place] += weight[:, None] * variance
        sums[2, place] += good

    def add_bins(sums: Float[F64, "sum bin wave"], block: CubeBlock) -> None:
        parts = ((plain, block.flux), (weighted, block.variance), (plain, ~block.mask))
        for index, (adder, values) in enumerate(parts):
            sums[index] += adder @ values.reshape(len(values), -1).T.astype(float, copy=False)

    return add_spaxels if alone else add_bins


def _spectra(cube: Cube, bins: BinMap, members: Index, sums: Float[F64, "sum bin wave"]) -> Spectra:
    flux, variance, good = sums
    n_spaxel = bins.n_spaxel[members]
    mask = good < np.maximum(MIN_GOOD_SHARE * n_spaxel[:, None], 1)
    fill = n_spaxel[:, None] / np.maximum(good, 1)
    growth = bins.growth[members][:, None]
    return _on_axis(cube, n_spaxel, flux * fill, np.sqrt(variance) * fill * growth, mask)


def _on_axis(cube: Cube, n_spaxel: Int[I32, " bin"], flux: F64, error: F64, mask: B8) -> Spectra:
    return Spectra(
        cube.wave,
        flux,
        error,
        mask,
        medium=cube.medium,
        lsf=cube.lsf,
        edges=cube.edges,
        redshift=cube.redshift,
        sky_window=np.zeros(cube.wave.size, bool) if cube.sky_window is None else cube.sky_window,
        n_spaxel=n_spaxel,
        sky=cube.sky,
    )
