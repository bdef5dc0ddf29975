"""Maps of signal and noise, and the bins made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from betis.arrays import B8, F64, I32, Brief
from betis.products.correlation import noise_growth


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SnrMap(Brief):
    """Signal and noise of one line (or the continuum) at each spaxel; NaN outside the field.

    ``signal`` is additive (a flux, in the cube's scale): the signal of a bin is the sum over its
    spaxels. ``velocity`` (km/s) is where the line was measured, ``sigma`` (km/s) the width assumed,
    ``continuum`` the flux density under the line.
    """

    signal: Float[F64, "y x"]
    noise: Float[F64, "y x"]
    line: str
    method: str
    continuum: Float[F64, "y x"]
    velocity: Float[F64, "y x"] | None = None
    sigma: float = 0.0

    @property
    def snr(self) -> Float[F64, "y x"]:
        """``signal / noise``."""
        return np.divide(
            self.signal,
            self.noise,
            out=np.full_like(self.signal, np.nan),
            where=np.isfinite(self.noise) & (self.noise > 0),
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BinMap(Brief):
    """Which bin each spaxel is in, and what each bin reaches.

    Attributes
    ----------
    bin_id : int32 [y, x]
        0 ... n_bin - 1; -1 for spaxels in no bin.
    n_spaxel, snr, flags : [bin]
        ``snr`` is that of the bin's own spaxels, noise correlation included; flags 0 means that
        the target is reached.
    target
        The S/N asked for; NaN where the bins were given.
    correlation
        alpha of the noise correlation law ``1 + alpha log10(n_spaxel)``; under another model the
        one that describes these bins best.
    growth : [bin]
        The noise of each bin over the quadratic sum of its spaxels' noise; by that law if not
        given.
    noise_model
        The model of the noise correlation in words; empty for that law.
    margin
        What bins were grown to have over the target, so that noise alone lifts few over it.
    is_region : bool [bin]
        True for H II regions and other labels, False for bins of the field round them; None where
        bins are not told apart.
    snr_measured : [bin]
        S/N measured on each bin's stacked spectrum; None where it was not.
    """

    bin_id: Int[I32, "y x"]
    n_spaxel: Int[I32, " bin"]
    snr: Float[F64, " bin"]
    flags: Int[I32, " bin"]
    target: float = float("nan")
    correlation: float = 0.0
    growth: Float[F64, " bin"] = None  # type: ignore[assignment]  # filled below
    noise_model: str = ""
    margin: float = 0.0
    is_region: Bool[B8, " bin"] | None = None
    snr_measured: Float[F64, " bin"] | None = None

    def __post_init__(self) -> None:
        """Follow the law where the growth of the noise is not given."""
        if self.growth is None:
            object.__setattr__(self, "growth", noise_growth(self.n_spaxel, self.correlation))

    @property
    def n_bin(self) -> int:
        """How many bins there are."""
        return int(self.n_spaxel.size)

    @property
    def promise(self) -> float:
        """Median of measured over predicted S/N of the bins without a flag; NaN where unknown.

        Of those of more than one spaxel, where there are any: a spaxel alone was measured before.
        """
        if self.snr_measured is None:
            return float("nan")
        good = (self.flags == 0) & np.isfinite(self.snr_measured) & (self.snr != 0)
        shared = good & (self.n_spaxel > 1)
        good = shared if shared.any() else good
        ratio = self.snr_measured[good] / self.snr[good]
        return float(np.median(ratio)) if good.any() else float("nan")

    @property
    def centers(self) -> tuple[Float[F64, " bin"], Float[F64, " bin"]]:
        """Mean y and x of the spaxels of each bin, pixels from 0."""
        y, x = np.nonzero(self.bin_id >= 0)
        row = self.bin_id[y, x]
        return (
            np.bincount(row, y, self.n_bin) / self.n_spaxel,
            np.bincount(row, x, self.n_bin) / self.n_spaxel,
        )

    def paint(self, values: NDArray[Any], blank: float = np.nan) -> NDArray[Any]:
        """Return a ``(..., y, x)`` map of values ``[bin, ...]``; ``blank`` outside every bin."""
        moved = np.moveaxis(np.asarray(values), 0, -1)
        empty = np.full(
            (*moved.shape[:-1], 1),
            blank,
            dtype=np.result_type(moved.dtype, np.min_scalar_type(blank)),
        )
        return np.asarray(np.concatenate([moved, empty], axis=-1)[..., self.bin_id])
