"""Fluxes of a few lines in each spectrum, with their covariance and whether they may be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64, Index
from betis.flags import Flag
from betis.products import LineFit

__all__ = ["Fluxes", "Quantity"]

_SECOND = "_2"
"""What the name of a line's second component ends with; its flux is part of the line's."""
_UNUSABLE = Flag.NO_DATA | Flag.FEW_PIXELS | Flag.FIT_FAILED


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """Something that follows from some lines, NaN where one of them is too faint.

    Attributes
    ----------
    value, error : [spectrum] or [spectrum, line]
    unit
        As FITS writes it.
    meaning
        In words, with its source.
    lines
        Those that must reach the S/N.
    """

    value: Float[F64, "spectrum ..."]
    error: Float[F64, "spectrum ..."]
    unit: str
    meaning: str
    lines: tuple[str, ...]

    def where(self, usable: Bool[B8, " spectrum"]) -> Quantity:
        """Return the quantity with NaN elsewhere."""
        kept = usable.reshape(-1, *(1,) * (self.value.ndim - 1))
        return Quantity(
            value=np.where(kept, self.value, np.nan),
            error=np.where(kept, self.error, np.nan),
            unit=self.unit,
            meaning=self.meaning,
            lines=self.lines,
        )


class Fluxes:
    """The fluxes of a fit, line by line; a second component counts as part of its line.

    Parameters
    ----------
    lines
        The fit. Its ``flux_cov`` is used where it is there; otherwise the fluxes of different
        lines are taken as independent.
    min_snr
        S/N from which a line may be used.
    """

    def __init__(self, lines: LineFit, min_snr: float) -> None:
        self._lines, self.min_snr = lines, min_snr

    def has(self, *names: str) -> bool:
        """Tell whether the fit has all of these lines."""
        return set(names) <= set(self._lines.names)

    def flux(self, name: str) -> Float[F64, " spectrum"]:
        """Return the flux of a line, flux scale x Angstrom; NaN where it was not fitted."""
        return self._sum(self._lines.flux, name)

    def width(self, name: str) -> Float[F64, " spectrum"]:
        """Return the equivalent width of a line, Angstrom; NaN where it was not fitted."""
        return self._sum(self._lines.ew, name)

    def total(self, names: Sequence[str]) -> Float[F64, " spectrum"]:
        """Return the sum of the fluxes of some lines."""
        return np.asarray(np.sum([self.flux(name) for name in names], axis=0))

    def covariance(self, a: Sequence[str], b: Sequence[str]) -> Float[F64, " spectrum"]:
        """Return the covariance of two sums of lines."""
        left, right = (
            np.concatenate([self._parts(name) for name in names]).astype(int) for names in (a, b)
        )
        if self._lines.flux_cov is not None:
            return np.asarray(np.nansum(self._lines.flux_cov[:, left[:, None], right], axis=(1, 2)))
        shared = np.intersect1d(left, right)
        return np.asarray(np.nansum(self._lines.flux_err[:, shared] ** 2, axis=1))

    def usable(self, *sums: Sequence[str]) -> Bool[B8, " spectrum"]:
        """Tell where each of these sums of lines is positive and reaches the S/N, all fitted."""
        kept = np.ones(len(self._lines.flux), bool)
        for names in sums:
            variance = self.covariance(names, names)
            with np.errstate(invalid="ignore", divide="ignore"):
                snr = self.total(names) / np.sqrt(variance)
            kept &= np.nan_to_num(snr, posinf=0.0) >= self.min_snr
            for name in names:
                first = self._lines.index(name)
                kept &= (self._lines.flags[:, first] & _UNUSABLE) == 0
        return kept

    def _sum(self, values: Float[F64, "spectrum line"], name: str) -> Float[F64, " spectrum"]:
        first, *second = values[:, self._parts(name)].T
        return np.asarray(first + np.sum(np.nan_to_num(second), axis=0))

    def _parts(self, name: str) -> Index:
        names = self._lines.names
        return np.array([names.index(part) for part in (name, name + _SECOND) if part in names])
