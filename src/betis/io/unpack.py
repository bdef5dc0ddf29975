"""Packed cubes are unpacked once, into the cache folder, so that their voxels can be sought."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import hashlib
import logging
import lzma
import os
import re
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from betis.cache import cache_folder
from betis.errors import InputError
from betis.io.fits import open_fits, require_file

KEPT_DAYS = 30.0
"""Unpacked cubes that were not used for so long are removed."""

_PIECE = 1 << 22
"""Bytes that are unpacked at a time."""

_BLOCK = 2880
"""Bytes of a block of a FITS file."""

_DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
)
"""What the standard library and astropy raise on a damaged packed file."""

_LOG = logging.getLogger("betis")

Pieces = Iterator[bytes]


@contextmanager
def open_cube(path: str | Path) -> Iterator[Any]:
    """Open a FITS file for reading, unpacked if need be; see `betis.io.fits.open_fits`.

    Raises
    ------
    InputError
        As `open_fits` and `unpacked`; its sentence names the file that was given.
    """
    where = unpacked(path)
    try:
        with open_fits(where) as hdus:
            yield hdus
    except InputError as error:
        raise InputError(str(error).replace(str(where), str(path))) from error


def unpacked(path: str | Path) -> Path:
    """Return a file with the same extensions, none compressed: the file itself if it has none.

    gzip, bzip2, xz, zip and fpack are unpacked piece by piece into the cache folder, under a
    name made of the path, the size and the time of change of the file; what is there is used
    again.

    Raises
    ------
    InputError
        Where there is no such file, it is damaged, or there is no room to unpack it.
    """
    where = require_file(path)
    try:
        opener = _opener(where)
        if opener is not None:
            where = _in_cache(where, lambda packed: _plain_pieces(packed, opener))
        if _has_tiles(where):
            where = _in_cache(where, _image_pieces)
    except InputError as error:
        raise InputError(str(error).replace(str(where), str(path))) from error
    return where


def _opener(path: Path) -> Callable[[Path], IO[bytes]] | None:
    """Return what opens a file of this kind for reading; None where it is not packed as a whole."""
    try:
        with path.open("rb") as handle:
            start = handle.read(max(map(len, _OPENERS)))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path") from error
    found = [opener for magic, opener in _OPENERS.items() if start.startswith(magic)]
    return found[0] if found else None


def _open_zip(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    names = [item.filename for item in archive.infolist() if not item.is_dir()]
    if len(names) != 1:
        raise InputError(
            f"{path} is an archive of {len(names)} files, where one cube was expected; unpack it "
            "and give the cube"
        )
    return archive.open(names[0])


def _open_gzip(path: Path) -> Any:
    return gzip.open(path)


_OPENERS: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": _open_gzip,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"PK\x03\x04": _open_zip,
}


def _has_tiles(path: Path) -> bool:
    """Tell whether a FITS file has extensions that fpack has compressed."""
    from astropy.io.fits import CompImageHDU

    with open_fits(path) as hdus:
        return any(isinstance(hdu, CompImageHDU) for hdu in hdus)


def _plain_pieces(path: Path, opener: Callable[[Path], IO[bytes]]) -> Pieces:
    with opener(path) as packed:
        while piece := packed.read(_PIECE):
            yield piece


def _image_pieces(path: Path) -> Pieces:
    """Yield a FITS file whose compressed images are plain ones."""
    from astropy.io import fits

    moved = _moved_primary(path)
    with (
        path.open("rb") as handle,
        warnings.catch_warnings(action="ignore"),
        fits.open(path, memmap=True, do_not_scale_image_data=True) as hdus,
    ):
        for index, hdu in enumerate(hdus):
            if isinstance(hdu, fits.CompImageHDU):
                yield _header(hdu.header, primary=moved and index == 1)
                yield from _tile_pieces(hdu)
            elif not (moved and index == 0):
                yield from _copied(handle, hdu.fileinfo())


def _moved_primary(path: Path) -> bool:
    """Tell whether fpack has moved the primary image behind an empty primary."""
    from astropy.io import fits

    with (
        warnings.catch_warnings(action="ignore"),
        fits.open(path, disable_image_compression=True) as hdus,
    ):
        return len(hdus) > 1 and bool(hdus[1].header.get("ZSIMPLE", False))


def _header(header: Any, *, primary: bool) -> bytes:
    from astropy.io import fits

    if primary:
        first = {"SIMPLE", "XTENSION", "PCOUNT", "GCOUNT"}
        kept = [card for card in header.cards if card.keyword not in first]
        header = fits.Header([("SIMPLE", True, "conforms to FITS standard"), *kept])
    return bytes(header.tostring(padding=True), "ascii")


def _tile_pieces(hdu: Any) -> Pieces:
    """Yield the voxels of a compressed image, some planes at a time."""
    count, tile = hdu.shape[0], int(hdu.tile_shape[0])
    plane = int(np.prod(hdu.shape[1:])) * abs(hdu.header["BITPIX"]) // 8
    # Whole tiles, so that none is unpacked twice.
    step = tile * max(1, _PIECE // max(1, plane * tile))
    size = 0
    for first in range(0, count, step):
        piece = _big_endian(hdu.section[first : first + step], hdu.header["BITPIX"])
        size += len(piece)
        yield piece
    yield bytes(-size % _BLOCK)


def _big_endian(values: NDArray[Any], bitpix: int) -> bytes:
    kind = "u1" if bitpix == 8 else f">{'f' if bitpix < 0 else 'i'}{abs(bitpix) // 8}"
    return values.astype(kind).tobytes()


def _copied(handle: BinaryIO, info: dict[str, Any]) -> Pieces:
    handle.seek(info["hdrLoc"])
    left = info["datLoc"] + info["datSpan"] - info["hdrLoc"]
    while left > 0 and (piece := handle.read(min(left, _PIECE))):
        left -= len(piece)
        yield piece


def _in_cache(path: Path, pieces: Callable[[Path], Pieces]) -> Path:
    """Return the unpacked file of the cache, made now if it is not there."""
    folder = cache_folder() / "cubes"
    target = folder / _name(path)
    if target.is_file():
        _mark_used(target)
        return target
    _LOG.info("Unpacking %s into %s, once.", path, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_unused(folder)
        _write(target, _readable(path, pieces(path)))
    except OSError as error:
        raise InputError(f"{path} could not be unpacked: {_no_room(folder, error)}") from error
    return target


def _name(path: Path) -> str:
    state = path.stat()
    key = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
    stem = re.sub(r"[^\w-]", "_", path.name.partition(".")[0], flags=re.ASCII)[:40]
    return f"{stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.fits"


def _readable(path: Path, pieces: Pieces) -> Pieces:
    """Yield the pieces; what goes wrong while reading them is a fault of the packed file."""
    try:
        yield from pieces
    except _DAMAGED as error:
        raise InputError(
            f"{path} cannot be unpacked: it is cut short or damaged "
            f"({str(error).splitlines()[0].rstrip('.') if str(error) else type(error).__name__}); "
            "copy or download it again"
        ) from error


def _write(target: Path, pieces: Pieces) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as handle:
            for piece in pieces:
                handle.write(piece)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _no_room(folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space is left in {folder}; free some, or name another folder in the environment "
            "variable BETIS_CACHE"
        )
    return (
        f"{folder} cannot be written ({error.strerror}); name another folder in the environment "
        "variable BETIS_CACHE"
    )


def _mark_used(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)


def _remove_unused(folder: Path) -> None:
    oldest = time.time() - 86400 * KEPT_DAYS
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
