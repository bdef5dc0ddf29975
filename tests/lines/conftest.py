"""Simulated nebular spectra with known lines, written without the code under test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from betis.linelist import LineSet, load_line_set
from betis.lsf import FWHM_PER_SIGMA
from betis.products import Spectra

C_KMS = 299792.458
SET = load_line_set().select(
    [
        "Hb4861", "OIII4959", "OIII5007", "HeI5876", "NaI5890", "NaI5896",
        "NII6548", "Ha6563", "NII6583", "SII6716", "SII6731",
    ]
)  # fmt: skip
STRENGTH = {
    "Hb4861": 0.5, "OIII4959": 0.33557, "OIII5007": 1.0, "HeI5876": 0.4, "NaI5890": -0.6,
    "NaI5896": -0.4, "NII6548": 0.32787, "Ha6563": 1.5, "NII6583": 1.0, "SII6716": 0.6,
    "SII6731": 0.5, "MgI5175": -0.5, "DIB5780": -0.3, "DIB6284": -0.3, "KI7665": -0.4,
    "KI7699": -0.3, "CaII8498": -0.5, "CaII8542": -0.7, "CaII8662": -0.6,
}  # fmt: skip


@dataclass(frozen=True)
class Truth:
    spectra: Spectra
    flux: NDArray[Any]
    velocity: NDArray[Any]
    sigma: NDArray[Any]
    lines: LineSet


def axis(start: float = 4780.0, stop: float = 6800.0, step: float = 1.25) -> NDArray[Any]:
    return np.arange(start, stop, step)


def simulate(
    n_spectrum: int,
    *,
    seed: int = 1,
    strength: Any = 60.0,
    sigma: Any = (60.0, 250.0),
    fwhm: float = 2.5,
    noise: float = 1.0,
    level: float = 0.0,
    lines: LineSet = SET,
    wave: NDArray[Any] | None = None,
    apart: float = 0.0,
) -> Truth:
    """Rows with lines at random velocities and widths (km/s), white noise, and a flat level.

    ``strength`` is the flux of the strongest line but Halpha, a number or a range; ``apart`` how
    far the velocity of absorption lines may lie from that of the others, km/s.
    """
    rng = np.random.default_rng(seed)
    wave = axis() if wave is None else wave
    velocity = rng.uniform(-200, 200, n_spectrum)
    width = rng.uniform(*sigma, n_spectrum)
    scale = rng.uniform(*np.broadcast_to(strength, 2), n_spectrum)
    drift = np.random.default_rng([seed, 1]).uniform(-apart, apart, n_spectrum)
    half = np.diff(wave, append=2 * wave[-1] - wave[-2]) / 2
    flux, truth = np.full((n_spectrum, wave.size), float(level)), []
    for line, place in zip(lines.lines, lines.waves("air", 0.0), strict=True):
        speed = velocity + drift if line.absorption else velocity
        center = (place * (1 + speed / C_KMS))[:, None]
        spread = np.hypot(center * width[:, None] / C_KMS, fwhm / FWHM_PER_SIGMA)
        own = scale * STRENGTH.get(line.name, 0.1)
        share = norm.cdf(wave + half, center, spread) - norm.cdf(wave - half, center, spread)
        flux += own[:, None] * share / (2 * half)
        truth.append(own)
    flux += rng.normal(0, noise, flux.shape)
    error = np.full(flux.shape, noise if noise > 0 else 1e-3)
    spectra = Spectra(wave, flux, error, lsf=np.full(wave.size, fwhm))
    return Truth(spectra, np.stack(truth, axis=1), velocity, width, lines)


@pytest.fixture(scope="session", name="simulate")
def _simulate() -> Callable[..., Truth]:
    return simulate


@pytest.fixture(scope="session")
def many() -> Truth:
    return simulate(600, strength=(60.0, 300.0))
