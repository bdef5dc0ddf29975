"""Bins in the order in which they deserve a look."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from betis.arrays import F64, Index
from betis.flags import Flag
from betis.report.summary import reduced
from betis.viewer.opened import OpenedRun
from betis.viewer.quantities import flags_of

__all__ = ["orders_of", "ranked"]

_FLAG = "flag."


def orders_of(run: OpenedRun) -> dict[str, list[tuple[str, str]]]:
    """Return the orders that a run can be stepped through, by heading: key and label."""
    worst = [("snr", "lowest S/N of the bin")]
    if run.rows is not None and run.rows.continuum is not None:
        worst.insert(0, ("stars", "highest χ² of the stars"))
    if run.lines is not None:
        worst.insert(0, ("any", "highest χ² of any line fit"))
        worst.insert(0, ("line", "highest χ² of the line's fit"))
    flags = [(f"{_FLAG}{flag.name}", str(flag.name)) for flag in Flag]
    return {"Worst first": worst, "With a flag": flags}


def ranked(run: OpenedRun, order: str, line: str) -> tuple[Index, Float[F64, " bin"]]:
    """Return bins, the worst first, and the number of every bin that they were ordered by.

    Parameters
    ----------
    run
        The run.
    order
        A key of `orders_of`. Of a flag: the bins that have it themselves, in their stars or in
        this line.
    line
        The line that is meant; "" for none.

    Returns
    -------
    Bins without that number are left out; NaN.
    """
    values = _measure(run, "line" if order.startswith(_FLAG) else order, line)
    if order.startswith(_FLAG):
        bit = Flag[order.removeprefix(_FLAG)]
        chosen = np.flatnonzero((flags_of(run, line) & bit) != 0)
        by = np.nan_to_num(values[chosen], nan=-np.inf)
    else:
        chosen = np.flatnonzero(np.isfinite(values))
        by = -values[chosen] if order == "snr" else values[chosen]
    return chosen[np.argsort(-by, kind="stable")], values


def _measure(run: OpenedRun, order: str, line: str) -> Float[F64, " bin"]:
    if order == "stars" and run.rows is not None and run.rows.continuum is not None:
        table = run.rows.continuum.table
        return reduced(table.chi2, table.dof)
    if run.lines is not None and order in {"line", "any"}:
        chi2 = reduced(run.lines.chi2, run.lines.dof)
        if order == "any":
            return np.asarray(np.where(np.isnan(chi2), -np.inf, chi2).max(axis=1))
        return np.asarray(chi2[:, run.lines.group[run.lines.index(line)]])
    return run.bins.snr
