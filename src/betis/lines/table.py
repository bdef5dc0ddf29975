"""The table of all lines of all spectra, filled class by class, as a `LineFit`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from jaxtyping import Bool

from betis.arrays import B8, F64, I32
from betis.flags import Flag
from betis.linelist import LineSet
from betis.lines.groups import GroupClass
from betis.lines.measure import LineValues
from betis.options import LineOptions
from betis.products import LineFit, Spectra

__all__ = ["empty_table", "finish_table", "store_rows"]


_SQRT_2PI = float(np.sqrt(2 * np.pi))

_BY_LINE = (
    "flux", "flux_err", "velocity", "velocity_err", "sigma", "sigma_err", "sigma_obs",
    "wave_obs", "flux_direct", "upper_limit",
)  # fmt: skip
_BY_GROUP = ("chi2", "dof", "bic")


def empty_table(n_spectrum: int, wave: F64, group: I32) -> dict[str, Any]:
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


def store_rows(
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
