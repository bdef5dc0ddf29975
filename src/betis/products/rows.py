"""Products with too many rows for memory: what can give some of them, and what yields them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from betis.arrays import B8, F64, I32, Index
from betis.products.cube import Sky
from betis.products.fits import ContinuumFit
from betis.products.spectra import Spectra
from betis.wavelength import Medium

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class RowStream(Generic[T]):
    """A product that comes a few rows at a time, each row once.

    Attributes
    ----------
    n_row
        How many rows there are in all.
    pieces
        Row numbers and their rows; read it once.
    """

    n_row: int
    pieces: Iterable[tuple[slice | Index, T]]


class SpectraRows(Protocol):
    """Spectra, in memory or in a file, whose rows are taken when they are needed."""

    @property
    def n_spectrum(self) -> int:
        """How many rows there are."""

    @property
    def wave(self) -> Float[F64, " wave"]:
        """Rest wavelengths, Angstrom."""

    @property
    def medium(self) -> Medium:
        """Of the wavelengths as observed."""

    @property
    def redshift(self) -> float:
        """What the axis was divided by, minus one."""

    @property
    def sky_window(self) -> Bool[B8, " wave"]:
        """True at pixels that the continuum fit leaves out."""

    @property
    def n_spaxel(self) -> Int[I32, " spectrum"]:
        """Spaxels that were summed."""

    @property
    def sky(self) -> Sky | None:
        """Shape of the field, WCS and flux scale."""

    def mean_flux(self) -> Float[F64, " spectrum"]:
        """Return the mean flux density over the good pixels of each row; NaN where none is."""

    def take(self, rows: slice | NDArray[Any]) -> Spectra:
        """Return some of the rows, in memory."""


class ContinuumRows(Protocol):
    """Continuum fits whose models may be in a file: the table is at hand, the rest is taken."""

    @property
    def table(self) -> ContinuumFit:
        """All rows, but for ``model`` and ``used``, which may have no pixels."""

    def take(self, rows: slice | NDArray[Any]) -> ContinuumFit:
        """Return some of the rows, whole, in memory."""
