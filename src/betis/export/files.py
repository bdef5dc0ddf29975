"""FITS files with an image in the primary HDU, as older programs expect it; cubes by image rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from betis.arrays import F64
from betis.errors import InputError
from betis.io.fits import write_atomically
from betis.io.row_files import Layout, RowWriter, image_layout
from betis.io.wcs import celestial_wcs
from betis.products import Sky

__all__ = [
    "Image",
    "cd_cards",
    "factor_to",
    "observed_sigma_err",
    "primary_layout",
    "put_tile",
    "write_images",
    "write_with_primary",
]


class Image(NamedTuple):
    """An extension: its name, its values (None for an empty primary HDU), and its cards."""

    name: str
    values: NDArray[Any] | None
    cards: Mapping[str, Any]


def write_images(path: Path, images: Sequence[Image]) -> None:
    """Write images, the first of them in the primary HDU; all with CHECKSUM.

    Raises
    ------
    RunFolderError
        Where the file cannot be written; what was there before stays.
    """
    first, *others = images
    layouts = [
        primary_layout(_shape(first), _dtype(first), first.cards),
        *(image_layout(image.name, _shape(image), _dtype(image), image.cards) for image in others),
    ]

    def fill(writer: RowWriter) -> None:
        for layout, image in zip(layouts, images, strict=True):
            if image.values is not None:
                writer.put(layout.name, slice(None), image.values)

    write_with_primary(path, layouts, fill)


def write_with_primary(
    path: Path, layouts: Sequence[Layout], fill: Callable[[RowWriter], None]
) -> None:
    """Write a file whose extensions are filled row by row, the first being the primary HDU.

    Raises
    ------
    RunFolderError
        Where the file cannot be written; what was there before stays.
    """

    def write(part: Path) -> None:
        with part.open("wb") as stream:
            writer = RowWriter(stream, layouts, 0)
            fill(writer)
            writer.close()

    write_atomically(path, write)


def primary_layout(shape: tuple[int, ...], dtype: str, cards: Mapping[str, Any]) -> Layout:
    """Return the primary HDU ``[row, ...]`` to be filled; one without data for the shape ()."""
    from astropy.io import fits

    blank = np.zeros((1,) * len(shape), dtype) if shape else None
    header = fits.PrimaryHDU(blank).header
    for axis, size in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = size
    header["EXTEND"] = True
    header["CREATOR"] = ("betis", "program that made this file")
    header.update({key: value for key, value in cards.items() if value is not None})
    row = np.dtype((np.dtype(dtype).newbyteorder(">"), shape[1:]))
    return Layout(name="PRIMARY", header=header, n_row=shape[0] if shape else 0, dtype=row)


def put_tile(
    writer: RowWriter,
    images: Mapping[str, NDArray[Any]],
    rows: slice,
    shape: tuple[int, int],
) -> None:
    """Write some image rows of cubes; a row of the writer is one image row at one wavelength.

    Parameters
    ----------
    images : [spaxel, wave]
        By the name of their extension; spaxels with ``y`` slow and ``x`` fast.
    rows
        Image rows.
    shape
        ``(y, x)`` of the field.
    """
    for name, values in images.items():
        wave = np.arange(values.shape[1])[:, None]
        index = (wave * shape[0] + np.arange(rows.start, rows.stop)).ravel()
        writer.put(name, index, values.T.reshape(index.size, shape[1]))


def cd_cards(sky: Sky) -> dict[str, Any]:
    """Return the celestial WCS with a CD matrix, which a CD3_3 needs beside it."""
    wcs = celestial_wcs(sky.wcs)
    if wcs is None:
        return {}
    scaled = ("PC1_", "PC2_", "CDELT")
    kept = {name: value for name, value in sky.wcs.items() if not name.startswith(scaled)}
    matrix = wcs.pixel_scale_matrix
    cells = {f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in range(2) for j in range(2)}
    return {**kept, **cells}


def factor_to(scale: float, sky: Sky | None) -> float:
    """Return what fluxes of a run are multiplied by to be in units of ``scale`` erg/s/cm2.

    Raises
    ------
    InputError
        Where nobody knows what 1 in the cube stands for.
    """
    if sky is None or sky.flux_scale <= 0:
        raise InputError(
            "the run does not know what a flux of 1 stands for, where erg/s/cm2 are expected by "
            "other programs; describe the cube in a TOML file with [cube] scale, and run it again"
        )
    return sky.flux_scale / scale


def observed_sigma_err(
    sigma: Float[F64, "*shape"], sigma_err: Float[F64, "*shape"], observed: Float[F64, "*shape"]
) -> Float[F64, "*shape"]:
    """Return the error of the observed dispersion, line-spread function included.

    What `betis.lines` propagates to the error of the dispersion without it, undone; exactly, be
    the line resolved or not. All in one unit.
    """
    known = observed > 0
    error = np.divide(
        sigma_err * np.maximum(sigma, sigma_err),
        observed,
        out=np.full(np.shape(sigma), np.nan),
        where=known,
    )
    return np.asarray(error)


def _shape(image: Image) -> tuple[int, ...]:
    return () if image.values is None else tuple(image.values.shape)


def _dtype(image: Image) -> str:
    return "u1" if image.values is None else image.values.dtype.str[1:]
