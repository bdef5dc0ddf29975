"""One way to build a cube from the description of where a file keeps what."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from betis.arrays import F64, I32
from betis.errors import InputError
from betis.io.contradictions import (
    KINDS,
    promised_mask,
    require_kinds,
    require_observed,
    require_single_cards,
)
from betis.io.cube_source import ErrorKind, Extension, FileSource, image_extension
from betis.io.flux_units import flux_density_scale
from betis.io.plausibility import require_plausible, require_resolution
from betis.io.unpack import open_cube
from betis.io.wcs import read_celestial
from betis.products import Cube, Sky
from betis.wavelength import Medium, WaveAxis, angstrom_per_unit, pixel_edges, read_axis

BRIGHTEST = 3.6e-9
"""Flux density of Vega at 5500 Angstrom, erg/s/cm²/Angstrom (Bessell et al. 1998, A&A 333 231).

No error of a galaxy's spectrum is larger: surveys write such values where nothing was measured.
"""

AXIS_TOLERANCE = 1e-3
"""Angstrom by which two statements of the same axis may differ."""

LineSpread = Callable[[F64], F64]
"""From observed wavelengths to the FWHM at each, both in Angstrom."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a file keeps flux, error and mask, and what its instrument leaves unsaid.

    Attributes
    ----------
    name, label
        Name of the reader; what sentences call its cubes.
    flux, error, mask, wave_copy, wave, copies
        Names or numbers of extensions: of the voxels; of wavelengths that repeat the header's
        axis; of wavelengths in place of the header's axis; of an image of labels (0 = none) of
        spaxels that hold copies of one spectrum. Blank where there is none.
    error_file, mask_file
        Where error and mask are in files of their own.
    error_kind
        variance, ivar or sigma.
    mask_bits
        Bits that make a voxel bad; -1 for any.
    mask_required
        Whether a file without the mask is refused.
    scale
        What 1 stands for whatever BUNIT says, erg/s/cm²/Angstrom; 0 to believe BUNIT.
    default_scale
        What 1 stands for where there is no BUNIT.
    medium
        Of the wavelengths whatever CTYPE3 says; None to believe CTYPE3.
    default_medium
        Of the wavelengths where CTYPE3 does not say it; None where the instrument does not tell.
    wave_range : Angstrom
        Within which every cube of the instrument lies, a de-redshifted one too.
    lsf : Angstrom
        FWHM of the line-spread function at observed wavelengths.
    dereddened
        Whether the survey has removed the Galactic extinction.
    """

    name: str
    label: str
    flux: str
    error: str
    lsf: LineSpread
    mask: str = ""
    wave_copy: str = ""
    wave: str = ""
    copies: str = ""
    error_file: Path | None = None
    mask_file: Path | None = None
    error_kind: ErrorKind = "variance"
    mask_bits: int = -1
    mask_required: bool = False
    scale: float = 0.0
    default_scale: float = 0.0
    medium: Medium | None = None
    default_medium: Medium | None = None
    wave_range: tuple[float, float] = (900.0, 300000.0)
    dereddened: bool = False


@dataclass(frozen=True)
class _Part:
    """One extension of a cube: its open file, its number, and what it is for."""

    hdus: Any
    index: int
    path: Path

    @property
    def hdu(self) -> Any:
        return self.hdus[self.index]

    @property
    def header(self) -> Any:
        return self.hdu.header

    @property
    def name(self) -> str:
        return str(self.hdus[self.index].name or "PRIMARY")

    def voxels(self) -> Extension:
        return image_extension(self.path, self.hdus, self.index)


def read_layout(path: Path, hdus: Any, layout: Layout) -> Cube:
    """Return the cube of an open file that is laid out so; its voxels are read later.

    Raises
    ------
    InputError
        Where an extension is missing, taken twice, of another shape, or says that it holds
        something else; where the axis cannot be understood, is stated twice and differently, or
        is outside the instrument's range; where the medium is not known, the unit or the
        celestial WCS make no sense, or flux and error cannot be what they are taken for.
    """
    with ExitStack() as files:
        flux, error, mask = _parts(path, hdus, layout, files)
        require_kinds(path, flux.hdu, error.hdu, layout.error_kind)
        voxels = _same_shape(path, [part.voxels() for part in (flux, error, mask) if part])
        try:
            require_single_cards(flux.header)
            require_observed(flux.header)
            axis = _read_axis(flux, hdus, layout)
            _require_same_axis(axis, error, layout)
            scale = layout.scale or flux_density_scale(_bunit(flux.header), layout.default_scale)
            sky_cards = read_celestial(flux.header)
            medium = _medium(axis, flux.header, layout)
        except InputError as problem:
            raise InputError(f"{path}: {problem}") from problem
        source = _source(voxels, layout, scale)
        require_plausible(path, source)
        fwhm = layout.lsf(axis.wave)
        require_resolution(path, axis.wave, fwhm)
        return Cube(
            source=source,
            wave=axis.wave,
            edges=axis.edges,
            medium=medium,
            lsf=fwhm,
            sky=Sky(shape=voxels[0].shape[1:], wcs=sky_cards, flux_scale=scale),
            instrument=layout.name,
            path=str(path),
            noise_kind=layout.error_kind,
            dereddened=layout.dereddened,
            copies=_copies(path, hdus, layout, voxels[0].shape[1:]),
        )


def find_extension(path: Path, hdus: Any, name: str, role: str, label: str) -> int:
    """Return the number of the one extension of that name (or number).

    Raises
    ------
    InputError
        Where there is none, or more than one.
    """
    names = [str(hdu.name) for hdu in hdus]
    if name.isdigit() and int(name) < len(names) and name not in names:
        return int(name)
    if name.upper() == "PRIMARY":  # whatever EXTNAME calls it
        return 0
    wanted = [index for index, found in enumerate(names) if found.upper() == name.upper()]
    if len(wanted) != 1:
        count = len(wanted) or "no"
        raise InputError(
            f"{path} has {count} extension{'s' if wanted else ''} {name} (the {role}); it "
            f"has {', '.join(found or 'one without a name' for found in names)}. A {label} cube "
            f"needs one {name}"
        )
    return wanted[0]


def vector(path: Path, hdus: Any, name: str, role: str, label: str) -> Float[F64, " wave"]:
    """Return the values of a 1-D extension.

    Raises
    ------
    InputError
        Where there is no such extension or it is no list of numbers.
    """
    hdu = hdus[find_extension(path, hdus, name, role, label)]
    if hdu.header.get("NAXIS") != 1:
        raise InputError(
            f"{path}: the extension {name} (the {role}) has {hdu.header.get('NAXIS', 0)} axes, "
            "where a list of one number a wavelength was expected"
        )
    return np.asarray(hdu.data, dtype=np.float64)


def length_vector(path: Path, hdus: Any, name: str, role: str, label: str) -> Float[F64, " wave"]:
    """Return the values of a 1-D extension in Angstrom, which is their unit if BUNIT is blank.

    Raises
    ------
    InputError
        As `vector`, and where the unit is no length.
    """
    values = vector(path, hdus, name, role, label)
    unit = str(hdus[find_extension(path, hdus, name, role, label)].header.get("BUNIT") or "")
    return values * angstrom_per_unit(unit, "BUNIT", f"the extension {name}")


def has_extension(hdus: Any, name: str) -> bool:
    """Tell whether an open file has an extension of that name."""
    return any(str(hdu.name).upper() == name.upper() for hdu in hdus)


def _parts(
    path: Path, hdus: Any, layout: Layout, files: ExitStack
) -> tuple[_Part, _Part, _Part | None]:
    """Find the extensions of the voxels, in this file or in those beside it."""

    def part(name: str, role: str, file: Path | None) -> _Part:
        where = file or path
        opened = files.enter_context(open_cube(where)) if file else hdus
        index = find_extension(where, opened, name, role, layout.label)
        return _Part(opened, index, where)

    flux = part(layout.flux, "flux", None)
    error = part(layout.error, KINDS[layout.error_kind], layout.error_file)
    _require_different(flux, error, KINDS[layout.error_kind])
    wanted = layout.mask_required or layout.mask_file or has_extension(hdus, layout.mask)
    if not (layout.mask and (wanted or promised_mask(flux.hdu, layout.mask))):
        return flux, error, None
    mask = part(layout.mask, "mask", layout.mask_file)
    _require_different(flux, mask, "mask")
    _require_different(error, mask, "mask")
    return flux, error, mask


def _require_different(one: _Part, other: _Part, role: str) -> None:
    if (one.path, one.index) == (other.path, other.index):
        raise InputError(
            f"{one.path}: the extension {one.name} is taken for the {role} and for another part "
            "of the cube, where each has an extension of its own; name the right ones in the "
            "table [cube]"
        )


def _same_shape(path: Path, voxels: list[Extension]) -> list[Extension]:
    flux = voxels[0]
    for other in voxels[1:]:
        if other.shape != flux.shape:
            raise InputError(
                f"{path}: {flux.name} has the shape {flux.shape} and {other.name} "
                f"{other.shape} (wave, y, x), where they must be the same"
            )
    return voxels


def _source(voxels: list[Extension], layout: Layout, scale: float) -> FileSource:
    flux, error, *mask = voxels
    return FileSource(
        flux=flux,
        error=error,
        error_kind=layout.error_kind,
        mask=mask[0] if mask else None,
        mask_bits=layout.mask_bits,
        max_error=BRIGHTEST / scale if scale else np.inf,
    )


def _bunit(header: Any) -> str:
    return str(header.get("BUNIT") or "")


def _read_axis(flux: _Part, hdus: Any, layout: Layout) -> WaveAxis:
    axis = _listed_axis(flux, hdus, layout) if layout.wave else _header_axis(flux.header)
    low, high = layout.wave_range
    if axis.wave[0] < low or axis.wave[-1] > high:
        raise InputError(
            f"the wavelengths run from {axis.wave[0]:.6g} to {axis.wave[-1]:.6g} A, where a "
            f"{layout.label} cube lies within {low:g} to {high:g} A; check CRVAL3, CRPIX3, CD3_3 "
            "and CUNIT3"
        )
    if layout.wave_copy and has_extension(hdus, layout.wave_copy):
        _require_equal(
            axis.wave,
            length_vector(flux.path, hdus, layout.wave_copy, "wavelengths", layout.label),
            f"the extension {layout.wave_copy}",
        )
    return axis


def _header_axis(header: Any) -> WaveAxis:
    """Read the axis; its reference pixel must be stated, which is 1 to some and 0 to FITS."""
    if "CRPIX3" not in header:
        raise InputError(
            "the header has no card CRPIX3, which the wavelength axis needs; add it, 1 where "
            "CRVAL3 is the wavelength of the first pixel"
        )
    return read_axis(header)


def _listed_axis(flux: _Part, hdus: Any, layout: Layout) -> WaveAxis:
    wave = length_vector(flux.path, hdus, layout.wave, "wavelengths", layout.label)
    if wave.size != flux.header.get("NAXIS3"):
        raise InputError(
            f"the extension {layout.wave} has {wave.size} wavelengths, where the flux has "
            f"{flux.header.get('NAXIS3')}; give the one that belongs to it"
        )
    return WaveAxis(wave=wave, edges=pixel_edges(wave), medium=None)


def _require_same_axis(axis: WaveAxis, error: _Part, layout: Layout) -> None:
    """Check what the header of the error says of its axis, where it says it."""
    if layout.wave or _says_nothing(error.header):
        return
    other = read_axis(error.header)
    _require_equal(axis.wave, other.wave, f"the header of {error.name}")
    if None not in (axis.medium, other.medium) and axis.medium != other.medium:
        raise InputError(
            f"the header of {error.name} gives wavelengths in {other.medium}, where that of the "
            f"flux gives them in {axis.medium}; mend CTYPE3 of the one that is wrong"
        )


def _says_nothing(header: Any) -> bool:
    """Tell a header without an axis, or with one that counts pixels."""
    if not {"CRVAL3", "CRPIX3"} <= set(header) or not {"CD3_3", "CDELT3"} & set(header):
        return True
    counts = header["CRVAL3"] in (0, 1) and header.get("CD3_3", header.get("CDELT3")) == 1
    return counts and str(header.get("CTYPE3", "")).strip().upper() in {"", "PIXEL", "LINEAR"}


def _require_equal(wave: F64, other: F64, where: str) -> None:
    if wave.size != other.size:
        raise InputError(
            f"{where} gives {other.size} wavelengths, where the flux has {wave.size}; find out "
            "which is right and mend the other"
        )
    apart = float(np.abs(wave - other).max())
    if not apart <= AXIS_TOLERANCE:
        raise InputError(
            f"{where} gives wavelengths that differ by up to {apart:.4g} A from those of the "
            "flux's header, where they must be the same; find out which is right and mend the "
            "other"
        )


def _medium(axis: WaveAxis, header: Any, layout: Layout) -> Medium:
    medium = layout.medium or axis.medium or layout.default_medium
    if medium is None:
        raise InputError(
            f"CTYPE3 = {str(header.get('CTYPE3', ''))!r} does not say whether the wavelengths are "
            'in air or in vacuum; say medium = "air" or "vacuum" in the table [cube] of a TOML '
            "file and give that file as --instrument, or set CTYPE3 to AWAV or WAVE"
        )
    return medium


def _copies(
    path: Path, hdus: Any, layout: Layout, shape: tuple[int, ...]
) -> Int[I32, "y x"] | None:
    if not (layout.copies and has_extension(hdus, layout.copies)):
        return None
    labels = np.asarray(
        hdus[find_extension(path, hdus, layout.copies, "labels", layout.label)].data
    )
    if labels.shape != shape:
        raise InputError(
            f"{path}: the extension {layout.copies} has the shape {labels.shape}, where the field "
            f"is {shape} (y, x)"
        )
    return np.where(labels == 0, -1, labels).astype(np.int32)
