"""First guesses: one velocity a spectrum, from all its emission lines together.

A start only has to lie in the right valley, so it is found on a grid, and it has to be robust:
each line's vote grows with the logarithm of its S/N, and a window with a spike has none. Such
votes place even the brightest line no better than its width allows, and the noise of the others
moves them; the last word near the velocity elected is therefore that of the brightest lines.
Lines of a set that says so are looked for by themselves near that velocity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr

from betis.arrays import B8, F64
from betis.linelist import LineSet
from betis.lines.groups import GroupClass, lsf_sigma, typical
from betis.lines.limits import line_limits
from betis.lines.model import Problem
from betis.options import LineOptions
from betis.products import Spectra
from betis.wavelength import C_KMS

__all__ = [
    "Places",
    "has_spike",
    "own_places",
    "products",
    "start_params",
    "start_velocity",
]


_STEP = 25.0
_BROADER = 1.2
_BROAD = 120.0
_MOST_VOTES = 10.0
_CHANCE = 4.0
_SPIKE = 10.0
_ALONE = 2**18
"""Multiplications of a product that OpenBLAS leaves to one thread."""
_NEAR = 250.0
"""How far from the elected velocity the brightest lines may move it, km/s."""
_SEEN = 4.0
"""S/N from which a line is taken to be where it is brightest; noise gives it in 1 of 1000."""


def start_velocity(
    line_set: LineSet, wave: Float[F64, " line"], gas: Spectra, options: LineOptions
) -> Float[F64, " spectrum"]:
    """Return the velocity (km/s) where the emission lines of each spectrum lie together.

    Parameters
    ----------
    line_set, wave
        The lines and their places on the axis (Angstrom); NaN for those outside.

    Returns
    -------
    The best of a grid of 25 km/s; 0 where nothing stands out from the noise.
    """
    limits = line_limits(line_set, options)
    grid = _grid(limits.max_velocity)
    score = np.zeros((gas.n_spectrum, grid.size))
    power, squares = np.zeros_like(score), np.zeros_like(score)
    is_voter = _voting(line_set, wave)
    centers = wave[is_voter]
    for center, window in zip(centers, limits.window[is_voter], strict=True):
        snr = _matched_snr(gas, float(center), grid, float(window))
        score += np.log1p(snr**2)
        power += np.minimum(snr, _MOST_VOTES) ** 2
        squares += snr**2
    best = score.argmax(axis=1)
    strength = np.take_along_axis(power, best[:, None], 1)[:, 0]
    found = strength > centers.size + _CHANCE * np.sqrt(2.0 * centers.size)
    is_near = np.abs(grid - grid[best][:, None]) <= _NEAR
    return np.where(found, grid[np.where(is_near, squares, -1.0).argmax(axis=1)], 0.0)


def _grid(farthest: float) -> Float[F64, " velocity"]:
    n_step = int(np.ceil(farthest / _STEP))
    return np.linspace(-farthest, farthest, 2 * n_step + 1)


def _whole_steps(farthest: float) -> Float[F64, " velocity"]:
    """Return multiples of the step, which do not depend on the farthest row."""
    n_step = int(np.ceil(farthest / _STEP))
    return np.asarray(_STEP * np.arange(-n_step, n_step + 1), dtype=float)


def _voting(line_set: LineSet, wave: Float[F64, " line"]) -> Bool[B8, " line"]:
    """Tell the emission lines on the axis.

    Without the fainter line of a tied pair: alone, another bright line could be taken for it.
    """
    place = dict(zip(line_set.names, wave, strict=True))
    is_voter = [
        not line.absorption
        and not (line.ratio < 1 and np.isfinite(place.get(line.ratio_of, np.nan)))
        for line in line_set.lines
    ]
    return np.asarray(np.array(is_voter, dtype=bool) & np.isfinite(wave))


def _matched_snr(
    gas: Spectra, center: float, grid: F64, window: float, sign: float = 1.0
) -> Float[F64, "spectrum velocity"]:
    """Return the S/N of a line of one sign at each velocity, narrow or broad; 0 where of the other.

    0 too in rows where the window holds a spike.
    """
    first, last = np.searchsorted(gas.wave, [center - window, center + window])
    sharp = float(lsf_sigma(gas, center)) / C_KMS * center
    edges = gas.edges[first : last + 1]
    step = float(np.median(np.diff(edges)))
    narrow = max(_BROADER * sharp, 0.5 * step)
    widths = np.array([narrow, np.hypot(narrow, _BROAD / C_KMS * center)])
    places = center * (1 + grid / C_KMS)
    z = (edges - places[:, None]) / widths[:, None, None]
    profile = (np.diff(ndtr(z), axis=-1) / np.diff(edges)).reshape(-1, edges.size - 1)
    error = gas.error[:, first:last]
    flux = sign * _above_median(gas.flux[:, first:last], np.isfinite(error))
    spiked = _spiked(flux, error, sharp / step)
    scale = typical(error)[:, None]
    weight = np.where(spiked[:, None], 0.0, (scale / error) ** 2)
    power = products(weight, profile**2)
    signal = products(flux * weight, profile) / scale
    usable = (power > 0) & (signal > 0)
    snr = np.where(usable, signal / np.sqrt(np.where(usable, power, 1.0)), 0.0)
    return np.asarray(snr.reshape(len(snr), 2, grid.size).max(axis=1))


def products(
    rows: Float[F64, "spectrum pixel"], profiles: Float[F64, "profile pixel"]
) -> Float[F64, "spectrum profile"]:
    """Return all products, in blocks too small for the threads of BLAS.

    Where other processes keep the cores busy these wait for one another up to ten times longer
    than the product takes.
    """
    n_row = max(_ALONE // profiles.size, 1)
    blocks = [rows[first : first + n_row] @ profiles.T for first in range(0, len(rows), n_row)]
    return np.concatenate(blocks) if blocks else np.zeros((0, len(profiles)))


def _above_median(flux: F64, good: B8) -> F64:
    middle = typical(np.where(good, flux, np.inf))
    return np.where(good, flux - middle[:, None], 0.0)


def _spiked(flux: F64, error: F64, sharp: float) -> Bool[B8, " spectrum"]:
    """Tell the rows with a pixel too bright for its neighbours: sharper than any line could be.

    ``sharp`` is the dispersion of the line-spread function in pixels.
    """
    if sharp <= 0:
        return np.zeros(len(flux), bool)
    core, side = ndtr(0.5 / sharp) - 0.5, ndtr(1.5 / sharp) - ndtr(0.5 / sharp)
    most = 1.5 * 2 * core / max(side, 1e-6)
    padded = np.pad(flux, ((0, 0), (1, 1)))
    neighbour = np.maximum(np.maximum(padded[:, :-2], padded[:, 2:]), 0.0)
    return np.asarray(np.any(flux - most * neighbour > _SPIKE * error, axis=1))


def has_spike(kind: GroupClass, group: int, rows: Problem) -> Bool[B8, " row"]:
    """Tell the rows of one group with a pixel too bright, or too dark, to be part of a line."""
    lines = kind.line[group] >= 0
    step = float(np.median(np.diff(kind.edges[group])))
    sharp = float(np.min(kind.lsf[group, lines] * kind.wave[group, lines])) / C_KMS / step
    good = rows.weight > 0
    error = 1 / np.where(good, rows.weight, 1.0)
    flux = _above_median(rows.flux, good)
    return np.asarray(_spiked(flux, error, sharp) | _spiked(-flux, error, sharp))


class Places(NamedTuple):
    """Where the lines of each kinematic set look brightest, ``[group, spectrum, kin]``.

    ``velocity`` in km/s, and whether its S/N of more than 4 says that the lines are there.
    """

    velocity: Float[F64, "group spectrum kin"]
    is_seen: Bool[B8, "group spectrum kin"]


def own_places(kind: GroupClass, gas: Spectra, velocity: Float[F64, " spectrum"]) -> Places:
    """Return where the lines of each kinematic set look brightest near the spectrum's velocity.

    That velocity itself where the set does not search, and where there is no peak within its
    reach. A rise to the end of the reach, as a neighbouring line makes it, is no peak.
    """
    shape = (kind.group.size, velocity.size, kind.n_kin)
    place = np.broadcast_to(velocity[:, None], shape).copy()
    is_seen = np.zeros(shape, bool)
    for group, k in np.argwhere((kind.search > 0) & (kind.shared < 0)):
        found = _peak(kind, (int(group), int(k)), gas, velocity)
        place[group, :, k], is_seen[group, :, k] = found
    return Places(place, is_seen)


def _peak(
    kind: GroupClass, place: tuple[int, int], gas: Spectra, velocity: Float[F64, " spectrum"]
) -> tuple[Float[F64, " spectrum"], Bool[B8, " spectrum"]]:
    """Return where the lines of one kinematic set peak in each spectrum, and if they are seen."""
    group, k = place
    reach = float(kind.search[group, k])
    grid = _whole_steps(reach + float(np.abs(velocity).max(initial=0.0)) + _STEP)
    squares = np.zeros((gas.n_spectrum, grid.size))
    is_member = (kind.kinematics[group, :, k] > 0) & (kind.line[group] >= 0)
    for i in np.flatnonzero(is_member):
        center, window = float(kind.wave[group, i]), float(kind.window[group, i])
        squares += _seen_squares(gas, (center, window), grid, _signs(kind, group, int(i)))
    is_near = np.abs(grid - velocity[:, None]) <= reach
    is_top = np.zeros_like(is_near)
    is_top[:, 1:-1] = (squares[:, 1:-1] >= squares[:, :-2]) & (squares[:, 1:-1] >= squares[:, 2:])
    best = np.where(is_near & is_top, squares, 0.0)
    most = best.max(axis=1)
    at = np.where(most > 0, grid[best.argmax(axis=1)], velocity)
    return at, most > _SEEN**2 * is_member.sum()


def _signs(kind: GroupClass, group: int, line: int) -> tuple[float, ...]:
    """Return the signs that the flux of a line of a group may have."""
    tied = kind.ratio[group, line] != 0
    may_rise = (kind.high_flux[group, tied] > 0).all()
    may_fall = (kind.low_flux[group, tied] < 0).all()
    return (1.0,) * bool(may_rise) + (-1.0,) * bool(may_fall)


def _seen_squares(
    gas: Spectra, place: tuple[float, float], grid: F64, signs: tuple[float, ...]
) -> Float[F64, "spectrum velocity"]:
    """Return the square of a line's S/N at each velocity, of its better sign."""
    center, window = place
    seen = [_matched_snr(gas, center, grid, window, sign) ** 2 for sign in signs]
    return np.asarray(np.maximum.reduce(seen))


def start_params(
    kind: GroupClass, velocity: Float[F64, "group spectrum kin"]
) -> Float[F64, "row param"]:
    """Return the first parameters of each row of a class: no flux, the given velocities.

    The width is the set's, or 1.2 times the sharpest.
    """
    n_group, n_spectrum, _ = velocity.shape
    params = np.zeros((n_group, n_spectrum, kind.n_param))
    middle = kind.n_flux + kind.n_kin
    params[:, :, kind.n_flux : middle] = velocity
    params[:, :, middle:-2] = kind.start_width[:, None]
    return params.reshape(-1, kind.n_param)
