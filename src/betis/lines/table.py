"""The table of all lines of all spectra, filled class by class, as a `LineFit`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64, I32, Index
from betis.flags import Flag
from betis.linelist import LineSet
from betis.lines.groups import GroupClass
from betis.lines.measure import LineValues
from betis.options import LineOptions
from betis.products import LineFit, Spectra

__all__ = ["empty_table", "finish_table", "store_lines", "store_rows"]


_SQRT_2PI = float(np.sqrt(2 * np.pi))

_BY_LINE = (
    "flux", "flux_err", "velocity", "velocity_err", "sigma", "sigma_err", "sigma_obs",
    "wave_obs", "flux_direct", "flux_direct_err", "velocity_direct", "velocity_direct_err",
    "sigma_direct", "sigma_direct_err", "w80", "w80_err",
)  # fmt: skip
_NOT_BY_CLASS = ("ew", "ew_err", "flux_fixed", "snr_fixed", "upper_limit")
_BY_GROUP = ("chi2", "dof", "bic", "scatter")


def empty_table(
    n_spectrum: int, wave: F64, group: I32, *, flux_covariance: bool = False
) -> dict[str, Any]:
    """Return the fields of `LineFit` for lines of which nothing is known."""
    n_line, n_group = wave.size, int(group.max(initial=-1)) + 1
    table: dict[str, Any] = {
        name: np.full((n_spectrum, n_line), np.nan) for name in (*_BY_LINE, *_NOT_BY_CLASS)
    }
    table |= {name: np.full((n_spectrum, n_group), np.nan) for name in _BY_GROUP}
    table["flags"] = np.full((n_spectrum, n_line), Flag.NO_DATA, np.int32)
    table["dof"][:] = 0
    table["n_iter"] = np.zeros((n_spectrum, n_group), np.int32)
    table["background"] = np.full((n_spectrum, n_group, 2), np.nan)
    table["background_wave"] = np.full(n_group, np.nan)
    table["background_wave"][group] = wave
    table["group"] = group
    if flux_covariance:
        apart = np.where(group[:, None] == group, np.nan, 0.0)
        table["flux_cov"] = np.tile(apart, (n_spectrum, 1, 1))
    return table


def store_rows(
    table: dict[str, Any],
    block: slice | Index,
    kind: GroupClass,
    values: LineValues,
    widths: tuple[F64, F64],
) -> None:
    """Put the rows of a class into the table of all lines."""
    at = np.arange(len(table["flags"]))[block][:, None]
    n_group = kind.group.size
    by_line = {name: getattr(values, name) for name in (*_BY_LINE, "flags")}
    store_lines(table, block, kind, by_line | {"ew": widths[0], "ew_err": widths[1]})
    if "flux_cov" in table:
        _store_covariance(table["flux_cov"], at, kind, values)
    for name in (*_BY_GROUP, "n_iter"):
        table[name][at, kind.group] = getattr(values, name).reshape(n_group, -1).T
    table["background"][at, kind.group] = values.background.reshape(n_group, -1, 2).swapaxes(0, 1)


def store_lines(
    table: dict[str, Any], block: slice | Index, kind: GroupClass, by_line: dict[str, Any]
) -> None:
    """Put quantities ``[row, line]`` of the rows of a class into the table of all lines."""
    at = np.arange(len(table["flags"]))[block][:, None]
    real = kind.line >= 0
    for name, value in by_line.items():
        by_group = value.reshape(kind.group.size, -1, real.shape[1])
        table[name][at, kind.line[real]] = by_group.swapaxes(1, 2)[real].T


def _store_covariance(
    into: Float[F64, "spectrum line line"], at: Index, kind: GroupClass, values: LineValues
) -> None:
    """Put the covariances of the fluxes of each group into place, in step with their errors."""
    stated = np.sqrt(np.einsum("rll->rl", values.cov_lines))
    growth = np.divide(values.flux_err, stated, out=np.zeros_like(stated), where=stated > 0)
    whole = values.cov_lines * growth[:, :, None] * growth[:, None]
    by_group = whole.reshape(kind.group.size, -1, *whole.shape[1:])
    for lines, covariance in zip(kind.line, by_group, strict=True):
        real = np.flatnonzero(lines >= 0)
        column = lines[real]
        into[at[:, :, None], column[:, None], column] = covariance[:, real[:, None], real]


def finish_table(
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
