"""Between native pixels and the linear axis of STARLIGHT: flux is conserved, both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis import Spectra
from betis.starlight.axis import on_linear_axis, on_native_pixels, rest_air
from betis.wavelength import air_to_vacuum, pixel_edges, pixel_widths, vacuum_to_air

REDSHIFT = 0.02


def spectra(medium="air", step=1.25, flux=None):
    observed = 4900.0 + step * np.arange(1200)
    wave = observed / (1 + REDSHIFT)
    values = np.ones((2, wave.size)) if flux is None else flux(wave)
    return Spectra(wave, values, 0.1 * np.ones_like(values), medium=medium, redshift=REDSHIFT)


def wavy(wave):
    base = 1 + 0.3 * np.sin(wave / 11.0) - 0.5 * np.exp(-0.5 * ((wave - 5500) / 3.0) ** 2)
    return np.stack([base, 2 * base])


@pytest.mark.parametrize("medium", ["air", "vacuum"])
def test_a_rest_wavelength_lies_where_its_air_wavelength_says(medium):
    air = np.array([4861.33, 6562.80, 9068.6])
    observed = air_to_vacuum(air) * (1 + REDSHIFT)
    observed = vacuum_to_air(observed) if medium == "air" else observed
    np.testing.assert_allclose(
        rest_air(observed / (1 + REDSHIFT), medium, REDSHIFT), air, atol=1e-6
    )


@pytest.mark.parametrize("medium", ["air", "vacuum"])
@given(step=st.floats(0.4, 4.0))
def test_flux_is_conserved(medium, step):
    native = spectra(medium, flux=wavy)
    rows = on_linear_axis(native, step, 1.0)
    edges = rest_air(native.edges, medium, REDSHIFT)
    low, upp = pixel_edges(rows.wave)[[0, -1]]
    share = np.clip((np.minimum(edges[1:], upp) - np.maximum(edges[:-1], low)), 0, None)
    expected = native.flux @ share
    assert not rows.flag.any()
    np.testing.assert_allclose(rows.flux.sum(axis=1) * step, expected, rtol=1e-9)
    np.testing.assert_allclose(rows.wave / step, np.round(rows.wave / step), atol=1e-9)


def test_flux_and_error_have_their_unit():
    one, other = (on_linear_axis(spectra(flux=wavy), 1.0, scale) for scale in (1.0, 1e-20))
    np.testing.assert_allclose(other.flux, one.flux * 1e-20, rtol=1e-14)
    np.testing.assert_allclose(other.error, one.error * 1e-20, rtol=1e-14)


def test_bad_pixels_are_flagged_and_have_numbers_that_can_be_written():
    native = spectra()
    mask = np.zeros(native.flux.shape, bool)
    mask[0, 300:340] = True
    mask[1] = True
    native = Spectra(native.wave, native.flux, native.error, mask, redshift=REDSHIFT)
    rows = on_linear_axis(native, 1.0, 1.0)
    inside = (rows.wave > native.wave[301]) & (rows.wave < native.wave[338])
    assert np.all(rows.flag[0, inside] == 3)
    assert rows.flag[0].sum() < 3 * (inside.sum() + 6)
    assert np.all(rows.flag[1] == 3)
    assert np.isfinite(rows.flux).all()
    assert np.all(np.isfinite(rows.error) & (rows.error > 0))


@pytest.mark.parametrize("medium", ["air", "vacuum"])
def test_a_model_comes_back_to_the_native_pixels(medium):
    native = spectra(medium, flux=wavy)
    rows = on_linear_axis(native, 1.0, 1.0)
    edges = pixel_edges(rows.wave)
    fine = np.linspace(edges[:-1], edges[1:], 41)
    model = wavy(fine.ravel())[0].reshape(fine.shape).mean(axis=0)
    found = on_native_pixels(model, rows.wave, native)
    bounds = rest_air(native.edges, medium, REDSHIFT)
    fine = np.linspace(bounds[:-1], bounds[1:], 41)
    expected = wavy(fine.ravel())[0].reshape(fine.shape).mean(axis=0)
    inside = np.isfinite(found)
    assert inside.sum() > native.wave.size - 6
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-4)


def test_a_model_conserves_its_flux_and_ends_where_it_ends():
    native = spectra()
    wave = np.arange(5000.0, 5400.0)
    model = 1 + 0.2 * np.sin(wave / 3)
    found = on_native_pixels(model, wave, native)
    inside = np.isfinite(found)
    edges = rest_air(native.edges, "air", REDSHIFT)
    assert np.all(edges[:-1][inside] >= 4999.5)
    assert np.all(edges[1:][inside] <= 5399.5)
    assert inside.sum() > 320
    flux = np.sum(found[inside] * np.diff(edges)[inside])
    low, upp = edges[:-1][inside][0], edges[1:][inside][-1]
    share = np.clip(np.minimum(wave + 0.5, upp) - np.maximum(wave - 0.5, low), 0, None)
    assert flux == pytest.approx(np.sum(model * share), abs=0.1)


def test_a_gap_between_two_arms_gives_no_flux_to_its_sides():
    wave = np.concatenate([np.arange(5000.0, 5100.0), np.arange(5200.0, 5300.0, 0.5)])
    native = Spectra(wave, np.ones((1, wave.size)), np.ones((1, wave.size)))
    rows = on_linear_axis(native, 1.0, 1.0)
    in_gap = (rows.wave > 5102) & (rows.wave < 5198)
    assert np.all(rows.flag[0, in_gap] == 3)
    slope = on_native_pixels(rows.wave, rows.wave, native)
    inside = np.isfinite(slope)
    np.testing.assert_allclose(slope[inside], rest_air(wave, "air", 0)[inside], atol=0.05)
    assert pixel_widths(native.edges).max() < 1.1
