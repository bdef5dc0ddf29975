"""Where bins should be and how large: from S/N in windows, spread along a space-filling curve.

No spaxel is chosen for its own value: windows are squares, and the curve knows places only. So
the noise of a field without signal is not gathered into bins that seem to have some.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.ndimage import maximum_filter, uniform_filter

from betis.arrays import B8, F64, Index
from betis.binning.field import Field


class Seeds(NamedTuple):
    """Where bins are to grow.

    ``label`` gives the seed of each spaxel, ``area`` how many spaxels a seed's bin should have,
    ``lit`` whether the S/N aimed at seems in reach there.
    """

    label: Int[Index, " spaxel"]
    area: Float[F64, " bin"]
    lit: Bool[B8, " bin"]


def sow(field: Field, aim: float, max_width: int) -> Seeds:
    """Return one seed for as many spaxels as it takes to reach the S/N ``aim``.

    Each connected part of the field that is lit, and what is dark, has a whole number of seeds,
    which share it evenly along the curve.

    Parameters
    ----------
    field
        Spaxels to be binned.
    aim
        S/N that a bin should have.
    max_width
        Width of the largest window; where even that does not reach ``aim`` it is dark, and a seed
        stands for as many spaxels as that window has.
    """
    area = needed_area(field, aim, max_width)
    part = _parts(field, area < max_width**2)
    density = 1.0 / area
    hopeless = (np.bincount(part, density) < _HALF) & (np.arange(part.max() + 1) > 0)
    density[hopeless[part]] = max_width**-2.0
    part[hopeless[part]] = 0
    order = np.lexsort([hilbert_index(field.y, field.x), part])
    label = np.empty(area.size, dtype=np.intp)
    label[order] = _shared(part[order], density[order])
    total = np.bincount(label, density)
    lit = np.bincount(label, part) > 0
    return Seeds(label, total / np.bincount(label, density**2), lit)


_HALF = 0.5
"""Seeds that a lit part must have room for; a smaller one is dark."""


def _parts(field: Field, lit: Bool[B8, " spaxel"]) -> Int[Index, " spaxel"]:
    """Return the number, from 1, of the connected part in which each lit spaxel is; 0 if dark."""
    frame = field.image(lit.astype(float)) > 0
    return np.asarray(ndimage.label(frame, np.ones((3, 3)))[0].ravel()[field.place], dtype=np.intp)


def _shared(part: Int[Index, " spaxel"], density: Float[F64, " spaxel"]) -> Int[Index, " spaxel"]:
    """Return seeds along the curve: a whole number in each part, at least one, even in density."""
    total = np.bincount(part, density)
    n_seed = np.maximum(np.round(total), 1.0)
    before = np.cumsum(total) - total
    inside = np.cumsum(density) - density / 2 - before[part]
    share = np.clip(inside / total[part] * n_seed[part], 0.0, n_seed[part] - _HALF)
    first = np.cumsum(n_seed) - n_seed
    return np.asarray(np.unique(first[part] + np.floor(share), return_inverse=True)[1].reshape(-1))


def needed_area(field: Field, aim: float, max_width: int) -> Float[F64, " spaxel"]:
    """Return how many spaxels round each one reach the S/N ``aim``: at most ``max_width**2``.

    From the smallest square window that reaches it with the spaxels that no smaller one has
    served, on the way that independent noise has. A window serves those near its middle.
    """
    largest = float(max_width**2)
    area = np.full(field.flux.size, largest)
    unserved = np.ones(area.size, dtype=bool)
    for width in _widths(max_width, max(field.shape)):
        count, snr = _window_snr(field, unserved, width)
        reached = unserved & (snr >= aim)
        density = np.zeros(area.size)
        density[reached] = snr[reached] ** 2 / (aim**2 * count[reached])
        near = 2 * (width // 4) + 1
        served = maximum_filter(field.image(density), near).ravel()[field.place]
        found = unserved & (served > 0)
        area[found] = np.clip(1.0 / served[found], 1.0, largest)
        unserved &= ~found
    return area


def _window_snr(
    field: Field, unserved: Bool[B8, " spaxel"], width: int
) -> tuple[Float[F64, " spaxel"], Float[F64, " spaxel"]]:
    """Return how many unserved spaxels are in the window round each one, and their S/N."""
    signal, variance, count = (
        uniform_filter(field.image(unserved * item), width, mode="constant").ravel()[field.place]
        * width**2
        for item in (field.flux, field.variance, np.ones(unserved.size))
    )
    count = np.maximum(np.round(count), 1.0)
    # Running sums leave rounding errors where nothing is left.
    noise = np.sqrt(np.maximum(variance, field.variance))
    return count, signal / (noise * field.noise_model.of_count(count))


def _widths(max_width: int, extent: int) -> list[int]:
    """Return odd widths, each about 1.4 times the one before."""
    halves = {int(2 ** (step / 2 - 1)) for step in range(2 * max_width.bit_length() - 1)}
    return [2 * half + 1 for half in sorted(halves) if half <= extent]


def hilbert_index(y: Float[F64, " spaxel"], x: Float[F64, " spaxel"]) -> Int[Index, " spaxel"]:
    """Return the place of each spaxel along Hilbert's curve, neighbours on which touch.

    References
    ----------
    Hilbert 1891, Math. Ann. 38, 459: the curve, by quadrants.
    """
    row, column = y.astype(np.intp), x.astype(np.intp)
    bits = int(max(row.max(), column.max())).bit_length()
    last = 2**bits - 1
    index = np.zeros(row.size, dtype=np.intp)
    for bit in range(bits - 1, -1, -1):
        below, right = (row >> bit) & 1, (column >> bit) & 1
        index += ((3 * right) ^ below) << (2 * bit)
        turn, mirror = below == 0, (below == 0) & (right == 1)
        row, column = np.where(mirror, last - row, row), np.where(mirror, last - column, column)
        row, column = np.where(turn, column, row), np.where(turn, row, column)
    return index
