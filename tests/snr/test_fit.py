"""The fits of many spectra at once are those of numpy one by one; what does not fit is left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cubes import WAVE, cube

from betis.linelist import load_line_set
from betis.snr.fit import fit_rows, line_design, wanted_flux, weigh
from betis.snr.window import Rows, line_windows

AXIS = cube(np.zeros((WAVE.size, 1, 1)), np.ones((WAVE.size, 1, 1)))
LINES = load_line_set()


def window(*names):
    return line_windows(AXIS, LINES, names)[0]


def noisy(n_wave, n_row, seed, masked=0.1):
    rng = np.random.default_rng(seed)
    error = rng.uniform(0.5, 2.0, (n_wave, n_row))
    ivar = np.where(rng.random((n_wave, n_row)) < masked, 0.0, 1 / error**2)
    return Rows(rng.normal(0, error) + 20.0, ivar)


def by_numpy(design, rows, row):
    """Sum of the wanted lines and its error, by the pseudo-inverse of columns of unit length."""
    root = np.sqrt(rows.ivar[:, row])
    matrix = (design.columns * root).T
    length = np.maximum(np.linalg.norm(matrix, axis=0), 1e-100)
    inverse = np.linalg.pinv(matrix / length, rcond=1e-12) / length[:, None]
    wanted = inverse[-design.n_wanted :].sum(axis=0)
    return wanted @ (root * rows.flux[:, row]), np.linalg.norm(wanted)


@pytest.mark.parametrize(
    "names", [("SII6731",), ("SII6716", "SII6731"), ("Ha6563",), ("NII6548", "Ha6563", "NII6583")]
)
@given(velocity=st.floats(-400, 400), sigma=st.floats(5, 200), seed=st.integers(0, 999))
def test_flux_and_error_are_those_of_least_squares(names, velocity, sigma, seed):
    design = line_design(window(*names), velocity, sigma)
    rows = noisy(design.columns.shape[1], 5, seed)
    fit = fit_rows(design, Rows(rows.flux, rows.ivar.copy()))
    for row in np.flatnonzero(np.isfinite(fit.signal)):
        signal, noise = by_numpy(design, rows, row)
        assert fit.signal[row] == pytest.approx(signal, rel=1e-6, abs=1e-6 * noise)
        assert fit.noise[row] == pytest.approx(noise, rel=1e-6)


def test_single_precision_is_enough_to_find_a_velocity():
    design = line_design(window("Ha6563"), 100.0, 50.0)
    rows = noisy(design.columns.shape[1], 200, 3)
    one, other = (wanted_flux(design, weigh(rows, kind)) for kind in (np.float64, np.float32))
    np.testing.assert_allclose(one[1], other[1], rtol=1e-4)
    np.testing.assert_allclose(one[0] * np.sqrt(one[1]), other[0] * np.sqrt(one[1]), atol=1e-3)


def test_a_spectrum_without_good_pixels_under_the_line_has_no_flux():
    design = line_design(window("SII6731"), 0.0, 30.0)
    rows = noisy(design.columns.shape[1], 3, 1, masked=0.0)
    rows.ivar[design.columns[-1] > 0.2 * design.columns[-1].max(), 1] = 0.0
    rows.ivar[12:, 2] = 0.0
    fit = fit_rows(design, rows)
    assert np.isfinite(fit.signal).tolist() == [True, False, False]
    assert np.isfinite(fit.noise).tolist() == [True, False, False]
    assert wanted_flux(design, weigh(rows))[1][1:].tolist() == [0.0, 0.0]


def test_each_of_the_wanted_lines_must_have_good_pixels():
    design = line_design(window("SII6716", "SII6731"), 0.0, 30.0)
    rows = noisy(design.columns.shape[1], 1, 1, masked=0.0)
    rows.ivar[design.columns[-2] > 0.2 * design.columns[-2].max(), 0] = 0.0
    assert np.isnan(fit_rows(design, rows).signal[0])


@given(
    first=st.integers(0, 60),
    width=st.integers(1, 4),
    size=st.sampled_from([-1e4, 40.0, 1e3]),
    noise=st.sampled_from(["variance", "scatter"]),
)
def test_pixels_that_fit_nothing_are_left_out_beside_the_line_only(first, width, size, noise):
    design = line_design(window("SII6731"), 0.0, 50.0)
    rows = noisy(design.columns.shape[1], 1, 7, masked=0.0)
    clean = fit_rows(design, Rows(rows.flux, rows.ivar.copy()), noise)
    where = np.zeros(design.free.size, dtype=bool)
    where[first : first + width] = True
    where &= design.free
    bad = rows.flux + size * where[:, None]
    spoiled = Rows(bad, rows.ivar.copy())
    fit = fit_rows(design, spoiled, noise)
    assert (spoiled.ivar[where] == 0).all()
    assert (spoiled.ivar[~design.free] > 0).all()
    assert (spoiled.ivar == 0).sum() <= where.sum() + 2
    assert abs(fit.signal[0] - clean.signal[0]) < 1.5 * clean.noise[0]
    assert fit.noise[0] == pytest.approx(clean.noise[0], rel=0.35)


def test_a_bright_continuum_that_is_no_line_keeps_its_pixels():
    design = line_design(window("SII6731"), 0.0, 50.0)
    n_wave = design.columns.shape[1]
    wiggle = 300 + 20 * np.sin(np.arange(n_wave) / 3.0)
    rows = Rows(np.repeat(wiggle[:, None], 2, axis=1), np.ones((n_wave, 2)))
    fit_rows(design, rows)
    assert (rows.ivar > 0).all()


def test_on_noise_the_scatter_of_few_pixels_gives_unit_variance_too():
    coarse = 6400.0 + 4.0 * np.arange(130)
    axis = cube(np.zeros((130, 1, 1)), np.ones((130, 1, 1)), coarse)
    design = line_design(line_windows(axis, LINES, ["SII6716"])[0], 0.0, 50.0)
    assert design.free.sum() < 16
    rows = noisy(design.columns.shape[1], 40000, 5, masked=0.0)
    fit = fit_rows(design, rows, "scatter")
    assert (fit.signal / fit.noise).std() == pytest.approx(1.0, abs=0.03)
