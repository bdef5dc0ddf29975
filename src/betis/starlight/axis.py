"""Between the pixels of the data and the linear axis in air, at rest, that STARLIGHT works on."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from betis.arrays import B8, F64, I32
from betis.io.starlight.spectrum import BAD
from betis.products import Spectra
from betis.resampling import pixel_bounds, resample
from betis.wavelength import Medium, air_to_vacuum, pixel_edges, vacuum_to_air

__all__ = ["Rows", "on_linear_axis", "on_native_pixels", "rest_air"]


class Rows(NamedTuple):
    """Spectra as STARLIGHT gets them: Angstrom, physical flux density, its error, and flags."""

    wave: Float[F64, " wave"]
    flux: Float[F64, "spectrum wave"]
    error: Float[F64, "spectrum wave"]
    flag: Int[I32, "spectrum wave"]
    sky_window: Bool[B8, " wave"]
    lsf: Float[F64, " wave"]

    @property
    def good(self) -> Bool[B8, "spectrum wave"]:
        """Pixels that are not flagged."""
        return np.asarray(self.flag < BAD)


def rest_air(wave: ArrayLike, medium: Medium, redshift: float) -> Float[F64, " wave"]:
    """Return the air wavelength (Angstrom) in the rest frame of a place on an axis.

    The axis was observed in some medium and divided by ``1 + redshift``: the light is followed
    back through the air of the telescope, and into the air in which templates are tabulated.
    """
    stretch = 1 + redshift
    observed = np.asarray(wave, dtype=float) * stretch
    vacuum = air_to_vacuum(observed) if medium == "air" else observed
    return vacuum_to_air(vacuum / stretch)


def on_linear_axis(spectra: Spectra, step: float, scale: float) -> Rows:
    """Bring spectra to an axis of constant step in air, conserving their flux.

    A flux density stays what it is per native Angstrom; one of air differs by 0.03 %.

    Parameters
    ----------
    spectra
        In the rest frame, in air or vacuum.
    step : Angstrom
        Pixels are centred at its multiples.
    scale
        What flux is multiplied by: that of 1, erg/s/cm2/Angstrom.

    Returns
    -------
    The spectra; bad pixels have flux 0, the largest error of their row, and the flag `BAD`.
    """
    place = (spectra.medium, spectra.redshift)
    wave, edges = rest_air(spectra.wave, *place), rest_air(spectra.edges, *place)
    found = resample(replace(spectra, wave=wave, edges=edges, medium="air"), step=step).spectra
    worst = np.max(np.where(found.mask, 0.0, found.error), axis=1, initial=0.0, keepdims=True)
    return Rows(
        wave=found.wave,
        flux=found.flux * scale,
        error=np.where(found.mask, np.where(worst > 0, worst, 1.0), found.error) * scale,
        flag=np.where(found.mask, BAD, 0).astype(np.int32),
        sky_window=found.sky_window,
        lsf=found.lsf,
    )


def on_native_pixels(
    model: Float[F64, " wave"], wave: Float[F64, " wave"], spectra: Spectra
) -> Float[F64, " native"]:
    """Return a model on the pixels of the data, its flux conserved; NaN where it does not reach.

    The flux up to each edge of the linear axis is interpolated by a cubic spline, and its
    difference between the edges of a pixel is the flux in it.

    Parameters
    ----------
    model : flux density [wave]
        Means over the pixels of the linear axis, finite.
    wave : Angstrom [wave]
        Their centres.
    spectra
        Whose axis is meant; the rows do not matter.
    """
    edges = pixel_edges(wave)
    cumulative = np.append(0.0, np.cumsum(model * np.diff(edges)))
    flux_up_to = CubicSpline(edges, cumulative)
    bounds = rest_air(pixel_bounds(spectra.wave, spectra.edges), spectra.medium, spectra.redshift)
    inside = (bounds[:, 0] >= edges[0]) & (bounds[:, 1] <= edges[-1])
    flux = np.diff(flux_up_to(np.clip(bounds, edges[0], edges[-1])), axis=1)[:, 0]
    width = np.diff(bounds, axis=1)[:, 0]
    return np.asarray(np.where(inside, flux / width, np.nan))
