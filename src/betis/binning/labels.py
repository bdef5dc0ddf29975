"""Bins that somebody else drew: H II regions, a segmentation, another program's bins."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray

from betis.arrays import F64, Index
from betis.binning.quality import bin_map, usable_spaxels
from betis.errors import InputError
from betis.options import BinningOptions
from betis.products import BinMap

LOWEST_LABEL = 1
"""The smallest label that is a bin, as segmentations have it."""


def labels(
    label_map: Shaped[NDArray[Any], "y x"],
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: BinningOptions,
    none_below: int = LOWEST_LABEL,
) -> BinMap:
    """Make each label of a map a bin.

    Parameters
    ----------
    label_map : [y, x]
        A whole number a bin, of any numeric type; NaN and numbers under ``none_below`` are in no
        bin. Labels need be neither consecutive nor connected.
    signal, noise : [y, x]
        Additive signal and its 1-sigma noise; spaxels without both are in no bin.
    options
        Target, correlation of the noise.
    none_below
        The smallest label that is a bin: 1, or 0 for a map with -1 outside the bins.

    Returns
    -------
    Bins 0, 1 ... in the order of their labels; a label without a usable spaxel has none. Those
    below the target have `Flag.LOW_SNR`; as no noise has chosen them, there is no margin.

    Raises
    ------
    InputError
        Where the map has another shape than the field, holds what is no label, or no label has a
        usable spaxel.
    """
    valid = usable_spaxels(signal, noise)
    _require_labels(label_map, valid.shape)
    inside = valid & _is_bin(label_map, none_below)
    if not inside.any():
        raise InputError(
            "no spaxel with a label has a finite signal and a positive noise, so there is no bin; "
            f"check that the labels are of this field and count from {none_below}"
        )
    bin_id = np.full(valid.shape, -1, dtype=np.int32)
    bin_id[inside] = _numbered(label_map[inside])
    return bin_map(bin_id, signal, noise, replace(options, margin=0.0))


def _numbered(label: Shaped[NDArray[Any], " spaxel"]) -> Int[Index, " spaxel"]:
    return np.asarray(np.unique(label, return_inverse=True)[1].reshape(-1))


def _is_bin(label_map: NDArray[Any], none_below: int) -> NDArray[np.bool_]:
    # A comparison with NaN is False.
    return np.asarray(label_map >= none_below)


def _require_labels(label_map: NDArray[Any], shape: tuple[int, ...]) -> None:
    if label_map.shape != shape:
        raise InputError(
            f"the map of labels has the shape {label_map.shape}, where the field has {shape} "
            "(y, x); give labels on the spaxels of this cube"
        )
    if label_map.dtype.kind not in "biuf":
        raise InputError(
            f"the map of labels has the type {label_map.dtype}, where whole numbers were expected"
        )
    given = label_map[~np.isnan(label_map)]
    broken = given[~np.isfinite(given) | (given != np.floor(given))]
    if broken.size:
        raise InputError(
            f"the map of labels holds {broken[0]:g}, where whole numbers were expected (NaN and 0 "
            "for no bin); round them, or give the extension that has the labels"
        )
