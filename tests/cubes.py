"""Small cubes in memory and on disk for the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.special import erf

from betis.io.cube_source import clean_block
from betis.lsf import FWHM_PER_SIGMA, muse_fwhm
from betis.products import Cube, Sky
from betis.wavelength import C_KMS, air_to_vacuum, pixel_edges, vacuum_to_air

WAVE = 6400.0 + 1.25 * np.arange(400)
WCS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 3.0,
    "CRPIX2": 4.0,
    "CD1_1": -5.5e-5,
    "CD2_2": 5.5e-5,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CUNIT1": "deg",
    "CUNIT2": "deg",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ArraySource:
    """A cube in memory: flux, variance and mask ``[wave, y, x]``."""

    flux: np.ndarray
    variance: np.ndarray
    mask: np.ndarray | None = None

    def read(self, rows, waves):
        flux = np.array(self.flux[waves, rows], dtype=float)
        bad = np.zeros(flux.shape, bool) if self.mask is None else self.mask[waves, rows]
        return clean_block(flux, np.array(self.variance[waves, rows], dtype=float), bad)


def line(wave, air, flux, sigma=40.0, velocity=0.0, redshift=0.0):
    """One line in pixels as MUSE would see it, observed frame."""
    edges = pixel_edges(wave)
    observed = vacuum_to_air(air_to_vacuum(air) * (1 + redshift) * (1 + velocity / C_KMS))
    width = np.hypot(observed * sigma / C_KMS, muse_fwhm(observed) / FWHM_PER_SIGMA)
    cumulative = 0.5 * erf((edges - observed) / width / np.sqrt(2))
    return flux * np.diff(cumulative) / np.diff(edges)


def cube(flux, variance, wave=WAVE, mask=None, redshift_ready=False):
    """A cube in memory, as read (observed frame)."""
    return Cube(
        source=ArraySource(flux=flux, variance=variance, mask=mask),
        wave=wave,
        edges=pixel_edges(wave),
        medium="air",
        lsf=muse_fwhm(wave),
        sky=Sky(shape=flux.shape[1:], wcs={}, flux_scale=1e-20),
        instrument="muse",
    )


def noise_cube(shape=(20, 20), seed=0, sigma=2.0, wave=WAVE):
    """A cube of nothing but noise."""
    rng = np.random.default_rng(seed)
    return cube(
        rng.normal(0, sigma, (wave.size, *shape)), np.full((wave.size, *shape), sigma**2), wave
    )


def write_muse_file(path: Path, flux, variance=None, wave=WAVE, **cards) -> Path:
    """A small file laid out like a MUSE cube."""
    axis = {"CRVAL3": wave[0], "CRPIX3": 1.0, "CD3_3": wave[1] - wave[0], "CTYPE3": "AWAV"}
    header = fits.Header({**WCS, **axis, "CUNIT3": "Angstrom"})
    header["BUNIT"] = "10**(-20)*erg/s/cm**2/Angstrom"
    header.update(cards)
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "MUSE"
    hdus = [primary, fits.ImageHDU(np.asarray(flux, np.float32), header, name="DATA")]
    if variance is not None:
        hdus.append(fits.ImageHDU(np.asarray(variance, np.float32), header, name="STAT"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
