"""Dust before the gas, from Halpha over Hbeta, and the fluxes without it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.derived.fluxes import Fluxes, Quantity
from betis.derived.ratios import log_ratio
from betis.options import DerivedOptions

__all__ = ["Dust", "balmer_decrement", "dereddened", "gas_extinction"]

_ALPHA, _BETA = ("Ha6563",), ("Hb4861",)
_LN10 = float(np.log(10))
_MAG = 2.5 / _LN10


@dataclass(frozen=True, kw_only=True, eq=False)
class Dust:
    """A law at the lines.

    Attributes
    ----------
    curve : [line]
        A(line) / A(V), in the order of the fit.
    between
        That of Hbeta minus that of Halpha.
    intrinsic
        Halpha / Hbeta without dust.
    """

    curve: Float[F64, " line"]
    between: float
    intrinsic: float

    @classmethod
    def of(cls, names: tuple[str, ...], curve: F64, options: DerivedOptions) -> Dust:
        """Return the law at the lines of a fit, Halpha and Hbeta among them."""
        alpha, beta = (float(curve[names.index(name)]) for name in (*_ALPHA, *_BETA))
        return cls(curve=curve, between=beta - alpha, intrinsic=options.balmer_ratio)


def balmer_decrement(fluxes: Fluxes) -> Quantity:
    """Return Halpha / Hbeta and its error, their covariance counted."""
    logarithm = log_ratio(fluxes, _ALPHA, _BETA, "Halpha / Hbeta")
    ratio = 10**logarithm.value
    return replace(logarithm, value=ratio, error=ratio * _LN10 * logarithm.error)


def gas_extinction(fluxes: Fluxes, dust: Dust) -> Quantity:
    """Return A_V before the gas: ``2.5 log10(decrement / intrinsic) / (A_Hb - A_Ha)``.

    As measured: noise makes it negative where there is little dust, and cutting those would make
    the mean of the others too large.

    References
    ----------
    Calzetti 2001, PASP 113 1449, eq. 3, for a screen.
    """
    decrement = balmer_decrement(fluxes)
    with np.errstate(invalid="ignore"):
        value = _MAG * np.log(decrement.value / dust.intrinsic) / dust.between
    return Quantity(
        value=value,
        error=_MAG * decrement.error / decrement.value / dust.between,
        unit="mag",
        meaning=f"A_V before the gas, Halpha / Hbeta = {dust.intrinsic:g} without dust",
        lines=decrement.lines,
    )


def dereddened(fluxes: Fluxes, dust: Dust, names: tuple[str, ...]) -> Quantity:
    """Return the fluxes ``[spectrum, line]`` without dust, for a screen of the gas's own A_V.

    A negative A_V counts as none. The error is that of flux and A_V together, with what they have
    in common: ``F0 = F 10^(0.4 k A_V)``, and the error of A_V is that of Halpha over Hbeta.
    """
    screen = gas_extinction(fluxes, dust)
    value, error = (np.empty((screen.value.size, len(names))) for _ in range(2))
    for i, name in enumerate(names):
        grown = 10 ** (0.4 * dust.curve[i] * np.maximum(screen.value, 0.0))
        value[:, i] = fluxes.flux(name) * grown
        error[:, i] = _dereddened_error(fluxes, name, float(dust.curve[i]) / dust.between) * grown
    return Quantity(
        value=value,
        error=error,
        unit="flux",
        meaning="flux without the dust before the gas (A_V below 0 counts as 0)",
        lines=screen.lines,
    )


def _dereddened_error(fluxes: Fluxes, name: str, power: float) -> Float[F64, " spectrum"]:
    """Return the error of ``F (Ha/Hb)^power`` over ``(Ha/Hb)^power``."""
    flux, alpha, beta = (fluxes.flux(line) for line in (name, *_ALPHA, *_BETA))
    slope = {(name,): np.ones_like(flux)}
    for line, part in ((_ALPHA, alpha), (_BETA, -beta)):
        slope[line] = slope.get(line, 0.0) + power * flux / _nonzero(part)
    variance = sum(slope[a] * slope[b] * fluxes.covariance(a, b) for a in slope for b in slope)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _nonzero(values: Float[F64, " spectrum"]) -> Float[F64, " spectrum"]:
    """Return the values with NaN in place of 0."""
    return np.where(values == 0, np.nan, values)
