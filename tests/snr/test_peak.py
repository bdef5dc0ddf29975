"""Equation 1 of BETIS, as its scripts have it."""

import numpy as np
import pytest
from tests.cubes import WAVE, cube, line, noise_cube

from betis.errors import ConfigError, InputError
from betis.linelist import load_line_set
from betis.options import PrepareOptions, SnrOptions
from betis.preparation import prepare
from betis.snr import line_snr

LINES = load_line_set()


def peak_map(observed, redshift=0.0, **options):
    chosen = SnrOptions(method="betis", **options)
    return line_snr(prepare(observed, PrepareOptions(redshift=redshift)), LINES, chosen)


def equation_1(wave, flux, center, half=5.0, sides=((-60, -30), (30, 60))):
    """The highest pixel over the mean of the sides, and the mean of their standard deviations."""
    peak = flux[(wave >= center - half) & (wave < center + half)].max(axis=0)
    cut = [flux[(wave >= center + low) & (wave < center + high)] for low, high in sides]
    level = np.mean([part.mean(axis=0) for part in cut], axis=0)
    return peak - level, np.mean([part.std(axis=0) for part in cut], axis=0)


@pytest.mark.parametrize(
    "windows",
    [{}, {"peak_window": 8.0, "side_windows": ((-50.0, -20.0), (20.0, 50.0))}],
    ids=["default", "others"],
)
@pytest.mark.parametrize("redshift", [0.0, 0.01])
def test_signal_and_noise_are_those_of_equation_1_in_the_rest_frame(windows, redshift):
    observed = noise_cube((5, 6), seed=9)
    flux = observed.read().flux + line(WAVE, 6730.815, 50.0, redshift=redshift)[:, None, None]
    found = peak_map(cube(flux, np.full(flux.shape, 4.0)), redshift, **windows)
    half = windows.get("peak_window", 5.0)
    sides = windows.get("side_windows", ((-60, -30), (30, 60)))
    stretch = 1 + redshift
    center = 6730.815
    signal, noise = equation_1(WAVE / stretch, flux * stretch, center, half, sides)
    np.testing.assert_allclose(found.signal, signal, rtol=1e-10)
    np.testing.assert_allclose(found.noise, noise, rtol=1e-10)


def test_the_old_method_is_biased_as_published_and_says_what_it_is():
    found = peak_map(noise_cube((64, 64), seed=9))
    assert found.method == "betis"
    assert np.nanmean(found.snr) > 1.0


def test_masked_pixels_are_left_out_until_too_few_are_left():
    block = noise_cube((3, 3), seed=1).read()
    mask = np.zeros(block.flux.shape, dtype=bool)
    mask[WAVE.searchsorted(6731.0), 0, 0] = True
    mask[(WAVE > 6770) & (WAVE < 6785), 1, 1] = True
    mask[(WAVE > 6762) & (WAVE < 6785), 2, 2] = True
    found = peak_map(cube(block.flux, block.variance, mask=mask))
    assert np.argwhere(np.isnan(found.snr)).tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("windows", "found"), [((), "empty"), (((-60.0, -30.0), (60.0, 30.0)), r"\(60, 30\)")]
)
def test_windows_without_width_are_refused(windows, found):
    with pytest.raises(ConfigError, match=rf"side_windows of \[snr\] is {found}, where"):
        peak_map(noise_cube((2, 2)), side_windows=windows)


def test_side_windows_outside_the_cube_are_refused():
    short = WAVE[WAVE < 6750]
    with pytest.raises(InputError, match="peak and side windows of SII6731 hold fewer than 2"):
        peak_map(noise_cube((2, 2), wave=short))
