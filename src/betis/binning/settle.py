"""The last moves, spaxel by spaxel: pieces find a bin, and bins below the target are helped."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import sqrt

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from betis.arrays import B8, Index
from betis.binning.field import Field

_NONE = -1


def connected(field: Field, label: Int[Index, " spaxel"]) -> Int[Index, " spaxel"]:
    """Return labels that differ between pieces of a bin that do not touch, from 0 up."""
    frame = np.full(field.frame_size, _NONE)
    frame[field.place] = np.arange(label.size)
    rows, columns = [], []
    for step in field.steps[2:]:
        other = frame[field.place + step]
        same = (other >= 0) & (label[other] == label)
        rows.append(np.flatnonzero(same))
        columns.append(other[same])
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(row.size, bool), (row, column)), shape=(label.size, label.size))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)


def settle(
    field: Field, label: Int[Index, " spaxel"], lit: Bool[B8, " bin"], largest: int
) -> Int[Index, " spaxel"]:
    """Return the labels after the last moves.

    A lit bin below the target takes spaxels, the nearest first, from bins that stay connected and
    at the target without them, or have no signal; where that is not enough, it joins the bin it
    touches that reaches the target with the least to spare. Small pieces that are not lit join
    another bin below the target. No bin that reaches the target is brought below it.

    Parameters
    ----------
    field, label
        Spaxels, and their bins: connected, numbered from 0.
    lit
        Which bins have signal.
    largest
        Spaxels that a cell may have; bins that join may have twice as many.
    """
    bins = _Bins(field, label, lit)
    _join_dark(bins, largest)
    _help_lit(bins, 2 * largest)
    return np.asarray([bins.owner[place] for place in field.place.tolist()], dtype=np.intp)


class _Bins:
    """Bins to which spaxels are added and from which they are taken, in plain numbers."""

    def __init__(self, field: Field, label: Index, lit: B8) -> None:
        n_bin = int(label.max()) + 1
        self.lit: list[bool] = lit.tolist()
        self.target = field.target
        counts = np.arange(label.size + 1)
        self.growth: list[float] = field.noise_model.of_count(counts).tolist()
        self.steps, self.width = field.steps, field.shape[1]
        self.flux, self.variance = (
            field.image(values).ravel().tolist() for values in (field.flux, field.variance)
        )
        frame = np.full(field.frame_size, _NONE)
        frame[field.place] = label
        self.owner: list[int] = frame.tolist()
        order = np.argsort(label, kind="stable")
        parts = np.split(field.place[order], np.cumsum(np.bincount(label))[:-1])
        self.members: list[set[int]] = [set(part.tolist()) for part in parts]
        self.signal: list[float] = np.bincount(label, field.flux, n_bin).tolist()
        self.power: list[float] = np.bincount(label, field.variance, n_bin).tolist()

    def snr(self, row: int) -> float:
        """S/N of a bin."""
        return self.snr_of(self.signal[row], self.power[row], len(self.members[row]))

    def snr_of(self, signal: float, power: float, count: int) -> float:
        """S/N of a sum of ``count`` spaxels; minus infinity for none."""
        if count == 0:
            return float("-inf")
        return signal / (sqrt(power) * self.growth[count])

    def joined_snr(self, row: int, other: int) -> float:
        """S/N that two bins have together."""
        return self.snr_of(
            self.signal[row] + self.signal[other],
            self.power[row] + self.power[other],
            len(self.members[row]) + len(self.members[other]),
        )

    def snr_without(self, row: int, place: int) -> float:
        """S/N of a bin without one of its spaxels."""
        return self.snr_of(
            self.signal[row] - self.flux[place],
            self.power[row] - self.variance[place],
            len(self.members[row]) - 1,
        )

    def spares(self, place: int) -> bool:
        """Tell whether a bin is as good as it was without a spaxel: at the target, or dark."""
        row = self.owner[place]
        if self.snr_without(row, place) >= self.target:
            return True
        return not self.lit[row] and self.snr(row) < self.target and len(self.members[row]) > 1

    def move(self, place: int, row: int) -> None:
        """Give a spaxel to a bin."""
        before = self.owner[place]
        for bin_, sign in ((before, -1), (row, 1)):
            self.signal[bin_] += sign * self.flux[place]
            self.power[bin_] += sign * self.variance[place]
        self.members[before].discard(place)
        self.members[row].add(place)
        self.owner[place] = row

    def join(self, row: int, other: int) -> None:
        """Give all spaxels of a bin to another."""
        for place in sorted(self.members[row]):
            self.move(place, other)

    def beside(self, places: set[int], row: int) -> Iterator[int]:
        """Yield the spaxels of other bins that touch some places, perhaps more than once."""
        for place in places:
            for step in self.steps:
                if self.owner[place + step] not in (_NONE, row):
                    yield place + step

    def touching(self, row: int) -> list[int]:
        """Return the bins that touch a bin."""
        return sorted({self.owner[place] for place in self.beside(self.members[row], row)})

    def holds_without(self, place: int) -> bool:
        """Tell whether a bin stays in one piece without a spaxel, as far as those round it say."""
        row, width = self.owner[place], self.width
        ring = (-width, -width + 1, 1, width + 1, width, width - 1, -1, -width - 1)
        own = [self.owner[place + step] == row for step in ring]
        arcs = sum(own[i] and not (own[i + 1] and own[(i + 2) % 8]) for i in range(0, 8, 2))
        return arcs <= 1


def _join_dark(bins: _Bins, largest: int) -> None:
    """Let small pieces without signal join a bin that they touch and do no harm to."""
    for row, is_lit in enumerate(bins.lit):
        if is_lit or 2 * len(bins.members[row]) >= largest or bins.snr(row) >= bins.target:
            continue
        partner = _host(bins, row, largest)
        if partner != _NONE:
            bins.join(row, partner)


def _host(bins: _Bins, row: int, largest: int) -> int:
    """Return the bin that a dark piece should join, or -1.

    One of at least its size that reaches the target with it too, by the most; else the largest
    dark one below the target that has room for it.
    """
    size = len(bins.members[row])
    beside = [(other, len(bins.members[other])) for other in bins.touching(row)]
    good = [(bins.joined_snr(row, other), other) for other, count in beside if count >= size]
    if good and max(good)[0] >= bins.target:
        return max(good)[1]
    dark = [
        (count, -other)
        for other, count in beside
        if not bins.lit[other] and bins.snr(other) < bins.target and size + count <= _ROOM * largest
    ]
    return -max(dark)[1] if dark else _NONE


_ROOM = 1.5
"""Times the largest cell that a dark bin may have with the pieces that join it."""


def _help_lit(bins: _Bins, largest: int) -> None:
    """Bring lit bins to the target, the faintest first, where it can be done."""
    waiting = [(bins.snr(row), row) for row, is_lit in enumerate(bins.lit) if is_lit]
    waiting = [item for item in waiting if item[0] < bins.target]
    heapify(waiting)
    while waiting:
        before, row = heappop(waiting)
        if not bins.members[row] or bins.snr(row) != before or _grow(bins, row):
            continue
        partner = _partner(bins, row, largest)
        if partner != _NONE:
            bins.join(row, partner)
            if bins.snr(partner) < bins.target:
                heappush(waiting, (bins.snr(partner), partner))


def _grow(bins: _Bins, row: int) -> bool:
    """Take spaxels from richer neighbours until a bin reaches the target; else give them back."""
    size = len(bins.members[row])
    rows, columns = zip(*(divmod(p, bins.width) for p in bins.members[row]), strict=True)
    middle = sum(rows) / size, sum(columns) / size

    def entry(place: int) -> tuple[float, int]:
        y, x = divmod(place, bins.width)
        return (y - middle[0]) ** 2 + (x - middle[1]) ** 2, place

    edge = [entry(place) for place in set(bins.beside(bins.members[row], row))]
    heapify(edge)
    taken: list[tuple[int, int]] = []
    while edge and bins.snr(row) < bins.target and len(taken) <= size // 2:
        place = heappop(edge)[1]
        donor = bins.owner[place]
        if donor == row or not bins.spares(place):
            continue
        if bins.holds_without(place):
            taken.append((place, donor))
            bins.move(place, row)
            for item in bins.beside({place}, row):
                heappush(edge, entry(item))
    if bins.snr(row) >= bins.target:
        return True
    for place, donor in reversed(taken):
        bins.move(place, donor)
    return False


def _partner(bins: _Bins, row: int, largest: int) -> int:
    """Return the bin that a low one should join, or -1 where every choice does harm.

    Of those that reach the target together, the one that does so with the least to spare;
    else the best of the low ones that gain by it too.
    """
    choices = [(bins.joined_snr(row, other), other) for other in bins.touching(row)]
    room = largest - len(bins.members[row])
    choices = [item for item in choices if len(bins.members[item[1]]) <= room]
    reaching = [item for item in choices if item[0] >= bins.target]
    if reaching:
        return min(reaching)[1]
    gaining = [item for item in choices if item[0] > max(bins.snr(row), bins.snr(item[1]))]
    return max(gaining)[1] if gaining else _NONE
