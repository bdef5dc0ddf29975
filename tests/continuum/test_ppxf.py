"""The engine ppxf: on pPXF where it is installed, and anywhere on a stand-in for it."""

import sys

import numpy as np
import pytest
from tests.continuum import ppxf_stand_in

from betis.continuum.kinematics import Kinematics
from betis.continuum.ppxf import ppxf_engine
from betis.errors import ConfigError
from betis.extinction import extinction_curve
from betis.flags import Flag
from betis.options import ContinuumOptions

HB = 4861.33
TRUTH = (120.0, 130.0, 0.4)


@pytest.fixture(params=["stand-in", "ppxf"])
def installed(request, monkeypatch):
    """pPXF, or what stands in for it."""
    if request.param == "ppxf":
        pytest.importorskip("ppxf", reason="the extra betis[ppxf] is not installed")
    else:
        monkeypatch.setitem(sys.modules, "ppxf", ppxf_stand_in.module())
        monkeypatch.setitem(sys.modules, "ppxf.ppxf", ppxf_stand_in.module())
    return request.param


@pytest.fixture
def real(request):
    """pPXF itself."""
    return pytest.importorskip("ppxf", reason="the extra betis[ppxf] is not installed")


@pytest.fixture(scope="module")
def clean(templates, tools):
    return tools["mock_flux"](templates, {5: 1.0, 12: 1.0}, *TRUTH)


def engine(spectra, templates, lines=(), **options):
    return ppxf_engine(
        spectra,
        templates,
        ContinuumOptions(**options),
        dust=extinction_curve("CCM89", spectra.wave),
        line_waves=np.asarray(lines, dtype=float),
    )


def noisy(clean, count, snr, seed=1):
    return clean + np.random.default_rng(seed).normal(0, 1 / snr, (count, clean.size))


def test_what_was_put_in_comes_out_on_the_pixels_of_the_data(installed, clean, templates, tools):
    spectra = tools["as_spectra"](clean, 0.01)
    fit = engine(spectra, templates)(spectra)
    assert fit.velocity[0] == pytest.approx(TRUTH[0], abs=0.3)
    assert fit.sigma[0] == pytest.approx(TRUTH[1], abs=0.5)
    assert fit.av[0] == pytest.approx(TRUTH[2], abs=0.01)
    assert np.max(np.abs(fit.model[0] - clean)) < 1e-3
    assert np.argsort(fit.weights[0])[-2:].tolist() in ([5, 12], [12, 5])
    assert fit.flags[0] == 0


@pytest.mark.parametrize("medium", ["air", "vacuum"])
def test_it_agrees_with_the_native_engine_on_noisy_rows(installed, templates, tools, medium):
    clean = tools["mock_flux"](templates, {3: 1.0, 9: 1.0}, -200.0, 90.0, 0.8, medium=medium)
    spectra = tools["as_spectra"](noisy(clean, 2, 40), 1 / 40, medium=medium)
    peer = tools["run"](spectra, templates, line_waves=[HB])
    fit = engine(spectra, templates, [HB])(spectra)
    np.testing.assert_allclose(fit.chi2 / fit.dof, peer.chi2 / peer.dof, rtol=2e-3)
    assert np.all(np.abs(fit.velocity - peer.velocity) < 0.3 * peer.velocity_err)
    assert np.all(np.abs(fit.sigma - peer.sigma) < 0.4 * peer.sigma_err)
    assert np.all(np.abs(fit.av - peer.av) < 0.3 * peer.av_err)
    # Those of A(V) and of depths hang on which templates have a little light.
    for name in ("velocity_err", "sigma_err"):
        np.testing.assert_allclose(getattr(fit, name), getattr(peer, name), rtol=0.25)
    assert np.all(np.abs(np.log2(fit.core_err / peer.core_err)) < 1)
    np.testing.assert_array_equal(fit.used, peer.used)


def test_units_and_other_rows_change_nothing(installed, clean, templates, tools):
    flux = noisy(clean, 3, 30)
    fitted = engine(tools["as_spectra"](clean, 1 / 30), templates)
    plain = fitted(tools["as_spectra"](flux, 1 / 30))
    factor = np.array([[1.0], [1e-17], [1.0]])
    flux[2] = np.nan
    mixed = fitted(tools["as_spectra"](flux * factor, np.broadcast_to(factor / 30, flux.shape)))
    for name in ("velocity", "sigma", "av", "chi2", "velocity_err"):
        np.testing.assert_allclose(
            getattr(mixed, name)[:2], getattr(plain, name)[:2], rtol=1e-4, err_msg=name
        )
    np.testing.assert_allclose(mixed.model[:2] / factor[:2], plain.model[:2], rtol=1e-5)
    assert mixed.flags[2] == Flag.NO_DATA
    assert np.isnan(mixed.model[2]).all()
    assert np.isnan(mixed.velocity[2])


def test_outliers_are_clipped(installed, clean, templates, tools):
    flux = noisy(clean, 1, 40)
    flux[:, 150:900:50] += 3.0
    fit = engine(tools["as_spectra"](flux, 1 / 40), templates)(tools["as_spectra"](flux, 1 / 40))
    assert not fit.used[:, 150:900:50].any()
    assert fit.used.mean() > 0.95
    assert abs(fit.velocity[0] - TRUTH[0]) < 5 * fit.velocity_err[0]


def test_kinematics_that_are_given_are_held(installed, clean, templates, tools):
    spectra = tools["as_spectra"](noisy(clean, 2, 30), 1 / 30)
    given = Kinematics(*np.array([[80.0, np.nan], [4.0, 1.0], [150.0, np.nan], [6.0, 1.0]]))
    fitted = engine(spectra, templates)
    held, free = fitted(spectra, None, given), fitted(spectra)
    assert held.velocity[0] == pytest.approx(80.0, abs=1e-6)
    assert held.sigma[0] == pytest.approx(150.0, abs=1e-6)
    assert (held.velocity_err[0], held.sigma_err[0]) == (4.0, 6.0)
    assert held.velocity[1] == free.velocity[1]
    assert held.chi2[0] > free.chi2[0] + 10


def test_a_row_on_which_it_fails_is_flagged_and_alone(installed, clean, templates, tools):
    spectra = tools["as_spectra"](np.stack([noisy(clean, 1, 30)[0], -clean]), 1 / 30)
    seen = []
    fit = engine(spectra, templates)(spectra, seen.append)
    assert fit.flags[1] & Flag.FIT_FAILED
    assert np.isnan(fit.velocity[1])
    assert fit.flags[0] == 0
    assert sum(seen) == 2


def test_an_exception_of_the_package_is_a_flag(monkeypatch, clean, templates, tools):
    fake = ppxf_stand_in.module()

    def broken(*args, **keywords):
        raise ValueError("array must not contain infs or NaNs")

    fake.ppxf = broken
    monkeypatch.setitem(sys.modules, "ppxf.ppxf", fake)
    monkeypatch.setitem(sys.modules, "ppxf", fake)
    spectra = tools["as_spectra"](clean, 0.01)
    fit = engine(spectra, templates)(spectra)
    assert fit.flags[0] == Flag.FIT_FAILED
    assert np.isnan(fit.model).all()


def test_across_a_gap_with_another_step(installed, clean, templates, tools):
    whole = tools["as_spectra"](noisy(clean, 1, 60), 1 / 60)
    keep = np.r_[0:500, 700:1200]
    wave = whole.wave[keep]
    spectra = type(whole)(
        wave,
        whole.flux[:, keep],
        whole.error[:, keep],
        lsf=2.5,
        redshift=whole.redshift,
    )
    fit = engine(spectra, templates)(spectra)
    assert abs(fit.velocity[0] - TRUTH[0]) < 4 * fit.velocity_err[0]
    assert abs(fit.sigma[0] - TRUTH[1]) < 4 * fit.sigma_err[0]
    assert fit.chi2[0] / fit.dof[0] < 1.2


class TestWhatOnlyPpxfKnows:
    def test_four_moments(self, real, clean, templates, tools):
        spectra = tools["as_spectra"](clean, 0.005)
        fit = engine(spectra, templates, moments=4)(spectra)
        assert fit.velocity[0] == pytest.approx(TRUTH[0], abs=1.0)
        assert abs(fit.h3[0]) < 0.02
        assert abs(fit.h4[0]) < 0.02
        assert fit.h3_err[0] > 0
        assert np.max(np.abs(fit.model[0] - clean)) < 2e-3

    def test_polynomials_take_up_what_no_star_has(self, real, clean, templates, tools):
        wave = tools["wave"]
        place = 2 * (wave - wave[0]) / (wave[-1] - wave[0]) - 1
        bent = (clean + 0.15 * (1.5 * place**2 - 0.5)) * (1 + 0.1 * place**3)
        spectra = tools["as_spectra"](bent, 0.01)
        plain = engine(spectra, templates, clip=0)(spectra)
        fit = engine(spectra, templates, clip=0, additive=2, multiplicative=3)(spectra)
        assert fit.chi2[0] < 0.1 * plain.chi2[0]
        assert np.max(np.abs(fit.model[0] - bent)) < 0.02
        assert fit.velocity[0] == pytest.approx(TRUTH[0], abs=3)


def test_without_the_package_it_says_what_to_install(monkeypatch, clean, templates, tools):
    monkeypatch.setitem(sys.modules, "ppxf", None)
    monkeypatch.setitem(sys.modules, "ppxf.ppxf", None)
    with pytest.raises(ConfigError, match=r"'ppxf' was asked for .* pip install 'betis\[ppxf\]'"):
        engine(tools["as_spectra"](clean, 0.01), templates)


@pytest.mark.parametrize("name", ["regularisation", "realisations"])
def test_options_of_another_engine_are_refused(installed, clean, templates, tools, name):
    with pytest.raises(ConfigError, match=f"continuum.{name} is 3, .* choose the engine templates"):
        engine(tools["as_spectra"](clean, 0.01), templates, **{name: 3})


def test_masked_pixels_have_no_influence(installed, clean, templates, tools):
    flux = noisy(clean, 1, 30)
    mask = np.zeros(flux.shape, bool)
    mask[:, 300:420] = True
    spectra = tools["as_spectra"](flux, 1 / 30, mask)
    wild = tools["as_spectra"](np.where(mask, 1e6, flux), 1 / 30, mask)
    fitted = engine(spectra, templates)
    assert fitted(spectra).velocity[0] == fitted(wild).velocity[0]
