"""Adaptive blocks, grown from single spaxels up.

Two neighbouring spaxels *meet* at the smallest level k at which both lie in one block of
2^k x 2^k spaxels. At each level, pieces of leftover spaxels that meet there join; a joined piece
whose own spaxels reach the target becomes a bin and leaves. So a bin is a whole block where
nothing inside it was good enough alone, and otherwise the connected rest of a block whose better
parts have gone. What remains at the largest level is left over: a bin a piece, flagged, unless
the options say otherwise.

A block is accepted where its S/N has a margin over the target, since a block whose noise happens
to be positive is accepted sooner: of those accepted at the target itself, some 3 % truly fall
short of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from betis.arrays import B8, F64, Index
from betis.binning.leftover import finished
from betis.binning.quality import noise_model, numbered, usable_spaxels
from betis.errors import ConfigError
from betis.options import BinningOptions
from betis.products import BinMap, NoiseCorrelation

Place = tuple[int, int]

_NO_NOISE = 6.0
"""S/N that in a million spaxels of pure noise none reaches."""

_AFAR = 2**40
"""A corner of blocks of every level, so that places before the anchor count from there."""


class Pairs(NamedTuple):
    """Neighbouring spaxels, and the level at which they meet."""

    first: Int[Index, " pair"]
    second: Int[Index, " pair"]
    level: Int[Index, " pair"]


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
        Target and the margin over it, correlation of the noise, smallest and largest block, where
        blocks are anchored, what becomes of the leftover.

    Returns
    -------
    Bins numbered from the upper left; connected; each with the S/N of exactly its own spaxels.
    Bins below the target have `Flag.LOW_SNR`. With Gaussian correlation, blocks
    are accepted as if they were squares of equal noise, and flagged for what they are.

    Raises
    ------
    InputError
        Where shapes differ, no spaxel is usable, or all would be dropped.
    ConfigError
        Where the smallest block is larger than the largest, or the correlation is still to be
        measured.
    """
    _require_levels(options)
    valid = usable_spaxels(signal, noise)
    index = np.full(valid.shape, -1)
    index[valid] = np.arange(valid.sum())
    pairs = _meetings(index, _anchor(valid, signal, options))
    bin_id = np.full(valid.shape, -1, dtype=np.int32)
    piece, done = _grown(signal[valid], noise[valid] ** 2, pairs, options, alone=options.goal)
    if options.margin > 0 and not done.all():
        piece = _regrown(piece, done, (signal[valid], noise[valid] ** 2), pairs, options)
    bin_id[valid] = numbered(piece)
    return finished(bin_id, signal, noise, options)


def _require_levels(options: BinningOptions) -> None:
    if options.min_level > options.max_level:
        raise ConfigError(
            f"the option 'min_level' of [binning] is {options.min_level}, where at most max_level, "
            f"{options.max_level}, was expected; lower it, or raise max_level"
        )


def _anchor(valid: Bool[B8, "y x"], signal: Float[F64, "y x"], options: BinningOptions) -> Place:
    """Return the spaxel at whose corner blocks of all levels meet."""
    y, x = np.nonzero(valid)
    if options.anchor == "corner":
        return 0, 0
    if options.anchor == "center":
        return int(y.min() + y.max() + 1) // 2, int(x.min() + x.max() + 1) // 2
    brightest = np.argmax(signal[valid])
    return int(y[brightest]), int(x[brightest])


def _regrown(
    piece: Index, done: B8, field: tuple[F64, F64], pairs: Pairs, options: BinningOptions
) -> Index:
    """Return the pieces after what no bin has taken was grown anew round its brightest spaxels.

    One that reaches the target alone, but not the margin, has been lost in the dark round it. At
    low targets it must be no peak of the noise.
    """
    alone = max(options.target, min(options.goal, _NO_NOISE))
    rank = np.cumsum(~done) - 1
    both = ~done[pairs.first] & ~done[pairs.second]
    rest = Pairs(rank[pairs.first[both]], rank[pairs.second[both]], pairs.level[both])
    flux, variance = (values[~done] for values in field)
    again, _ = _grown(flux, variance, rest, options, alone=alone)
    result = piece.copy()
    result[~done] = piece.max() + 1 + again
    return result


def _grown(
    flux: F64, variance: F64, pairs: Pairs, options: BinningOptions, *, alone: float
) -> tuple[Index, B8]:
    """Return the bin of each spaxel, level by level, and whether it reaches what it must.

    That is the target and its margin, but ``alone`` for single spaxels.
    """
    model = noise_model(options)
    piece = np.arange(flux.size)
    done = np.zeros(flux.size, dtype=bool)
    for level in range(options.max_level + 1):
        meet = pairs.level == level
        piece = _join(piece, done, pairs.first[meet], pairs.second[meet])
        if level >= options.min_level:
            goal = options.goal if level else alone
            done |= (_piece_snr(piece, flux, variance, model) >= goal)[piece]
    return piece, done


def _meetings(index: Int[Index, "y x"], anchor: Place) -> Pairs:
    """Return neighbouring usable spaxels, pair by pair, and the level at which each pair meets."""
    firsts, seconds, levels = [], [], []
    for axis in (0, 1):
        length = index.shape[axis]
        here = np.take(index, np.arange(length - 1), axis=axis)
        there = np.take(index, np.arange(1, length), axis=axis)
        position = np.arange(length - 1) - anchor[axis] + _AFAR
        # Both coordinates are in one block of 2^k when they agree above bit k.
        meet = np.frexp((position ^ (position + 1)).astype(float))[1]
        shape = (-1, 1) if axis == 0 else (1, -1)
        both = (here >= 0) & (there >= 0)
        firsts.append(here[both])
        seconds.append(there[both])
        levels.append(np.broadcast_to(meet.reshape(shape), here.shape)[both])
    return Pairs(np.concatenate(firsts), np.concatenate(seconds), np.concatenate(levels))


def _join(piece: Index, done: B8, first: Index, second: Index) -> Index:
    """Return the pieces after those that meet, and are not bins yet, have joined."""
    free = ~done[first] & ~done[second]
    n_piece = int(piece.max()) + 1
    row, column = piece[first[free]], piece[second[free]]
    graph = coo_array((np.ones(row.size, bool), (row, column)), shape=(n_piece, n_piece))
    return np.asarray(connected_components(graph, directed=False)[1][piece])


def _piece_snr(piece: Index, flux: F64, variance: F64, model: NoiseCorrelation) -> F64:
    noise = np.sqrt(np.bincount(piece, variance)) * model.of_count(np.bincount(piece))
    return np.asarray(np.bincount(piece, flux) / noise)
