"""The whole cube of a run on a linear axis: rest frame, dereddened, errors with their covariance.

Written tile by tile of image rows; the cube never stands in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from betis.arrays import F64
from betis.compute import Progress
from betis.errors import ConfigError
from betis.export.files import put_tile
from betis.io.fits import image_hdu
from betis.io.products import flux_unit
from betis.io.row_files import Layout, RowWriter, image_layout, write_rows
from betis.options import PrepareOptions
from betis.products import Cube, CubeBlock, Spectra
from betis.resampling import Method, Resampled, linear_axis, resample
from betis.wavelength import Medium, WaveAxis

__all__ = ["CTYPE", "resampled_tiles", "write_resampled"]

_TILE_VOXELS = 2_000_000
"""Voxels in memory at once: some 300 MB with the covariance and all that is made on the way."""

CTYPE: dict[Medium, str] = {"air": "AWAV", "vacuum": "WAVE"}
"""FITS's name of wavelengths in a medium."""


def write_resampled(
    cube: Cube,
    path: str | Path,
    options: PrepareOptions,
    *,
    step: float = 1.0,
    method: Method = "conserving",
    cards: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a prepared cube on a linear axis: FLUX, ERROR, MASK ``(wave, y, x)``, and COVAR.

    FLUX and ERROR (float32) are NaN where MASK is 1. Element ``k`` of COVAR is the covariance
    of two pixels ``k`` apart over the product of their values in ERROR, both summed over
    a spectrum, and the mean of all spectra. So the variance of a sum of many pixels is
    ``sum_k (2 - (k == 0)) COVAR[k] sum_i ERROR[i] ERROR[i + k]``.

    Parameters
    ----------
    cube
        Prepared: its own rest frame and dereddening are what is written.
    path
        Of the file; one that is there is replaced, by a complete one only.
    options
        What the cube was prepared with, for the header.
    step : Angstrom
        Of the axis, whose pixels are centred at multiples of it.
    method
        See `betis.resampling.resample`.
    cards
        Of the primary header, beside those of the method.
    progress
        Told how many image rows each tile held.

    Raises
    ------
    ConfigError
        Where the step or the method makes no sense, or the file is the cube itself.
    RunFolderError
        Where the file cannot be written; what was there before stays.
    """
    target = Path(path)
    if cube.path and target.resolve() == Path(cube.path).resolve():
        raise ConfigError(f"{target} is the cube itself, which would be lost; choose another file")
    axis = linear_axis(cube.wave, cube.edges, step)
    resample(_example(cube), step=step, method=method)
    covariance = _MeanCovariance()

    def fill(writer: RowWriter) -> list[Any]:
        for rows, tile in resampled_tiles(cube, step, method):
            covariance.add(tile)
            _put(writer, tile, rows, cube.sky.shape)
            if progress:
                progress(rows.stop - rows.start)
        return [image_hdu("COVAR", covariance.mean, {"BUNIT": "", "CTYPE1": "LAG", "CRVAL1": 0})]

    layouts = list(_layouts(cube, axis))
    write_rows(target, layouts, fill, {**(cards or {}), **_provenance(cube, options, step, method)})


def resampled_tiles(
    cube: Cube, step: float = 1.0, method: Method = "conserving"
) -> Iterator[tuple[slice, Resampled]]:
    """Yield some image rows of a cube at a time, their spaxels resampled."""
    axis = linear_axis(cube.wave, cube.edges, step)
    for rows in cube.tiles(max(cube.wave.size, axis.wave.size), _TILE_VOXELS):
        yield rows, resample(_spectra(cube, cube.read(rows)), step=step, method=method)


@dataclass
class _MeanCovariance:
    """Gathers, by distance in pixels, the covariance over the product of errors, row by row."""

    total: Float[F64, " k"] | None = None
    count: Float[F64, " k"] | None = None

    def add(self, tile: Resampled) -> None:
        """Count the rows of a tile that have two good pixels at a distance."""
        n_band, n_wave = tile.covariance.shape[1:]
        error = np.where(tile.mask, 0.0, tile.error)
        shares = np.zeros((n_band, len(error)))
        known = np.zeros(shares.shape, dtype=bool)
        for lag in range(n_band):
            last = n_wave - lag
            product = np.sum(error[:, :last] * error[:, lag:], axis=1)
            known[lag] = product > 0
            covariance = np.sum(tile.covariance[:, lag, :last], axis=1)
            np.divide(covariance, product, out=shares[lag], where=known[lag])
        total, count = shares.sum(axis=1), known.sum(axis=1, dtype=float)
        self.total = total if self.total is None else self.total + total
        self.count = count if self.count is None else self.count + count

    @property
    def mean(self) -> Float[F64, " k"]:
        """The mean over rows; 0 where there was no good pixel."""
        if self.total is None or self.count is None:
            return np.zeros(1)
        return np.asarray(self.total / np.maximum(self.count, 1))


def _spectra(cube: Cube, block: CubeBlock) -> Spectra:
    """Return the spaxels of a block as rows, ``y`` slow and ``x`` fast."""
    n_wave = len(block.flux)
    return Spectra(
        cube.wave,
        block.flux.reshape(n_wave, -1).T,
        np.sqrt(block.variance).reshape(n_wave, -1).T,
        block.mask.reshape(n_wave, -1).T,
        medium=cube.medium,
        lsf=cube.lsf,
        edges=cube.edges,
        redshift=cube.redshift,
    )


def _example(cube: Cube) -> Spectra:
    """Return a spectrum without content, to try the options on before a file is begun."""
    nothing = np.zeros((cube.wave.size, 1, 1))
    return _spectra(cube, CubeBlock(nothing, nothing + 1, nothing > 0))


def _put(writer: RowWriter, tile: Resampled, rows: slice, shape: tuple[int, int]) -> None:
    """Write a tile."""
    bad = np.where(tile.mask, np.nan, 0.0)
    images: dict[str, NDArray[Any]] = {
        "FLUX": tile.flux + bad,
        "ERROR": tile.error + bad,
        "MASK": tile.mask,
    }
    put_tile(writer, images, rows, shape)


def _layouts(cube: Cube, axis: WaveAxis) -> Iterator[Layout]:
    shape = (axis.wave.size, *cube.sky.shape)
    unit = flux_unit(cube.sky, density=True)
    place = _wcs_cards(cube, axis)
    for name, dtype, bunit in (("FLUX", "f4", unit), ("ERROR", "f4", unit), ("MASK", "u1", "")):
        layout = image_layout(name, shape, dtype, {"BUNIT": bunit, **place})
        row = np.dtype((layout.dtype.base, shape[2:]))
        yield replace(layout, n_row=shape[0] * shape[1], dtype=row)


def _wcs_cards(cube: Cube, axis: WaveAxis) -> dict[str, Any]:
    return {
        **cube.sky.wcs,
        "WCSAXES": 3,
        "CTYPE3": (CTYPE[cube.medium], "as observed, then divided by 1 + REDSHIFT"),
        "CUNIT3": "Angstrom",
        "CRPIX3": 1.0,
        "CRVAL3": float(axis.wave[0]),
        "CDELT3": (axis.wave[-1] - axis.wave[0]) / (axis.wave.size - 1),
    }


def _provenance(cube: Cube, options: PrepareOptions, step: float, method: Method) -> dict[str, Any]:
    return {
        "ORIGIN": (f"betis {version('betis')}", "what resampled the cube"),
        "INSTRUME": cube.instrument,
        "RESAMPLE": (method, "method; conserving or linear"),
        "RESTEP": (step, "[Angstrom] step of the new axis"),
        "REDSHIFT": (cube.redshift, "axis divided, flux multiplied by 1 + this"),
        "A_V": (cube.galactic_av, "[mag] Galactic extinction removed"),
        "EXTLAW": (options.law, "law of that extinction"),
        "R_V": (options.r_v, "A_V / E(B-V) of that law"),
        "FLUXSCAL": (cube.sky.flux_scale, "[erg/s/cm2/Angstrom] of 1; 0 if unknown"),
    }
