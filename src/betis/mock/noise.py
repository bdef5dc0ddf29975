"""Noise of a mock cube: the night sky, the photons of the source, correlation of neighbours.

References
----------
Wavelengths of airglow lines (air): Osterbrock et al. 1996, PASP 108 277; Hanuschik 2003,
A&A 407 1157. Their strengths here are round numbers of the right order.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.lsf import FWHM_PER_SIGMA
from betis.mock.galaxy import Galaxy
from betis.mock.instruments import Setup

_SKY = 40.0
"""Continuum of a dark sky, 1e-20 erg/s/cm²/Angstrom per spaxel: 21.5 mag/arcsec²."""

_AIRGLOW = {
    100.0: (5577.3,),
    40.0: (5889.9, 5895.9, 6300.3, 7276.4, 7340.9, 7750.6, 7794.1, 7821.5, 7913.7, 7964.7, 7993.3),
    80.0: (8344.6, 8399.2, 8430.2, 8465.4, 8504.6, 8767.9, 8778.3, 8791.2, 8827.1, 8885.9, 8919.6),
    20.0: (6363.8, 6498.7, 6533.0, 6553.6, 6863.9, 6923.2, 7284.4, 7316.3, 7329.1, 7369.2, 7571.7),
    50.0: (7841.3, 8025.8, 8062.0, 8415.2, 8452.3, 8493.4, 8836.0, 8867.6, 8903.1, 8943.4, 8957.9),
    60.0: (8988.4, 9001.1, 9038.0, 9049.2, 9337.9),
}
"""Air wavelengths of lines by their flux over the density of the continuum, Angstrom."""

_KERNEL_REACH = 4.0


def variance(galaxy: Galaxy, setup: Setup, flux: Float[F64, "wave y x"]) -> Float[F64, "wave y x"]:
    """Return the variance of voxels, (1e-20 erg/s/cm²/Angstrom)².

    Sky and source count photons alike; ``options.snr`` sets how many there are.

    Parameters
    ----------
    galaxy
    setup
        What observes it.
    flux : 1e-20 erg/s/cm²/Angstrom [wave, y, x]
        As observed, noise-free.
    """
    wave, truth = setup.wave, galaxy.truth
    center = np.nanmax(truth.continuum) / (1 + truth.redshift)
    dark = (center / galaxy.options.snr) ** 2 / (1 + center / _SKY)
    shape = setup.inefficiency(wave) / setup.inefficiency(_beside_h_alpha(truth.redshift))
    sky = (dark * shape * sky_spectrum(setup))[:, None, None]
    source = (dark * shape / _SKY)[:, None, None] * np.maximum(flux, 0.0)
    return np.asarray(sky + source)


def _beside_h_alpha(redshift: float) -> Float[F64, ""]:
    return np.asarray(6560.0 * (1 + redshift))


def sky_spectrum(setup: Setup) -> Float[F64, " wave"]:
    """Return the night sky over its continuum, as a setup resolves it."""
    wave = setup.wave
    sigma = setup.lsf(wave) / FWHM_PER_SIGMA
    total = np.ones_like(wave)
    for strength, centers in _AIRGLOW.items():
        for center in setup.from_air(np.array(centers)):
            profile = np.exp(-0.5 * ((wave - center) / sigma) ** 2)
            total += strength * profile / (np.sqrt(2 * np.pi) * sigma)
    return total


def draw_noise(galaxy: Galaxy, setup: Setup, first: int, last: int) -> Float[F64, "wave y x"]:
    """Return noise of mean 0 and variance 1 for the image rows ``first`` to ``last - 1``.

    Each image row has a seed of its own, so that how a cube is cut changes nothing. Neighbours
    in y and x are correlated with ``exp(-d² / (4 s²))`` at a distance d, where s is
    ``options.noise_correlation`` (for s above 0.7; the kernel is sampled at spaxels).
    """
    kernel = _kernel(galaxy.options.noise_correlation)
    reach = kernel.size // 2
    rows = range(first - reach, last + reach)
    white = np.stack([_white_row(galaxy, setup, y, reach) for y in rows], axis=1)
    return _smooth(_smooth(white, kernel, axis=1), kernel, axis=2)


def _white_row(galaxy: Galaxy, setup: Setup, y: int, reach: int) -> Float[F64, "wave x"]:
    options = galaxy.options
    rng = np.random.default_rng([options.seed, 1 + setup.arm, y + 1000])
    return rng.standard_normal((setup.axis.count, options.n_x + 2 * reach))


def _kernel(sigma: float) -> Float[F64, " pixel"]:
    """Return a Gaussian whose squares sum to 1, which keeps the variance of white noise."""
    reach = int(np.ceil(_KERNEL_REACH * sigma))
    offset = np.arange(-reach, reach + 1)
    profile = np.exp(-0.5 * (offset / max(sigma, 1e-9)) ** 2)
    return np.asarray(profile / np.sqrt(np.sum(profile**2)))


def _smooth(
    values: Float[F64, "wave y x"], kernel: Float[F64, " pixel"], axis: int
) -> Float[F64, "wave y x"]:
    """Convolve along an axis, which loses the kernel's reach at either end."""
    if kernel.size == 1:
        return values
    size = values.shape[axis] - kernel.size + 1
    parts = (
        share * np.take(values, np.arange(start, start + size), axis=axis)
        for start, share in enumerate(kernel)
    )
    return np.asarray(sum(parts))
