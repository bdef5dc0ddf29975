"""Reader of CALIFA's cubes (PMAS/PPak, DR2 and DR3): flux in the primary, ERROR, BADPIX.

References
----------
García-Benito et al. 2015, A&A 576 A135, sections 3 and 4 (data format; the Galactic extinction
is removed by the pipeline); Sánchez et al. 2016, A&A 594 A36 (setups, resolution, COMB).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from betis.io.layout import Layout, has_extension, read_layout
from betis.lsf import califa_fwhm
from betis.products import Cube

NAME = "califa"

LAYOUT = Layout(
    name=NAME,
    label="CALIFA",
    flux="PRIMARY",
    error="ERROR",
    error_kind="sigma",
    mask="BADPIX",
    mask_required=True,
    default_scale=1e-16,
    default_medium="air",
    wave_range=(3000.0, 11000.0),
    lsf=califa_fwhm,
    dereddened=True,
)


def recognise(hdus: Any) -> str:
    """Return why this looks like a CALIFA cube, or "" where it does not."""
    return _reason(hdus) if hdus[0].header.get("NAXIS") == 3 else ""


def refuse(hdus: Any) -> str:
    """Return what a file of CALIFA is that is no cube, and what is needed; "" for any other."""
    if hdus[0].header.get("NAXIS") != 2 or not _reason(hdus):
        return ""
    return (
        f"holds {hdus[0].header['NAXIS2']} row-stacked spectra (RSS) of CALIFA; give the rscube "
        "of that galaxy"
    )


def read(path: Path, hdus: Any) -> Cube:
    """Return the cube of an open CALIFA file.

    Raises
    ------
    InputError
        As `read_layout`.
    """
    return read_layout(path, hdus, LAYOUT)


def _reason(hdus: Any) -> str:
    instrument = str(hdus[0].header.get("INSTRUME", "")).strip().upper()
    if instrument.startswith("PMAS"):
        return "INSTRUME is PMAS"
    if not instrument and has_extension(hdus, "ERROR") and has_extension(hdus, "BADPIX"):
        return "it has the extensions ERROR and BADPIX"
    return ""
