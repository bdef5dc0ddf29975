"""What the continuum under a line adds to it: equivalent widths, and the error of its depth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from betis.arrays import F64, Index
from betis.linelist import LineSet
from betis.lines.groups import GroupClass, free_flux
from betis.lines.measure import LineValues
from betis.products import ContinuumFit, Spectra
from betis.wavelength import C_KMS

__all__ = [
    "added_error",
    "depth_errors",
    "equivalent_width",
    "stars_beside",
    "with_depth_errors",
]


_LEVEL = 3.0
_SIDE = 3.0
_BAND = (1500.0, 3500.0)
"""km/s from a line to the ends of the bands beside it."""
_EFFECTIVE_WIDTH = float(2 * np.sqrt(np.pi))
_SAME_LINE = 0.5
"""Angstrom within which a masked line is this one."""


def depth_errors(
    line_set: LineSet,
    wave: F64,
    gas: Spectra,
    block: slice,
    continuum: ContinuumFit | None,
) -> Float[F64, "spectrum line"]:
    """Return the error of the continuum's depth under each line; 0 where it was not masked.

    A line that is tied to another has the other's, times the ratio.
    """
    error = np.zeros((gas.n_spectrum, wave.size))
    if continuum is None:
        return error
    place = dict(zip(line_set.names, wave, strict=True))
    for index, line in enumerate(line_set.lines):
        name, ratio = free_flux(line_set, line.name)
        near = np.abs(continuum.core_wave - place[name]) < _SAME_LINE
        if np.isnan(place[name]):
            ratio, near = 1.0, np.abs(continuum.core_wave - wave[index]) < _SAME_LINE
        if near.any():
            error[:, index] = abs(ratio) * continuum.core_err[block, near.argmax()]
    return np.asarray(np.nan_to_num(error))


def added_error(
    kind: GroupClass, sigma_obs: Float[F64, "row line"], depth_err: Float[F64, "spectrum line"]
) -> Float[F64, "row line"]:
    """Return the error of each line's flux that the error of the continuum under it makes.

    A depth ``d`` under a Gaussian changes its least-squares flux by ``2 sqrt(pi) sigma d``, the sum
    of the profile over the sum of its square.

    Parameters
    ----------
    sigma_obs : Angstrom
        Observed dispersions; ``depth_err`` is a flux density.
    """
    picked = depth_err[:, np.maximum(kind.line, 0)].swapaxes(0, 1).reshape(sigma_obs.shape)
    return np.asarray(_EFFECTIVE_WIDTH * sigma_obs * picked)


def with_depth_errors(
    kind: GroupClass, values: LineValues, depth_err: Float[F64, "spectrum line"]
) -> LineValues:
    """Add what the continuum's error under a line does to its flux, fitted and summed.

    The data under the line had no part in the continuum fit, so the two errors are independent.
    """
    added = added_error(kind, values.sigma_obs, depth_err)
    return replace(
        values,
        flux_err=np.hypot(values.flux_err, added),
        flux_direct_err=np.hypot(values.flux_direct_err, 2 * _SIDE / _EFFECTIVE_WIDTH * added),
    )


def _level_under(
    kind: GroupClass, values: LineValues, gas: Spectra, continuum: F64 | None
) -> Float[F64, "row line"]:
    """Return the continuum under each line, flux density: the local background plus the stars."""
    level = np.einsum("rlb,rb->rl", _at_lines(kind, values, gas), values.background)
    return np.asarray(level + stars_beside(values, gas, continuum))


def stars_beside(values: LineValues, gas: Spectra, continuum: F64 | None) -> Float[F64, "row line"]:
    """Return the continuum that was subtracted, as it is beside each line."""
    if continuum is None:
        return np.zeros_like(values.flux)
    return _level_beside(values, gas, continuum)


def _at_lines(kind: GroupClass, values: LineValues, gas: Spectra) -> Float[F64, "row line 2"]:
    """Return what value and slope of the local background are multiplied by at each line."""
    center = np.repeat(kind.center, gas.n_spectrum)[:, None]
    return np.stack([np.ones_like(values.wave_obs), values.wave_obs - center], axis=-1)


def equivalent_width(
    kind: GroupClass, values: LineValues, gas: Spectra, continuum: F64 | None
) -> tuple[F64, F64]:
    """Return equivalent widths and errors, Angstrom ``[row, line]``.

    The level at a line is the local background plus that of the continuum beside the line; its
    error is that of the background, which is fitted on top of a given continuum, and so is its
    covariance with the flux.
    """
    at = _at_lines(kind, values, gas)
    level = _level_under(kind, values, gas, continuum)
    variance = np.einsum("rlb,rbc,rlc->rl", at, values.cov_background, at)
    shared = np.einsum("rlb,rlb->rl", at, values.cov_flux)
    with np.errstate(invalid="ignore", divide="ignore"):
        usable = level > _LEVEL * np.sqrt(variance)
        width = np.where(usable, values.flux / level, np.nan)
        spread = values.flux_err**2 - 2 * width * shared + width**2 * variance
        error = np.where(usable, np.sqrt(np.maximum(spread, 0.0)) / level, np.nan)
    return width, error


def _level_beside(values: LineValues, gas: Spectra, continuum: F64) -> F64:
    """Return the continuum at each line as it would be without absorption in it.

    Half the sum of its means in two bands, from 1500 to 3500 km/s to either side: what lies under
    a Balmer line is the bottom of the stars' own, and an equivalent width relative to that would
    hang on their age. Of a band that is not known for the most part the other stands for both,
    and the mean within 3 sigma of the line where neither is; NaN where that is not known.
    """
    mean = _Means(gas, continuum)
    place = np.nan_to_num(values.wave_obs, nan=gas.wave[0])
    low, high = (speed / C_KMS * place for speed in _BAND)
    blue, red = mean(place - high, place - low), mean(place + low, place + high)
    reach = np.maximum(_SIDE * values.sigma_obs, np.diff(gas.edges).min())
    under = mean(place - reach, place + reach)
    one = np.where(np.isnan(blue), red, blue)
    level = np.where(np.isfinite(blue + red), 0.5 * (blue + red), one)
    return np.asarray(np.where(np.isnan(level) | np.isnan(under), under, level))


class _Means:
    """Means of the continuum between places of each row ``[row, line]``, from running integrals.

    Pixels where it is not known are left out; NaN where they are most of them.
    """

    def __init__(self, gas: Spectra, continuum: Float[F64, "spectrum wave"]) -> None:
        known, width = np.isfinite(continuum), np.diff(gas.edges)
        self._edges = gas.edges
        self._sums = [
            _running(part * width) for part in (np.where(known, continuum, 0.0), 1.0 * known)
        ]

    def __call__(self, first: Float[F64, "row line"], last: Float[F64, "row line"]) -> F64:
        n_spectrum = len(self._sums[0])
        row = np.tile(np.arange(n_spectrum), len(first) // n_spectrum)[:, None]
        ends = [np.clip(place, self._edges[0], self._edges[-1]) for place in (first, last)]
        total, seen = (
            _interpolate(sums, self._edges, row, ends[1])
            - _interpolate(sums, self._edges, row, ends[0])
            for sums in self._sums
        )
        enough = seen > 0.5 * (last - first)
        return np.asarray(np.where(enough, total, np.nan) / np.where(enough, seen, 1.0))


def _running(values: Float[F64, "spectrum wave"]) -> Float[F64, "spectrum edge"]:
    return np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))


def _interpolate(running: F64, edges: F64, row: Index, place: F64) -> F64:
    """Interpolate each row's running integral at its own places."""
    left = np.searchsorted(edges, place, side="right").clip(1, edges.size - 1) - 1
    share = (place - edges[left]) / (edges[left + 1] - edges[left])
    return np.asarray(running[row, left] * (1 - share) + running[row, left + 1] * share)
