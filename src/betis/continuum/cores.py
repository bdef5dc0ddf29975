"""The cores of masked lines, where the continuum is not fitted but believed."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.products import Spectra
from betis.wavelength import C_KMS

__all__ = ["Cores", "contrasts"]


_CORE = 150.0
"""Half-width of a core, km/s: where the flux of a line is."""
_SURROUNDINGS = 30.0
"""Reach of the surroundings, Angstrom: as far as the local background of a line."""


class Cores(NamedTuple):
    """Places of the lines, Angstrom ``[core]``, and the shares of their pixels ``[core, wave]``."""

    wave: Float[F64, " core"]
    shares: Float[F64, "core wave"]


def contrasts(
    spectra: Spectra, line_waves: Float[F64, " line"], usable: Bool[B8, " wave"]
) -> Cores:
    """Return what gives the depth of a model in each core relative to its surroundings.

    The mean over the core minus the mean over the pixels around it: a line fit takes out the level
    of the surroundings, so that only the difference is left in its flux. Lines without pixels in
    the spectra are left out, and so are those whose core is fitted.
    """
    wave = spectra.wave
    places, shares = [], []
    for line_wave in np.atleast_1d(line_waves):
        velocity = np.abs(wave / line_wave - 1) * C_KMS
        core = velocity < _CORE
        around = (np.abs(wave - line_wave) < _SURROUNDINGS) & (velocity > 2 * _CORE)
        if core.any() and around.any() and not usable[core].any():
            places.append(float(line_wave))
            shares.append(core / core.sum() - around / around.sum())
    return Cores(np.array(places), np.array(shares).reshape(len(places), wave.size))
