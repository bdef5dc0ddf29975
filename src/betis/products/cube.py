"""A datacube that is read when it is asked for, and its place on the sky."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from betis.arrays import B8, F64, I32, Brief, Index
from betis.wavelength import Medium


class CubeBlock(NamedTuple):
    """A part of a cube in memory; each ``[wave, y, x]``; bad voxels have flux 0, variance 0."""

    flux: Float[F64, "wave y x"]
    variance: Float[F64, "wave y x"]
    mask: Bool[B8, "wave y x"]


class CubeSource(Protocol):
    """Whatever can give a part of a cube: a file, or arrays in memory."""

    def read(self, rows: slice, waves: slice) -> CubeBlock:
        """Return the block of these image rows (y) and wavelength pixels, in the cube's scale.

        Its arrays are the caller's to change.
        """


@dataclass(frozen=True, kw_only=True)
class Sky:
    """Where the pixels of a map lie on the sky, and the unit of flux they are measured in.

    Attributes
    ----------
    shape
        ``(y, x)``.
    wcs
        Celestial WCS cards of FITS axes 1 and 2; empty where the cube has none.
    flux_scale
        What 1 in the file means, erg/s/cm²(/Å): 1e-20 for MUSE. 0 where unknown.
    """

    shape: tuple[int, int]
    wcs: Mapping[str, Any] = field(default_factory=dict)
    flux_scale: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cube(Brief):
    """A datacube whose voxels are read when they are asked for.

    Attributes
    ----------
    source
        Gives blocks of voxels.
    wave, edges : Angstrom
        Pixel centres and edges; rest frame once ``redshift`` is not 0.
    medium
        "air" or "vacuum", of the wavelengths as observed.
    lsf : Angstrom
        FWHM of the line-spread function at each pixel, in the frame of ``wave``.
    sky
        Shape of the field, celestial WCS, flux scale.
    instrument, path
        Where it came from.
    redshift
        What the axis has been divided by, minus one.
    factor
        What each wavelength pixel's flux is multiplied by when it is read (dereddening, 1+z).
    noise_scale
        What the errors of each wavelength pixel are multiplied by when they are read.
    sky_window
        True at pixels in windows of strong telluric absorption or sky emission: kept for lines,
        left out of the continuum fit.
    noise_kind
        How the file states its errors: "variance", "ivar" or "sigma". A block has variances.
    galactic_av : mag
        Galactic A_V that ``factor`` removes.
    dereddened
        Whether the survey has removed the Galactic extinction already.
    copies : [y, x]
        Spaxels of the same label hold copies of one spectrum, as in cubes that were binned
        before; -1 for a spectrum of its own. None where every spaxel has its own.
    """

    source: CubeSource
    wave: Float[F64, " wave"]
    edges: Float[F64, " wave+1"]
    medium: Medium
    lsf: Float[F64, " wave"]
    sky: Sky
    instrument: str = "unknown"
    path: str = ""
    redshift: float = 0.0
    factor: Float[F64, " wave"] | None = None
    noise_scale: Float[F64, " wave"] | None = None
    sky_window: Bool[B8, " wave"] | None = None
    noise_kind: str = "variance"
    galactic_av: float = 0.0
    dereddened: bool = False
    copies: Int[I32, "y x"] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(wave, y, x)``."""
        return (self.wave.size, *self.sky.shape)

    def read(self, rows: slice = slice(None), waves: slice = slice(None)) -> CubeBlock:
        """Return a block, ``factor`` and ``noise_scale`` applied; all of the cube by default."""
        block = self.source.read(rows, waves)
        flux, variance, mask = block
        if self.factor is not None:
            factor = self.factor[waves, None, None]
            flux *= factor
            variance *= factor**2
        if self.noise_scale is not None:
            variance *= self.noise_scale[waves, None, None] ** 2
        return CubeBlock(flux, variance, mask)

    def cut(self, *waves: slice) -> Cube:
        """Return only these wavelengths, read when they are asked for.

        Parameters
        ----------
        waves
            Slices of step 1, in order and apart. The pixels on either side of a gap between two
            of them are masked: one edge cannot be that of both.
        """
        pieces = tuple(range(self.wave.size)[part] for part in waves)
        kept = np.concatenate([np.asarray(piece, dtype=np.intp) for piece in pieces])

        def some(values: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if values is None else values[kept]

        return replace(
            self,
            source=_CutSource(source=self.source, pieces=pieces),
            wave=self.wave[kept],
            edges=_cut_edges(self.edges, kept),
            lsf=self.lsf[kept],
            factor=some(self.factor),
            noise_scale=some(self.noise_scale),
            sky_window=some(self.sky_window),
        )

    def tiles(self, n_wave: int, max_voxel: int = 8_000_000) -> Iterator[slice]:
        """Yield image rows, as many at a time as ``n_wave`` pixels deep make ``max_voxel``."""
        n_y, n_x = self.sky.shape
        height = max(1, max_voxel // max(1, n_wave * n_x))
        for start in range(0, n_y, height):
            yield slice(start, min(start + height, n_y))

    @property
    def flux(self) -> Float[F64, "wave y x"]:
        """All of the flux density, in memory; NaN where bad."""
        block = self.read()
        return np.where(block.mask, np.nan, block.flux)

    @property
    def error(self) -> Float[F64, "wave y x"]:
        """All of the 1-sigma errors, in memory; NaN where bad."""
        block = self.read()
        return np.where(block.mask, np.nan, np.sqrt(block.variance))

    @property
    def mask(self) -> Bool[B8, "wave y x"]:
        """All of the mask, in memory; True where bad."""
        return self.read().mask


@dataclass(frozen=True, kw_only=True)
class _CutSource:
    """Some wavelengths of a cube: ranges of its pixels, one behind the other."""

    source: CubeSource
    pieces: tuple[range, ...]

    def read(self, rows: slice, waves: slice) -> CubeBlock:
        """Return a block; see `CubeSource`."""
        pixels = np.array([pixel for piece in self.pieces for pixel in piece], dtype=np.intp)
        wanted = pixels[waves]
        parts = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1)
        read = [self.source.read(rows, _as_slice(part)) for part in parts]
        block = CubeBlock(*(np.concatenate(arrays) for arrays in zip(*read, strict=True)))
        gap = np.flatnonzero(np.diff(pixels) != 1)
        beside = np.isin(wanted, pixels[np.concatenate([gap, gap + 1])])
        block.flux[beside] = block.variance[beside] = 0.0
        block.mask[beside] = True
        return block


def _as_slice(pixels: Index) -> slice:
    return slice(int(pixels[0]), int(pixels[-1]) + 1) if pixels.size else slice(0, 0)


def _cut_edges(edges: Float[F64, " wave+1"], kept: Index) -> Float[F64, " wave+1"]:
    """Return edges of some pixels; halfway across a gap where some are left out."""
    low, high = edges[kept], edges[kept + 1]
    return np.concatenate([low[:1], 0.5 * (high[:-1] + low[1:]), high[-1:]])
