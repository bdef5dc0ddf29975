"""What 1 stands for in a cube, from the many ways in which BUNIT is spelled."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np

from betis.errors import InputError

_DENSITY = "erg s-1 cm-2 Angstrom-1"
_PER_FREQUENCY = "erg s-1 cm-2 Hz-1"
_SQUARE = re.compile(r"\((.*)\)\s*(?:\*\*|\^)\s*\(?2\)?")
_INVERSE_SQUARE = re.compile(
    r"1(?:\.0*)?\s*/\s*\(?\s*\((.*)\)\s*(?:\*\*|\^)\s*\(?2\)?\s*\)?"
    r"|\((.*)\)\s*(?:\*\*|\^)\s*\(?-2\)?"
)
_NAMES = {"variance": "a variance", "ivar": "an inverse variance"}
_KINDS = {1: "sigma", 2: "variance", -2: "ivar"}
_PREFIX = re.compile(
    r"^(?:10\s*(?:\*\*|\^)\s*\(?\s*([-+]?\d+)\s*\)?|1(?:\.0*)?e([-+]?\d+))\s*\*?\s*", re.IGNORECASE
)
_ANGSTROM = re.compile(r"\b(?:Ang(?:stroms?)?|AA?)(?=$|[^A-Za-z])", re.IGNORECASE)
_FLAM = re.compile(r"\bFLAM(\d*)\b", re.IGNORECASE)
_SPAXEL = re.compile(
    r"\s*(?:/\s*(?:spaxels?|pixels?|pix|fib(?:er|re)s?)\b"
    r"|\b(?:spaxels?|pixels?|pix|fib(?:er|re)s?)\s*(?:\^|\*\*)?\s*\(?-1\)?)",
    re.IGNORECASE,
)
"""A flux of each spaxel: what every cube holds, whether its unit says it or not."""
_LARGEST = 100
"""Powers of ten beyond this are a mistake, not a unit."""


def flux_density_scale(unit: str, default: float = 0.0) -> float:
    """Return what 1 stands for (erg/s/cm²/Angstrom) in a unit such as ``10**(-20)*erg/s/...``.

    Parameters
    ----------
    unit
        BUNIT of a cube.
    default
        What 1 stands for where the unit is blank.

    Returns
    -------
    A power of ten; 0 where the unit is no flux density, or cannot be understood.

    Raises
    ------
    InputError
        Where the unit is one per frequency, or that of a variance or of an inverse variance.
    """
    if not unit.strip():
        return default
    kind = error_kind_of(unit)
    if kind in _NAMES:
        raise InputError(
            f"the flux has BUNIT = {unit!r}, the unit of {_NAMES[kind]}; check that the "
            "extensions of the flux and of its error are not swapped"
        )
    exponent, parsed = _parse(unit)
    if parsed is None:
        return 0.0
    if parsed.is_equivalent(_PER_FREQUENCY):
        raise InputError(
            f"the flux has BUNIT = {unit!r}, per unit of frequency, where erg/s/cm2/Angstrom is "
            "needed; convert the cube"
        )
    return _power_of_ten(exponent, parsed) if parsed.is_equivalent(_DENSITY) else 0.0


def error_kind_of(unit: str) -> str:
    """Return what a unit is that of: variance, ivar, sigma (or a flux density); "" if unknown."""
    text = unit.strip()
    for pattern, kind in ((_INVERSE_SQUARE, "ivar"), (_SQUARE, "variance")):
        found = pattern.fullmatch(text)
        if found:
            inside = next(group for group in found.groups() if group is not None)
            return kind if error_kind_of(inside) == "sigma" else ""
    parsed = _parse(text)[1] if text else None
    if parsed is None:
        return ""
    powers = (power for power in _KINDS if parsed.is_equivalent(_density() ** power))
    return next((_KINDS[power] for power in powers), "")


def _density() -> Any:
    from astropy import units

    return units.Unit(_DENSITY)


def _power_of_ten(exponent: int, parsed: Any) -> float:
    power = exponent + float(np.log10(parsed.to(_DENSITY)))
    nearest = round(power)
    known = abs(power - nearest) < 1e-6 and abs(nearest) <= _LARGEST
    return float(f"1e{nearest}") if known else 0.0


def _parse(unit: str) -> tuple[int, Any]:
    """Return the power of ten in front, and the rest as an astropy unit (None where it is none)."""
    from astropy import units

    text = unit.strip()
    prefix = _PREFIX.match(text)
    exponent = int(prefix.group(1) or prefix.group(2)) if prefix else 0
    rest = text[prefix.end() :] if prefix else text
    rest, tenfold = _spelled_out(re.sub(r"^\((.*)\)$", r"\1", rest))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return exponent - tenfold, units.Unit(rest) if rest else None
    except (ValueError, TypeError):
        return exponent, None


def _spelled_out(unit: str) -> tuple[str, int]:
    """Return a unit in astropy's words, per spaxel left out, and the power that FLAM16 hides."""
    flam = _FLAM.search(unit)
    plain = _FLAM.sub("erg/s/cm2/Angstrom", _SPAXEL.sub("", unit))
    return _ANGSTROM.sub("Angstrom", plain).strip(), int(flam.group(1) or 0) if flam else 0
