"""Fit the emission lines of every spectrum."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from betis import compute
from betis.arrays import F64
from betis.errors import InputError
from betis.linelist import LineSet
from betis.lines.groups import fit_groups, group_classes
from betis.lines.limits import line_limits
from betis.lines.measure import measure
from betis.lines.sharing import solve_classes
from betis.lines.start import start_velocity
from betis.lines.table import empty_table, finish_table, store_rows
from betis.lines.widths import depth_errors, equivalent_width, with_depth_errors
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
        local background, its mean within 3 sigma of the line. Without it they are relative to the
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
    A row that cannot be fitted is NaN and flagged.

    Raises
    ------
    InputError
        Where the continuum is that of other spectra.
    FitError
        Where the ratios of the line set tie a line to itself.
    ConfigError
        Where lines are to share the kinematics of their kind of gas, and none says its kind.

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
    line_set = line_set.tied(options.kinematics)
    wave, window = line_set.waves(gas.medium, gas.redshift), line_limits(line_set, options).window
    on_axis = _on_axis(wave, gas, window)
    group = fit_groups(line_set, on_axis, window)
    table = empty_table(gas.n_spectrum, wave, group)
    kinds = group_classes(line_set, on_axis, gas, options)
    for kind in kinds:
        table["background_wave"][kind.group] = kind.center
    for block in compute.blocks(gas.n_spectrum):
        part = gas if gas.n_spectrum <= compute.BLOCK else gas.take(block)
        level = None if continuum is None else continuum.model[block]
        velocity = start_velocity(line_set, on_axis, part, options)
        depth_err = depth_errors(line_set, on_axis, part, block, continuum)
        for kind, (solved, known) in zip(kinds, solve_classes(kinds, part, velocity), strict=True):
            rows, scale, _, solution = solved
            fitted = measure(kind, rows, scale, solution, known)
            values = with_depth_errors(kind, fitted, depth_err)
            store_rows(table, block, kind, values, equivalent_width(kind, values, part, level))
        if progress:
            progress(part.n_spectrum)
    return finish_table(table, line_set, gas, options)


def _on_axis(wave: F64, gas: Spectra, window: F64) -> Float[F64, " line"]:
    """Return the places of the lines; NaN outside the axis, and far inside a gap of it."""
    inside = (wave > gas.edges[0]) & (wave < gas.edges[-1])
    first, last = np.searchsorted(gas.wave, [wave - window, wave + window])
    return np.where(inside & (last > first), wave, np.nan)
