"""Signal and noise of the stellar continuum in a window, for each wavelength pixel."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError
from betis.snr.fit import Design, RowFit, fit_rows
from betis.snr.window import MIN_PIXELS, Axis, Rows, pixels

DEGREE = 3
"""Of the polynomial that follows the continuum through the window."""


def continuum_pixels(axis: Axis, window: tuple[float, float]) -> slice:
    """Return the pixels of a window of rest wavelengths, Angstrom.

    Raises
    ------
    InputError
        Where it is not wholly on the axis, or holds too few pixels.
    """
    low, high = window
    waves = pixels(axis, low, high)
    inside = axis.edges[0] <= low and high <= axis.edges[-1]
    if not inside or waves.stop - waves.start < MIN_PIXELS:
        raise InputError(
            f"the continuum window {low:g}-{high:g} A holds {waves.stop - waves.start} wavelengths "
            f"of this cube, which has {axis.wave[0]:.0f}-{axis.wave[-1]:.0f} A in the rest frame, "
            f"where it must lie inside with at least {MIN_PIXELS}; choose one with --snr-line "
            "continuum:LOW-HIGH"
        )
    return waves


def continuum_of_rows(wave: Float[F64, " wave"], rows: Rows, noise: str) -> RowFit:
    """Return the mean flux density, and the noise of one wavelength pixel.

    The mean is that of a cubic fitted without the pixels that stand out from it (cosmic rays,
    lines, sky). The noise is the mean error ("variance"), or the scatter about the cubic
    ("scatter"). S/N is therefore a pixel's, as is usual for continua, not that of the mean.

    Parameters
    ----------
    wave
    rows
        Pixels left out lose their weight, in place.
    noise
    """
    fit = fit_rows(_polynomial(wave), rows, noise)
    used = rows.ivar > 0
    variance = np.where(used, 1.0 / np.where(used, rows.ivar, 1.0), 0.0).sum(axis=0)
    error = np.sqrt(variance / np.maximum(used.sum(axis=0), 1))
    noise_pixel = error if fit.scatter is None else error * fit.scatter
    return RowFit(fit.signal, np.where(noise_pixel > 0, noise_pixel, np.nan), fit.signal)


def _polynomial(wave: Float[F64, " wave"]) -> Design:
    """Return powers of the wavelength whose mean is 0, and the constant last, which is wanted."""
    middle = 0.5 * (wave[0] + wave[-1])
    place = 2 * (wave - middle) / (wave[-1] - wave[0])
    powers = np.array([place**k for k in range(1, DEGREE + 1)])
    columns = [*(powers - powers.mean(axis=1, keepdims=True)), np.ones(wave.size)]
    return Design(
        columns=np.array(columns),
        n_wanted=1,
        free=np.ones(wave.size, dtype=bool),
    )
