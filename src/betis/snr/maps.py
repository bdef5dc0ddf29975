"""Signal and noise at each spaxel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter

from betis.arrays import B8, F64
from betis.errors import InputError
from betis.linelist import LineSet
from betis.options import SnrOptions
from betis.products import Cube, SnrMap
from betis.snr.continuum import continuum_of_rows, continuum_pixels
from betis.snr.fit import RowFit, fit_rows, line_design
from betis.snr.peak import peak_of_rows, peak_windows
from betis.snr.request import CONTINUUM, Request, parse_request
from betis.snr.velocity import PROFILE_STEP, velocity_field
from betis.snr.window import Rows, Window, cube_rows, line_windows, rows_by_step

CHOICE = 2.0
"""Smoothing (sigma, spaxels) at which the worst line of a set is chosen: some 50 spaxels."""

Map = Float[F64, "y x"]


def line_snr(cube: Cube, line_set: LineSet, options: SnrOptions) -> SnrMap:
    """Measure the signal and noise of a line, of several, or of the continuum at each spaxel.

    The flux of a sum of lines is fitted with all of them in one window where their windows
    overlap, so that its noise counts their covariance, and is added in quadrature otherwise. Of
    the worst of several, each spaxel has the signal and noise of the line with the lowest S/N in
    the spaxels round it, itself left out: its own noise does not choose, so that it remains
    unbiased. Bins that straddle the border between two such lines mix them; `measured_snr` gives
    the S/N of each line in each bin.

    Parameters
    ----------
    cube
        In the rest frame (`prepare`).
    line_set
        Gives the lines' places and those of their neighbours.
    options
        What is measured (`betis.snr.request.parse_request`), the method, the bright line that
        gives the velocities.

    Returns
    -------
    signal and noise ``[y, x]``: integrated flux and its 1-sigma error (method "matched"); peak
    minus pseudo-continuum and the scatter (method "betis", flux density); or mean flux density
    and the noise of one wavelength pixel (the continuum, whose ``method`` says "continuum").

    Raises
    ------
    ConfigError
        Where the line is unknown or the text cannot be read.
    InputError
        Where the line is outside the cube, or no spaxel has usable data there.
    """
    request = parse_request(options.line)
    if request.window:
        return _continuum_map(cube, request, request.window, options)
    if options.method == "betis":
        maps = [_peak_map(cube, line_set, term, options) for term in request.terms]
        return _assembled(request, options.method, maps)
    windows = [line_windows(cube, line_set, term) for term in request.terms]
    velocity, sigma = velocity_field(cube, line_set, options)
    maps = [
        total([_matched_map(cube, window, velocity, sigma, options.noise) for window in term])
        for term in windows
    ]
    return _assembled(request, options.method, maps, velocity, sigma)


def total(parts: Sequence[RowFit]) -> RowFit:
    """Return the sum of independent measurements, and the mean of their continua."""
    return RowFit(
        np.sum([part.signal for part in parts], axis=0),
        np.sqrt(np.sum([part.noise**2 for part in parts], axis=0)),
        np.mean([part.level for part in parts], axis=0),
    )


def _assembled(
    request: Request,
    method: str,
    terms: Sequence[RowFit],
    velocity: Map | None = None,
    sigma: float = 0.0,
) -> SnrMap:
    """Return the map of the worst term; the continuum is that of the first."""
    signal, noise = _worst([(term.signal, term.noise) for term in terms])
    if not np.isfinite(noise).any():
        raise InputError(
            f"no spaxel has usable data round {request.text}: every value is NaN or masked there; "
            "check the cube, or choose another line with --snr-line"
        )
    return SnrMap(
        signal=signal,
        noise=noise,
        line=request.text,
        method=method,
        velocity=velocity,
        continuum=terms[0].level,
        sigma=sigma,
    )


def _worst(terms: Sequence[tuple[Map, Map]]) -> tuple[Map, Map]:
    """Return signal and noise of the term whose S/N is the lowest round each spaxel."""
    if len(terms) == 1:
        return terms[0]
    known = np.isfinite(np.sum(terms, axis=(0, 1)))
    around = [_snr_around(signal, noise, known) for signal, noise in terms]
    chosen = np.argmin(around, axis=0)[None]
    signal, noise = (
        np.take_along_axis(np.array([term[k] for term in terms]), chosen, axis=0)[0] for k in (0, 1)
    )
    return np.where(known, signal, np.nan), np.where(known, noise, np.nan)


def _snr_around(signal: Map, noise: Map, known: Bool[B8, "y x"]) -> Map:
    """Return the S/N of the sum over a Gaussian patch round each spaxel, itself left out."""
    unit = np.median(noise[known]) if known.any() else 1.0
    flux, variance = (
        np.where(known, part, 0.0) for part in (signal / unit, np.square(noise / unit))
    )
    peak = 1.0 / (2 * np.pi * CHOICE**2)
    top = gaussian_filter(flux, CHOICE, mode="constant") - peak * flux
    # A squared Gaussian is one sqrt(2) narrower, over 4 pi sigma².
    squared = gaussian_filter(variance, CHOICE / np.sqrt(2), mode="constant") * 0.5 * peak
    rest = squared - peak**2 * variance
    return np.asarray(top / np.sqrt(np.where(rest > 1e-12, rest, np.inf)))


def _matched_map(cube: Cube, window: Window, velocity: Map, sigma: float, noise: str) -> RowFit:
    """Return what is measured at each spaxel ``[y, x]``; NaN where the velocity is."""
    return _painted(
        cube,
        (
            (rows, _matched_rows(window, spectra, velocity[rows].ravel(), sigma, noise))
            for rows, spectra in cube_rows(cube, window.waves)
        ),
    )


def _matched_rows(
    window: Window, spectra: Rows, velocity: Float[F64, " row"], sigma: float, noise: str
) -> RowFit:
    result = np.full((3, velocity.size), np.nan)
    for same, some, (place,) in rows_by_step(spectra, velocity, step=PROFILE_STEP):
        fit = fit_rows(line_design(window, place, sigma), some, noise)
        result[:, same] = fit.signal, fit.noise, fit.level
    return RowFit(*result)


def _peak_map(cube: Cube, line_set: LineSet, names: Sequence[str], options: SnrOptions) -> RowFit:
    """Return Equation 1 of a line, or the sum of several, at each spaxel ``[y, x]``."""
    windows = [peak_windows(cube, line_set, name, options) for name in names]
    every = [window for line in windows for window in line]
    first, last = min(w.start for w in every), max(w.stop for w in every)
    local = [[slice(w.start - first, w.stop - first) for w in line] for line in windows]
    parts = []
    for rows in cube.tiles(last - first):
        block = cube.read(rows, slice(first, last))
        flux, good = block.flux.reshape(last - first, -1), ~block.mask.reshape(last - first, -1)
        parts.append((rows, total([peak_of_rows(flux, good, line) for line in local])))
    return _painted(cube, parts)


def _continuum_map(
    cube: Cube, request: Request, window: tuple[float, float], options: SnrOptions
) -> SnrMap:
    waves = continuum_pixels(cube, window)
    parts = (
        (rows, continuum_of_rows(cube.wave[waves], spectra, options.noise))
        for rows, spectra in cube_rows(cube, waves)
    )
    return _assembled(request, CONTINUUM, [_painted(cube, parts)])


def _painted(cube: Cube, parts: Iterable[tuple[slice, RowFit]]) -> RowFit:
    """Return maps of what was measured in the tiles of the field."""
    maps = np.full((3, *cube.sky.shape), np.nan)
    for rows, fit in parts:
        maps[:, rows] = np.array(fit[:3]).reshape(3, -1, cube.sky.shape[1])
    return RowFit(*maps)
