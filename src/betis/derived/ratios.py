"""Ratios of lines, and the density that one of them tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.derived.fluxes import Fluxes, Quantity

__all__ = ["DIAGNOSTICS", "electron_density", "log_ratio", "sii_density"]

DIAGNOSTICS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "LOG_NII_HA": (("NII6583",), ("Ha6563",), "log10 [N II] 6583 / Halpha"),
    "LOG_SII_HA": (("SII6716", "SII6731"), ("Ha6563",), "log10 [S II] 6716+6731 / Halpha"),
    "LOG_OI_HA": (("OI6300",), ("Ha6563",), "log10 [O I] 6300 / Halpha"),
    "LOG_OIII_HB": (("OIII5007",), ("Hb4861",), "log10 [O III] 5007 / Hbeta"),
}
"""Name, lines above and below, meaning."""

_LN10 = float(np.log(10))
_SII = ("SII6716", "SII6731")
_THINNEST, _DENSEST = 1.0, 1e4
"""Densities (cm^-3) between which the ratio of [S II] tells one."""
_STEP = 1e-4


def log_ratio(fluxes: Fluxes, over: Sequence[str], under: Sequence[str], meaning: str) -> Quantity:
    """Return the log10 of the ratio of two sums of lines, and its error.

    The error is linear in those of the fluxes, their covariance counted:
    ``var(ln a/b) = var a / a² + var b / b² - 2 cov(a, b) / (a b)``.
    """
    a, b = fluxes.total(over), fluxes.total(under)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.log10(a / b)
        variance = (
            fluxes.covariance(over, over) / a**2
            + fluxes.covariance(under, under) / b**2
            - 2 * fluxes.covariance(over, under) / (a * b)
        )
        error = np.sqrt(np.maximum(variance, 0.0)) / _LN10
    quantity = Quantity(value=value, error=error, unit="", meaning=meaning, lines=(*over, *under))
    return quantity.where(fluxes.usable(over, under))


def electron_density(ratio: Float[F64, " spectrum"]) -> Float[F64, " spectrum"]:
    """Return log10 of the electron density (cm^-3) from [S II] 6716/6731 at 10⁴ K.

    References
    ----------
    Proxauf, Öttl & Kimeswenger 2014, A&A 561 A10, eq. 3.
    """
    line = 0.0543 * np.tan(-3.0553 * ratio + 2.8506)
    return np.asarray(line + 6.98 + ratio * (-10.6905 + ratio * (9.9186 - 3.5442 * ratio)))


def sii_density(fluxes: Fluxes) -> Quantity:
    """Return the electron density from [S II]; NaN where the ratio is at a limit of what it tells.

    That is where it, or the ratio as many errors away as lines must have (3), lies outside 1 to 10⁴
    per cm³: a ratio near the low-density limit gives no density but an upper limit of one, and
    those that noise takes away from the limit would all be too high.
    """
    logarithm = log_ratio(fluxes, _SII[:1], _SII[1:], "")
    ratio = 10**logarithm.value
    error = ratio * _LN10 * logarithm.error
    reach = fluxes.min_snr * error
    ends = [_density(ratio + side * reach) for side in (-1.0, 0.0, 1.0)]
    told = np.all([(end > _THINNEST) & (end < _DENSEST) for end in ends], axis=0)
    slope = (electron_density(ratio + _STEP) - electron_density(ratio - _STEP)) / (2 * _STEP)
    with np.errstate(invalid="ignore"):
        spread = np.abs(slope) * error * _LN10 * ends[1]
    quantity = Quantity(
        value=ends[1],
        error=spread,
        unit="cm-3",
        meaning="electron density from [S II] 6716/6731 at 10^4 K (Proxauf+2014, eq. 3)",
        lines=_SII,
    )
    return quantity.where(told)


def _density(ratio: Float[F64, " spectrum"]) -> Float[F64, " spectrum"]:
    """Return the density (cm^-3); NaN beyond the ratios of the two limits."""
    lowest, highest = _limits()
    inside = (ratio > lowest) & (ratio < highest)
    return np.where(inside, 10 ** electron_density(np.where(inside, ratio, 1.0)), np.nan)


def _limits() -> tuple[float, float]:
    """Return the ratios between which the formula falls from 10⁴ to 1 per cm³."""
    ratio = np.linspace(0.3, 1.6, 13001)
    logarithm = electron_density(ratio)
    one = int(np.searchsorted(ratio, 1.0))
    high = one + int(np.argmax(logarithm[one:] < np.log10(_THINNEST)))
    low = one - int(np.argmax(logarithm[one::-1] > np.log10(_DENSEST)))
    return float(ratio[low]), float(ratio[high])
