"""Maps of labels (regions, segmentations, bins of other programs) from FITS files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betis.errors import InputError
from betis.io.fits import open_fits

_WITH_EXTENSION = re.compile(r"(?P<path>.+)\[(?P<extension>[^\[\]]*)\]\s*")

_OWN = ("betis", "BINID")
"""CREATOR of the file and EXTNAME of the maps in which 0 is a bin and -1 is none."""


def read_labels(text: str) -> tuple[NDArray[Any], int]:
    """Read a map of labels.

    Parameters
    ----------
    text
        ``FILE.fits``, or ``FILE.fits[EXTENSION]`` with the name or the number of an extension.
        Compressed files are read too.

    Returns
    -------
    The labels ``[y, x]``, as stored (NaN where blank), and the smallest that is a bin: 1, or 0
    where the map is a BINID of betis.

    Raises
    ------
    InputError
        Where there is no such file or extension, it is no 2-D image, or none is named and the
        file has not exactly one.
    """
    path, extension = split_extension(text)
    with open_fits(path) as hdus:
        index = _only_image(path, hdus) if extension is None else _index(path, hdus, extension)
        image = np.asarray(hdus[index].data)
        own = (str(hdus[0].header.get("CREATOR", "")), hdus[index].name) == _OWN
    return image.astype(image.dtype.newbyteorder("=")), 0 if own else 1


def split_extension(text: str) -> tuple[Path, str | None]:
    """Return the path and the extension of ``FILE.fits[EXTENSION]``; None where none is named."""
    match = _WITH_EXTENSION.fullmatch(text)
    if match is None or Path(text).exists():
        return Path(text), None
    return Path(match["path"]), match["extension"].strip()


def _only_image(path: Path, hdus: Any) -> int:
    found = [index for index, hdu in enumerate(hdus) if _is_map(hdu)]
    if len(found) != 1:
        raise InputError(
            f"{path} has {_count(found)}{_listed(hdus)}, where one map of labels was expected; "
            f"name its extension as in {path.name}[EXTNAME]"
        )
    return found[0]


def _index(path: Path, hdus: Any, extension: str) -> int:
    """Return the position of a 2-D image that was asked for by name or number."""
    names = [str(hdu.name).upper() for hdu in hdus]
    if extension.isdecimal():
        found = [int(extension)] if int(extension) < len(names) else []
    else:
        found = [index for index, name in enumerate(names) if name == extension.upper()]
    if len(found) != 1:
        raise InputError(
            f"{path} has {len(found) or 'no'} extension{'s' * bool(found)} {extension!r}, where "
            f"one was expected; its 2-D images are: {_listed(hdus, mark='') or 'none'}"
        )
    if not _is_map(hdus[found[0]]):
        raise InputError(
            f"{path}: the extension {extension!r} is no 2-D image; those are: "
            f"{_listed(hdus, mark='') or 'none'}"
        )
    return found[0]


def _is_map(hdu: Any) -> bool:
    header = hdu.header
    sized = header.get("NAXIS", 0) == 2 and min(header["NAXIS1"], header["NAXIS2"]) > 0
    return bool(hdu.is_image and sized)


def _count(found: list[int]) -> str:
    return f"{len(found)} 2-D images" if found else "no 2-D image"


def _listed(hdus: Any, mark: str = ": ") -> str:
    """Return the 2-D images by name, or by number where they have none."""
    maps = [hdu.name or str(index) for index, hdu in enumerate(hdus) if _is_map(hdu)]
    return f"{mark}{', '.join(maps)}" if maps else ""
