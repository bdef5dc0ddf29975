"""What becomes of the bins that stay below the target."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32, Index
from betis.binning.quality import bin_map, noise_model, numbered
from betis.errors import InputError
from betis.options import BinningOptions
from betis.products import BinMap


def finished(
    bin_id: Int[I32, "y x"],
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: BinningOptions,
) -> BinMap:
    """Return the bins, with those below the target kept, merged or dropped as the options say.

    A bin that is merged joins the bin with which it shares the longest border, of those that keep
    the target and its margin with it; one that no such bin can bear is kept. A bin that reaches
    the target but not the margin is merged in any case, since its noise may have lifted it there.

    Raises
    ------
    InputError
        Where the bins below the target are to be dropped and no other is left.
    """
    bins = bin_map(bin_id, signal, noise, options)
    doubtful = (bins.flags == 0) & (bins.snr < options.goal)
    if doubtful.any():
        bins = _merged(bins, doubtful, (signal, noise), options)
    low = bins.flags != 0
    if options.leftover == "merge" and low.any():
        return _merged(bins, low, (signal, noise), options)
    if options.leftover == "drop" and low.any():
        _require_some(bins)
        kept = np.where(np.append(low, False)[bins.bin_id], -1, bins.bin_id)
        bins = bin_map(_renumbered(kept), signal, noise, options)
    return bins


def _require_some(bins: BinMap) -> None:
    if np.all(bins.flags != 0):
        raise InputError(
            f"no bin reaches S/N {bins.target:g}: the best has {bins.snr.max():.3g}, so that none "
            'is left when these are dropped; lower the target, or choose leftover = "keep"'
        )


def _renumbered(bin_id: Int[I32, "y x"]) -> Int[I32, "y x"]:
    result = np.full(bin_id.shape, -1, dtype=np.int32)
    inside = bin_id >= 0
    result[inside] = numbered(bin_id[inside].astype(np.intp))
    return result


def _merged(
    bins: BinMap, joining: Bool[B8, " bin"], field: tuple[F64, F64], options: BinningOptions
) -> BinMap:
    """Return the bins after each that is to join another, and can be borne, has done so.

    Those of the highest S/N come first.
    """
    regions = _Regions(bins, *field, options)
    waiting = [row for row in np.argsort(-bins.snr, kind="stable").tolist() if joining[row]]
    while True:
        left = [row for row in waiting if not regions.place(row)]
        if len(left) == len(waiting):
            return bin_map(_renumbered(regions.bin_id), *field, options)
        waiting = left


class _Regions:
    """Bins that join: their spaxels, and how many edges of spaxels they share."""

    def __init__(self, bins: BinMap, signal: F64, noise: F64, options: BinningOptions) -> None:
        self.bin_id = bins.bin_id.copy()
        self.signal, self.noise = signal, noise
        self.snr, self.model, self.goal = bins.snr, noise_model(options), options.goal
        self.low: set[int] = set(np.flatnonzero(bins.snr < options.goal).tolist())
        place = np.flatnonzero(bins.bin_id >= 0)
        row = bins.bin_id.ravel()[place]
        ends = np.cumsum(bins.n_spaxel)[:-1]
        self.members: list[Index] = np.split(place[np.argsort(row, kind="stable")], ends)
        self.border: defaultdict[int, defaultdict[int, int]] = borders(bins.bin_id)

    def place(self, row: int) -> bool:
        """Let a bin join another that stays at the target with it; tell whether one did."""
        beside = self.border[row].items()
        hosts = [(-length, -self.snr[other], other) for other, length in beside]
        for _, _, other in sorted(host for host in hosts if host[2] not in self.low):
            both = np.concatenate([self.members[other], self.members[row]])
            if self._snr(both) >= self.goal:
                self._join(row, other, both)
                return True
        return False

    def _snr(self, places: Index) -> float:
        """Return the S/N of some spaxels, exactly."""
        y, x = np.divmod(places, self.bin_id.shape[1])
        box = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
        inside = np.full(self.bin_id[box].shape, -1, dtype=np.int32)
        inside[y - y.min(), x - x.min()] = 0
        signal, noise = self.signal.ravel()[places], self.noise.ravel()[places]
        growth = self.model.growth(inside, self.noise[box])[0]
        return float(signal.sum() / (np.sqrt(np.sum(noise**2)) * growth))

    def _join(self, row: int, other: int, both: Index) -> None:
        self.bin_id.ravel()[self.members[row]] = other
        self.members[other] = both
        self.low.discard(row)
        for third, length in self.border.pop(row).items():
            del self.border[third][row]
            if third != other:
                self.border[other][third] += length
                self.border[third][other] += length


def borders(bin_id: Int[I32, "y x"]) -> defaultdict[int, defaultdict[int, int]]:
    """Return how many edges of spaxels each bin shares with each bin that it touches."""
    sides = [
        np.stack([one.ravel(), two.ravel()])
        for one, two in ((bin_id[1:], bin_id[:-1]), (bin_id[:, 1:], bin_id[:, :-1]))
    ]
    both = np.concatenate(sides, axis=1)
    apart = both[:, (both[0] != both[1]) & (both.min(axis=0) >= 0)]
    pairs, length = np.unique(np.sort(apart, axis=0), axis=1, return_counts=True)
    border: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for one, two, edges in zip(*pairs.tolist(), length.tolist(), strict=True):
        border[one][two] = border[two][one] = edges
    return border
