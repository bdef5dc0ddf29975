"""How bright each spaxel is, and where it lies: the maps of the field in a MAPS file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import median_filter

from betis.arrays import B8, F64
from betis.compute import Progress, blocks
from betis.io.products import spaxel_area
from betis.io.wcs import celestial_wcs
from betis.products import BinMap, Cube, Sky, SpectraRows

__all__ = ["FieldLight", "bin_offsets", "bin_snr", "measure_light", "sky_offsets"]

_BAND = (4000.0, 5500.0)
"""Observed Angstrom: where SDSS g lets more than half of its light through."""
_MIN_PIXELS = 20
_ARCSEC = 3600.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldLight:
    """The mean light of each spaxel in the band, ``[y, x]``, as observed; NaN without data.

    ``flux`` and its ``error`` are flux densities in the scale of the cube, ``snr`` the mean S/N a
    pixel. ``spaxel_area`` is in arcsec²; NaN without a WCS.
    """

    flux: Float[F64, "y x"]
    error: Float[F64, "y x"]
    snr: Float[F64, "y x"]
    spaxel_area: float


def measure_light(cube: Cube, progress: Progress | None = None) -> FieldLight:
    """Measure the light of each spaxel, tile by tile of image rows.

    The mean from 4000 to 5500 Angstrom, without weights; of the whole axis where the cube has
    fewer than 20 pixels there. Neither dust of the Milky Way nor the redshift is corrected for.

    Parameters
    ----------
    cube
        Prepared.
    progress
        Told how many image rows each tile held.
    """
    inside = _band(cube.wave * (1 + cube.redshift))
    first, last = int(np.argmax(inside)), int(inside.size - np.argmax(inside[::-1]))
    observed = replace(cube, factor=None)
    flux, error, snr = (np.full(cube.sky.shape, np.nan) for _ in range(3))
    for rows in cube.tiles(last - first):
        block = observed.read(rows, slice(first, last))
        good = ~block.mask
        count = good.sum(axis=0)
        known = count > 0
        sigma = np.sqrt(block.variance)
        ratio = np.divide(block.flux, sigma, out=np.zeros(sigma.shape), where=good & (sigma > 0))
        sums = (block.flux.sum(axis=0), np.sqrt(block.variance.sum(axis=0)), ratio.sum(axis=0))
        for image, total in zip((flux, error, snr), sums, strict=True):
            np.divide(total, count, out=image[rows], where=known)
        if progress:
            progress(rows.stop - rows.start)
    area = spaxel_area(cube.sky)
    return FieldLight(flux=flux, error=error, snr=snr, spaxel_area=area)


def bin_snr(spectra: SpectraRows) -> Float[F64, " bin"]:
    """Return the mean S/N a pixel of each spectrum, in the same band."""
    inside = _band(spectra.wave * (1 + spectra.redshift))
    result = np.full(spectra.n_spectrum, np.nan)
    for rows in blocks(spectra.n_spectrum):
        part = spectra.take(rows)
        good = ~part.mask & inside
        ratio = np.where(good, part.flux / part.error, 0.0)
        count = good.sum(axis=1)
        np.divide(ratio.sum(axis=1), count, out=result[rows], where=count > 0)
    return result


def sky_offsets(sky: Sky, light: Float[F64, "y x"]) -> tuple[F64, dict[str, Any]]:
    """Return the offsets from the centre, ``[xy, y, x]`` in arcsec, and cards that say where it is.

    +x is towards increasing right ascension, +y towards increasing declination. The centre is the
    brightest spaxel of the light, smoothed by a median over 3 x 3. NaN without a WCS.
    """
    wcs = celestial_wcs(sky.wcs)
    if wcs is None:
        return np.full((2, *sky.shape), np.nan), {}
    smooth = median_filter(np.nan_to_num(light, nan=0.0), size=3)
    row, column = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    y, x = np.indices(sky.shape)
    ra, dec = wcs.all_pix2world(x, y, 0)
    ra0, dec0 = ra[row, column], dec[row, column]
    turn = (ra - ra0 + 180.0) % 360.0 - 180.0
    east = turn * np.cos(np.radians(dec0)) * _ARCSEC
    cards = {
        "OBJRA": (float(ra0), "[deg] of the centre: the brightest spaxel"),
        "OBJDEC": (float(dec0), "[deg]"),
    }
    return np.stack([east, (dec - dec0) * _ARCSEC]), cards


def bin_offsets(
    bins: BinMap, offsets: Float[F64, "xy y x"], light: Float[F64, "y x"]
) -> Float[F64, "bin xy"]:
    """Return the mean offsets of each bin, weighted by light where that is positive.

    The plain mean of a bin without light.
    """
    inside = bins.bin_id >= 0
    row, weight = bins.bin_id[inside], np.nan_to_num(np.maximum(light[inside], 0.0))
    total = np.bincount(row, weight, bins.n_bin)
    weight = np.where(total[row] > 0, weight, 1.0)
    total = np.bincount(row, weight, bins.n_bin)
    sums = [np.bincount(row, weight * plane[inside], bins.n_bin) for plane in offsets]
    return np.stack(sums, axis=1) / total[:, None]


def _band(observed: Float[F64, " wave"]) -> Bool[B8, " wave"]:
    inside = (observed >= _BAND[0]) & (observed <= _BAND[1])
    return inside if inside.sum() >= _MIN_PIXELS else np.ones(observed.size, dtype=bool)
