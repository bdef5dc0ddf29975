"""A mock galaxy as a MUSE Phase 3 cube: PRIMARY, DATA and STAT, written tile by tile.

References
----------
ESO Phase 3 Standard (GEN-SPE-ESO-33000-5335), section on IFS data cubes; ESO's Data Interface
Control Document (GEN-SPE-ESO-19400-0794), version 6, for the HDUCLASS cards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError
from betis.mock.galaxy import Galaxy
from betis.mock.noise import draw_noise, variance
from betis.mock.options import MockOptions
from betis.mock.spectra import Renderer, make_renderer
from betis.mock.truth import write_truth

if TYPE_CHECKING:
    from astropy.io import fits

_BUNIT = "10**(-20)*erg/s/cm**2/Angstrom"
_RA, _DEC = 34.55, -8.0
_SPAXEL = 0.2 / 3600
_TILE_VOXELS = 3_000_000
"""Voxels in memory at once: some 250 MB with everything that is made on the way."""


def write_muse(galaxy: Galaxy, path: str | Path, *, tile_voxels: int = _TILE_VOXELS) -> None:
    """Observe a mock galaxy: write its cube, and its truth beside it (`truth_path`).

    Parameters
    ----------
    galaxy
    path
        Of the FITS file; one that is there is replaced, by a complete one only.
    tile_voxels
        How many voxels to make at once; changes nothing in the file.

    Raises
    ------
    InputError
        Where the folder does not exist.
    ConfigError
        Where the stellar base does not cover the cube's wavelengths.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent} to write {target.name} in; create it")
    partial = target.with_name(f"{target.name}.part")
    try:
        _write_cube(galaxy, partial, tile_voxels)
        write_truth(truth_path(target), galaxy.truth)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _write_cube(galaxy: Galaxy, path: Path, tile_voxels: int) -> None:
    renderer = make_renderer(galaxy)
    offsets = _write_headers(galaxy.options, path)
    shape = (galaxy.options.wave.size, *galaxy.options.shape)
    for rows in _tiles(shape, tile_voxels):
        for values, offset in zip(observe(renderer, rows), offsets, strict=True):
            # mapped anew for each tile, so that no written page stays in memory
            voxels = np.memmap(path, dtype=">f4", mode="r+", offset=offset, shape=shape)
            voxels[:, rows] = values
            del voxels


def truth_path(path: str | Path) -> Path:
    """Return where the truth of a cube is: ``<stem>_truth.fits`` beside it."""
    return Path(path).with_name(f"{Path(path).stem}_truth.fits")


def observe(
    renderer: Renderer, rows: slice
) -> tuple[Float[F64, "wave y x"], Float[F64, "wave y x"]]:
    """Return flux density with noise, and variance, of some image rows; NaN outside the field."""
    galaxy = renderer.galaxy
    first, last, _ = rows.indices(galaxy.options.n_y)
    flux = renderer.flux(rows)
    true_variance = variance(galaxy, flux)
    flux += draw_noise(galaxy, first, last) * np.sqrt(true_variance)
    outside = ~galaxy.field[rows]
    flux[:, outside] = true_variance[:, outside] = np.nan
    return flux, true_variance


def _tiles(shape: tuple[int, int, int], tile_voxels: int) -> Iterator[slice]:
    n_wave, n_y, n_x = shape
    step = max(1, tile_voxels // (n_wave * n_x))
    for start in range(0, n_y, step):
        yield slice(start, min(start + step, n_y))


def _write_headers(options: MockOptions, path: Path) -> tuple[int, int]:
    """Write the headers and room for the voxels; return where those of DATA and STAT begin."""
    n_byte = 4 * options.wave.size * options.n_y * options.n_x
    room = -(-n_byte // 2880) * 2880
    primary = _primary_header(options).tostring().encode("ascii")
    flux = _cube_header(options, "DATA").tostring().encode("ascii")
    errors = _cube_header(options, "STAT").tostring().encode("ascii")
    first = len(primary) + len(flux)
    second = first + room + len(errors)
    with path.open("wb") as stream:
        stream.write(primary + flux)
        stream.seek(first + room)
        stream.write(errors)
        stream.truncate(second + room)
    return first, second


def _primary_header(options: MockOptions) -> fits.Header:
    from astropy.io import fits

    header = fits.PrimaryHDU().header
    header.update(_header_cards(_PRIMARY))
    header["WAVELMIN"] = (0.1 * options.edges[0], "[nm] Minimum wavelength")
    header["WAVELMAX"] = (0.1 * options.edges[-1], "[nm] Maximum wavelength")
    return header


def _cube_header(options: MockOptions, name: str) -> fits.Header:
    from astropy.io import fits

    header = fits.Header([("XTENSION", "IMAGE", "Image extension"), ("BITPIX", -32), ("NAXIS", 3)])
    sizes = (options.n_x, options.n_y, options.wave.size)
    header.update({f"NAXIS{axis}": size for axis, size in enumerate(sizes, start=1)})
    header.update({"PCOUNT": 0, "GCOUNT": 1})
    header.update(_header_cards(_wcs_cards(options)))
    header.update(_header_cards({"EXTNAME": (name, "extension name"), **_CLASS, **_KIND[name]}))
    return header


def _header_cards(cards: dict[str, Any]) -> list[tuple[str, Any, str]]:
    return [
        (key, *card) if isinstance(card, tuple) else (key, card, "") for key, card in cards.items()
    ]


def _wcs_cards(options: MockOptions) -> dict[str, Any]:
    """Return the WCS as ESO's pipeline writes it."""
    return {
        "WCSAXES": (3, "Number of coordinate axes"),
        "CRPIX1": ((options.n_x + 1) / 2, "Pixel coordinate of reference point"),
        "CRPIX2": ((options.n_y + 1) / 2, "Pixel coordinate of reference point"),
        "CD1_1": -_SPAXEL,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": _SPAXEL,
        "CUNIT1": ("deg", "Units of coordinate increment and value"),
        "CUNIT2": ("deg", "Units of coordinate increment and value"),
        "CTYPE1": ("RA---TAN", "Right ascension, gnomonic projection"),
        "CTYPE2": ("DEC--TAN", "Declination, gnomonic projection"),
        "CRVAL1": (_RA, "[deg] Coordinate value at reference point"),
        "CRVAL2": (_DEC, "[deg] Coordinate value at reference point"),
        "LONPOLE": (180.0, "[deg] Native longitude of celestial pole"),
        "LATPOLE": (_DEC, "[deg] Native latitude of celestial pole"),
        "RADESYS": ("ICRS", "Equatorial coordinate system"),
        "CTYPE3": "AWAV",
        "CUNIT3": "Angstrom",
        "CD3_3": options.wave_step,
        "CRPIX3": 1.0,
        "CRVAL3": options.wave_min,
        "CD1_3": 0.0,
        "CD2_3": 0.0,
        "CD3_1": 0.0,
        "CD3_2": 0.0,
    }


_PRIMARY = {
    "ORIGIN": ("ESO-PARANAL", "European Southern Observatory"),
    "TELESCOP": ("ESO-VLT-U4", "ESO <TEL>"),
    "INSTRUME": ("MUSE", "Instrument used."),
    "RA": (_RA, "[deg] pointing (J2000)"),
    "DEC": (_DEC, "[deg] pointing (J2000)"),
    "EQUINOX": (2000.0, "Standard FK5"),
    "RADECSYS": ("FK5", "Coordinate system"),
    "EXPTIME": (3600.0, "Integration time"),
    "MJD-OBS": (57000.0, "Obs start"),
    "DATE-OBS": ("2014-12-09T00:00:00.000", "Observing date"),
    "OBJECT": ("BETIS MOCK", "Original target."),
    "PRODCATG": ("SCIENCE.CUBE.IFS", "Data product category"),
    "FLUXCAL": ("ABSOLUTE", "Type of flux calibration"),
    "SPECSYS": ("BARYCENT", "Reference frame of the wavelengths"),
    "BUNIT": _BUNIT,
    "HIERARCH ESO INS MODE": ("WFM-NOAO-N", "Instrument mode used."),
}

_CLASS = {
    "HDUCLASS": ("ESO", "class name (ESO format)"),
    "HDUDOC": ("DICD", "document with class description"),
    "HDUVERS": ("DICD version 6", "version number (according to spec v2.5.1)"),
    "HDUCLAS1": ("IMAGE", "Image data format"),
}

_KIND = {
    "DATA": {
        "HDUCLAS2": ("DATA", "this extension contains the data itself"),
        "ERRDATA": ("STAT", "pointer to the variance extension"),
        "OBJECT": "BETIS MOCK (DATA)",
        "BUNIT": (_BUNIT, "data unit type"),
    },
    "STAT": {
        "HDUCLAS2": ("ERROR", "this extension contains variance"),
        "HDUCLAS3": ("MSE", "the extension contains variances (sigma**2)"),
        "SCIDATA": ("DATA", "pointer to the data extension"),
        "OBJECT": "BETIS MOCK (STAT)",
        "BUNIT": (f"({_BUNIT})**2", "data unit type"),
    },
}
