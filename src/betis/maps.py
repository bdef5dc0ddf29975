"""From one row a bin to images on the sky."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betis.errors import InputError
from betis.flags import header_cards
from betis.io.fits import open_fits
from betis.io.products import flux_unit, read_sky
from betis.io.row_files import RowArray, RowWriter, image_layout, row_array, write_rows
from betis.products import BinMap, ContinuumFit, LineFit, Sky

_PER_LINE = (
    "flux",
    "flux_err",
    "velocity",
    "velocity_err",
    "sigma",
    "sigma_err",
    "ew",
    "ew_err",
    "snr",
    "flags",
)
_STELLAR = {"STELLAR_VELOCITY": "velocity", "STELLAR_SIGMA": "sigma", "STELLAR_AV": "av"}
_UNITS = {
    "VELOCITY": "km/s",
    "VELOCITY_ERR": "km/s",
    "SIGMA": "km/s",
    "SIGMA_ERR": "km/s",
    "EW": "Angstrom",
    "EW_ERR": "Angstrom",
    "STELLAR_VELOCITY": "km/s",
    "STELLAR_SIGMA": "km/s",
    "STELLAR_AV": "mag",
}


_OF_LINES = {name.upper() for name in _PER_LINE}
_STORED = {"BINID": "i4", "FLAGS": "i4"}
"""Type of the images that are no numbers of 8 bytes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Painted(Mapping[str, NDArray[Any]]):
    """Images that are painted when they are asked for: all at once would be a cube of their own.

    The quantities, too, are taken from the fits then, which may be in a file.
    """

    bins: BinMap
    lines: LineFit
    continuum: ContinuumFit | None

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name == "BINID":
            return self.bins.bin_id
        if name in _STELLAR and self.continuum is not None:
            return self.bins.paint(getattr(self.continuum, _STELLAR[name]))
        if name not in _OF_LINES:
            raise KeyError(name)
        values = getattr(self.lines, name.lower())
        if name in {"FLUX", "FLUX_ERR"}:
            values = values / self.bins.n_spaxel[:, None]
        return self.bins.paint(values, -1 if name == "FLAGS" else np.nan)

    def __iter__(self) -> Iterator[str]:
        stellar = () if self.continuum is None else tuple(_STELLAR)
        return iter(("BINID", *(name.upper() for name in _PER_LINE), *stellar))

    def __len__(self) -> int:
        return 1 + len(_PER_LINE) + (0 if self.continuum is None else len(_STELLAR))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stored(Mapping[str, NDArray[Any]]):
    """Images that are read from their file when they are asked for."""

    arrays: Mapping[str, RowArray]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name].take(slice(None))

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Maps(Mapping[str, NDArray[Any]]):
    """Images by name: ``maps["FLUX"]`` is ``[line, y, x]``, ``maps["BINID"]`` is ``[y, x]``.

    Attributes
    ----------
    images
        The images, each made or read when it is asked for. FLUX and FLUX_ERR are per spaxel: the
        bin's over its number of spaxels.
    names : [line]
        The lines, in the order of the line axis.
    sky
        Celestial WCS and flux scale.
    """

    images: Mapping[str, NDArray[Any]]
    names: tuple[str, ...]
    sky: Sky = field(default_factory=lambda: Sky(shape=(0, 0)))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the image of that name."""
        return self.images[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the images."""
        return iter(self.images)

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.images)

    def line(self, quantity: str, name: str) -> NDArray[Any]:
        """Return the ``[y, x]`` image of one quantity of one line.

        Raises
        ------
        InputError
            Where there is no such line.
        """
        if name not in self.names:
            raise InputError(f"there is no map of {name}; the lines are {', '.join(self.names)}")
        return np.asarray(self.images[quantity][self.names.index(name)])

    def write(self, path: str | Path, cards: Mapping[str, Any] | None = None) -> None:
        """Write ``maps.fits``: an extension an image, each with BUNIT and the celestial WCS.

        Raises
        ------
        RunFolderError
            Where the file cannot be written; an older one stays as it was.
        """
        y, x = self.images["BINID"].shape
        layouts = [
            image_layout(
                name,
                (len(self.names), y, x) if name in _OF_LINES else (y, x),
                _STORED.get(name, "f8"),
                self._cards(name),
            )
            for name in self.images
        ]
        write_rows(Path(path), layouts, self._fill, {**(cards or {}), **header_cards()})

    def _fill(self, writer: RowWriter) -> list[Any]:
        for name, image in self.images.items():
            writer.put(name, slice(None), image)
        return []

    def __repr__(self) -> str:
        """Return the names of the images and lines, not their pixels."""
        return f"Maps({', '.join(self.images)}; lines: {', '.join(self.names)})"

    def _cards(self, name: str) -> dict[str, Any]:
        flux = flux_unit(self.sky, density=False)
        unit = flux if name in {"FLUX", "FLUX_ERR"} else _UNITS.get(name, "")
        lines = {f"LINE{i + 1}": line for i, line in enumerate(self.names)}
        scale = {"FLUXSCAL": self.sky.flux_scale} if name == "BINID" else {}
        return {"BUNIT": unit, **self.sky.wcs, **scale, **(lines if name in _OF_LINES else {})}


def read_maps(path: str | Path) -> Maps:
    """Read ``maps.fits``.

    Raises
    ------
    InputError
        Where there is no such file or it is no FITS file.
    """
    with open_fits(path) as hdus:
        arrays = {hdu.name: row_array(Path(path), hdu) for hdu in hdus[1:]}
        header = hdus["FLUX"].header
        names = tuple(str(header[f"LINE{i + 1}"]) for i in range(arrays["FLUX"].shape[0]))
        sky = read_sky(hdus["BINID"].header)
        return Maps(images=_Stored(arrays=arrays), names=names, sky=sky)


def make_maps(bins: BinMap, lines: LineFit, continuum: ContinuumFit | None = None) -> Maps:
    """Paint what was measured of each bin on the bin's spaxels.

    Parameters
    ----------
    bins
        ``bin_id [y, x]``.
    lines
        ``[bin, line]``.
    continuum
        Adds STELLAR_VELOCITY, STELLAR_SIGMA and STELLAR_AV.

    Returns
    -------
    FLUX and FLUX_ERR are surface brightness: divided by the bin's number of spaxels, so that a
    map's sum is the sum of its bins. Spaxels in no bin are NaN (FLAGS: -1).

    Raises
    ------
    InputError
        Where the fits have another number of rows than there are bins.
    """
    if lines.n_spectrum != bins.n_bin:
        raise InputError(
            f"there are {bins.n_bin} bins and {lines.n_spectrum} fitted rows; give the fits of "
            "these bins"
        )
    sky = lines.sky or Sky(shape=(bins.bin_id.shape[0], bins.bin_id.shape[1]))
    painted = _Painted(bins=bins, lines=lines, continuum=continuum)
    return Maps(images=painted, names=lines.names, sky=sky)
