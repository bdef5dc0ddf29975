"""The engine polynomial: laws of weighted least squares, and the outliers it leaves out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import Legendre

from betis.continuum.polynomial import polynomial_engine
from betis.errors import FitError
from betis.flags import Flag
from betis.options import ContinuumOptions
from betis.products import Spectra
from betis.wavelength import C_KMS

WAVE = 4700.0 + 1.25 * np.arange(900)
LINES = np.array([4861.3, 5006.8])
NO_LINES = np.empty(0)


def rows(flux, error=0.02, wave=WAVE, **others):
    flux = np.atleast_2d(flux)
    return Spectra(wave, flux, np.broadcast_to(error, flux.shape), **others)


def fit(spectra, lines=NO_LINES, progress=None, **options):
    return polynomial_engine(spectra, ContinuumOptions(**options), line_waves=lines)(
        spectra, progress
    )


@given(
    coefficients=st.lists(st.floats(-1, 1), min_size=1, max_size=9),
    extra=st.integers(0, 3),
    scale=st.sampled_from([1.0, 1e-20, 1e17]),
)
def test_a_polynomial_is_its_own_continuum(coefficients, extra, scale):
    truth = scale * (3 + Legendre(coefficients, domain=[WAVE[0], WAVE[-1]])(WAVE))
    found = fit(rows(truth, 0.02 * scale), degree=len(coefficients) - 1 + extra)
    np.testing.assert_allclose(found.model[0], truth, rtol=1e-9, atol=1e-9 * scale)
    assert found.flags[0] == 0


def test_it_is_the_solution_of_weighted_least_squares():
    rng = np.random.default_rng(1)
    error = rng.uniform(0.5, 2, WAVE.size)
    flux = 3 + np.sin(WAVE / 300) + error * rng.normal(size=WAVE.size)
    found = fit(rows(flux, error), degree=5, clip=0)
    peer = Legendre.fit(WAVE, flux, 5, w=1 / error)(WAVE)
    np.testing.assert_allclose(found.model[0], peer, rtol=1e-9)
    assert found.chi2[0] == pytest.approx(np.sum(((flux - peer) / error) ** 2), rel=1e-12)
    assert found.dof[0] == WAVE.size - 6


def test_rows_of_any_scale_do_not_meet():
    rng = np.random.default_rng(2)
    flux = 3 + rng.normal(0, 0.02, (5, WAVE.size))
    together = fit(rows(flux))
    flux[1] *= 1e12
    flux[3] = np.nan
    mixed = fit(rows(flux))
    np.testing.assert_array_equal(mixed.model[[0, 2, 4]], together.model[[0, 2, 4]])
    assert mixed.flags[3] == Flag.NO_DATA
    assert np.isnan(mixed.model[3]).all()
    assert np.isnan(mixed.chi2[3])


def test_outliers_are_left_out_round_after_round():
    rng = np.random.default_rng(3)
    clean = 2 + (WAVE - WAVE[0]) / 2000
    flux = clean + rng.normal(0, 0.02, WAVE.size)
    bad = rng.choice(WAVE.size, 40, replace=False)
    wild = flux.copy()
    wild[bad] += rng.choice([0.5, 20.0, 4000.0], 40)
    found = fit(rows(wild))
    assert not found.used[0, bad].any()
    assert found.used[0].sum() > WAVE.size - 45
    assert np.max(np.abs(found.model[0] - clean)) < 0.01


def test_emission_lines_are_not_part_of_the_continuum():
    line = 5 * np.exp(-0.5 * ((WAVE - LINES[0]) / 1.5) ** 2)
    found = fit(rows(2 + line), LINES, clip=0)
    near = np.abs(WAVE / LINES[0] - 1) * C_KMS <= 600
    assert not found.used[0, near].any()
    np.testing.assert_allclose(found.model[0], 2, rtol=1e-7)


def test_the_error_of_the_depth_under_a_line_is_its_scatter():
    rng = np.random.default_rng(4)
    spectra = rows(3 + rng.normal(0, 0.05, (600, WAVE.size)), 0.05)
    found = fit(spectra, LINES, degree=8, clip=0)
    center = np.abs(WAVE / LINES[0] - 1) * C_KMS
    core = center < 150
    around = (np.abs(WAVE - LINES[0]) < 30) & (center > 300)
    depth = found.model[:, core].mean(axis=1) - found.model[:, around].mean(axis=1)
    assert list(found.core_wave) == pytest.approx(list(LINES))
    # 600 depths know their scatter to 3 %.
    assert np.std(depth) == pytest.approx(found.core_err[0, 0], rel=0.12)


def test_across_a_gap_both_sides_are_met_and_nothing_runs_away():
    wave = np.concatenate([WAVE[:300], 6300 + 0.6 * np.arange(500)])
    truth = 1 + 0.3 * np.cos((wave - 4700) / 900)
    noise = np.random.default_rng(5).normal(0, 0.01, wave.size)
    found = fit(rows(truth + noise, 0.01, wave), degree=4)
    assert found.chi2[0] / found.dof[0] < 1.2
    assert np.max(np.abs(found.model[0] - truth)) < 0.02


def test_outside_the_range_it_stays_at_its_end():
    flux = 1 + ((WAVE - 5000) / 200) ** 2
    found = fit(rows(flux), min_wave=4900, max_wave=5100, degree=12)
    inside = (WAVE >= 4900) & (WAVE <= 5100)
    assert np.all(found.model[0] <= found.model[0, inside].max() + 1e-9)
    assert not found.used[0, ~inside].any()


def test_there_are_no_stars_in_it():
    seen = []
    found = fit(rows(np.full((3, WAVE.size), 2.0)), progress=seen.append)
    for name in ("velocity", "sigma", "av", "velocity_err", "mean_log_age_light"):
        assert np.isnan(getattr(found, name)).all()
    assert found.weights.shape == (3, 0)
    assert sum(seen) == 3


def test_too_few_pixels_are_flagged_and_none_is_an_error():
    mask = np.ones((2, WAVE.size), bool)
    mask[0, :49] = mask[1, :50] = False
    spectra = replace(rows(np.full((2, WAVE.size), 2.0)), mask=mask)
    found = fit(spectra)
    assert found.flags[0] == Flag.FEW_PIXELS
    assert found.flags[1] == 0
    assert np.isnan(found.model[0]).all()
    np.testing.assert_allclose(found.model[1], 2.0, rtol=1e-5)
    with pytest.raises(FitError, match="only 0 pixels are left for the continuum fit"):
        fit(spectra, min_wave=9000)


def test_a_bad_model_is_said_to_be_one():
    steps = np.where(np.arange(WAVE.size) // 60 % 2, 1.0, 2.0)
    assert fit(rows(steps, 0.01), degree=1).flags[0] & Flag.BAD_CHI2
