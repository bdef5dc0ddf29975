"""Which reader takes a cube: by what the file holds, never by its name."""

from __future__ import annotations

from pathlib import Path

from betis.errors import InputError
from betis.io import muse
from betis.io.fits import open_fits
from betis.products import Cube

READERS = {muse.NAME: muse}


def read_cube(path: str | Path, instrument: str = "auto") -> Cube:
    """Open a cube; its voxels are read when they are asked for.

    Parameters
    ----------
    path
        FITS file.
    instrument
        "auto", or the name of a reader to force.

    Raises
    ------
    InputError
        Where the file is missing, is no cube, or no reader knows it.
    """
    with open_fits(path) as hdus:
        name, _ = recognise(path, hdus, instrument)
        cube: Cube = READERS[name].read(Path(path).resolve(), hdus)
        return cube


def recognise(path: str | Path, hdus: object, instrument: str = "auto") -> tuple[str, str]:
    """Return the name of the reader for an open file, and why it was chosen.

    Raises
    ------
    InputError
        Where no reader knows the file, or the forced one does not exist.
    """
    if instrument != "auto":
        if instrument not in READERS:
            raise InputError(
                f"there is no reader {instrument!r}; expected one of {', '.join(READERS)}"
            )
        return instrument, "it was asked for"
    _require_cube(path, hdus)
    for name, reader in READERS.items():
        reason = reader.recognise(hdus)
        if reason:
            return name, reason
    raise InputError(
        f"{path} holds a cube, but no reader knows its layout; the instruments known are "
        f"{', '.join(READERS)}, and --instrument forces one"
    )


def _require_cube(path: str | Path, hdus: object) -> None:
    axes = [hdu.header.get("NAXIS", 0) for hdu in hdus]  # type: ignore[attr-defined]
    if 3 not in axes:
        raise InputError(
            f"{path} holds no 3-D image (its extensions have {', '.join(map(str, axes))} axes), "
            "where a cube (wavelength, y, x) was expected; if it should hold one, the file may be "
            "cut short"
        )
