"""FITS files too large for memory, a few rows at a time: written in pieces, read in pieces.

`write_rows` lays the extensions out, lets the caller fill them piece by piece, and adds the
checksums at the end; the file appears when it is whole. `RowArray` reads rows of an extension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from betis.arrays import Index
from betis.errors import InputError
from betis.io.checksum import add_words, sealed, sum_words
from betis.io.fits import add_cards, primary_header, write_atomically

_BLOCK = 2880


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One extension to be filled: its header, its rows and their type.

    Attributes
    ----------
    name
        EXTNAME.
    header
        Header of astropy, complete but for the checksums.
    n_row
        How many rows.
    dtype
        Of one row, as stored: big-endian, with the shape of the row.
    """

    name: str
    header: Any
    n_row: int
    dtype: np.dtype[Any]


@dataclass(kw_only=True, eq=False)
class _Part:
    layout: Layout
    start: int
    words: int = 0

    @cached_property
    def data_start(self) -> int:
        return self.start + len(self.sealed())

    @property
    def end(self) -> int:
        size = self.layout.n_row * self.layout.dtype.itemsize
        return self.data_start + -(-size // _BLOCK) * _BLOCK

    def sealed(self) -> bytes:
        return sealed(_bytes_of(self.layout.header), self.words)


class RowWriter:
    """Fills the extensions of a file that is being written; each row once, in any order."""

    def __init__(self, stream: BinaryIO, layouts: Sequence[Layout], start: int) -> None:
        self._stream = stream
        self._parts: dict[str, _Part] = {}
        for layout in layouts:
            part = _Part(layout=layout, start=start)
            self._parts[layout.name] = part
            start = part.end
        stream.truncate(start)

    def put(self, name: str, rows: slice | Index, values: NDArray[Any]) -> None:
        """Write the values of some rows, ``[row, ...]``.

        Rows that are all zero are left to the file system, which stores nothing for them.
        """
        part = self._parts[name]
        stored = np.ascontiguousarray(_as_stored(values, part.layout.dtype))
        index = row_numbers(rows, part.layout.n_row)
        for first, last in _runs(index):
            piece = stored[first:last].reshape(-1).view(np.uint8)
            if piece.any():
                offset = int(index[first]) * part.layout.dtype.itemsize
                self._stream.seek(part.data_start + offset)
                self._stream.write(piece.data)
                part.words = add_words(part.words, sum_words(piece.tobytes(), offset))

    def close(self) -> None:
        """Write the headers, with the checksums of what was put."""
        for part in self._parts.values():
            self._stream.seek(part.start)
            self._stream.write(part.sealed())


def write_rows(
    path: Path,
    layouts: Sequence[Layout],
    fill: Callable[[RowWriter], Sequence[Any]],
    cards: Mapping[str, Any],
) -> None:
    """Write a file of ours whose extensions ``fill`` puts in place, row by row.

    Parameters
    ----------
    path
        Of the file; what was there stays until the new one is whole.
    layouts
        The extensions to be filled.
    fill
        Fills them, and returns small extensions (HDUs of astropy) that follow.
    cards
        Of the primary header.

    Raises
    ------
    RunFolderError
        Where the disk is full or the folder cannot be written.
    """
    write_atomically(path, lambda part: _write(part, layouts, fill, cards))


def _write(
    path: Path,
    layouts: Sequence[Layout],
    fill: Callable[[RowWriter], Sequence[Any]],
    cards: Mapping[str, Any],
) -> None:
    from astropy.io import fits

    def primary(n_extension: int) -> bytes:
        return sealed(_bytes_of(primary_header(cards, n_extension)), 0)

    with path.open("wb") as stream:
        writer = RowWriter(stream, layouts, len(primary(0)))
        more = fill(writer)
        writer.close()
        stream.seek(0)
        stream.write(primary(len(layouts) + len(more)))
    with fits.open(path, mode="append", memmap=False) as hdus:
        for hdu in more:
            hdu.add_checksum(when="HDU checksum")
            hdus.append(hdu)


def image_layout(
    name: str, shape: tuple[int, ...], dtype: str, cards: Mapping[str, Any] | None = None
) -> Layout:
    """Return an image extension ``[row, ...]`` to be filled; None cards are left out."""
    from astropy.io import fits

    stored = np.dtype(dtype).newbyteorder(">")
    header = fits.ImageHDU(np.zeros((1,) * len(shape), dtype), name=name).header
    for axis, size in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = size
    add_cards(header, cards or {})
    return Layout(name=name, header=header, n_row=shape[0], dtype=np.dtype((stored, shape[1:])))


def table_layout(table: Any, n_row: int) -> Layout:
    """Return a table extension to be filled, with the columns of an astropy table HDU."""
    header = table.header.copy()
    header["NAXIS2"] = n_row
    dtype = table.columns.dtype.newbyteorder(">")
    return Layout(name=table.name, header=header, n_row=n_row, dtype=dtype)


@dataclass(frozen=True, kw_only=True)
class RowArray:
    """The rows of an image extension of a file of ours; read when they are asked for."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def take(self, rows: slice | NDArray[Any]) -> NDArray[Any]:
        """Return ``[row, ...]`` of some rows, in the machine's own byte order.

        Raises
        ------
        InputError
            Where the file has gone or ends early.
        """
        return self.stored(rows).astype(self.dtype.newbyteorder("="), copy=False)

    def stored(self, rows: slice | NDArray[Any]) -> NDArray[Any]:
        """Return ``[row, ...]`` of some rows, in the byte order of the file.

        Raises
        ------
        InputError
            Where the file has gone or ends early.
        """
        index = row_numbers(rows, self.shape[0])
        row = np.dtype((self.dtype, self.shape[1:]))
        values = np.empty((index.size, *self.shape[1:]), self.dtype)
        try:
            with self.path.open("rb", buffering=0) as stream:
                for first, last in _runs(index):
                    stream.seek(self.offset + int(index[first]) * row.itemsize)
                    _read_into(stream, values[first:last], self.path)
        except OSError as error:
            raise InputError(f"{self.path} can no longer be read: {error.strerror}") from error
        return values


def row_array(path: Path, hdu: Any) -> RowArray:
    """Return the rows of an image HDU of astropy; nothing is read yet."""
    from astropy.io.fits.hdu.image import BITPIX2DTYPE

    header = hdu.header
    shape = tuple(int(header[f"NAXIS{axis}"]) for axis in range(header["NAXIS"], 0, -1))
    dtype = np.dtype(BITPIX2DTYPE[header["BITPIX"]]).newbyteorder(">")
    return RowArray(path=path, offset=int(hdu.fileinfo()["datLoc"]), shape=shape, dtype=dtype)


def table_array(path: Path, hdu: Any) -> RowArray:
    """Return the rows of a table HDU of astropy; nothing is read yet."""
    dtype, shape = hdu.columns.dtype.newbyteorder(">"), (int(hdu.header["NAXIS2"]),)
    return RowArray(path=path, offset=int(hdu.fileinfo()["datLoc"]), shape=shape, dtype=dtype)


def row_numbers(rows: slice | NDArray[Any], n_row: int) -> Index:
    """Return the numbers of some of ``n_row`` rows, without listing them all.

    Raises
    ------
    IndexError
        Where there is no such row.
    """
    if isinstance(rows, slice):
        return np.arange(*rows.indices(n_row))
    chosen = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.intp)
    index = np.where(chosen < 0, chosen + n_row, chosen)
    if index.size and not 0 <= index.min() <= index.max() < n_row:
        raise IndexError(f"rows {chosen.min()} to {chosen.max()} were asked for, of {n_row}")
    return index


def _read_into(stream: Any, values: NDArray[Any], path: Path) -> None:
    if values.size and stream.readinto(values.view(np.uint8).data) != values.nbytes:
        raise InputError(f"{path} ends early; remove it and run again")


def _bytes_of(header: Any) -> bytes:
    return bytes(header.tostring().encode("ascii"))


def _as_stored(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray(values).astype(dtype.base, copy=False)


def _runs(index: Index) -> Iterator[tuple[int, int]]:
    """Yield the bounds of runs of successive row numbers in a list of them."""
    breaks = np.flatnonzero(np.diff(index) != 1) + 1
    bounds = [0, *breaks.tolist(), index.size]
    return ((first, last) for first, last in pairwise(bounds) if last > first)
