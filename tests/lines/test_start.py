"""Laws of the first guesses: near the truth, and not led astray."""

from dataclasses import replace

import numpy as np

from betis.linelist import load_line_set
from betis.lines.groups import group_classes
from betis.lines.start import own_places, start_velocity
from betis.options import LineOptions


def _start(truth, spectra=None):
    places = truth.lines.waves("air", 0.0)
    return start_velocity(truth.lines, places, spectra or truth.spectra, LineOptions())


def test_the_velocity_of_bright_lines_is_found(simulate) -> None:
    truth = simulate(200, strength=(50.0, 300.0), seed=31)
    error = np.abs(_start(truth) - truth.velocity)
    assert np.mean(error < 75.0) > 0.97
    assert error.max() < 201.0


def test_noise_starts_at_rest(simulate) -> None:
    assert np.mean(_start(simulate(400, strength=0.0, seed=32)) != 0) < 0.02


def test_a_hot_pixel_does_not_lead(simulate) -> None:
    truth = simulate(100, strength=(50.0, 300.0), seed=33)
    flux = truth.spectra.flux.copy()
    flux[:, int(np.searchsorted(truth.spectra.wave, 4869.0))] += 1e4
    error = np.abs(_start(truth, replace(truth.spectra, flux=flux)) - truth.velocity)
    assert np.mean(error < 75.0) > 0.95


def test_a_hot_pixel_in_noise_leaves_the_start_at_rest(simulate) -> None:
    noise = simulate(200, strength=0.0, seed=34)
    flux = noise.spectra.flux.copy()
    flux[:, int(np.searchsorted(noise.spectra.wave, 6569.0))] += 1e4
    assert np.mean(_start(noise, replace(noise.spectra, flux=flux)) != 0) < 0.03


def test_scale_of_flux_and_error_does_not_matter(simulate) -> None:
    truth = simulate(50, seed=35)
    gas = truth.spectra
    scaled = replace(gas, flux=1e-17 * gas.flux, error=1e-17 * gas.error)
    np.testing.assert_array_equal(_start(truth, scaled), _start(truth))


def test_where_a_line_is_brightest_does_not_depend_on_the_other_rows(simulate) -> None:
    """The places looked at are the same, however far the velocities of other rows reach."""
    lines = load_line_set("betis41").select(["Ha6563"])
    gas = simulate(40, strength=(20.0, 80.0), lines=lines, seed=36).spectra
    (kind,) = group_classes(lines, lines.waves("air", 0.0), gas, LineOptions())
    velocity = np.zeros(40)
    places = own_places(kind, gas, velocity)
    velocity[-1] = 213.0
    with_other = own_places(kind, gas, velocity)
    assert places.is_seen.mean() > 0.5
    np.testing.assert_allclose(with_other.velocity[:, :-1], places.velocity[:, :-1], atol=1e-9)
