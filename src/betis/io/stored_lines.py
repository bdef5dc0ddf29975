"""Line fits as they lie in ``lines.fits``: quantities and rows are read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betis.io.fits import open_fits
from betis.io.products import native, read_sky
from betis.io.row_files import RowArray, row_array, row_numbers, table_array
from betis.products import LineFit

__all__ = ["PER_GROUP", "PER_LINE", "StoredLines", "read_lines"]

PER_GROUP = ("chi2", "dof", "bic", "n_iter", "scatter")
"""Fields of `LineFit` that are ``[spectrum, group]``."""

_IMAGES = (*PER_GROUP, "background", "flux_cov")
"""Fields of `LineFit` that the file has as images, a row a spectrum."""

_OF_ALL_ROWS = ("names", "group", "background_wave", "sky")
PER_LINE = tuple(item.name for item in fields(LineFit) if item.name not in _IMAGES + _OF_ALL_ROWS)
"""Fields of `LineFit` that are columns of the table LINES."""

_ON_DEMAND = frozenset((*PER_LINE, *_IMAGES))
_ROOM = 400_000_000
"""Bytes of quantities that stay in memory."""
_AT_ONCE = 8192
"""Rows of the table read at once: what stays in the processor's cache."""


@dataclass(kw_only=True, eq=False)
class _Recent:
    """The arrays used last, as many as there is room for."""

    room: int
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def get(self, name: str) -> NDArray[Any] | None:
        found = self.arrays.pop(name, None)
        if found is not None:
            self.arrays[name] = found
        return found

    def keep(self, name: str, values: NDArray[Any]) -> None:
        self.arrays[name] = values
        while len(self.arrays) > 1 and sum(a.nbytes for a in self.arrays.values()) > self.room:
            self.arrays.pop(next(iter(self.arrays)))


class StoredLines(LineFit):
    """Line fits in a file, that look as those in memory do.

    A quantity is read when it is asked for. Those used last stay in memory, so that a fit of few
    spectra is read once, and one that is larger than memory never stands there whole.

    Parameters
    ----------
    table
        Rows of the table LINES, a row a spectrum and line.
    images
        What has an image of its own, ``[spectrum, ...]``, by the name of its field.
    known
        The fields that have no rows.
    room
        Bytes of quantities that stay in memory.
    """

    _table: RowArray
    _images: Mapping[str, RowArray]
    _recent: _Recent

    def __init__(
        self,
        table: RowArray,
        images: Mapping[str, RowArray],
        known: Mapping[str, Any],
        room: int = _ROOM,
    ) -> None:
        recent = _Recent(room=room)
        self.__dict__.update(known, _table=table, _images=images, _recent=recent)

    def __getattribute__(self, name: str) -> Any:
        """Return a field, from the file where it is there."""
        return self._read(name) if name in _ON_DEMAND else super().__getattribute__(name)

    def __repr__(self) -> str:
        """Return the file and how much is in it, without reading it."""
        return f"StoredLines({self._table.path}: {self.n_spectrum} x {len(self.names)} lines)"

    @property
    def n_spectrum(self) -> int:
        """How many rows there are."""
        return int(self._table.shape[0]) // max(1, len(self.names))

    def take(self, rows: slice | NDArray[Any]) -> LineFit:
        """Return some of the rows, whole, in memory."""
        index = row_numbers(rows, self.n_spectrum)
        n_line = len(self.names)
        lines = self._table.stored((index[:, None] * n_line + np.arange(n_line)).ravel())
        return LineFit(
            names=self.names,
            group=self.group,
            background_wave=self.background_wave,
            sky=self.sky,
            **{name: native(lines[name]).reshape(-1, n_line) for name in self._columns()},
            **{name: native(image.take(rows)) for name, image in self._images.items()},
        )

    def _read(self, name: str) -> NDArray[Any] | None:
        found = self._recent.get(name)
        if found is not None:
            return found
        if name in self._images:
            self._recent.keep(name, native(self._images[name].take(slice(None))))
        elif name in self._columns():
            for wanted in self._read_with(name):
                self._recent.keep(*wanted)
        else:
            return self._not_there(name)
        return self._recent.get(name)

    def _not_there(self, name: str) -> NDArray[Any] | None:
        """Return NaN for what was not measured when the file was written."""
        if name == "flux_cov":
            return None
        width = self._images["chi2"].shape[1] if name in PER_GROUP else len(self.names)
        return np.full((self.n_spectrum, width), np.nan)

    def _columns(self) -> Sequence[str]:
        present: Sequence[str] = self._table.dtype.names or ()
        return [name for name in PER_LINE if name in present]

    def _read_with(self, name: str) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield a column last, and before it all the others where there is room for them all."""
        others = [other for other in self._columns() if other != name]
        fits = 8 * int(self._table.shape[0]) * (1 + len(others)) <= self._recent.room
        names = [*others, name] if fits else [name]
        n_row, dtype = int(self._table.shape[0]), self._table.dtype
        columns = {each: native(np.empty(0, dtype[each])) for each in names}
        found = {each: np.empty(n_row, column.dtype) for each, column in columns.items()}
        for start in range(0, n_row, _AT_ONCE):
            part = self._table.stored(slice(start, start + _AT_ONCE))
            for each, column in found.items():
                column[start : start + len(part)] = part[each]
        for each, column in found.items():
            yield each, column.reshape(-1, len(self.names))


def read_lines(path: str | Path, room: int = _ROOM) -> StoredLines:
    """Open ``lines.fits``; what is in it is read when it is asked for.

    Parameters
    ----------
    path
        Of the file.
    room
        Bytes of quantities that stay in memory.

    Raises
    ------
    InputError
        Where there is no such file or it is no FITS file.
    """
    where = Path(path)
    with open_fits(where) as hdus:
        linelist = hdus["LINELIST"].data
        known = {
            "names": tuple(str(name) for name in linelist["line"]),
            "group": native(linelist["group"]),
            "background_wave": native(hdus["GROUPS"].data["background_wave"]),
            "sky": read_sky(hdus["FIELD"].header),
        }
        images = {
            name: row_array(where, hdus[name.upper()]) for name in _IMAGES if name.upper() in hdus
        }
        return StoredLines(table_array(where, hdus["LINES"]), images, known, room)
