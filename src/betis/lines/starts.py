"""Where fits with a component begin: the best of some places for it."""

from __future__ import annotations

from itertools import product

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from betis.arrays import F64
from betis.lines.model import Problem
from betis.lines.trial import Trial, sets_of
from betis.wavelength import C_KMS

__all__ = ["best_starts"]


_SHIFTS = ((0.0, 0.0), (0.3, -0.5), (-0.3, 0.5), (0.6, -0.7), (-0.6, 0.7), (0.2, -1.2), (-0.2, 1.2))
_WIDTHS = ((0.7, 1.2), (0.85, 0.9), (0.8, 2.0))
"""Places and widths of a line and of its second component, in widths of the line that was fitted as
one; the filter, to which the line follows to first order only, does not see these."""
_PLACES = (0.0, -200.0, 200.0, -400.0, 400.0, -700.0, 700.0)
"""Places of another component beside its line, km/s."""
_N_START = 2
_RIDGE = 1e-9


def best_starts(trial: Trial) -> list[Float[F64, "row param"]]:
    """Return where fits begin: the best two of the place that the filter says and some others.

    At each of them the fluxes and the background are solved for, which takes no iteration.

    References
    ----------
    Elimination of linear parameters: Golub & Pereyra 1973, SIAM J. Numer. Anal. 10 413.
    """
    if not trial.elders.any():
        return [trial.start]
    starts = [trial.start, trial.guess, *(_splits if trial.is_second else _beside)(trial)]
    starts = [np.clip(start, trial.rows.lower, trial.rows.upper) for start in starts]
    solved = [_solved_for_flux(trial.rows, start) for start in starts]
    order = np.argsort([chi2 for chi2, _ in solved], axis=0)[:_N_START]
    whole = np.stack([params for _, params in solved])
    return [whole[pick, np.arange(whole.shape[1])] for pick in order]


def _splits(trial: Trial) -> list[Float[F64, "row param"]]:
    """Return starts with each line split in two."""
    return [_split(trial, *shape) for shape in product(_SHIFTS, _WIDTHS)]


def _beside(trial: Trial) -> list[Float[F64, "row param"]]:
    """Return starts with the component at some places, and its lines as they were first guessed.

    Without it a faint line beside it may have become as broad as it can.
    """
    first = trial.kind.n_flux + sets_of(trial.kind, trial.elders)[0]
    least = trial.kind.least[0, sets_of(trial.kind, trial.is_own)[0]]
    return [
        trial.placed(trial.guess, trial.start[:, first] + away, np.full(len(trial.start), width))
        for away, width in product(_PLACES, (1.2 * least, 2.0 * least))
    ]


def _split(
    trial: Trial, shifts: tuple[float, float], widths: tuple[float, float]
) -> Float[F64, "row param"]:
    """Return the start with a line of each set narrowed and moved, and the other beside it."""
    start, n_flux, n_kin = trial.start.copy(), trial.kind.n_flux, trial.kind.n_kin
    own, first = sets_of(trial.kind, trial.is_own), sets_of(trial.kind, trial.elders)
    at, broad = n_flux + first, n_flux + n_kin + first
    middle, width = trial.start[:, at[:1]], trial.start[:, broad[:1]]
    start[:, n_flux + own] = middle + shifts[1] * width
    start[:, n_flux + n_kin + own] = widths[1] * width
    start[:, at] += shifts[0] * trial.start[:, broad]
    start[:, broad] *= widths[0]
    return start


def _solved_for_flux(
    rows: Problem, params: Float[F64, "row param"]
) -> tuple[Float[F64, " row"], Float[F64, "row param"]]:
    """Return chi² with fluxes and background at their best within their signs, and these."""
    n_flux = rows.ratio.shape[2]
    columns = np.concatenate(
        [
            np.einsum("rlf,rli->rfi", rows.ratio, _shares(rows, params)),
            np.ones_like(rows.position)[:, None],
            rows.position[:, None],
        ],
        axis=1,
    )
    weighted = columns * rows.weight[:, None]
    normal = weighted @ weighted.swapaxes(1, 2)
    size = np.sqrt(np.maximum(np.einsum("rpp->rp", normal), 1e-30))
    scaled = normal / size[:, :, None] / size[:, None] + _RIDGE * np.eye(n_flux + 2)
    drive = np.einsum("rpi,ri->rp", weighted, rows.flux * rows.weight)
    best = np.linalg.solve(scaled, (drive / size)[..., None])[..., 0] / size
    linear = np.r_[:n_flux, params.shape[1] - 2 : params.shape[1]]
    best = np.clip(best, rows.lower[:, linear], rows.upper[:, linear])
    found = params.copy()
    found[:, linear] = best
    left = rows.flux * rows.weight - np.einsum("rp,rpi->ri", best, weighted)
    return np.sum(left**2, axis=1), found


def _shares(rows: Problem, params: Float[F64, "row param"]) -> Float[F64, "row line pixel"]:
    """Return the profile of each line, per Angstrom."""
    n_flux, n_kin = rows.ratio.shape[2], rows.kinematics.shape[2]
    center = np.einsum("rlk,rk->rl", rows.kinematics, params[:, n_flux : n_flux + n_kin])
    square = np.einsum("rlk,rk->rl", rows.kinematics, params[:, n_flux + n_kin : -2] ** 2)
    sigma = np.sqrt(square + rows.excess)
    speed = rows.edges[:, None] * (C_KMS / rows.line_wave)[..., None] - C_KMS
    z = (speed - center[..., None]) / sigma[..., None]
    return np.asarray(np.diff(ndtr(z), axis=2) / np.diff(rows.edges)[:, None])
