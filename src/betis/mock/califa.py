"""A mock galaxy as a cube of the CALIFA survey (PMAS/PPak): V500, V1200 or COMB of DR3.

The survey removes the Galactic extinction, so these cubes have none.

References
----------
Garcia-Benito et al. 2015, A&A 576 A135, sections 4 and 5; Sanchez et al. 2016, A&A 594 A36.
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

_BAD_ERROR = 1e10
"""What the survey writes as the error of a bad voxel."""
_POINTINGS = 3
"""Of the dither: how many fibres cover a spaxel."""


def extensions(galaxy: Galaxy, setup: Setup) -> tuple[Extension, ...]:
    """Return the extensions of the cube; outside the field of view BADPIX is 1."""
    options = galaxy.options
    axes = {
        **reference_pixel(options),
        **spaxel_steps(setup, "CDELT{0}"),
        **wave_cards(setup, "AWAV", "CDELT3"),
    }

    def part(name: str, fill: Any, dtype: str = ">f4") -> Extension:
        return cube_extension(options, setup, fill, {"EXTNAME": name, **axes}, dtype)

    return (
        cube_extension(
            options, setup, lambda v: v.blank(v.flux, 0.0), {**_primary_cards(setup), **axes}
        ),
        part("ERROR", _error),
        part("ERRWEIGHT", lambda v: v.marked(1, 0)),
        part("BADPIX", lambda v: v.marked(0, 1), "u1"),
        part("FIBCOVER", lambda v: v.marked(_POINTINGS, 0), "u1"),
    )


def _error(voxels: Voxels) -> Float[F64, "wave y x"]:
    return voxels.blank(np.sqrt(voxels.variance), _BAD_ERROR)


def _primary_cards(setup: Setup) -> dict[str, Any]:
    return {
        "OBJECT": "BETIS MOCK",
        "TELESCOP": "CAHA 3.5",
        "INSTRUME": "PMAS",
        "INSTRMOD": "PPAK",
        "GRATID": setup.mode,
    }
