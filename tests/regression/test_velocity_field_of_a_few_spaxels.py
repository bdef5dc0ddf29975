"""A few spaxels with a velocity in a wide field: spreading it to the others never ended."""

import numpy as np

from betis.snr.velocity import fill


def test_one_spaxel_gives_its_velocity_to_a_wide_field():
    velocity = np.full((100, 120), np.nan)
    velocity[50, 3] = 120.0
    np.testing.assert_allclose(fill(velocity), 120.0)


def test_spaxels_take_the_velocity_of_those_nearby():
    velocity = np.full((40, 200), np.nan)
    velocity[18:22, 4], velocity[18:22, 195] = -100.0, 100.0
    filled = fill(velocity)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[20, [10, 190]], [-100.0, 100.0], atol=1.0)
