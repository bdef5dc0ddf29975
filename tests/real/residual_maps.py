"""Whether what a line fit leaves of a real cube has structure on the sky."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from betis.io.products import read_bins
from betis.io.row_products import read_continuum, read_lines, read_spectra
from betis.lines.model import line_model
from betis.products import BinMap, ContinuumFit, LineFit, Spectra

GROUPS = {
    "Ha + [N II]": ("Ha6563", "NII6583", "NII6548"),
    "[S II]": ("SII6716", "SII6731"),
    "Hb": ("Hb4861",),
    "[O III]": ("OIII5007",),
}
"""Lines whose residuals are looked at together."""
CONTROLS = {"control 6430": 6430.0, "control 6800": 6800.0, "control 5100": 5100.0}
"""Places without a line (Angstrom): what the stars and the noise of the cube do by themselves."""
CORE = 2.0
"""Half-width of a line's core, in its observed dispersions."""


@dataclass(frozen=True)
class Residuals:
    """Spectra minus stars and lines of a run, in units of the error."""

    bins: BinMap
    gas: Spectra
    stars: ContinuumFit
    lines: LineFit
    pull: np.ndarray


def residuals_of(run: Path) -> Residuals:
    """Return what is left of the spectra of a run."""
    every = slice(None)
    stars = read_continuum(run / "continuum.fits").take(every)
    gas = read_spectra(run / "spectra.fits").take(every).subtract(stars)
    bins, lines = read_bins(run / "bins.fits"), read_lines(run / "lines.fits")
    return with_lines(Residuals(bins, gas, stars, lines, gas.flux), lines)


def with_lines(left: Residuals, lines: LineFit) -> Residuals:
    """Return what other lines leave of the same spectra."""
    gas = left.gas
    with np.errstate(invalid="ignore"):
        pull = (gas.flux - line_model(lines, gas)) / gas.error
    return replace(left, lines=lines, pull=np.where(gas.mask, np.nan, pull))


def core_of(left: Residuals, names: tuple[str, ...]) -> np.ndarray:
    """Return which pixels are in the core of a line, ``[bin, wave]``."""
    at = [left.lines.index(name) for name in names]
    center, sigma = left.lines.wave_obs[:, at], left.lines.sigma_obs[:, at]
    near = np.abs(left.gas.wave - center[..., None]) < CORE * sigma[..., None]
    return near.any(axis=1)


def control_of(left: Residuals, wave: float) -> np.ndarray:
    """Return the pixels of a line-free place, as wide as the core of Halpha, ``[bin, wave]``."""
    at = left.lines.index("Ha6563")
    sigma = left.lines.sigma_obs[:, at, None]
    speed = left.lines.wave_obs[:, at, None] / 6562.8
    return np.abs(left.gas.wave - wave * speed) < CORE * sigma


def scatter_and_mean(left: Residuals, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean square and the mean pull, times root n, of these pixels, ``[bin]``.

    Both would be 1 and 0 with a scatter of 1 for independent noise that is as large as stated.
    """
    pull = np.where(pixels & np.isfinite(left.pull), left.pull, 0.0)
    count = (pixels & np.isfinite(left.pull)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.where(count > 2, (pull**2).sum(axis=1) / count, np.nan)
        mean = np.where(count > 2, pull.sum(axis=1) / np.sqrt(count), np.nan)
    return square, mean


def neighbours(bin_id: np.ndarray) -> np.ndarray:
    """Return the pairs of bins that share an edge, ``[pair, 2]``."""
    along = [(bin_id[1:], bin_id[:-1]), (bin_id[:, 1:], bin_id[:, :-1])]
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in along])
    apart = (pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])
    return np.unique(np.sort(pairs[apart], axis=1), axis=0)


def moran(values: np.ndarray, pairs: np.ndarray, seed: int = 1) -> tuple[float, float]:
    """Return Moran's I of bins over their neighbours, and how many sigma of chance it is.

    Values beyond 5 robust sigma count as that, so that one bin does not decide.

    References
    ----------
    Moran 1950, Biometrika 37 17; chance: 500 permutations of the bins.
    """
    good = np.isfinite(values)
    used = pairs[good[pairs].all(axis=1)]
    middle = np.median(values[good])
    width = 1.4826 * np.median(np.abs(values[good] - middle))
    clipped = np.clip((values[good] - middle) / width, -5, 5)
    clipped -= clipped.mean()
    place = np.cumsum(good) - 1
    first, second = place[used].T

    def index(part: np.ndarray) -> float:
        return float(np.mean(part[first] * part[second]) / np.mean(part**2))

    rng = np.random.default_rng(seed)
    chance = [index(rng.permutation(clipped)) for _ in range(500)]
    found = index(clipped)
    return found, float((found - np.mean(chance)) / np.std(chance))


@dataclass(frozen=True)
class Structure:
    """Scatter and mean of one group's residuals over the bins, and their structure.

    ``bright`` is the scatter in the fifth of the bins that is brightest in Halpha; ``moran`` and
    ``chance`` are those of the mean, ``rank`` is its correlation with the surface brightness.
    """

    square: float
    bright: float
    mean: float
    spread: float
    moran: float
    chance: float
    rank: float

    def __str__(self) -> str:
        return (
            f"{self.square:6.2f} {self.bright:6.2f} {self.mean:+6.2f} {self.spread:6.2f} "
            f"{self.moran:+7.3f} {self.chance:+6.1f} {self.rank:+7.2f}"
        )


def structure(left: Residuals, pixels: np.ndarray) -> Structure:
    """Return how large the residuals in these pixels are, and if they go with place or flux."""
    square, mean = scatter_and_mean(left, pixels)
    alpha = left.lines.flux[:, left.lines.index("Ha6563")] / left.bins.n_spaxel
    good = np.isfinite(mean) & np.isfinite(alpha)
    low, middle, high = np.percentile(mean[good], [16, 50, 84])
    found, chance = moran(mean, neighbours(left.bins.bin_id))
    bright = good & (alpha >= np.percentile(alpha[good], 80))
    return Structure(
        square=float(np.median(square[good])),
        bright=float(np.median(square[bright])),
        mean=float(middle),
        spread=float(high - low) / 2,
        moran=found,
        chance=chance,
        rank=float(spearmanr(mean[good], alpha[good]).statistic),
    )
