"""The fits of a class of groups: first guesses, bounds, solution, and a second try where needed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64, Index
from betis.lines.groups import GroupClass, near_start, problems
from betis.lines.measure import known_flux, n_free
from betis.lines.model import Problem
from betis.lines.scan import lowest_valleys
from betis.lines.solver import Solution, solve
from betis.lines.start import own_places, start_params
from betis.products import Spectra

__all__ = [
    "Prepared",
    "Solved",
    "is_short",
    "prepared",
    "put_rows",
    "solve_groups",
    "take_rows",
]


class Solved(NamedTuple):
    """The fits of a class: problems, scales of their fluxes, first guesses and solutions."""

    rows: Problem
    scale: Float[F64, " row"]
    start: Float[F64, "row param"]
    solution: Solution


class Prepared(NamedTuple):
    """The problems of a class, scales of their fluxes, first guesses, and where fits begin.

    ``unheld`` are the problems whose velocities are not yet held near the first guess; ``valley``
    is the first guess or, for sets that are looked for, the lowest place within the bounds.
    """

    rows: Problem
    unheld: Problem
    scale: Float[F64, " row"]
    start: Float[F64, "row param"]
    valley: Float[F64, "row param"]
    brightest: Float[F64, "row param"]


def prepared(kind: GroupClass, gas: Spectra, velocity: Float[F64, " spectrum"]) -> Prepared:
    """Return the problems of a class in some spectra, and where their fits begin."""
    unheld, scale = problems(kind, gas)
    place, is_seen = own_places(kind, gas, velocity)
    start = start_params(kind, np.where(is_seen, place, velocity[:, None]))
    held = near_start(kind, unheld, start)
    valley = lowest_valleys(kind, held, start)
    return Prepared(held, unheld, scale, start, valley, start_params(kind, place))


def is_short(rows: Problem) -> Bool[B8, " row"]:
    """Tell the rows with no more good pixels than free parameters."""
    return np.asarray((rows.weight > 0).sum(axis=1) <= n_free(rows))


def solve_groups(kind: GroupClass, gas: Spectra, velocity: Float[F64, " spectrum"]) -> Solved:
    """Fit the groups of a class in some spectra; rows are group by group.

    A flux of one sign alone that is 0 where its line was looked for has no slope along the
    velocity, so that the fit ends there wherever the line is. Such rows are tried again from where
    their lines look brightest, and keep the lower chi².

    Parameters
    ----------
    velocity : km/s [spectrum]
        Of each spectrum, from all its lines.
    """
    rows, unheld, scale, start, valley, brightest = prepared(kind, gas, velocity)
    solution = _solve(rows, valley)
    lost = _lost(rows, solution)
    if not lost.any():
        return Solved(rows, scale, start, solution)
    other = _moved(kind, solution.params, lost, brightest)
    around = _moved(kind, start, lost, brightest)
    again = np.flatnonzero(lost.any(axis=1))
    held = take_rows(near_start(kind, unheld, around), again)
    tried = _solve(held, other[again])
    lower = tried.chi2 < solution.chi2[again]
    better = again[lower]
    return Solved(
        Problem(*put_rows(rows, better, held, lower)),
        scale,
        put_rows([start], better, [other[again]], lower)[0],
        Solution(*put_rows(solution, better, tried, lower)),
    )


def _solve(rows: Problem, start: Float[F64, "row param"]) -> Solution:
    return solve(start, rows, is_short(rows))


def _lost(rows: Problem, solution: Solution) -> Bool[B8, "row kin"]:
    """Tell the kinematic sets whose fluxes all are 0 because they may have one sign only."""
    n_flux = rows.ratio.shape[2]
    known = known_flux(rows)
    signed = (rows.lower[:, :n_flux] == 0) | (rows.upper[:, :n_flux] == 0)
    at_zero = known & signed & (solution.params[:, :n_flux] == 0)

    def holds(flux: B8) -> B8:
        lines = np.einsum("rlf,rf->rl", np.abs(rows.ratio), flux.astype(float))
        return np.asarray(np.einsum("rlk,rl->rk", rows.kinematics, lines) > 0)

    fitted = np.isfinite(solution.chi2)[:, None]
    return np.asarray(holds(at_zero) & ~holds(known & ~at_zero) & fitted)


def _moved(
    kind: GroupClass,
    params: Float[F64, "row param"],
    lost: Bool[B8, "row kin"],
    brightest: Float[F64, "row param"],
) -> Float[F64, "row param"]:
    """Return parameters without flux, and with the lost sets where they look brightest."""
    start = brightest.copy()
    middle = slice(kind.n_flux, kind.n_flux + 2 * kind.n_kin)
    start[:, middle] = np.where(np.tile(lost, 2), start[:, middle], params[:, middle])
    return start


def take_rows(rows: Problem, picked: Index) -> Problem:
    """Return some of the rows."""
    return Problem(*(values[picked] for values in rows))


def put_rows(into: Any, place: Index, values: Any, picked: B8) -> list[Any]:
    """Return copies of some arrays with the picked rows of others in some places."""
    changed = [old.copy() for old in into]
    for array, new in zip(changed, values, strict=True):
        array[place] = new[picked]
    return changed
