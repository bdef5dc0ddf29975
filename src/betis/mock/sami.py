"""A mock galaxy as the two cubes, blue and red, of the SAMI Galaxy Survey, DR3.

References
----------
Croom et al. 2021, MNRAS 505 991, section 4; the headers are those of the survey's own files. The
tables QC and the matrix COVAR are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from betis.extinction import R_V_MILKY_WAY, extinction_curve
from betis.mock.galaxy import Galaxy
from betis.mock.instruments import Setup
from betis.mock.layout import (
    DEC,
    RA,
    Extension,
    cube_extension,
    image_extension,
    reference_pixel,
    spaxel_steps,
    wave_cards,
)
from betis.mock.options import MockOptions

_GRATING = {"BL": "580V", "RD": "1000R"}


def extensions(galaxy: Galaxy, setup: Setup) -> tuple[Extension, ...]:
    """Return the extensions of one arm; voxels outside the field of view are NaN."""
    options = galaxy.options

    def part(fill: Any, cards: dict[str, Any]) -> Extension:
        return cube_extension(options, setup, fill, cards, ">f8")

    return (
        part(lambda v: v.blank(v.flux, np.nan), _primary_cards(options, setup)),
        part(lambda v: v.blank(v.variance, np.nan), {"EXTNAME": "VARIANCE"}),
        part(lambda v: v.marked(1, 0), {"EXTNAME": "WEIGHT"}),
        _dust(options, setup),
    )


def _dust(options: MockOptions, setup: Setup) -> Extension:
    """Return the factor that would remove the Galactic extinction: CCM89, not applied."""
    ebv = options.av / R_V_MILKY_WAY
    factor = 10 ** (0.4 * options.av * extinction_curve("CCM89", setup.wave))
    return image_extension(
        "DUST",
        factor,
        {
            "EBVPLNCK": (ebv, "MW reddening E(B-V) from Planck v1.20"),
            "EBVSFD98": (ebv, "MW reddening E(B-V) from SFD98"),
        },
    )


def _primary_cards(options: MockOptions, setup: Setup) -> dict[str, Any]:
    return {
        "WCSAXES": (3, "Number of coordinate axes"),
        **reference_pixel(options),
        **spaxel_steps(setup, "CDELT{0}"),
        **wave_cards(setup, "AWAV", "CDELT3"),
        "CATARA": (RA, "Catalogue nominal RA_IFU coordinate (deg)"),
        "CATADEC": (DEC, "Catalogue nominal DEC_IFU coordinate (deg)"),
        "LONPOLE": (180.0, "[deg] Native longitude of celestial pole"),
        "LATPOLE": (DEC, "[deg] Native latitude of celestial pole"),
        "RADESYS": ("FK5", "Equatorial coordinate system"),
        "EQUINOX": (2000.0, "[yr] Equinox of equatorial coordinates"),
        "WCS_SRC": ("Nominal", "WCS Source"),
        "NAME": ("BETIS MOCK", "Object ID"),
        "TOTALEXP": (25200.0, "Total exposure (seconds)"),
        "ORIGIN": ("AAO", "Originating Institution"),
        "TELESCOP": ("Anglo-Australian Telescope", "Telescope Name"),
        "INSTRUME": ("AAOMEGA-SAMI", "Instrument in use"),
        "SPECTID": (setup.mode, "Spectrograph ID"),
        "GRATID": (_GRATING[setup.mode], "Disperser ID"),
        "BUNIT": ("10**(-16) erg /s /cm**2 /angstrom /pixel", "Units"),
        "Z_SPEC": (options.redshift, "Heliocentric redshift from input catalogue"),
    }
