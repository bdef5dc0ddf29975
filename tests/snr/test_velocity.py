"""The velocity field: that of the gas where there is some, and no spaxel decides for others."""

import numpy as np
import pytest
from tests.cubes import WAVE, cube, line

from betis.linelist import load_line_set
from betis.options import PrepareOptions, SnrOptions
from betis.preparation import prepare
from betis.snr import line_snr, velocity_field

LINES = load_line_set()


def galaxy(shape=(30, 30), seed=1, velocity=0.0, sigma=50.0, **fluxes):
    rng = np.random.default_rng(seed)
    flux = rng.normal(0.0, 1.0, (WAVE.size, *shape))
    for name, total in fluxes.items():
        profile = line(WAVE, LINES[name].air, total, velocity=velocity, sigma=sigma)
        flux += profile[:, None, None]
    return flux


def prepared(flux):
    return prepare(cube(flux, np.ones(flux.shape)), PrepareOptions(redshift=0.0))


@pytest.mark.parametrize("velocity", [-333.0, 0.0, 87.0])
@pytest.mark.parametrize("flux", [9.0, 300.0])
def test_velocities_are_found_where_the_line_is_faint_and_where_it_is_bright(velocity, flux):
    found, _ = velocity_field(prepared(galaxy(Ha6563=flux, velocity=velocity)), LINES, SnrOptions())
    assert np.median(found) == pytest.approx(velocity, abs=6.0)
    assert np.abs(found - velocity).max() < 60.0


@pytest.mark.parametrize("sigma", [25.0, 100.0, 200.0])
def test_the_dispersion_of_the_field_is_the_one_tried_that_is_right(sigma):
    _, found = velocity_field(prepared(galaxy(Ha6563=200.0, sigma=sigma)), LINES, SnrOptions())
    assert found == sigma


def test_a_wide_cosmic_ray_decides_for_no_neighbour():
    flux = galaxy(Ha6563=6.0)
    clean, _ = velocity_field(prepared(flux), LINES, SnrOptions())
    flux[WAVE.searchsorted(6570.0) + np.arange(3), 14, 15] += 1e5
    bad, _ = velocity_field(prepared(flux), LINES, SnrOptions())
    others = np.abs(bad - clean) > 60.0
    assert others[14, 15]
    # Its own velocity is smoothed with theirs: they are within two spaxels.
    y, x = np.nonzero(others)
    assert np.hypot(y - 14, x - 15).max() <= 2.5


def test_a_line_that_gives_its_own_velocity_is_not_flattered_where_it_is_faint():
    observed = prepared(galaxy((60, 60), SII6731=14.0))
    found = line_snr(observed, LINES, SnrOptions(tracer="SII6731"))
    pull = (found.signal - 14.0) / found.noise
    assert 4.0 < 14.0 / np.median(found.noise) < 6.5
    assert pull.mean() == pytest.approx(0.0, abs=0.05)
