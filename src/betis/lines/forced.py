"""Fluxes at a fixed place: what a line has where, and as broad as, the detected lines are.

A fit that may move a line that is hardly there puts it on a peak of the noise. With place and
width given by the other lines its flux is a linear function of the data, unbiased and normal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from betis import compute
from betis.arrays import B8, F64, Index
from betis.flags import Flag
from betis.linelist import LineSet
from betis.lines.descent import Solved
from betis.lines.groups import GroupClass
from betis.lines.measure import inverse, known_flux, tied, tied_covariance
from betis.lines.model import Problem, line_terms
from betis.lines.widths import added_error
from betis.wavelength import C_KMS

__all__ = ["Motion", "forced_fluxes", "motion_of"]


_SEEN = 5.0
"""S/N of the lines whose place and width others are given."""
_UNFIT = Flag.AT_BOUND | Flag.NOT_CONVERGED | Flag.FIT_FAILED | Flag.NO_DATA | Flag.FEW_PIXELS
_LIMIT = 3.0
_CHUNK = 64


class Motion(NamedTuple):
    """Where, and how broad, lines that are not detected are taken to be.

    Attributes
    ----------
    velocity, sigma : km/s [spectrum, 2]
        Means of the detected lines, those in emission first, then those in absorption; where
        nothing is detected, the velocity at which lines were looked for, and NaN.
    is_seen : [spectrum, line]
        Lines whose own place and width are good.
    is_absorbed : [spectrum, line]
        Absorption lines; the same in every spectrum.
    """

    velocity: Float[F64, "spectrum 2"]
    sigma: Float[F64, "spectrum 2"]
    is_seen: Bool[B8, "spectrum line"]
    is_absorbed: Bool[B8, "spectrum line"]

    def take(self, spectra: Index) -> Motion:
        """Return that of some of the spectra."""
        return Motion(
            self.velocity[spectra],
            self.sigma[spectra],
            self.is_seen[spectra],
            self.is_absorbed[spectra],
        )


def motion_of(
    table: dict[str, Any], block: slice, line_set: LineSet, first: Float[F64, " spectrum"]
) -> Motion:
    """Return what the detected lines of some spectra have, weighted by their errors.

    Detected are lines of a S/N above 5 whose fit ended well. Absorption lines have a mean of their
    own, and that of the emission lines where none of them is detected.

    Parameters
    ----------
    first : km/s
        Where the lines of each spectrum were looked for.
    """
    part = {name: table[name][block] for name in (*_USED, "flags")}
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = np.abs(part["flux"] / part["flux_err"])
    is_seen: B8 = np.asarray((snr > _SEEN) & (part["flags"] & _UNFIT == 0))
    absorbed: B8 = np.array([line.absorption for line in line_set.lines], dtype=bool)
    extra = np.array([line.is_extra for line in line_set.lines], dtype=bool)
    votes = [is_seen & ~extra & (absorbed == side) for side in (False, True)]
    velocity, sigma = (
        np.stack([_mean(part[name], part[f"{name}_err"], vote) for vote in votes], axis=1)
        for name in ("velocity", "sigma")
    )
    none = ~votes[1].any(axis=1)
    velocity[none, 1], sigma[none, 1] = velocity[none, 0], sigma[none, 0]
    velocity = np.where(np.isnan(velocity), first[:, None], velocity)
    # A component has no place but its own: that of the narrow lines would measure those.
    is_seen = is_seen | (extra & np.isfinite(part["flux"]))
    return Motion(velocity, sigma, is_seen, np.broadcast_to(absorbed, is_seen.shape))


_USED = ("flux", "flux_err", "velocity", "velocity_err", "sigma", "sigma_err")


def _mean(values: F64, errors: F64, vote: B8) -> Float[F64, " spectrum"]:
    """Return the weighted mean of the lines that vote; NaN where none does."""
    usable = vote & (errors > 0)
    weight = np.where(usable, 1 / np.where(usable, errors, 1.0) ** 2, 0.0)
    total = weight.sum(axis=1)
    mean = np.sum(weight * np.where(usable, values, 0.0), axis=1)
    return np.where(total > 0, mean / np.where(total > 0, total, 1.0), np.nan)


def forced_fluxes(
    kind: GroupClass,
    solved: Solved,
    motion: Motion,
    depth_err: Float[F64, "spectrum line"],
    *,
    growth: Float[F64, " row"] | None = None,
) -> dict[str, Float[F64, "row line"]]:
    """Return ``flux_fixed``, ``snr_fixed`` and ``upper_limit`` of the lines of a class.

    The fluxes of a group and its background are fitted, linearly and without bounds, with each
    kinematic set that has a detected line where that line is, and every other where the detected
    lines of the spectrum are on average. In spectra without any, lines are held where all lines
    together seemed to be when they were looked for, or at rest, and as broad as the first guess.

    Parameters
    ----------
    depth_err
        Error of the continuum under each line, flux density.
    growth
        What the errors of each row are multiplied by, if anything.

    Returns
    -------
    Fluxes in the unit of the spectra; NaN where there are no data. The limit is 3 times the error.
    """
    rows, scale = solved.rows, solved.scale
    params = _placed(kind, solved, motion)
    usable: B8 = np.asarray(np.isfinite(params).all(axis=1))
    found = compute.map_rows(
        _see_row, [np.where(usable[:, None], params, 1.0), *rows], chunk=_CHUNK
    )
    free = np.concatenate([known_flux(rows), np.ones((len(params), 2), bool)], axis=1)
    covariance = inverse(np.asarray(found.normal), free)
    best = np.einsum("rpq,rq->rp", covariance, np.asarray(found.drive))
    n_flux = kind.n_flux
    flux = tied(rows.ratio, best[:, :n_flux]) * scale[:, None]
    variance = tied_covariance(rows.ratio, covariance[:, :n_flux, :n_flux])
    error = np.sqrt(np.einsum("rll->rl", variance)) * scale[:, None]
    error = error if growth is None else error * growth[:, None]
    error = np.hypot(error, added_error(kind, _observed(kind, rows, params), depth_err))
    lost = ~(usable[:, None] & (error > 0) & np.isfinite(error))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {"flux_fixed": flux, "snr_fixed": flux / error, "upper_limit": _LIMIT * error}
    return {name: np.where(lost, np.nan, value) for name, value in values.items()}


def _placed(kind: GroupClass, solved: Solved, motion: Motion) -> Float[F64, "row param"]:
    """Return the parameters of each row with its kinematic sets where they are to be held."""
    n_group, n_flux, n_kin = kind.group.size, kind.n_flux, kind.n_kin
    own = solved.solution.params.reshape(n_group, -1, kind.n_param)
    placed: F64 = np.zeros_like(own)
    for g, k in np.ndindex(n_group, n_kin):
        lines = _lines_of(kind, g, k)
        side = int(lines.size > 0 and motion.is_absorbed[:, lines].all())
        velocity, sigma = motion.velocity[:, side], motion.sigma[:, side]
        width = np.hypot(sigma * (1 + velocity / C_KMS), kind.reference[g, k])
        width = np.where(np.isnan(sigma), kind.start_width[g, k], width)
        mean = velocity, np.maximum(width, kind.least[g, k])
        is_own = motion.is_seen[:, lines].any(axis=1)
        for place, value in zip((n_flux + k, n_flux + n_kin + k), mean, strict=True):
            placed[g, :, place] = np.where(is_own, own[g, :, place], value)
    return placed.reshape(-1, kind.n_param)


def _lines_of(kind: GroupClass, group: int, kin: int) -> Index:
    """Return the lines of one kinematic set of a group."""
    member = (kind.kinematics[group, :, kin] > 0) & (kind.line[group] >= 0)
    return np.asarray(kind.line[group, member])


def _observed(kind: GroupClass, rows: Problem, params: F64) -> Float[F64, "row line"]:
    """Return the observed dispersion (Angstrom) of each line."""
    width = params[:, kind.n_flux + kind.n_kin : -2]
    square = np.einsum("rlk,rk->rl", rows.kinematics, width**2) + rows.excess
    return np.asarray(np.sqrt(square) * rows.line_wave / C_KMS)


class _Linear(NamedTuple):
    """Normal matrix of fluxes and background, and the data's projection on them."""

    normal: Float[Array, "column column"]
    drive: Float[Array, " column"]


def _see_row(params: Float[Array, " param"], *row: Any) -> _Linear:
    problem = Problem(*row)
    shares = jnp.stack([term.profile.share for term in line_terms(params, problem)])
    ground = jnp.stack([jnp.ones_like(problem.flux), problem.position])
    weighted = jnp.concatenate([problem.ratio.T @ shares, ground]) * problem.weight
    return _Linear(weighted @ weighted.T, weighted @ (problem.flux * problem.weight))
