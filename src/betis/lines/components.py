"""Components that are kept only where the data ask for them.

A fit group is fitted with a component more where a filter says that there could be one, and the
component stays where the fit is better by more than its parameters are worth, and where its own
flux stands out. Lines that are fitted after all others are kept or left by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr

from betis.arrays import B8, F64, Index
from betis.flags import Flag
from betis.linelist import LineSet
from betis.lines.candidates import Plan
from betis.lines.descent import Solved, is_short, put_rows
from betis.lines.measure import LineValues, measure, n_free
from betis.lines.model import Problem
from betis.lines.quantities import Fitted
from betis.lines.sharing import SharedFit
from betis.lines.solver import Solution, solve
from betis.lines.starts import best_starts
from betis.lines.trial import Trial
from betis.lines.trials import MARGIN, late_trial, some_solved, trial_of
from betis.options import LineOptions
from betis.products import Spectra

__all__ = ["kept_after", "kept_components", "mark_components", "without_lines"]


_ALIKE = 0.7
"""Share of the squared dispersion of its line from which a second component is about as broad."""
_REACH = 8.0
"""Dispersions beyond which a line is nothing in float64."""


class _Verdict(NamedTuple):
    """Whether the component of each row stays, and the criterion of the fit with it."""

    stays: Bool[B8, " row"]
    criterion: Float[F64, " row"]


def kept_components(
    plan: Plan,
    gas: Spectra,
    fits: list[SharedFit],
    snr: Float[F64, "spectrum line"],
    options: LineOptions,
) -> Iterator[Fitted]:
    """Yield the groups whose components stay, and in which spectra.

    Of several components of one group that with the best criterion stays, yielded last.

    Parameters
    ----------
    fits
        Those of the groups without components, by class.
    snr : [spectrum, line]
        Of the fluxes in these.

    Notes
    -----
    A component stays where, with it, ``n ln(chi2 / n) + k ln n`` is lower by more than 10 (Schwarz
    1978, Ann. Statist. 6 461, for a scatter that is not known: k free parameters, n good pixels);
    where the flux of its brightest line has the S/N asked for, and so has that of the lines which
    it is a component of, errors multiplied by the scatter of the residual over the errors where
    that is above 1; and where no bound made it, as `Trial.is_held` says.
    """
    best: dict[int, F64] = {}
    for layer in plan.layers:
        for candidates in layer:
            trials = [trial_of(each, gas, fits, snr, options) for each in candidates]
            for trial, fit, verdict in _fitted(trials, options):
                number = int(trial.kind.group[0])
                known = best.setdefault(number, np.full(gas.n_spectrum, np.inf))
                better = verdict.stays & (verdict.criterion < known[trial.spectra])
                known[trial.spectra[better]] = verdict.criterion[better]
                if better.any():
                    yield _some(trial, fit, better)


def kept_after(
    plan: Plan, rest: Spectra, velocity: Float[F64, " spectrum"], options: LineOptions
) -> Iterator[Fitted]:
    """Yield the lines fitted after all others that stay, and in which spectra.

    Parameters
    ----------
    rest
        Spectra without the profiles of the other lines.
    velocity : km/s [spectrum]
        Of each spectrum, from all its lines.
    """
    for kinds in plan.after:
        trials = [late_trial(kind, rest, velocity, options) for kind in kinds]
        for trial, fit, verdict in _fitted(trials, options):
            if verdict.stays.any():
                yield _some(trial, fit, verdict.stays)


def _fitted(
    trials: list[Trial | None], options: LineOptions
) -> Iterator[tuple[Trial, SharedFit, _Verdict]]:
    """Fit the groups of one class, all rows together, and judge their components."""
    tried = [trial for trial in trials if trial is not None]
    if not tried:
        return
    for trial, solution in zip(tried, _best(tried, options), strict=True):
        fit = SharedFit(Solved(trial.rows, trial.scale, trial.start, solution), None)
        yield trial, fit, _verdict(trial, fit, options)


def _best(trials: list[Trial], options: LineOptions) -> list[Solution]:
    """Return the best of the fits from all starts, all in one batch."""
    starts = [best_starts(trial) for trial in trials]
    each = [(trial, start) for trial, some in zip(trials, starts, strict=True) for start in some]
    found = iter(_solved([trial for trial, _ in each], [start for _, start in each]))
    best = [reduce(_lower, islice(found, len(some))) for some in starts]
    return _ordered(trials, best, options)


def _lower(one: Solution, other: Solution) -> Solution:
    better = np.flatnonzero(other.chi2 < one.chi2)
    return Solution(*put_rows(one, better, other, other.chi2 < one.chi2))


def _solved(trials: list[Trial], starts: list[F64]) -> list[Solution]:
    """Fit the rows of groups of one class in one batch."""
    rows = Problem(
        *(np.concatenate(parts) for parts in zip(*(t.rows for t in trials), strict=True))
    )
    found = solve(np.concatenate(starts), rows, is_short(rows))
    ends = np.cumsum([len(start) for start in starts])[:-1]
    parts = [np.split(values, ends) for values in found]
    return [Solution(*each) for each in zip(*parts, strict=True)]


def _ordered(
    trials: list[Trial], solutions: list[Solution], options: LineOptions
) -> list[Solution]:
    """Fit again, with their places exchanged, components that came out narrower than their lines.

    What is much narrower after that too has an infinite chi², and so does not stay; where the first
    ones have several widths, the order of components about as broad as these is not one.
    """
    wrong = [
        ~trial.in_order(solution.params)
        & ((_gain(trial, solution) > MARGIN) | (options.keep == "always"))
        for trial, solution in zip(trials, solutions, strict=True)
    ]
    if not any(rows.any() for rows in wrong):
        return solutions
    again = [trial.some(rows) for trial, rows in zip(trials, wrong, strict=True)]
    starts = [
        each.exchanged(solution.params[rows])
        for each, solution, rows in zip(again, solutions, wrong, strict=True)
    ]
    ordered = []
    for each, old, new, rows in zip(again, solutions, _solved(again, starts), wrong, strict=True):
        lost = ~each.in_order(new.params, _ALIKE)
        judged = new._replace(chi2=np.where(lost, np.inf, new.chi2))
        every = np.ones(len(lost), bool)
        ordered.append(Solution(*put_rows(old, np.flatnonzero(rows), judged, every)))
    return ordered


def _verdict(trial: Trial, fit: SharedFit, options: LineOptions) -> _Verdict:
    """Tell where the component stays."""
    solution = fit.solved.solution
    fitted = np.isfinite(solution.chi2)
    criterion = _criterion(solution.chi2, trial.before.n_good, n_free(trial.rows))
    if options.keep == "always":
        return _Verdict(fitted, criterion)
    values = measure(trial.kind, fit.solved.rows, fit.solved.scale, solution, fit.known)
    freedom = np.maximum(trial.before.n_good - n_free(trial.rows), 1)
    scatter = np.sqrt(np.maximum(np.where(fitted, solution.chi2, 1.0) / freedom, 1.0))
    is_seen = _snr(values) >= options.component_snr * scatter[:, None]
    stays = fitted & (_gain(trial, solution) > MARGIN) & is_seen[:, trial.is_own].any(axis=1)
    if trial.elders.any():
        stays &= is_seen[:, trial.elders].any(axis=1)
    return _Verdict(stays & ~trial.is_held(solution.params, is_seen), criterion)


def _snr(values: LineValues) -> Float[F64, "row line"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(np.abs(values.flux / values.flux_err), nan=0.0)


def _gain(trial: Trial, solution: Solution) -> Float[F64, " row"]:
    """Return by how much the criterion is lower with the component; minus infinity for no fit."""
    before = _criterion(trial.before.chi2, trial.before.n_good, trial.before.n_free)
    return before - _criterion(solution.chi2, trial.before.n_good, n_free(trial.rows))


def _criterion(chi2: F64, count: Index, free: Index) -> Float[F64, " row"]:
    """Return ``n ln(chi2 / n) + k ln n``; infinite where there is no fit."""
    n = np.maximum(count, 1)
    return np.asarray(n * np.log(np.maximum(chi2, 1e-300) / n) + free * np.log(n))


def _some(trial: Trial, fit: SharedFit, picked: B8) -> Fitted:
    some = SharedFit(some_solved(fit.solved, np.flatnonzero(picked)), None)
    return Fitted(trial.kind, trial.spectra[picked], some)


def mark_components(
    table: dict[str, Any], block: slice, line_set: LineSet, plan: Plan, gas: Spectra
) -> None:
    """Say of the components in some spectra that there is none, where there are data for one."""
    flags = table["flags"][block]
    for i, line in enumerate(line_set.lines):
        if line.component_of:
            lost = flags[:, line_set.names.index(line.component_of)] & Flag.NO_DATA > 0
            flags[:, i] = np.where(lost, Flag.NO_DATA, Flag.NO_COMPONENT)
    for kind in chain(*plan.after):
        seen = np.any(~gas.mask[:, kind.pixel[kind.inside]], axis=1)
        flags[np.ix_(seen, kind.line[kind.line >= 0])] = Flag.NO_COMPONENT


def without_lines(
    gas: Spectra, flux: F64, center: Float[F64, "spectrum line"], sigma: F64
) -> Spectra:
    """Return spectra without the profiles of their lines; those that are NaN are not there.

    Parameters
    ----------
    flux, center, sigma : [spectrum, line]
        Integrated flux, centre and observed dispersion (Angstrom).
    """
    left = gas.flux.copy()
    for i in range(flux.shape[1]):
        row = np.flatnonzero(np.isfinite(flux[:, i] + center[:, i]) & (sigma[:, i] > 0))
        if not row.size:
            continue
        place, width = center[row, i, None], sigma[row, i, None]
        ends = [np.min(place - _REACH * width), np.max(place + _REACH * width)]
        first, last = np.searchsorted(gas.edges, ends).clip(1, gas.wave.size)
        edges = gas.edges[first - 1 : last + 1]
        share = np.diff(ndtr((edges - place) / width), axis=1) / np.diff(edges)
        left[row, first - 1 : first - 1 + share.shape[1]] -= flux[row, i, None] * share
    return replace(gas, flux=left)
