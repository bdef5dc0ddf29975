"""The one place where FITS files are opened and written: plain errors, atomic writes."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betis.errors import InputError, RunFolderError


@contextmanager
def open_fits(path: str | Path) -> Iterator[Any]:
    """Open a FITS file for reading.

    Raises
    ------
    InputError
        Where there is no such file, or it is not FITS, or it is cut short.
    """
    from astropy.io import fits

    where = Path(path)
    if not where.exists():
        raise InputError(f"there is no file {where}; check the path")
    if where.is_dir():
        raise InputError(f"{where} is a folder, where a FITS file was expected")
    try:
        with warnings.catch_warnings():
            # Survey headers break the standard in small ways that do not touch the voxels.
            warnings.simplefilter("ignore")
            with fits.open(where, memmap=True) as hdus:
                yield hdus
    except OSError as error:
        raise InputError(f"{where} cannot be read as a FITS file: {_plain(error)}") from error


def image_hdu(name: str, values: NDArray[Any], cards: Mapping[str, Any] | None = None) -> Any:
    """Return an image extension; booleans become uint8; ``cards`` None values are left out."""
    from astropy.io import fits

    array = values.astype(np.uint8) if values.dtype == bool else values
    hdu = fits.ImageHDU(array, name=name)
    hdu.header.update({key: value for key, value in (cards or {}).items() if value is not None})
    return hdu


def table_hdu(
    name: str, columns: Mapping[str, NDArray[Any]], units: Mapping[str, str] | None = None
) -> Any:
    """Return a binary table extension with a unit a column."""
    from astropy.io import fits
    from astropy.table import Table

    table = Table(dict(columns))
    for column, unit in (units or {}).items():
        table[column].unit = unit
    hdu = fits.table_to_hdu(table)
    hdu.name = name
    return hdu


def write_fits(path: Path, hdus: Sequence[Any], cards: Mapping[str, Any] | None = None) -> None:
    """Write extensions behind an empty primary HDU that holds ``cards``; all with CHECKSUM.

    Raises
    ------
    RunFolderError
        Where the file cannot be written. What was there before stays.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header["CREATOR"] = ("betis", "program that made this file")
    primary.header.update(dict(cards or {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_atomically(
            path,
            lambda part: fits.HDUList([primary, *hdus]).writeto(
                part, checksum=True, overwrite=True
            ),
        )


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in its place in one step.

    Raises
    ------
    RunFolderError
        Where the disk is full or the folder cannot be written; nothing old is lost.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with part.open("rb+") as handle:
            os.fsync(handle.fileno())
        part.replace(path)
    except OSError as error:
        raise RunFolderError(
            f"{path} could not be written: {_plain(error)}; {_remedy(error)}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def _plain(error: OSError) -> str:
    return error.strerror or str(error).strip().splitlines()[0]


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "free some space and run again, it goes on from there"
    return "check the folder and its permissions, then run again"
