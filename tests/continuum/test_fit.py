"""The engine on mocks of known truth, and the laws it keeps."""

from dataclasses import fields, replace

import numpy as np
import pytest

from betis import compute
from betis.continuum.fit import no_continuum
from betis.errors import FitError
from betis.flags import Flag
from betis.options import ContinuumOptions

HB = 4861.33


def all_fields(fit):
    """Those with a row a spectrum."""
    return {item.name: getattr(fit, item.name) for item in fields(fit) if item.name != "core_wave"}


def assert_same(one, other, rtol=1e-8):
    for name, value in all_fields(one).items():
        np.testing.assert_allclose(
            value, getattr(other, name), rtol=rtol, atol=1e-8, equal_nan=True, err_msg=name
        )


class TestTruth:
    def test_velocity_dispersion_and_extinction_come_out(self, galaxy):
        fit, truth = galaxy.fit, galaxy.truth
        assert abs(np.mean(fit.velocity - truth[:, 0])) < 3.0
        assert abs(np.median(fit.sigma - truth[:, 1])) < 5.0
        assert abs(np.median(fit.av - truth[:, 2])) < 0.05
        assert not np.any(fit.flags & (Flag.NOT_CONVERGED | Flag.FIT_FAILED | Flag.BAD_CHI2))

    def test_errors_are_those_of_the_scatter(self, galaxy):
        fit, truth = galaxy.fit, galaxy.truth
        free = (fit.flags & Flag.AT_BOUND) == 0
        pairs = [(fit.velocity, fit.velocity_err), (fit.sigma, fit.sigma_err), (fit.av, fit.av_err)]
        for column, (value, error) in enumerate(pairs):
            pull = ((value - truth[:, column]) / error)[free]
            # 64 pulls know their width to 9 %: three of these.
            assert 0.73 < np.std(pull) < 1.27
            assert abs(np.mean(pull)) < 0.4

    def test_chi2_is_that_of_the_noise(self, galaxy):
        reduced = galaxy.fit.chi2 / galaxy.fit.dof
        width = np.sqrt(2 / galaxy.fit.dof[0] / reduced.size)
        assert np.mean(reduced) == pytest.approx(1.0, abs=5 * width)

    def test_balmer_absorption_below_an_emission_line(self, galaxy, tools):
        wave = tools["wave"]
        clean = galaxy.clean[:32]
        noise = np.random.default_rng(1).normal(0, 1 / 100, clean.shape)
        line = 5.0 * np.exp(-0.5 * ((wave - HB) / 2.0) ** 2)
        spectra = tools["as_spectra"](clean + noise + line, 1 / 100)
        fit = tools["run"](spectra, galaxy.templates, line_waves=[HB])
        near = np.abs(wave / HB - 1) * 299792.458 < 600
        assert not fit.used[:, near].any()
        ratio = fit.model[:, near].mean(axis=1) / clean[:, near].mean(axis=1)
        assert np.mean(ratio) == pytest.approx(1.0, abs=0.002)
        assert np.sqrt(np.mean((ratio - 1) ** 2)) < 0.01

    def test_air_and_vacuum_give_the_same_velocity(self, templates, tools):
        found = {}
        for medium in ("air", "vacuum"):
            flux = tools["mock_flux"](templates, {5: 1, 12: 1}, 60.0, 120.0, 0.4, medium=medium)
            spectra = tools["as_spectra"](flux, 0.01, medium=medium)
            found[medium] = tools["run"](spectra, templates).velocity[0]
        assert found["air"] == pytest.approx(found["vacuum"], abs=0.3)
        assert found["air"] == pytest.approx(60.0, abs=0.3)

    @pytest.mark.parametrize("velocity", [-430.0, -120.0, 0.0, 275.0, 430.0])
    def test_what_is_shifted_is_found_there(self, templates, tools, velocity):
        flux = tools["mock_flux"](templates, {5: 1, 12: 1}, velocity, 120.0, 0.4)
        fit = tools["run"](tools["as_spectra"](flux, 0.01), templates)
        assert fit.velocity[0] == pytest.approx(velocity, abs=0.5)
        assert fit.sigma[0] == pytest.approx(120.0, abs=1.0)
        assert fit.av[0] == pytest.approx(0.4, abs=0.01)


class TestLaws:
    def test_scaling_the_data_scales_the_model_and_nothing_else(self, galaxy):
        rows, factor = slice(0, 8), 3.7e-17
        spectra = galaxy.spectra.take(rows)
        scaled = galaxy.refit(rows, flux=spectra.flux * factor, error=spectra.error * factor)
        plain = galaxy.refit(rows)
        assert_same(
            replace(scaled, model=scaled.model / factor, weights=scaled.weights / factor),
            plain,
            rtol=1e-6,
        )

    def test_order_and_number_of_rows_change_nothing(self, galaxy):
        rows = np.array([17, 3, 40])
        few = galaxy.refit(rows)
        for name, value in all_fields(galaxy.fit).items():
            np.testing.assert_allclose(
                getattr(few, name), value[rows], rtol=1e-8, atol=1e-8, err_msg=name
            )

    def test_any_number_of_rows_is_one_program(self, galaxy):
        n_compiled = compute.programs_made()
        for count in (1, 2, 13):
            galaxy.refit(slice(0, count))
        assert compute.programs_made() == n_compiled > 0

    def test_masked_pixels_have_no_influence(self, galaxy):
        rows = slice(0, 4)
        spectra = galaxy.spectra.take(rows)
        mask = np.zeros(spectra.flux.shape, bool)
        mask[:, 300:420] = True
        wild = np.where(mask, 1e6, spectra.flux)
        assert_same(galaxy.refit(rows, mask=mask), galaxy.refit(rows, flux=wild, mask=mask))

    def test_bad_rows_change_no_other(self, galaxy):
        spectra = galaxy.spectra.take(np.array([5, 6, 7, 8, 9, 10, 11]))
        flux, mask = spectra.flux.copy(), spectra.mask.copy()
        flux[0] = np.nan
        mask[1, 30:] = True
        flux[2] = 1.0
        flux[3] = -1.0
        mask[4, ::2] = True
        flux[5] += 40 * np.random.default_rng(0).normal(size=flux.shape[1]) / 40
        fit = galaxy.refit(np.arange(5, 12), flux=flux, mask=mask)
        flags = fit.flags
        assert flags[0] == Flag.NO_DATA
        assert flags[1] == Flag.FEW_PIXELS
        assert np.isnan(fit.model[:2]).all()
        assert np.isnan(fit.velocity[:2]).all()
        assert flags[3] & Flag.FIT_FAILED
        assert np.all(fit.model[3] == 0)
        assert np.isnan(fit.velocity[3])
        assert np.isfinite(fit.model[2:]).all()
        assert abs(fit.velocity[4] - galaxy.truth[9, 0]) < 6 * fit.velocity_err[4]
        np.testing.assert_allclose(fit.model[6], galaxy.fit.model[11], rtol=1e-8)

    def test_model_is_finite_at_every_pixel_of_the_base(self, galaxy):
        assert np.isfinite(galaxy.fit.model).all()

    def test_rows_finished_are_reported_once(self, galaxy, tools):
        seen = []
        spectra = galaxy.spectra.take(slice(0, 11))
        flux = spectra.flux.copy()
        flux[2] = np.nan
        tools["run"](replace(spectra, flux=flux), galaxy.templates, progress=seen.append)
        assert sum(seen) == 11


class TestMasks:
    def test_outliers_are_clipped_and_do_not_move_the_fit(self, galaxy):
        rows = slice(0, 4)
        flux = galaxy.spectra.flux[rows].copy()
        flux[:, 150:900:50] += 3.0
        fit = galaxy.refit(rows, flux=flux)
        assert not fit.used[:, 150:900:50].any()
        moved = np.abs(fit.velocity - galaxy.fit.velocity[rows])
        assert np.all(moved < 2 * galaxy.fit.velocity_err[rows])

    def test_ranges_and_windows_are_left_out(self, galaxy, tools):
        wave = tools["wave"]
        window = np.abs(wave - 5577) < 10
        spectra = replace(galaxy.spectra.take(slice(0, 2)), sky_window=window)
        options = ContinuumOptions(min_wave=4800, max_wave=6000)
        fit = tools["run"](spectra, galaxy.templates, options)
        allowed = (wave >= 4800) & (wave <= 6000) & ~window
        assert not fit.used[:, ~allowed].any()
        assert fit.used[:, allowed].mean() > 0.99

    def test_nothing_left_is_an_error(self, galaxy, tools):
        options = ContinuumOptions(min_wave=4800, max_wave=4830)
        with pytest.raises(FitError, match="only 25 pixels are left for the continuum fit"):
            tools["run"](galaxy.spectra, galaxy.templates, options)

    def test_bounds_are_kept_and_flagged(self, galaxy, tools):
        options = ContinuumOptions(max_av=0.1)
        rows = np.flatnonzero(galaxy.truth[:, 2] > 0.9)[:3]
        fit = tools["run"](galaxy.spectra.take(rows), galaxy.templates, options)
        assert np.all(fit.av <= 0.1)
        assert np.all(fit.flags & Flag.AT_BOUND)
        assert np.isfinite(fit.velocity_err).all()


def test_no_continuum_is_zero_everywhere(galaxy):
    fit = no_continuum(galaxy.spectra)
    assert np.all(fit.model == 0)
    assert fit.weights.shape == (64, 0)
    assert np.isnan(fit.velocity).all()
    assert np.all(fit.flags == 0)
    np.testing.assert_array_equal(galaxy.spectra.subtract(fit).flux, galaxy.spectra.flux)
