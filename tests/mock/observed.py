"""The mock galaxy as each instrument writes it, and how each of them is read with astropy alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from betis.mock import MockOptions

SHORT = {"n_y": 10, "n_x": 9, "snr": 20.0}
"""A small field."""

CASES = {
    "muse": MockOptions(**SHORT, wave_min=6400.0, wave_max=6900.0),
    "manga": MockOptions(**SHORT, instrument="manga", wave_min=6400.0, wave_max=6900.0),
    "manga-lin": MockOptions(**SHORT, instrument="manga-lin", wave_min=6400.0, wave_max=6900.0),
    "califa": MockOptions(**SHORT, instrument="califa", wave_min=6400.0, wave_max=6900.0, av=0.3),
    "califa V1200": MockOptions(**SHORT, instrument="califa", mode="V1200", wave_min=4300.0),
    "sami": MockOptions(**SHORT, instrument="sami", wave_min=5500.0, wave_max=6900.0),
    "kcwi": MockOptions(**SHORT, instrument="kcwi", wave_min=4500.0, wave_max=5200.0),
    "kcwi RL": MockOptions(**SHORT, instrument="kcwi", mode="RL", wave_min=6900.0, wave_max=7400.0),
    "generic": MockOptions(**SHORT, instrument="generic", wave_min=6400.0, wave_max=6900.0),
}


@dataclass(frozen=True)
class Way:
    """Where a layout has its flux and error, and how it marks what is bad, by its own document."""

    flux: str
    error: str
    kind: str
    scale: float
    mask: str = ""
    bad_bits: int = ~0


WAYS = {
    "muse": Way("DATA", "STAT", "variance", 1e-20),
    "manga": Way("FLUX", "IVAR", "ivar", 1e-17, "MASK", 1 | 4 | 8 | 1024),
    "manga-lin": Way("FLUX", "IVAR", "ivar", 1e-17, "MASK", 1 | 4 | 8 | 1024),
    "califa": Way("PRIMARY", "ERROR", "sigma", 1e-16, "BADPIX"),
    "sami": Way("PRIMARY", "VARIANCE", "variance", 1e-16),
    "kcwi": Way("PRIMARY", "UNCERT", "sigma", 1e-16, "MASK"),
    "generic": Way("SCI", "ERR", "sigma", 1e-18, "DQ", 4),
}


def read_plainly(path, instrument):
    """Return flux and sigma (1e-20 erg/s/cm²/Angstrom), mask and axis (Angstrom) by astropy."""
    way = WAYS[instrument]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path) as hdus:
            hdus.verify("exception")
            header = hdus[way.flux].header
            unit = way.scale / 1e-20
            flux = hdus[way.flux].data.astype(float) * unit
            error = hdus[way.error].data.astype(float)
            mask = (
                hdus[way.mask].data.astype(int) & way.bad_bits != 0
                if way.mask
                else ~np.isfinite(flux)
            )
            wave = third_axis(WCS(header), header["NAXIS3"])
    with np.errstate(divide="ignore"):
        sigma = {"variance": np.sqrt(error), "ivar": error**-0.5, "sigma": error}[way.kind]
    return flux, sigma * unit, mask, wave


def third_axis(wcs, count):
    """Return the wavelengths (Angstrom) of the pixels of the third axis."""
    pixels = np.column_stack([np.zeros((count, 2)), np.arange(count)])
    return wcs.all_pix2world(pixels, 0)[:, 2] * wcs.wcs.cunit[2].to("Angstrom")
