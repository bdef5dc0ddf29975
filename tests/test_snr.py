"""The S/N map says what is true: unbiased on noise, right on lines."""

import numpy as np
import pytest
from tests.cubes import WAVE, cube, line, noise_cube

from betis.errors import ConfigError, InputError
from betis.linelist import load_line_set
from betis.options import PrepareOptions, SnrOptions
from betis.preparation import prepare
from betis.snr import line_snr

LINES = load_line_set()


def measure(observed, redshift=0.0, **options):
    return line_snr(
        prepare(observed, PrepareOptions(redshift=redshift)), LINES, SnrOptions(**options)
    )


def test_pure_noise_has_mean_zero_and_unit_scatter():
    snr = measure(noise_cube((128, 128), seed=3)).snr
    assert snr.mean() == pytest.approx(0.0, abs=0.02)
    assert snr.std() == pytest.approx(1.0, abs=0.03)


def test_a_line_that_gives_its_own_velocity_is_unbiased_on_noise_too():
    snr = measure(noise_cube((128, 128), seed=10), tracer="SII6731").snr
    assert snr.mean() == pytest.approx(0.0, abs=0.02)
    assert snr.std() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("velocity", [-180.0, 0.0, 240.0])
def test_flux_and_velocity_come_out_beside_neighbours_and_a_sloping_continuum(velocity):
    spectrum = 30 + 0.02 * (WAVE - WAVE[0])
    for air, flux in ((6562.80, 900), (6583.45, 300), (6716.44, 130), (6730.815, 100)):
        spectrum = spectrum + line(WAVE, air, flux, velocity=velocity, sigma=50.0)
    flux = np.broadcast_to(spectrum[:, None, None], (WAVE.size, 6, 6)).copy()
    rng = np.random.default_rng(1)
    found = measure(cube(flux + rng.normal(0, 0.5, flux.shape), np.full(flux.shape, 0.25)))
    assert found.velocity.mean() == pytest.approx(velocity, abs=3.0)
    assert np.median(found.signal) == pytest.approx(100, rel=0.02)
    assert ((found.signal - 100) / found.noise).std() == pytest.approx(1.0, abs=0.35)


def test_signal_scales_with_flux_and_snr_does_not():
    base = noise_cube(seed=5)
    block = base.read()
    one = measure(cube(block.flux, block.variance))
    ten = measure(cube(10 * block.flux, 100 * block.variance))
    np.testing.assert_allclose(ten.signal, 10 * one.signal, rtol=1e-10)
    np.testing.assert_allclose(ten.snr, one.snr, rtol=1e-10)


def test_masked_spaxels_are_nan_and_touch_no_other():
    base = noise_cube(seed=6)
    block = base.read()
    mask = np.zeros(block.flux.shape, dtype=bool)
    mask[:, 4, 7] = True
    spoiled = block.flux.copy()
    spoiled[:, 4, 7] = 1e9
    clean, bad = measure(base), measure(cube(spoiled, block.variance, mask=mask))
    assert np.isnan(bad.signal[4, 7])
    assert np.isnan(bad.noise[4, 7])
    other = np.ones((20, 20), dtype=bool)
    other[4, 7] = False
    np.testing.assert_allclose(bad.signal[other], clean.signal[other], rtol=1e-10)


def test_tiles_change_nothing(monkeypatch):
    from betis.products import Cube

    whole = measure(noise_cube(seed=8))
    tiles = Cube.tiles
    monkeypatch.setattr(Cube, "tiles", lambda self, n: tiles(self, n, max_voxel=3000))
    np.testing.assert_allclose(measure(noise_cube(seed=8)).signal, whole.signal, rtol=1e-12)


def test_the_old_method_is_biased_as_published_and_says_what_it_is():
    found = measure(noise_cube((64, 64), seed=9), method="betis")
    assert found.method == "betis"
    assert np.nanmean(found.snr) > 1.0


def test_a_line_outside_the_cube_is_refused_with_its_place():
    with pytest.raises(InputError, match=r"SII6731 lies at 8077\.\d A at redshift 0\.2, outside"):
        measure(noise_cube(), redshift=0.2)


def test_an_unknown_line_is_refused():
    with pytest.raises(ConfigError, match="'Xx1234' is not in the set 'standard'"):
        measure(noise_cube(), line="Xx1234")


def test_a_cube_of_nan_is_refused():
    empty = np.full((WAVE.size, 5, 5), np.nan)
    with pytest.raises(InputError, match="no spaxel has usable data round SII6731"):
        measure(cube(empty, np.ones_like(empty)))
