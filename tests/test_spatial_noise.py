"""The correlation of neighbouring spaxels is measured as it was put in."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tests.cubes import cube

import betis
from betis.errors import InputError
from betis.linelist import load_line_set
from betis.mock import MockOptions, make_galaxy, write_cube
from betis.products import NoiseCorrelation
from betis.spatial_noise import SIDES, block_scatter, measure_correlation

WAVE = 6000.0 + 1.25 * np.arange(300)


def smoothed(sigma, shape=(36, 36), level=3.0, factor=1.0, seed=0):
    """A field whose noise was smoothed; errors are stated ``factor`` times too small."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(WAVE.size, *shape))
    if sigma:
        noise = gaussian_filter(noise, (0, sigma, sigma), mode="wrap")
    noise /= noise.std()
    stars = level * np.linspace(0.2, 2.0, np.prod(shape)).reshape(shape)
    return cube(stars + noise, np.full(noise.shape, factor**-2.0), WAVE)


def expected(sigma):
    """alpha that the measured sizes of blocks have, their noise summed over all pairs."""
    model = NoiseCorrelation(sigma=sigma)
    growth = [model.growth(np.zeros((n, n), np.int32), np.ones((n, n)))[0] for n in SIDES[1:]]
    return np.median((np.array(growth) - 1) / np.log10(np.square(SIDES[1:])))


@pytest.mark.parametrize("factor", [1.0, 3.0])
@pytest.mark.parametrize("sigma", [0.8, 1.2])
def test_the_alpha_of_smoothed_noise_is_found_whatever_the_stated_errors(sigma, factor):
    alpha = measure_correlation(smoothed(sigma, factor=factor))
    assert alpha == pytest.approx(expected(sigma), rel=0.05)


def test_independent_noise_has_none():
    assert measure_correlation(smoothed(0.0)) < 0.02


@pytest.mark.parametrize("sigma", [0.0, 0.8, 1.2])
@pytest.mark.parametrize(("snr", "off"), [(8.0, 0.03), (30.0, 0.1)])
def test_the_alpha_of_a_mock_galaxy_is_found_in_spite_of_its_stars(sigma, snr, off, tmp_path):
    options = MockOptions(
        n_y=24, n_x=24, snr=snr, noise_correlation=sigma, wave_min=5200.0, wave_max=6950.0, seed=2
    )
    write_cube(make_galaxy(options), tmp_path / "galaxy.fits")
    observed = betis.read_cube(tmp_path / "galaxy.fits")
    lines = load_line_set().emission().waves(observed.medium, 0.01) * 1.01
    truth = expected(sigma) if sigma else 0.0
    assert measure_correlation(observed, lines) == pytest.approx(truth, abs=off)


def test_bad_voxels_and_holes_in_the_field_change_little():
    field = smoothed(1.2)
    rng = np.random.default_rng(3)
    mask = rng.random(field.shape) < 0.01
    mask[:, rng.random((36, 36)) < 0.02] = True
    holed = replace(field, source=replace(field.source, mask=mask))
    assert measure_correlation(holed) == pytest.approx(expected(1.2), rel=0.07)


def test_the_unit_changes_nothing():
    field = smoothed(0.8)
    scaled = cube(field.source.flux * 1e-20, field.source.variance * 1e-40, WAVE)
    assert measure_correlation(scaled) == pytest.approx(measure_correlation(field), rel=1e-4)


def test_no_more_voxels_are_read_than_promised(monkeypatch):
    field, seen = smoothed(0.8), []
    monkeypatch.setattr("betis.spatial_noise._MAX_VOXELS", 12 * 36 * 100)
    read = type(field.source).read

    def counted(self, rows, waves):
        block = read(self, rows, waves)
        seen.append(block.flux.size)
        return block

    monkeypatch.setattr(type(field.source), "read", counted)
    left_out = np.zeros(WAVE.size, bool)
    left_out[:150] = True
    scatter = block_scatter(field, left_out)
    assert max(seen) <= 12 * 36 * 100
    assert np.isfinite(list(scatter.values())).all()


def test_a_cube_of_copies_tells_nothing():
    copies = np.zeros((36, 36), dtype=np.int32)
    with pytest.raises(InputError, match="no block of 2 x 2 spaxels has enough usable"):
        measure_correlation(replace(smoothed(0.0), copies=copies))


def test_a_single_row_of_spaxels_tells_nothing():
    with pytest.raises(InputError, match="no block of 2 x 2 spaxels has enough usable"):
        measure_correlation(smoothed(0.0, (1, 200)))
