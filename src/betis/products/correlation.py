"""How the correlated noise of neighbouring spaxels adds up in a bin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from betis.arrays import F64, I32
from betis.errors import ConfigError

PUBLISHED: dict[str, tuple[float, int]] = {
    "califa": (1.07, 0),
    "manga": (1.62, 100),
    "muse": (0.18, 0),
}
"""Published alpha of a survey's cubes, and the spaxels beyond which its noise grows no more."""

MEASURED = "measured"
"""Stands for the alpha that is measured on the cube itself, which takes a cube."""

_GAUSSIAN = "gaussian:"

_ROUND = 1.02
"""Excess of a disc over that of a square of as many spaxels, at most."""

_SMALLEST = 1e-4
"""Correlation below which pairs of spaxels are left out: 0.1 % of the variance at most."""


def noise_growth(n_spaxel: ArrayLike, correlation: float) -> F64:
    """Return by how much correlated noise exceeds the quadratic sum: ``1 + alpha log10(n)``.

    References
    ----------
    Garcia-Benito et al. 2015, A&A 576 A135, eq. 1 (with beta = 1).
    """
    return np.asarray(1.0 + correlation * np.log10(np.maximum(n_spaxel, 1)))


@dataclass(frozen=True, kw_only=True)
class NoiseCorrelation:
    """A model of how the noise of a bin exceeds the quadratic sum of its spaxels' noise.

    Attributes
    ----------
    alpha
        Of the law ``1 + alpha log10(n_spaxel)``.
    cap
        Spaxels beyond which that law grows no more; 0 for none.
    sigma : spaxel
        Where positive, in place of the law: two spaxels at a distance d are correlated by
        ``exp(-d² / (4 sigma²))``, as when independent noise is smoothed by a Gaussian of this
        sigma.

    References
    ----------
    The law: Garcia-Benito et al. 2015, A&A 576 A135, eq. 1; alpha 1.07 is that of CALIFA's COMBO
    cubes. 1.62, constant beyond 100 spaxels: Law et al. 2016, AJ 152 83 (MaNGA). 0.18: MAGPI's
    MUSE cubes, Mendel et al. in preparation. The Gaussian: Westfall et al. 2019, AJ 158 231,
    sect. 6.2 (MaNGA: sigma 1.92).
    """

    alpha: float = 0.0
    cap: int = 0
    sigma: float = 0.0

    @classmethod
    def of(cls, correlation: float | str, cap: int = 0) -> NoiseCorrelation:
        """Return the model that an option names.

        Parameters
        ----------
        correlation
            alpha, the name of a survey in `PUBLISHED`, or "gaussian:SIGMA".
        cap
            Spaxels beyond which the law grows no more; 0 for what is published with a survey's
            alpha, and for no cap with a number.

        Raises
        ------
        ConfigError
            Where the text names no model, or has to be measured on a cube first.
        """
        if not isinstance(correlation, str):
            return cls(alpha=float(correlation), cap=cap)
        if correlation in PUBLISHED:
            alpha, published_cap = PUBLISHED[correlation]
            return cls(alpha=alpha, cap=cap or published_cap)
        if correlation == MEASURED:
            raise ConfigError(
                "the correlation of the noise is 'measured', which takes a cube; measure it with "
                "betis.spatial_noise.measure_correlation and give the number"
            )
        return cls(sigma=_gaussian_sigma(correlation))

    @property
    def text(self) -> str:
        """The model in words that fit a FITS card."""
        if self.sigma > 0:
            return f"{_GAUSSIAN}{self.sigma:g}"
        cap = f", n <= {self.cap}" if self.cap else ""
        return f"1 + {self.alpha:g} log10(n){cap}" if self.alpha else "independent"

    def of_count(self, n_spaxel: ArrayLike) -> F64:
        """Return the growth of a compact bin of n spaxels of equal noise.

        The law itself; of the Gaussian that of a square, whose sum over pairs is the square of a
        sum over one axis, made continuous in its side, with 2 % more excess: discs have up to
        that, all other shapes less.
        """
        count = np.maximum(np.asarray(n_spaxel, dtype=float), 1.0)
        if self.sigma <= 0:
            return noise_growth(np.minimum(count, self.cap or np.inf), self.alpha)
        side = np.sqrt(count)
        excess = np.zeros_like(side)
        for step in range(1, _reach(self.sigma) + 1):
            excess += 2 * self._pair(step**2) * np.maximum(0.0, 1.0 - step / side)
        return np.asarray(1.0 + _ROUND * excess)

    def growth(
        self, bin_id: Int[I32, "y x"], noise: Float[F64, "y x"], n_bin: int | None = None
    ) -> Float[F64, " bin"]:
        """Return the noise of each bin over the quadratic sum of its spaxels' noise.

        Exact for the Gaussian: the sum over all pairs of spaxels of a bin, each weighted by their
        correlation and both their noises.

        Parameters
        ----------
        bin_id : [y, x]
            From 0; -1 in no bin.
        noise : [y, x]
            1-sigma noise of each spaxel; what is in no bin may be anything.
        n_bin
            How many bins there are; one more than the largest ``bin_id`` if not given.
        """
        inside = bin_id >= 0
        row = bin_id[inside]
        count = np.bincount(row, minlength=n_bin or 0)
        if self.sigma <= 0:
            return self.of_count(count)
        own = np.bincount(row, noise[inside] ** 2, count.size)
        excess = np.zeros(count.size)
        for here, there in _pairs(bin_id.shape, _reach(self.sigma)):
            rho = self._pair(_distance2(here, there))
            same = (bin_id[here] == bin_id[there]) & inside[here]
            both = noise[here][same] * noise[there][same]
            excess += 2 * rho * np.bincount(bin_id[here][same], both, count.size)
        return np.sqrt(1.0 + np.divide(excess, own, out=np.zeros(count.size), where=own > 0))

    def alpha_of(self, n_spaxel: Int[I32, " bin"], growth: Float[F64, " bin"]) -> float:
        """Return the alpha that describes bins of this model best: its own, or their median."""
        shared = n_spaxel > 1
        if self.sigma <= 0 or not shared.any():
            return self.alpha
        return float(np.median((growth[shared] - 1) / np.log10(n_spaxel[shared])))

    def _pair(self, distance2: float) -> float:
        rho = float(np.exp(-distance2 / (4 * self.sigma**2)))
        return rho if rho > _SMALLEST else 0.0


_Place = tuple[slice, slice]


def _pairs(shape: tuple[int, ...], reach: int) -> Iterator[tuple[_Place, _Place]]:
    """Yield a map and itself moved by each offset within reach, one of each pair of opposites."""
    n_y, n_x = shape
    for dy in range(min(reach, n_y - 1) + 1):
        width = min(reach, n_x - 1)
        for dx in range(-width if dy else 1, width + 1):
            if dy**2 + dx**2 <= reach**2:
                left, right = max(0, -dx), max(0, dx)
                here = slice(0, n_y - dy), slice(left, n_x - right)
                yield here, (slice(dy, n_y), slice(right, n_x - left))


def _distance2(here: _Place, there: _Place) -> float:
    return float(sum((one.start - two.start) ** 2 for one, two in zip(here, there, strict=True)))


def _reach(sigma: float) -> int:
    """Return the distance in spaxels beyond which pairs are left out."""
    return int(2 * sigma * np.sqrt(-np.log(_SMALLEST)))


def _gaussian_sigma(text: str) -> float:
    number = text.removeprefix(_GAUSSIAN)
    try:
        sigma = float(number) if text.startswith(_GAUSSIAN) else float("nan")
    except ValueError:
        sigma = float("nan")
    if not 0 <= sigma < _LARGEST:
        raise ConfigError(
            f"the correlation of the noise is {text!r}, where alpha of the law, "
            f"{', '.join(PUBLISHED)}, {MEASURED} or gaussian:SIGMA was expected, SIGMA in spaxels "
            f"and below {_LARGEST:g}"
        )
    return sigma


_LARGEST = 10.0
