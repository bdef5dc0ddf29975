"""Which wavelengths STARLIGHT fits, leaves out, and normalises at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.errors import FitError
from betis.io.starlight.mask import Window
from betis.linelist import LineSet
from betis.options import ContinuumOptions
from betis.wavelength import C_KMS

__all__ = [
    "fit_range",
    "line_windows",
    "masked",
    "merged",
    "normalisation",
    "outside_windows",
    "sky_windows",
]

_NORMALISATIONS = (
    (5635.0, 5590.0, 5680.0),
    (4020.0, 4010.0, 4060.0),
    (5150.0, 5120.0, 5180.0),
    (4610.0, 4580.0, 4640.0),
    (6840.0, 6810.0, 6870.0),
)
"""Centre, first and last: of Cid Fernandes et al. 2005, section 2.1; of the configuration C11 of
STARLIGHT; of BETIS for MUSE, and for MaNGA and CALIFA; and one in the red."""
_HALF_WIDTH = 30.0
_ENOUGH = 0.8
_MIN_PIXELS = 50


def line_windows(line_set: LineSet, options: ContinuumOptions) -> list[Window]:
    """Return the windows of emission lines, ``mask_width`` to either side, in air at rest."""
    if not options.mask_lines:
        return []
    reach = options.mask_width / C_KMS
    return [
        Window(line.air * (1 - reach), line.air * (1 + reach), 0.0, line.name)
        for line in line_set.emission().lines
    ]


def sky_windows(wave: Float[F64, " wave"], in_sky: Bool[B8, " wave"]) -> list[Window]:
    """Return the windows of sky lines and telluric bands, from the pixels that lie in them."""
    padded = np.concatenate([[False], in_sky, [False]])
    starts, stops = (
        np.flatnonzero(padded[1:] & ~padded[:-1]),
        np.flatnonzero(~padded[1:] & padded[:-1]),
    )
    half = 0.5 * float(np.median(np.diff(wave)))
    return [
        Window(wave[first] - half, wave[last - 1] + half, 0.0, "sky")
        for first, last in zip(starts, stops, strict=True)
    ]


def fit_range(
    wave: Float[F64, " wave"], base_range: tuple[float, float], cushion: float
) -> tuple[float, float]:
    """Return first and last wavelength (Angstrom) of the data that the base can be fitted to.

    Parameters
    ----------
    wave : Angstrom
        The linear axis.
    base_range : Angstrom
        First and last of the base, which must reach ``cushion`` beyond the fit.

    Raises
    ------
    FitError
        Where nearly nothing is left.
    """
    inside = (wave >= base_range[0] + cushion) & (wave <= base_range[1] - cushion)
    if inside.sum() < _MIN_PIXELS:
        raise FitError(
            f"the base spans {base_range[0]:.0f} to {base_range[1]:.0f} Angstrom and the spectra "
            f"{wave[0]:.0f} to {wave[-1]:.0f} Angstrom at rest, so that STARLIGHT, which needs the "
            f"base {cushion:.0f} Angstrom beyond, has nothing to fit; take another base"
        )
    return float(wave[inside][0]), float(wave[inside][-1])


def outside_windows(fitted: tuple[float, float], options: ContinuumOptions) -> list[Window]:
    """Return what lies in the fitted range but outside the limits of the options."""
    low, upp = fitted
    below = Window(low - 1, options.min_wave, 0.0, "below continuum.min_wave")
    above = Window(options.max_wave, upp + 1, 0.0, "above continuum.max_wave")
    return [window for window in (below, above) if window.upp > window.low]


def merged(windows: Sequence[Window], fitted: tuple[float, float]) -> list[Window]:
    """Return the windows that touch the fitted range, those that overlap as one."""
    result: list[Window] = []
    for window in sorted(windows):
        if window.upp < fitted[0] or window.low > fitted[1]:
            continue
        if result and window.low <= result[-1].upp:
            last = result[-1]
            names = list(dict.fromkeys([*last.name.split(" & "), window.name]))
            upp = max(last.upp, window.upp)
            result[-1] = Window(last.low, upp, 0.0, " & ".join(names))
        else:
            result.append(window)
    return result


def masked(wave: Float[F64, " wave"], windows: Sequence[Window]) -> Bool[B8, " wave"]:
    """Tell the pixels that a mask gives no weight; the last of overlapping windows counts."""
    weight = np.ones(wave.size)
    for window in windows:
        weight[(wave >= window.low) & (wave <= window.upp)] = window.weight
    return np.asarray(weight == 0)


def normalisation(
    wave: Float[F64, " wave"], usable: Bool[B8, " wave"]
) -> tuple[float, tuple[float, float]]:
    """Return where to normalise the base, and the window for the data.

    The first of the usual windows that lies in the range and of which 80 % can be used; else, of
    60 Angstrom wide ones, that which has most usable pixels, nearest to the middle.

    Parameters
    ----------
    wave : Angstrom
        The fitted range, linear.
    usable
        Neither masked nor bad in most spectra.

    Raises
    ------
    FitError
        Where fewer than 50 pixels can be used.
    """
    if usable.sum() < _MIN_PIXELS:
        raise FitError(
            f"only {usable.sum()} pixels are left for STARLIGHT, where {_MIN_PIXELS} are needed, "
            "after the base's range, the wavelength limits and the masks of lines and sky; widen "
            "the limits or narrow the masks"
        )
    for center, low, upp in _NORMALISATIONS:
        window = (wave >= low) & (wave <= upp)
        is_inside = wave[0] <= low and upp <= wave[-1]
        if is_inside and usable[window].mean() >= _ENOUGH:
            return center, (low, upp)
    return _clearest(wave, usable)


def _clearest(
    wave: Float[F64, " wave"], usable: Bool[B8, " wave"]
) -> tuple[float, tuple[float, float]]:
    n_half = max(1, round(_HALF_WIDTH / float(np.median(np.diff(wave)))))
    count = np.convolve(usable, np.ones(2 * n_half + 1), mode="same")
    distance = np.abs(wave - 0.5 * (wave[0] + wave[-1]))
    best = int(np.lexsort((distance, -count))[0])
    low, upp = max(0, best - n_half), min(wave.size - 1, best + n_half)
    return float(wave[best]), (float(wave[low]), float(wave[upp]))
