"""Which reader takes a cube: by what the file holds, never by its name.

Readers of other packages join through the entry-point group ``betis.readers``: each is an object
(a module will do) with the face of `Reader`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

from betis.errors import ConfigError, InputError
from betis.io import califa, generic, kcwi, manga, muse, sami
from betis.io.arms import join
from betis.io.unpack import open_cube
from betis.options import CubeOptions
from betis.products import Cube

GROUP = "betis.readers"
"""Entry-point group of the readers of other packages."""


class Reader(Protocol):
    """What a reader of an instrument's cubes offers.

    Attributes
    ----------
    NAME
        What ``--instrument`` calls it.
    """

    NAME: str

    def recognise(self, hdus: Any) -> str:
        """Return why an open file (astropy's list of HDUs) is of this instrument, or ""."""

    def read(self, path: Path, hdus: Any) -> Cube:
        """Return the cube of an open file; its voxels are read when they are asked for.

        No HDU is compressed, so that voxels have a place in the file. ``path`` is the file
        that the user gave, which may have been a packed one.
        """


READERS: tuple[Reader, ...] = (muse, manga, califa, sami, kcwi)
"""The readers that betis ships, but for `betis.io.generic`, which needs a description."""

_FAILED_IMPORT = (
    ImportError,
    AttributeError,
    SyntaxError,
    NameError,
    TypeError,
    ValueError,
    LookupError,
    OSError,
    RuntimeError,
)
"""What importing somebody else's module may raise."""


def read_cube(
    path: str | Path,
    instrument: str = "auto",
    *,
    layout: CubeOptions | None = None,
    arm: str | Path | None = None,
) -> Cube:
    """Open a cube; its voxels are read when they are asked for.

    A packed file (gzip, bzip2, xz, zip, fpack) is unpacked into the cache folder, once.

    Parameters
    ----------
    path
        FITS file.
    instrument
        "auto", "generic", or the name of a reader to force.
    layout
        Where a generic cube keeps what; "auto" means generic where its ``flux`` is set.
    arm
        Cube of the other arm of the same instrument, joined to this one.

    Raises
    ------
    InputError
        Where a file is missing, is no cube, no reader or more than one knows it, or the two are
        not arms of one instrument on one field.
    ConfigError
        Where the instrument is generic and the layout is not described, or the other way round.
    """
    cube = _read_file(path, instrument, layout)
    return join(cube, _read_file(arm, instrument, layout)) if arm else cube


def recognise(
    path: str | Path, hdus: Any, instrument: str = "auto", *, layout: CubeOptions | None = None
) -> tuple[str, str]:
    """Return the name of the reader for an open file, and why it was chosen.

    Raises
    ------
    InputError
        Where no reader or more than one knows the file, or the forced one does not exist.
    """
    if instrument == "auto" and layout is not None and layout.flux:
        return generic.NAME, "its layout is described"
    if instrument not in ("auto", generic.NAME):
        return _forced(instrument).NAME, "it was asked for"
    _require_cube(path, hdus)
    if instrument == generic.NAME:
        return generic.NAME, "it was asked for"
    reader, reason = _recognised(path, hdus)
    return reader.NAME, reason


def _read_file(path: str | Path, instrument: str, layout: CubeOptions | None) -> Cube:
    with open_cube(path) as hdus:
        name, _ = recognise(path, hdus, instrument, layout=layout)
        where = Path(path).resolve()
        if name == generic.NAME:
            return generic.read(where, hdus, _described(layout))
        _require_no_spectra(path, hdus)
        _require_no_description(path, name, layout)
        return _forced(name).read(where, hdus)


def _require_no_description(path: str | Path, name: str, layout: CubeOptions | None) -> None:
    """Refuse a description that the reader does not look at."""
    if layout is not None and layout != CubeOptions():
        raise ConfigError(
            f"the table [cube] describes a layout, but {path} is read as one of {name}, of which "
            "nothing is taken from there; give --instrument generic and set flux and error in the "
            "table, or remove it"
        )


def _described(layout: CubeOptions | None) -> CubeOptions:
    if layout is None or not layout.flux:
        raise ConfigError(
            "the instrument is generic, but no layout is described: write a table [cube] with "
            "flux, error, error_kind and fwhm into a TOML file and give that file as --instrument "
            "(or with -c)"
        )
    return layout


def _recognised(path: str | Path, hdus: Any) -> tuple[Reader, str]:
    failed: list[str] = []
    known = [
        (reader, reason)
        for reader in (*READERS, *_others(failed))
        if (reason := reader.recognise(hdus))
    ]
    if len(known) > 1:
        (one, why), (other, because) = known[:2]
        raise InputError(
            f"{path} is recognised by two readers, {one.NAME} ({why}) and {other.NAME} "
            f"({because}); choose one with --instrument"
        )
    if not known:
        names = ", ".join([reader.NAME for reader in READERS] + _other_names())
        raise InputError(
            f"{path} holds a cube, but no reader knows its layout; the instruments known are "
            f"{names}, --instrument forces one, and a TOML file with a table [cube] describes "
            f"any other{'; ' + failed[0] if failed else ''}"
        )
    return known[0]


def _forced(name: str) -> Reader:
    for reader in READERS:
        if name == reader.NAME:
            return reader
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _loaded(point)
    raise InputError(
        f"there is no reader {name!r}; expected one of "
        f"{', '.join([reader.NAME for reader in READERS] + _other_names())}, or {generic.NAME} "
        "with a table [cube]"
    )


def _other_names() -> list[str]:
    return [point.name for point in entry_points(group=GROUP)]


def _others(failed: list[str]) -> Iterator[Reader]:
    """Yield the readers of other packages; what is wrong with the rest goes into ``failed``."""
    for point in entry_points(group=GROUP):
        try:
            yield _loaded(point)
        except InputError as error:
            failed.append(str(error))


def _loaded(point: EntryPoint) -> Reader:
    try:
        reader: Reader = point.load()
        usable = all(callable(getattr(reader, name)) for name in ("recognise", "read"))
        usable &= isinstance(reader.NAME, str) and not isinstance(reader, type)
    except _FAILED_IMPORT as error:
        raise InputError(
            f"the reader {point.name!r} ({point.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}; mend or remove the package that brings it"
        ) from error
    if not usable:
        raise InputError(
            f"the reader {point.name!r} ({point.value}) does not offer NAME, recognise and read; "
            "mend or remove the package that brings it"
        )
    return reader


def _require_cube(path: str | Path, hdus: Any) -> None:
    _require_no_spectra(path, hdus)
    axes = [hdu.header.get("NAXIS", 0) for hdu in hdus]
    if 3 not in axes:
        raise InputError(
            f"{path} holds no 3-D image (its extensions have {', '.join(map(str, axes))} axes), "
            "where a cube (wavelength, y, x) was expected; if it should hold one, the file may be "
            "cut short"
        )


def _require_no_spectra(path: str | Path, hdus: Any) -> None:
    """Refuse a survey's files of spectra, which have no field yet, by what they are."""
    for reason in (manga.refuse(hdus), califa.refuse(hdus)):
        if reason:
            raise InputError(f"{path} {reason}")
