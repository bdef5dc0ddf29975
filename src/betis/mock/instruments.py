"""What an instrument does to a galaxy: its pixels, its resolution, its unit, its noise.

References
----------
MUSE: Bacon et al. 2017, A&A 608 A1. MaNGA: Law et al. 2016, AJ 152 83 (sampling); Law et al.
2021, AJ 161 52 (resolution). CALIFA: Garcia-Benito et al. 2015, A&A 576 A135, sections 3 and 4.
SAMI: Croom et al. 2021, MNRAS 505 991; van de Sande et al. 2017, ApJ 835 104 (resolution).
KCWI: Morrissey et al. 2018, ApJ 864 93.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import ConfigError
from betis.lsf import FWHM_PER_SIGMA, muse_fwhm
from betis.wavelength import Medium, air_to_vacuum, vacuum_to_air

MOCK_SCALE = 1e-20
"""erg/s/cm²(/Angstrom): the unit of the truth and of everything before a file is written."""

WAVE_RANGE = (3000.0, 10600.0)
"""Observed Angstrom within which a mock cube may lie."""

_MIN_PIXELS = 10

Curve = Callable[[Float[F64, "*any"]], Float[F64, "*any"]]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A wavelength axis as a FITS header states it.

    Attributes
    ----------
    reference
        CRPIX3: pixel, from 1, where the wavelength is ``value``.
    value, step : Angstrom
        CRVAL3, and CDELT3 or CD3_3: the step at ``reference``.
    count
        NAXIS3.
    logarithmic
        Equal steps of the logarithm (CTYPE3 with -LOG).
    """

    reference: float
    value: float
    step: float
    count: int
    logarithmic: bool = False

    @property
    def wave(self) -> Float[F64, " wave"]:
        """Centres of the pixels, Angstrom."""
        return self._at(np.arange(self.count, dtype=float) - (self.reference - 1.0))

    @property
    def edges(self) -> Float[F64, " wave+1"]:
        """Edges of the pixels, Angstrom."""
        return self._at(np.arange(self.count + 1, dtype=float) - 0.5 - (self.reference - 1.0))

    def _at(self, offset: Float[F64, "*any"]) -> Float[F64, "*any"]:
        """Return the wavelength so many pixels from ``reference``.

        References
        ----------
        Greisen et al. 2006, A&A 446 747, eq. 5 for the logarithmic axis.
        """
        if self.logarithmic:
            return np.asarray(self.value * np.exp(self.step * offset / self.value))
        return np.asarray(self.value + self.step * offset)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One cube of one instrument.

    Attributes
    ----------
    name
        Of the instrument, as `MockOptions.instrument`.
    mode
        Grating or product, as the instrument calls it.
    medium
        "air" or "vacuum", of every wavelength here.
    axis
    lsf
        FWHM (Angstrom) before the integration over a pixel, at observed wavelengths (Angstrom).
    inefficiency
        How the variance for a given sky changes with the observed wavelength (Angstrom).
    scale : erg/s/cm²/Angstrom
        What 1 stands for in the file.
    spaxel : arcsec
        Width of a spaxel on the sky.
    dereddened
        The survey removes the Galactic extinction.
    arm
        Which cube of an observation this is, from 0: each has noise of its own.
    suffix
        Of the file's stem.
    """

    name: str
    mode: str
    medium: Medium
    axis: Axis
    lsf: Curve
    inefficiency: Curve
    scale: float
    spaxel: float
    dereddened: bool = False
    arm: int = 0
    suffix: str = ""

    @property
    def wave(self) -> Float[F64, " wave"]:
        """Centres of the pixels: Angstrom, observed."""
        return self.axis.wave

    @property
    def edges(self) -> Float[F64, " wave+1"]:
        """Edges of the pixels: Angstrom, observed."""
        return self.axis.edges

    def to_vacuum(self, wave: Float[F64, "*any"]) -> Float[F64, "*any"]:
        """Return the vacuum wavelength of one in the setup's medium, Angstrom."""
        return wave if self.medium == "vacuum" else air_to_vacuum(wave)

    def from_vacuum(self, wave: Float[F64, "*any"]) -> Float[F64, "*any"]:
        """Return the wavelength in the setup's medium of one in vacuum, Angstrom."""
        return wave if self.medium == "vacuum" else vacuum_to_air(wave)

    def from_air(self, wave: Float[F64, "*any"] | float) -> Float[F64, "*any"]:
        """Return the wavelength in the setup's medium of one in air, Angstrom."""
        return np.asarray(wave if self.medium == "air" else air_to_vacuum(wave))


def after_pixel(fwhm: Float[F64, " wave"], width: Float[F64, " wave"]) -> Float[F64, " wave"]:
    """Return the FWHM (Angstrom) after the integration over pixels of some width (Angstrom).

    A Gaussian of the same variance: that of a box is ``width² / 12``.
    """
    return np.asarray(np.sqrt(fwhm**2 + FWHM_PER_SIGMA**2 * width**2 / 12))


@lru_cache(maxsize=32)
def setups(
    instrument: str,
    mode: str = "",
    wave_min: float | None = None,
    wave_max: float | None = None,
    wave_step: float | None = None,
) -> tuple[Setup, ...]:
    """Return the cubes that an instrument makes of one observation.

    Parameters
    ----------
    instrument
        One of `INSTRUMENTS`.
    mode
        One of the instrument's modes; "" for the usual one.
    wave_min, wave_max : Angstrom
        Centre of the first pixel of the bluest cube, and of the last of the reddest, in the
        medium of the instrument; None for its nominal ones.
    wave_step : Angstrom
        Width of the (first) pixel; None for the nominal one.

    Raises
    ------
    ConfigError
        Where there is no such instrument or mode, or the range holds no spectrum.
    """
    arms = _modes(instrument)
    if mode and mode not in arms:
        raise ConfigError(
            f"the mode of the mock galaxy is {mode!r}; of {instrument} give one of "
            f"{', '.join(arms)}, or leave it empty"
        )
    chosen = arms[mode or next(iter(arms))]
    lows = (wave_min, *(None for _ in chosen[1:]))
    highs = (*(None for _ in chosen[1:]), wave_max)
    return tuple(
        replace(setup, axis=_cut(setup.axis, low, high, wave_step), arm=arm)
        for arm, (setup, low, high) in enumerate(zip(chosen, lows, highs, strict=True))
    )


def _modes(instrument: str) -> dict[str, tuple[Setup, ...]]:
    if instrument not in _SETUPS:
        raise ConfigError(
            f"the instrument of the mock galaxy is {instrument!r}; give one of {', '.join(_SETUPS)}"
        )
    return _SETUPS[instrument]


def _cut(axis: Axis, low: float | None, high: float | None, step: float | None) -> Axis:
    """Return an axis of the same kind over another range, or with another step."""
    if low is None and high is None and step is None:
        return axis
    first = float(axis.wave[0]) if low is None else low
    last = float(axis.wave[-1]) if high is None else high
    width = _step_at(axis, first) if step is None else step
    count = _count(first, last, width, logarithmic=axis.logarithmic)
    reference = 1.0 if axis.reference == 1.0 else float(count // 2)
    moved = Axis(reference=1.0, value=first, step=width, count=count, logarithmic=axis.logarithmic)
    value = first if reference == 1.0 else float(moved.wave[int(reference) - 1])
    return replace(moved, reference=reference, value=value, step=_step_at(moved, value))


def _step_at(axis: Axis, wave: float) -> float:
    return axis.step * wave / axis.value if axis.logarithmic else axis.step


def _count(first: float, last: float, step: float, *, logarithmic: bool) -> int:
    """Return how many pixels there are, the last centred at ``last`` or just below."""
    low, high = WAVE_RANGE
    if not low <= first < last - _MIN_PIXELS * step or last > high:
        raise ConfigError(
            f"the wavelength range of the mock galaxy is ({first:.6g}, {last:.6g}); give a value "
            f"within {low:g}-{high:g} Angstrom and over {_MIN_PIXELS} pixels long"
        )
    steps = np.log(last / first) * first / step if logarithmic else (last - first) / step
    return int(steps + 1e-6) + 1


def _falling(blue_end: float) -> Curve:
    """Return an inefficiency that rises to the blue end of an instrument: 4 times the variance."""

    def inefficiency(wave: Float[F64, "*any"]) -> Float[F64, "*any"]:
        return np.asarray(1.0 + 3.0 * np.exp(-(np.asarray(wave) - blue_end) / 350.0))

    return inefficiency


def _constant(fwhm: float) -> Curve:
    return lambda wave: np.full(np.shape(wave), fwhm)


def _manga_fwhm(wave: Float[F64, "*any"]) -> Float[F64, "*any"]:
    """Return wave / R, with R rising from 1400 in the blue to 2400: close to Law et al. 2021."""
    return np.asarray(wave / (1400.0 + 0.15 * (np.asarray(wave) - 3600.0)))


def _linear(first: float, last: float, step: float) -> Axis:
    return Axis(
        reference=1.0, value=first, step=step, count=_count(first, last, step, logarithmic=False)
    )


_MUSE = Setup(
    name="muse",
    mode="WFM",
    medium="air",
    axis=_linear(4750.0, 9350.0, 1.25),
    lsf=muse_fwhm,
    inefficiency=_falling(4750.0),
    scale=1e-20,
    spaxel=0.2,
)
_MANGA = Setup(
    name="manga",
    mode="LOGCUBE",
    medium="vacuum",
    axis=Axis(
        reference=1.0,
        value=3621.59598486,
        step=3621.59598486 * float(np.log(10.0)) * 1e-4,
        count=4563,
        logarithmic=True,
    ),
    lsf=_manga_fwhm,
    inefficiency=_falling(3620.0),
    scale=1e-17,
    spaxel=0.5,
)
_MANGA_LIN = replace(_MANGA, name="manga-lin", mode="LINCUBE", axis=_linear(3622.0, 10353.0, 1.0))
_V500 = Setup(
    name="califa",
    mode="V500",
    medium="air",
    axis=_linear(3749.0, 7501.0, 2.0),
    lsf=_constant(6.0),
    inefficiency=_falling(3700.0),
    scale=1e-16,
    spaxel=1.0,
    dereddened=True,
)
_V1200 = replace(_V500, mode="V1200", axis=_linear(3650.0, 4840.0, 0.7), lsf=_constant(2.3))
_COMB = replace(_V500, mode="COMB", axis=_linear(3701.0, 7501.0, 2.0))
_SAMI_BLUE = Setup(
    name="sami",
    mode="BL",
    medium="air",
    axis=Axis(reference=1024.0, value=4724.474841231, step=1.05031753786, count=2048),
    lsf=_constant(2.66),
    inefficiency=_falling(3700.0),
    scale=1e-16,
    spaxel=0.5,
    suffix="_blue",
)
_SAMI_RED = replace(
    _SAMI_BLUE,
    mode="RD",
    axis=Axis(reference=1024.0, value=6849.702002931, step=0.5959941377626, count=2048),
    lsf=_constant(1.59),
    suffix="_red",
)
_KCWI_BLUE = Setup(
    name="kcwi",
    mode="BL",
    medium="vacuum",
    axis=_linear(3500.0, 5600.0, 1.0),
    lsf=_constant(4550.0 / 1800.0),
    inefficiency=_falling(3500.0),
    scale=1e-16,
    spaxel=0.3,
)
_KCWI_RED = replace(
    _KCWI_BLUE, mode="RL", axis=_linear(5610.0, 9000.0, 1.0), lsf=_constant(7300.0 / 1800.0)
)
_GENERIC = Setup(
    name="generic",
    mode="SCI",
    medium="air",
    axis=_linear(4700.0, 9300.0, 1.5),
    lsf=_constant(3.0),
    inefficiency=_falling(4700.0),
    scale=1e-18,
    spaxel=0.4,
)

_SETUPS: dict[str, dict[str, tuple[Setup, ...]]] = {
    "muse": {"WFM": (_MUSE,)},
    "manga": {"LOGCUBE": (_MANGA,)},
    "manga-lin": {"LINCUBE": (_MANGA_LIN,)},
    "califa": {"V500": (_V500,), "V1200": (_V1200,), "COMB": (_COMB,)},
    "sami": {"BL+RD": (_SAMI_BLUE, _SAMI_RED)},
    "kcwi": {
        "BL": (_KCWI_BLUE,),
        "RL": (_KCWI_RED,),
        "BL+RL": (replace(_KCWI_BLUE, suffix="_blue"), replace(_KCWI_RED, suffix="_red")),
    },
    "generic": {"SCI": (_GENERIC,)},
}
"""The modes of each instrument, the usual one first."""

INSTRUMENTS = tuple(_SETUPS)
