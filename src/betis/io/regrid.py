"""Labels of one field on the spaxels of another."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from betis.arrays import F64, I32, Index
from betis.errors import InputError
from betis.io.wcs import celestial_wcs
from betis.products import Sky

__all__ = ["labels_on_field", "same_field"]

_SAME = 1e-3
"""Spaxels by which the corners of a field may be apart for it to be the same."""


def same_field(first: Sky, second: Sky) -> bool:
    """Tell whether two fields have the same spaxels; without a WCS, as many of them."""
    if tuple(first.shape) != tuple(second.shape):
        return False
    if not first.wcs or not second.wcs or first.wcs == second.wcs:
        return True
    n_y, n_x = first.shape
    x, y = np.array([0.0, n_x - 1, 0.0, n_x - 1]), np.array([0.0, 0.0, n_y - 1, n_y - 1])
    there_x, there_y = _places(first, second, x, y)
    return bool(np.all(np.hypot(there_x - x, there_y - y) < _SAME))


def labels_on_field(label: Int[I32, "y x"], own: Sky, field: Sky) -> Int[I32, "y2 x2"]:
    """Return labels on another field: of each spaxel that where its centre lies, else -1.

    Raises
    ------
    InputError
        Where the fields differ and one of them has no celestial WCS.
    """
    if same_field(own, field):
        return label
    if not own.wcs or not field.wcs:
        raise InputError(
            f"the fields have {_size(own)} and {_size(field)} spaxels and no celestial WCS tells "
            "how they lie; compare runs on the same field, or cubes that have a WCS"
        )
    y, x = np.indices(field.shape, dtype=float)
    there_x, there_y = _places(field, own, x, y)
    column, row = _rounded(there_x), _rounded(there_y)
    inside = (row >= 0) & (row < own.shape[0]) & (column >= 0) & (column < own.shape[1])
    found = label[np.where(inside, row, 0), np.where(inside, column, 0)]
    return np.where(inside, found, -1).astype(np.int32)


def _places(field: Sky, other: Sky, x: F64, y: F64) -> tuple[F64, F64]:
    """Return where pixels of a field lie on another, in its pixels."""
    from astropy.wcs.utils import pixel_to_pixel

    there_x, there_y = pixel_to_pixel(celestial_wcs(field.wcs), celestial_wcs(other.wcs), x, y)
    return np.asarray(there_x), np.asarray(there_y)


def _rounded(values: F64) -> Index:
    """Return the nearest integers; -1 for what is not finite or far away."""
    return np.where(np.abs(values) < 1e6, np.floor(values + 0.5), -1).astype(np.intp)


def _size(sky: Sky) -> str:
    return " × ".join(str(n) for n in reversed(sky.shape))
