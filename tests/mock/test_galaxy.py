"""The truth of a mock galaxy: populations of regions, ratios, kinematics, the options."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from betis.errors import ConfigError
from betis.linelist import load_line_set
from betis.mock import MockOptions, make_galaxy
from betis.mock.gas import (
    LUMINOSITY_INDEX,
    LUMINOSITY_RANGE,
    Regions,
    draw_luminosities,
    paint_regions,
)


@pytest.fixture(scope="module")
def galaxy():
    return make_galaxy()


def flux_of(galaxy, name):
    return galaxy.truth.flux[galaxy.truth.names.index(name)]


def cumulative(luminosity, index, low, high):
    power = index + 1
    return (luminosity**power - low**power) / (high**power - low**power)


@given(index=st.floats(-2.5, -1.5), span=st.floats(10, 1e4), seed=st.integers(0, 100))
def test_luminosities_follow_the_power_law(index, span, seed):
    drawn = draw_luminosities(np.random.default_rng(seed), 2000, index, (3.0, 3.0 * span))
    assert kstest(drawn, cumulative, (index, 3.0, 3.0 * span)).pvalue > 1e-5
    assert kstest(drawn, cumulative, (index + 0.3, 3.0, 3.0 * span)).pvalue < 1e-5


def test_the_regions_of_a_galaxy_have_the_luminosity_function():
    galaxy = make_galaxy(MockOptions(n_y=150, n_x=150))
    luminosity = galaxy.regions.luminosity
    assert luminosity.size > 300
    assert kstest(luminosity, cumulative, (LUMINOSITY_INDEX, *LUMINOSITY_RANGE)).pvalue > 1e-3
    assert -2.0 <= LUMINOSITY_INDEX <= -1.8


def test_some_tens_of_regions_by_default(galaxy):
    assert 20 <= galaxy.regions.luminosity.size <= 60


@given(y=st.floats(20, 40), x=st.floats(20, 40), sigma=st.floats(0.8, 3))
def test_a_region_keeps_its_flux_and_its_place(y, x, sigma):
    one = Regions(
        y=np.array([y]),
        x=np.array([x]),
        sigma=np.array([sigma]),
        luminosity=np.array([7.0]),
        ratios=np.array([[1.0, 0.25]]),
    )
    image = paint_regions(one, (61, 61))
    rows, columns = np.indices((61, 61))
    assert image.sum(axis=(1, 2)) == pytest.approx([7.0, 1.75], rel=1e-7)
    assert (image[0] * rows).sum() / 7 == pytest.approx(y, abs=1e-4)
    assert (image[0] * columns).sum() / 7 == pytest.approx(x, abs=1e-4)


def test_the_lines_are_the_emission_lines_that_the_cube_covers(galaxy):
    standard = load_line_set("standard")
    assert {"Hb4861", "SIII9069", "OIII4959", "NII6548", "OI6364"} <= set(galaxy.truth.names)
    assert not any(standard[name].absorption for name in galaxy.truth.names)
    assert "Hg4340" not in galaxy.truth.names
    assert "Hg4340" in make_galaxy(MockOptions(n_y=8, n_x=8, redshift=0.12)).truth.names


def test_tied_ratios_hold_exactly(galaxy):
    field = galaxy.field
    for strong, weak, ratio in (
        ("OIII5007", "OIII4959", 2.98),
        ("NII6583", "NII6548", 3.05),
        ("OI6300", "OI6364", 3.0),
    ):
        found = flux_of(galaxy, strong)[field] / flux_of(galaxy, weak)[field]
        assert found == pytest.approx(ratio, rel=1e-4)
        assert np.ptp(found) < 1e-12 * ratio


def test_balmer_decrement_gives_back_the_dust(galaxy):
    field, truth = galaxy.field, galaxy.truth
    decrement = flux_of(galaxy, "Ha6563")[field] / flux_of(galaxy, "Hb4861")[field]
    # Cardelli et al. 1989 at R_V = 3.1: A/A_V of H beta and H alpha, their table 3 interpolated
    colour = 2.5 * np.log10(decrement / 2.86)
    assert colour == pytest.approx((1.164 - 0.818) * truth.gas_av[field], rel=0.01)
    assert np.all(truth.stellar_av[field] < truth.gas_av[field])


@pytest.mark.parametrize("name", ["SII6716", "SII6731", "NII6583", "OI6300"])
def test_low_ions_are_enhanced_in_diffuse_gas(galaxy, name):
    ratio = flux_of(galaxy, name) / flux_of(galaxy, "Ha6563")
    diffuse = np.median(ratio[galaxy.field & (galaxy.diffuse_fraction > 0.9)])
    bright = np.median(ratio[galaxy.field & (galaxy.diffuse_fraction < 0.2)])
    assert diffuse > 1.3 * bright


def test_sulphur_doublet_is_near_its_low_density_limit_and_varies(galaxy):
    doublet = (flux_of(galaxy, "SII6716") / flux_of(galaxy, "SII6731"))[galaxy.field]
    assert np.median(doublet) == pytest.approx(1.4, abs=0.05)
    assert doublet.max() < 1.46
    assert np.std(doublet) > 0.003


def test_gas_rotates_faster_and_colder_than_the_stars(galaxy):
    truth, field = galaxy.truth, galaxy.field
    assert np.all(np.abs(truth.velocity[field]) >= np.abs(truth.stellar_velocity[field]))
    assert np.nanmax(np.abs(truth.velocity)) == pytest.approx(118, abs=5)
    assert 24 < truth.sigma[field].min() < truth.sigma[field].max() < 46
    assert truth.stellar_sigma[field].min() > 50
    steps = np.abs(np.diff(truth.velocity, axis=1))
    assert np.nanmax(steps) < 20  # smooth: no two neighbours differ by as much as a line's width


def test_the_centre_is_older_than_the_edge(galaxy):
    age = galaxy.truth.mean_log_age
    assert age[20, 20] > age[20, 38] + 0.3
    assert 7 < np.nanmin(age) < np.nanmax(age) < 10.2


def test_spaxels_outside_the_field_are_nan_in_every_map(galaxy):
    truth = galaxy.truth
    assert 0 < np.count_nonzero(~galaxy.field) < 0.1 * galaxy.field.size
    for field in dataclasses.fields(truth):
        values = getattr(truth, field.name)
        if isinstance(values, np.ndarray):
            assert np.array_equal(np.isnan(values), np.broadcast_to(~galaxy.field, values.shape)), (
                field.name
            )


@given(factor=st.floats(0, 20))
def test_line_brightness_scales_every_line_and_nothing_else(factor):
    small = MockOptions(n_y=8, n_x=8, wave_min=6400.0, wave_max=6900.0)
    once = make_galaxy(small).truth
    scaled = make_galaxy(dataclasses.replace(small, line_brightness=factor)).truth
    np.testing.assert_allclose(scaled.flux, factor * once.flux, rtol=1e-12)
    np.testing.assert_array_equal(scaled.continuum, once.continuum)


def test_the_seed_makes_the_galaxy():
    small = MockOptions(n_y=12, n_x=12, seed=4)
    again, other = make_galaxy(small), make_galaxy(dataclasses.replace(small, seed=5))
    np.testing.assert_array_equal(make_galaxy(small).truth.flux, again.truth.flux)
    assert not np.allclose(again.truth.flux, other.truth.flux, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_y": 4}, r"n_y and n_x of the mock galaxy is \(4, 40\); give a value 8 or more"),
        ({"snr": 0.0}, "snr of the mock galaxy is 0.0; give a value above 0"),
        ({"redshift": -0.1}, "redshift of the mock galaxy is -0.1; give a value from 0 to 0.25"),
        ({"av": float("nan")}, "av of the mock galaxy is nan; give a value 0 or more"),
        ({"line_brightness": -1.0}, "line_brightness of the mock galaxy is -1.0"),
        ({"noise_correlation": 9.0}, "noise_correlation of the mock galaxy is 9.0"),
        ({"wave_step": 0.0}, "wave_step of the mock galaxy is 0.0"),
        ({"wave_max": 4760.0}, r"the wavelength range of the mock galaxy is \(4750, 4760\)"),
        ({"wave_max": float("nan")}, "the wavelength range of the mock galaxy is"),
        ({"wave_min": 2000.0}, r"is \(2000, 9350\); give a value within 3000-10600 Angstrom"),
        ({"seed": -1}, "seed of the mock galaxy is -1"),
        ({"instrument": "wifes"}, "instrument of the mock galaxy is 'wifes'; give one of muse, m"),
        ({"instrument": "califa", "mode": "V9"}, "is 'V9'; of califa give one of V500, V1200, C"),
    ],
)
def test_options_that_make_no_galaxy_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        MockOptions(**change)


def test_a_range_without_a_line_is_refused():
    options = MockOptions(wave_min=5300.0, wave_max=5500.0)
    with pytest.raises(ConfigError, match=r"no emission line lies in 5300-5500 Angstrom"):
        make_galaxy(options)


def test_every_option_says_what_it_is():
    assert all(field.metadata["doc"] for field in dataclasses.fields(MockOptions))


def test_default_axis_is_that_of_muse():
    (setup,) = MockOptions().setups
    assert (setup.wave.size, setup.wave[0], setup.wave[-1]) == (3681, 4750.0, 9350.0)
    np.testing.assert_array_equal(setup.edges[1:] - setup.wave, 0.625)
