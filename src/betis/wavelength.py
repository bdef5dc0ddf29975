"""The wavelength axis: from a FITS header, its pixel edges, air and vacuum, velocity.

A spectrum keeps the pixels and the medium (air or vacuum) that its instrument gave it.
Whatever is compared with it (a line's wavelength, a template) is converted to its axis by
`rest_wave`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from betis.arrays import B8, F64
from betis.errors import InputError

Medium = Literal["air", "vacuum"]

C_KMS = 299792.458
"""Speed of light, km/s."""

GAP = 1.9
"""A step so many times the step before or after it is a gap: one pixel that is missing is."""

_SHORTEST_IN_AIR = 2000.0
"""Angstrom."""

_ANGSTROM_PER_UNIT = {
    "angstrom": 1.0,
    "angstroms": 1.0,
    "a": 1.0,
    "0.1nm": 1.0,
    "nm": 10.0,
    "um": 1e4,
    "micron": 1e4,
    "m": 1e10,
}
_MEDIUM_OF_CTYPE: dict[str, Medium] = {"AWAV": "air", "WAVE": "vacuum"}
_ALGORITHMS = {"", "LOG", "LOG10"}
_SPECTRAL_AXES = {"FREQ", "ENER", "WAVN", "VRAD", "VOPT", "ZOPT", "VELO", "FELO", "BETA"}
_OTHER_AXES = _SPECTRAL_AXES | {"RA", "DEC", "GLON", "GLAT", "STOKES", "TIME", "UTC"}
"""First words of CTYPE (Greisen et al. 2006, Table 1; Calabretta & Greisen 2002) of other axes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WaveAxis:
    """A wavelength axis: pixel centres and edges in Angstrom, and the medium if it is stated."""

    wave: Float[F64, " wave"]
    edges: Float[F64, " wave+1"]
    medium: Medium | None


def refractive_index(vacuum_wave: ArrayLike) -> Float[F64, " wave"]:
    """Return the refractive index of standard air (15 C, 1 atm) at a vacuum wavelength in Angstrom.

    Shortward of 2000 Angstrom, where air is opaque and the formula has poles, it is that at 2000:
    an axis that begins there (stellar bases do) stays one that increases.

    References
    ----------
    Birch & Downs 1994, Metrologia 31 315, as given by Morton 2000, ApJS 130 403, eq. 8.
    """
    s2 = (1e4 / np.maximum(np.asarray(vacuum_wave, dtype=float), _SHORTEST_IN_AIR)) ** 2
    return np.asarray(1 + 8.34254e-5 + 2.406147e-2 / (130 - s2) + 1.5998e-4 / (38.9 - s2))


def vacuum_to_air(vacuum_wave: ArrayLike) -> Float[F64, " wave"]:
    """Return the air wavelength (Angstrom) of a vacuum wavelength (Angstrom)."""
    wave = np.asarray(vacuum_wave, dtype=float)
    return np.asarray(wave / refractive_index(wave))


def air_to_vacuum(air_wave: ArrayLike) -> Float[F64, " wave"]:
    """Return the vacuum wavelength (Angstrom) of an air wavelength (Angstrom).

    The inverse of `vacuum_to_air` to rounding: the fixed point converges by 1e-5 a step.
    """
    air = np.asarray(air_wave, dtype=float)
    vacuum = air
    for _ in range(5):
        vacuum = air * refractive_index(vacuum)
    return np.asarray(vacuum)


def rest_wave(vacuum_wave: ArrayLike, medium: Medium, redshift: float = 0.0) -> Float[F64, " wave"]:
    """Return where a rest wavelength lies on an axis that was observed and divided by 1+z.

    An axis in air that is divided by ``1 + redshift`` is not quite the air axis of the rest
    frame, because air was crossed at the observed wavelength (up to 0.3 km/s at z = 0.1). The
    rest wavelength is therefore taken through air where the light was.

    Parameters
    ----------
    vacuum_wave : Angstrom
        Rest wavelengths in vacuum.
    medium
        Medium of the observed axis.
    redshift
        What the axis was divided by, minus one.

    Returns
    -------
    Angstrom, on the divided axis.
    """
    observed = np.asarray(vacuum_wave, dtype=float) * (1 + redshift)
    if medium == "air":
        observed = vacuum_to_air(observed)
    return np.asarray(observed / (1 + redshift))


def pixel_edges(wave: ArrayLike) -> Float[F64, " wave+1"]:
    """Return the edges of the pixels whose centres are ``wave``, halfway between centres.

    Exact for a linear axis. The outer edges mirror their inner neighbours.
    """
    centre = np.asarray(wave, dtype=float)
    if centre.ndim != 1 or centre.size < 2 or not np.all(np.diff(centre) > 0):
        raise InputError(
            f"a wavelength axis must be a strictly increasing list of at least 2 values, "
            f"but this one has shape {centre.shape}; sort it and drop repeated values"
        )
    middle = 0.5 * (centre[1:] + centre[:-1])
    return np.concatenate([[2 * centre[0] - middle[0]], middle, [2 * centre[-1] - middle[-1]]])


def pixel_widths(edges: ArrayLike) -> Float[F64, " wave"]:
    """Return how wide the pixels are; those beside a gap, whose edges span it, as their neighbours.

    The width of a pixel, or that of the narrower of its neighbours where it is less.
    """
    width = np.pad(np.diff(np.asarray(edges, dtype=float)), 1, mode="edge")
    return np.asarray(np.minimum(width[1:-1], np.minimum(width[:-2], width[2:])))


def beside_gaps(wave: ArrayLike) -> Bool[B8, " wave"]:
    """Tell the pixels that lie at an end of a gap, where the step jumps to `GAP` times another.

    Halfway between the centres is no edge of theirs.
    """
    step = np.diff(np.asarray(wave, dtype=float))
    ratio = step[1:] / step[:-1]
    beside = np.zeros(step.size + 1, dtype=bool)
    beside[1:-1] = (ratio > GAP) | (ratio < 1 / GAP)
    return beside


def read_axis(header: Mapping[str, Any], axis: int = 3) -> WaveAxis:
    """Read the spectral axis of a FITS header.

    Parameters
    ----------
    header
        FITS header, or any mapping of its cards: CRVAL, CRPIX, CTYPE, CUNIT of the axis, and its
        step as CD or PC times CDELT.
    axis
        FITS number of the spectral axis, from 1.

    Returns
    -------
    The axis in Angstrom. ``medium`` is None where CTYPE does not tell (LINEAR, WAVELENGTH, blank).

    Raises
    ------
    InputError
        Where a card is missing or has no meaning for a wavelength.

    References
    ----------
    Greisen et al. 2006, A&A 446 747: section 3.2 and Table 1 (AWAV, WAVE, -LOG).
    """
    ctype = str(header.get(f"CTYPE{axis}", "")).strip().upper()
    _require_wavelength(ctype, axis)
    start, step = _require(header, f"CRVAL{axis}"), _axis_step(header, axis)
    reference = _number(header, f"CRPIX{axis}", 1.0)
    count = int(_require(header, f"NAXIS{axis}"))
    half_pixels = np.arange(2 * count + 1) / 2 + 0.5 - reference
    scale = _angstrom_per_unit(header, axis, ctype)
    if ctype.endswith("-LOG"):
        grid = start * np.exp(step * half_pixels / start)
    elif _is_log10(ctype, start) and scale == 1.0:
        grid = 10.0 ** (start + step * half_pixels)
    else:
        grid = start + step * half_pixels
    medium = _MEDIUM_OF_CTYPE.get(ctype.partition("-")[0])
    return WaveAxis(wave=grid[1::2] * scale, edges=grid[::2] * scale, medium=medium)


def _is_log10(ctype: str, start: float) -> bool:
    """Tell SDSS's old log10 axes: CTYPE WAVE-LOG10, or a start in Angstrom that is a logarithm."""
    return ctype.endswith("LOG10") or (ctype in {"LINEAR", ""} and 3.0 < start < 4.5)


def _require_wavelength(ctype: str, axis: int) -> None:
    kind, _, algorithm = ctype.partition("-")
    if kind in _OTHER_AXES or (kind in _MEDIUM_OF_CTYPE and algorithm not in _ALGORITHMS):
        raise InputError(
            f"the header's CTYPE{axis} is {ctype!r}, where a linear or logarithmic wavelength axis "
            "was expected (AWAV, WAVE, AWAV-LOG, WAVE-LOG); transpose or resample the cube"
        )


def _require(header: Mapping[str, Any], card: str) -> float:
    if card not in header:
        raise InputError(f"the header has no card {card}, which the wavelength axis needs; add it")
    return _number(header, card)


def _number(header: Mapping[str, Any], card: str, default: float = np.nan) -> float:
    stated = header.get(card, default)
    try:
        value = np.nan if isinstance(stated, bool) else float(stated)
    except (TypeError, ValueError):
        value = np.nan
    if not np.isfinite(value):
        raise InputError(
            f"the header's {card} is {header.get(card)!r}, where a number is needed; mend the card"
        )
    return value


def _axis_step(header: Mapping[str, Any], axis: int) -> float:
    """Return the step of the axis: CD, or PC (default 1) times CDELT (default 1)."""
    if f"CD{axis}_{axis}" in header:
        step = _number(header, f"CD{axis}_{axis}")
        _require_one_step(header, axis, step)
    elif f"CDELT{axis}" in header or f"PC{axis}_{axis}" in header:
        step = _number(header, f"PC{axis}_{axis}", 1.0) * _number(header, f"CDELT{axis}", 1.0)
    else:
        raise InputError(
            f"the header has neither CD{axis}_{axis} nor CDELT{axis}, so the wavelength step "
            "is unknown; add one of them"
        )
    if step <= 0:
        raise InputError(f"the wavelength step in the header is {step}, where it must be positive")
    return step


def _require_one_step(header: Mapping[str, Any], axis: int, step: float) -> None:
    """Check CDELT, which FITS ignores beside CD: 1 is its default, another value is a mistake."""
    other = _number(header, f"CDELT{axis}", 1.0)
    if other != 1.0 and not np.isclose(other, step, rtol=1e-6, atol=0.0):
        raise InputError(
            f"the header gives two steps of the wavelengths, CD{axis}_{axis} = {step:g} and "
            f"CDELT{axis} = {other:g}; remove the one that is wrong"
        )


def _angstrom_per_unit(header: Mapping[str, Any], axis: int, ctype: str) -> float:
    unit = str(header.get(f"CUNIT{axis}", ""))
    return angstrom_per_unit(unit, f"CUNIT{axis}", f"CTYPE{axis} = {ctype!r}")


def angstrom_per_unit(unit: str, card: str, where: str) -> float:
    """Return how many Angstrom a unit of wavelength is; 1 where it is blank.

    Raises
    ------
    InputError
        Where it is none of Angstrom, nm, um and m; ``card`` and ``where`` say what stated it.
    """
    name = unit.strip() or "Angstrom"
    if name.lower() not in _ANGSTROM_PER_UNIT:
        raise InputError(
            f"the wavelength unit {card} = {name!r} ({where}) is not a length; expected Angstrom, "
            "nm, um or m"
        )
    return _ANGSTROM_PER_UNIT[name.lower()]
