"""Equation 1 of BETIS: how far the highest pixel near a line stands out from the sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from betis.arrays import B8, F64
from betis.errors import ConfigError, InputError
from betis.linelist import LineSet
from betis.options import SnrOptions
from betis.snr.fit import RowFit
from betis.snr.window import Axis, pixels, require_inside


def peak_windows(axis: Axis, line_set: LineSet, name: str, options: SnrOptions) -> list[slice]:
    """Return the pixels round the line, then those of each side window.

    Raises
    ------
    ConfigError
        Where a side window has no width, or there is none.
    InputError
        Where the line or one of the windows is outside the axis.
    """
    _require_windows(options)
    center = require_inside(axis, line_set, name)
    half = options.peak_window
    result = [
        pixels(axis, center + low, center + high)
        for low, high in ((-half, half), *options.side_windows)
    ]
    if min(window.stop - window.start for window in result) < 2:
        raise InputError(
            f"the peak and side windows of {name} hold fewer than 2 wavelengths of this cube; "
            "choose another line with --snr-line, or other peak_window and side_windows in [snr]"
        )
    return result


def peak_of_rows(flux: Float[F64, "wave row"], good: B8, windows: Sequence[slice]) -> RowFit:
    """Return the maximum minus the mean of the sides, and the mean of their scatters.

    The mean and the standard deviation of each side window are taken, and of these the mean over
    the windows. Bad pixels are left out; a window with fewer than half of its pixels good, or
    fewer than 2, gives NaN.

    Parameters
    ----------
    flux
    good : [wave, row]
    windows
        As `peak_windows`, counted from the first row of ``flux``.

    Notes
    -----
    The maximum of many pixels is positive where there is no line: on pure noise the mean S/N is
    above 1. The method is here for its published maps.
    """
    parts = [(flux[window], _enough(good[window])) for window in windows]
    (peak, peak_good), sides = parts[0], parts[1:]
    highest = np.where(peak_good, peak, -np.inf).max(axis=0)
    moments = [_moments(values, known) for values, known in sides]
    level, noise = (np.mean([moment[k] for moment in moments], axis=0) for k in (0, 1))
    known = np.isfinite(highest) & np.isfinite(level) & (noise > 0)
    columns = (highest - level, noise, level)
    return RowFit(*(np.where(known, column, np.nan) for column in columns))


def _enough(good: B8) -> B8:
    count = good.sum(axis=0)
    return np.asarray(good & (count >= max(2, 0.5 * len(good))))


def _moments(values: F64, known: B8) -> tuple[F64, F64]:
    """Return mean and standard deviation of the known values of each row; NaN where none is."""
    count = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    square = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / count
    return mean, np.sqrt(square)


def _require_windows(options: SnrOptions) -> None:
    wrong = [window for window in options.side_windows if not window[0] < window[1]]
    if wrong or not options.side_windows:
        found = f"({wrong[0][0]:g}, {wrong[0][1]:g})" if wrong else "empty"
        raise ConfigError(
            f"side_windows of [snr] is {found}, where Angstrom from the line were expected, low "
            "before high, as in ((-60, -30), (30, 60))"
        )
