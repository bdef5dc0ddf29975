"""From the truth to noise-free voxels: stars and gas as the spectrograph sees them.

Stars: the components go on a grid of equal steps of velocity, get the line-spread function once,
then in each spaxel the velocity and the dispersion, as a phase and a Gaussian in Fourier space,
and are integrated over the pixels. Lines: Gaussians integrated over the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float
from scipy import fft, sparse
from scipy.interpolate import CubicSpline
from scipy.special import erf

from betis.arrays import C128, F64
from betis.errors import ConfigError
from betis.extinction import extinction_curve
from betis.lsf import FWHM_PER_SIGMA, quadrature_difference
from betis.mock.galaxy import DUST_LAW, Galaxy
from betis.mock.instruments import Setup
from betis.mock.stars import Components
from betis.wavelength import C_KMS

_STEP = 20.0
"""Of the velocity grid, km/s: below the dispersion of the narrowest line-spread function."""
_PADDING = 4000.0
"""Of the velocity grid beyond the cube's range, km/s: what Fourier space wraps round."""
_BEYOND = 1.08
"""How far beyond the ends of the base its last values are taken on: MaNGA reaches to 3622
Angstrom, the base to 3601 at rest."""
_REACH = 8.0
"""Lines are followed this many dispersions from their centre: 1e-15 of the flux is beyond."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Renderer:
    """What all spaxels of a cube share.

    Attributes
    ----------
    galaxy
    setup
        What observes it.
    components : [component, frequency]
        Fourier transform of the components on the velocity grid, line-spread function included.
    frequency : s/km [frequency]
    to_pixels : [wave, grid]
        Sparse: mean over each pixel of a function on the velocity grid.
    dust : [wave]
        A(wave)/A(V) of the galaxy's dust at the cube's pixels.
    transmission : [wave]
        What Galactic extinction leaves.
    """

    galaxy: Galaxy
    setup: Setup
    components: Complex[C128, "component frequency"]
    frequency: Float[F64, " frequency"]
    to_pixels: sparse.csr_array
    dust: Float[F64, " wave"]
    transmission: Float[F64, " wave"]

    def flux(self, rows: slice = slice(None)) -> Float[F64, "wave y x"]:
        """Return the noise-free flux density (1e-20 erg/s/cm²/Angstrom) of some image rows.

        0 outside the field of view.
        """
        total = self._stars(rows) + self._lines(rows)
        total *= self.transmission[:, None, None]
        return np.where(self.galaxy.field[rows], total, 0.0)

    def _stars(self, rows: slice) -> Float[F64, "wave y x"]:
        truth = self.galaxy.truth
        velocity = np.nan_to_num(truth.stellar_velocity[rows])
        sigma = np.nan_to_num(truth.stellar_sigma[rows], nan=100.0)
        av = np.nan_to_num(truth.stellar_av[rows])
        weights = self.galaxy.weights[:, rows].reshape(len(self.components), -1)
        transform = _losvd(velocity.ravel(), sigma.ravel(), self.frequency)
        transform *= sum(w[:, None] * c for w, c in zip(weights, self.components, strict=True))
        grid = fft.irfft(transform, n=self.to_pixels.shape[1], workers=-1)
        pixels = (self.to_pixels @ grid.T).reshape(-1, *velocity.shape)
        dusty = pixels * 10 ** (-0.4 * self.dust[:, None, None] * av)
        return np.asarray(dusty / (1 + truth.redshift))

    def _lines(self, rows: slice) -> Float[F64, "wave y x"]:
        truth, edges = self.galaxy.truth, self.setup.edges
        velocity = np.nan_to_num(truth.velocity[rows])
        sigma = np.nan_to_num(truth.sigma[rows], nan=30.0)
        total = np.zeros((edges.size - 1, *velocity.shape))
        for line, flux in zip(self.galaxy.line_set.lines, truth.flux[:, rows], strict=True):
            center = observed_wave(self.setup, line.vacuum, truth.redshift, velocity)
            width = np.hypot(center * sigma / C_KMS, self.setup.lsf(center) / FWHM_PER_SIGMA)
            first, last = _window(edges, center, width)
            if first >= last:
                continue
            part = edges[first : last + 1, None, None]
            total[first:last] += np.nan_to_num(flux) * _gaussian(part, center, width)
        return total


def make_renderer(galaxy: Galaxy, setup: Setup | None = None) -> Renderer:
    """Prepare what all spaxels of a cube share.

    Parameters
    ----------
    galaxy
    setup
        One of ``galaxy.options.setups``; None for the first.

    Raises
    ------
    ConfigError
        Where the stellar base does not cover the cube's wavelengths.
    """
    options, setup = galaxy.options, setup or galaxy.options.setups[0]
    edges, wave = setup.to_vacuum(setup.edges), setup.wave
    grid = _velocity_grid(edges)
    spectra = _on_grid(galaxy.components, grid, options.redshift)
    sigma = _lsf_sigma(galaxy.components, setup, grid, options.redshift)
    observed = _with_lsf(spectra, grid, sigma)
    av = 0.0 if setup.dereddened else options.av
    milky_way = extinction_curve("F99", wave) if av else np.zeros(wave.shape)
    return Renderer(
        galaxy=galaxy,
        setup=setup,
        components=fft.rfft(observed),
        frequency=fft.rfftfreq(grid.size, _STEP),
        to_pixels=_pixel_means(np.log(edges / grid[0]) * C_KMS / _STEP, grid.size),
        dust=extinction_curve(DUST_LAW, setup.to_vacuum(wave) / (1 + options.redshift)),
        transmission=10 ** (-0.4 * av * milky_way),
    )


def observed_wave(
    setup: Setup, vacuum: float, redshift: float, velocity: Float[F64, "*any"]
) -> Float[F64, "*any"]:
    """Return where a setup observes a rest vacuum wavelength; both Angstrom.

    ``velocity`` (km/s) is relative to ``redshift``.
    """
    return setup.from_vacuum(vacuum * (1 + redshift) * (1 + velocity / C_KMS))


def _gaussian(
    edges: Float[F64, "*any"], center: Float[F64, "*any"], width: Float[F64, "*any"]
) -> Float[F64, "*any"]:
    """Return the mean in each pixel of a Gaussian of flux 1; everything in Angstrom."""
    integral = 0.5 * erf((edges - center) / (np.sqrt(2) * width))
    return np.asarray(np.diff(integral, axis=0) / np.diff(edges, axis=0))


def _window(
    edges: Float[F64, " edge"], center: Float[F64, "y x"], width: Float[F64, "y x"]
) -> tuple[int, int]:
    """Return the first pixel that a line reaches in any spaxel, and one past the last."""
    reach = _REACH * width.max()
    first = int(np.searchsorted(edges, center.min() - reach)) - 1
    last = int(np.searchsorted(edges, center.max() + reach))
    return max(first, 0), min(last, edges.size - 1)


def _velocity_grid(edges: Float[F64, " edge"]) -> Float[F64, " grid"]:
    """Return vacuum wavelengths (Angstrom) in equal steps of velocity, wider than the cube."""
    length = np.log(edges[-1] / edges[0]) * C_KMS + 2 * _PADDING
    count = fft.next_fast_len(int(np.ceil(length / _STEP)) + 1, real=True)
    return np.asarray(edges[0] * np.exp((_STEP * np.arange(count) - _PADDING) / C_KMS))


def _on_grid(
    components: Components, grid: Float[F64, " grid"], redshift: float
) -> Float[F64, "component grid"]:
    rest, (low, high) = grid / (1 + redshift), components.wave[[0, -1]]
    if rest[0] < low / _BEYOND or rest[-1] > high * _BEYOND:
        raise ConfigError(
            f"the mock galaxy needs stars from {rest[0]:.0f} to {rest[-1]:.0f} Angstrom at rest, "
            f"but the base has {low:.0f}-{high:.0f}; "
            "choose a narrower wavelength range or another redshift"
        )
    inside = np.clip(rest, low, high)
    return np.asarray(CubicSpline(components.wave, components.flux, axis=1)(inside))


def _lsf_sigma(
    components: Components, setup: Setup, grid: Float[F64, " grid"], redshift: float
) -> Float[F64, " grid"]:
    """Return the dispersion (grid steps) that brings the base to the setup's resolution."""
    base = (1 + redshift) * np.interp(grid / (1 + redshift), components.wave, components.fwhm)
    missing = quadrature_difference(setup.lsf(setup.from_vacuum(grid)), base)
    return np.asarray(np.maximum(missing / FWHM_PER_SIGMA / grid * C_KMS / _STEP, 1e-3))


def _with_lsf(
    spectra: Float[F64, "component grid"], grid: Float[F64, " grid"], sigma: Float[F64, " grid"]
) -> Float[F64, "component grid"]:
    """Convolve with a Gaussian whose dispersion (grid steps) changes along the grid."""
    reach = int(np.ceil(6 * sigma.max()))
    padded = np.pad(spectra, ((0, 0), (reach, reach)), mode="edge")
    total, norm = np.zeros_like(spectra), np.zeros(grid.size)
    for offset in range(-reach, reach + 1):
        weight = np.exp(-0.5 * (offset / sigma) ** 2)
        total += weight * padded[:, reach + offset : reach + offset + grid.size]
        norm += weight
    return np.asarray(total / norm)


def _losvd(
    velocity: Float[F64, " spaxel"],
    sigma: Float[F64, " spaxel"],
    frequency: Float[F64, " frequency"],
) -> Complex[C128, "spaxel frequency"]:
    """Return the Fourier transform of a Gaussian line-of-sight velocity distribution."""
    shift = C_KMS * np.log1p(velocity / C_KMS)
    phase = -2j * np.pi * np.multiply.outer(shift, frequency)
    damping = -2 * np.pi**2 * np.multiply.outer(sigma**2, frequency**2)
    return np.asarray(np.exp(phase + damping))


def _pixel_means(edges: Float[F64, " edge"], n_grid: int) -> sparse.csr_array:
    """Return the operator from grid to the mean over each pixel between ``edges`` (grid steps).

    Three Gauss-Legendre points a pixel, each interpolated by the cubic through four grid points.
    """
    nodes, shares = np.polynomial.legendre.leggauss(3)
    place = 0.5 * (edges[1:, None] + edges[:-1, None] + nodes * np.diff(edges)[:, None])
    first = np.floor(place).astype(int) - 1
    weights = _cubic_weights(place - first - 1) * 0.5 * shares[:, None]
    columns = first[..., None] + np.arange(4)
    pixels = np.broadcast_to(np.arange(edges.size - 1)[:, None, None], columns.shape)
    entries = (weights.ravel(), (pixels.ravel(), columns.ravel()))
    return sparse.csr_array(entries, shape=(edges.size - 1, n_grid))


def _cubic_weights(t: Float[F64, "*any"]) -> Float[F64, "*any 4"]:
    """Return the weights of the points -1, 0, 1, 2 in the cubic through them, at ``t``."""
    return np.stack(
        [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ],
        axis=-1,
    )
