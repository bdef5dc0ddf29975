"""Spectra that are no galaxy, and bases that do not fit: a flag or a sentence from any engine."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.continuum import ppxf_stand_in

from betis.continuum.engines import continuum_engine
from betis.errors import ConfigError, FitError, InputError
from betis.extinction import extinction_curve
from betis.flags import Flag
from betis.options import ContinuumOptions
from betis.products import Spectra

SNR = 30.0
FAILED = Flag.FIT_FAILED | Flag.NO_DATA | Flag.FEW_PIXELS | Flag.NOT_CONVERGED
PER_ROW = ("velocity", "velocity_err", "sigma", "sigma_err", "av", "av_err", "chi2", "dof")


@pytest.fixture(params=["templates", "ppxf", "stand-in", "polynomial"])
def engine_of(request, monkeypatch, templates):
    """What makes an engine for an axis; pPXF itself, where it is installed, and its stand-in."""
    name = request.param
    if name == "ppxf":
        pytest.importorskip("ppxf", reason="the extra betis[ppxf] is not installed")
    if name == "stand-in":
        monkeypatch.setitem(sys.modules, "ppxf", ppxf_stand_in.module())
        monkeypatch.setitem(sys.modules, "ppxf.ppxf", ppxf_stand_in.module())

    def make(spectra, base=templates, **options):
        kind = "ppxf" if name == "stand-in" else name
        return continuum_engine(
            spectra,
            ContinuumOptions(engine=kind, **options),
            base=lambda: base,
            dust=lambda: extinction_curve("CCM89", spectra.wave),
            line_waves=np.array([4861.33, 5006.84]),
        )

    make.has_stars = name != "polynomial"
    return make


def odd_rows(templates, tools):
    """One row each, the first an ordinary galaxy."""
    wave = tools["wave"]
    rng = np.random.default_rng(11)
    noise = rng.normal(0, 1 / SNR, wave.size)
    galaxy = tools["mock_flux"](templates, {5: 1, 12: 1}, 60.0, 120.0, 0.4)
    broad = sum(
        height * np.exp(-0.5 * ((wave / place - 1) * 299792.458 / 2500) ** 2)
        for place, height in ((4861.0, 3.0), (5876.0, 1.0))
    )
    return {
        "galaxy": galaxy + noise,
        "flat": np.ones(wave.size),
        "flat and noisy": 1 + noise,
        "nothing but noise": noise,
        "S/N 1": galaxy + SNR * noise,
        "negative": -galaxy + noise,
        "zero": np.zeros(wave.size),
        "half is masked": np.where(np.arange(wave.size) % 2, galaxy + noise, np.nan),
        "one half is masked": np.where(wave < wave.mean(), galaxy + noise, np.nan),
        "a star": tools["mock_flux"](templates, {4: 1}, 0.0, 1.0, 0.0) + noise,
        "a quasar": (wave / 5000) ** -1.5 + broad + noise,
        "steps": 1 + 0.5 * (np.arange(wave.size) // 100 % 2) + noise,
        "one spike": np.where(np.arange(wave.size) == 500, 1e6, galaxy + noise),
        "huge": 1e30 * (galaxy + noise),
        "all NaN": np.full(wave.size, np.nan),
        "one pixel": np.where(np.arange(wave.size) == 500, 1.0, np.nan),
        "49 pixels": np.where(np.arange(wave.size) < 49, 1.0, np.nan),
    }


def test_no_spectrum_stops_the_others_or_is_passed_over_in_silence(engine_of, templates, tools):
    rows = odd_rows(templates, tools)
    names = list(rows)
    error = np.where(np.array(names) == "huge", 1e30, 1.0) / SNR
    spectra = tools["as_spectra"](np.array(list(rows.values())), error[:, None])
    seen = []
    fit = engine_of(spectra)(spectra, seen.append)
    assert sum(seen) == len(names)
    said = {name: Flag(int(flag)) for name, flag in zip(names, fit.flags, strict=True)}
    assert said["galaxy"] == 0
    assert said["all NaN"] == Flag.NO_DATA
    assert said["one pixel"] == said["49 pixels"] == Flag.FEW_PIXELS
    for number, name in enumerate(names):
        is_finite = np.isfinite(fit.model[number]).all()
        assert is_finite or said[name] & FAILED, name
        assert np.isfinite(fit.chi2[number]) or said[name] & FAILED, name
        assert not np.isinf([getattr(fit, one)[number] for one in PER_ROW]).any(), name
    alone = engine_of(spectra)(spectra.take(slice(0, 1)))
    np.testing.assert_allclose(alone.model[0], fit.model[0], rtol=1e-6)


def test_what_is_not_like_stars_is_flagged(engine_of, templates, tools):
    rows = odd_rows(templates, tools)
    strange = ["negative", "a quasar", "steps"]
    spectra = tools["as_spectra"](np.array([rows[name] for name in strange]), 1 / SNR)
    fit = engine_of(spectra, degree=1)(spectra)
    worth = FAILED | Flag.BAD_CHI2 | Flag.AT_BOUND
    assert np.all(fit.flags[1:] & worth)
    if engine_of.has_stars:
        assert fit.flags[0] & Flag.FIT_FAILED


def test_noise_alone_changes_what_is_found_no_more_than_it_says(engine_of, templates, tools):
    """At S/N 1 a velocity is hardly known, and its error has to say so."""
    rows = odd_rows(templates, tools)
    spectra = tools["as_spectra"](rows["S/N 1"], 1.0)
    fit = engine_of(spectra)(spectra)
    assert fit.chi2[0] / fit.dof[0] == pytest.approx(1.0, abs=0.2)
    if engine_of.has_stars:
        known = abs(fit.velocity[0] - 60) < 5 * fit.velocity_err[0]
        assert known or fit.flags[0] & (Flag.AT_BOUND | Flag.FIT_FAILED)


def test_an_axis_of_few_pixels_is_a_sentence(engine_of):
    few = Spectra(5000.0 + np.arange(20.0), np.ones((1, 20)), np.full((1, 20), 0.1), lsf=2.5)
    with pytest.raises(
        FitError, match="pixels are left for the continuum fit, where 50 are needed"
    ):
        engine_of(few)


def test_an_axis_of_one_pixel_is_a_sentence():
    with pytest.raises(InputError, match="a strictly increasing list of at least 2 values"):
        Spectra(np.array([5000.0]), np.ones((1, 1)), np.ones((1, 1)))


def test_a_resolution_that_no_instrument_has_is_no_hang(engine_of, templates, tools):
    """A MaNGA spectrum states a resolving power of 1.4 at its ends."""
    wave = tools["wave"]
    flux = tools["mock_flux"](templates, {5: 1, 12: 1}, 60.0, 120.0, 0.4)
    lsf = np.where(wave > wave[-60], 4000.0, 2.5)
    mask = np.broadcast_to(lsf > 3, (1, wave.size))
    noise = np.random.default_rng(3).normal(0, 1 / SNR, wave.size)
    spectra = replace(tools["as_spectra"](flux + noise, 1 / SNR, mask), lsf=lsf)
    fit = engine_of(spectra)(spectra)
    assert np.isfinite(fit.model[0, : wave.size // 2]).all()
    if engine_of.has_stars:
        assert abs(fit.velocity[0] - 60) < 5 * fit.velocity_err[0]


class TestBases:
    @pytest.fixture(autouse=True)
    def _with_stars(self, engine_of):
        if not engine_of.has_stars:
            pytest.skip("a polynomial has no base")

    def shifted(self, templates, factor):
        return replace(templates, wave=templates.wave * factor)

    def test_one_that_does_not_meet_the_spectra(self, engine_of, templates, tools):
        spectra = tools["as_spectra"](np.ones((1, tools["wave"].size)), 0.1)
        with pytest.raises(FitError, match="nothing in common; check the redshift"):
            engine_of(spectra, self.shifted(templates, 3.0))

    def test_one_that_covers_a_part(self, engine_of, templates, tools):
        """The model is NaN where there is no base, and no pixel there is used."""
        wave = tools["wave"]
        flux = tools["mock_flux"](templates, {5: 1, 12: 1}, 60.0, 120.0, 0.4)
        spectra = tools["as_spectra"](flux + 0 * wave, 0.02)
        inside = templates.wave > 5200
        part = replace(
            templates,
            wave=templates.wave[inside],
            flux=templates.flux[:, inside],
            fwhm=templates.fwhm[inside],
        )
        fit = engine_of(spectra, part)(spectra)
        assert np.isnan(fit.model[0, wave < 5195]).all()
        assert np.isfinite(fit.model[0, wave > 5205]).all()
        assert not fit.used[0, wave < 5200].any()
        assert abs(fit.velocity[0] - 60) < 15

    def test_an_empty_one(self, engine_of, templates, tools):
        spectra = tools["as_spectra"](np.ones((1, tools["wave"].size)), 0.1)
        empty = replace(
            templates,
            flux=templates.flux[:0],
            age=templates.age[:0],
            metallicity=templates.metallicity[:0],
            mass_fraction=templates.mass_fraction[:0],
        )
        with pytest.raises(InputError, match="at least one template of four pixels is needed"):
            engine_of(spectra, empty)

    def test_a_single_template(self, engine_of, templates, tools):
        one = replace(
            templates,
            flux=templates.flux[8:9],
            age=templates.age[8:9],
            metallicity=templates.metallicity[8:9],
            mass_fraction=templates.mass_fraction[8:9],
        )
        flux = tools["mock_flux"](templates, {8: 1}, 60.0, 120.0, 0.4)
        noise = np.random.default_rng(2).normal(0, 1 / SNR, flux.size)
        spectra = tools["as_spectra"](flux + noise, 1 / SNR)
        fit = engine_of(spectra, one)(spectra)
        assert abs(fit.velocity[0] - 60) < 5 * fit.velocity_err[0]
        assert fit.mean_log_age_light[0] == pytest.approx(np.log10(one.age[0]))


def test_an_engine_that_is_none_of_these_is_refused(templates, tools):
    spectra = tools["as_spectra"](np.ones((1, tools["wave"].size)), 0.1)
    options = ContinuumOptions(engine="starlight")
    with pytest.raises(ConfigError, match="the continuum engine is 'starlight', where one of"):
        continuum_engine(
            spectra,
            options,
            base=lambda: templates,
            dust=lambda: extinction_curve("CCM89", spectra.wave),
            line_waves=np.empty(0),
        )


@pytest.mark.parametrize("name", ["polynomial", "none"])
def test_kinematics_of_neighbourhoods_need_stars(templates, tools, name):
    spectra = tools["as_spectra"](np.ones((1, tools["wave"].size)), 0.1)
    options = ContinuumOptions(engine=name, kinematics="coarse")
    with pytest.raises(ConfigError, match=r"'coarse' with the engine .* cannot hold a velocity"):
        continuum_engine(
            spectra,
            options,
            base=lambda: templates,
            dust=lambda: extinction_curve("CCM89", spectra.wave),
            line_waves=np.empty(0),
        )
