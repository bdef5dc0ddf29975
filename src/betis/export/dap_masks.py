"""The bits of MANGA_DAPPIXMASK, from the flags of fits.

References
----------
Westfall et al. 2019, AJ 158 231, table 9; the metadata model of mangadap 4, "MANGA_DAPPIXMASK".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from betis.arrays import F64, I32
from betis.flags import Flag

__all__ = ["DONOTUSE", "NOCOV", "NOVALUE", "line_mask", "star_mask", "value_mask"]

NOCOV = 1 << 0
NOVALUE = 1 << 4
UNRELIABLE = 1 << 5
MATHERROR = 1 << 6
FITFAILED = 1 << 7
NEARBOUND = 1 << 8
DONOTUSE = 1 << 30

_BITS = {
    Flag.NO_DATA | Flag.NO_COMPONENT: NOVALUE | DONOTUSE,
    Flag.FIT_FAILED: FITFAILED | DONOTUSE,
    Flag.NOT_CONVERGED: FITFAILED | UNRELIABLE,
    Flag.AT_BOUND: NEARBOUND,
    Flag.FEW_PIXELS | Flag.BAD_CHI2 | Flag.IN_SKY_WINDOW | Flag.COARSE_KINEMATICS: UNRELIABLE,
}


def line_mask(flags: Int[I32, "bin line"]) -> Int[I32, "bin line"]:
    """Return the bits of each line of each bin; a line that is not detected is no fault."""
    return _masked(flags)


def star_mask(flags: Int[I32, " bin"]) -> Int[I32, " bin"]:
    """Return the bits of the stellar kinematics of each bin."""
    return _masked(flags)


def value_mask(values: F64, error: F64) -> I32:
    """Return the bits ``[bin, ...]`` of values that are no numbers, or whose errors are none."""
    bad = ~np.isfinite(values)
    unknown = ~(np.isfinite(error) & (error > 0))
    bits = np.where(bad, MATHERROR | DONOTUSE, 0) | np.where(unknown, MATHERROR, 0)
    return np.asarray(bits, dtype=np.int32)


def _masked(flags: I32) -> I32:
    bits = np.zeros(flags.shape, np.int32)
    for flag, meaning in _BITS.items():
        bits |= np.where(flags & int(flag), meaning, 0).astype(np.int32)
    return bits
