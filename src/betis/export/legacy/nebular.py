"""The spectra without stars, on 1 Angstrom, a column a label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from betis.arrays import B8, F64
from betis.export.files import primary_layout, write_with_primary
from betis.export.legacy.field import as_rows, linear_cards
from betis.export.legacy.names import LegacyFolder
from betis.io.row_files import RowWriter, image_layout

__all__ = ["Columns", "write_nebular"]

_DENSITY = "10**(-20) erg s-1 cm-2 Angstrom-1"


class Columns(NamedTuple):
    """Some spectra without stars, in 1e-20 erg/s/cm²/Angstrom on an axis of 1 Angstrom in air."""

    rows: slice
    flux: Float[F64, "spectrum wave"]
    error: Float[F64, "spectrum wave"]
    good: Bool[B8, "spectrum wave"]


def write_nebular(
    folder: LegacyFolder,
    wave: Float[F64, " wave"],
    n_bin: int,
    columns: Iterable[Columns],
) -> None:
    """Write ``[wave, 1, label]``, label 0 empty, and the errors of it; NaN at bad pixels.

    Parameters
    ----------
    folder
        Where to.
    wave : Angstrom
        The axis.
    n_bin
        How many spectra there are.
    columns
        Gives them, some at a time.
    """
    cards = {"BUNIT": _DENSITY, **linear_cards(wave, "AWAV")}
    whole, rows = (wave.size, 1, n_bin + 1), (wave.size * (n_bin + 1),)
    layouts = [
        as_rows(primary_layout(whole, "f4", cards), rows),
        as_rows(image_layout("errores", whole, "f4", cards), rows),
    ]

    def fill(writer: RowWriter) -> None:
        blank = np.full((1, wave.size), np.nan)
        _put(writer, 0, blank, blank, n_bin)
        for part in columns:
            bad = np.where(part.good, 0.0, np.nan)
            _put(writer, part.rows.start + 1, part.flux + bad, part.error + bad, n_bin)

    write_with_primary(folder.nebular, layouts, fill)


def _put(
    writer: RowWriter, first: int, flux: NDArray[Any], error: NDArray[Any], n_bin: int
) -> None:
    """Write the columns from ``first`` on; a row of the writer is one value."""
    column = np.arange(first, first + len(flux))
    index = (np.arange(flux.shape[1])[:, None] * (n_bin + 1) + column).ravel()
    writer.put("PRIMARY", index, flux.T.ravel())
    writer.put("errores", index, error.T.ravel())
