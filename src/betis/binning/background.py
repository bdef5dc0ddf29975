"""The level of the diffuse gas between regions, from windows that are clipped from above."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import map_coordinates

from betis.arrays import B8, F64, Index

_CLIP, _MAX_CLIPS = 2.5, 20
"""Scatters above the median at which a window is clipped, and how often at most."""

_LOW = 0.159
"""The share of a normal distribution below minus 1 sigma."""

_NODES = 4
"""Nodes of the mesh in the width of a window, about."""

_LEAST_SPREAD = 0.1
"""Spread of the middles of windows, in half their width, that is enough for a slope."""

_FARTHEST = 1.5
"""Scatters of a window by which its level may be moved: on a slope this reaches its edge."""


def diffuse_level(valid: Bool[B8, "y x"], flux: Float[F64, "y x"], width: int) -> Float[F64, "y x"]:
    """Return the level on which the peaks of a map stand, in its units.

    The median of square windows, clipped from above until nothing is ``_CLIP`` scatters over it,
    the scatter being that of the lower half: what stands out does not lift the level, and that of
    pure noise is its mean. A plane through the neighbouring windows, each at the middle of its
    spaxels, brings it to the nodes of a mesh: at the edge of the field windows reach inwards only.

    Parameters
    ----------
    valid, flux : [y, x]
        Where there are values (somewhere there must be), and the values.
    width : spaxels
        Of the windows; far more than that of a region, and at least 3.

    Returns
    -------
    The level where there are values; what it is elsewhere has no meaning.

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393, section 3 (clipped medians on a mesh).
    """
    half = width // 2
    step = max(1, width // _NODES)
    y, x = (_nodes(size, step) for size in flux.shape)
    windows = np.array([[_window(valid, flux, (j, i), half) for i in x] for j in y])
    reach = half // step
    level = np.empty(windows.shape[:2])
    for j, i in np.ndindex(level.shape):
        near = windows[max(j - reach, 0) : j + reach + 1, max(i - reach, 0) : i + reach + 1]
        plane = _plane_at((int(y[j]), int(x[i])), near.reshape(-1, 5), half)
        own, most = windows[j, i, 1], _FARTHEST * windows[j, i, 2]
        level[j, i] = np.clip(plane, own - most, own + most)
    place = [
        np.interp(np.arange(size), nodes, np.arange(nodes.size))
        for size, nodes in zip(flux.shape, (y, x), strict=True)
    ]
    return np.asarray(map_coordinates(level, np.meshgrid(*place, indexing="ij"), order=1))


def _nodes(size: int, step: int) -> Int[Index, " node"]:
    return np.unique(np.append(np.arange(0, size, step), size - 1))


def _window(
    valid: Bool[B8, "y x"], flux: Float[F64, "y x"], node: tuple[int, int], half: int
) -> tuple[float, ...]:
    """Return how many values the window round a node has, their level, scatter, and middle."""
    first = [max(middle - half, 0) for middle in node]
    part = tuple(slice(low, middle + half + 1) for low, middle in zip(first, node, strict=True))
    y, x = np.nonzero(valid[part])
    if y.size == 0:
        return (0.0,) * 5
    level, scatter = clipped_median(flux[part][y, x])
    return float(y.size), level, scatter, first[0] + float(y.mean()), first[1] + float(x.mean())


def _plane_at(node: tuple[int, int], windows: Float[F64, "window 5"], half: int) -> float:
    """Return the level at a node from the windows near it; 0 where they have no values."""
    count, level, _, *middle = windows[windows[:, 0] > 0].T
    if count.size == 0:
        return 0.0
    origin = np.average(middle, axis=1, weights=count)
    away = (np.array(middle) - origin[:, None]) / half
    weight = np.sqrt(count / count.sum())
    design = np.stack([np.ones(count.size), *away]) * weight
    plane = np.linalg.lstsq(design.T, level * weight, rcond=_LEAST_SPREAD)[0]
    return float(plane @ np.append(1.0, (np.array(node) - origin) / half))


def clipped_median(values: Float[F64, " value"]) -> tuple[float, float]:
    """Return the median, and the scatter below it, when the tail above has been clipped."""
    ordered = np.sort(values)
    for _ in range(_MAX_CLIPS):
        last = ordered.size - 1
        middle, low = ordered[last // 2], ordered[int(_LOW * last)]
        kept = int(np.searchsorted(ordered, middle + _CLIP * (middle - low), side="right"))
        if kept == ordered.size:
            break
        ordered = ordered[:kept]
    middle = float(np.median(ordered))
    return middle, middle - float(ordered[int(_LOW * (ordered.size - 1))])
