"""Blocks of voxels from a FITS file or from arrays, without holding the cube in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from betis.arrays import B8, F64
from betis.errors import InputError
from betis.products import CubeBlock

_DTYPE = {-32: ">f4", -64: ">f8", 8: "u1", 16: ">i2", 32: ">i4"}


@dataclass(frozen=True, kw_only=True)
class Extension:
    """Where the voxels of one uncompressed 3-D image extension lie in a file."""

    path: Path
    name: str
    offset: int
    shape: tuple[int, int, int]
    dtype: str

    def read(self, rows: slice, waves: slice) -> F64:
        """Return ``[wave, y, x]`` of some image rows and wavelength pixels.

        Read plane by plane with seeks rather than mapped, so that pages of a file larger than
        memory do not count as the program's own.

        Raises
        ------
        InputError
            Where the file ends early or has gone.
        """
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
        return block.astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class VarianceFileSource:
    """A cube in a file that stores flux, variance and perhaps data-quality bits."""

    flux: Extension
    variance: Extension
    quality: Extension | None = None

    def read(self, rows: slice, waves: slice) -> CubeBlock:
        """Return a block; see `betis.products.CubeSource`."""
        flux, variance = self.flux.read(rows, waves), self.variance.read(rows, waves)
        bad = np.zeros(flux.shape, dtype=bool)
        if self.quality is not None:
            bad = self.quality.read(rows, waves) != 0
        return clean_block(flux, variance, bad)


@dataclass(frozen=True, kw_only=True, eq=False)
class ArraySource:
    """A cube in memory: flux, variance and mask ``[wave, y, x]``."""

    flux: Float[F64, "wave y x"]
    variance: Float[F64, "wave y x"]
    mask: B8 | None = None

    def read(self, rows: slice, waves: slice) -> CubeBlock:
        """Return a block; see `betis.products.CubeSource`."""
        flux = np.array(self.flux[waves, rows], dtype=float)
        bad = np.zeros(flux.shape, bool) if self.mask is None else self.mask[waves, rows]
        return clean_block(flux, np.array(self.variance[waves, rows], dtype=float), bad)


def clean_block(flux: F64, variance: F64, bad: B8) -> CubeBlock:
    """Mask what is not finite or has no positive variance, and put zeros there (in place)."""
    with np.errstate(invalid="ignore"):
        mask = bad | ~np.isfinite(flux) | ~np.isfinite(variance) | ~(variance > 0)
    flux[mask] = 0.0
    variance[mask] = 0.0
    return CubeBlock(flux, variance, mask)


def image_extension(path: Path, hdu: object) -> Extension:
    """Return where an image HDU of astropy lies in its file.

    Raises
    ------
    InputError
        Where the extension is no plain 3-D image.
    """
    header, info = hdu.header, hdu.fileinfo()  # type: ignore[attr-defined]
    name = str(header.get("EXTNAME", "PRIMARY"))
    if header.get("NAXIS") != 3:
        raise InputError(
            f"{path}: the extension {name} has {header.get('NAXIS', 0)} axes, where a cube has 3 "
            "(wavelength, y, x)"
        )
    if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0:
        raise InputError(
            f"{path}: the extension {name} is stored scaled (BSCALE, BZERO); rewrite it as "
            "32-bit floats first"
        )
    shape = (int(header["NAXIS3"]), int(header["NAXIS2"]), int(header["NAXIS1"]))
    extension = Extension(
        path=path,
        name=name,
        offset=int(info["datLoc"]),
        shape=shape,
        dtype=_DTYPE[int(header["BITPIX"])],
    )
    _require_whole(extension)
    return extension


def _require_whole(extension: Extension) -> None:
    end = extension.offset + int(np.prod(extension.shape)) * np.dtype(extension.dtype).itemsize
    size = extension.path.stat().st_size
    if size < end:
        raise InputError(
            f"{extension.path} is cut short: its extension {extension.name} needs {end} bytes and "
            f"the file has {size}; copy or download it again"
        )
