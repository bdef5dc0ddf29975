"""Which pixels a continuum is fitted on, and the shape of a fit that knows little of the stars."""

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.errors import FitError
from betis.options import ContinuumOptions
from betis.products import Spectra
from betis.wavelength import C_KMS

__all__ = ["MIN_PIXELS", "UNKNOWN", "median_where", "outside_clip", "usable_pixels"]

MIN_PIXELS = 50
"""Fewer pixels than this are not fitted."""

UNKNOWN = (
    *("velocity", "velocity_err", "sigma", "sigma_err", "av", "av_err"),
    *("mean_log_age_light", "mean_log_age_mass"),
    *("mean_metallicity_light", "mean_metallicity_mass"),
)
"""Fields ``[spectrum]`` of a `ContinuumFit` that only stars can fill."""


def usable_pixels(
    spectra: Spectra,
    covered: Bool[B8, " wave"],
    options: ContinuumOptions,
    line_waves: Float[F64, " line"],
) -> Bool[B8, " wave"]:
    """Return the pixels on which any row may be fitted.

    Parameters
    ----------
    spectra
        Of which only the axis is used.
    covered : bool [wave]
        Where the model has values.
    options
        Limits of the wavelength, and whether and how widely lines are masked.
    line_waves : Angstrom [line]
        Emission lines, on the axis of the spectra.

    Raises
    ------
    FitError
        Where fewer than `MIN_PIXELS` are left.
    """
    wave = spectra.wave
    usable = covered & ~spectra.sky_window
    usable &= (wave >= options.min_wave) & (wave <= options.max_wave)
    if options.mask_lines:
        for line_wave in np.atleast_1d(line_waves):
            usable &= np.abs(wave / line_wave - 1) * C_KMS > options.mask_width
    if usable.sum() < MIN_PIXELS:
        raise FitError(
            f"only {usable.sum()} pixels are left for the continuum fit, where {MIN_PIXELS} are "
            "needed, after the base's range, the wavelength limits and the masks of lines and "
            "sky; widen the limits or narrow the masks"
        )
    return np.asarray(usable)


def outside_clip(
    residuals: Float[F64, "spectrum wave"], good: Bool[B8, "spectrum wave"], limit: float
) -> Bool[B8, "spectrum wave"]:
    """Tell the good pixels whose residual is beyond the clip.

    Parameters
    ----------
    residuals : [spectrum, wave]
        In units of the error.
    good : bool [spectrum, wave]
        Pixels that may be fitted.
    limit
        Of the residual, in units of the scatter of its row, or of the error where that is larger.
    """
    size = np.where(good, np.abs(residuals), 0.0)
    scatter = np.maximum(1.0, 1.4826 * median_where(size, good))
    return np.asarray(size > limit * scatter[:, None])


def median_where(
    values: Float[F64, "spectrum wave"], good: Bool[B8, "spectrum wave"]
) -> Float[F64, " spectrum"]:
    """Return the (upper) median of the good pixels of each row; 0 for rows without any."""
    ordered = np.sort(np.where(good, values, np.inf), axis=1)
    place = np.minimum(good.sum(axis=1) // 2, values.shape[1] - 1)
    middle = np.take_along_axis(ordered, place[:, None], axis=1)[:, 0]
    return np.asarray(np.where(np.isfinite(middle), middle, 0.0))
