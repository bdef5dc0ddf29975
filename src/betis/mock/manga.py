"""A mock galaxy as a cube of the MaNGA survey: LOGCUBE or LINCUBE of DR17.

References
----------
Law et al. 2016, AJ 152 83, section 8 and appendix B; data model of SDSS DR17,
``MANGA_SPECTRO_REDUX/DRPVER/PLATE4/stack``. Images of bands and of the PSF, and OBSINFO, are left
out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from betis.arrays import F64
from betis.extinction import R_V_MILKY_WAY
from betis.lsf import FWHM_PER_SIGMA
from betis.mock.galaxy import Galaxy
from betis.mock.instruments import Setup, after_pixel
from betis.mock.layout import (
    DEC,
    RA,
    Extension,
    Voxels,
    cube_extension,
    empty_primary,
    image_extension,
    reference_pixel,
    spaxel_steps,
    wave_cards,
)
from betis.mock.options import MockOptions

_BUNIT = "1E-17 erg/s/cm^2/Ang/spaxel"
_NOCOV, _DONOTUSE = 1 << 0, 1 << 10
"""Bits of MANGA_DRP3PIXMASK: no coverage in the cube; do not use this spaxel for science."""


def extensions(galaxy: Galaxy, setup: Setup) -> tuple[Extension, ...]:
    """Return the extensions of the cube; outside the field of view IVAR is 0 and MASK says so."""
    options = galaxy.options
    axes = _wcs_cards(options, setup)
    flux, errors, mask = ({"EXTNAME": name, **axes, **_KIND[name]} for name in _KIND)
    return (
        empty_primary(_primary_cards(options)),
        cube_extension(options, setup, lambda v: v.blank(v.flux, 0.0), flux),
        cube_extension(options, setup, _inverse_variance, errors),
        cube_extension(options, setup, lambda v: v.marked(0, _NOCOV | _DONOTUSE), mask, ">i4"),
        *_resolution(options, setup, axes),
    )


def _inverse_variance(voxels: Voxels) -> Float[F64, "wave y x"]:
    return voxels.blank(1.0 / voxels.variance, 0.0)


def _resolution(options: MockOptions, setup: Setup, axes: dict[str, Any]) -> tuple[Extension, ...]:
    """Return the extensions of the axis and of the resolution, after and before the pixel."""
    wave, before = setup.wave, setup.lsf(setup.wave)
    after = after_pixel(before, np.diff(setup.edges))

    def sigma(name: str, fwhm: Float[F64, " wave"]) -> Extension:
        cards = {"EXTNAME": name, **axes, "BUNIT": "Angstrom"}
        return cube_extension(options, setup, lambda v: _spread(fwhm / FWHM_PER_SIGMA, v), cards)

    return (
        sigma("LSFPOST", after),
        sigma("LSFPRE", before),
        image_extension("WAVE", wave, {"BUNIT": "Angstrom"}),
        image_extension("SPECRES", wave / after),
        image_extension("SPECRESD", np.zeros(wave.size)),
        image_extension("PRESPECRES", wave / before),
        image_extension("PRESPECRESD", np.zeros(wave.size)),
    )


def _spread(values: Float[F64, " wave"], voxels: Voxels) -> NDArray[Any]:
    return np.broadcast_to(values[:, None, None], voxels.flux.shape)


def _wcs_cards(options: MockOptions, setup: Setup) -> dict[str, Any]:
    return {
        **reference_pixel(options),
        **spaxel_steps(setup),
        **wave_cards(setup, "WAVE-LOG" if setup.axis.logarithmic else "WAVE", "CD3_3"),
        "RADESYS": "FK5",
        "EQUINOX": 2000.0,
    }


def _primary_cards(options: MockOptions) -> dict[str, Any]:
    return {
        "TELESCOP": "SDSS 2.5-M",
        "INSTRUME": "MaNGA",
        "SRVYMODE": "MaNGA dither",
        "PLATEIFU": ("0000-00000", "none: a mock galaxy"),
        "MANGAID": ("0-000000", "none: a mock galaxy"),
        "OBJRA": (RA, "Right ascension of the science object in J2000"),
        "OBJDEC": (DEC, "Declination of the science object in J2000"),
        "EBVGAL": (options.av / R_V_MILKY_WAY, "E(B-V) from SDSS"),
        "VERSDRP3": "v3_1_1",
        "DRPVER": "v3_1_1",
        "BUNIT": (_BUNIT, "Specific intensity (per spaxel)"),
        "MASKNAME": ("MANGA_DRP3PIXMASK", "Bits in sdssMaskbits.par used by mask extension"),
    }


_KIND: dict[str, dict[str, Any]] = {
    "FLUX": {
        "BUNIT": (_BUNIT, "Specific intensity (per spaxel)"),
        "HDUCLASS": ("SDSS", "SDSS format class"),
        "HDUCLAS1": "CUBE",
        "HDUCLAS2": "DATA",
        "ERRDATA": ("IVAR", "Error extension name"),
        "QUALDATA": ("MASK", "Mask extension name"),
    },
    "IVAR": {
        "HDUCLASS": ("SDSS", "SDSS format class"),
        "HDUCLAS1": "CUBE",
        "HDUCLAS2": "ERROR",
        "HDUCLAS3": ("INVMSE", "Value is inverse mean-square error"),
        "SCIDATA": ("FLUX", "Science extension name"),
        "QUALDATA": ("MASK", "Mask extension name"),
    },
    "MASK": {
        "HDUCLASS": ("SDSS", "SDSS format class"),
        "HDUCLAS1": "CUBE",
        "HDUCLAS2": "QUALITY",
        "HDUCLAS3": ("FLAG64BIT", "Values are bitmask"),
        "SCIDATA": ("FLUX", "Science extension name"),
        "ERRDATA": ("IVAR", "Error extension name"),
    },
}
