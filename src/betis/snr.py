"""Signal and noise of an emission line at each spaxel.

The default is a matched filter: the line's flux by weighted linear least squares, with the
profile at the local velocity, its neighbours and a linear pseudo-continuum fitted together. On
pure noise it is unbiased, and its noise is exact where the variance is. The velocity comes from a
brighter line in other pixels, so that it does not chase the noise of the line itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from betis.arrays import F64, Index
from betis.errors import InputError
from betis.linelist import LineSet
from betis.lsf import FWHM_PER_SIGMA
from betis.options import SnrOptions
from betis.products import Cube, SnrMap
from betis.wavelength import C_KMS

HALF_WINDOW = 40.0
"""Angstrom either side of the line that the matched filter looks at."""

MIN_PIXELS = 8
"""Wavelengths in that window below which no line is measured: twice what a lone line needs."""

SIDE_WINDOWS = ((-60.0, -30.0), (30.0, 60.0))
"""Pseudo-continuum windows of the ``betis`` method, Angstrom from the line."""

PEAK_WINDOW = 5.0
"""Half-width of the window in which the ``betis`` method takes the maximum, Angstrom."""

TRIAL_SIGMAS = (25.0, 50.0, 100.0, 200.0)
"""Velocity dispersions tried for the field as a whole, km/s."""

DEFAULT_SIGMA = 50.0
"""Dispersion with which the velocities are looked for, km/s."""

BRIGHTEST = 500
"""How many spaxels choose the dispersion of the field."""

VELOCITY_STEP = 40.0
"""Step of the velocities tried, km/s; below the width of any line that MUSE resolves."""

PROFILE_STEP = 5.0
"""Step of the velocities at which a line's profile is computed for its flux, km/s."""

SMOOTHING = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Spatial smoothings (sigma, spaxels) at which the bright line is looked for, finest first."""

DETECTION = 6.0
"""S/N that the bright line must reach at a smoothing for its velocity to be believed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Window:
    """The pixels round a line, and the lines that lie in them (the one wanted first)."""

    waves: slice
    edges: F64
    lines: F64
    sigma_lsf: F64
    center: float


def line_snr(cube: Cube, line_set: LineSet, options: SnrOptions) -> SnrMap:
    """Measure the signal and noise of one line at each spaxel.

    Parameters
    ----------
    cube
        In the rest frame (`prepare`).
    line_set
        Gives the line's place and those of its neighbours.
    options
        The line, the method, the bright line that gives the velocities.

    Returns
    -------
    signal and noise ``[y, x]``: integrated flux and its 1-sigma error (method "matched"), or peak
    minus pseudo-continuum and the scatter (method "betis", flux density).

    Raises
    ------
    ConfigError
        Where the line is unknown.
    InputError
        Where the line is outside the cube, or no spaxel has usable data there.
    """
    window = _window(cube, line_set, options.line)
    if options.method == "betis":
        return _peak_map(cube, window, options)
    velocity, sigma = velocity_field(cube, line_set, options)
    signal, noise, continuum = _fit_tiles(cube, window, velocity, sigma)
    _require_data(noise, options.line)
    return SnrMap(
        signal=signal,
        noise=noise,
        line=options.line,
        method=options.method,
        velocity=velocity,
        continuum=continuum,
        sigma=sigma,
    )


def velocity_field(
    cube: Cube, line_set: LineSet, options: SnrOptions
) -> tuple[Float[F64, "y x"], float]:
    """Find where the bright line lies, spaxel by spaxel, and how broad it is over the field.

    At each velocity of a grid the line's flux is measured at each spaxel, and summed over growing
    neighbourhoods; each spaxel takes the velocity of the peak at the finest smoothing where the
    peak's S/N exceeds `DETECTION`. Spaxels without one take a mean of those that have,
    weighted by distance; where none has, 0.

    Returns
    -------
    velocity (km/s, ``[y, x]``) and dispersion (km/s).
    """
    tracer, smoothing = _tracer(cube, line_set, options)
    steps = int(np.ceil(options.max_velocity / VELOCITY_STEP))
    grid = np.arange(-steps, steps + 1, dtype=float) * VELOCITY_STEP
    flux, weight = _velocity_scan(cube, tracer, grid, DEFAULT_SIGMA)
    velocity, peak = _peak_velocity(flux, weight, grid, smoothing)
    return _fill(velocity), _field_sigma(cube, tracer, velocity, peak)


def _field_sigma(cube: Cube, window: _Window, velocity: F64, peak: F64) -> float:
    """Return the trial dispersion at which the brightest spaxels have the largest S/N."""
    found = np.isfinite(velocity)
    if not found.any():
        return DEFAULT_SIGMA
    faintest = np.sort(peak[found])[-BRIGHTEST:][0]
    chosen = found & (peak >= faintest)
    power = []
    for sigma in TRIAL_SIGMAS:
        signal, noise, _ = _fit_tiles(cube, window, np.where(chosen, velocity, np.nan), sigma)
        power.append(np.nansum((signal[chosen] / noise[chosen]) ** 2))
    return TRIAL_SIGMAS[int(np.argmax(power))]


def _tracer(
    cube: Cube, line_set: LineSet, options: SnrOptions
) -> tuple[_Window, tuple[float, ...]]:
    """Return the bright line's window, or the line's own where the bright one is out of reach.

    A line that gives its own velocity is always smoothed first, or its noise would be followed.
    """
    own = options.tracer == options.line or options.tracer not in line_set.names
    if not own and _covers(cube, line_set, options.tracer):
        return _window(cube, line_set, options.tracer), SMOOTHING
    return _window(cube, line_set, options.line), SMOOTHING[2:]


def _velocity_scan(cube: Cube, window: _Window, grid: F64, sigma: float) -> tuple[F64, F64]:
    """Return flux and inverse variance of the line, ``[velocity, y, x]``."""
    flux = np.zeros((grid.size, *cube.sky.shape))
    weight = np.zeros_like(flux)
    for rows in cube.tiles(window.edges.size):
        block = cube.read(rows, window.waves)
        shape = block.flux.shape
        data, ivar = _as_rows(block.flux), _inverse(_as_rows(block.variance))
        for index, velocity in enumerate(grid):
            design = _design(window, velocity, sigma)
            solution, covariance = _solve(design, data, ivar)
            good = covariance[:, 0, 0] > 0
            inverse = np.where(good, 1 / np.where(good, covariance[:, 0, 0], 1.0), 0.0)
            flux[index, rows] = solution[:, 0].reshape(shape[1:])
            weight[index, rows] = inverse.reshape(shape[1:])
    return flux, weight


def _peak_velocity(
    flux: F64, weight: F64, grid: F64, smoothing: tuple[float, ...]
) -> tuple[F64, F64]:
    """Return the velocity and the S/N of the peak at each spaxel; NaN where none was found."""
    shape = flux.shape[1:]
    velocity, snr_peak = np.full(shape, np.nan), np.full(shape, np.nan)
    for width in smoothing:
        snr = _smoothed_snr(flux, weight, width)
        index = snr.argmax(axis=0)
        peak = np.take_along_axis(snr, index[None], axis=0)[0]
        found = np.isnan(velocity) & (peak >= DETECTION) & (weight[grid.size // 2] > 0)
        velocity[found] = _parabola(snr, index, grid)[found]
        snr_peak[found] = peak[found]
    return velocity, snr_peak


def _smoothed_snr(flux: F64, weight: F64, width: float) -> F64:
    """Return the S/N of the flux summed with inverse-variance weights over a Gaussian patch."""
    if width == 0:
        return flux * np.sqrt(weight)
    kernel = (0.0, width, width)
    top = gaussian_filter(flux * weight, kernel, mode="constant")
    narrow = (0.0, width / np.sqrt(2), width / np.sqrt(2))
    # The variance of a Gaussian sum goes with the squared kernel: a kernel sqrt(2) narrower.
    variance = gaussian_filter(weight, narrow, mode="constant") / (4 * np.pi * width**2)
    return np.asarray(top / np.sqrt(np.maximum(variance, 1e-300)) * (variance > 0))


def _parabola(snr: F64, index: Index, grid: F64) -> F64:
    """Refine the peak of each spaxel by the parabola through it and its two neighbours."""
    inner = np.clip(index, 1, grid.size - 2)
    low, mid, high = (np.take_along_axis(snr, inner[None] + k, axis=0)[0] for k in (-1, 0, 1))
    curvature = low - 2 * mid + high
    shift = np.where(curvature < 0, 0.5 * (low - high) / np.where(curvature < 0, curvature, 1), 0)
    return np.asarray(grid[inner] + VELOCITY_STEP * np.clip(shift, -1, 1))


def _fill(velocity: F64) -> F64:
    """Smooth the velocities found by one spaxel, and carry them over the gaps between."""
    known = np.isfinite(velocity)
    if not known.any():
        return np.zeros_like(velocity)
    value = np.where(known, velocity, 0.0)
    filled = np.full_like(velocity, np.nan)
    width = 1.0
    while np.isnan(filled).any():
        weight = gaussian_filter(known.astype(float), width, mode="constant")
        mean = gaussian_filter(value, width, mode="constant") / np.maximum(weight, 1e-300)
        # Relative to its peak: the weight of a few spaxels falls without limit as it spreads.
        usable = np.isnan(filled) & (weight > 1e-3 * weight.max())
        filled[usable] = mean[usable]
        width *= 2
    return filled


def _fit_tiles(
    cube: Cube, window: _Window, velocity: F64, sigma: float
) -> tuple[Float[F64, "y x"], Float[F64, "y x"], Float[F64, "y x"]]:
    """Return flux, its error and the pseudo-continuum under the line, each ``[y, x]``.

    Spaxels whose velocity is NaN are left out.
    """
    shape = cube.sky.shape
    signal, noise, level = (np.full(shape, np.nan) for _ in range(3))
    for rows in cube.tiles(window.edges.size):
        block = cube.read(rows, window.waves)
        data, ivar = _as_rows(block.flux), _inverse(_as_rows(block.variance))
        step = np.round(velocity[rows].ravel() / PROFILE_STEP)
        result = np.full((3, step.size), np.nan)
        for value in np.unique(step[np.isfinite(step)]):
            same = step == value
            design = _design(window, value * PROFILE_STEP, sigma)
            solution, covariance = _solve(design, data[same], ivar[same])
            error = np.sqrt(np.maximum(covariance[:, 0, 0], 0.0))
            kept = error > 0
            columns = (solution[:, 0], error, solution[:, -2])
            result[:, same] = [np.where(kept, column, np.nan) for column in columns]
        for target, values in zip((signal, noise, level), result, strict=True):
            target[rows] = values.reshape(-1, shape[1])
    return signal, noise, level


def _design(window: _Window, velocity: float, sigma: float) -> Float[F64, "column wave"]:
    """Return unit-flux profiles of the lines, then a constant and a slope, at each pixel."""
    center = window.lines * (1 + velocity / C_KMS)
    width = np.hypot(window.sigma_lsf, center * sigma / C_KMS)
    z = (window.edges[None] - center[:, None]) / (np.sqrt(2) * width[:, None])
    profiles = 0.5 * np.diff(erf(z), axis=1) / np.diff(window.edges)
    middle = 0.5 * (window.edges[1:] + window.edges[:-1])
    slope = (middle - window.center) / HALF_WINDOW
    return np.concatenate([profiles, np.ones((1, middle.size)), slope[None]])


def _solve(
    design: Float[F64, "column wave"], data: Float[F64, "row wave"], ivar: Float[F64, "row wave"]
) -> tuple[Float[F64, "row column"], Float[F64, "row column column"]]:
    """Solve weighted linear least squares for each row; rows that cannot be solved get zeros.

    A row needs good pixels under the line itself (half of its profile's weight) and twice as
    many pixels as columns.
    """
    n_column = len(design)
    pairs = (design[:, None] * design[None]).reshape(n_column**2, -1)
    normal = (ivar @ pairs.T).reshape(-1, n_column, n_column)
    right = (ivar * data) @ design.T
    line = design[0] ** 2
    covered = ((ivar > 0) @ line) > 0.5 * line.sum()
    good = covered & ((ivar > 0).sum(axis=1) >= 2 * n_column)
    scale = np.sqrt(np.maximum(np.einsum("rcc->rc", normal), 1e-200))
    unit = normal / (scale[:, :, None] * scale[:, None, :])
    unit[~good] = np.eye(n_column)
    # A neighbour that falls on masked pixels has no column left; the ridge keeps it at zero.
    inverse = np.linalg.inv(unit + 1e-12 * np.eye(n_column))
    covariance = inverse / (scale[:, :, None] * scale[:, None, :])
    covariance[~good] = 0.0
    return np.einsum("rcd,rd->rc", covariance, right), covariance


def _peak_map(cube: Cube, window: _Window, options: SnrOptions) -> SnrMap:
    """Equation 1 of BETIS: the maximum near the line minus the side means, over their scatter."""
    center = window.center
    peak_at = _between(cube, center - PEAK_WINDOW, center + PEAK_WINDOW)
    sides = [_between(cube, center + low, center + high) for low, high in SIDE_WINDOWS]
    if min(peak_at.stop - peak_at.start, *(side.stop - side.start for side in sides)) < 2:
        raise InputError(f"the side windows of {options.line} are outside the cube")
    signal, noise, level = (np.full(cube.sky.shape, np.nan) for _ in range(3))
    for rows in cube.tiles(window.edges.size):
        peak = _finite(cube, rows, peak_at).max(axis=0)
        edges = [_finite(cube, rows, side) for side in sides]
        level[rows] = np.mean([edge.mean(axis=0) for edge in edges], axis=0)
        noise[rows] = np.mean([edge.std(axis=0) for edge in edges], axis=0)
        signal[rows] = peak - level[rows]
    _require_data(noise, options.line)
    return SnrMap(
        signal=signal, noise=noise, line=options.line, method=options.method, continuum=level
    )


def _finite(cube: Cube, rows: slice, waves: slice) -> F64:
    block = cube.read(rows, waves)
    return np.where(block.mask, np.nan, block.flux)


def _window(cube: Cube, line_set: LineSet, name: str) -> _Window:
    """Return the pixels within `HALF_WINDOW` of a line, and every line that reaches into them."""
    places = dict(zip(line_set.names, line_set.waves(cube.medium, cube.redshift), strict=True))
    if not _covers(cube, line_set, name):
        raise InputError(
            f"the line {name} lies at {places[name] * (1 + cube.redshift):.1f} A at redshift "
            f"{cube.redshift:g}, outside this cube ({cube.wave[0] * (1 + cube.redshift):.0f}-"
            f"{cube.wave[-1] * (1 + cube.redshift):.0f} A); check the redshift or choose another "
            "line with --snr-line"
        )
    center = float(places.pop(name))
    waves = _between(cube, center - HALF_WINDOW, center + HALF_WINDOW)
    if waves.stop - waves.start < MIN_PIXELS:
        raise InputError(
            f"there are {waves.stop - waves.start} wavelengths within {HALF_WINDOW:g} A of {name}, "
            f"where at least {MIN_PIXELS} are needed; check the wavelength step of the cube"
        )
    near = [place for place in places.values() if abs(place - center) < HALF_WINDOW]
    lines = np.array([center, *near])
    return _Window(
        waves=waves,
        edges=cube.edges[waves.start : waves.stop + 1],
        lines=lines,
        sigma_lsf=np.interp(lines, cube.wave, cube.lsf) / FWHM_PER_SIGMA,
        center=center,
    )


def _covers(cube: Cube, line_set: LineSet, name: str) -> bool:
    """Tell whether the line, with some room to either side, is inside the cube."""
    line = line_set[name]
    place = line_set.select([line.name]).waves(cube.medium, cube.redshift)[0]
    return bool(cube.wave[0] + 10.0 < place < cube.wave[-1] - 10.0)


def _between(cube: Cube, low: float, high: float) -> slice:
    start, stop = np.searchsorted(cube.wave, [low, high])
    return slice(int(start), int(stop))


def _as_rows(block: Float[F64, "wave y x"]) -> Float[F64, "row wave"]:
    return block.reshape(block.shape[0], -1).T


def _inverse(variance: F64) -> F64:
    return np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)


def _require_data(noise: F64, line: str) -> None:
    if not np.isfinite(noise).any():
        raise InputError(
            f"no spaxel has usable data round {line}: every value is NaN or masked there; "
            "check the cube, or choose another line with --snr-line"
        )
