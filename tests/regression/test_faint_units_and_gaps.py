"""The S/N map of a cube in erg/s/cm², and of one with a gap where a neighbouring line lies."""

import numpy as np
import pytest
from tests.cubes import WAVE, cube, line

import betis

REDSHIFT = 0.01


def snr_of(flux, variance, **options):
    whole = cube(flux, variance)
    return betis.line_snr(betis.prepare(whole, redshift=REDSHIFT), "SII6731", **options)


@pytest.fixture
def voxels():
    rng = np.random.default_rng(2)
    spectrum = sum(
        line(WAVE, air, flux, redshift=REDSHIFT, velocity=120.0)
        for air, flux in ((6562.80, 300.0), (6716.44, 60.0), (6730.82, 50.0))
    )
    flux = spectrum[:, None, None] + rng.normal(0, 1, (WAVE.size, 5, 5))
    return flux, np.ones_like(flux)


def test_a_cube_in_cgs_units_has_the_same_velocities(voxels):
    flux, variance = voxels
    plain, tiny = snr_of(flux, variance), snr_of(flux * 1e-20, variance * 1e-40)
    np.testing.assert_allclose(tiny.velocity, plain.velocity, rtol=1e-9)
    np.testing.assert_allclose(tiny.snr, plain.snr, rtol=1e-9)
    assert abs(plain.velocity - 120).max() < 20


def test_a_neighbour_in_a_gap_leaves_the_line_alone(voxels):
    flux, variance = voxels
    neighbour = 6716.44 * (1 + REDSHIFT) * (1 + 120 / 299792.458)
    variance[np.abs(WAVE - neighbour) < 6.0] = np.nan
    assert np.isfinite(snr_of(flux, variance, max_velocity=3000.0).snr).all()
