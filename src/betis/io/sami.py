"""Reader of SAMI's cubes (DR2, DR3), one arm a file: flux in the primary, VARIANCE.

In binned cubes each spaxel of a bin holds a copy of the bin's mean spectrum, and BIN_MASK tells
the bins.

References
----------
Croom et al. 2021, MNRAS 505 991 (DR3); van de Sande et al. 2017, ApJ 835 104, section 2.2 (the
resolution).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from betis.io.layout import Layout, read_layout
from betis.lsf import sami_fwhm
from betis.products import Cube

NAME = "sami"

LAYOUT = Layout(
    name=NAME,
    label="SAMI",
    flux="PRIMARY",
    error="VARIANCE",
    error_kind="variance",
    copies="BIN_MASK",
    default_scale=1e-16,
    default_medium="air",
    wave_range=(3000.0, 8500.0),
    lsf=sami_fwhm,
)


def recognise(hdus: Any) -> str:
    """Return why this looks like a cube of SAMI, or "" where it does not."""
    header = hdus[0].header
    instrument = str(header.get("INSTRUME", "")).strip().upper()
    if "SAMI" in instrument and header.get("NAXIS") == 3:
        return f"INSTRUME is {instrument}"
    return ""


def read(path: Path, hdus: Any) -> Cube:
    """Return the cube of an open file of SAMI.

    Raises
    ------
    InputError
        As `read_layout`.
    """
    return read_layout(path, hdus, LAYOUT)
