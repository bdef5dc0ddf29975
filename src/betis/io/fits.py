"""The one place where FITS files are opened and written: plain errors, atomic writes."""

from __future__ import annotations

import errno
import lzma
import os
import platform
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from betis import faults
from betis.errors import InputError, RunFolderError

_CREATOR, _COUNT = "betis", "NEXTEND"

_XTENSION = b"XTENSION"
"""The first word of an extension's header."""

_LONGEST_TEXT = 68
"""Characters of a text that one header card holds."""

_UNPACKING = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
"""What the standard library raises on a damaged compressed file, beside OSError."""


@contextmanager
def open_fits(path: str | Path) -> Iterator[Any]:
    """Open a FITS file for reading.

    Raises
    ------
    InputError
        Where there is no such file, or it is not FITS, or it is cut short or damaged.
    """
    from astropy.io.fits.verify import VerifyError

    where = require_file(path)
    try:
        with warnings.catch_warnings():
            # Survey headers break the standard in small ways that do not touch the voxels.
            warnings.simplefilter("ignore")
            # astropy leaves a file of its own open where it fails in the middle.
            with where.open("rb") as handle, _opened(where, handle) as hdus:
                _load_headers(where, hdus)
                yield hdus
    except (OSError, *_UNPACKING) as error:
        raise InputError(
            f"{where} cannot be read as a FITS file: {_plain(error)}; check it, or copy it again"
        ) from error
    except VerifyError as error:
        raise InputError(
            f"{where} has a header card that is not FITS: {_plain(error)}; mend the card"
        ) from error


def require_file(path: str | Path) -> Path:
    """Return the path of a file that is there.

    Raises
    ------
    InputError
        Where there is none, it cannot be reached, or it is a folder or a device.
    """
    where = Path(path)
    try:
        where.stat()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {where}; check the path") from error
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}; check the path") from error
    if where.is_dir():
        raise InputError(f"{where} is a folder, where a file was expected")
    if not where.is_file():
        raise InputError(f"{where} is a device or a pipe, where a file was expected")
    return where


def _opened(path: Path, handle: BinaryIO) -> Any:
    from astropy.io import fits

    with _damage_told(path):
        return fits.open(handle, memmap=True)


def _load_headers(path: Path, hdus: Any) -> None:
    """Read every header now: astropy fails on a damaged one in whatever way it happens to."""
    with _damage_told(path):
        for hdu in hdus:
            _require_readable(path, hdu)
            _require_whole(path, hdu)
        _require_every_extension(path, hdus)
        _require_no_header_behind(path, hdus[-1])


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} has a damaged header, where the cards NAXIS, NAXIS1 ... and BITPIX must give "
            "the size of each extension; copy or download it again"
        ) from error


def _require_readable(path: Path, hdu: Any) -> None:
    """Refuse what astropy keeps, without a word, of an extension that it cannot understand."""
    if not (hasattr(hdu, "fileinfo") and hasattr(type(hdu), "data")):
        raise InputError(
            f"{path} has an extension whose header is damaged: it does not say what it is "
            "(SIMPLE or XTENSION), or how large; copy or download it again"
        )


def _require_no_header_behind(path: Path, hdu: Any) -> None:
    """Check that no extension was left out because its header is damaged or cut short."""
    info = hdu.fileinfo()
    if info["file"].compression:
        return
    with path.open("rb") as handle:
        handle.seek(info["datLoc"] + info["datSpan"])
        behind = handle.read(2880)
    if behind and (_XTENSION.startswith(behind[:8]) or b"BITPIX  =" in behind):
        raise InputError(
            f"{path} is cut short or damaged: the header of an extension behind "
            f"{hdu.name or 'one without a name'} is not whole; copy or download it again"
        )


def _require_every_extension(path: Path, hdus: Any) -> None:
    """Check that a file of ours still has all that was written: a cut may fall between two."""
    header = hdus[0].header
    if header.get("CREATOR") == _CREATOR and header.get(_COUNT, 0) > len(hdus) - 1:
        raise InputError(
            f"{path} is cut short: it has {len(hdus) - 1} of its {header[_COUNT]} extensions; "
            "copy it again, or make it anew"
        )


def _require_whole(path: Path, hdu: Any) -> None:
    info = hdu.fileinfo()
    end, size = info["datLoc"] + _stored_size(hdu, info), path.stat().st_size
    if size < end and not info["file"].compression:
        raise InputError(
            f"{path} is cut short: its extension {hdu.name or 'without a name'} needs {end} bytes "
            f"and the file has {size}; copy or download it again"
        )


def _stored_size(hdu: Any, info: Mapping[str, Any]) -> int:
    """Return how many bytes of data there must be; of a compressed image, without the padding."""
    from astropy.io.fits import CompImageHDU

    return max(0, info["datSpan"] - 2879) if isinstance(hdu, CompImageHDU) else int(hdu.size)


def image_hdu(name: str, values: NDArray[Any], cards: Mapping[str, Any] | None = None) -> Any:
    """Return an image extension; booleans become uint8; ``cards`` None values are left out."""
    from astropy.io import fits

    array = values.astype(np.uint8) if values.dtype == bool else values
    hdu = fits.ImageHDU(array, name=name)
    add_cards(hdu.header, cards or {})
    return hdu


def add_cards(header: Any, cards: Mapping[str, Any]) -> None:
    """Add cards to a header of astropy; None values are left out, and long texts announced."""
    known = {key: value for key, value in cards.items() if value is not None}
    texts = [value[0] if isinstance(value, tuple) else value for value in known.values()]
    if any(isinstance(text, str) and len(text) > _LONGEST_TEXT for text in texts):
        header["LONGSTRN"] = ("OGIP 1.0", "texts may go on in CONTINUE cards")
    header.update(known)


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

    primary = fits.PrimaryHDU(header=primary_header(cards or {}, len(hdus)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_atomically(
            path,
            lambda part: fits.HDUList([primary, *hdus]).writeto(
                part, checksum=True, overwrite=True
            ),
        )


def primary_header(cards: Mapping[str, Any], n_extension: int) -> Any:
    """Return the header of the empty primary HDU of a file of ours."""
    from astropy.io import fits

    header = fits.PrimaryHDU().header
    header["EXTEND"] = True
    header["CREATOR"] = (_CREATOR, "program that made this file")
    header[_COUNT] = (n_extension, "number of extensions")
    add_cards(header, cards)
    return header


_WRITES = count(1)
"""Files written by this process."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in its place in one step.

    Raises
    ------
    RunFolderError
        Where the disk is full or the folder cannot be written; nothing old is lost.
    """
    start = f".{path.name}.{platform.node()}."
    part = path.with_name(f"{start}{os.getpid()}.part")
    try:
        _remove_orphans(path.parent, start)
        number = next(_WRITES)
        faults.strike("write", slice(number, number + 1))
        write(part)
        with part.open("rb+") as handle:
            os.fsync(handle.fileno())
        part.replace(path)
    except OSError as error:
        raise RunFolderError(
            f"{path} could not be written: {_plain(error)}; {_remedy(error)}"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _remove_orphans(folder: Path, start: str) -> None:
    """Remove what writers of this computer left when they were killed: it may be many gigabytes."""
    for path in folder.iterdir():
        number = path.name.removeprefix(start).removesuffix(".part")
        ours = path.name == f"{start}{number}.part" and number.isdecimal()
        if ours and not lives(int(number)):
            path.unlink(missing_ok=True)


def lives(process: int) -> bool:
    """Tell whether a process of this computer lives; True where that cannot be told."""
    if os.name != "posix":  # elsewhere signal 0 is not only a question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def _plain(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(text).splitlines()[0].split(". ")[0].split(", fix it")[0].rstrip(".")


def _remedy(error: OSError) -> str:
    # astropy says in words, without a number, that a disk is full.
    if error.errno == errno.ENOSPC or "enough space" in str(error):
        return "free some space and run again, it goes on from there"
    return "check the folder and its permissions, then run again"
