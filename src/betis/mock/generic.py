"""A mock galaxy as a cube of a layout that no reader knows, and the TOML file that describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.io.fits import write_text
from betis.mock.galaxy import Galaxy
from betis.mock.instruments import Setup
from betis.mock.layout import (
    Extension,
    Voxels,
    cube_extension,
    empty_primary,
    reference_pixel,
    spaxel_steps,
    wave_cards,
)

_OUTSIDE = 4
"""Bit of the mask that makes a voxel bad; bit 1 says something harmless."""


def extensions(galaxy: Galaxy, setup: Setup) -> tuple[Extension, ...]:
    """Return the extensions of the cube; outside the field of view the mask has `_OUTSIDE`."""
    options = galaxy.options
    axes = {
        **reference_pixel(options),
        **spaxel_steps(setup),
        **wave_cards(setup, "LINEAR", "CD3_3"),
    }

    def part(name: str, fill: Any, dtype: str = ">f4") -> Extension:
        return cube_extension(options, setup, fill, {"EXTNAME": name, **axes}, dtype)

    return (
        empty_primary({"OBJECT": "BETIS MOCK"}),
        part("SCI", lambda v: v.blank(v.flux, 0.0)),
        part("ERR", _error),
        part("DQ", lambda v: v.marked(1, _OUTSIDE), ">i4"),
    )


def write_description(galaxy: Galaxy, path: Path) -> None:
    """Write the TOML file with the table [cube]: the fields of `betis.options.CubeOptions`."""
    setup = galaxy.options.setups[0]
    fwhm = float(setup.lsf(setup.wave[:1])[0])
    write_text(
        path,
        f"""[cube]
flux = "SCI"
error = "ERR"
error_kind = "sigma"
mask = "DQ"
mask_bits = {_OUTSIDE}
scale = {setup.scale:g}
medium = "{setup.medium}"
fwhm = {fwhm:g}
""",
    )


def _error(voxels: Voxels) -> Float[F64, "wave y x"]:
    return voxels.blank(np.sqrt(voxels.variance), 1.0)
