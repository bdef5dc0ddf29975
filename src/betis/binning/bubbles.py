"""Round bins of equal S/N: weighted Voronoi cells that grow like bubbles.

Each bin is a bubble with a centre and a radius; a spaxel belongs to the bubble whose centre is
nearest in radii. Centres move to the centroids, and bubbles grow where the S/N of their own
spaxels is below the aim and shrink where it is above. Dark bubbles, which have no signal to
speak of, fill what the others leave.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, Index
from betis.binning.field import Field
from betis.binning.seeds import Seeds

MAX_PASSES = 60
"""Passes after which the bins are taken as they are."""

SETTLED = 5e-4
"""Share of spaxels that change their bin in a pass below which the bins have settled."""

GAIN = 0.5
"""Share of the missing area by which a bubble grows in a pass."""

SPLIT_AT = (8, 16, 24, 32)
"""Passes before which cells that have enough for two are split."""

BURST_AT = 36
"""Pass before which cells that have far too little, and less than those round them, burst."""

_TOO_LITTLE = 0.85
"""Share of the aim that is far too little."""

_SPREAD = 3.0
"""Times the area that its seed stands for, to which a bubble may grow."""

_FIRM = 20
"""Passes after which bubbles grow ever more slowly, so that they come to rest."""


_DARK, _BURST, _FAR = 100.0, 1e-6, 1e30
"""Times that dark radii count, the square of a burst radius, and a distance beyond all."""

_FAINT = 1e-3
"""Share of the aim that the S/N of a cell counts as at least."""


class _Bubbles(NamedTuple):
    """The bubbles as they are; the arrays change from pass to pass.

    ``square`` is that of the radius, minus infinity for a bubble that has burst; ``most`` is how
    many spaxels it may ask for.
    """

    center: Float[F64, "axis bin"]
    square: Float[F64, " bin"]
    lit: Bool[B8, " bin"]
    most: Float[F64, " bin"]


def grow_bubbles(
    field: Field, seeds: Seeds, aim: float, largest: int
) -> tuple[Int[Index, " spaxel"], Bool[B8, " bin"]]:
    """Return the bin of each spaxel, and which bins are lit; bins may end without a spaxel.

    Dark bubbles do not grow for S/N: what has no signal is not made to reach the aim.

    Parameters
    ----------
    field, seeds
        Spaxels, and the bins to start from.
    aim
        S/N that a bin should have.
    largest
        Spaxels that a bin may have.

    References
    ----------
    Cappellari & Copin 2003, MNRAS 342, 345 (Voronoi binning); Diehl & Statler 2006, MNRAS 368,
    497 (distances in units of a bin's own size, sizes that follow its S/N).
    """
    n_bin = seeds.area.size
    bubbles = _Bubbles(
        center=np.zeros((2, n_bin)),
        square=seeds.area / np.pi,
        lit=seeds.lit.copy(),
        most=np.minimum(_SPREAD * seeds.area, largest),
    )
    label = seeds.label
    for step in range(MAX_PASSES):
        if step in SPLIT_AT:
            label, bubbles = _split(field, label, bubbles, aim)
        if step == BURST_AT:
            _burst(field, label, bubbles, aim)
        _move(field, label, bubbles, aim, GAIN * min(1.0, _FIRM / (step + 1)))
        changed = spread(field, label, bubbles)
        done = step > BURST_AT and np.mean(changed != label) < SETTLED
        label = changed
        if done:
            break
    return label, bubbles.lit


def spread(field: Field, label: Int[Index, " spaxel"], bubbles: _Bubbles) -> Int[Index, " spaxel"]:
    """Return the nearest bubble, in its radii, among each spaxel's own and those that it touches.

    Pass by pass this makes the diagram without a search among all bubbles, and hardly a bin that
    is not connected.
    """
    metric = _metric(bubbles)
    frame = np.full(field.frame_size, bubbles.square.size)
    frame[field.place] = label
    nearest, least = label.copy(), _distance(field, metric, slice(None), label)
    for step in field.steps:
        other = frame[field.place + step]
        edge = np.flatnonzero(other != label)
        trial = _distance(field, metric, edge, other[edge])
        closer = trial < least[edge]
        least[edge[closer]], nearest[edge[closer]] = trial[closer], other[edge[closer]]
    return nearest


def _metric(bubbles: _Bubbles) -> Float[F64, "4 bin+1"]:
    """Return y, x, what to divide the squared distance by and what to add; the last is no bubble.

    Distances from dark bubbles all exceed 1: inside its rim, a lit one has every spaxel.
    """
    (y, x), square, lit, _ = bubbles
    scale = np.where(lit, 1.0, _DARK) * np.maximum(square, _BURST)
    offset = np.where(square > 0, np.where(lit, 0.0, 1.0), _FAR)
    return np.column_stack([[y, x, scale, offset], [0.0, 0.0, 1.0, 2 * _FAR]])


def _distance(
    field: Field, metric: F64, rows: slice | Index, label: Index
) -> Float[F64, " spaxel"]:
    y, x, scale, offset = metric
    away = (field.y[rows] - y[label]) ** 2 + (field.x[rows] - x[label]) ** 2
    return np.asarray(offset[label] + away / scale[label])


def _move(field: Field, label: Index, bubbles: _Bubbles, aim: float, gain: float) -> None:
    """Bring each bubble to its centroid, and let the lit ones grow or shrink towards the aim."""
    center, square, lit, most = bubbles
    count = np.bincount(label, minlength=square.size)
    total = [np.bincount(label, axis, square.size) for axis in (field.y, field.x)]
    np.divide(total, count, out=center, where=count > 0)
    snr = np.maximum(field.bin_snr(label, square.size), _FAINT * aim)
    missing = np.minimum(count * np.clip((aim / snr) ** 2, 0.5, 2.0), most) - count
    # Less than half a spaxel cannot be mended.
    worth = np.sign(missing) * np.maximum(np.abs(missing) - 0.5, 0.0)
    square[lit] *= (1 + worth[lit] / np.maximum(count[lit], 1)) ** gain
    # Bubbles that cannot have what they want must not push the others aside for ever.
    whole = np.isfinite(square)
    square[whole] = np.clip(square, 0.5 * count / np.pi, 2.0 * count / np.pi)[whole]
    square[count == 0] = -np.inf


def _burst(field: Field, label: Index, bubbles: _Bubbles, aim: float) -> None:
    """Leave to the cells round it what is in each that is far too poor, and poorer than they.

    One that touches a dark cell stays, or its light would be lost.
    """
    n_bin = bubbles.square.size
    snr = np.append(np.where(bubbles.lit, field.bin_snr(label, n_bin), -np.inf), np.inf)
    frame = np.full(field.frame_size, n_bin)
    frame[field.place] = label
    poorest = np.full(n_bin, np.inf)
    for step in field.steps:
        other = frame[field.place + step]
        beside = other != label
        np.minimum.at(poorest, label[beside], snr[other[beside]])
    count = np.bincount(label, minlength=n_bin)
    gone = bubbles.lit & (count > 0) & (snr[:-1] < np.minimum(poorest, _TOO_LITTLE * aim))
    bubbles.square[gone & np.isfinite(poorest)] = -np.inf


def _split(
    field: Field, label: Index, bubbles: _Bubbles, aim: float
) -> tuple[Int[Index, " spaxel"], _Bubbles]:
    """Halve the cells that have enough for two, across their longer axis."""
    n_bin = bubbles.square.size
    count = np.bincount(label, minlength=n_bin)
    rich = (count > 1) & (field.bin_snr(label, n_bin) > np.sqrt(2.0) * aim)
    away = np.stack([field.y, field.x]) - bubbles.center[:, label]
    moment = np.stack([np.bincount(label, axis**2, n_bin) for axis in away])
    longer = np.argmax(moment, axis=0)
    width = np.sqrt(moment.max(axis=0) / np.maximum(count, 1))
    shift = np.where(rich, width, 0.0) * (np.arange(2)[:, None] == longer)
    child = np.full(n_bin, -1)
    child[rich] = n_bin + np.arange(rich.sum())
    beyond = (child[label] >= 0) & (np.choose(longer[label], away) > 0)
    square = np.where(rich, bubbles.square / 2, bubbles.square)
    halved = _Bubbles(
        center=np.concatenate([bubbles.center - shift, (bubbles.center + shift)[:, rich]], axis=1),
        square=np.append(square, square[rich]),
        lit=np.append(bubbles.lit | rich, np.ones(rich.sum(), dtype=bool)),
        most=np.append(bubbles.most, bubbles.most[rich]),
    )
    return np.where(beyond, child[label], label), halved
