"""Where the gas is in velocity, spaxel by spaxel, from a bright line."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from betis.arrays import B8, F32, F64, Index
from betis.linelist import LineSet
from betis.options import SnrOptions
from betis.products import Cube
from betis.snr.fit import fit_rows, line_design, wanted_flux, weigh
from betis.snr.request import parse_request
from betis.snr.window import Rows, Window, covers, cube_rows, line_windows, rows_by_step

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

LARGEST_SHARE = 2 * DETECTION
"""S/N with which one spaxel counts at most among its neighbours: a bad one decides for none."""

_SMALLEST = 1e-30


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
    flux, weight = _velocity_scan(cube, tracer, grid)
    velocity, peak = _peak_velocity(flux, weight, grid, smoothing)
    return fill(velocity), _field_sigma(cube, tracer, velocity, peak)


def fill(velocity: F64) -> F64:
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


def _tracer(cube: Cube, line_set: LineSet, options: SnrOptions) -> tuple[Window, tuple[float, ...]]:
    """Return the bright line's window, or the line's own where the bright one is out of reach.

    A line that gives its own velocity is always smoothed first, so that its noise is not followed.
    """
    names = parse_request(options.line).names
    own = names == (options.tracer,) or options.tracer not in line_set.names
    if not own and covers(cube, line_set, options.tracer):
        return line_windows(cube, line_set, [options.tracer])[0], SMOOTHING
    return line_windows(cube, line_set, names[:1])[0], SMOOTHING[2:]


def _velocity_scan(
    cube: Cube, window: Window, grid: F64
) -> tuple[Float[F32, "velocity y x"], Float[F32, "velocity y x"]]:
    """Return S/N and inverse error of the line at each velocity."""
    designs = [line_design(window, velocity, DEFAULT_SIGMA) for velocity in grid]
    snr = np.zeros((grid.size, *cube.sky.shape), dtype=np.float32)
    weight = np.zeros_like(snr)
    unit = 0.0
    for rows, spectra in cube_rows(cube, window.waves):
        unit = unit or float(np.sqrt(spectra.ivar.max()))
        if not unit:
            continue
        # Single precision does not hold the inverse variance of fluxes of 1e-20.
        scaled = weigh(Rows(spectra.flux * unit, spectra.ivar / unit**2), np.float32)
        for index, design in enumerate(designs):
            flux, inverse = wanted_flux(design, scaled)
            weight[index, rows] = np.sqrt(inverse).reshape(-1, cube.sky.shape[1])
            snr[index, rows] = (flux * np.sqrt(inverse)).reshape(-1, cube.sky.shape[1])
    return snr, weight


def _peak_velocity(
    snr: Float[F32, "velocity y x"],
    weight: Float[F32, "velocity y x"],
    grid: F64,
    smoothing: tuple[float, ...],
) -> tuple[Float[F64, "y x"], Float[F64, "y x"]]:
    """Return the velocity and the S/N of the peak at each spaxel; NaN where none was found."""
    shape = snr.shape[1:]
    velocity, snr_peak = np.full(shape, np.nan), np.full(shape, np.nan)
    measured = weight[grid.size // 2] > 0
    for width in smoothing:
        wanted = measured & np.isnan(velocity)
        if not wanted.any():
            break
        here = _smoothed_snr(snr, weight, width)[:, wanted]
        index = here.argmax(axis=0)
        peak = here[index, np.arange(index.size)]
        found = peak >= DETECTION
        place = np.nonzero(wanted)
        velocity[place] = np.where(found, _parabola(here, index, grid), np.nan)
        snr_peak[place] = np.where(found, peak, np.nan)
    return velocity, snr_peak


def _smoothed_snr(
    snr: Float[F32, "velocity y x"], weight: Float[F32, "velocity y x"], width: float
) -> Float[F32, "velocity y x"]:
    """Return the S/N of the flux summed with inverse-variance weights over a Gaussian patch."""
    if width == 0:
        return snr
    result = np.empty_like(snr)
    share = np.minimum(1.0, LARGEST_SHARE / np.maximum(np.abs(snr).max(axis=0), 1.0))
    for index, (plane, inverse) in enumerate(zip(snr, weight, strict=True)):
        top = gaussian_filter(share * plane * inverse, width, mode="constant")
        # The variance of a Gaussian sum goes with the squared kernel: a kernel sqrt(2) narrower.
        variance = gaussian_filter(inverse**2, width / np.sqrt(2), mode="constant")
        variance /= 4 * np.pi * width**2
        result[index] = top / np.sqrt(np.maximum(variance, _SMALLEST)) * (variance > 0)
    return result


def _parabola(snr: Float[F32, "velocity spaxel"], index: Index, grid: F64) -> F64:
    """Refine the peak of each spaxel by the parabola through it and its two neighbours."""
    inner = np.clip(index, 1, grid.size - 2)
    spaxel = np.arange(index.size)
    low, mid, high = (snr[inner + k, spaxel].astype(float) for k in (-1, 0, 1))
    curvature = low - 2 * mid + high
    shift = np.where(curvature < 0, 0.5 * (low - high) / np.where(curvature < 0, curvature, 1), 0)
    return np.asarray(grid[inner] + VELOCITY_STEP * np.clip(shift, -1, 1))


def _field_sigma(cube: Cube, window: Window, velocity: F64, peak: F64) -> float:
    """Return the trial dispersion at which the brightest spaxels have the largest S/N."""
    found = np.isfinite(velocity)
    if not found.any():
        return DEFAULT_SIGMA
    chosen = found & (peak >= np.sort(peak[found])[-BRIGHTEST:][0])
    spectra = _taken(cube, window, chosen)
    power = np.array([_power(window, spectra, velocity[chosen], sigma) for sigma in TRIAL_SIGMAS])
    # In units of its best, so that no single spaxel decides.
    votes = (power / np.maximum(power.max(axis=0), _SMALLEST)).sum(axis=1)
    return TRIAL_SIGMAS[int(np.argmax(votes))]


def _taken(cube: Cube, window: Window, chosen: B8) -> Rows:
    """Return the spectra of some spaxels, in the order of the map."""
    parts = [
        spectra.take(chosen[rows].ravel())
        for rows, spectra in cube_rows(cube, window.waves)
        if chosen[rows].any()
    ]
    return Rows(*(np.concatenate(pair, axis=1) for pair in zip(*parts, strict=True)))


def _power(
    window: Window, spectra: Rows, velocity: Float[F64, " row"], sigma: float
) -> Float[F64, " row"]:
    """Return the squared S/N of each spectrum; 0 where there is none."""
    power = np.zeros(velocity.size)
    for same, some, (place,) in rows_by_step(spectra, velocity, step=PROFILE_STEP):
        fit = fit_rows(line_design(window, place, sigma), some)
        power[same] = np.nan_to_num((fit.signal / fit.noise) ** 2)
    return power
