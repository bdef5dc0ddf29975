"""The S/N of bins, measured on their stacked spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError
from betis.linelist import LineSet
from betis.options import SnrOptions
from betis.products import BinMap, Cube, MeasuredSnr, RowStream, SnrMap, Spectra
from betis.snr.continuum import continuum_of_rows, continuum_pixels
from betis.snr.fit import RowFit, fit_rows, line_design
from betis.snr.maps import total
from betis.snr.peak import peak_of_rows, peak_windows
from betis.snr.request import Request, parse_request
from betis.snr.velocity import PROFILE_STEP
from betis.snr.window import MARGIN, Axis, Window, line_windows, rows_by_step, spectra_rows

_MORE = MARGIN + 1
"""Pixels on either side of a window: those that tell spikes, and one that a gap may mask."""


class _Kinematics(NamedTuple):
    """Where the line of each bin lies and how broad it is, km/s."""

    velocity: Float[F64, " bin"]
    sigma: Float[F64, " bin"]


def window_cube(cube: Cube, line_set: LineSet, options: SnrOptions) -> Cube:
    """Return only the wavelengths of a cube that the S/N is measured in, for stacking.

    Where they are in several windows the axis has gaps. The pixels at a gap are masked, and
    none that is used.

    Raises
    ------
    ConfigError, InputError
        As `line_snr`.
    """
    wanted = sorted(
        (max(window.start - _MORE, 0), min(window.stop + _MORE, cube.wave.size))
        for window in _slices(cube, line_set, options)
    )
    joined = [wanted[0]]
    for start, stop in wanted[1:]:
        if start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return cube.cut(*(slice(start, stop) for start, stop in joined))


def measured_snr(
    stacked: RowStream[Spectra],
    bins: BinMap,
    snr_map: SnrMap,
    line_set: LineSet,
    options: SnrOptions,
) -> MeasuredSnr:
    """Measure the S/N of each bin on its stacked spectrum, as `line_snr` does on a spaxel's.

    The line is placed at the mean velocity of the bin's spaxels, weighted by their flux, and is
    as broad as the field's lines with the spread of these velocities in quadrature: what a bin
    loses because its lines do not lie upon each other is counted. So is the correlation of the
    noise that the stack's errors contain.

    Parameters
    ----------
    stacked
        The bins of `window_cube` stacked, or of the whole cube; a row a bin.
    bins, snr_map
        Of the same field; the map is that of the same options.
    line_set, options
        As of `line_snr`.

    Returns
    -------
    Signal and noise of each term ``[term, bin]``, a term being a line or a sum of lines.

    Raises
    ------
    InputError
        Where the spectra are not those of the bins.
    ConfigError, InputError
        As `line_snr`.
    """
    _require_alike(stacked, bins, snr_map)
    request = parse_request(options.line)
    motion = _kinematics(bins, snr_map)
    result = np.full((2, len(request.labels), bins.n_bin), np.nan)
    for rows, spectra in stacked.pieces:
        here = _Kinematics(motion.velocity[rows], motion.sigma[rows])
        for index, fit in enumerate(_fits(request, spectra, here, line_set, options)):
            result[:, index, rows] = fit.signal, fit.noise
    return MeasuredSnr(names=request.labels, signals=result[0], noises=result[1])


def _slices(axis: Axis, line_set: LineSet, options: SnrOptions) -> list[slice]:
    request = parse_request(options.line)
    if request.window:
        return [continuum_pixels(axis, request.window)]
    if options.method == "betis":
        peaks = [peak_windows(axis, line_set, name, options) for name in request.names]
        return [window for windows in peaks for window in windows]
    return [window.waves for term in request.terms for window in line_windows(axis, line_set, term)]


def _require_alike(stacked: RowStream[Spectra], bins: BinMap, snr_map: SnrMap) -> None:
    if stacked.n_row != bins.n_bin or bins.bin_id.shape != snr_map.signal.shape:
        raise InputError(
            f"{stacked.n_row} stacked spectra, {bins.n_bin} bins of {bins.bin_id.shape} spaxels "
            f"and an S/N map of {snr_map.signal.shape} were given, where they must belong "
            "together; stack the bins made from this map"
        )


def _kinematics(bins: BinMap, snr_map: SnrMap) -> _Kinematics:
    """Return mean velocity and width of the line in each bin; velocity NaN where none is known."""
    if snr_map.velocity is None:
        return _Kinematics(np.full(bins.n_bin, np.nan), np.zeros(bins.n_bin))
    inside = (bins.bin_id >= 0) & np.isfinite(snr_map.velocity)
    row, velocity = bins.bin_id[inside], snr_map.velocity[inside]
    flux = np.nan_to_num(np.maximum(snr_map.signal[inside], 0.0))
    # A bin whose flux is nowhere positive has the plain mean.
    weight = np.where((np.bincount(row, flux, bins.n_bin) > 0)[row], flux, 1.0)
    norm = np.bincount(row, weight, bins.n_bin)
    norm[norm == 0] = np.nan
    mean = np.bincount(row, weight * velocity, bins.n_bin) / norm
    spread = np.bincount(row, weight * (velocity - mean[row]) ** 2, bins.n_bin) / norm
    return _Kinematics(mean, np.sqrt(snr_map.sigma**2 + spread))


def _fits(
    request: Request,
    spectra: Spectra,
    motion: _Kinematics,
    line_set: LineSet,
    options: SnrOptions,
) -> list[RowFit]:
    if request.window:
        waves = continuum_pixels(spectra, request.window)
        rows = spectra_rows(spectra, waves)
        return [continuum_of_rows(spectra.wave[waves], rows, options.noise)]
    measure: Callable[[Sequence[str]], RowFit] = (
        partial(_peak_sum, spectra, line_set, options)
        if options.method == "betis"
        else partial(_matched_sum, spectra, motion, line_set, options.noise)
    )
    return [measure(term) for term in request.terms]


def _peak_sum(
    spectra: Spectra, line_set: LineSet, options: SnrOptions, names: Sequence[str]
) -> RowFit:
    flux, good = spectra.flux.T, ~spectra.mask.T
    windows = [peak_windows(spectra, line_set, name, options) for name in names]
    return total([peak_of_rows(flux, good, line) for line in windows])


def _matched_sum(
    spectra: Spectra, motion: _Kinematics, line_set: LineSet, noise: str, names: Sequence[str]
) -> RowFit:
    windows = line_windows(spectra, line_set, names)
    return total([_matched(spectra, window, motion, noise) for window in windows])


def _matched(spectra: Spectra, window: Window, motion: _Kinematics, noise: str) -> RowFit:
    rows = spectra_rows(spectra, window.waves)
    result = np.full((3, spectra.n_spectrum), np.nan)
    for same, some, (velocity, sigma) in rows_by_step(rows, *motion, step=PROFILE_STEP):
        fit = fit_rows(line_design(window, velocity, sigma), some, noise)
        result[:, same] = fit.signal, fit.noise, fit.level
    return RowFit(*result)
