"""The fits of a class of groups: first guesses, bounds, solution, and a second try where needed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64, Index
from betis.lines.groups import GroupClass, near_start, problems
from betis.lines.measure import known_flux, n_free
from betis.lines.model import Problem
from betis.lines.solver import Solution, solve
from betis.lines.start import own_velocity, start_params
from betis.products import Spectra

__all__ = ["Solved", "solve_groups"]


class Solved(NamedTuple):
    """The fits of a class: problems, scales of their fluxes, first guesses and solutions."""

    rows: Problem
    scale: Float[F64, " row"]
    start: Float[F64, "row param"]
    solution: Solution


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
    unheld, scale = problems(kind, gas)
    start = start_params(kind, own_velocity(kind, gas, velocity))
    rows = near_start(kind, unheld, start)
    solution = _solve(rows, start)
    lost = _lost(rows, solution)
    if not lost.any():
        return Solved(rows, scale, start, solution)
    other = _moved(kind, solution.params, lost, own_velocity(kind, gas, velocity, seen=0.0))
    again = np.flatnonzero(lost.any(axis=1))
    held = _take(near_start(kind, unheld, other), again)
    tried = _solve(held, other[again])
    lower = tried.chi2 < solution.chi2[again]
    better = again[lower]
    return Solved(
        Problem(*_put(rows, better, held, lower)),
        scale,
        _put([start], better, [other[again]], lower)[0],
        Solution(*_put(solution, better, tried, lower)),
    )


def _solve(rows: Problem, start: Float[F64, "row param"]) -> Solution:
    return solve(start, rows, (rows.weight > 0).sum(axis=1) <= n_free(rows))


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
    place: Float[F64, "group spectrum kin"],
) -> Float[F64, "row param"]:
    """Return other first guesses: what was found, but the lost sets where they look brightest."""
    start = start_params(kind, place)
    middle = slice(kind.n_flux, kind.n_flux + 2 * kind.n_kin)
    start[:, middle] = np.where(np.tile(lost, 2), start[:, middle], params[:, middle])
    return start


def _take(rows: Problem, picked: Index) -> Problem:
    return Problem(*(values[picked] for values in rows))


def _put(into: Any, place: Index, values: Any, picked: B8) -> list[Any]:
    """Return copies of some arrays with the picked rows of others in some places."""
    changed = [old.copy() for old in into]
    for array, new in zip(changed, values, strict=True):
        array[place] = new[picked]
    return changed
