"""Bins that are merged until the S/N measured on their spectra reaches the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from betis.arrays import B8, F64, Index
from betis.binning.leftover import borders
from betis.binning.quality import bin_map
from betis.flags import Flag
from betis.options import BinningOptions
from betis.products import BinMap

Measure = Callable[[BinMap], Float[F64, " bin"]]
"""Measures the S/N of each bin on its stacked spectrum."""


def held_to_the_target(
    bins: BinMap,
    measure: Measure,
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: BinningOptions,
) -> BinMap:
    """Merge bins, round after round, until each without a flag has the target as measured.

    A bin that falls short joins the bin without a flag with which it shares the longest border.
    One that has none beside it, and a region, is flagged in place of that.

    Parameters
    ----------
    bins
        Of these maps.
    measure
        Gives the S/N of bins as measured.
    signal, noise : [y, x]
        That the bins were made from.
    options
        Target and correlation of the noise.

    Returns
    -------
    Bins with ``snr_measured``.
    """
    while True:
        found = measure(bins)
        bins = replace(bins, snr_measured=found)
        short = (bins.flags == 0) & ~(found >= options.target)
        if not short.any():
            return bins
        host = _hosts(bins, short)
        alone = short & (host < 0)
        if alone.any():
            bins = replace(bins, flags=np.where(alone, bins.flags | Flag.LOW_SNR, bins.flags))
        if (host >= 0).any():
            bins = _joined(bins, host, (signal, noise), options)


def _hosts(bins: BinMap, short: Bool[B8, " bin"]) -> Index:
    """Return the bin that each bin that falls short joins; -1 for none."""
    host = np.full(bins.n_bin, -1, dtype=np.intp)
    free = bins.flags == 0
    if bins.is_region is not None:
        free &= ~bins.is_region
    beside = borders(bins.bin_id)
    for row in np.flatnonzero(short & free):
        lengths = {other: length for other, length in beside[int(row)].items() if free[other]}
        host[row] = max(lengths, key=lambda other: (lengths[other], -other)) if lengths else -1
    return host


def _joined(bins: BinMap, host: Index, field: tuple[F64, F64], options: BinningOptions) -> BinMap:
    """Return the bins after those with a host have joined it; flags of the others stay."""
    row = np.flatnonzero(host >= 0)
    graph = coo_array((np.ones(row.size), (row, host[row])), shape=(bins.n_bin, bins.n_bin))
    _, group = connected_components(graph, directed=False)
    _, first, number = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(first.size, dtype=np.int32)
    rank[np.argsort(first)] = np.arange(first.size)
    new = rank[number].astype(np.int32)
    merged = bin_map(np.append(new, np.int32(-1))[bins.bin_id], *field, options)
    flags = merged.flags.copy()
    np.bitwise_or.at(flags, new[bins.flags != 0], bins.flags[bins.flags != 0])
    region = None if bins.is_region is None else np.zeros(merged.n_bin, dtype=bool)
    if region is not None and bins.is_region is not None:
        region[new[bins.is_region]] = True
    return replace(merged, flags=flags, margin=bins.margin, is_region=region)
