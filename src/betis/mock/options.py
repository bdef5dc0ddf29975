"""What a mock galaxy is made of: its options."""

from dataclasses import dataclass, field
from typing import Any

from betis.errors import ConfigError
from betis.mock.instruments import Setup, setups


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
    instrument: str = _option(
        "muse", "what observes it: muse, manga, manga-lin, califa, sami, kcwi or generic"
    )
    mode: str = _option(
        "",
        "of the instrument: V500, V1200 or COMB of califa, BL, RL or BL+RL of kcwi; empty for the "
        "usual one",
    )
    wave_min: float | None = _option(
        None,
        "centre of the first pixel, observed, in the instrument's medium; its own if not given",
        "Angstrom",
    )
    wave_max: float | None = _option(
        None,
        "the last pixel is centred here or just below; the instrument's own if not given",
        "Angstrom",
    )
    wave_step: float | None = _option(
        None, "width of the first pixel; the instrument's own if not given", "Angstrom"
    )
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
        step = self.wave_step
        _require(step is None or step > 0, "wave_step", step, "above 0")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        setups(self.instrument, self.mode, self.wave_min, self.wave_max, self.wave_step)

    @property
    def setups(self) -> tuple[Setup, ...]:
        """The cubes that the instrument makes of it, the bluest first."""
        return setups(self.instrument, self.mode, self.wave_min, self.wave_max, self.wave_step)

    @property
    def shape(self) -> tuple[int, int]:
        """``(y, x)``."""
        return (self.n_y, self.n_x)


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} of the mock galaxy is {found}; give a value {expected}")
