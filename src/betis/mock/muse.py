"""A mock galaxy as a MUSE Phase 3 cube: PRIMARY, DATA and STAT.

References
----------
ESO Phase 3 Standard (GEN-SPE-ESO-33000-5335), section on IFS data cubes; ESO's Data Interface
Control Document (GEN-SPE-ESO-19400-0794), version 6, for the HDUCLASS cards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from betis.mock.galaxy import Galaxy
from betis.mock.instruments import Setup
from betis.mock.layout import (
    DEC,
    RA,
    Extension,
    cube_extension,
    empty_primary,
    reference_pixel,
    spaxel_steps,
    wave_cards,
)
from betis.mock.options import MockOptions

_BUNIT = "10**(-20)*erg/s/cm**2/Angstrom"


def extensions(galaxy: Galaxy, setup: Setup) -> tuple[Extension, ...]:
    """Return the extensions of the cube; voxels outside the field of view are NaN."""
    options = galaxy.options
    axes = _wcs_cards(options, setup)
    flux = {**axes, "EXTNAME": ("DATA", "extension name"), **_CLASS, **_KIND["DATA"]}
    errors = {**axes, "EXTNAME": ("STAT", "extension name"), **_CLASS, **_KIND["STAT"]}
    return (
        empty_primary({**_PRIMARY, **_range_cards(setup)}),
        cube_extension(options, setup, lambda v: v.blank(v.flux, np.nan), flux),
        cube_extension(options, setup, lambda v: v.blank(v.variance, np.nan), errors),
    )


def _range_cards(setup: Setup) -> dict[str, Any]:
    edges = setup.edges
    return {
        "WAVELMIN": (0.1 * edges[0], "[nm] Minimum wavelength"),
        "WAVELMAX": (0.1 * edges[-1], "[nm] Maximum wavelength"),
    }


def _wcs_cards(options: MockOptions, setup: Setup) -> dict[str, Any]:
    """Return the WCS as ESO's pipeline writes it."""
    return {
        "WCSAXES": (3, "Number of coordinate axes"),
        **reference_pixel(options),
        **spaxel_steps(setup),
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "LONPOLE": (180.0, "[deg] Native longitude of celestial pole"),
        "LATPOLE": (DEC, "[deg] Native latitude of celestial pole"),
        "RADESYS": ("ICRS", "Equatorial coordinate system"),
        **wave_cards(setup, "AWAV", "CD3_3"),
        "CD1_3": 0.0,
        "CD2_3": 0.0,
        "CD3_1": 0.0,
        "CD3_2": 0.0,
    }


_PRIMARY = {
    "ORIGIN": ("ESO-PARANAL", "European Southern Observatory"),
    "TELESCOP": ("ESO-VLT-U4", "ESO <TEL>"),
    "INSTRUME": ("MUSE", "Instrument used."),
    "RA": (RA, "[deg] pointing (J2000)"),
    "DEC": (DEC, "[deg] pointing (J2000)"),
    "EQUINOX": (2000.0, "Standard FK5"),
    "RADECSYS": ("FK5", "Coordinate system"),
    "EXPTIME": (3600.0, "Integration time"),
    "MJD-OBS": (57000.0, "Obs start"),
    "DATE-OBS": ("2014-12-09T00:00:00.000", "Observing date"),
    "OBJECT": ("BETIS MOCK", "Original target."),
    "PRODCATG": ("SCIENCE.CUBE.IFS", "Data product category"),
    "FLUXCAL": ("ABSOLUTE", "Type of flux calibration"),
    "SPECSYS": ("BARYCENT", "Reference frame of the wavelengths"),
    "BUNIT": _BUNIT,
    "HIERARCH ESO INS MODE": ("WFM-NOAO-N", "Instrument mode used."),
}

_CLASS = {
    "HDUCLASS": ("ESO", "class name (ESO format)"),
    "HDUDOC": ("DICD", "document with class description"),
    "HDUVERS": ("DICD version 6", "version number (according to spec v2.5.1)"),
    "HDUCLAS1": ("IMAGE", "Image data format"),
}

_KIND = {
    "DATA": {
        "HDUCLAS2": ("DATA", "this extension contains the data itself"),
        "ERRDATA": ("STAT", "pointer to the variance extension"),
        "OBJECT": "BETIS MOCK (DATA)",
        "BUNIT": (_BUNIT, "data unit type"),
    },
    "STAT": {
        "HDUCLAS2": ("ERROR", "this extension contains variance"),
        "HDUCLAS3": ("MSE", "the extension contains variances (sigma**2)"),
        "SCIDATA": ("DATA", "pointer to the data extension"),
        "OBJECT": "BETIS MOCK (STAT)",
        "BUNIT": (f"({_BUNIT})**2", "data unit type"),
    },
}
