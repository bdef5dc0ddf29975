"""The level of the diffuse gas between regions, from windows that are clipped from above."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt, map_coordinates

from betis.arrays import B8, F64, Index

_CLIP, _MAX_CLIPS = 2.5, 20
"""Scatters above the median at which a window is clipped, and how often at most."""

_LOW = 0.159
"""The share of a normal distribution below minus 1 sigma."""

_NODES = 4
"""Nodes of the mesh in the width of a window, about."""


def diffuse_level(valid: Bool[B8, "y x"], flux: Float[F64, "y x"], width: int) -> Float[F64, "y x"]:
    """Return the level on which the peaks of a map stand, in its units.

    The median of square windows, clipped from above until nothing is ``_CLIP`` scatters over it,
    the scatter being that of the lower half: what stands out does not lift the level, and that of
    pure noise is its mean. Found on a mesh, and drawn linearly between its nodes.

    Parameters
    ----------
    valid, flux : [y, x]
        Where there are values (somewhere there must be), and the values.
    width : spaxels
        Of the windows; far more than that of a region.

    References
    ----------
    Da Costa 1992, ASP Conference Series 23, 90 (levels by clipping and the mode); clipped medians
    on a mesh as in Bertin & Arnouts 1996, A&AS 117, 393, section 3.
    """
    step = max(1, width // _NODES)
    y, x = (_nodes(size, step) for size in flux.shape)
    level = np.array([[_window_level(valid, flux, (j, i), width // 2) for i in x] for j in y])
    nearest = distance_transform_edt(np.isnan(level), return_distances=False, return_indices=True)
    place = [
        np.interp(np.arange(size), nodes, np.arange(nodes.size))
        for size, nodes in zip(flux.shape, (y, x), strict=True)
    ]
    return np.asarray(
        map_coordinates(
            level[tuple(nearest)], np.meshgrid(*place, indexing="ij"), order=1, mode="nearest"
        )
    )


def _nodes(size: int, step: int) -> Int[Index, " node"]:
    return np.unique(np.append(np.arange(0, size, step), size - 1))


def _window_level(
    valid: Bool[B8, "y x"], flux: Float[F64, "y x"], node: tuple[int, int], half: int
) -> float:
    """Return the level of the window round a node; NaN where it has no value."""
    window = tuple(slice(max(middle - half, 0), middle + half + 1) for middle in node)
    inside = valid[window]
    return clipped_median(flux[window][inside]) if inside.any() else np.nan


def clipped_median(values: Float[F64, " value"]) -> float:
    """Return the median of what is left when the tail above has been clipped."""
    ordered = np.sort(values)
    for _ in range(_MAX_CLIPS):
        last = ordered.size - 1
        middle, low = ordered[last // 2], ordered[int(_LOW * last)]
        kept = int(np.searchsorted(ordered, middle + _CLIP * (middle - low), side="right"))
        if kept == ordered.size:
            break
        ordered = ordered[:kept]
    return float(np.median(ordered))
