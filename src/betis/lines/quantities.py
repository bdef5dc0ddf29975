"""All that is measured of the fits of some spectra, put into the table of all lines."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from betis.arrays import F64, Index
from betis.linelist import LineSet
from betis.lines.forced import forced_fluxes, motion_of
from betis.lines.groups import GroupClass
from betis.lines.measure import LineValues, growth_of, measure
from betis.lines.realisations import realised, with_realised_errors
from betis.lines.sharing import SharedFit
from betis.lines.table import store_lines, store_rows
from betis.lines.widths import equivalent_width, stars_beside, with_depth_errors
from betis.options import LineOptions
from betis.products import Spectra

__all__ = ["Fitted", "Given", "store_fixed", "store_quantities"]


class Given(NamedTuple):
    """What the fits of some spectra are measured with.

    Attributes
    ----------
    gas
        The spectra.
    continuum : flux density [spectrum, wave]
        What was subtracted from them; None where nothing was.
    depth_err : flux density [spectrum, line]
        Its error under each line.
    options
        How errors are made.
    """

    gas: Spectra
    continuum: Float[F64, "spectrum wave"] | None
    depth_err: Float[F64, "spectrum line"]
    options: LineOptions

    def take(self, rows: Index) -> Given:
        """Return the same for some of the spectra."""
        if np.array_equal(rows, np.arange(self.gas.n_spectrum)):
            return self
        level = None if self.continuum is None else self.continuum[rows]
        return Given(self.gas.take(rows), level, self.depth_err[rows], self.options)


class Fitted(NamedTuple):
    """The fits of a class in the spectra ``[row]`` of a block that it was fitted in."""

    kind: GroupClass
    spectra: Index
    fit: SharedFit


def store_quantities(
    table: dict[str, Any], at: slice | Index, kind: GroupClass, fit: SharedFit, given: Given
) -> None:
    """Measure the fits of a class and put the quantities into the rows ``at`` of the table."""
    values = _measured(kind, fit, given)
    widths = equivalent_width(kind, values, given.gas, given.continuum)
    if given.options.errors == "realisations":
        stars = stars_beside(values, given.gas, given.continuum)
        found = realised(kind, fit.solved, values, stars, given.options, known=fit.known)
        values, widths = with_realised_errors(values, widths, found)
    before = values.flux_err
    values = with_depth_errors(kind, values, given.depth_err)
    store_rows(table, at, kind, values, _deeper(widths, values, before))


def _measured(kind: GroupClass, fit: SharedFit, given: Given) -> LineValues:
    rows, scale, _, solution = fit.solved
    rescale = given.options.errors == "residual"
    return measure(kind, rows, scale, solution, fit.known, rescale=rescale)


def _deeper(widths: tuple[F64, F64], values: LineValues, before: F64) -> tuple[F64, F64]:
    """Add to the errors of equivalent widths what the continuum's error added to the fluxes."""
    width, error = widths
    added = np.sqrt(np.maximum(values.flux_err**2 - before**2, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        per_flux = np.where(values.flux != 0, np.abs(width / values.flux), 0.0)
    return width, np.hypot(error, added * per_flux)


def store_fixed(
    table: dict[str, Any],
    block: slice,
    fits: list[Fitted],
    line_set: LineSet,
    given: Given,
    velocity: Float[F64, " spectrum"],
) -> None:
    """Put the fluxes at fixed places of some classes of a block into the table.

    After `store_quantities` of all of them: the places are those of the lines detected there.

    Parameters
    ----------
    velocity : km/s
        Where the lines of each spectrum were looked for.
    """
    motion = motion_of(table, block, line_set, velocity)
    first = block.start or 0
    for kind, spectra, (solved, _) in fits:
        growth = None
        if given.options.errors == "residual":
            growth = growth_of(solved.rows, solved.solution)
        depth_err = given.depth_err[spectra]
        values = forced_fluxes(kind, solved, motion.take(spectra), depth_err, growth=growth)
        store_lines(table, first + spectra, kind, values)
