"""The measured noise is the noise that is there, at each wavelength and from few spaxels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cubes import cube, line

import betis
from betis.errors import InputError
from betis.linelist import load_line_set
from betis.noise import describe_noise, measure_noise, near_lines, rescaled

WAVE = 6000.0 + 1.25 * np.arange(900)
SIGMA = 2.0 + np.sin(WAVE / 40.0)
SKY = (WAVE > 6600) & (WAVE < 6700)


def noise_ratio(cube, line_waves=()):
    return measure_noise(cube, line_waves).ratio


def scattered(true, shape=(20, 20), seed=0, level=3.0, wave=WAVE):
    """A field whose errors are stated as SIGMA and are ``true`` times that."""
    rng = np.random.default_rng(seed)
    stars = level * np.linspace(0.2, 2.0, np.prod(shape)).reshape(shape)
    flux = stars * (1.0 + 0.2 * np.sin(wave / 90.0))[:, None, None]
    sigma = np.resize(SIGMA, wave.size)[:, None, None]
    noise = rng.normal(0, 1, (wave.size, *shape)) * sigma * np.reshape(true, (-1, 1, 1))
    return cube(flux + noise, np.tile(sigma**2, (1, *shape)), wave)


@pytest.mark.parametrize("shape", [(7, 8), (20, 20), (1, 300)])
@pytest.mark.parametrize("factor", [1.0, 1.5, 0.3])
def test_the_factor_by_which_errors_are_wrong_is_found(shape, factor):
    ratio = noise_ratio(scattered(factor, shape))
    assert np.mean(ratio) == pytest.approx(factor, rel=0.02)
    assert np.all(np.abs(ratio / factor - 1) < 0.4)


def test_errors_that_are_wrong_in_a_window_only_are_found_there():
    ratio = noise_ratio(scattered(np.where(SKY, 2.1, 1.0)))
    assert np.mean(ratio[SKY]) == pytest.approx(2.1, rel=0.03)
    assert np.mean(ratio[~SKY]) == pytest.approx(1.0, rel=0.02)


def test_a_single_sky_line_is_not_smoothed_away():
    narrow = np.abs(WAVE - 6300.0) < 2.0
    ratio = noise_ratio(scattered(np.where(narrow, 3.0, 1.0), (25, 25)))
    assert np.all(ratio[narrow] > 2.4)
    assert np.all(ratio[np.abs(WAVE - 6300.0) > 10.0] < 1.25)


def test_where_nothing_happens_the_ratio_is_better_than_its_sampling_error():
    ratio = noise_ratio(scattered(1.0))
    assert np.std(ratio) < 0.5 * 1.166 / np.sqrt(400)


@pytest.mark.parametrize("n_spaxel", [1, 3, 10])
def test_few_spaxels_are_enough(n_spaxel):
    ratios = [noise_ratio(scattered(1.5, (1, n_spaxel), seed)) for seed in range(8)]
    assert np.mean(ratios) == pytest.approx(1.5, rel=0.03)


def test_emission_lines_are_left_out_and_interpolated_over():
    bright = scattered(1.0)
    emission = line(WAVE, 6562.8, 400.0)[:, None, None] * np.ones((20, 20))
    shining = replace(bright, source=replace(bright.source, flux=bright.source.flux + emission))
    blind, told = noise_ratio(shining), noise_ratio(shining, [6562.8])
    assert blind.max() > 5.0
    np.testing.assert_allclose(told, noise_ratio(bright, [6562.8]), rtol=1e-6)
    assert np.all(np.abs(told - 1) < 0.15)


def test_stars_are_no_noise(mock_cube):
    galaxy = betis.read_cube(mock_cube)
    lines = load_line_set().emission().waves(galaxy.medium, 0.01) * 1.01
    ratio = noise_ratio(galaxy, lines)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("rows_a_tile", [1, 20])
def test_bright_spaxels_are_left_out_where_there_are_faint_ones(rows_a_tile, monkeypatch):
    monkeypatch.setattr("betis.noise._MAX_VOXELS", 20 * 20 * WAVE.size * rows_a_tile)
    faint, bright = scattered(1.0, (10, 20)), scattered(4.0, (10, 20), level=2000.0)
    both = [
        np.concatenate([getattr(part.source, name) for part in (faint, bright)], axis=1)
        for name in ("flux", "variance")
    ]
    ratio = noise_ratio(cube(*both, WAVE))
    assert np.mean(ratio) == pytest.approx(1.0, rel=0.02)
    assert np.mean(noise_ratio(bright)) == pytest.approx(4.0, rel=0.03)


@settings(max_examples=5)
@given(scale=st.sampled_from([1e-20, 1e-3, 1e17]))
def test_the_unit_changes_nothing(scale):
    field = scattered(1.0, (8, 8))
    scaled = cube(field.source.flux * scale, field.source.variance * scale**2, WAVE)
    np.testing.assert_allclose(noise_ratio(scaled), noise_ratio(field), rtol=1e-5)


def test_one_hot_pixel_a_spaxel_and_masked_voxels_change_little():
    field = scattered(1.0)
    rng = np.random.default_rng(5)
    flux, mask = field.source.flux.copy(), rng.random(field.shape) < 0.1
    hot = rng.integers(0, WAVE.size, 400)
    flux[hot, np.arange(400) // 20, np.arange(400) % 20] = 1e6
    flux[mask] = np.nan
    ratio = noise_ratio(cube(flux, field.source.variance, WAVE, mask))
    assert np.mean(ratio) == pytest.approx(1.0, rel=0.02)


def test_what_lies_beyond_a_gap_predicts_nothing():
    wave = np.concatenate([WAVE[:450], 500.0 + WAVE[450:]])
    field = scattered(1.0, wave=wave)
    field.source.flux[450:] += 500.0
    assert np.all(np.abs(noise_ratio(field) - 1) < 0.15)


def test_copies_of_a_spectrum_count_once():
    own = scattered(1.0, (1, 10), seed=3)
    repeated = {
        name: np.repeat(getattr(own.source, name), 40, axis=1) for name in ("flux", "variance")
    }
    labels = np.tile(np.arange(10, dtype=np.int32), (40, 1))
    binned = replace(cube(**repeated, wave=WAVE), copies=labels)
    np.testing.assert_allclose(noise_ratio(binned), noise_ratio(own), rtol=1e-6)


def test_no_more_voxels_are_read_than_promised(monkeypatch):
    field = scattered(1.0, (90, 10))
    monkeypatch.setattr("betis.noise._MAX_VOXELS", field.wave.size * 10 * 40)
    seen = []
    read = type(field.source).read

    def counted(self, rows, waves):
        seen.extend(range(*rows.indices(90)))
        return read(self, rows, waves)

    monkeypatch.setattr(type(field.source), "read", counted)
    ratio = noise_ratio(field)
    assert len(seen) == len(set(seen)) <= 40
    assert min(seen) < 10
    assert max(seen) > 80
    assert np.mean(ratio) == pytest.approx(1.0, rel=0.02)


def test_rescaled_errors_agree_with_the_data():
    field = scattered(np.where(SKY, 2.1, 1.3))
    mended = rescaled(field, noise_ratio(field))
    assert np.mean(noise_ratio(mended)) == pytest.approx(1.0, rel=0.01)
    again = rescaled(mended, np.full(WAVE.size, 2.0))
    np.testing.assert_allclose(again.error, 2.0 * mended.error)
    np.testing.assert_array_equal(mended.flux, field.flux)


def test_preparing_a_cube_changes_no_ratio():
    field = scattered(1.2, (8, 8))
    rest = betis.prepare(field, redshift=0.02, av=0.5)
    np.testing.assert_allclose(
        noise_ratio(rest, [6562.8]), noise_ratio(field, [6562.8 * 1.02]), rtol=2e-2
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_correlated_neighbours_are_told_and_the_scatter_of_sums_with_them(share):
    rng = np.random.default_rng(2)
    white = rng.normal(0, 1, (WAVE.size + 1, 20, 20))
    angle = 0.5 * np.arcsin(2 * share)
    noise = np.cos(angle) * white[1:] + np.sin(angle) * white[:-1]
    field = cube(50.0 + 2.0 * noise, np.full(noise.shape, 4.0), WAVE)
    check = measure_noise(field)
    assert check.correlation == pytest.approx(share, abs=0.02)
    assert np.mean(check.ratio) == pytest.approx(1.0, rel=0.02)
    sums = noise[:890].reshape(89, 10, 400).sum(axis=1) / np.sqrt(10)
    assert np.median(check.of_sums) == pytest.approx(sums.std(), rel=0.03)


def test_the_sentence_names_the_kind_the_ratio_and_where_it_fails():
    field = replace(scattered(1.0), noise_kind="ivar")
    said = describe_noise(field, np.where(SKY, 2.1, 1.03))
    assert said.startswith("stated as ivar; scatter over stated error: median 1.03 (16-84 %: 1.03-")
    assert said.endswith(", 2.1 in 6600-6699 Å")
    assert " in " not in describe_noise(field, np.full(WAVE.size, 1.5))


def test_the_pixels_near_a_line_are_those_within_600_km_s():
    near = near_lines(WAVE, np.array([6500.0]))
    np.testing.assert_array_equal(near, np.abs(WAVE - 6500.0) < 6500.0 * 600 / 299792.458)


def test_a_field_without_data_is_refused():
    nothing = np.full((WAVE.size, 3, 3), np.nan)
    with pytest.raises(InputError, match="no spaxel that was looked at has enough usable"):
        noise_ratio(cube(nothing, nothing, WAVE))


@pytest.mark.parametrize("ratio", [np.ones(5), np.zeros(WAVE.size), np.full(WAVE.size, np.nan)])
def test_a_ratio_that_fits_no_cube_is_refused(ratio):
    with pytest.raises(InputError, match="900 positive numbers were expected"):
        rescaled(scattered(1.0, (2, 2)), ratio)


def test_a_real_muse_cube_states_its_errors_rightly_for_single_pixels(test_data):
    check = measure_noise(betis.read_cube(test_data / "muse" / "a478_bcg.fits"))
    assert np.median(check.ratio) == pytest.approx(1.01, abs=0.02)
    assert check.correlation == pytest.approx(0.14, abs=0.02)
    assert np.median(check.of_sums) == pytest.approx(1.13, abs=0.03)
