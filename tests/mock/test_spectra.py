"""Noise-free voxels against the truth they come from, and the noise put on them."""

from dataclasses import replace

import numpy as np
import pytest

from betis.errors import ConfigError
from betis.extinction import extinction_curve
from betis.linelist import load_line_set
from betis.lsf import FWHM_PER_SIGMA, muse_fwhm
from betis.mock import MockOptions, make_galaxy
from betis.mock.noise import draw_noise, sky_spectrum, variance
from betis.mock.spectra import make_renderer, observed_wave
from betis.mock.stars import Components, in_continuum_windows
from betis.wavelength import C_KMS, air_to_vacuum

SMALL = MockOptions(n_y=12, n_x=12, wave_min=6450.0, wave_max=7000.0)


@pytest.fixture(scope="module")
def galaxy():
    return make_galaxy(SMALL)


def without_stars(galaxy):
    return replace(galaxy, weights=np.zeros_like(galaxy.weights))


def only_line(galaxy, name):
    is_it = np.array([line == name for line in galaxy.truth.names])
    flux = np.where(is_it[:, None, None], galaxy.truth.flux, 0.0)
    return without_stars(replace(galaxy, truth=replace(galaxy.truth, flux=flux)))


# Lines


def test_line_fluxes_integrate_to_the_truth():
    galaxy = make_galaxy(MockOptions(n_y=10, n_x=10, redshift=0.03))
    voxels = make_renderer(without_stars(galaxy)).flux()
    total = voxels.sum(axis=0) * galaxy.options.wave_step
    expected = galaxy.truth.flux.sum(axis=0)
    assert total[galaxy.field] == pytest.approx(expected[galaxy.field], rel=1e-6)


@pytest.mark.parametrize("name", ["Ha6563", "NII6583", "SII6731"])
def test_each_line_has_its_flux_its_velocity_and_its_width(galaxy, name):
    one, truth = only_line(galaxy, name), galaxy.truth
    voxels, wave = make_renderer(one).flux()[:, galaxy.field], galaxy.options.wave[:, None]
    flux = voxels.sum(axis=0) * SMALL.wave_step
    center = (voxels * wave).sum(axis=0) / voxels.sum(axis=0)
    spread = (voxels * (wave - center) ** 2).sum(axis=0) / voxels.sum(axis=0)
    velocity = air_to_vacuum(center) / load_line_set()[name].vacuum
    velocity = C_KMS * (velocity / (1 + SMALL.redshift) - 1)
    sigma = truth.sigma[galaxy.field] / C_KMS * center
    expected = sigma**2 + (muse_fwhm(center) / FWHM_PER_SIGMA) ** 2 + SMALL.wave_step**2 / 12
    assert flux == pytest.approx(truth.flux[truth.names.index(name)][galaxy.field], rel=1e-6)
    assert velocity == pytest.approx(truth.velocity[galaxy.field], abs=1e-3)
    assert spread == pytest.approx(expected, rel=1e-5)


# Stars


def one_absorption_line(galaxy, center, depth=0.4, fwhm=1.0):
    """Return the galaxy with stars that have one Gaussian line, sampled finely."""
    wave = np.arange(6000.0, 7300.0, 0.2)
    sigma = fwhm / FWHM_PER_SIGMA
    flux = 1 - depth * np.exp(-0.5 * ((wave - center) / sigma) ** 2)
    stars = Components(
        wave=wave,
        flux=np.tile(flux, (3, 1)),
        fwhm=np.full(wave.size, fwhm),
        mean_log_age=np.full(3, 9.0),
    )
    truth = replace(galaxy.truth, flux=0 * galaxy.truth.flux, stellar_av=0 * galaxy.truth.sigma)
    return replace(galaxy, components=stars, truth=truth), depth * np.sqrt(2 * np.pi) * sigma


def test_a_stellar_line_is_shifted_and_broadened_as_told(galaxy):
    center = 6700.0
    one, width = one_absorption_line(galaxy, center)
    truth, field = one.truth, one.field
    voxels = make_renderer(one).flux()[:, field] * (1 + SMALL.redshift)
    trough = one.weights.sum(axis=0)[field] - voxels
    wave = SMALL.wave[:, None]
    place = (trough * wave).sum(axis=0) / trough.sum(axis=0)
    spread = (trough * (wave - place) ** 2).sum(axis=0) / trough.sum(axis=0)
    expected = observed_wave(center, SMALL.redshift, truth.stellar_velocity[field])
    losvd = truth.stellar_sigma[field] / C_KMS * place
    area = trough.sum(axis=0) * SMALL.wave_step / one.weights.sum(axis=0)[field]
    lsf = muse_fwhm(place) / FWHM_PER_SIGMA
    assert (place / expected - 1) * C_KMS == pytest.approx(0, abs=0.1)
    assert spread == pytest.approx(losvd**2 + lsf**2 + SMALL.wave_step**2 / 12, rel=3e-3)
    assert area == pytest.approx(width * (1 + SMALL.redshift), rel=1e-3)


def test_components_are_normalised_beside_h_alpha_and_ordered_by_age(galaxy):
    stars = galaxy.components
    level = stars.flux[:, in_continuum_windows(stars.wave)].mean(axis=1)
    assert level == pytest.approx(1)
    assert np.all(np.diff(stars.mean_log_age) < -0.3)


def test_the_continuum_beside_h_alpha_is_the_truth(galaxy):
    voxels = make_renderer(replace(galaxy, truth=replace(galaxy.truth, flux=0 * galaxy.truth.flux)))
    beside = in_continuum_windows(air_to_vacuum(SMALL.wave) / (1 + SMALL.redshift))
    level = voxels.flux()[beside].mean(axis=0)[galaxy.field] * (1 + SMALL.redshift)
    assert level == pytest.approx(galaxy.truth.continuum[galaxy.field], rel=5e-3)


def test_spaxels_outside_the_field_have_no_flux(galaxy):
    assert np.all(make_renderer(galaxy).flux()[:, ~galaxy.field] == 0)


@pytest.mark.parametrize("av", [0.1, 2.5])
def test_galactic_extinction_dims_stars_and_gas_alike(galaxy, av):
    dimmed = replace(galaxy, options=replace(SMALL, av=av))
    field, expected = galaxy.field, 10 ** (-0.4 * av * extinction_curve("F99", SMALL.wave))
    found, bright = make_renderer(dimmed).flux(), make_renderer(galaxy).flux()
    np.testing.assert_allclose(found[:, field], expected[:, None] * bright[:, field], rtol=1e-12)


def test_stars_that_the_base_does_not_have_are_refused(galaxy):
    short = replace(galaxy.components, wave=galaxy.components.wave + 2900)
    with pytest.raises(ConfigError, match=r"the mock galaxy needs stars from .* choose a narrower"):
        make_renderer(replace(galaxy, components=short))


# Noise


@pytest.mark.parametrize("snr", [5.0, 30.0, 100.0])
def test_snr_is_that_of_the_centre_beside_h_alpha(snr):
    galaxy = make_galaxy(replace(SMALL, n_y=13, n_x=13, snr=snr))
    flux = make_renderer(galaxy).flux()
    beside = in_continuum_windows(air_to_vacuum(SMALL.wave) / (1 + SMALL.redshift))
    beside &= sky_spectrum(SMALL.wave) < 1.05
    found = flux / np.sqrt(variance(galaxy, flux))
    assert found[beside, 6, 6].mean() == pytest.approx(snr, rel=0.03)


def test_airglow_and_the_source_raise_the_variance():
    galaxy = make_galaxy(MockOptions(n_y=8, n_x=8))
    wave, dark = galaxy.options.wave, np.zeros((galaxy.options.wave.size, 1, 1))
    level = variance(galaxy, dark)[:, 0, 0]
    quiet = np.median(level[(wave > 5560) & (wave < 5570)])
    assert level[np.argmin(np.abs(wave - 5577.3))] > 20 * quiet
    assert level[np.argmin(np.abs(wave - 6300.3))] > 5 * np.median(level[np.abs(wave - 6270) < 10])
    assert np.all(variance(galaxy, dark + 40)[:, 0, 0] > level)
    assert np.all(variance(galaxy, dark - 1e4)[:, 0, 0] == level)


@pytest.mark.parametrize("sigma", [0.0, 0.8, 1.2])
def test_noise_has_unit_variance_and_the_correlation_asked_for(galaxy, sigma):
    options = replace(SMALL, n_y=24, n_x=24, noise_correlation=sigma)
    noise = draw_noise(replace(galaxy, options=options), 0, 24)
    n_free = noise.size / max(1, 4 * np.pi * sigma**2)
    assert abs(noise.mean()) < 5 / np.sqrt(n_free)
    assert noise.var() == pytest.approx(1, abs=8 / np.sqrt(n_free))
    for lag in (1, 2, 3):
        expected = np.exp(-(lag**2) / (4 * sigma**2)) if sigma else 0.0
        for ahead, behind in (
            (noise[:, lag:], noise[:, :-lag]),
            (noise[:, :, lag:], noise[:, :, :-lag]),
        ):
            assert np.mean(ahead * behind) == pytest.approx(expected, abs=0.03)
    assert np.mean(noise[1:] * noise[:-1]) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("sigma", [0.0, 0.8])
@pytest.mark.parametrize("cut", [1, 5, 11])
def test_noise_does_not_depend_on_how_the_rows_are_cut(galaxy, cut, sigma):
    short = replace(SMALL, noise_correlation=sigma, wave_max=6650.0)
    one = replace(galaxy, options=short)
    parts = [draw_noise(one, 0, cut), draw_noise(one, cut, 12)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), draw_noise(one, 0, 12))
