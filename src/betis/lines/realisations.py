"""Errors from fits to noise realisations: what the estimator does, bounds and all.

The normal matrix knows the fit only where it ended. Near a S/N of 3, and beside a bound, the fit
does other things within its error; fits to the model plus fresh noise show what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from jaxtyping import Array, Bool, Float

from betis import compute
from betis.arrays import B8, F64
from betis.flags import Flag
from betis.lines.descent import Solved, is_short
from betis.lines.groups import GroupClass
from betis.lines.measure import LineValues, inverse, member_of, normal_matrices, tied
from betis.lines.model import Problem, line_terms, model_of
from betis.lines.solver import solve
from betis.options import LineOptions
from betis.wavelength import C_KMS

__all__ = ["Realised", "realised", "with_realised_errors"]


_INSIDE = 0.6826894921370859
"""Share of a normal distribution within one standard deviation."""
_PILED_UP = 0.5
_AT_ONCE = 8192
"""Rows that are fitted at once, realisations counted; changes nothing in the results."""
_CHUNK = 64


class Realised(NamedTuple):
    """Errors ``[row, line]`` of flux, velocity, sigma and equivalent width; NaN without any."""

    flux: Float[F64, "row line"]
    velocity: Float[F64, "row line"]
    sigma: Float[F64, "row line"]
    ew: Float[F64, "row line"]


def with_realised_errors(
    values: LineValues, widths: tuple[F64, F64], found: Realised
) -> tuple[LineValues, tuple[F64, F64]]:
    """Put the errors of realisations in place of the others.

    Where nothing moves, or where a flux stands on its bound and has no place, the error of the
    normal matrix stays. That of a velocity or a width is the larger of the two on a bound or at the
    line-spread function, and where realisations give less than half: a bound so near that most
    of them end on it says nothing of the error.
    """
    free = values.flux != 0
    held = values.flags & Flag.AT_BOUND > 0

    def either(new: F64, old: F64) -> F64:
        return np.where(free & (new > 0), new, old)

    def larger(new: F64, old: F64, edge: B8) -> F64:
        piled_up = (edge | (new < _PILED_UP * old)) & (old > new)
        return np.where(piled_up, old, either(new, old))

    edge = held | (values.flags & Flag.UNRESOLVED > 0)
    changed = replace(
        values,
        flux_err=either(found.flux, values.flux_err),
        velocity_err=larger(found.velocity, values.velocity_err, held),
        sigma_err=larger(found.sigma, values.sigma_err, edge),
    )
    return changed, (widths[0], either(found.ew, widths[1]))


def realised(
    kind: GroupClass,
    solved: Solved,
    values: LineValues,
    stars: Float[F64, "row line"],
    options: LineOptions,
    *,
    known: Float[F64, "row param param"] | None = None,
) -> Realised:
    """Return errors from fits to the fitted model plus noise of the errors of the data.

    Each fit starts from the solution. An error is the distance from the solution within which
    68.27 % of the realisations end, so that an interval of this half-width covers as often as a
    normal one. Kinematics that other groups share are drawn from their covariance and held.

    Noise depends on the seed and on the row's data (on the order of its pixels by flux, which
    neither the unit nor the place of the row changes), so that batches change nothing.

    Parameters
    ----------
    stars
        What was subtracted under each line, flux density: equivalent widths are relative to it
        plus each realisation's background.

    References
    ----------
    Parametric bootstrap: Efron & Tibshirani 1993, chapter 6.
    """
    fitted = np.isfinite(solved.solution.chi2)
    center = np.where(fitted[:, None], solved.solution.params, 1.0)
    model = np.asarray(compute.map_rows(_model_row, [center, *solved.rows], chunk=_CHUNK))
    mother = _Mother(kind, solved, center, model, _shared_spread(kind, solved, known), ~fitted)
    draws = [_generator(flux, options.seed) for flux in solved.rows.flux]
    at_once = max(_AT_ONCE // max(len(center), 1), 1)
    found: list[Realised] = []
    for done in range(0, options.realisations, at_once):
        count = min(at_once, options.realisations - done)
        found += [_quantities(mother, one, values, stars) for one in _refit(mother, draws, count)]
    best = _quantities(mother, np.where(fitted[:, None], center, np.nan), values, stars)
    each = zip(*found, strict=True)
    return Realised(*(_half_width(some, one) for some, one in zip(each, best, strict=True)))


class _Mother(NamedTuple):
    """What realisations are made from: the solution, its model, and what is drawn and held.

    ``spread`` is the error of parameters that other groups share, 0 of all others; ``is_out``
    tells the rows without a solution.
    """

    kind: GroupClass
    solved: Solved
    params: Float[F64, "row param"]
    model: Float[F64, "row pixel"]
    spread: Float[F64, "row param"]
    is_out: Bool[B8, " row"]


def _model_row(params: Float[Array, " param"], *row: Any) -> Float[Array, " pixel"]:
    problem = Problem(*row)
    return model_of(params, problem, line_terms(params, problem))


def _generator(flux: Float[F64, " pixel"], seed: int) -> np.random.Generator:
    """Return the random numbers of a row, which its pixels' order by flux decides."""
    order = np.argsort(flux, kind="stable").astype(np.int32)
    return np.random.Generator(
        np.random.Philox(np.random.SeedSequence([seed, crc32(order.tobytes())]))
    )


def _shared_spread(
    kind: GroupClass, solved: Solved, known: Float[F64, "row param param"] | None
) -> Float[F64, "row param"]:
    spread: F64 = np.zeros_like(solved.solution.params)
    if known is None:
        return spread
    rows = solved.rows
    normal = np.nan_to_num(normal_matrices(rows, solved.solution.params)) + known
    error = np.sqrt(np.einsum("rpp->rp", inverse(normal, rows.upper > rows.lower)))
    n_row, shared = len(spread), kind.shared >= 0
    middle = slice(kind.n_flux, kind.n_flux + 2 * kind.n_kin)
    is_shared = np.repeat(np.tile(shared, 2), n_row // kind.group.size, axis=0)
    spread[:, middle] = np.where(is_shared, np.nan_to_num(error[:, middle]), 0.0)
    return spread


def _refit(mother: _Mother, draws: list[np.random.Generator], count: int) -> F64:
    """Return the parameters ``[realisation, row, param]`` of some more fits; NaN where failed."""
    rows, (n_row, n_pixel) = mother.solved.rows, mother.model.shape
    n_param = mother.params.shape[1]
    normal = np.stack([draw.standard_normal((count, n_pixel + n_param)) for draw in draws], axis=1)
    good = rows.weight > 0
    error = np.where(good, 1 / np.where(good, rows.weight, 1.0), 0.0)
    flux = np.where(good, mother.model, 0.0) + error * normal[..., :n_pixel]
    start = mother.params + mother.spread * normal[..., n_pixel:]
    held = mother.spread > 0
    start = np.clip(start, rows.lower, rows.upper)
    repeated = Problem(*(np.broadcast_to(item, (count, *item.shape)) for item in rows))
    whole = repeated._replace(
        flux=flux,
        lower=np.where(held, start, rows.lower),
        upper=np.where(held, start, rows.upper),
    )
    flat = Problem(*(item.reshape(count * n_row, *item.shape[2:]) for item in whole))
    skip = np.tile(is_short(rows) | mother.is_out, count)
    solution = solve(start.reshape(-1, n_param), flat, skip)
    params = np.where(np.isfinite(solution.chi2)[:, None], solution.params, np.nan)
    return np.asarray(params.reshape(count, n_row, n_param))


def _quantities(
    mother: _Mother, params: Float[F64, "row param"], values: LineValues, stars: F64
) -> Realised:
    """Return the quantities themselves at some parameters."""
    kind, rows, scale = mother.kind, mother.solved.rows, mother.solved.scale[:, None]
    n_flux, n_kin, n_row = kind.n_flux, kind.n_kin, len(params)
    per_group = n_row // kind.group.size
    velocity = member_of(params[:, n_flux : n_flux + n_kin], rows)
    width = member_of(params[:, n_flux + n_kin : -2], rows)
    reference = member_of(np.repeat(kind.reference, per_group, axis=0), rows)
    center, half = (np.repeat(at, per_group)[:, None] for at in (kind.center, kind.half))
    ground = params[:, -2:-1] + params[:, -1:] * (values.wave_obs - center) / half
    level = ground * scale + stars
    flux = tied(rows.ratio, params[:, :n_flux]) * scale
    sigma = np.sqrt(np.maximum(width**2 - reference**2, 0.0)) / (1 + velocity / C_KMS)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Realised(flux, velocity, sigma, np.where(level > 0, flux / level, np.nan))


def _half_width(each: Sequence[F64], best: F64) -> Float[F64, "row line"]:
    """Return the distance from the best value that 68 % of the others keep; NaN where lost."""
    distance = np.sort(np.abs(np.stack(each) - best), axis=0)
    known = np.isfinite(distance).sum(axis=0)
    place = _INSIDE * (known - 1)
    low = np.floor(place).astype(int).clip(0, len(distance) - 1)
    high = np.minimum(low + 1, np.maximum(known - 1, 0))
    below, above = (np.take_along_axis(distance, at[None], 0)[0] for at in (low, high))
    return np.where(known > 1, below + (place - low) * (above - below), np.nan)
