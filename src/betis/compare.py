"""Two runs on the same sky: what one measured against the other, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32, Index
from betis.errors import InputError
from betis.flags import Flag
from betis.products import BinMap, ContinuumFit, LineFit
from betis.wavelength import C_KMS

__all__ = ["STARS", "Difference", "Pairs", "Side", "compare_sides", "pair_bins"]

STARS = "stars"
"""What stands in place of a line's name where the stars were compared."""

_ABSENT = Flag.NO_DATA | Flag.FIT_FAILED | Flag.NOT_DETECTED | Flag.NO_COMPONENT
_FAILED = Flag.NO_DATA | Flag.FIT_FAILED
_UNITS = {"flux": "", "velocity": "km/s", "sigma": "km/s", "ew": "Å", "av": "mag"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """What one of the two runs measured; the rows of the fits are its bins.

    Attributes
    ----------
    bins, lines
    stars
        None where no engine fitted them.
    redshift
        That velocities are relative to.
    spaxel_area
        arcsec²; NaN where it is not known, and fluxes are compared spaxel by spaxel.
    """

    bins: BinMap
    lines: LineFit
    stars: ContinuumFit | None
    redshift: float
    spaxel_area: float = float("nan")

    @property
    def flux_scale(self) -> float:
        """What 1 stands for in the fluxes, erg/s/cm²; 0 where it is not known."""
        return self.lines.sky.flux_scale if self.lines.sky is not None else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Bins of two runs that share sky.

    Attributes
    ----------
    first, second : [pair]
        Their rows.
    weight : [pair]
        Spaxels of the first run that they share; 1 where both runs have the same bins, so that
        each bin counts once.
    index : [y, x]
        The pair that each spaxel of the first run is in, -1 for none.
    same_bins
        Whether both runs have the same bins.
    """

    first: Int[Index, " pair"]
    second: Int[Index, " pair"]
    weight: Int[Index, " pair"]
    index: Int[Index, "y x"]
    same_bins: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """One quantity of one line, or of the stars, in the second run against the first.

    Attributes
    ----------
    what
        Name of the line, or `STARS`.
    quantity
        flux, velocity, sigma, ew or av.
    unit
        Of ``value``; empty for a ratio.
    value : [pair]
        Second minus first; second over first for ``flux``. NaN where one of them has no detection.
    pull : [pair]
        Second minus first over both errors, added in quadrature.
    weight : [pair]
    only_first, only_second
        Weight of the pairs in which only one of the runs has it.
    """

    what: str
    quantity: str
    unit: str
    value: Float[F64, " pair"]
    pull: Float[F64, " pair"]
    weight: Int[Index, " pair"]
    only_first: int
    only_second: int

    @property
    def n_both(self) -> int:
        """Weight of the pairs in which both runs have it."""
        return int(self.weight[np.isfinite(self.value)].sum())

    def middle(self) -> tuple[float, float]:
        """Return the median, and half the central 68 %, of the values; NaN for none."""
        return _middle(self.value, self.weight)

    def middle_pull(self) -> tuple[float, float]:
        """Return the median, and half the central 68 %, of the pulls; NaN for none."""
        return _middle(self.pull, self.weight)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Column:
    """A quantity with its error at each pair, and where it was measured."""

    value: Float[F64, " pair"]
    error: Float[F64, " pair"]
    known: Bool[B8, " pair"]

    def times(self, factor: float | Float[F64, " pair"], plus: float = 0.0) -> _Column:
        return replace(self, value=self.value * factor + plus, error=self.error * factor)


def pair_bins(first: Int[I32, "y x"], second: Int[I32, "y x"]) -> Pairs:
    """Return the bins that share spaxels.

    Parameters
    ----------
    first, second : [y, x]
        The bin of each spaxel in either run, on the field of the first; -1 for none.

    Raises
    ------
    InputError
        Where no spaxel is in a bin of both.
    """
    shared = (first >= 0) & (second >= 0)
    if not shared.any():
        raise InputError(
            "the two runs have no spaxel in common that both have in a bin; compare runs on the "
            "same part of the sky"
        )
    same = bool(np.array_equal(first, second))
    keys = np.stack([first[shared], second[shared]], axis=1)
    pairs, place, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    index = np.full(first.shape, -1, np.intp)
    index[shared] = place.ravel()
    return Pairs(
        first=pairs[:, 0].astype(np.intp),
        second=pairs[:, 1].astype(np.intp),
        weight=np.ones_like(count) if same else count,
        index=index,
        same_bins=same,
    )


def compare_sides(first: Side, second: Side, pairs: Pairs) -> list[Difference]:
    """Return the differences of all that both runs measured: lines in the first's order, stars.

    Velocities of the second are brought to the redshift of the first. Fluxes are those of equal
    areas: per arcsec² where that is known, per spaxel otherwise. A line counts where it is fitted
    and detected (flags), a dispersion where the line is also resolved.

    Raises
    ------
    InputError
        Where they have neither a line nor stars in common.
    """
    names = [name for name in first.lines.names if name in second.lines.names]
    found = [item for name in names for item in _of_line(first, second, pairs, name)]
    found += _of_stars(first, second, pairs)
    if not found:
        raise InputError(
            "the two runs have no line in common, and one of them has no stars; compare runs whose "
            "line sets share a line"
        )
    return found


def _of_line(first: Side, second: Side, pairs: Pairs, name: str) -> Iterator[Difference]:
    for quantity in ("flux", "velocity", "sigma", "ew"):
        a = _line_column(first.lines, pairs.first, name, quantity)
        b = _line_column(second.lines, pairs.second, name, quantity)
        if quantity == "flux":
            a, b = a.times(_per_area(first, pairs.first)), b.times(_per_area(second, pairs.second))
        if quantity == "velocity":
            b = _at_redshift(b, second.redshift, first.redshift)
        yield _difference(name, quantity, a, b, pairs)


def _of_stars(first: Side, second: Side, pairs: Pairs) -> Iterator[Difference]:
    if first.stars is None or second.stars is None:
        return
    for quantity in ("velocity", "sigma", "av"):
        a = _column(first.stars, quantity, pairs.first, _FAILED)
        b = _column(second.stars, quantity, pairs.second, _FAILED)
        if quantity == "velocity":
            b = _at_redshift(b, second.redshift, first.redshift)
        yield _difference(STARS, quantity, a, b, pairs)


def _line_column(fit: LineFit, rows: Index, name: str, quantity: str) -> _Column:
    at = fit.index(name)
    absent = _ABSENT | (Flag.UNRESOLVED if quantity == "sigma" else Flag(0))
    return _column(fit, quantity, (rows, at), absent)


def _column(
    fit: LineFit | ContinuumFit, quantity: str, at: Index | tuple[Index, int], absent: Flag
) -> _Column:
    value = np.asarray(getattr(fit, quantity)[at], dtype=float)
    error = np.asarray(getattr(fit, f"{quantity}_err")[at], dtype=float)
    sound = (fit.flags[at] & int(absent)) == 0
    return _Column(value=value, error=error, known=sound & np.isfinite(value))


def _difference(what: str, quantity: str, a: _Column, b: _Column, pairs: Pairs) -> Difference:
    both = a.known & b.known
    shift = np.where(both, b.value - a.value, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        pull = shift / np.hypot(a.error, b.error)
        ratio = np.where(both, b.value / a.value, np.nan)
    value = ratio if quantity == "flux" else shift
    return Difference(
        what=what,
        quantity=quantity,
        unit=_UNITS[quantity],
        value=np.where(np.isfinite(value), value, np.nan),
        pull=np.where(np.isfinite(pull), pull, np.nan),
        weight=pairs.weight,
        only_first=int(pairs.weight[a.known & ~b.known].sum()),
        only_second=int(pairs.weight[b.known & ~a.known].sum()),
    )


def _per_area(side: Side, rows: Index) -> Float[F64, " pair"]:
    """Return what makes a flux of a bin one of a unit of area, erg/s/cm² where that is known."""
    spaxel = side.spaxel_area if np.isfinite(side.spaxel_area) else 1.0
    return np.asarray((side.flux_scale or 1.0) / (spaxel * side.bins.n_spaxel[rows]))


def _at_redshift(column: _Column, own: float, wanted: float) -> _Column:
    """Return velocities relative to another redshift: ``1 + z = (1 + z_ref) (1 + v/c)``."""
    factor = (1 + own) / (1 + wanted)
    return column.times(factor, C_KMS * (factor - 1))


def _middle(values: Float[F64, " pair"], weight: Int[Index, " pair"]) -> tuple[float, float]:
    """Return the weighted median and half the weighted central 68 % of the finite values."""
    good = np.isfinite(values)
    if not good.any():
        return float("nan"), float("nan")
    order = np.argsort(values[good])
    ordered, share = values[good][order], weight[good][order].astype(float)
    place = (np.cumsum(share) - 0.5 * share) / share.sum()
    low, middle, high = np.interp([0.15865, 0.5, 0.84135], place, ordered)
    return float(middle), float(high - low) / 2
