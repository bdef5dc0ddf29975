"""All that follows from the lines of each spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from betis.arrays import F64, Brief
from betis.derived.classes import DIAGRAMS, Classes, diagram_classes, width_classes
from betis.derived.extinction import Dust, balmer_decrement, dereddened, gas_extinction
from betis.derived.fluxes import Fluxes, Quantity
from betis.derived.ratios import DIAGNOSTICS, log_ratio, sii_density
from betis.options import DerivedOptions
from betis.products import LineFit

__all__ = ["Derived", "derive"]

_ALPHA, _BETA, _SII = "Ha6563", "Hb4861", ("SII6716", "SII6731")
_CM_PER_KPC = 3.0856775814913673e21
_ARCSEC_PER_RADIAN = float(180 * 3600 / np.pi)
_AT_ONCE = 2048
"""Rows whose fits are in memory at once."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Derived(Brief):
    """What follows from the lines of each spectrum.

    Attributes
    ----------
    quantities, classes
        By name; those whose lines were not fitted are not there.
    names : [line]
        The lines of the quantities that are ``[spectrum, line]``.
    min_snr
        S/N from which a line is used; below it everything is NaN, or class 0.
    """

    quantities: Mapping[str, Quantity]
    classes: Mapping[str, Classes]
    names: tuple[str, ...]
    min_snr: float


def derive(
    lines: LineFit,
    options: DerivedOptions,
    *,
    dust: Float[F64, " line"],
    area: Float[F64, " spectrum"] | None = None,
    redshift: float = 0.0,
) -> Derived:
    """Return ratios, extinction, densities and classes with their errors.

    Parameters
    ----------
    lines
        The fit; with its ``flux_cov`` (option ``lines.flux_covariance``) errors count what the
        lines of a fit group have in common, otherwise lines are taken as independent.
    options
        S/N of a line that is used, Halpha / Hbeta without dust.
    dust : [line]
        A(line) / A(V) of each line of the fit.
    area : arcsec² [spectrum]
        Of each bin on the sky; None where it is not known, and there is no SIGMA_HA.
    redshift
        Of the galaxy, which dims surface brightness by (1+z)^4.

    Returns
    -------
    The quantities that the lines allow.
    """
    step = range(0, max(lines.n_spectrum, 1), _AT_ONCE)
    return _joined(
        [
            _of_rows(
                lines.take(rows),
                options,
                dust=dust,
                area=None if area is None else area[rows],
                redshift=redshift,
            )
            for rows in (slice(first, first + _AT_ONCE) for first in step)
        ]
    )


def _of_rows(
    lines: LineFit,
    options: DerivedOptions,
    *,
    dust: Float[F64, " line"],
    area: Float[F64, " spectrum"] | None,
    redshift: float,
) -> Derived:
    """Return what follows from some rows, all of them in memory."""
    fluxes = Fluxes(lines, options.min_snr)
    quantities: dict[str, Quantity] = {
        name: log_ratio(fluxes, over, under, meaning)
        for name, (over, under, meaning) in DIAGNOSTICS.items()
        if fluxes.has(*over, *under)
    }
    if fluxes.has(*_SII):
        quantities["SII_DENSITY"] = sii_density(fluxes)
    if fluxes.has(_ALPHA, _BETA):
        quantities |= _of_dust(fluxes, Dust.of(lines.names, dust, options), lines.names)
    if fluxes.has(_ALPHA) and area is not None and lines.sky is not None and lines.sky.flux_scale:
        unit = lines.sky.flux_scale * luminosity_per_kpc2(redshift) / area
        quantities |= _surface_brightness(fluxes, quantities, lines.names, unit)
    return Derived(
        quantities=quantities,
        classes=_classes(fluxes, quantities),
        names=lines.names,
        min_snr=options.min_snr,
    )


def _joined(parts: Sequence[Derived]) -> Derived:
    """Return what follows from successive rows as one."""
    first = parts[0]
    quantities = {
        name: replace(
            quantity,
            value=np.concatenate([part.quantities[name].value for part in parts]),
            error=np.concatenate([part.quantities[name].error for part in parts]),
        )
        for name, quantity in first.quantities.items()
    }
    classes = {
        name: replace(known, value=np.concatenate([part.classes[name].value for part in parts]))
        for name, known in first.classes.items()
    }
    return replace(first, quantities=quantities, classes=classes)


def luminosity_per_kpc2(redshift: float) -> float:
    """Return erg/s/kpc² per erg/s/cm²/arcsec².

    ``4 pi (1+z)^4``: the distance drops out, but for the dimming (Tolman 1930, PNAS 16 511).
    """
    return 4 * np.pi * (1 + redshift) ** 4 * (_CM_PER_KPC * _ARCSEC_PER_RADIAN) ** 2


def _of_dust(fluxes: Fluxes, dust: Dust, names: tuple[str, ...]) -> dict[str, Quantity]:
    return {
        "BALMER_DECREMENT": balmer_decrement(fluxes),
        "GAS_AV": gas_extinction(fluxes, dust),
        "FLUX_DEREDDENED": dereddened(fluxes, dust, names),
    }


def _surface_brightness(
    fluxes: Fluxes,
    known: Mapping[str, Quantity],
    names: tuple[str, ...],
    unit: Float[F64, " spectrum"],
) -> dict[str, Quantity]:
    """Return the luminosity of Halpha per area in the galaxy's plane of the sky."""
    error = np.sqrt(fluxes.covariance([_ALPHA], [_ALPHA]))
    found = {"SIGMA_HA": (fluxes.flux(_ALPHA), error, "as observed")}
    if "FLUX_DEREDDENED" in known:
        free, at = known["FLUX_DEREDDENED"], names.index(_ALPHA)
        found["SIGMA_HA_DEREDDENED"] = (free.value[:, at], free.error[:, at], "without dust")
    return {
        name: Quantity(
            value=value * unit,
            error=error * unit,
            unit="erg s-1 kpc-2",
            meaning=f"luminosity of Halpha per area on the sky, {how}",
            lines=(_ALPHA,),
        ).where(fluxes.usable([_ALPHA]))
        for name, (value, error, how) in found.items()
    }


def _classes(fluxes: Fluxes, quantities: Mapping[str, Quantity]) -> dict[str, Classes]:
    found = {
        name: diagram_classes(name, quantities)
        for name, abscissa in DIAGRAMS.items()
        if {abscissa, "LOG_OIII_HB"} <= set(quantities)
    }
    if fluxes.has(_ALPHA):
        usable = fluxes.usable([_ALPHA])
        found["EW_CLASS"] = width_classes(fluxes.width(_ALPHA), usable)
    return found
