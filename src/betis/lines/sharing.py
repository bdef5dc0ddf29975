"""One velocity and one dispersion for lines of several groups: what the groups share, solved for.

The groups of a spectrum have no other parameter in common, so that the shared ones are found by
damped Newton steps on the sum of the groups' chi², each with its own parameters at their best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from betis import compute
from betis.arrays import B8, F64, Index
from betis.lines.descent import (
    Prepared,
    Solved,
    is_short,
    prepared,
    put_rows,
    solve_groups,
    take_rows,
)
from betis.lines.groups import GroupClass
from betis.lines.measure import normal_matrices
from betis.lines.model import Problem
from betis.lines.solver import Solution, solve
from betis.products import Spectra

__all__ = ["SharedFit", "solve_classes"]


_ROUNDS = 40
_GAIN = 1e-4
"""The shared parameters are found where a step promises or brings less chi² than this."""
_DAMPING, _EASE, _TIGHTEN = 1e-3, 0.1, 8.0
_RIDGE = 1e-9
_NARROWEST, _TINY = 1e-3, 1e-300
_LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e6
_FARTHEST, _WIDENING = 100.0, 400.0
"""The longest step of a velocity, km/s, and what one of a squared dispersion may always be."""


class SharedFit(NamedTuple):
    """The fits of a class, and what other groups know of their parameters.

    ``known`` is added to the normal matrix of each row; None where nothing is shared.
    """

    solved: Solved
    known: Float[F64, "row param param"] | None


def solve_classes(
    kinds: list[GroupClass], gas: Spectra, velocity: Float[F64, " spectrum"]
) -> list[SharedFit]:
    """Fit the groups of all classes in some spectra.

    Parameters
    ----------
    velocity : km/s [spectrum]
        Of each spectrum, from all its lines.

    References
    ----------
    Elimination of each group's own parameters: Schur complement, as in Golub & Pereyra 1973,
    SIAM J. Numer. Anal. 10 413. Damping: Marquardt 1963, SIAM J. Appl. Math. 11 431.
    """
    n_shared = 1 + max((int(kind.shared.max(initial=-1)) for kind in kinds), default=-1)
    if n_shared == 0 or gas.n_spectrum == 0:
        apart = compute.at_once(lambda kind: solve_groups(kind, gas, velocity), kinds)
        return [SharedFit(solved, None) for solved in apart]
    parts = [_Part(kind, prepared(kind, gas, velocity), gas.n_spectrum, n_shared) for kind in kinds]
    found = _descend(parts)
    return _finished(parts, found)


@dataclass(frozen=True, eq=False)
class _Part:
    """One class: how its parameters follow from the shared ones.

    The shared parameters of a spectrum are the velocities of its shared sets, then their squared
    intrinsic dispersions, which may be negative where a line is sharper than it can be.
    """

    kind: GroupClass
    given: Prepared
    n_spectrum: int
    n_shared: int

    def rows_of(self, picked: Index) -> Index:
        """Return the rows of some spectra."""
        first = np.arange(self.kind.group.size)[:, None] * self.n_spectrum
        return np.asarray((first + picked).ravel())

    def places(self) -> list[tuple[int, int, int]]:
        """Return group, kinematic set and shared set of each set that is shared."""
        found = np.argwhere(self.kind.shared >= 0)
        return [(int(g), int(k), int(self.kind.shared[g, k])) for g, k in found]

    def put(self, params: Float[F64, "row param"], x: Float[F64, "picked shared"]) -> F64:
        """Return the parameters with the shared ones put into their places."""
        kind = self.kind
        whole = params.reshape(kind.group.size, len(x), kind.n_param).copy()
        for g, k, s in self.places():
            square = x[:, self.n_shared + s] + kind.reference[g, k] ** 2
            whole[g, :, kind.n_flux + k] = x[:, s]
            whole[g, :, kind.n_flux + kind.n_kin + k] = np.sqrt(np.maximum(square, _NARROWEST))
        return whole.reshape(params.shape)

    def slopes(self, params: Float[F64, "row param"]) -> Float[F64, "row param shared"]:
        """Return the derivatives of the parameters with respect to the shared ones."""
        kind, n_kin = self.kind, self.kind.n_kin
        whole = params.reshape(kind.group.size, -1, kind.n_param)
        slope = np.zeros((*whole.shape, 2 * self.n_shared))
        for g, k, s in self.places():
            width = whole[g, :, kind.n_flux + n_kin + k]
            slope[g, :, kind.n_flux + k, s] = 1
            slope[g, :, kind.n_flux + n_kin + k, self.n_shared + s] = 0.5 / width
        return slope.reshape(*params.shape, -1)

    def is_shared(self) -> B8:
        """Tell the parameters ``[group, param]`` that are shared."""
        kind = self.kind
        found = np.zeros((kind.group.size, kind.n_param), bool)
        for g, k, _ in self.places():
            found[g, [kind.n_flux + k, kind.n_flux + kind.n_kin + k]] = True
        return found

    def held(self, rows: Problem, params: Float[F64, "row param"]) -> Problem:
        """Return the problems with the shared parameters held where they are."""
        held = np.repeat(self.is_shared(), len(params) // self.kind.group.size, axis=0)
        return rows._replace(
            lower=np.where(held, params, rows.lower), upper=np.where(held, params, rows.upper)
        )

    def bounds(self) -> tuple[F64, F64]:
        """Return the least and the most that each spectrum's shared parameters may be."""
        kind = self.kind
        shape = (kind.group.size, self.n_spectrum, kind.n_param)
        low, high = (
            values.reshape(shape) for values in (self.given.rows.lower, self.given.rows.upper)
        )
        least = np.full((self.n_spectrum, 2 * self.n_shared), -np.inf)
        most = -least
        for g, k, s in self.places():
            at, to = (kind.n_flux + k, kind.n_flux + kind.n_kin + k), (s, self.n_shared + s)
            sharp = kind.reference[g, k] ** 2
            for i, j, below, power in zip(at, to, (0.0, sharp), (1, 2), strict=True):
                least[:, j] = np.maximum(least[:, j], low[g, :, i] ** power - below)
                most[:, j] = np.minimum(most[:, j], high[g, :, i] ** power - below)
        return least, most

    def guess(self) -> Float[F64, "spectrum shared"]:
        """Return what the first guesses are in shared parameters; NaN for sets of other classes."""
        kind = self.kind
        start = self.given.start.reshape(kind.group.size, self.n_spectrum, kind.n_param)
        x = np.full((self.n_spectrum, 2 * self.n_shared), np.nan)
        for g, k, s in self.places():
            width = start[g, :, kind.n_flux + kind.n_kin + k]
            x[:, s] = start[g, :, kind.n_flux + k]
            x[:, self.n_shared + s] = width**2 - kind.reference[g, k] ** 2
        return x


class _State(NamedTuple):
    """Where the spectra are: shared parameters, sums of chi², and the solutions of each part."""

    x: Float[F64, "spectrum shared"]
    chi2: Float[F64, " spectrum"]
    solutions: list[Solution]
    is_found: Bool[B8, " spectrum"]


def _descend(parts: list[_Part]) -> _State:
    """Return the shared parameters of least chi²."""
    least, most = _shared_bounds(parts)
    guess = np.nanmean([part.guess() for part in parts], axis=0)
    everyone = np.arange(len(guess))
    starts = [part.given.valley for part in parts]
    x = np.clip(guess, least, most)
    chi2, solutions = _evaluate(parts, starts, x, everyone)
    state = _State(x, chi2, solutions, np.zeros(len(x), bool))
    damping = np.full(len(x), _DAMPING)
    for _ in range(_ROUNDS):
        picked = np.flatnonzero(~state.is_found & (damping < _MOST_DAMPING))
        if not picked.size:
            break
        state, damping = _round(parts, state, damping, picked, (least[picked], most[picked]))
    return state


def _shared_bounds(parts: list[_Part]) -> tuple[F64, F64]:
    each = [part.bounds() for part in parts]
    least = np.maximum.reduce([low for low, _ in each])
    return least, np.maximum(np.minimum.reduce([high for _, high in each]), least)


def _round(
    parts: list[_Part], state: _State, damping: F64, picked: Index, bounds: tuple[F64, F64]
) -> tuple[_State, F64]:
    """Take one more step in some spectra; keep it where chi² falls."""
    x = state.x[picked]
    slope, bend = (
        np.sum(values, axis=0)
        for values in zip(
            *(_reduced(part, solution, picked) for part, solution in _pairs(parts, state)),
            strict=True,
        )
    )
    trial = _trial(x, slope, bend, damping[picked], bounds)
    moved = trial - x
    promised = 2 * np.sum(moved * slope, 1) - np.einsum("sa,sab,sb->s", moved, bend, moved)
    params = [solution.params[part.rows_of(picked)] for part, solution in _pairs(parts, state)]
    chi2, solutions = _evaluate(parts, params, trial, picked)
    gain = state.chi2[picked] - chi2
    lower = gain > 0
    ended = (lower & (gain < _GAIN)) | (np.abs(promised) < _GAIN)
    kept = picked[lower]
    new = _State(state.x.copy(), state.chi2.copy(), [], state.is_found.copy())
    new.x[kept], new.chi2[kept], new.is_found[picked] = trial[lower], chi2[lower], ended
    merged = [
        Solution(*put_rows(old, part.rows_of(kept), values, np.tile(lower, part.kind.group.size)))
        for (part, old), values in zip(_pairs(parts, state), solutions, strict=True)
    ]
    changed = damping.copy()
    now = damping[picked]
    eased, tightened = np.maximum(_EASE * now, _LEAST_DAMPING), np.maximum(_TIGHTEN * now, _DAMPING)
    changed[picked] = np.where(lower, eased, tightened)
    return new._replace(solutions=merged), changed


def _pairs(parts: list[_Part], state: _State) -> list[tuple[_Part, Solution]]:
    return list(zip(parts, state.solutions, strict=True))


def _evaluate(
    parts: list[_Part], params: list[F64], x: Float[F64, "picked shared"], picked: Index
) -> tuple[Float[F64, " picked"], list[Solution]]:
    """Return chi² with the shared parameters at ``x`` and all others at their best."""
    chi2, solutions = np.zeros(len(x)), []
    for part, start in zip(parts, params, strict=True):
        rows = take_rows(part.given.rows, part.rows_of(picked))
        placed = part.put(start, x)
        found = solve(placed, part.held(rows, placed), is_short(rows))
        solutions.append(found)
        finite = np.where(np.isfinite(found.chi2), found.chi2, 0.0)
        chi2 += finite.reshape(-1, len(x)).sum(axis=0)
    return chi2, solutions


def _reduced(
    part: _Part, solution: Solution, picked: Index
) -> tuple[Float[F64, "picked shared"], Float[F64, "picked shared shared"]]:
    """Return minus half the slope of chi² along the shared parameters, and half its bend.

    The groups' own parameters follow to their best.
    """
    rows = part.rows_of(picked)
    here = Solution(*(values[rows] for values in solution))
    given = take_rows(part.given.rows, rows)
    outward = ((here.params <= given.lower) & (here.gradient <= 0)) | (
        (here.params >= given.upper) & (here.gradient >= 0)
    )
    free = ~outward & (here.scale > 0) & np.isfinite(here.chi2)[:, None]
    slopes = part.slopes(here.params)
    slope = np.einsum("rps,rp->rs", slopes, np.nan_to_num(here.gradient))
    bend = _eliminated(part, np.nan_to_num(here.hessian), free, slopes)
    shape = (part.kind.group.size, len(picked))
    return (
        slope.reshape(*shape, *slope.shape[1:]).sum(axis=0),
        bend.reshape(*shape, *bend.shape[1:]).sum(axis=0),
    )


def _eliminated(part: _Part, matrix: F64, free: B8, slopes: F64) -> Float[F64, "row shared shared"]:
    """Return the matrix in the shared parameters, each row's own ones eliminated."""
    shared = np.repeat(part.is_shared(), len(matrix) // part.kind.group.size, axis=0)
    own = (free & ~shared).astype(float)
    size = np.sqrt(np.maximum(np.abs(np.einsum("rpp->rp", matrix)), _TINY))
    scaled = matrix / size[:, :, None] / size[:, None] * own[:, :, None] * own[:, None]
    index = np.arange(matrix.shape[1])
    scaled[:, index, index] += np.where(own > 0, _RIDGE, 1.0)
    across = np.einsum("rpq,rqs->rps", matrix, slopes)
    inner = across / size[:, :, None] * own[:, :, None]
    known = np.einsum("rps,rpt->rst", slopes, across)
    return np.asarray(known - np.einsum("rps,rpt->rst", inner, np.linalg.solve(scaled, inner)))


def _trial(
    x: F64, slope: F64, bend: F64, damping: F64, bounds: tuple[F64, F64]
) -> Float[F64, "picked shared"]:
    """Return where the next step leads.

    What would leave its bounds goes to the bound, and the others take their step given that.
    """
    outward = ((x <= bounds[0]) & (slope <= 0)) | ((x >= bounds[1]) & (slope >= 0))
    step = _damped_step(slope, bend, damping, ~outward)
    step *= _share(step, x, bounds[0])[:, None]
    ended = np.clip(x + step, *bounds)
    held = outward | (ended != x + step)
    moved = np.where(held, ended - x, 0.0)
    rest = _damped_step(slope - np.einsum("sab,sb->sa", bend, moved), bend, damping, ~held)
    rest *= _share(rest, x, bounds[0])[:, None]
    return np.asarray(np.clip(x + np.where(held, moved, rest), *bounds))


def _damped_step(slope: F64, bend: F64, damping: F64, free: B8) -> Float[F64, "picked shared"]:
    """Return the damped Newton step of the free parameters, downhill whatever the bend."""
    size = np.sqrt(np.maximum(np.abs(np.einsum("saa->sa", bend)), _TINY))
    scaled = bend / size[:, :, None] / size[:, None] * free[:, :, None] * free[:, None]
    value, vector = np.linalg.eigh(scaled)
    along = np.einsum("sab,sa->sb", vector, slope / size * free)
    step = np.einsum("sab,sb->sa", vector, along / (np.abs(value) + damping[:, None])) / size
    return np.asarray(step * free)


def _share(step: F64, x: F64, least: F64) -> Float[F64, " picked"]:
    """Return the share of the step that moves no line far, and about doubles no squared width."""
    n_shared = step.shape[1] // 2
    far = np.abs(step[:, :n_shared]) / _FARTHEST
    wide = np.abs(step[:, n_shared:]) / (x - least + _WIDENING)[:, n_shared:]
    return np.asarray(1 / np.maximum(1.0, np.maximum(far, wide).max(axis=1)))


def _finished(parts: list[_Part], found: _State) -> list[SharedFit]:
    """Return the fits, with what the other groups say of each one's shared parameters."""
    each, slopes = [], []
    for part, solution in _pairs(parts, found):
        rows, n_group = part.given.rows, part.kind.group.size
        normal = np.nan_to_num(normal_matrices(rows, solution.params))
        fitted = np.isfinite(solution.chi2)
        slopes.append(part.slopes(solution.params))
        free = (rows.upper > rows.lower) & (np.einsum("rpp->rp", normal) > 0) & fitted[:, None]
        own = _eliminated(part, normal * fitted[:, None, None], free, slopes[-1])
        each.append(own.reshape(n_group, -1, *own.shape[1:]))
    whole = np.sum([own.sum(axis=0) for own in each], axis=0)
    least, most = _shared_bounds(parts)
    return [
        _shared_fit(part, (solution, found.is_found), (least, most), whole - own)
        for (part, solution), own in zip(_pairs(parts, found), each, strict=True)
    ]


def _shared_fit(
    part: _Part, end: tuple[Solution, B8], bounds: tuple[F64, F64], others: F64
) -> SharedFit:
    solution, is_found = end
    n_group = part.kind.group.size
    rows = part.given.rows
    held = rows._replace(
        lower=part.put(rows.lower, bounds[0]), upper=part.put(rows.upper, bounds[1])
    )
    slopes = part.slopes(solution.params)
    inverse = np.divide(1.0, slopes, out=np.zeros_like(slopes), where=slopes > 0)
    known = np.einsum("rps,rst,rqt->rpq", inverse, others.reshape(-1, *others.shape[2:]), inverse)
    ended = solution._replace(converged=solution.converged & np.tile(is_found, n_group))
    return SharedFit(Solved(held, part.given.scale, part.given.start, ended), known)
