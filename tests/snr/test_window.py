"""Lone wild pixels lose their weight; no line does, however bright."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf
from tests.cubes import WAVE, cube

from betis.errors import ConfigError, InputError
from betis.linelist import load_line_set
from betis.products import Spectra
from betis.snr.window import (
    Rows,
    cube_rows,
    line_windows,
    median,
    rows_by_step,
    spectra_rows,
)

LINES = load_line_set()
PIXELS = np.arange(61.0)
RESOLVED = 2.5
"""FWHM in pixels of the line-spread function of these spectra, as in MUSE's red."""


def profile(center, sigma):
    """A line of flux 1, its dispersion and place in pixels, integrated over each of them."""
    z = (np.arange(62) - 0.5 - center) / (np.sqrt(2) * sigma)
    return 0.5 * np.diff(erf(z))


def cleaned(flux, error=1.0, lsf=RESOLVED, mask=None):
    flux = np.atleast_2d(flux)
    spectra = Spectra(PIXELS + 5000, flux, np.full(flux.shape, error), mask, lsf=lsf)
    return spectra_rows(spectra, slice(0, 61))


@given(
    center=st.floats(10, 50),
    sigma=st.floats(0.7, 8.0),
    bright=st.floats(1.0, 1e6),
    apart=st.floats(0.0, 8.0),
    ratio=st.floats(-1.0, 1.0),
)
def test_no_line_or_pair_of_lines_is_taken_for_a_spike(center, sigma, bright, apart, ratio):
    pair = profile(center, sigma) + ratio * profile(center + apart, sigma)
    assert (cleaned(bright * pair + 0.1 * PIXELS).ivar > 0).all()


@given(
    place=st.integers(2, 58),
    size=st.sampled_from([-1e4, -30.0, 30.0, 1e4]),
    bright=st.floats(0.0, 20.0),
    seed=st.integers(0, 1000),
)
def test_a_wild_pixel_loses_its_weight_and_no_other_does(place, size, bright, seed):
    noise = np.random.default_rng(seed).normal(size=61)
    flux = bright * profile(30.0, 1.2) + noise
    flux[place] += size
    bad = cleaned(flux).ivar[:, 0] == 0
    assert bad[place]
    assert bad.sum() == 1


def test_noise_has_no_spikes():
    noise = np.random.default_rng(5).normal(size=(20000, 61))
    assert (cleaned(noise).ivar > 0).all()


def test_a_scatter_beyond_the_stated_errors_is_no_spike():
    noise = np.random.default_rng(5).normal(size=(2000, 61))
    assert (cleaned(noise, error=0.2).ivar > 0).mean() > 0.9999


def test_where_a_line_may_be_as_sharp_as_a_spike_none_is_removed():
    flux = np.zeros(61)
    flux[30] = 1e4
    assert (cleaned(flux, lsf=1.0).ivar > 0).all()


def test_a_wild_pixel_at_the_end_of_a_window_is_seen_with_the_pixels_beyond():
    flux, variance = np.zeros((WAVE.size, 2, 3)), np.ones((WAVE.size, 2, 3))
    flux[100, 1, 2] = flux[139, 1, 2] = 1e4
    ((rows, spectra),) = cube_rows(cube(flux, variance), slice(100, 140))
    assert rows == slice(0, 2)
    assert np.argwhere(spectra.ivar == 0).tolist() == [[0, 5], [39, 5]]


def test_lines_whose_windows_overlap_share_one():
    axis = cube(np.zeros((WAVE.size, 1, 1)), np.ones((WAVE.size, 1, 1)))
    alone, pair = line_windows(axis, LINES, ["SII6731", "Ha6563", "SII6716"])
    assert (alone.n_wanted, pair.n_wanted) == (1, 2)
    assert alone.lines.size == 3
    assert pair.lines[-2:] == pytest.approx([6716.44, 6730.815], abs=0.01)
    assert axis.wave[pair.waves][[0, -1]] == pytest.approx([6676.4, 6770.8], abs=1.3)


def test_a_line_outside_or_unknown_is_refused():
    axis = cube(np.zeros((WAVE.size, 1, 1)), np.ones((WAVE.size, 1, 1)))
    with pytest.raises(InputError, match=r"OIII5007 lies at 5006\.8 A at redshift 0, outside"):
        line_windows(axis, LINES, ["SII6731", "OIII5007"])
    with pytest.raises(ConfigError, match="'Xx1' is not in the set 'standard'"):
        line_windows(axis, LINES, ["Xx1"])


def test_wavelengths_too_coarse_for_a_line_are_refused():
    coarse = 6400.0 + 15.0 * np.arange(40)
    axis = cube(np.zeros((40, 1, 1)), np.ones((40, 1, 1)), coarse)
    with pytest.raises(InputError, match="there are 5 wavelengths within 40 A of SII6731"):
        line_windows(axis, LINES, ["SII6731"])


@given(
    values=st.lists(st.sampled_from([np.nan, -7.4, -7.6, 0.0, 2.4, 2.6, 12.0]), max_size=12),
)
def test_rows_of_a_step_come_once_and_together(values):
    flux = np.arange(3.0 * len(values)).reshape(3, -1)
    groups = list(rows_by_step(Rows(flux, flux + 1), np.array(values), step=5.0))
    seen = np.concatenate([index for index, _, _ in groups]) if groups else np.empty(0)
    assert sorted(seen) == list(np.flatnonzero(np.isfinite(values)))
    assert len({place for _, _, place in groups}) == len(groups)
    for index, some, (place,) in groups:
        np.testing.assert_allclose(np.array(values)[index], place, atol=2.5)
        np.testing.assert_array_equal(some.flux, flux[:, index])


@given(values=st.lists(st.floats(-1e3, 1e3) | st.just(np.nan), min_size=1, max_size=9))
def test_the_median_leaves_out_what_is_not_known(values):
    column = np.array(values)[:, None]
    expected = np.nanmedian(column) if np.isfinite(column).any() else 0.0
    assert median(column)[0] == pytest.approx(expected)
