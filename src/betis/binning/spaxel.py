"""The identity: one bin a usable spaxel."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.binning.quality import bin_map, usable_spaxels
from betis.options import BinningOptions
from betis.products import BinMap


def spaxels(
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: BinningOptions,
) -> BinMap:
    """Make each usable spaxel a bin; those below the target (without a margin) are flagged.

    Raises
    ------
    InputError
        Where shapes differ or no spaxel is usable.
    """
    valid = usable_spaxels(signal, noise)
    bin_id = np.full(valid.shape, -1, dtype=np.int32)
    bin_id[valid] = np.arange(valid.sum())
    return bin_map(bin_id, signal, noise, replace(options, margin=0.0))
