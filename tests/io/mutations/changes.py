"""What may have happened to a file: each a function that changes it in place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.io import fits
from tests.cubes import WCS
from tests.io.mutations.settings import File

Change = Callable[[File], None]

STEP = "STEP"
"""Stands for the card that holds the step: CD3_3 or CDELT3."""

LOGARITHMIC = 6500.0 * np.log(10) * 1e-4


def unchanged(file: File) -> None:
    """Do nothing."""


def in_turn(*changes: Change) -> Change:
    def change(file: File) -> None:
        for one in changes:
            one(file)

    return change


def _card(header: Any, name: str) -> str:
    return ("CDELT3" if "CDELT3" in header else "CD3_3") if name == STEP else name


def _put(header: Any, cards: dict[str, Any]) -> None:
    for name, value in cards.items():
        card = _card(header, name)
        header[card] = value
        if value is None:
            del header[card]


def cards(**changed: Any) -> Change:
    """Change cards wherever there is an axis of wavelengths; None takes one out."""

    def change(file: File) -> None:
        with file.open() as hdus:
            for hdu in hdus:
                if "CRVAL3" in hdu.header:
                    _put(hdu.header, changed)

    return change


def multiplied(factor: float, unit: str | None) -> Change:
    """Give the axis in another unit."""

    def change(file: File) -> None:
        with file.open() as hdus:
            for hdu in hdus:
                header = hdu.header
                if "CRVAL3" in header:
                    header["CRVAL3"] *= factor
                    header[_card(header, STEP)] *= factor
                    _put(header, {"CUNIT3": unit})

    return change


def cards_of(role: str, **changed: Any) -> Change:
    """Change cards of one extension only, that of the flux, the error or the mask."""

    def change(file: File) -> None:
        with file.open() as hdus:
            _put(file.of(role, hdus).header, changed)

    return change


def primary(**changed: Any) -> Change:
    def change(file: File) -> None:
        with file.open() as hdus:
            _put(hdus[0].header, changed)

    return change


def voxels(role: str, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Put other voxels in the place of those of an extension."""

    def change(file: File) -> None:
        with file.open() as hdus:
            hdu = file.of(role, hdus)
            hdu.data = make(np.array(hdu.data))

    return change


def all_voxels(make: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Put other voxels in the place of those of every cube in the file."""

    def change(file: File) -> None:
        with file.open() as hdus:
            for hdu in hdus:
                if hdu.header["NAXIS"] == 3:
                    hdu.data = make(np.array(hdu.data))

    return change


def filled(value: float, where: tuple[Any, ...] = (...,)) -> Callable[[np.ndarray], np.ndarray]:
    def fill(values: np.ndarray) -> np.ndarray:
        values[where] = value
        return values

    return fill


def scaled_integers(file: File) -> None:
    """Store the flux as integers with a scale and an offset."""
    with file.open() as hdus:
        hdu = file.of("flux", hdus)
        hdu.data = np.round((hdu.data - 50.0) / 1e-4).astype(np.int32)
        hdu.header.update({"BSCALE": 1e-4, "BZERO": 50.0})


def cards_of_stored(role: str, **changed: Any) -> Change:
    """Change cards of one extension, whose integers stay as they are stored."""

    def change(file: File) -> None:
        with fits.open(file.path, memmap=False, do_not_scale_image_data=True) as hdus:
            _put(file.of(role, hdus).header, changed)
            hdus.writeto(file.path, overwrite=True, output_verify="ignore")

    return change


def every_bit(file: File) -> None:
    """Set every bit of the mask, as in a file that was filled with 255."""
    full = (-1, np.int32) if file.sample.reader in {"manga", "generic"} else (255, np.uint8)
    voxels("mask", lambda bits: np.full(bits.shape, *full))(file)


def poked(role: str, card: str, text: str) -> Change:
    """Overwrite a card with what may be no FITS at all."""

    def change(file: File) -> None:
        with fits.open(file.path) as hdus:
            start = file.of(role, hdus).fileinfo()["hdrLoc"]
        content = file.path.read_bytes()
        place = content.index(f"{card:8}=".encode(), start)
        line = f"{card:8}= {text}".ljust(80).encode()
        file.path.write_bytes(content[:place] + line + content[place + 80 :])

    return change


def repeated(role: str, card: str, value: Any) -> Change:
    """Let a card stand twice, with two values."""

    def change(file: File) -> None:
        with file.open() as hdus:
            file.of(role, hdus).header.append((card, value), end=True)

    return change


def cut(share: float) -> Change:
    """Keep that share of the bytes."""

    def change(file: File) -> None:
        content = file.path.read_bytes()
        file.path.write_bytes(content[: int(share * len(content))])

    return change


def cut_in(role: str, part: str, n_byte: int) -> Change:
    """End the file so many bytes into the header (hdrLoc) or the data (datLoc) of an extension."""

    def change(file: File) -> None:
        with fits.open(file.path) as hdus:
            end = file.of(role, hdus).fileinfo()[part] + n_byte
        file.path.write_bytes(file.path.read_bytes()[:end])

    return change


def packed(pack: Callable[[bytes], bytes]) -> Change:
    return lambda file: file.path.write_bytes(pack(file.path.read_bytes())) and None


def zipped(file: File) -> None:
    content = file.path.read_bytes()
    with zipfile.ZipFile(file.path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cube.fits", content)


PACKERS: dict[str, Change] = {
    "gzip": packed(lambda content: gzip.compress(content, 1)),
    "bzip2": packed(lambda content: bz2.compress(content, 1)),
    "xz": packed(lambda content: lzma.compress(content, preset=0)),
    "zip": zipped,
}


def tiled(file: File) -> None:
    """Compress every cube that is no primary as fpack does."""
    with file.open() as hdus:
        for index, hdu in enumerate(hdus):
            if index and hdu.header["NAXIS"] == 3:
                hdus[index] = fits.CompImageHDU(
                    hdu.data, hdu.header, compression_type="GZIP_2", quantize_level=0
                )


def reordered(file: File) -> None:
    """Put the extensions behind the primary in the opposite order."""
    with file.open() as hdus:
        behind = [hdus.pop() for _ in range(len(hdus) - 1)]
        hdus.extend(behind)


def renamed(role: str, name: str) -> Change:
    return cards_of(role, EXTNAME=name)


def in_small_letters(file: File) -> None:
    """Write the names of the extensions in small letters."""
    with file.open() as hdus:
        for hdu in hdus[1:]:
            hdu.header["EXTNAME"] = hdu.header["EXTNAME"].lower()


def masked(where: tuple[Any, ...]) -> Change:
    """Mark voxels as bad in the mask."""
    return lambda file: voxels("mask", filled(file.sample.bad_bit, where))(file)


def without(role: str) -> Change:
    def change(file: File) -> None:
        with file.open() as hdus:
            del hdus[file.name_of(role)]

    return change


def without_named(name: str) -> Change:
    def change(file: File) -> None:
        with file.open() as hdus:
            del hdus[name]

    return change


def error_times(factor: float) -> Change:
    """Multiply the 1-sigma error, however it is stated."""
    power = {"variance": 2, "sigma": 1, "ivar": -2}
    return lambda file: voxels("error", lambda error: error * factor ** power[file.sample.kind])(
        file
    )


def doubled(role: str) -> Change:
    def change(file: File) -> None:
        with file.open() as hdus:
            hdus.append(file.of(role, hdus).copy())

    return change


def swapped(one: str, other: str) -> Change:
    """Put the voxels of two extensions in each other's place; the headers stay."""

    def change(file: File) -> None:
        with file.open() as hdus:
            first, second = file.of(one, hdus), file.of(other, hdus)
            kept = np.array(first.data)
            first.data, second.data = np.array(second.data), kept

    return change


def names_swapped(file: File) -> None:
    with file.open() as hdus:
        first, second = file.of("flux", hdus), file.of("error", hdus)
        first.name, second.name = second.name, first.name


def faint(share: float) -> Change:
    """Take the stars away, so that the flux has negative values as that of faint fields has."""
    return voxels("flux", lambda flux: flux - share * np.median(flux))


def beside(name: str, change: Callable[[Any], object]) -> Change:
    """Do something to another file of the setting, given its path."""

    def changed(file: File) -> None:
        change(file.path.parent / name)

    return changed


def described(text: str) -> Change:
    """Put another description in the place of the layout's."""
    return beside("layout.toml", lambda path: path.write_text(text))


def listed(name: str, make: Callable[[np.ndarray], np.ndarray], **changed: Any) -> Change:
    """Add an extension of the wavelengths, as ``make`` makes them of the right ones."""

    def change(file: File) -> None:
        with file.open() as hdus:
            made = fits.ImageHDU(make(file.setting.truth.wave), name=name)
            made.header.update(changed)
            hdus.append(made)

    return change


WITHOUT_SKY = dict.fromkeys([*WCS, "CDELT1", "CDELT2"])
