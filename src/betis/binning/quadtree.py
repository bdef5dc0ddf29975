"""Adaptive blocks, grown from single spaxels up.

Two neighbouring spaxels *meet* at the smallest level k at which both lie in one block of
2^k x 2^k spaxels. At each level, pieces of leftover spaxels that meet there join; a joined piece
whose own spaxels reach the target becomes a bin and leaves. So a bin is a whole block where
nothing inside it was good enough alone, and otherwise the connected rest of a block whose better
parts have gone. What remains at the largest level is kept, a bin a piece, and flagged.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from betis.arrays import B8, F64, Index
from betis.binning.quality import bin_map, numbered, usable_spaxels
from betis.options import BinningOptions
from betis.products import BinMap, noise_growth


def quadtree(
    signal: Float[F64, "y x"], noise: Float[F64, "y x"], options: BinningOptions
) -> BinMap:
    """Bin a field adaptively to a target S/N.

    Parameters
    ----------
    signal, noise : [y, x]
        Additive signal and its 1-sigma noise; spaxels that are NaN, or whose noise is not
        positive, are in no bin.
    options
        Target, correlation of the noise, largest block.

    Returns
    -------
    Bins numbered from the upper left; connected; each with the S/N of exactly its own spaxels.
    Bins below the target have `Flag.LOW_SNR`.

    Raises
    ------
    InputError
        Where shapes differ or no spaxel is usable.
    """
    valid = usable_spaxels(signal, noise)
    index = np.full(valid.shape, -1)
    index[valid] = np.arange(valid.sum())
    first, second, level = _meetings(index)
    piece = np.arange(valid.sum())
    done = np.zeros(piece.size, dtype=bool)
    flux, variance = signal[valid], noise[valid] ** 2
    for step in range(options.max_level + 1):
        meet = level == step
        piece = _join(piece, done, first[meet], second[meet])
        done |= (_piece_snr(piece, flux, variance, options) >= options.target)[piece]
    bin_id = np.full(valid.shape, -1, dtype=np.int32)
    bin_id[valid] = numbered(piece)
    return bin_map(bin_id, signal, noise, options)


def _meetings(index: Int[Index, "y x"]) -> tuple[Index, Index, Index]:
    """Return neighbouring usable spaxels, pair by pair, and the level at which each pair meets."""
    firsts, seconds, levels = [], [], []
    for axis in (0, 1):
        length = index.shape[axis]
        here = np.take(index, np.arange(length - 1), axis=axis)
        there = np.take(index, np.arange(1, length), axis=axis)
        position = np.arange(length - 1)
        # Both coordinates are in one block of 2^k when they agree above bit k.
        meet = np.frexp((position ^ (position + 1)).astype(float))[1]
        shape = (-1, 1) if axis == 0 else (1, -1)
        both = (here >= 0) & (there >= 0)
        firsts.append(here[both])
        seconds.append(there[both])
        levels.append(np.broadcast_to(meet.reshape(shape), here.shape)[both])
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(levels)


def _join(piece: Index, done: B8, first: Index, second: Index) -> Index:
    """Return the pieces after those that meet, and are not bins yet, have joined."""
    free = ~done[first] & ~done[second]
    n_piece = int(piece.max()) + 1
    row, column = piece[first[free]], piece[second[free]]
    graph = coo_array((np.ones(row.size, bool), (row, column)), shape=(n_piece, n_piece))
    return np.asarray(connected_components(graph, directed=False)[1][piece])


def _piece_snr(piece: Index, flux: F64, variance: F64, options: BinningOptions) -> F64:
    count = np.bincount(piece)
    noise = np.sqrt(np.bincount(piece, variance)) * noise_growth(count, options.correlation)
    return np.asarray(np.bincount(piece, flux) / noise)
