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

UNBIASED = [
    pytest.param({}, id="one line"),
    pytest.param({"noise": "scatter"}, id="scatter"),
    pytest.param({"tracer": "SII6731"}, id="its own velocity"),
    pytest.param({"line": "SII6716+SII6731"}, id="sum"),
    pytest.param({"line": "SII6716+SII6731", "noise": "scatter"}, id="sum, scatter"),
    pytest.param({"line": "NII6583+SII6731"}, id="sum of two windows"),
    pytest.param({"line": "min(SII6716,SII6731)"}, id="worst"),
]
EVERY = [
    *UNBIASED,
    pytest.param({"method": "betis"}, id="betis"),
    pytest.param({"line": "continuum:6600-6700"}, id="continuum"),
    pytest.param({"line": "continuum:6600-6700", "noise": "scatter"}, id="continuum, scatter"),
]


def measure(observed, redshift=0.0, **options):
    return line_snr(
        prepare(observed, PrepareOptions(redshift=redshift)), LINES, SnrOptions(**options)
    )


def galaxy(shape=(12, 12), noise=1.0, velocity=0.0, seed=2, **fluxes):
    """A cube of a few lines on a sloping continuum, with its noise."""
    airs = {name: LINES[name].air for name in fluxes}
    spectrum = 30 + 0.02 * (WAVE - WAVE[0])
    for name, flux in fluxes.items():
        spectrum = spectrum + line(WAVE, airs[name], flux, velocity=velocity, sigma=50.0)
    flux = np.broadcast_to(spectrum[:, None, None], (WAVE.size, *shape)).copy()
    flux += np.random.default_rng(seed).normal(0, noise, flux.shape)
    return flux, np.full(flux.shape, noise**2)


def test_pure_noise_has_mean_zero_and_unit_scatter():
    snr = measure(noise_cube((128, 128), seed=3)).snr
    assert snr.mean() == pytest.approx(0.0, abs=0.02)
    assert snr.std() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("options", UNBIASED[1:])
def test_pure_noise_has_mean_zero_and_unit_scatter_however_it_is_measured(options):
    snr = measure(noise_cube((128, 128), seed=10), **options).snr
    assert snr.mean() == pytest.approx(0.0, abs=0.02)
    assert snr.std() == pytest.approx(1.0, abs=0.03)


def test_the_scatter_is_true_where_the_stated_errors_are_not():
    block = noise_cube((64, 64), seed=4).read()
    for wrong in (0.3, 5.0):
        told = cube(block.flux, block.variance * wrong**2)
        assert measure(told, noise="scatter").snr.std() == pytest.approx(1.0, abs=0.04)
        assert measure(told, noise="variance").snr.std() == pytest.approx(1 / wrong, rel=0.05)


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


@pytest.mark.parametrize("options", EVERY)
@pytest.mark.parametrize("factor", [1e-20, 10.0])
def test_signal_and_noise_scale_with_the_flux(options, factor):
    flux, variance = galaxy(Ha6563=500, NII6583=150, SII6716=130, SII6731=100)
    one = measure(cube(flux, variance), **options)
    other = measure(cube(factor * flux, factor**2 * variance), **options)
    # The velocities come from single precision, and decide between two steps of a profile.
    close = np.isclose(other.signal, factor * one.signal, rtol=1e-9, atol=0)
    assert close.mean() > 0.98
    np.testing.assert_allclose(other.noise[close], factor * one.noise[close], rtol=1e-9)
    np.testing.assert_allclose(other.snr, one.snr, rtol=0.01)


@pytest.mark.parametrize("options", EVERY)
def test_one_wild_pixel_in_the_mask_changes_nothing(options):
    flux, variance = galaxy(Ha6563=200, SII6716=60, SII6731=50)
    mask = np.zeros(flux.shape, dtype=bool)
    for wave in (WAVE.searchsorted(6731.0), WAVE.searchsorted(6563.0), WAVE.searchsorted(6700.0)):
        mask[wave, 5, 6] = True
    spoiled = np.where(mask, 1e4, flux)
    clean = measure(cube(flux, variance, mask=mask), **options)
    bad = measure(cube(spoiled, variance, mask=mask), **options)
    np.testing.assert_array_equal(bad.signal, clean.signal)
    np.testing.assert_array_equal(bad.noise, clean.noise)


@pytest.mark.parametrize("options", EVERY)
@pytest.mark.parametrize("wave", [6523.5, 6563.0, 6600.0, 6692.0, 6716.5, 6731.0, 6745.0, 6770.0])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_one_wild_pixel_changes_only_the_spaxel_that_holds_it(options, wave, size):
    flux, variance = galaxy(Ha6563=200, SII6716=60, SII6731=50)
    clean = measure(cube(flux, variance), **options)
    spoiled = flux.copy()
    spoiled[WAVE.searchsorted(wave), 5, 6] += size
    bad = measure(cube(spoiled, variance), **options)
    change = np.abs(bad.signal - clean.signal) / clean.noise
    if options.get("method") != "betis":
        assert change[5, 6] < 4.0
    change[5, 6] = 0.0
    # The velocities of neighbours are smoothed together, and one of them lacks a pixel.
    assert change.max() < 0.3
    np.testing.assert_allclose(np.delete(bad.noise, 66), np.delete(clean.noise, 66), rtol=0.02)


def test_an_unlisted_line_beside_the_line_does_no_harm():
    flux, variance = galaxy((20, 20), Ha6563=300, SII6731=60)
    alien = line(WAVE, 6752.0, 400.0, sigma=30.0)[:, None, None]
    clean, bad = measure(cube(flux, variance)), measure(cube(flux + alien, variance))
    pull = (bad.signal - clean.signal) / clean.noise
    assert abs(pull.mean()) < 0.2
    assert np.all(bad.noise < 1.1 * clean.noise)


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


@pytest.mark.parametrize("velocity", [0.0, 150.0])
@pytest.mark.parametrize("noise", ["variance", "scatter"])
def test_a_sum_is_that_of_its_lines_with_their_covariance(velocity, noise):
    flux, variance = galaxy((40, 40), Ha6563=300, SII6716=70, SII6731=50, velocity=velocity)
    found = measure(cube(flux, variance), line="SII6716+SII6731", noise=noise)
    pull = (found.signal - 120) / found.noise
    assert pull.mean() == pytest.approx(0.0, abs=0.1)
    assert pull.std() == pytest.approx(1.0, abs=0.06)


def test_lines_with_windows_apart_add_in_quadrature():
    flux, variance = galaxy(Ha6563=300, NII6583=100, SII6731=50)
    one, other, both = (
        measure(cube(flux, variance), line=name)
        for name in ("NII6583", "SII6731", "NII6583+SII6731")
    )
    np.testing.assert_allclose(both.signal, one.signal + other.signal, rtol=1e-12)
    np.testing.assert_allclose(both.noise, np.hypot(one.noise, other.noise), rtol=1e-12)


def test_the_order_and_the_spaces_of_a_sum_mean_nothing():
    flux, variance = galaxy(Ha6563=300, SII6716=70, SII6731=50)
    one = measure(cube(flux, variance), line="SII6716+SII6731")
    other = measure(cube(flux, variance), line=" SII6731 + SII6716 ")
    np.testing.assert_allclose(other.snr, one.snr, rtol=1e-10)


def test_the_worst_of_two_lines_is_the_fainter_one_where_it_is_fainter():
    left, variance = galaxy((16, 16), Ha6563=300, SII6716=40, SII6731=160)
    right, _ = galaxy((16, 16), seed=5, Ha6563=300, SII6716=160, SII6731=40)
    both = cube(np.concatenate([left, right], axis=2), np.concatenate([variance] * 2, axis=2))
    one, other, worst = (
        measure(both, line=name) for name in ("SII6716", "SII6731", "min(SII6716,SII6731)")
    )
    for part, known in (("signal", worst.signal), ("noise", worst.noise)):
        np.testing.assert_array_equal(known[:, :12], getattr(one, part)[:, :12])
        np.testing.assert_array_equal(known[:, -12:], getattr(other, part)[:, -12:])


def test_the_worst_of_lines_is_unknown_where_one_of_them_is():
    flux, variance = galaxy(Ha6563=300, NII6583=100, SII6731=50)
    mask = np.zeros(flux.shape, dtype=bool)
    mask[WAVE > 6690, 3, 4] = True
    found = measure(cube(flux, variance, mask=mask), line="min(NII6583,SII6731)")
    assert np.argwhere(np.isnan(found.snr)).tolist() == [[3, 4]]


@pytest.mark.parametrize("noise", ["variance", "scatter"])
def test_the_continuum_is_its_mean_flux_density_with_the_noise_of_a_pixel(noise):
    flux, variance = galaxy((30, 30), noise=2.0, Ha6563=300)
    found = measure(cube(flux, variance), line="continuum:6600-6700", noise=noise)
    level = 30 + 0.02 * (6650 - WAVE[0])
    assert found.method == "continuum"
    assert found.signal.mean() == pytest.approx(level, abs=0.05)
    assert found.signal.std() == pytest.approx(2.0 / np.sqrt(80), rel=0.15)
    assert found.noise.mean() == pytest.approx(2.0, rel=0.02)


def test_lines_in_the_window_of_the_continuum_are_no_continuum():
    without, variance = galaxy((10, 10))
    with_lines, _ = galaxy((10, 10), SII6716=300, SII6731=300)
    one, other = (
        measure(cube(flux, variance), line="continuum:6640-6790") for flux in (without, with_lines)
    )
    np.testing.assert_allclose(other.signal, one.signal, atol=0.5)


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


def test_a_continuum_window_outside_the_cube_is_refused():
    with pytest.raises(InputError, match=r"5500-5600 A holds 0 wavelengths .* 6400-6899 A"):
        measure(noise_cube(), line="continuum")
