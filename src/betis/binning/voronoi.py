"""Round bins of nearly equal S/N: weighted Voronoi cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, Index
from betis.binning.bubbles import grow_bubbles
from betis.binning.field import Field, make_field, outliers
from betis.binning.leftover import finished
from betis.binning.quality import numbered, usable_spaxels
from betis.binning.seeds import sow
from betis.binning.settle import connected, settle
from betis.options import BinningOptions
from betis.products import BinMap

MORE_MARGIN = 1.5
"""Margins over the target that shared cells are made to reach, as mending them chooses spaxels."""

AIM = 1.04
"""S/N that bins are grown to, over the target: most then reach it in spite of whole spaxels."""


def voronoi(signal: Float[F64, "y x"], noise: Float[F64, "y x"], options: BinningOptions) -> BinMap:
    """Bin a field into round cells of nearly the target S/N.

    Spaxels that reach the target alone are bins (which one that falls short and is shut in between
    them may join). Over the others, seeds are sown as densely as the S/N in windows allows, grown
    into weighted Voronoi cells that are made to reach the target, cut into connected pieces, and
    mended at their borders. They are made to reach the target and one and a half margins, since
    mending chooses spaxels by their noise too. Where no window 2^max_level spaxels wide reaches
    that, cells have its size. A spaxel ten times noisier than those round it is left alone.

    Parameters
    ----------
    signal, noise : [y, x]
        Additive signal and its 1-sigma noise; spaxels that are NaN, or whose noise is not
        positive, are in no bin.
    options
        Target and the margin over it, correlation of the noise, width of the largest cell as a
        power of 2, what becomes of cells that stay below.

    Returns
    -------
    Bins numbered from the upper left; connected; each with the S/N of exactly its own spaxels.
    Bins below the target have `Flag.LOW_SNR`. With Gaussian correlation, cells
    grow as if they were squares of equal noise, and are flagged for what they are.

    Raises
    ------
    InputError
        Where shapes differ, no spaxel is usable, or all would be dropped.
    ConfigError
        Where the correlation of the noise is still to be measured.

    References
    ----------
    Cappellari & Copin 2003, MNRAS 342, 345 (what a binning should do); Diehl & Statler 2006,
    MNRAS 368, 497 (weighted Voronoi cells).
    """
    valid = usable_spaxels(signal, noise)
    field = make_field(valid, signal, noise, options)
    label = numbered(_cells(field, options))
    bin_id = np.full(valid.shape, -1, dtype=np.int32)
    bin_id[valid] = label
    return finished(bin_id, signal, noise, options)


def _cells(field: Field, options: BinningOptions) -> Int[Index, " spaxel"]:
    """Return the bin of each spaxel."""
    max_width = 2**options.max_level
    alone = field.flux >= field.target * np.sqrt(field.variance)
    field = replace(field, target=options.target + MORE_MARGIN * options.margin)
    noisy = outliers(field) & ~alone
    rest = ~alone & ~noisy
    label, lit = np.arange(alone.size), alone.copy()
    if rest.any():
        cell, lit[rest] = _diagram(field.take(rest), max_width)
        label[rest] = alone.size + cell
    return _mended(field, label, lit, max_width)


def _diagram(field: Field, max_width: int) -> tuple[Index, B8]:
    """Return the cell of each spaxel, and whether the cell is lit."""
    seeds = sow(field, AIM * field.target, max_width)
    label, lit = grow_bubbles(field, seeds, AIM * field.target, max_width**2)
    return label, lit[label]


def _mended(field: Field, label: Index, lit: Bool[B8, " spaxel"], max_width: int) -> Index:
    """Return connected bins, those that fell short helped."""
    piece = connected(field, label)
    lit_piece = np.zeros(int(piece.max()) + 1, dtype=bool)
    lit_piece[piece] = lit
    return settle(field, piece, lit_piece, max_width**2)
