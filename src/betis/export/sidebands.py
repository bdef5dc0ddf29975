"""The noise of the data near each line."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.compute import blocks
from betis.products import Spectra, SpectraRows

__all__ = ["noise_near"]

_HALF_WIDTH = 30.0
"""Angstrom to either side of a line."""


def noise_near(spectra: SpectraRows, wave: Float[F64, " line"]) -> Float[F64, "spectrum line"]:
    """Return the median error of the pixels within 30 Angstrom of each line.

    Parameters
    ----------
    spectra
        Read in blocks.
    wave : Angstrom
        Where the lines lie on the axis of the spectra.

    Returns
    -------
    Flux density; NaN where there is no good pixel.
    """
    noise = np.full((spectra.n_spectrum, wave.size), np.nan)
    for rows in blocks(spectra.n_spectrum):
        part = spectra.take(rows)
        for index, center in enumerate(wave):
            noise[rows, index] = _median_error(part, float(center))
    return noise


def _median_error(part: Spectra, center: float) -> Float[F64, " spectrum"]:
    near = np.abs(part.wave - center) <= _HALF_WIDTH
    error = np.where(part.mask[:, near], np.nan, part.error[:, near])
    result = np.full(part.n_spectrum, np.nan)
    known = np.isfinite(error).any(axis=1)
    if known.any():
        result[known] = np.nanmedian(error[known], axis=1)
    return result
