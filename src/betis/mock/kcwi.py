"""A mock galaxy as a flux-calibrated cube (icubes) of Keck's KCWI and KCRM.

References
----------
Morrissey et al. 2018, ApJ 864 93; the extensions and cards are those of Keck's Python pipeline,
KCWI_DRP, which converts the wavelengths to vacuum unless it is told not to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.mock.galaxy import Galaxy
from betis.mock.instruments import Setup
from betis.mock.layout import (
    Extension,
    Voxels,
    cube_extension,
    reference_pixel,
    spaxel_steps,
    wave_cards,
)
from betis.mock.options import MockOptions

_CAMERA = {"BL": ("BLUE", 4550.0), "RL": ("RED", 7300.0)}
"""Camera and central wavelength (Angstrom) of a grating."""


def extensions(galaxy: Galaxy, setup: Setup) -> tuple[Extension, ...]:
    """Return the extensions of the cube; outside the field of view MASK is 1."""
    options = galaxy.options
    axes = _wcs_cards(options, setup)

    def part(name: str, fill: Any, dtype: str = ">f4") -> Extension:
        return cube_extension(options, setup, fill, {"EXTNAME": name, **axes}, dtype)

    return (
        cube_extension(
            options, setup, lambda v: v.blank(v.flux, 0.0), {**_primary_cards(setup), **axes}
        ),
        part("UNCERT", _uncertainty),
        part("MASK", lambda v: v.marked(0, 1), "u1"),
        part("FLAGS", lambda v: v.marked(0, 0), "u1"),
    )


def _uncertainty(voxels: Voxels) -> Float[F64, "wave y x"]:
    return voxels.blank(np.sqrt(voxels.variance), 0.0)


def _wcs_cards(options: MockOptions, setup: Setup) -> dict[str, Any]:
    return {
        "WCSDIM": (3, "number of dimensions in WCS"),
        "WCSNAME": "KCWI",
        "EQUINOX": 2000.0,
        "RADESYS": "FK5",
        **reference_pixel(options),
        **spaxel_steps(setup),
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        **wave_cards(setup, "WAVE", "CD3_3"),
        "LONPOLE": (180.0, "Native longitude of Celestial pole"),
        "LATPOLE": (0.0, "Native latitude of Celestial pole"),
    }


def _primary_cards(setup: Setup) -> dict[str, Any]:
    camera, center = _CAMERA[setup.mode]
    return {
        "TELESCOP": "Keck II",
        "INSTRUME": "KCWI",
        "OBJECT": "BETIS MOCK",
        "CAMERA": (camera, "Camera name"),
        "IFUNAM": ("Medium", "IFU"),
        "IFUNUM": (2, "IFU number (1:Large, 2:Medium, 3:Small)"),
        f"{camera[0]}GRATNAM": (setup.mode, "Grating name"),
        f"{camera[0]}CWAVE": (center, "Central wavelength"),
        "BUNIT": ("FLAM16", "b units (*10^{-16} erg cm^{-2} s^{-1} A^{-1})"),
    }
