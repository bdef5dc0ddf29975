"""The line-spread function: full width at half maximum of an instrument, in Angstrom."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from betis.arrays import F64

FWHM_PER_SIGMA = 2.0 * float(np.sqrt(2.0 * np.log(2.0)))
"""Full width at half maximum of a Gaussian of dispersion 1 (2.3548)."""


def muse_fwhm(wave: ArrayLike) -> Float[F64, " wave"]:
    """Return the FWHM (Angstrom) of MUSE's line-spread function at an observed air wavelength.

    References
    ----------
    Bacon et al. 2017, A&A 608 A1, eq. 8 (mean over the Hubble Ultra Deep Field).
    """
    w = np.asarray(wave, dtype=float)
    return np.asarray(5.866e-8 * w**2 - 9.187e-4 * w + 6.040)


def quadrature_difference(broad: ArrayLike, narrow: ArrayLike) -> Float[F64, " wave"]:
    """Return the width that broadens ``narrow`` to ``broad``; 0 where it is broader already."""
    difference = np.square(np.asarray(broad, float)) - np.square(np.asarray(narrow, float))
    return np.asarray(np.sqrt(np.maximum(difference, 0.0)))


def sami_fwhm(wave: ArrayLike) -> Float[F64, " wave"]:
    """Return the FWHM (Angstrom) of SAMI's arms: blue below their dichroic at 5850 A, red above.

    References
    ----------
    van de Sande et al. 2017, ApJ 835 104, section 2.2: 2.66 and 1.59 Angstrom.
    """
    return np.where(np.asarray(wave, dtype=float) < 5850.0, 2.66, 1.59)


def califa_fwhm(wave: ArrayLike) -> Float[F64, " wave"]:
    """Return the FWHM (Angstrom) of CALIFA's setups, told by their step: V1200, or V500 and COMB.

    References
    ----------
    Sánchez et al. 2012, A&A 538 A8; García-Benito et al. 2015, A&A 576 A135: 2.3 and 6.0 Angstrom,
    to which the pipeline brings all spectra.
    """
    w = np.asarray(wave, dtype=float)
    return np.full_like(w, 2.3 if np.median(np.diff(w)) < 1.4 else 6.0)


def kcwi_resolving_power(grating: str, slicer: str) -> float:
    """Return the resolving power of a grating and slicer of KCWI; 0 where one is unknown.

    References
    ----------
    Morrissey et al. 2018, ApJ 864 93, Table 1, at the middle of each grating's range; the red
    gratings (RL, RM1 ...) are those of the blue channel scaled to their wavelengths.
    """
    family = grating.strip().upper()[1:2] if grating.strip().upper()[:1] in {"B", "R"} else ""
    return _KCWI_POWER.get(family, 0.0) * _KCWI_SLICER.get(slicer.strip().upper()[:3], 0.0)


_KCWI_POWER = {"L": 900.0, "M": 2000.0, "H": 4500.0}
_KCWI_SLICER = {"LAR": 1.0, "MED": 2.0, "SMA": 4.0}


def without_pixel(fwhm: ArrayLike, step: ArrayLike) -> Float[F64, " wave"]:
    """Return the FWHM of a line before pixels of width ``step`` were laid over it.

    A pixel adds the variance ``step² / 12`` of a boxcar. At least half of ``fwhm`` is left, as
    where the pixels are too coarse to tell.
    """
    pixel = np.asarray(step, dtype=float) * FWHM_PER_SIGMA / np.sqrt(12.0)
    return np.maximum(quadrature_difference(fwhm, pixel), 0.5 * np.asarray(fwhm, dtype=float))
