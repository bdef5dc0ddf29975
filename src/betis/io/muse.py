"""Reader of MUSE cubes as the ESO pipeline (and mpdaf) write them: DATA, STAT, perhaps DQ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from betis.errors import InputError
from betis.io.cube_source import CompressedExtension, Extension, VarianceFileSource, image_extension
from betis.io.flux_units import flux_density_scale
from betis.io.wcs import read_celestial
from betis.lsf import muse_fwhm
from betis.products import Cube, Sky
from betis.wavelength import WaveAxis, read_axis

NAME = "muse"

DEFAULT_SCALE = 1e-20
"""erg/s/cm²/Angstrom that 1 stands for where there is no BUNIT."""

WAVE_RANGE = (3000.0, 11000.0)
"""Angstrom within which any cube of MUSE lies, a de-redshifted one too."""

_ERROR_KINDS = {"", "MSE"}
"""HDUCLAS3 of a variance (ESO's data interface control document); "" where it is not said."""


def recognise(hdus: Any) -> str:
    """Return why this looks like a MUSE cube, or "" where it does not."""
    instrument = str(hdus[0].header.get("INSTRUME", "")).strip().upper()
    names = [hdu.name for hdu in hdus]
    if instrument == "MUSE":
        return "INSTRUME is MUSE"
    if not instrument and "DATA" in names and "STAT" in names:
        return "it has the extensions DATA and STAT"
    return ""


def read(path: Path, hdus: Any) -> Cube:
    """Return the cube of an open MUSE file.

    Raises
    ------
    InputError
        Where DATA or STAT is missing, is no cube or does not hold what its header says, their
        shapes differ, or the axes of the cube cannot be understood.
    """
    header = hdus[_index(path, hdus, "DATA", "flux")].header
    source = _source(path, hdus)
    try:
        _require_kinds(header, hdus["STAT"].header)
        axis = _axis(header)
        scale = flux_scale(str(header.get("BUNIT") or ""))
        wcs = read_celestial(header)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Cube(
        source=source,
        wave=axis.wave,
        edges=axis.edges,
        medium=axis.medium or "air",
        lsf=muse_fwhm(axis.wave),
        sky=Sky(shape=source.flux.shape[1:], wcs=wcs, flux_scale=scale),
        instrument=NAME,
        path=str(path),
    )


def flux_scale(unit: str) -> float:
    """Return what 1 stands for (erg/s/cm²/Angstrom); 0 where BUNIT is no unit of flux density.

    Raises
    ------
    InputError
        Where the unit says that this is no flux per wavelength; see `flux_density_scale`.
    """
    return flux_density_scale(unit) if unit.strip() else DEFAULT_SCALE


def _source(path: Path, hdus: Any) -> VarianceFileSource:
    flux = image_extension(path, hdus, _index(path, hdus, "DATA", "flux"))
    variance = image_extension(path, hdus, _index(path, hdus, "STAT", "variance"))
    _require_same_shape(path, flux, variance)
    if "DQ" not in [hdu.name for hdu in hdus]:
        return VarianceFileSource(flux=flux, variance=variance)
    quality = image_extension(path, hdus, _index(path, hdus, "DQ", "data quality"))
    _require_same_shape(path, flux, quality)
    return VarianceFileSource(flux=flux, variance=variance, quality=quality)


def _axis(header: Any) -> WaveAxis:
    axis = read_axis(header)
    low, high = WAVE_RANGE
    if axis.wave[0] < low or axis.wave[-1] > high:
        raise InputError(
            f"the wavelengths run from {axis.wave[0]:.6g} to {axis.wave[-1]:.6g} A, where a MUSE "
            f"cube lies within {low:g} to {high:g} A; check CRVAL3, CRPIX3, CD3_3 and CUNIT3"
        )
    return axis


def _require_kinds(flux: Any, variance: Any) -> None:
    """Check what DATA and STAT say they hold, where they say it."""
    if str(flux.get("HDUCLAS2", "DATA")).strip().upper() != "DATA":
        raise InputError(
            f"the extension DATA says that it holds {flux['HDUCLAS2']} (HDUCLAS2), where the flux "
            "was expected; check that DATA and STAT are not swapped"
        )
    kind = str(variance.get("HDUCLAS3", "")).strip().upper()
    if kind not in _ERROR_KINDS:
        raise InputError(
            f"the extension STAT says that it holds {kind} (HDUCLAS3), where MSE, the variance, "
            "was expected; convert it"
        )


def _require_same_shape(
    path: Path, flux: Extension | CompressedExtension, other: Extension | CompressedExtension
) -> None:
    if flux.shape != other.shape:
        raise InputError(
            f"{path}: {flux.name} has the shape {flux.shape} and {other.name} {other.shape} "
            "(wave, y, x), where they must be the same"
        )


def _index(path: Path, hdus: Any, name: str, role: str) -> int:
    names = [hdu.name for hdu in hdus]
    if names.count(name) != 1:
        count = names.count(name) or "no"
        raise InputError(
            f"{path} has {count} extension{'s' if name in names else ''} {name} (the {role}); it "
            f"has {', '.join(name or 'one without a name' for name in names)}. A MUSE cube needs "
            "one DATA and one STAT"
        )
    return names.index(name)
