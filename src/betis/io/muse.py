"""Reader of MUSE cubes as the ESO pipeline (and mpdaf) write them: DATA, STAT, perhaps DQ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        As `read_layout`.
    """
    return read_layout(path, hdus, LAYOUT)
