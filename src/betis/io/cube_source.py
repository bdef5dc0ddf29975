"""Blocks of voxels from a FITS file, without holding the cube in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from betis.arrays import B8, F64
from betis.errors import InputError
from betis.products import CubeBlock

ErrorKind = Literal["variance", "ivar", "sigma"]
"""How a file states its errors: variance, inverse variance, or 1-sigma error."""

_DTYPE = {-32: ">f4", -64: ">f8", 8: "u1", 16: ">i2", 32: ">i4", 64: ">i8"}


@dataclass(frozen=True, kw_only=True)
class Extension:
    """Where the voxels of one uncompressed 3-D image extension lie in a file.

    A voxel is ``zero + scale * stored``; stored integers that equal ``blank`` are NaN.
    """

    path: Path
    name: str
    offset: int
    shape: tuple[int, int, int]
    dtype: str
    scale: float = 1.0
    zero: float = 0.0
    blank: int | None = None

    def read(self, rows: slice, waves: slice) -> F64:
        """Return ``[wave, y, x]`` of some image rows and wavelength pixels.

        Read plane by plane with seeks rather than mapped, so that pages of a file larger than
        memory do not count as the program's own.

        Raises
        ------
        InputError
            Where the file ends early or has gone.
        """
        return self._physical(self._stored(rows, waves))

    def marked(self, rows: slice, waves: slice, bits: int) -> B8:
        """Tell ``[wave, y, x]`` which voxels of a mask have any of these bits; -1 for any bit.

        Raises
        ------
        InputError
            As `read`.
        """
        stored = self._stored(rows, waves)
        if stored.dtype.kind == "f" or self.scale != 1.0 or not self.zero.is_integer():
            return _marked_values(self._physical(stored), bits)
        # The two's complement of a 64-bit mask, with the offset that makes it unsigned: beside
        # 2^63, a float would lose the low bits.
        whole = stored.astype(np.uint64) + np.uint64(int(self.zero) % 2**64)
        marked = whole != 0 if bits == -1 else (whole & np.uint64(bits)) != 0
        return np.asarray(marked if self.blank is None else marked | (stored == self.blank))

    def _stored(self, rows: slice, waves: slice) -> NDArray[Any]:
        n_wave, n_y, n_x = self.shape
        planes, (first, last, _) = range(n_wave)[waves], rows.indices(n_y)
        item = np.dtype(self.dtype).itemsize
        block = np.empty((len(planes), last - first, n_x), dtype=self.dtype)
        try:
            with self.path.open("rb", buffering=0) as handle:
                for index, plane in enumerate(planes):
                    handle.seek(self.offset + (plane * n_y + first) * n_x * item)
                    if handle.readinto(memoryview(block[index]).cast("B")) != block[index].nbytes:
                        raise InputError(
                            f"{self.path} ends inside its extension {self.name}: the file is cut "
                            "short; copy or download it again"
                        )
        except OSError as error:
            raise InputError(f"{self.path} can no longer be read: {error.strerror}") from error
        return block

    def _physical(self, stored: NDArray[Any]) -> F64:
        values = stored.astype(np.float64)
        if self.blank is not None:
            values[stored == self.blank] = np.nan
        if (self.scale, self.zero) != (1.0, 0.0):
            values = self.zero + self.scale * values
        return values


def _marked_values(values: F64, bits: int) -> B8:
    """Tell which values of a mask of floats are marks; what has no bits, NaN or < 0, is one."""
    if bits == -1:
        return np.asarray(values != 0)
    whole = np.clip(np.nan_to_num(values), 0, 2.0**63).astype(np.uint64)
    return np.asarray(np.isnan(values) | (values < 0) | ((whole & np.uint64(bits)) != 0))


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A cube in a file: flux, its error however it is stated, and perhaps a mask.

    Attributes
    ----------
    flux, error, mask
        Where they are, each ``[wave, y, x]``.
    error_kind
        What ``error`` holds.
    mask_bits
        Bits of the mask that make a voxel bad; -1 for any value but 0.
    max_error
        An error or a flux beyond this, either way, means that nothing was measured.
    """

    flux: Extension
    error: Extension
    error_kind: ErrorKind = "variance"
    mask: Extension | None = None
    mask_bits: int = -1
    max_error: float = np.inf

    def read(self, rows: slice, waves: slice) -> CubeBlock:
        """Return a block; see `betis.products.CubeSource`."""
        flux = self.flux.read(rows, waves)
        variance = variance_from(self.error.read(rows, waves), self.error_kind)
        with np.errstate(invalid="ignore"):
            bad = (variance > self.max_error**2) | (np.abs(flux) > self.max_error)
        if self.mask is not None:
            bad |= self.mask.marked(rows, waves, self.mask_bits)
        return clean_block(flux, variance, bad)


def variance_from(error: F64, kind: ErrorKind) -> F64:
    """Return the variance of an error of that kind; 0 or NaN where there is none."""
    if kind == "variance":
        return error
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = error**2 if kind == "sigma" else 1.0 / error
        return np.where(error > 0, value, 0.0)


def clean_block(flux: F64, variance: F64, bad: B8) -> CubeBlock:
    """Mask what is not finite or has no positive variance, and put zeros there (in place)."""
    with np.errstate(invalid="ignore"):
        mask = bad | ~np.isfinite(flux) | ~np.isfinite(variance) | ~(variance > 0)
    flux[mask] = 0.0
    variance[mask] = 0.0
    return CubeBlock(flux, variance, mask)


def image_extension(path: Path, hdus: Any, index: int) -> Extension:
    """Return where the voxels of an image HDU of astropy are; its file is not a packed one.

    Raises
    ------
    InputError
        Where the extension is no 3-D image with voxels.
    """
    hdu = hdus[index]
    info, name = hdu.fileinfo(), str(hdu.name or "PRIMARY")
    shape = _cube_shape(path, hdu.header, name)
    return Extension(
        path=Path(info["file"].name),
        name=name,
        offset=int(info["datLoc"]),
        shape=shape,
        dtype=_stored_type(path, hdu.header, name),
        scale=_scaling(path, hdu.header, "BSCALE", 1.0),
        zero=_scaling(path, hdu.header, "BZERO", 0.0),
        blank=_blank(path, hdu.header),
    )


def _cube_shape(path: Path, header: Any, name: str) -> tuple[int, int, int]:
    if header.get("NAXIS") != 3:
        raise InputError(
            f"{path}: the extension {name} has {header.get('NAXIS', 0)} axes, where a cube has 3 "
            "(wavelength, y, x)"
        )
    shape = (int(header["NAXIS3"]), int(header["NAXIS2"]), int(header["NAXIS1"]))
    if min(shape) < 1 or shape[0] < 2:
        raise InputError(
            f"{path}: the extension {name} has {shape[0]} wavelengths of {shape[2]} x {shape[1]} "
            "spaxels, where a cube has at least 2 wavelengths of 1 spaxel; give the whole cube"
        )
    return shape


def _stored_type(path: Path, header: Any, name: str) -> str:
    if header["BITPIX"] not in _DTYPE:
        raise InputError(
            f"{path}: the extension {name} has BITPIX = {header['BITPIX']}, where FITS knows "
            f"{', '.join(map(str, _DTYPE))}; copy or download the file again"
        )
    return _DTYPE[header["BITPIX"]]


def _scaling(path: Path, header: Any, card: str, default: float) -> float:
    value = header.get(card, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or (card == "BSCALE" and value == 0):
        raise InputError(
            f"{path}: the header's {card} is {value!r}, where a number is needed"
            f"{' that is not 0' if card == 'BSCALE' else ''}; mend the card"
        )
    return float(value)


def _blank(path: Path, header: Any) -> int | None:
    """Return the integer that stands for no value; floats have NaN for that."""
    if header["BITPIX"] < 0 or "BLANK" not in header:
        return None
    value = header["BLANK"]
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(
            f"{path}: the header's BLANK is {value!r}, where an integer is needed; mend the card"
        )
    return value
