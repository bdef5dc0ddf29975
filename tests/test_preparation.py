"""Preparation moves the axis and the flux scale, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cubes import WAVE, line, noise_cube

import betis
from betis.errors import ConfigError
from betis.extinction import extinction_curve
from betis.options import PrepareOptions
from betis.preparation import in_windows, prepare
from betis.wavelength import air_to_vacuum, pixel_edges, rest_wave

CUBE = noise_cube((3, 4))


@given(redshift=st.floats(0, 3))
def test_integrated_flux_is_the_same_in_both_frames(redshift):
    rest = prepare(CUBE, PrepareOptions(redshift=redshift))
    np.testing.assert_allclose(
        np.diff(rest.edges) @ rest.flux[:, 0, 0], np.diff(CUBE.edges) @ CUBE.flux[:, 0, 0]
    )
    np.testing.assert_allclose(rest.wave * (1 + redshift), CUBE.wave, rtol=1e-13)
    np.testing.assert_allclose(rest.flux / rest.error, CUBE.flux / CUBE.error, rtol=1e-12)


@given(redshift=st.floats(0, 0.03), air=st.floats(6420, 6600))
def test_a_line_is_found_where_its_rest_wavelength_says(redshift, air):
    wave = 6400 + 1.25 * np.arange(400)
    spectrum = line(wave, air, 100.0, redshift=redshift)
    centroid = (wave * spectrum).sum() / spectrum.sum() / (1 + redshift)
    assert rest_wave(air_to_vacuum(air), "air", redshift) == pytest.approx(centroid, abs=2e-3)


def test_dereddening_is_undone_by_the_law_itself():
    dusty = prepare(CUBE, PrepareOptions(redshift=0.0, av=1.5, law="CCM89"))
    curve = extinction_curve("CCM89", CUBE.wave)
    np.testing.assert_allclose(
        dusty.flux * 10 ** (-0.6 * curve)[:, None, None], CUBE.flux, rtol=1e-12
    )


def test_sky_windows_are_marked_at_observed_wavelengths_and_not_masked():
    rest = prepare(CUBE, PrepareOptions(redshift=0.05, sky_windows=((6500.0, 6520.0),)))
    inside = (CUBE.wave >= 6500) & (CUBE.wave <= 6520)
    assert np.array_equal(rest.sky_window, inside)
    assert not rest.mask.any()


def test_windows_may_overlap():
    assert in_windows(np.arange(5.0), ((0, 2), (1, 3))).tolist() == [True] * 4 + [False]


def test_a_missing_redshift_is_asked_for():
    with pytest.raises(ConfigError, match="redshift of the galaxy is not given; give it with -z"):
        prepare(CUBE, PrepareOptions())


def test_preparing_twice_is_refused():
    with pytest.raises(ConfigError, match="prepared already"):
        prepare(prepare(CUBE, PrepareOptions(redshift=0.1)), PrepareOptions(redshift=0.1))


def test_an_impossible_redshift_is_refused_by_the_public_face():
    with pytest.raises(ConfigError, match=r"'redshift' of \[prepare\] is -0\.5"):
        betis.prepare(CUBE, redshift=-0.5)


def test_the_edges_move_with_the_centres():
    rest = prepare(CUBE, PrepareOptions(redshift=0.02))
    np.testing.assert_allclose(rest.edges, pixel_edges(WAVE) / 1.02)
