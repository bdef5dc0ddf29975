"""The spectra in which a component is tried: where a filter says that one could be there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64, Index
from betis.lines.candidates import Candidate
from betis.lines.descent import Solved, take_rows
from betis.lines.groups import GroupClass, near_start, problems
from betis.lines.screen import Gain, Residual, best_gain, empty_residual, residual_of, some_rows
from betis.lines.sharing import SharedFit
from betis.lines.solver import Solution
from betis.lines.start import start_params
from betis.lines.trial import Trial, sets_of
from betis.options import LineOptions
from betis.products import Spectra

__all__ = ["MARGIN", "late_trial", "some_solved", "trial_of"]


MARGIN = 10.0
"""BIC by which the fit with a component must be the better one: "very strong" evidence in the
scale of Kass & Raftery 1995, J. Am. Stat. Assoc. 90 773."""
_GAIN_SHARE = 0.5
"""Share of the chi² that a component that stays takes off at least, from which one is tried; the
filter is linear, and sees less than the fit."""
_SEEN_SHARE = 0.7
"""Share of the S/N of a second component that its line must have in one."""


def trial_of(
    candidate: Candidate,
    gas: Spectra,
    fits: list[SharedFit],
    snr: Float[F64, "spectrum line"],
    options: LineOptions,
) -> Trial | None:
    """Return a group in the spectra where its component could stay; None where in none.

    Parameters
    ----------
    fits
        Those of the groups without components, by class.
    snr : [spectrum, line]
        Of the fluxes in these.
    """
    solved = fits[candidate.place[0]].solved
    rows = candidate.place[1] * gas.n_spectrum + np.arange(gas.n_spectrum)
    spectra = _worth_a_look(candidate, solved.solution.chi2[rows], snr, options)
    if not spectra.size:
        return None
    base = some_solved(solved, rows[spectra])
    seen = residual_of(base.rows, base.solution)
    gain = best_gain(seen, candidate.kind, candidate.elder >= 0, _reach(candidate, base))
    picked = np.flatnonzero(_could_stay(gain, seen, candidate.kind, options))
    if not picked.size:
        return None
    trial = _extended(
        candidate, gas, spectra[picked], some_solved(base, picked), some_rows(seen, picked)
    )
    return trial.started(Gain(*(values[picked] for values in gain)))


def late_trial(
    kind: GroupClass, rest: Spectra, velocity: Float[F64, " spectrum"], options: LineOptions
) -> Trial | None:
    """Return a line that is fitted after all others where it could stay; None where it cannot.

    Parameters
    ----------
    kind
        The line, a class by itself.
    rest
        Spectra without the profiles of the other lines.
    velocity : km/s [spectrum]
        Of each spectrum, from all its lines.
    """
    rows, scale = problems(kind, rest)
    start = start_params(kind, np.repeat(velocity[None, :, None], kind.n_kin, axis=2))
    rows = near_start(kind, rows, start)
    seen = empty_residual(rows)
    lines = kind.line[0] >= 0
    places = kind.n_flux + sets_of(kind, lines)
    held = rows.lower[:, places].min(axis=1), rows.upper[:, places].max(axis=1)
    gain = best_gain(seen, kind, lines, held)
    picked = np.flatnonzero(_could_stay(gain, seen, kind, options))
    if not picked.size:
        return None
    some = take_rows(rows, picked)
    return Trial(
        kind=kind,
        spectra=picked,
        rows=some,
        scale=scale[picked],
        start=start[picked],
        guess=start[picked],
        before=some_rows(seen, picked),
        elder=np.full(lines.size, -1),
        is_own=lines,
    ).started(Gain(*(values[picked] for values in gain)))


def _worth_a_look(
    candidate: Candidate, chi2: F64, snr: Float[F64, "spectrum line"], options: LineOptions
) -> Index:
    """Return the spectra with a fit of the group and, for second components, with a line in it."""
    spectra = np.flatnonzero(np.isfinite(chi2))
    if options.keep == "always" or not candidate.is_second:
        return spectra
    first = candidate.kind.line[0, np.unique(candidate.elder[candidate.elder >= 0])]
    brightest = np.nan_to_num(snr[np.ix_(spectra, first)], nan=0.0).max(axis=1)
    return np.asarray(spectra[brightest >= _SEEN_SHARE * options.component_snr])


def _reach(candidate: Candidate, base: Solved) -> tuple[Float[F64, " row"], Float[F64, " row"]]:
    """Return the least and the most velocity of the component in each row, km/s."""
    kind = candidate.kind
    own = sets_of(kind, candidate.elder >= 0)
    at = _velocity_of_line(candidate, base)
    far = kind.shift[0, own].max()
    slowest, fastest = kind.slowest[0, own].min(), kind.fastest[0, own].max()
    return np.maximum(at - far, slowest), np.minimum(at + far, fastest)


def _velocity_of_line(candidate: Candidate, base: Solved) -> Float[F64, " row"]:
    """Return the velocity of the first line that has the component, km/s."""
    line = int(candidate.elder[candidate.elder >= 0][0])
    k = int(np.argmax(candidate.kind.kinematics[0, line]))
    n_flux = base.rows.ratio.shape[2]
    return np.asarray(base.solution.params[:, n_flux + candidate.kin[k]])


def _could_stay(
    gain: Gain, seen: Residual, kind: GroupClass, options: LineOptions
) -> Bool[B8, " row"]:
    """Tell the rows where a component could pass: the chi² it takes off is a share of what it must.

    For the criterion it must lower ``n ln(chi2 / n)``, for its S/N it must take off the square of
    that, over the scatter that it leaves.
    """
    own_flux = int((np.abs(kind.ratio[0]).sum(axis=0) > 0).sum())
    n = np.maximum(seen.n_good, 1)
    enough = seen.n_good > seen.n_free + own_flux + 2
    if options.keep == "always":
        return enough
    price = MARGIN + 3 * np.log(n)
    per_freedom = seen.chi2 / np.maximum(seen.n_good - seen.n_free, 1)
    least = n * (1 - np.exp(-price / n))
    square = options.component_snr**2
    bright = gain.chi2 / np.maximum(per_freedom, 1.0) >= _GAIN_SHARE * square / (1 + square / n)
    return np.asarray(enough & bright & (gain.chi2 >= _GAIN_SHARE * least * per_freedom))


def _extended(
    candidate: Candidate, gas: Spectra, spectra: Index, base: Solved, seen: Residual
) -> Trial:
    """Return the problems of a group with its component, the rest as it is without."""
    kind = candidate.kind
    rows, scale = problems(kind, gas.take(spectra))
    here, there = candidate.origin()
    at = np.repeat(_velocity_of_line(candidate, base)[None, :, None], kind.n_kin, axis=2)
    start = start_params(kind, at)
    rows = near_start(kind, rows, start)
    lower, upper = rows.lower.copy(), rows.upper.copy()
    guess = start.copy()
    start[:, here], guess[:, here] = base.solution.params[:, there], base.start[:, there]
    lower[:, here], upper[:, here] = base.rows.lower[:, there], base.rows.upper[:, there]
    rows = rows._replace(lower=lower, upper=upper)
    return Trial(
        kind=kind,
        spectra=spectra,
        rows=rows,
        scale=scale,
        start=start,
        guess=guess,
        before=seen,
        elder=candidate.elder,
        is_own=candidate.elder >= 0,
        is_second=candidate.is_second,
    )


def some_solved(solved: Solved, picked: Index) -> Solved:
    """Return some of the rows."""
    return Solved(
        take_rows(solved.rows, picked),
        solved.scale[picked],
        solved.start[picked],
        Solution(*(values[picked] for values in solved.solution)),
    )
