"""What a mock galaxy is made of: its options."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import ConfigError


def _option(default: Any, doc: str, unit: str = "") -> Any:
    return field(default=default, metadata={"doc": doc, "unit": unit})


@dataclass(frozen=True, kw_only=True)
class MockOptions:
    """A mock galaxy and the observation of it.

    Raises
    ------
    ConfigError
        Where a value makes no galaxy, or no cube.
    """

    n_y: int = _option(40, "spaxels in y")
    n_x: int = _option(40, "spaxels in x")
    snr: float = _option(30.0, "continuum S/N per wavelength pixel at the centre, near H alpha")
    redshift: float = _option(0.01, "redshift of the galaxy")
    av: float = _option(0.0, "Galactic extinction A_V put in front of it (law F99)", "mag")
    line_brightness: float = _option(1.0, "factor on the flux of every emission line")
    noise_correlation: float = _option(
        0.0, "sigma of the Gaussian that correlates the noise of neighbours; 0 for none", "spaxel"
    )
    wave_min: float = _option(4750.0, "centre of the first pixel, observed, air", "Angstrom")
    wave_max: float = _option(9350.0, "last pixel is centred here or just below", "Angstrom")
    wave_step: float = _option(1.25, "width of a pixel", "Angstrom")
    seed: int = _option(1, "seed of the H II regions and of the noise")

    def __post_init__(self) -> None:
        """Refuse what makes no galaxy."""
        _require(min(self.n_y, self.n_x) >= 8, "n_y and n_x", (self.n_y, self.n_x), "8 or more")
        _require(self.snr > 0, "snr", self.snr, "above 0")
        _require(0 <= self.redshift <= 0.25, "redshift", self.redshift, "from 0 to 0.25")
        _require(self.av >= 0, "av", self.av, "0 or more")
        _require(self.line_brightness >= 0, "line_brightness", self.line_brightness, "0 or more")
        _require(
            0 <= self.noise_correlation <= 5,
            "noise_correlation",
            self.noise_correlation,
            "from 0 to 5",
        )
        _require(self.wave_step > 0, "wave_step", self.wave_step, "above 0")
        _require(
            4600 <= self.wave_min < self.wave_max - 10 * self.wave_step and self.wave_max <= 9400,
            "the wavelength range",
            (self.wave_min, self.wave_max),
            "within 4600-9400 Angstrom and over 10 pixels long",
        )
        _require(self.seed >= 0, "seed", self.seed, "0 or more")

    @property
    def edges(self) -> Float[F64, " wave+1"]:
        """Edges of the wavelength pixels: Angstrom, observed, air."""
        n_wave = int((self.wave_max - self.wave_min) / self.wave_step + 1e-6) + 1
        return np.asarray(self.wave_min + self.wave_step * (np.arange(n_wave + 1) - 0.5))

    @property
    def wave(self) -> Float[F64, " wave"]:
        """Centres of the wavelength pixels: Angstrom, observed, air."""
        return np.asarray(self.wave_min + self.wave_step * np.arange(self.edges.size - 1))

    @property
    def shape(self) -> tuple[int, int]:
        """``(y, x)``."""
        return (self.n_y, self.n_x)


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} of the mock galaxy is {found}; give a value {expected}")
