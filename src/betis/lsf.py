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
