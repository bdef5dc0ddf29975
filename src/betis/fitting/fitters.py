"""What is fitted to a block of rows, stars or lines: read its rows, fit them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from betis import compute
from betis.arrays import F64
from betis.continuum.coarse import fit_held, neighbourhood_kinematics
from betis.continuum.engines import continuum_engine
from betis.continuum.kinematics import Engine, Kinematics
from betis.extinction import extinction_curve
from betis.io.templates import load_templates
from betis.linelist import LineSet, load_line_set
from betis.lines.fit import fit_lines
from betis.lines.second import with_components
from betis.options import LineOptions, Options
from betis.products import (
    ContinuumFit,
    ContinuumRows,
    LineFit,
    Spectra,
    SpectraRows,
    Templates,
)

__all__ = [
    "FitT",
    "Fitter",
    "Given",
    "LineFitter",
    "StarFitter",
    "chosen_lines",
    "held_kinematics",
    "line_fitter",
    "one_blas_thread",
    "pieces_of",
    "star_fitter",
]

FitT = TypeVar("FitT", ContinuumFit, LineFit)
Fitted_co = TypeVar("Fitted_co", ContinuumFit, LineFit, covariant=True)


_PIECES = 8
"""Smaller blocks that a block becomes where its fit fails."""


def one_blas_thread() -> threadpool_limits:
    """Let matrix products of the host be summed in one order, whatever its number of cores."""
    return threadpool_limits(1, user_api="blas")


def pieces_of(rows: slice) -> list[slice]:
    """Return the same rows in smaller blocks."""
    step = -(-(rows.stop - rows.start) // _PIECES)
    starts = range(rows.start, rows.stop, step)
    return [slice(start, min(start + step, rows.stop)) for start in starts]


class Given(NamedTuple):
    """A block of rows as it goes into a fit.

    Attributes
    ----------
    rows
        Which ones.
    spectra, continuum
        Theirs; no continuum where there is none yet, or none at all.
    """

    rows: slice
    spectra: Spectra
    continuum: ContinuumFit | None = None

    def pieces(self) -> Iterator[Given]:
        """Yield the same rows in smaller blocks."""
        first = self.rows.start
        for rows in pieces_of(self.rows):
            part = slice(rows.start - first, rows.stop - first)
            yield Given(rows, self.spectra.take(part), self.continuum and self.continuum.take(part))

    def masked(self) -> Given:
        """Return the block as it would be without a good pixel."""
        mask = np.ones_like(self.spectra.mask)
        return self._replace(spectra=replace(self.spectra, mask=mask))


class Fitter(Protocol, Generic[Fitted_co]):
    """Fits blocks of rows."""

    @property
    def kind(self) -> type[Fitted_co]:
        """What a fit is."""

    def read(self, rows: slice) -> Given:
        """Return what the fit of some rows needs, in memory."""

    def fit(self, given: Given, progress: compute.Progress) -> Fitted_co:
        """Return the fit of a block, and tell how many rows are done."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StarFitter:
    """Fits the stars.

    Attributes
    ----------
    spectra
        All of them.
    engine
        What fits them.
    held
        Velocities and dispersions that are not to be fitted, for all rows.
    """

    spectra: SpectraRows
    engine: Engine
    held: Kinematics | None = None
    kind: type[ContinuumFit] = ContinuumFit

    def read(self, rows: slice) -> Given:
        """Return some spectra."""
        return Given(rows, self.spectra.take(rows))

    def fit(self, given: Given, progress: compute.Progress) -> ContinuumFit:
        """Return the stars of a block."""
        held = self.held and self.held.take(given.rows)
        return fit_held(self.engine, given.spectra, held, progress)


@dataclass(frozen=True, kw_only=True, eq=False)
class LineFitter:
    """Fits the emission lines.

    Attributes
    ----------
    spectra, continuum
        All of them; no continuum where the spectra have none.
    line_set, options
        What is fitted, and how.
    """

    spectra: SpectraRows
    continuum: ContinuumRows | None
    line_set: LineSet
    options: LineOptions
    kind: type[LineFit] = LineFit

    def read(self, rows: slice) -> Given:
        """Return some spectra and their stars."""
        continuum = None if self.continuum is None else self.continuum.take(rows)
        return Given(rows, self.spectra.take(rows), continuum)

    def fit(self, given: Given, progress: compute.Progress) -> LineFit:
        """Return the lines of a block."""
        spectra, stars = given.spectra, given.continuum
        gas = spectra if stars is None else spectra.subtract(stars)
        return fit_lines(gas, self.line_set, self.options, continuum=stars, progress=progress)


def star_fitter(
    spectra: SpectraRows,
    options: Options,
    base: Callable[[], Templates] | None = None,
) -> StarFitter:
    """Return what fits the stars, with velocities and dispersions that are free.

    Parameters
    ----------
    spectra
        All of them.
    options
        Of the run.
    base
        Gives the stellar base; that of the options if not given.

    Raises
    ------
    ConfigError, InputError, FitError
        Where engine, base and spectra cannot be brought together.
    """
    chosen = options.continuum
    with one_blas_thread():
        engine = continuum_engine(
            spectra,
            chosen,
            base=base or (lambda: load_templates(chosen.templates)),
            dust=lambda: extinction_curve(chosen.law, spectra.wave, chosen.r_v),
            line_waves=_emission_waves(spectra, options),
        )
    return StarFitter(spectra=spectra, engine=engine)


def line_fitter(
    spectra: SpectraRows, continuum: ContinuumRows | None, options: Options
) -> LineFitter:
    """Return what fits the emission lines.

    Parameters
    ----------
    spectra, continuum
        All of them.
    options
        Of the run.

    Raises
    ------
    ConfigError, InputError
        Where the line set cannot be used.
    """
    return LineFitter(
        spectra=spectra,
        continuum=None if options.continuum.engine == "none" else continuum,
        line_set=chosen_lines(options),
        options=options.lines,
    )


def chosen_lines(options: Options) -> LineSet:
    """Return the line set that the options name."""
    return with_components(load_line_set(options.lines.line_set), options.lines)


def held_kinematics(fitter: StarFitter, bin_id: Any, options: Options) -> Kinematics:
    """Return velocities and dispersions from neighbourhoods of bins.

    See `betis.continuum.coarse.neighbourhood_kinematics`.

    Parameters
    ----------
    fitter
        Fits the sums of neighbouring bins.
    bin_id : [y, x]
        Which bin each spaxel is in; -1 for none.
    options
        Of the run.
    """
    spectra = fitter.spectra
    lines = _emission_waves(spectra, options)
    return neighbourhood_kinematics(
        spectra, bin_id, fitter.engine, options.continuum, line_waves=lines
    )


def _emission_waves(spectra: SpectraRows, options: Options) -> Float[F64, " line"]:
    return chosen_lines(options).emission().waves(spectra.medium, spectra.redshift)
