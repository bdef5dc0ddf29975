"""Reader of cubes of KCWI, blue and red (KCRM), as its pipelines in Python and in IDL write them.

The Python pipeline keeps flux, UNCERT and MASK in one file; the IDL one wrote three files, whose
names differ by one letter: ``*_icubes.fits``, ``*_vcubes.fits`` (variance), ``*_mcubes.fits``.

References
----------
Morrissey et al. 2018, ApJ 864 93 (gratings, slicers, resolving power); the documentation of
KCWI_DRP, https://kcwi-drp.readthedocs.io.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from betis.arrays import F64
from betis.errors import InputError
from betis.io.flux_units import flux_density_scale
from betis.io.layout import Layout, has_extension, read_layout
from betis.lsf import kcwi_resolving_power
from betis.products import Cube

NAME = "kcwi"

LAYOUT = Layout(
    name=NAME,
    label="KCWI",
    flux="PRIMARY",
    error="UNCERT",
    error_kind="sigma",
    mask="MASK",
    mask_required=True,
    default_scale=1e-16,
    wave_range=(3000.0, 11500.0),
    lsf=np.zeros_like,
)

_UNCALIBRATED = re.compile(r"electron|count|adu|\be-", re.IGNORECASE)
_INVERTED = 1e16
"""Some versions of the pipeline write ``1e+16 erg/...`` for 1e-16 (KCWI_DRP issue 123)."""


def recognise(hdus: Any) -> str:
    """Return why this looks like a KCWI cube, or "" where it does not."""
    header = hdus[0].header
    instrument = str(header.get("INSTRUME", "")).strip().upper()
    if instrument in {"KCWI", "KCRM"} and header.get("NAXIS") == 3:
        return f"INSTRUME is {instrument}"
    return ""


def read(path: Path, hdus: Any) -> Cube:
    """Return the cube of an open KCWI file.

    Raises
    ------
    InputError
        Where the flux is not calibrated, grating or slicer are not known, the file of the
        variance is missing, and as `read_layout`.
    """
    header = hdus[0].header
    fwhm = _fwhm(path, header)
    layout = replace(LAYOUT, scale=_scale(path, header), lsf=lambda wave: _constant(wave, fwhm))
    if not has_extension(hdus, LAYOUT.error):
        layout = _three_files(path, layout)
    return read_layout(path, hdus, layout)


def _constant(wave: F64, fwhm: tuple[float, float]) -> F64:
    """Return the FWHM of a grating, the same at all wavelengths: where R is quoted, over R."""
    power, center = fwhm
    middle = center if wave[0] < center < wave[-1] else 0.5 * (wave[0] + wave[-1])
    return np.full_like(wave, middle / power)


def _fwhm(path: Path, header: Any) -> tuple[float, float]:
    """Return the resolving power and the central wavelength (Angstrom; 0 where not said)."""
    arm = "R" if str(header.get("CAMERA", "")).strip().upper().startswith("R") else "B"
    grating, slicer = str(header.get(f"{arm}GRATNAM", "")), str(header.get("IFUNAM", ""))
    power = kcwi_resolving_power(grating, slicer)
    if not power:
        raise InputError(
            f"{path} has {arm}GRATNAM = {grating!r} and IFUNAM = {slicer!r}, where a grating "
            "(BL, BM, BH1, RL, RM1 ...) and a slicer (Small, Medium, Large) tell the resolution; "
            "mend the cards, or describe the cube in the table [cube] of a TOML file and give "
            "that file as --instrument"
        )
    center = header.get(f"{arm}CWAVE")
    return power, float(center) if isinstance(center, int | float) else 0.0


def _scale(path: Path, header: Any) -> float:
    """Return what 1 stands for; 0 to leave it to BUNIT."""
    unit = str(header.get("BUNIT") or "")
    if _UNCALIBRATED.search(unit):
        raise InputError(
            f"{path} has BUNIT = {unit!r}, which is not calibrated in flux; give the cube that is "
            "(*_icubes.fits)"
        )
    return 1e-16 if flux_density_scale(unit) == _INVERTED else 0.0


def _three_files(path: Path, layout: Layout) -> Layout:
    """Return the layout of a cube whose variance and mask lie beside it."""
    variance, mask = (_beside(path, letter) for letter in "vm")
    if not variance.is_file() or variance == path:
        raise InputError(
            f"{path} has no extension UNCERT and there is no file {_beside(path, 'v').name} beside "
            "it; give a cube *_icubes.fits with its *_vcubes.fits in the same folder"
        )
    known = mask.is_file() and mask != path
    return replace(
        layout,
        error="PRIMARY",
        error_kind="variance",
        error_file=variance,
        mask="PRIMARY" if known else "",
        mask_file=mask if known else None,
    )


def _beside(path: Path, letter: str) -> Path:
    return path.with_name(re.sub(r"_icube", f"_{letter}cube", path.name))
