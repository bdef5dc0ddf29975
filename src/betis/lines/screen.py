"""Whether a component could be there: what it would take off chi² at each place and width.

Most spectra ask for no component. Whether one could is told by a linear filter on the residual of
the fit without it, which costs far less than the fit with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.special import ndtr

from betis import compute
from betis.arrays import B8, F64, Index
from betis.lines.groups import GroupClass
from betis.lines.measure import n_free
from betis.lines.model import Problem, columns, line_terms, model_of
from betis.lines.solver import Solution
from betis.wavelength import C_KMS

__all__ = ["Gain", "Residual", "best_gain", "empty_residual", "residual_of", "some_rows"]


_VELOCITY_STEP, _WIDTH_STEP = 0.75, 1.6
"""Steps of the grid: in dispersions, and from one dispersion to the next."""
_MOST_STEP = 120.0
_RIDGE = 1e-9
_CHUNK = 64


class Residual(NamedTuple):
    """A fit as the filter sees it, in units of the errors; rows first.

    Attributes
    ----------
    pull : [row, pixel]
        Data minus model.
    slopes : [row, param, pixel]
        Derivatives of the model, 0 for parameters that are held.
    weight : [row, pixel]
        Inverse error, 0 at bad pixels.
    chi2, n_free, n_good : [row]
    """

    pull: Float[F64, "row pixel"]
    slopes: Float[F64, "row param pixel"]
    weight: Float[F64, "row pixel"]
    chi2: Float[F64, " row"]
    n_free: Int[Index, " row"]
    n_good: Int[Index, " row"]


class Gain(NamedTuple):
    """The most that a component takes off chi², and its velocity and width there, km/s."""

    chi2: Float[F64, " row"]
    velocity: Float[F64, " row"]
    width: Float[F64, " row"]


def residual_of(rows: Problem, solution: Solution) -> Residual:
    """Return what a fit leaves, and which way its model can still go."""
    pull, slopes = compute.map_rows(_see_residual, [solution.params, *rows], chunk=_CHUNK)
    free = (solution.params > rows.lower) & (solution.params < rows.upper)
    return Residual(
        pull=np.asarray(pull),
        slopes=np.where(free[:, :, None], slopes, 0.0),
        weight=rows.weight,
        chi2=solution.chi2,
        n_free=n_free(rows),
        n_good=(rows.weight > 0).sum(axis=1),
    )


def _see_residual(params: Float[Array, " param"], *row: Any) -> tuple[Array, Array]:
    problem = Problem(*row)
    terms = line_terms(params, problem)
    pull = (problem.flux - model_of(params, problem, terms)) * problem.weight
    return pull, columns(params, problem, terms) * problem.weight


def empty_residual(rows: Problem) -> Residual:
    """Return what a linear background alone leaves: the fit without any line."""
    slopes = np.stack([np.ones_like(rows.position), rows.position], axis=1) * rows.weight[:, None]
    data = rows.flux * rows.weight
    inverse = _inverse(slopes @ slopes.swapaxes(1, 2))
    level = np.einsum("rpq,rqi,ri->rp", inverse, slopes, data, optimize=True)
    pull = data - np.einsum("rp,rpi->ri", level, slopes)
    n_good = (rows.weight > 0).sum(axis=1)
    chi2 = np.sum(pull**2, axis=1)
    return Residual(pull, slopes, rows.weight, chi2, np.full(len(chi2), 2), n_good)


def best_gain(
    seen: Residual,
    kind: GroupClass,
    own: Bool[B8, " line"],
    held: tuple[Float[F64, " row"], Float[F64, " row"]],
) -> Gain:
    """Return where a component takes most off chi².

    The parameters of the fit without it, held ones excepted, follow to first order. The lines of
    the component are taken to be apart from each other, their fluxes not negative.

    Parameters
    ----------
    seen
        The fit without the component.
    kind
        The group with it.
    own : [line]
        Which lines are its own.
    held : km/s
        Least and most velocity in each row.

    References
    ----------
    Score test: Rao 1948, Proc. Cambridge Philos. Soc. 44 50.
    """
    velocity, width, profiles = _profiles(kind, own, seen.weight.shape[1])
    chi2 = np.zeros((len(seen.chi2), velocity.size))
    inverse = _inverse(seen.slopes @ seen.slopes.swapaxes(1, 2))
    for profile in profiles:
        pull = (seen.pull * seen.weight) @ profile.T
        across = (seen.slopes * seen.weight[:, None]) @ profile.T
        taken = np.einsum("rpg,rpg->rg", inverse @ across, across)
        power = seen.weight**2 @ (profile**2).T
        rest = np.maximum(power - taken, 1e-6 * power)
        chi2 += np.where(power > 0, np.maximum(pull, 0.0) ** 2 / np.where(power > 0, rest, 1), 0)
    near = (velocity >= held[0][:, None]) & (velocity <= held[1][:, None])
    chi2 = np.where(near, chi2, -1.0)
    best = chi2.argmax(axis=1)
    return Gain(np.take_along_axis(chi2, best[:, None], 1)[:, 0], velocity[best], width[best])


def _inverse(normal: Float[F64, "row param param"]) -> Float[F64, "row param param"]:
    diagonal = np.einsum("rpp->rp", normal)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    scaled = normal * scale[:, :, None] * scale[:, None]
    index = np.arange(normal.shape[1])
    scaled[:, index, index] = 1 + _RIDGE
    return np.asarray(np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None])


def _profiles(
    kind: GroupClass, own: Bool[B8, " line"], n_pixel: int
) -> tuple[Float[F64, " grid"], Float[F64, " grid"], list[Float[F64, "grid pixel"]]]:
    """Return velocities and widths (km/s), and the profiles there that each free flux feeds.

    On the first ``n_pixel`` pixels: classes are padded unlike, behind the last pixel of a group.
    """
    velocity, width = _grid(kind, own)
    n_own = min(n_pixel, kind.inside.shape[1])
    edges, inside = kind.edges[0, : n_own + 1], kind.inside[0, :n_own]
    shares = {}
    for i in np.flatnonzero(own):
        sigma = np.sqrt(width**2 + kind.excess[0, i])
        z = (edges * (C_KMS / kind.wave[0, i]) - C_KMS - velocity[:, None]) / sigma[:, None]
        shares[i] = np.where(inside, np.diff(ndtr(z), axis=1) / np.diff(edges), 0.0)
    total = []
    for ratio in kind.ratio[0, own].T:
        if np.any(ratio):
            profile = sum(part * share for part, share in zip(ratio, shares.values(), strict=True))
            total.append(np.pad(profile, ((0, 0), (0, n_pixel - n_own))))
    return velocity, width, total


def _grid(kind: GroupClass, own: Bool[B8, " line"]) -> tuple[F64, F64]:
    """Return a grid of velocities, finer for narrow lines, and widths within the bounds, km/s."""
    kins = kind.kinematics[0, own].sum(axis=0) > 0
    slowest, fastest = kind.slowest[0, kins].min(), kind.fastest[0, kins].max()
    reach = kind.half[0] / kind.center[0] * C_KMS
    least = max(kind.least[0, kins].min(), kind.reference[0, kins].min())
    most = max(min(kind.most[0, kins].max(), reach), least)
    n_width = 1 + int(np.ceil(np.log(most / least) / np.log(_WIDTH_STEP)))
    velocities, widths = [], []
    for width in np.geomspace(least, most, n_width):
        step = min(_VELOCITY_STEP * width, _MOST_STEP)
        n_step = 1 + int(np.ceil((fastest - slowest) / step))
        velocities.append(np.linspace(slowest, fastest, n_step))
        widths.append(np.full(n_step, width))
    return np.concatenate(velocities), np.concatenate(widths)


def some_rows(seen: Residual, picked: Index) -> Residual:
    """Return some of the rows."""
    kept: list[Any] = [values[picked] for values in seen]
    return Residual(*kept)
