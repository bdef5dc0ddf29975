"""Two arms on one axis: a line in the gap ended the fit, and pixels beside it had its width."""

import numpy as np
import pytest
from scipy.stats import norm

from betis.flags import Flag
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.options import LineOptions
from betis.products import Spectra
from betis.wavelength import beside_gaps, pixel_edges, pixel_widths

SET = load_line_set().select(["Hb4861", "OIII5007", "HeI5876", "Ha6563", "SII6716"])
BLUE, RED = np.arange(4700.0, 5018.0, 1.05), np.arange(6545.0, 6800.0, 0.6)


def line(wave, center, flux, sigma=1.6):
    edges = pixel_edges(wave)
    return flux * np.diff(norm.cdf((edges - center) / sigma)) / np.diff(edges)


@pytest.fixture(scope="module")
def arms() -> Spectra:
    rng = np.random.default_rng(4)
    flux = []
    for wave in (BLUE, RED):
        places = ((4861.33, 300.0), (5006.843, 600.0), (6562.80, 900.0), (6716.44, 200.0))
        own = 0.05 * (wave - wave[0]) + sum(line(wave, at, total) for at, total in places)
        flux.append(own + rng.normal(0, 1.0, wave.size))
    wave = np.concatenate([BLUE, RED])
    return Spectra(wave, np.concatenate(flux), np.ones(wave.size), lsf=2.0)


def test_lines_beside_the_gap_keep_their_flux_and_one_inside_it_has_no_data(arms):
    lines = fit_lines(arms, SET, LineOptions())
    for name, flux in (("Hb4861", 300), ("OIII5007", 600), ("Ha6563", 900), ("SII6716", 200)):
        at = lines.index(name)
        assert abs(lines.flux[0, at] - flux) < 4 * lines.flux_err[0, at]
        assert abs(lines.flux_direct[0, at] - flux) < 6 * lines.flux_err[0, at]
        assert lines.flags[0, at] == 0
    assert lines.flags[0, lines.index("HeI5876")] == Flag.NO_DATA
    assert np.isnan(lines.flux[0, lines.index("HeI5876")])


def test_the_pixels_at_both_ends_of_a_gap_are_masked_where_edges_are_not_given(arms):
    assert np.flatnonzero(arms.mask[0]).tolist() == [BLUE.size - 1, BLUE.size]
    given = Spectra(arms.wave, arms.flux, np.ones(arms.wave.size), edges=pixel_edges(arms.wave))
    assert not given.mask.any()


def test_one_missing_pixel_is_a_gap_and_a_change_of_step_between_arms_is_none():
    wave = np.delete(np.arange(5000.0, 5020.0), 7)
    assert np.flatnonzero(beside_gaps(wave)).tolist() == [6, 7]
    arms = np.concatenate([5000 + 1.05 * np.arange(9), 5009 + 0.6 * np.arange(9)])
    assert not beside_gaps(arms).any()
    assert not beside_gaps(10 ** (3.55 + 1e-4 * np.arange(4000))).any()


def test_a_pixel_beside_a_gap_is_as_wide_as_its_neighbours():
    wave = np.concatenate([BLUE, RED])
    widths = pixel_widths(pixel_edges(wave))
    assert widths.max() == pytest.approx(1.05)
    even = pixel_edges(BLUE)
    np.testing.assert_allclose(pixel_widths(even), np.diff(even))
