"""Fit the emission lines of every spectrum."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from betis import compute
from betis.arrays import B8, F64, I32, Index
from betis.errors import InputError
from betis.flags import Flag
from betis.linelist import LineSet
from betis.lines.groups import GroupClass, fit_groups, free_flux, group_classes
from betis.lines.limits import line_limits
from betis.lines.measure import LineValues, measure
from betis.lines.sharing import solve_classes
from betis.lines.start import start_velocity
from betis.options import LineOptions
from betis.products import ContinuumFit, LineFit, Spectra

__all__ = ["fit_lines"]


_LEVEL = 3.0
_SIDE = 3.0
_SQRT_2PI = float(np.sqrt(2 * np.pi))
_EFFECTIVE_WIDTH = float(2 * np.sqrt(np.pi))
_SAME_LINE = 0.5
"""Angstrom within which a masked line is this one."""

_BY_LINE = (
    "flux", "flux_err", "velocity", "velocity_err", "sigma", "sigma_err", "sigma_obs",
    "wave_obs", "flux_direct", "upper_limit",
)  # fmt: skip
_BY_GROUP = ("chi2", "dof", "bic")


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
    table = _empty(gas.n_spectrum, wave, group)
    kinds = group_classes(line_set, on_axis, gas, options)
    for kind in kinds:
        table["background_wave"][kind.group] = kind.center
    for block in compute.blocks(gas.n_spectrum):
        part = gas if gas.n_spectrum <= compute.BLOCK else gas.take(block)
        level = None if continuum is None else continuum.model[block]
        velocity = start_velocity(line_set, on_axis, part, options)
        depth_err = _depth_errors(line_set, on_axis, part, block, continuum)
        for kind, (solved, known) in zip(kinds, solve_classes(kinds, part, velocity), strict=True):
            rows, scale, _, solution = solved
            fitted = measure(kind, rows, scale, solution, known)
            values = _with_depth_errors(kind, fitted, depth_err)
            _store(table, block, kind, values, _equivalent_width(kind, values, part, level))
        if progress:
            progress(part.n_spectrum)
    return _finish(table, line_set, gas, options)


def _on_axis(wave: F64, gas: Spectra, window: F64) -> Float[F64, " line"]:
    """Return the places of the lines; NaN outside the axis, and far inside a gap of it."""
    inside = (wave > gas.edges[0]) & (wave < gas.edges[-1])
    first, last = np.searchsorted(gas.wave, [wave - window, wave + window])
    return np.where(inside & (last > first), wave, np.nan)


def _depth_errors(
    line_set: LineSet,
    wave: F64,
    gas: Spectra,
    block: slice,
    continuum: ContinuumFit | None,
) -> Float[F64, "spectrum line"]:
    """Return the error of the continuum's depth under each line; 0 where it was not masked.

    A line that is tied to another has the other's, times the ratio.
    """
    error = np.zeros((gas.n_spectrum, wave.size))
    if continuum is None:
        return error
    place = dict(zip(line_set.names, wave, strict=True))
    for index, line in enumerate(line_set.lines):
        name, ratio = free_flux(line_set, line.name)
        near = np.abs(continuum.core_wave - place[name]) < _SAME_LINE
        if np.isnan(place[name]):
            ratio, near = 1.0, np.abs(continuum.core_wave - wave[index]) < _SAME_LINE
        if near.any():
            error[:, index] = abs(ratio) * continuum.core_err[block, near.argmax()]
    return np.asarray(np.nan_to_num(error))


def _with_depth_errors(
    kind: GroupClass, values: LineValues, depth_err: Float[F64, "spectrum line"]
) -> LineValues:
    """Add what the continuum's error under a line does to its flux.

    A depth ``d`` under a Gaussian changes its least-squares flux by ``2 sqrt(pi) sigma d``, the sum
    of the profile over the sum of its square. The data under the line had no part in the
    continuum fit, so the two errors are independent.
    """
    picked = depth_err[:, np.maximum(kind.line, 0)].swapaxes(0, 1).reshape(values.flux.shape)
    added = _EFFECTIVE_WIDTH * values.sigma_obs * picked
    return replace(
        values,
        flux_err=np.hypot(values.flux_err, added),
        upper_limit=np.hypot(values.upper_limit, 3 * added),
    )


def _empty(n_spectrum: int, wave: F64, group: I32) -> dict[str, Any]:
    """Return the fields of `LineFit` for lines of which nothing is known."""
    n_line, n_group = wave.size, int(group.max(initial=-1)) + 1
    table: dict[str, Any] = {
        name: np.full((n_spectrum, n_line), np.nan) for name in (*_BY_LINE, "ew", "ew_err")
    }
    table |= {name: np.full((n_spectrum, n_group), np.nan) for name in _BY_GROUP}
    table["flags"] = np.full((n_spectrum, n_line), Flag.NO_DATA, np.int32)
    table["dof"][:] = 0
    table["n_iter"] = np.zeros((n_spectrum, n_group), np.int32)
    table["background"] = np.full((n_spectrum, n_group, 2), np.nan)
    table["background_wave"] = np.full(n_group, np.nan)
    table["background_wave"][group] = wave
    table["group"] = group
    return table


def _store(
    table: dict[str, Any],
    block: slice,
    kind: GroupClass,
    values: LineValues,
    widths: tuple[F64, F64],
) -> None:
    """Put the rows of a class into the table of all lines."""
    n_group = kind.group.size
    real = kind.line >= 0
    column = kind.line[real]
    by_line = {name: getattr(values, name) for name in (*_BY_LINE, "flags")}
    by_line |= {"ew": widths[0], "ew_err": widths[1]}
    for name, value in by_line.items():
        table[name][block, column] = (
            value.reshape(n_group, -1, real.shape[1]).swapaxes(1, 2)[real].T
        )
    for name in (*_BY_GROUP, "n_iter"):
        table[name][block, kind.group] = getattr(values, name).reshape(n_group, -1).T
    table["background"][block, kind.group] = values.background.reshape(n_group, -1, 2).swapaxes(
        0, 1
    )


def _equivalent_width(
    kind: GroupClass, values: LineValues, gas: Spectra, continuum: F64 | None
) -> tuple[F64, F64]:
    """Return equivalent widths and errors, Angstrom ``[row, line]``.

    The level under a line is the local background plus the mean of the continuum within 3 sigma;
    its error is that of the background, which is fitted on top of a given continuum, and so is its
    covariance with the flux.
    """
    center = np.repeat(kind.center, gas.n_spectrum)[:, None]
    at = np.stack([np.ones_like(values.wave_obs), values.wave_obs - center], axis=-1)
    level = np.einsum("rlb,rb->rl", at, values.background)
    if continuum is not None:
        level = level + _mean_level(values, gas, continuum)
    variance = np.einsum("rlb,rbc,rlc->rl", at, values.cov_background, at)
    shared = np.einsum("rlb,rlb->rl", at, values.cov_flux)
    with np.errstate(invalid="ignore", divide="ignore"):
        usable = level > _LEVEL * np.sqrt(variance)
        width = np.where(usable, values.flux / level, np.nan)
        spread = values.flux_err**2 - 2 * width * shared + width**2 * variance
        error = np.where(usable, np.sqrt(np.maximum(spread, 0.0)) / level, np.nan)
    return width, error


def _mean_level(values: LineValues, gas: Spectra, continuum: F64) -> F64:
    """Return the mean of the continuum within 3 sigma of each line, from its running integral.

    Pixels where the continuum is not known are left out; NaN where they are most of them.
    """
    width = np.diff(gas.edges)
    known = np.isfinite(continuum)
    area, extent = (
        _running(values * width) for values in (np.where(known, continuum, 0.0), 1.0 * known)
    )
    reach = np.maximum(_SIDE * values.sigma_obs, width.min())
    ends = [
        np.clip(np.nan_to_num(values.wave_obs + side * reach, nan=gas.wave[0]),
                gas.edges[0], gas.edges[-1])
        for side in (-1, 1)
    ]  # fmt: skip
    row = np.tile(np.arange(gas.n_spectrum), len(values.flux) // gas.n_spectrum)[:, None]
    total, seen = (
        _interpolate(sums, gas.edges, row, ends[1]) - _interpolate(sums, gas.edges, row, ends[0])
        for sums in (area, extent)
    )
    enough = seen > 0.5 * (ends[1] - ends[0])
    return np.asarray(np.where(enough, total, np.nan) / np.where(enough, seen, 1.0))


def _running(values: Float[F64, "spectrum wave"]) -> Float[F64, "spectrum edge"]:
    return np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))


def _interpolate(running: F64, edges: F64, row: Index, place: F64) -> F64:
    """Interpolate each row's running integral at its own places."""
    left = np.searchsorted(edges, place, side="right").clip(1, edges.size - 1) - 1
    share = (place - edges[left]) / (edges[left + 1] - edges[left])
    return np.asarray(running[row, left] * (1 - share) + running[row, left + 1] * share)


def _finish(
    table: dict[str, Any], line_set: LineSet, gas: Spectra, options: LineOptions
) -> LineFit:
    """Add what follows from the other columns: S/N, amplitude, and the flags of both."""
    flux, flux_err = table["flux"], table["flux_err"]
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = flux / flux_err
        amplitude = flux / (_SQRT_2PI * table["sigma_obs"])
    table["flags"] |= np.where(np.abs(snr) < options.detection, Flag.NOT_DETECTED, 0).astype(
        np.int32
    )
    table["flags"] |= np.where(_in_window(table, gas), Flag.IN_SKY_WINDOW, 0).astype(np.int32)
    known = {field.name for field in fields(LineFit)}
    given = {name: value for name, value in table.items() if name in known}
    return LineFit(names=line_set.names, snr=snr, amplitude=amplitude, sky=gas.sky, **given)


def _in_window(table: dict[str, Any], gas: Spectra) -> Bool[B8, "spectrum line"]:
    place = table["wave_obs"]
    pixel = np.searchsorted(gas.edges, np.nan_to_num(place, nan=gas.wave[0])) - 1
    return np.asarray(gas.sky_window[pixel.clip(0, gas.wave.size - 1)] & np.isfinite(place))
