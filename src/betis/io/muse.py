"""Reader of MUSE cubes as the ESO pipeline (and mpdaf) write them: DATA, STAT, perhaps DQ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from betis.errors import InputError
from betis.io.layout import Layout, has_extension, read_layout
from betis.lsf import muse_fwhm
from betis.products import Cube

NAME = "muse"

LAYOUT = Layout(
    name=NAME,
    label="MUSE",
    flux="DATA",
    error="STAT",
    error_kind="variance",
    mask="DQ",
    default_scale=1e-20,
    default_medium="air",
    wave_range=(3000.0, 11000.0),
    lsf=muse_fwhm,
)

_ERROR_KINDS = {"", "MSE"}
"""HDUCLAS3 of a variance (ESO's data interface control document); "" where it is not said."""


def recognise(hdus: Any) -> str:
    """Return why this looks like a MUSE cube, or "" where it does not."""
    instrument = str(hdus[0].header.get("INSTRUME", "")).strip().upper()
    if instrument == "MUSE":
        return "INSTRUME is MUSE"
    if not instrument and has_extension(hdus, "DATA") and has_extension(hdus, "STAT"):
        return "it has the extensions DATA and STAT"
    return ""


def read(path: Path, hdus: Any) -> Cube:
    """Return the cube of an open MUSE file.

    Raises
    ------
    InputError
        Where DATA or STAT does not hold what its header says, and as `read_layout`.
    """
    if has_extension(hdus, "DATA") and has_extension(hdus, "STAT"):
        _require_kinds(path, hdus["DATA"].header, hdus["STAT"].header)
    return read_layout(path, hdus, LAYOUT)


def _require_kinds(path: Path, flux: Any, variance: Any) -> None:
    """Check what DATA and STAT say they hold, where they say it."""
    if str(flux.get("HDUCLAS2", "DATA")).strip().upper() != "DATA":
        raise InputError(
            f"{path}: the extension DATA says that it holds {flux['HDUCLAS2']} (HDUCLAS2), where "
            "the flux was expected; check that DATA and STAT are not swapped"
        )
    kind = str(variance.get("HDUCLAS3", "")).strip().upper()
    if kind not in _ERROR_KINDS:
        raise InputError(
            f"{path}: the extension STAT says that it holds {kind} (HDUCLAS3), where MSE, the "
            "variance, was expected; convert it"
        )
