"""Stacks of spectra on one axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike, NDArray

from betis.arrays import B8, F64, I32, Brief
from betis.errors import InputError
from betis.products.cube import Sky
from betis.products.fits import ContinuumFit
from betis.wavelength import Medium, beside_gaps, pixel_edges


@dataclass(frozen=True, eq=False, repr=False)
class Spectra(Brief):
    """A stack of spectra on one wavelength axis: bins, spaxels or anything else, a row each.

    Parameters
    ----------
    wave : Angstrom [wave]
        Rest frame, strictly increasing; may have gaps and change its step.
    flux, error : [spectrum, wave]
        Flux density and its 1-sigma error. A 1-D spectrum becomes one row.
    mask : bool [spectrum, wave]
        True where bad. Non-finite flux and non-positive or non-finite error are added to it, and
        get flux 0 and error infinity.
    medium
        "air" or "vacuum", of the wavelengths as observed.
    lsf : Angstrom
        FWHM of the line-spread function, a number or ``[wave]``; None means infinitely sharp.
    edges : Angstrom [wave+1]
        Pixel edges; halfway between the centres where not given, and then the pixels at both
        ends of a gap are masked, since that is not where theirs are.
    redshift
        What the axis has been divided by, minus one.
    sky_window : bool [wave]
        True at pixels that the continuum fit leaves out.
    n_spaxel : [spectrum]
        Spaxels that were summed.
    sky
        Shape of the field, WCS and flux scale, where there is a field.

    Raises
    ------
    InputError
        Where shapes disagree, the wavelengths are not increasing, or a width of the line-spread
        function is not finite or negative.
    """

    wave: Float[F64, " wave"]
    flux: Float[F64, "spectrum wave"]
    error: Float[F64, "spectrum wave"]
    mask: Bool[B8, "spectrum wave"] = None  # type: ignore[assignment]  # filled below
    medium: Medium = "air"
    lsf: Float[F64, " wave"] = None  # type: ignore[assignment]  # filled below
    edges: Float[F64, " wave+1"] = None  # type: ignore[assignment]  # filled below
    redshift: float = 0.0
    sky_window: Bool[B8, " wave"] = None  # type: ignore[assignment]  # filled below
    n_spaxel: Int[I32, " spectrum"] = None  # type: ignore[assignment]  # filled below
    sky: Sky | None = None

    def __post_init__(self) -> None:
        """Bring every array to its shape and type, and bad pixels to one form."""
        wave = np.asarray(self.wave, dtype=float)
        halfway = pixel_edges(wave)
        flux, error = _rows(self.flux, wave, "flux"), _rows(self.error, wave, "error")
        given = np.zeros(flux.shape, bool) if self.mask is None else _rows(self.mask, wave, "mask")
        if not flux.shape == error.shape == given.shape:
            raise InputError(
                f"flux, error and mask have shapes {flux.shape}, {error.shape} and {given.shape}, "
                "where they must be the same"
            )
        if self.medium not in ("air", "vacuum"):
            raise InputError(f"the medium is {self.medium!r}, where it must be 'air' or 'vacuum'")
        mask = given.astype(bool) | ~np.isfinite(flux) | ~np.isfinite(error) | (error <= 0)
        if self.edges is None:
            mask |= beside_gaps(wave)
        lsf = np.full(wave.size, self.lsf or 0.0) if np.ndim(self.lsf) == 0 else self.lsf
        values = {
            "wave": wave,
            "edges": _sized(self.edges, halfway, "edges"),
            "flux": np.where(mask, 0.0, flux),
            "error": np.where(mask, np.inf, error),
            "mask": mask,
            "lsf": _widths(_sized(lsf, wave, "lsf")),
            "sky_window": _sized(self.sky_window, np.zeros(wave.size, bool), "sky_window"),
            "n_spaxel": _sized(self.n_spaxel, np.ones(len(flux), np.int32), "n_spaxel"),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def n_spectrum(self) -> int:
        """How many rows there are."""
        return int(self.flux.shape[0])

    def mean_flux(self) -> Float[F64, " spectrum"]:
        """Return the mean flux density over the good pixels of each row; NaN where none is."""
        good, total = (~self.mask).sum(axis=1), self.flux.sum(axis=1)
        empty = np.full(total.shape, np.nan)
        return np.asarray(np.divide(total, good, out=empty, where=good > 0))

    def subtract(self, continuum: ContinuumFit | ArrayLike) -> Spectra:
        """Return the nebular spectra: these minus a continuum ``[spectrum, wave]``.

        Pixels where the continuum is not finite are masked.
        """
        model = continuum.model if isinstance(continuum, ContinuumFit) else np.asarray(continuum)
        if np.shape(model) != self.flux.shape:
            raise InputError(
                f"the continuum has shape {np.shape(model)}, where these spectra have "
                f"{self.flux.shape}; fit the continuum of these spectra"
            )
        return replace(self, flux=self.flux - model)

    def take(self, rows: slice | NDArray[Any]) -> Spectra:
        """Return some of the rows."""
        return replace(
            self,
            flux=self.flux[rows],
            error=self.error[rows],
            mask=self.mask[rows],
            n_spaxel=self.n_spaxel[rows],
        )


def _sized(values: ArrayLike | None, default: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the values in the type and the shape of their default, or that where they are None."""
    if values is not None and np.shape(values) != default.shape:
        raise InputError(
            f"{name} has shape {np.shape(values)}, where {default.shape} was expected; "
            "give one value for each"
        )
    return default if values is None else np.asarray(values, dtype=default.dtype)


def _widths(lsf: Float[F64, " wave"]) -> Float[F64, " wave"]:
    wrong = ~np.isfinite(lsf) | (lsf < 0)
    if wrong.any():
        raise InputError(
            f"lsf is negative or not finite at {wrong.sum()} of {lsf.size} wavelengths, where a "
            "width in Angstrom was expected at each, masked pixels too; fill them from their "
            "neighbours"
        )
    return lsf


def _unmasked(values: ArrayLike) -> NDArray[Any]:
    """Return a plain array: NaN, or True in a mask, where a masked array is masked."""
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    plain = np.asarray(np.ma.getdata(values))
    return np.where(np.ma.getmaskarray(values), True if plain.dtype == bool else np.nan, plain)


def _rows(values: ArrayLike, wave: F64, name: str) -> NDArray[Any]:
    rows = np.atleast_2d(_unmasked(values))
    if rows.ndim != 2 or rows.shape[1] != wave.size:
        raise InputError(
            f"{name} has shape {np.shape(values)}, where (spectrum, {wave.size}) was expected, "
            "the last axis as long as wave"
        )
    return rows if rows.dtype == bool else rows.astype(float)
