"""Reader of MaNGA's cubes, LOGCUBE and LINCUBE (SDSS DR13 to DR17): FLUX, IVAR, MASK, WAVE.

References
----------
Law et al. 2016, AJ 152 83 (data reduction, appendix B: the file's extensions and mask bits);
Law et al. 2021, AJ 161 52 (the line-spread function before and after the pixels).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError
from betis.io.layout import Layout, has_extension, read_layout, vector
from betis.lsf import without_pixel
from betis.products import Cube

NAME = "manga"

BAD_BITS = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 10
"""NOCOV, DEADFIBER, FORESTAR and DONOTUSE; LOWCOV (bit 1) is left: its ivar says as much."""


def _no_lsf(wave: F64) -> F64:
    return np.full_like(wave, np.nan)


LAYOUT = Layout(
    name=NAME,
    label="MaNGA",
    flux="FLUX",
    error="IVAR",
    error_kind="ivar",
    mask="MASK",
    mask_bits=BAD_BITS,
    mask_required=True,
    wave_copy="WAVE",
    default_scale=1e-17,
    default_medium="vacuum",
    wave_range=(3000.0, 11000.0),
    lsf=_no_lsf,
)


def recognise(hdus: Any) -> str:
    """Return why this looks like a MaNGA cube, or "" where it does not."""
    instrument = str(hdus[0].header.get("INSTRUME", "")).strip().upper()
    if instrument == "MANGA" and has_extension(hdus, "FLUX"):
        return "INSTRUME is MaNGA"
    named = all(has_extension(hdus, name) for name in ("FLUX", "IVAR", "MASK", "WAVE"))
    if named and "PLATEIFU" in hdus[0].header:
        return "it has PLATEIFU and the extensions FLUX, IVAR, MASK and WAVE"
    return ""


def refuse(hdus: Any) -> str:
    """Return what a file of MaNGA is that is no cube, and what is needed; "" for any other."""
    if not recognise(hdus) or hdus["FLUX"].header.get("NAXIS") != 2:
        return ""
    return "holds MaNGA's row-stacked spectra (RSS); give the LOGCUBE or LINCUBE of that galaxy"


def read(path: Path, hdus: Any) -> Cube:
    """Return the cube of an open MaNGA file.

    Raises
    ------
    InputError
        Where the spectral resolution is not in the file, and as `read_layout`.
    """
    return read_layout(path, hdus, replace(LAYOUT, lsf=lambda wave: _fwhm(path, hdus, wave)))


def _fwhm(path: Path, hdus: Any, wave: Float[F64, " wave"]) -> Float[F64, " wave"]:
    """Return the FWHM before the pixels; lines are integrated over the pixels by their model."""
    if has_extension(hdus, "PRESPECRES"):
        return wave / _resolving_power(path, hdus, "PRESPECRES", wave.size)
    fwhm = wave / _resolving_power(path, hdus, "SPECRES", wave.size)
    return without_pixel(fwhm, np.gradient(wave))


def _resolving_power(path: Path, hdus: Any, name: str, n_wave: int) -> Float[F64, " wave"]:
    """Return wavelength / FWHM, filled in where the survey could not measure it."""
    power = vector(path, hdus, name, "spectral resolution", LAYOUT.label)
    known = np.isfinite(power) & (power > 0)
    if power.size != n_wave or not known.any():
        raise InputError(
            f"{path}: the extension {name} has {known.sum()} usable values, where one for each of "
            f"{n_wave} wavelengths was expected; download the cube again"
        )
    pixel = np.arange(n_wave)
    return np.interp(pixel, pixel[known], power[known])
