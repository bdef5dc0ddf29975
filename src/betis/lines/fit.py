"""Fit the emission lines of every spectrum."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float

from betis import compute
from betis.arrays import F64
from betis.errors import InputError
from betis.linelist import LineSet
from betis.lines.candidates import Plan, line_plan
from betis.lines.components import kept_after, kept_components, mark_components, without_lines
from betis.lines.limits import line_limits
from betis.lines.quantities import Fitted, Given, store_fixed, store_quantities
from betis.lines.second import with_components
from betis.lines.sharing import solve_classes
from betis.lines.start import start_velocity
from betis.lines.table import empty_table, finish_table
from betis.lines.widths import depth_errors
from betis.options import LineOptions
from betis.products import ContinuumFit, LineFit, Spectra

__all__ = ["fit_lines"]


def fit_lines(
    gas: Spectra,
    line_set: LineSet,
    options: LineOptions,
    *,
    continuum: ContinuumFit | None = None,
    progress: compute.Progress | None = None,
) -> LineFit:
    """Fit Gaussians to the emission and absorption lines of every spectrum.

    Lines whose windows overlap or whose fluxes are tied are fitted together, on one linear local
    background. Lines of one ``kinematics`` in a group share velocity and dispersion. Fluxes may be
    negative where the set does not forbid it. Lines are integrated over pixels and broadened by
    the line-spread function.

    Parameters
    ----------
    gas
        Spectra without the stellar continuum; rest frame to within the bound of the velocity.
    line_set
        The lines; those outside the spectra come back as NaN, flagged NO_DATA.
    options
        Window, bounds and the S/N of a detection.
    continuum
        The stellar continuum that was subtracted; equivalent widths are relative to it plus the
        local background, its level beside the line. Without it they are relative to the
        local background alone: for spectra that still have their continuum. The error of its depth
        under a masked line is part of the error of the line's flux.
    progress
        Told how many spectra have just been fitted.

    Returns
    -------
    `LineFit`. Velocities and dispersions in km/s, relative to the rest frame of the spectra and
    without the line-spread function; ``flux_direct`` is the sum of the good pixels within 3 sigma,
    minus the local background and minus the model of the neighbouring lines, so that nothing is
    counted twice. Equivalent widths are NaN where the continuum is below 3 times its error.
    A row that cannot be fitted is NaN and flagged. A component, or a line that is fitted after all
    others, is NaN and flagged NO_COMPONENT alone where the data do not ask for it, and all else is
    then what it would be without it.

    Raises
    ------
    InputError
        Where the continuum is that of other spectra.
    FitError
        Where the ratios of the line set tie a line to itself.
    ConfigError
        Where lines are to share the kinematics of their kind of gas, and none says its kind; where
        second components are asked for of lines that share theirs beyond their group.

    Notes
    -----
    Damped Newton steps with exact second derivatives, within bounds (damping: Marquardt 1963, SIAM
    J. Appl. Math. 11 431), on pixel-integrated Gaussians; errors from the inverse normal matrix at
    the solution. ``bic = chi2 + k ln n`` (Schwarz 1978, Ann. Statist. 6 461) with k free
    parameters and n good pixels.
    """
    if continuum is not None and continuum.model.shape != gas.flux.shape:
        raise InputError(
            f"the continuum has shape {continuum.model.shape}, where these spectra have "
            f"{gas.flux.shape}; give the continuum fit of these spectra"
        )
    line_set = with_components(line_set, options).tied(options.kinematics)
    wave, window = line_set.waves(gas.medium, gas.redshift), line_limits(line_set, options).window
    plan = line_plan(line_set, _on_axis(wave, gas, window), gas, options)
    table = empty_table(gas.n_spectrum, wave, plan.group, flux_covariance=options.flux_covariance)
    for kind in (*plan.kinds, *chain(*plan.after)):
        table["background_wave"][kind.group] = kind.center
    for block in compute.blocks(gas.n_spectrum):
        part = gas if block == slice(0, gas.n_spectrum) else gas.take(block)
        level = None if continuum is None else continuum.model[block]
        depth_err = depth_errors(line_set, plan.wave, part, block, continuum)
        _fit_block(table, block, plan, line_set, Given(part, level, depth_err, options))
        if progress:
            progress(part.n_spectrum)
    return finish_table(table, line_set, gas, options)


def _fit_block(
    table: dict[str, Any], block: slice, plan: Plan, line_set: LineSet, given: Given
) -> None:
    """Fit the lines of some spectra: those of all, their components, and those after them."""
    gas, options = given.gas, given.options
    everyone = np.arange(gas.n_spectrum)
    velocity = start_velocity(line_set, plan.primary, gas, options)
    solved = solve_classes(plan.kinds, gas, velocity)
    fits = [Fitted(kind, everyone, fit) for kind, fit in zip(plan.kinds, solved, strict=True)]
    _store(table, block, fits, given)
    mark_components(table, block, line_set, plan, gas)
    more = list(kept_components(plan, gas, solved, _snr(table, block), options))
    _store(table, block, more, given)
    store_fixed(table, block, [*fits, *more], line_set, given, velocity)
    if plan.after:
        rest = without_lines(
            gas, *(table[name][block] for name in ("flux", "wave_obs", "sigma_obs"))
        )
        later = list(kept_after(plan, rest, velocity, options))
        _store(table, block, later, given._replace(gas=rest))
        store_fixed(table, block, later, line_set, given._replace(gas=rest), velocity)


def _store(table: dict[str, Any], block: slice, fits: list[Fitted], given: Given) -> None:
    for kind, spectra, fit in fits:
        store_quantities(table, (block.start or 0) + spectra, kind, fit, given.take(spectra))


def _snr(table: dict[str, Any], block: slice) -> Float[F64, "spectrum line"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(table["flux"][block] / table["flux_err"][block])


def _on_axis(wave: F64, gas: Spectra, window: F64) -> Float[F64, " line"]:
    """Return the places of the lines; NaN outside the axis, and far inside a gap of it."""
    inside = (wave > gas.edges[0]) & (wave < gas.edges[-1])
    first, last = np.searchsorted(gas.wave, [wave - window, wave + window])
    return np.where(inside & (last > first), wave, np.nan)
