"""Reader of MUSE cubes as the ESO pipeline (and mpdaf) write them: DATA, STAT, perhaps DQ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from betis.errors import InputError
from betis.io.cube_source import VarianceFileSource, image_extension
from betis.io.wcs import celestial_cards
from betis.lsf import muse_fwhm
from betis.products import Cube, Sky
from betis.wavelength import read_axis

NAME = "muse"

DEFAULT_SCALE = 1e-20
"""erg/s/cm²/Angstrom that 1 stands for where BUNIT does not say."""


def recognise(hdus: Any) -> str:
    """Return why this looks like a MUSE cube, or "" where it does not."""
    instrument = str(hdus[0].header.get("INSTRUME", "")).strip().upper()
    names = [hdu.name for hdu in hdus]
    if instrument == "MUSE":
        return "INSTRUME is MUSE"
    if "DATA" in names and "STAT" in names:
        return "it has the extensions DATA and STAT"
    return ""


def read(path: Path, hdus: Any) -> Cube:
    """Return the cube of an open MUSE file.

    Raises
    ------
    InputError
        Where DATA or STAT is missing, is not 3-D, or their shapes differ.
    """
    flux = image_extension(path, _extension(hdus, path, "DATA", "flux"))
    variance = image_extension(path, _extension(hdus, path, "STAT", "variance"))
    if flux.shape != variance.shape:
        raise InputError(
            f"{path}: DATA has the shape {flux.shape} and STAT {variance.shape} (wave, y, x), "
            "where they must be the same"
        )
    names = [hdu.name for hdu in hdus]
    quality = image_extension(path, hdus["DQ"]) if "DQ" in names else None
    header = hdus["DATA"].header
    axis = read_axis(header)
    scale = flux_scale(str(header.get("BUNIT", "")))
    return Cube(
        source=VarianceFileSource(flux=flux, variance=variance, quality=quality),
        wave=axis.wave,
        edges=axis.edges,
        medium=axis.medium or "air",
        lsf=muse_fwhm(axis.wave),
        sky=Sky(shape=flux.shape[1:], wcs=celestial_cards(header), flux_scale=scale),
        instrument=NAME,
        path=str(path),
    )


def flux_scale(unit: str) -> float:
    """Return what 1 stands for (erg/s/cm²/Angstrom) from a BUNIT such as ``10**(-20)*erg/...``."""
    match = re.search(r"10\s*(?:\*\*|\^)\s*\(?\s*(-?\d+)|\b1(?:\.0*)?e(-?\d+)", unit, re.IGNORECASE)
    return float(f"1e{match.group(1) or match.group(2)}") if match else DEFAULT_SCALE


def _extension(hdus: Any, path: Path, name: str, role: str) -> Any:
    names = [hdu.name for hdu in hdus]
    if name not in names:
        raise InputError(
            f"{path} has no extension {name} (the {role}); it has {', '.join(names)}. A MUSE cube "
            "needs DATA and STAT"
        )
    return hdus[name]
