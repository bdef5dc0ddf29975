"""A base brought to the data: against a dense sum, and what cannot be brought."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

import betis
from betis.continuum.model import Grid, evaluate
from betis.continuum.templates import Range, prepare_base, template_broader_share
from betis.errors import FitError, InputError
from betis.extinction import extinction_curve
from betis.wavelength import C_KMS, rest_wave

BOUNDS = Range(500.0, 400.0, 0.0, 4.0)


@pytest.fixture(scope="module")
def spectra(tools):
    return tools["as_spectra"](np.ones(tools["wave"].size), 1.0)


def prepare(templates, spectra, dust=None):
    curve = extinction_curve("CCM89", spectra.wave) if dust is None else dust
    return prepare_base(templates, spectra, curve, BOUNDS)


@pytest.mark.parametrize("medium", ["air", "vacuum"])
@pytest.mark.parametrize(("velocity", "sigma"), [(0.0, 30.0), (437.0, 90.0), (-311.0, 250.0)])
def test_model_is_the_dense_sum_to_a_thousandth(templates, spectra, tools, medium, velocity, sigma):
    base = prepare(templates, replace(spectra, medium=medium))
    shift = C_KMS * np.log1p(velocity / C_KMS)
    for number in (0, 8, 18):
        light = np.eye(templates.n_template)[number]
        params = np.array([shift, sigma**2, 0.7])
        model = np.asarray(evaluate(Grid(*base.grid), params, light))[base.covered]
        mock = tools["mock_flux"](templates, {number: 1}, velocity, sigma, 0.7, medium=medium)
        mock = mock[base.covered] * np.median(model / mock[base.covered])
        assert np.abs(model / mock - 1).max() < 1e-3


def test_weights_are_light_at_the_normalisation(templates, spectra):
    base = prepare(templates, spectra)
    light = np.ones(templates.n_template)
    model = np.asarray(evaluate(Grid(*base.grid), np.array([0.0, 50.0**2, 0.0]), light))
    window = np.abs(spectra.wave - base.norm_wave) < 45
    assert np.median(model[window]) == pytest.approx(light.sum(), rel=0.03)


def test_a_template_broader_than_the_data_is_left_as_it_is(templates, spectra):
    smooth = gaussian_filter1d(templates.flux, 4.0 / 2.3548, axis=1)
    broad = replace(templates, flux=smooth, fwhm=np.full(templates.wave.size, 4.0))
    base = prepare(broad, replace(spectra, lsf=np.zeros(spectra.wave.size)))
    light = np.eye(templates.n_template)[8]
    model = np.asarray(evaluate(Grid(*base.grid), np.zeros(3), light))[base.covered]
    axis = rest_wave(templates.wave, "air", spectra.redshift)
    plain = np.interp(spectra.wave[base.covered], axis, smooth[8] / base.normalisation[8])
    assert np.std(model / plain) < 0.003
    assert template_broader_share(broad, spectra) == 1.0
    assert template_broader_share(templates, spectra) == 0.0


def test_pixels_without_a_dust_law_or_a_base_are_not_covered(templates, spectra):
    dust = np.ones(spectra.wave.size)
    dust[:7] = np.nan
    assert not prepare(templates, spectra, dust).has_flux[:7].any()
    half = templates.wave < 5500
    cut = replace(
        templates,
        wave=templates.wave[half],
        flux=templates.flux[:, half],
        fwhm=templates.fwhm[half],
    )
    base = prepare(cut, spectra)
    assert base.has_flux.sum() == np.sum(spectra.wave < rest_wave(cut.wave[-1], "air", 0.02))
    assert 0 < base.covered.sum() < base.has_flux.sum()


class TestWhatCannotBeBrought:
    def test_no_overlap(self, templates, spectra):
        far = replace(templates, wave=templates.wave * 10)
        with pytest.raises(FitError, match=r"spans 36.* and the spectra 4700 to 6199"):
            prepare(far, spectra)

    def test_empty_base(self, templates, spectra):
        empty = replace(templates, flux=np.zeros((0, templates.wave.size)))
        with pytest.raises(InputError, match=r"flux of shape \(0, \d+\), where at least one"):
            prepare(empty, spectra)

    def test_dark_template(self, templates, spectra):
        dark = replace(templates, flux=templates.flux * np.arange(templates.n_template)[:, None])
        with pytest.raises(InputError, match="1 templates of the base 'bpass' have no positive"):
            prepare(dark, spectra)

    def test_flux_that_is_not_finite(self, templates, spectra):
        flux = templates.flux.copy()
        flux[2, 5] = np.nan
        with pytest.raises(InputError, match="holds flux that is not finite"):
            prepare(replace(templates, flux=flux), spectra)

    def test_no_spectra(self, templates, spectra):
        with pytest.raises(InputError, match="there is no spectrum to fit"):
            betis.fit_continuum(spectra.take(slice(0)), templates)
