"""How well a run found the truth of a mock galaxy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32
from betis.errors import InputError
from betis.flags import Flag
from betis.mock.instruments import MOCK_SCALE
from betis.mock.truth import Truth
from betis.products import ContinuumFit, LineFit

LINES = ("Ha6563", "Hb4861", "OIII5007", "NII6583", "SII6716", "SII6731")
MIN_SNR = 10.0

_FATAL = (
    Flag.NO_DATA
    | Flag.FEW_PIXELS
    | Flag.NOT_CONVERGED
    | Flag.AT_BOUND
    | Flag.FIT_FAILED
    | Flag.NOT_DETECTED
)


@dataclass(frozen=True, kw_only=True)
class LineRecovery:
    """One line, over the rows that have it above `MIN_SNR` and without a fatal flag.

    A pull is (found - true) / error. ``robust`` is 1.4826 times the median absolute deviation.
    Every number is NaN where ``n`` is 0.

    Attributes
    ----------
    line
    n
        How many rows.
    flux_bias
        Median of found / true - 1.
    flux_pull_std, flux_pull_robust
    velocity_bias : km/s
        Median of found - true.
    velocity_pull_std, velocity_pull_robust
    """

    line: str
    n: int
    flux_bias: float
    flux_pull_std: float
    flux_pull_robust: float
    velocity_bias: float
    velocity_pull_std: float
    velocity_pull_robust: float


@dataclass(frozen=True, kw_only=True)
class StellarRecovery:
    """Velocity of the stars, over the rows without a fatal flag; as in `LineRecovery`."""

    n: int
    velocity_bias: float
    velocity_pull_std: float
    velocity_pull_robust: float


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How well the truth was found: a row a line, and the stars."""

    lines: tuple[LineRecovery, ...]
    stars: StellarRecovery

    def __getitem__(self, line: str) -> LineRecovery:
        """Return the row of a line.

        Raises
        ------
        InputError
            Where the line was not compared.
        """
        for row in self.lines:
            if row.line == line:
                return row
        raise InputError(
            f"the line {line} was not compared; these were: "
            f"{', '.join(row.line for row in self.lines)}"
        )


def compare(
    truth: Truth, bin_id: Int[I32, "y x"], lines: LineFit, continuum: ContinuumFit
) -> Recovery:
    """Compare what was found in bins with the truth in the same bins.

    True fluxes are summed over a bin; true velocities are weighted by the flux of the line, for
    stars by their light.

    Parameters
    ----------
    truth
    bin_id : [y, x]
        Row of the fits that a spaxel went into; -1 for none.
    lines, continuum
        The fits, a row a bin. Of the lines, those in `LINES` that are both true and fitted. Their
        fluxes are in the unit of ``lines.sky``, or that of the truth where it is unknown.

    Raises
    ------
    InputError
        Where the bins, the fits and the truth are not of one cube.
    """
    n_bin = _check(truth, bin_id, lines, continuum)
    total = _summer(truth, bin_id, n_bin)
    shared = [name for name in LINES if name in truth.names and name in lines.names]
    return Recovery(
        lines=tuple(_compare_line(truth, total, lines, name) for name in shared),
        stars=_compare_stars(truth, total, continuum),
    )


def _check(truth: Truth, bin_id: Int[I32, "y x"], lines: LineFit, continuum: ContinuumFit) -> int:
    if bin_id.shape != truth.shape:
        raise InputError(
            f"the bins are of a field of {bin_id.shape} spaxels and the truth is of one of "
            f"{truth.shape}; give the truth of the cube that was binned"
        )
    n_bin = int(bin_id.max()) + 1
    found = len(lines.flux), len(continuum.velocity)
    if found != (n_bin, n_bin):
        raise InputError(
            f"there are {n_bin} bins, but {found[0]} rows of lines and {found[1]} of continuum; "
            "give the fits of these bins"
        )
    return n_bin


_Sum = Callable[[Float[F64, "y x"]], Float[F64, " bin"]]


def _summer(truth: Truth, bin_id: Int[I32, "y x"], n_bin: int) -> _Sum:
    """Return the function that sums a map over each bin."""
    inside = (bin_id >= 0) & np.isfinite(truth.velocity)

    def total(values: Float[F64, "y x"]) -> Float[F64, " bin"]:
        return np.bincount(bin_id[inside], values[inside], n_bin).astype(float)

    return total


def _compare_line(truth: Truth, total: _Sum, lines: LineFit, name: str) -> LineRecovery:
    column, flux_map = lines.index(name), truth.flux[truth.names.index(name)]
    flux = total(flux_map)
    velocity = _divide(total(flux_map * truth.velocity), flux)
    good = (lines.snr[:, column] > MIN_SNR) & _without_fatal_flag(lines.flags[:, column])
    unit = _unit(lines)
    flux_difference = unit * lines.flux[good, column] - flux[good]
    shift = lines.velocity[good, column] - velocity[good]
    flux_pull = _divide(flux_difference, unit * lines.flux_err[good, column])
    velocity_pull = _divide(shift, lines.velocity_err[good, column])
    return LineRecovery(
        line=name,
        n=int(good.sum()),
        flux_bias=_median(_divide(flux_difference, flux[good])),
        flux_pull_std=_std(flux_pull),
        flux_pull_robust=_robust_std(flux_pull),
        velocity_bias=_median(shift),
        velocity_pull_std=_std(velocity_pull),
        velocity_pull_robust=_robust_std(velocity_pull),
    )


def _unit(lines: LineFit) -> float:
    """Return what 1 in the fluxes is in the unit of the truth."""
    scale = 0.0 if lines.sky is None else lines.sky.flux_scale
    return (scale or MOCK_SCALE) / MOCK_SCALE


def _compare_stars(truth: Truth, total: _Sum, continuum: ContinuumFit) -> StellarRecovery:
    light = total(truth.continuum)
    velocity = _divide(total(truth.continuum * truth.stellar_velocity), light)
    good = _without_fatal_flag(continuum.flags) & np.isfinite(continuum.velocity)
    shift = continuum.velocity[good] - velocity[good]
    pull = _divide(shift, continuum.velocity_err[good])
    return StellarRecovery(
        n=int(good.sum()),
        velocity_bias=_median(shift),
        velocity_pull_std=_std(pull),
        velocity_pull_robust=_robust_std(pull),
    )


def _without_fatal_flag(flags: Int[I32, " bin"]) -> Bool[B8, " bin"]:
    return np.asarray((flags & int(_FATAL)) == 0)


def _divide(values: Float[F64, " bin"], by: Float[F64, " bin"]) -> Float[F64, " bin"]:
    """Divide, with NaN where the divisor is not above 0."""
    return np.asarray(np.divide(values, by, out=np.full(values.shape, np.nan), where=by > 0))


def _median(values: Float[F64, " bin"]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _std(values: Float[F64, " bin"]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.std(finite)) if finite.size else float("nan")


def _robust_std(values: Float[F64, " bin"]) -> float:
    return 1.4826 * _median(np.abs(values - _median(values)))
