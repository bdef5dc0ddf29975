"""The model cube of a run: data, stars, lines and what is left, at each spaxel and wavelength.

Written tile by tile of image rows; neither the cube nor all the models stand in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from betis.arrays import F64, Index
from betis.compute import Progress
from betis.export.files import put_tile
from betis.export.resampled import CTYPE
from betis.io.fits import image_hdu, table_hdu
from betis.io.products import flux_unit
from betis.io.row_files import Layout, RowWriter, image_layout, write_rows
from betis.products import BinMap, Sky, Spectra, SpectraRows

__all__ = ["Modelled", "wave_cards", "write_model_cube"]

_TILE_VOXELS = 1_000_000
"""Voxels in memory at once: some 100 MB, with all that is made on the way."""

_EVEN = 1e-6
"""Share of a step by which an axis may differ from an even one and count as that."""

_TABLE = "WCS-TABLE"


@dataclass(frozen=True, kw_only=True, eq=False)
class Modelled:
    """Some spectra and what was fitted to them.

    Attributes
    ----------
    spectra
        As summed.
    stars : flux density [spectrum, wave]
        None where no engine took the stars away.
    lines : flux density [spectrum, wave]
        All lines, without the local backgrounds of their fits.
    """

    spectra: Spectra
    stars: Float[F64, "spectrum wave"] | None
    lines: Float[F64, "spectrum wave"]

    @property
    def residual(self) -> Float[F64, "spectrum wave"]:
        """Data less stars and lines; NaN at bad pixels."""
        stars = 0.0 if self.stars is None else self.stars
        rest = self.spectra.flux - stars - self.lines
        return np.where(self.spectra.mask, np.nan, rest)


def write_model_cube(
    path: str | Path,
    bins: BinMap,
    axis: SpectraRows,
    models: Callable[[Index], Modelled],
    *,
    has_stars: bool,
    cards: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write FLUX, ERR, MASK, CONTINUUM, LINES and RESIDUAL, each ``(wave, y, x)``; and WAVE.

    All are per spaxel: the bin's, divided by its number of spaxels, so that the sum over a bin is
    its spectrum. RESIDUAL is FLUX - CONTINUUM - LINES. MASK is 1 at bad pixels and outside every
    bin, where the others are NaN; models are finite at bad pixels inside bins.

    Parameters
    ----------
    path
        Of the file; one that is there is replaced, by a complete one only.
    bins, axis
        Where the spectra are, and their wavelengths.
    models
        Gives some rows of them with what was fitted.
    has_stars
        Whether there is a continuum; without one CONTINUUM is left out.
    cards
        Of the primary header.
    progress
        Told how many image rows each tile held.

    Raises
    ------
    RunFolderError
        Where the file cannot be written; what was there before stays.
    """
    example = axis.take(slice(0, 1))
    sky = axis.sky or Sky(shape=(bins.bin_id.shape[0], bins.bin_id.shape[1]))

    def fill(writer: RowWriter) -> list[Any]:
        for rows in _tiles(bins.bin_id.shape, axis.wave.size):
            put_tile(writer, _tile(bins, rows, models, axis.wave.size), rows, sky.shape)
            if progress:
                progress(rows.stop - rows.start)
        return _axis_hdus(example)

    head = {"REDSHIFT": (axis.redshift, "axis divided by 1 + this, flux multiplied")}
    layouts = list(_layouts(example, sky, has_stars=has_stars))
    write_rows(Path(path), layouts, fill, {**(cards or {}), **head})


def _tiles(shape: tuple[int, ...], n_wave: int) -> Iterator[slice]:
    height = max(1, _TILE_VOXELS // max(1, n_wave * shape[1]))
    for start in range(0, shape[0], height):
        yield slice(start, min(start + height, shape[0]))


def _tile(
    bins: BinMap, rows: slice, models: Callable[[Index], Modelled], n_wave: int
) -> dict[str, NDArray[Any]]:
    """Return the values of the spaxels ``[spaxel, wave]`` of some image rows."""
    bin_id = bins.bin_id[rows].ravel()
    members = np.unique(bin_id[bin_id >= 0]).astype(np.intp)
    place = np.where(bin_id >= 0, np.searchsorted(members, bin_id), members.size)
    part = models(members)
    share = 1.0 / bins.n_spaxel[members][:, None]
    bad = np.where(part.spectra.mask, np.nan, 0.0)
    values = {
        "FLUX": part.spectra.flux * share + bad,
        "ERR": np.where(part.spectra.mask, np.nan, part.spectra.error) * share,
        "LINES": part.lines * share,
        "RESIDUAL": part.residual * share,
    }
    if part.stars is not None:
        values["CONTINUUM"] = part.stars * share
    blank = np.full((1, n_wave), np.nan)
    tile = {name: np.concatenate([value, blank])[place] for name, value in values.items()}
    outside = np.ones((1, n_wave), dtype=bool)
    return {**tile, "MASK": np.concatenate([part.spectra.mask, outside])[place]}


def _layouts(example: Spectra, sky: Sky, *, has_stars: bool) -> Iterator[Layout]:
    shape = (example.wave.size, *sky.shape)
    unit, place = flux_unit(sky, density=True), {**sky.wcs, **wave_cards(example)}
    models = ("CONTINUUM", "LINES", "RESIDUAL") if has_stars else ("LINES", "RESIDUAL")
    for name in ("FLUX", "ERR", "MASK", *models):
        is_mask = name == "MASK"
        # BFORM is how specutils is told of a mask of logical values.
        cards = {"BUNIT": "", "BFORM": "L"} if is_mask else {"BUNIT": unit}
        layout = image_layout(name, shape, "u1" if is_mask else "f4", {**cards, **place})
        row = np.dtype((layout.dtype.base, shape[2:]))
        yield replace(layout, n_row=shape[0] * shape[1], dtype=row)


def wave_cards(axis: Spectra) -> dict[str, Any]:
    """Return the cards of the third axis: linear, logarithmic, or the table WCS-TABLE.

    References
    ----------
    Greisen et al. 2006, A&A 446 747 (FITS paper III): eq. 5 for the logarithmic axis, section 6
    for the table.
    """
    wave, ctype = axis.wave, CTYPE[axis.medium]
    cards: dict[str, Any] = {"WCSAXES": 3, "CUNIT3": "Angstrom", "CRPIX3": 1.0}
    step = (wave[-1] - wave[0]) / (wave.size - 1)
    if np.allclose(np.diff(wave), step, rtol=0, atol=_EVEN * step):
        return {**cards, "CTYPE3": ctype, "CRVAL3": float(wave[0]), "CDELT3": float(step)}
    ratio = float(np.log(wave[-1] / wave[0]) / (wave.size - 1))
    if np.allclose(np.diff(np.log(wave)), ratio, rtol=0, atol=_EVEN * ratio):
        start = float(wave[0])
        return {**cards, "CTYPE3": f"{ctype}-LOG", "CRVAL3": start, "CDELT3": start * ratio}
    table = {"PS3_0": _TABLE, "PS3_1": "WAVELENGTH", "PV3_1": 1, "PV3_2": 1, "PV3_3": 1}
    return {**cards, "CTYPE3": f"{ctype}-TAB", "CRVAL3": 1.0, "CDELT3": 1.0, **table}


def _axis_hdus(axis: Spectra) -> list[Any]:
    """Return WAVE, and the table of the axis where its cards need one."""
    hdus = [image_hdu("WAVE", axis.wave, {"BUNIT": "Angstrom"})]
    if wave_cards(axis)["CTYPE3"].endswith("-TAB"):
        column = {"WAVELENGTH": axis.wave[None, :, None]}
        hdus.append(table_hdu(_TABLE, column, {"WAVELENGTH": "Angstrom"}))
    return hdus
