"""The lowest valley of chi² for lines that are looked for: a scan over velocity and width.

With the fluxes and the background at their best, chi² of one kinematic set is a surface in
velocity and width with as many valleys as the noise has bumps. All rows of a group share the
profiles at the points of a grid, so that the whole surface is a few matrix products.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr

from betis.arrays import B8, F64, Index
from betis.lines.groups import GroupClass
from betis.lines.model import Problem
from betis.lines.start import has_spike, products
from betis.wavelength import C_KMS

__all__ = ["lowest_valleys"]


_VELOCITY_STEP, _WIDTH_STEP = 0.5, 1.5
"""Steps of the grid: in dispersions, and from one dispersion to the next, at most."""
_DOUBLET_STEP = 0.25
"""That of velocities for sets of several free fluxes: a bright doublet has rivals, one of its lines
in the place of the other, that are lower by little."""
_SWEEPS = 4
"""Rounds over the fluxes of one set; neighbours in a doublet overlap little."""
_ROUNDS = (True, False)
"""Whether each set of a group has only the brighter ones taken off, or all others."""
_ALIKE = 128
"""Rows of like velocity that go together: the points that they allow are about the same."""
_TINY, _NOTHING = 1e-300, 1e-12
_CLOSE = 0.9
"""Share of the highest point from which a lower one may be under the highest peak."""
_SEEN_SHARE = 0.1
"""Share of a profile's weight that the good pixels and the background must leave."""


class _Grid(NamedTuple):
    """Velocities and widths (km/s), and the profile there of each free flux of one set.

    ``kin`` is the place of the velocity among the parameters, ``at`` are those of the fluxes, and
    ``pixels`` is where any of the profiles is not zero; ``step`` is that of the velocities, in
    dispersions.
    """

    kin: int
    at: list[int]
    pixels: slice
    velocity: Float[F64, " grid"]
    width: Float[F64, " grid"]
    step: float
    profile: Float[F64, "flux grid pixel"]


class _Rows(NamedTuple):
    """The rows of one group, in units of their errors, what a linear background leaves.

    ``ground`` are weighted, orthonormal columns of the background.
    """

    pull: Float[F64, "row pixel"]
    weight: Float[F64, "row pixel"]
    ground: Float[F64, "2 row pixel"]
    lower: Float[F64, "row param"]
    upper: Float[F64, "row param"]


class _Normal(NamedTuple):
    """The normal matrix of the fluxes of one set at each point, the background eliminated.

    ``inverse`` is that of the diagonal, 0 where the data do not see the line, or where its
    velocity would be out of bounds.
    """

    inverse: Float[F64, "flux row grid"]
    across: dict[tuple[int, int], Float[F64, "row grid"]]


class _Best(NamedTuple):
    """The best point of a set in each row: what it takes off chi², and its model there."""

    gain: Float[F64, " row"]
    velocity: Float[F64, " row"]
    width: Float[F64, " row"]
    model: Float[F64, "row pixel"]


def lowest_valleys(
    kind: GroupClass, rows: Problem, start: Float[F64, "row param"]
) -> Float[F64, "row param"]:
    """Return starts with the sets that are looked for in the lowest valley of chi².

    Within the bounds of the problems and for fluxes of the signs that these allow. Of several sets
    in a group each is placed with the brighter ones taken off, then again with all the others.
    A row with a spike stays as it is, and so does a set that could take nothing off chi².

    Parameters
    ----------
    rows
        Problems with a leading row axis, groups one after the other.
    start
        Velocities and widths in km/s.

    References
    ----------
    Elimination of linear parameters: Golub & Pereyra 1973, SIAM J. Numer. Anal. 10 413.
    """
    found = start.copy()
    n_spectrum = len(start) // max(kind.group.size, 1)
    for group in np.flatnonzero(_looked_for(kind).any(axis=1)):
        own = slice(group * n_spectrum, (group + 1) * n_spectrum)
        some = Problem(*(values[own] for values in rows))
        found[own] = _placed(kind, int(group), some, start[own])
    return found


def _looked_for(kind: GroupClass) -> Bool[B8, "group kin"]:
    return np.asarray((kind.search > 0) & (kind.shared < 0))


def _placed(
    kind: GroupClass, group: int, rows: Problem, start: Float[F64, "row param"]
) -> Float[F64, "row param"]:
    """Return the starts of one group."""
    found = start.copy()
    member = kind.kinematics[group, kind.line[group] >= 0].sum(axis=0) > 0
    sets = [int(k) for k in np.flatnonzero(member)]
    grids = [_grid_of(kind, group, k, rows) for k in sets]
    moves = np.flatnonzero(~has_spike(kind, group, rows))
    first = grids[0].kin
    moves = moves[np.argsort(rows.lower[moves, first], kind="stable")]
    for part in np.array_split(moves, -(-moves.size // _ALIKE)) if moves.size else []:
        best = _best_of_sets(grids, _rows_of(Problem(*(values[part] for values in rows))))
        for k, grid, each in zip(sets, grids, best, strict=True):
            if _looked_for(kind)[group, k]:
                moved = part[each.gain > 0]
                found[moved, grid.kin] = each.velocity[each.gain > 0]
                found[moved, grid.kin + kind.n_kin] = each.width[each.gain > 0]
    return found


def _best_of_sets(grids: list[_Grid], seen: _Rows) -> list[_Best]:
    """Return the best point of each set, the others held where they were best."""
    grids = [_near(grid, seen) for grid in grids]
    normals = [_normal_of(grid, seen) for grid in grids]
    best = [_search(grid, normal, seen) for grid, normal in zip(grids, normals, strict=True)]
    gain = np.stack([each.gain for each in best])
    for is_brighter_only in _ROUNDS if len(grids) > 1 else ():
        model = np.stack([each.model for each in best])
        best = []
        for i, (grid, normal) in enumerate(zip(grids, normals, strict=True)):
            others = gain > gain[i] if is_brighter_only else np.ones(gain.shape, bool)
            others[i] = False
            rest = seen.pull - _left(np.einsum("sr,sri->ri", others.astype(float), model), seen)
            best.append(_search(grid, normal, seen._replace(pull=rest)))
    return best


def _rows_of(rows: Problem) -> _Rows:
    """Return data and background as the scan sees them."""
    first = _unit(rows.weight)
    slope = rows.position * rows.weight
    second = _unit(slope - np.einsum("ri,ri->r", slope, first)[:, None] * first)
    pull = rows.flux * rows.weight
    seen = _Rows(pull, rows.weight, np.stack([first, second]), rows.lower, rows.upper)
    return seen._replace(pull=_left(pull, seen))


def _unit(values: Float[F64, "row pixel"]) -> Float[F64, "row pixel"]:
    square = np.einsum("ri,ri->r", values, values)
    return np.asarray(values / np.sqrt(np.maximum(square, _TINY))[:, None])


def _left(values: Float[F64, "row pixel"], seen: _Rows) -> Float[F64, "row pixel"]:
    """Return what the background leaves of values in units of the errors."""
    for column in seen.ground:
        values = values - np.einsum("ri,ri->r", values, column)[:, None] * column
    return values


def _grid_of(kind: GroupClass, group: int, k: int, rows: Problem) -> _Grid:
    """Return the grid of one set, and the profiles of each flux there.

    Velocities are multiples of the step, so that they do not depend on the other rows.
    """
    at = kind.n_flux + k
    ends = rows.lower[:, at].min(initial=0.0), rows.upper[:, at].max(initial=0.0)
    tied = kind.ratio[group, (kind.kinematics[group, :, k] > 0) & (kind.line[group] >= 0)]
    step = _VELOCITY_STEP if (tied != 0).any(axis=0).sum() < 2 else _DOUBLET_STEP
    velocity, width = _points(ends, (kind.least[group, k], kind.most[group, k]), step)
    edges = kind.edges[group]
    fluxes: dict[int, F64] = {}
    for i in np.flatnonzero((kind.kinematics[group, :, k] > 0) & (kind.line[group] >= 0)):
        sigma = np.sqrt(width**2 + kind.excess[group, i])
        z = (edges * (C_KMS / kind.wave[group, i]) - C_KMS - velocity[:, None]) / sigma[:, None]
        share = np.diff(ndtr(z), axis=1) / np.diff(edges)
        for f in np.flatnonzero(kind.ratio[group, i]):
            fluxes[int(f)] = fluxes.get(int(f), 0.0) + kind.ratio[group, i, f] * share
    profile = np.stack(list(fluxes.values()))
    seen = np.flatnonzero((np.abs(profile) > _NOTHING).any(axis=(0, 1)))
    pixels = slice(int(seen[0]), int(seen[-1]) + 1) if seen.size else slice(0, 1)
    return _Grid(at, list(fluxes), pixels, velocity, width, step, profile[:, :, pixels])


def _points(
    velocities: tuple[float, float], widths: tuple[float, float], fineness: float
) -> tuple[F64, F64]:
    """Return velocities and widths of the points, finer in velocity where narrow, km/s."""
    n_width = 1 + int(np.ceil(np.log(max(widths[1] / widths[0], 1.0)) / np.log(_WIDTH_STEP)))
    every, each = [], []
    for width in np.geomspace(*widths, n_width):
        step = fineness * width
        ends = int(np.floor(velocities[0] / step)), int(np.ceil(velocities[1] / step))
        every.append(step * np.arange(ends[0], ends[1] + 1))
        each.append(np.full(every[-1].size, width))
    return np.concatenate(every), np.concatenate(each)


def _near(grid: _Grid, seen: _Rows) -> _Grid:
    """Return the points that any of the rows allows."""
    ends = seen.lower[:, grid.kin].min(), seen.upper[:, grid.kin].max()
    near = _within(grid, *ends)
    return grid._replace(
        velocity=grid.velocity[near], width=grid.width[near], profile=grid.profile[:, near]
    )


def _within(grid: _Grid, slowest: Any, fastest: Any) -> Any:
    """Tell the points that are nearest to a velocity within bounds."""
    margin = 0.5 * grid.step * grid.width
    return (grid.velocity + margin >= slowest) & (grid.velocity - margin <= fastest)


def _normal_of(grid: _Grid, seen: _Rows) -> _Normal:
    """Return the normal matrices of all points."""
    weight = seen.weight[:, grid.pixels]
    square, ground = weight**2, weight * seen.ground[:, :, grid.pixels]
    near = _within(grid, seen.lower[:, grid.kin, None], seen.upper[:, grid.kin, None])
    taken = [[products(column, profile) for column in ground] for profile in grid.profile]
    inverse, across = [], {}
    for f, profile in enumerate(grid.profile):
        power = products(square, profile**2) - taken[f][0] ** 2 - taken[f][1] ** 2
        usable = near & (power > _SEEN_SHARE * np.sum(profile**2, axis=1))
        inverse.append(np.divide(1.0, power, out=np.zeros_like(power), where=usable))
        for g in range(f):
            shared = products(square, profile * grid.profile[g])
            across[g, f] = shared - taken[f][0] * taken[g][0] - taken[f][1] * taken[g][1]
    return _Normal(_stacked(inverse), across)


def _stacked(values: list[F64]) -> F64:
    """Return arrays along a new first axis; a single one is not copied."""
    return values[0][None] if len(values) == 1 else np.stack(values)


def _search(grid: _Grid, normal: _Normal, seen: _Rows) -> _Best:
    """Return where one set takes most off chi²."""
    weighted = seen.pull[:, grid.pixels] * seen.weight[:, grid.pixels]
    drive = _stacked([products(weighted, profile) for profile in grid.profile])
    flux, gain = _fluxes(drive, normal, (seen.lower[:, grid.at].T, seen.upper[:, grid.at].T))
    best, most = _highest(gain, grid.width)
    row = np.arange(len(best))
    model = np.zeros_like(seen.pull)
    shape = np.einsum("fr,fri->ri", flux[:, row, best], grid.profile[:, best])
    model[:, grid.pixels] = shape * seen.weight[:, grid.pixels]
    velocity = np.clip(grid.velocity[best], seen.lower[:, grid.kin], seen.upper[:, grid.kin])
    return _Best(most, velocity, grid.width[best], model)


def _highest(
    gain: Float[F64, "row grid"], width: Float[F64, " grid"]
) -> tuple[Index, Float[F64, " row"]]:
    """Return the point under the highest peak, and how high it is between the points.

    A parabola through a point and its neighbours in velocity tells the height, where both are
    within the bounds.
    """
    most = gain.max(axis=1)
    row, at = np.nonzero(gain >= _CLOSE * most[:, None])
    here = gain[row, at]
    below, above = (gain[row, (at + way).clip(0, width.size - 1)] for way in (-1, 1))
    inner = (at > 0) & (at < width.size - 1)
    inner[inner] = width[at[inner] - 1] == width[at[inner] + 1]
    bend = 2 * here - below - above
    top = inner & (here >= below) & (here >= above) & (np.minimum(below, above) > 0) & (bend > 0)
    height = here + np.where(top, (above - below) ** 2 / (8 * np.where(top, bend, 1.0)), 0.0)
    order = np.lexsort((-height, row))
    first = order[np.searchsorted(row[order], np.arange(len(gain)))]
    return at[first], height[first]


def _fluxes(
    drive: Float[F64, "flux row grid"], normal: _Normal, bounds: tuple[F64, F64]
) -> tuple[Float[F64, "flux row grid"], Float[F64, "row grid"]]:
    """Return the fluxes of least chi² within their signs, and what they take off it.

    One flux after the other until they about agree.
    """
    flux, rest = np.zeros(drive.shape), np.zeros(drive.shape)
    for _ in range(_SWEEPS if len(drive) > 1 else 1):
        for f in range(len(drive)):
            alone = drive[f] - _from_others(flux, normal, f)
            rest[f] = _signed(alone, bounds[0][f], bounds[1][f])
            np.multiply(rest[f], normal.inverse[f], out=flux[f])
    gain = np.zeros(drive.shape[1:])
    for f in range(len(drive)):
        gain += flux[f] * (2 * drive[f] - rest[f] - _from_others(flux, normal, f))
    return flux, gain


def _from_others(flux: F64, normal: _Normal, f: int) -> Any:
    """Return what the other fluxes of the set have of the drive of one."""
    pairs = [(g, tuple(sorted((f, g)))) for g in range(len(flux)) if g != f]
    return sum((normal.across[pair[0], pair[1]] * flux[g] for g, pair in pairs), 0.0)


def _signed(values: Float[F64, "row grid"], low: F64, high: F64) -> Float[F64, "row grid"]:
    """Return values of the signs that the bounds, 0 or infinite, allow."""
    for limit, clipped in ((low, np.maximum), (high, np.minimum)):
        if np.all(limit == 0):
            values = clipped(values, 0.0)
        elif np.any(limit == 0):
            values = clipped(values, limit[:, None])
    return values
