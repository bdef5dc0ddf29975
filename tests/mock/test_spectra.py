"""Noise-free voxels against the truth they come from, and the noise put on them."""

from dataclasses import replace

import numpy as np
import pytest

from betis.errors import ConfigError
from betis.extinction import extinction_curve
from betis.linelist import load_line_set
from betis.lsf import FWHM_PER_SIGMA
from betis.mock import MockOptions, make_galaxy
from betis.mock.noise import draw_noise, sky_spectrum, variance
from betis.mock.spectra import make_renderer, observed_wave
from betis.mock.stars import Components, in_continuum_windows
from betis.wavelength import C_KMS, air_to_vacuum

SMALL = MockOptions(n_y=12, n_x=12, wave_min=6450.0, wave_max=7000.0)
SETUP = SMALL.setups[0]
WAVE = SETUP.wave


@pytest.fixture(scope="module")
def galaxy():
    return make_galaxy(SMALL)


@pytest.fixture(params=["muse", "manga", "califa", "generic"])
def observed(request):
    """Return the galaxy as each kind of instrument sees it: air, vacuum, broad, its setup."""
    galaxy = make_galaxy(replace(SMALL, instrument=request.param))
    return galaxy, galaxy.options.setups[0]


def without_stars(galaxy):
    return replace(galaxy, weights=np.zeros_like(galaxy.weights))


def only_line(galaxy, name):
    is_it = np.array([line == name for line in galaxy.truth.names])
    flux = np.where(is_it[:, None, None], galaxy.truth.flux, 0.0)
    return without_stars(replace(galaxy, truth=replace(galaxy.truth, flux=flux)))


# Lines


@pytest.mark.parametrize("instrument", ["muse", "manga", "manga-lin", "califa", "sami", "kcwi"])
def test_line_fluxes_integrate_to_the_truth(instrument):
    galaxy = make_galaxy(MockOptions(n_y=8, n_x=8, redshift=0.03, instrument=instrument))
    total = sum(
        np.tensordot(
            np.diff(setup.edges), make_renderer(without_stars(galaxy), setup).flux(), axes=1
        )
        for setup in galaxy.options.setups
    )
    expected = galaxy.truth.flux.sum(axis=0)
    assert total[galaxy.field] == pytest.approx(expected[galaxy.field], rel=1e-6)


@pytest.mark.parametrize("name", ["Ha6563", "NII6583", "SII6731"])
def test_each_line_has_its_flux_its_velocity_and_its_width(observed, name):
    (galaxy, setup), wave = observed, observed[1].wave[:, None]
    one, truth, width = only_line(galaxy, name), galaxy.truth, np.diff(setup.edges)[:, None]
    voxels = make_renderer(one).flux()[:, galaxy.field] * width
    flux = voxels.sum(axis=0)
    center = (voxels * wave).sum(axis=0) / flux
    spread = (voxels * (wave - center) ** 2).sum(axis=0) / flux
    velocity = setup.to_vacuum(center) / load_line_set()[name].vacuum
    velocity = C_KMS * (velocity / (1 + SMALL.redshift) - 1)
    sigma = truth.sigma[galaxy.field] / C_KMS * center
    pixel = np.interp(center, setup.wave, width[:, 0])
    expected = sigma**2 + (setup.lsf(center) / FWHM_PER_SIGMA) ** 2 + pixel**2 / 12
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


def test_a_stellar_line_is_shifted_and_broadened_as_told(observed):
    galaxy, setup = observed
    center = 6700.0
    one, equivalent = one_absorption_line(galaxy, center)
    truth, field = one.truth, one.field
    voxels = make_renderer(one).flux()[:, field] * (1 + SMALL.redshift)
    width = np.diff(setup.edges)[:, None]
    trough = (one.weights.sum(axis=0)[field] - voxels) * width
    wave = setup.wave[:, None]
    place = (trough * wave).sum(axis=0) / trough.sum(axis=0)
    spread = (trough * (wave - place) ** 2).sum(axis=0) / trough.sum(axis=0)
    expected = observed_wave(setup, center, SMALL.redshift, truth.stellar_velocity[field])
    losvd = truth.stellar_sigma[field] / C_KMS * place
    area = trough.sum(axis=0) / one.weights.sum(axis=0)[field]
    lsf, pixel = setup.lsf(place) / FWHM_PER_SIGMA, np.interp(place, setup.wave, width[:, 0])
    assert (place / expected - 1) * C_KMS == pytest.approx(0, abs=0.1)
    assert spread == pytest.approx(losvd**2 + lsf**2 + pixel**2 / 12, rel=3e-3)
    assert area == pytest.approx(equivalent * (1 + SMALL.redshift), rel=1e-3)


def test_components_are_normalised_beside_h_alpha_and_ordered_by_age(galaxy):
    stars = galaxy.components
    level = stars.flux[:, in_continuum_windows(stars.wave)].mean(axis=1)
    assert level == pytest.approx(1)
    assert np.all(np.diff(stars.mean_log_age) < -0.3)


def test_the_continuum_beside_h_alpha_is_the_truth(galaxy):
    voxels = make_renderer(replace(galaxy, truth=replace(galaxy.truth, flux=0 * galaxy.truth.flux)))
    beside = in_continuum_windows(SETUP.to_vacuum(WAVE) / (1 + SMALL.redshift))
    level = voxels.flux()[beside].mean(axis=0)[galaxy.field] * (1 + SMALL.redshift)
    assert level == pytest.approx(galaxy.truth.continuum[galaxy.field], rel=5e-3)


def test_spaxels_outside_the_field_have_no_flux(galaxy):
    assert np.all(make_renderer(galaxy).flux()[:, ~galaxy.field] == 0)


@pytest.mark.parametrize("av", [0.1, 2.5])
def test_galactic_extinction_dims_stars_and_gas_alike(galaxy, av):
    dimmed = replace(galaxy, options=replace(SMALL, av=av))
    field, expected = galaxy.field, 10 ** (-0.4 * av * extinction_curve("F99", WAVE))
    found, bright = make_renderer(dimmed).flux(), make_renderer(galaxy).flux()
    np.testing.assert_allclose(found[:, field], expected[:, None] * bright[:, field], rtol=1e-12)


def test_stars_that_the_base_does_not_have_are_refused(galaxy):
    short = replace(galaxy.components, wave=galaxy.components.wave + 3900)
    with pytest.raises(ConfigError, match=r"the mock galaxy needs stars from .* choose a narrower"):
        make_renderer(replace(galaxy, components=short))


# Noise


@pytest.mark.parametrize("snr", [5.0, 30.0, 100.0])
def test_snr_is_that_of_the_centre_beside_h_alpha(snr):
    galaxy = make_galaxy(replace(SMALL, n_y=13, n_x=13, snr=snr))
    flux = make_renderer(galaxy).flux()
    beside = in_continuum_windows(SETUP.to_vacuum(WAVE) / (1 + SMALL.redshift))
    beside &= sky_spectrum(SETUP) < 1.05
    found = flux / np.sqrt(variance(galaxy, SETUP, flux))
    assert found[beside, 6, 6].mean() == pytest.approx(snr, rel=0.03)


def test_airglow_and_the_source_raise_the_variance():
    galaxy = make_galaxy(MockOptions(n_y=8, n_x=8))
    setup = galaxy.options.setups[0]
    wave, dark = setup.wave, np.zeros((setup.wave.size, 1, 1))
    level = variance(galaxy, setup, dark)[:, 0, 0]
    quiet = np.median(level[(wave > 5560) & (wave < 5570)])
    assert level[np.argmin(np.abs(wave - 5577.3))] > 20 * quiet
    assert level[np.argmin(np.abs(wave - 6300.3))] > 5 * np.median(level[np.abs(wave - 6270) < 10])
    assert np.all(variance(galaxy, setup, dark + 40)[:, 0, 0] > level)
    assert np.all(variance(galaxy, setup, dark - 1e4)[:, 0, 0] == level)


@pytest.mark.parametrize("sigma", [0.0, 0.8, 1.2])
def test_noise_has_unit_variance_and_the_correlation_asked_for(galaxy, sigma):
    options = replace(SMALL, n_y=24, n_x=24, noise_correlation=sigma)
    noise = draw_noise(replace(galaxy, options=options), SETUP, 0, 24)
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
    setup = short.setups[0]
    parts = [draw_noise(one, setup, 0, cut), draw_noise(one, setup, cut, 12)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), draw_noise(one, setup, 0, 12))


def test_the_arms_have_noise_of_their_own():
    galaxy = make_galaxy(MockOptions(n_y=8, n_x=8, instrument="sami"))
    blue, red = (draw_noise(galaxy, setup, 0, 8) for setup in galaxy.options.setups)
    assert abs(np.mean(blue * red)) < 5 / np.sqrt(blue.size)


def test_a_survey_that_removes_the_galactic_extinction_has_none_left():
    plain = MockOptions(n_y=8, n_x=8, instrument="califa", wave_min=6400.0, wave_max=6900.0)
    clear, dusty = make_galaxy(plain), make_galaxy(replace(plain, av=0.7))
    np.testing.assert_array_equal(make_renderer(dusty).flux(), make_renderer(clear).flux())
    assert (dusty.truth.av, make_galaxy(replace(plain, av=0.7, instrument="muse")).truth.av) == (
        0.0,
        0.7,
    )


def test_airglow_lies_at_its_wavelength_in_vacuum_too():
    for instrument in ("muse", "manga"):
        setup = MockOptions(instrument=instrument, wave_min=5500.0, wave_max=5650.0).setups[0]
        brightest = setup.wave[np.argmax(sky_spectrum(setup))]
        assert setup.to_vacuum(brightest) == pytest.approx(air_to_vacuum(5577.3), abs=0.7)
