"""The laws of components: kept where they are, left where they are not, and no change elsewhere."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import norm

from betis.errors import ConfigError
from betis.flags import Flag
from betis.linelist import load_line_set
from betis.lines import trials
from betis.lines.fit import fit_lines
from betis.lines.second import with_components
from betis.lsf import FWHM_PER_SIGMA
from betis.options import LineOptions
from betis.products import LineFit
from betis.wavelength import C_KMS

HALPHA = ("NII6548", "Ha6563", "NII6583")
WHOLE = load_line_set("betis41")
REMNANT = WHOLE.select([*HALPHA, "Ha6563_remnant"])
BLEND = WHOLE.select(["OIII4959", "OIII5007", "blend5007"])
STANDARD = load_line_set().select(["Hb4861", *HALPHA])
ONE, TWO = LineOptions(), LineOptions(components=2)
WIDE = np.arange(4700.0, 6800.0, 1.25)


def _with_line(spectra, place, flux, velocity, sigma):
    """Add a Gaussian of a flux at a velocity and dispersion (km/s) to every row."""
    half = np.gradient(spectra.wave) / 2
    center = (place * (1 + np.asarray(velocity) / C_KMS)).reshape(-1, 1)
    width = np.hypot(center * sigma / C_KMS, spectra.lsf[0] / FWHM_PER_SIGMA)
    share = norm.cdf(spectra.wave + half, center, width) - norm.cdf(
        spectra.wave - half, center, width
    )
    added = np.asarray(flux).reshape(-1, 1) * share / (2 * half)
    return replace(spectra, flux=spectra.flux + added)


def _kept(fit, name):
    return fit.flags[:, fit.index(name)] & (Flag.NO_COMPONENT | Flag.NO_DATA) == 0


def _plain(simulate, line_set, n=120, **values):
    given = {"strength": (20.0, 600.0), "sigma": (20.0, 55.0), "wave": WIDE, "seed": 3, **values}
    return simulate(n, lines=line_set.primary(), **given)


def _same_lines(one: LineFit, other: LineFit, rows) -> None:
    """Every quantity of every line of the first fit, to the last bit."""
    column = [other.index(name) for name in one.names]
    for item in fields(LineFit):
        value = getattr(one, item.name)
        if isinstance(value, np.ndarray) and value.shape == one.flux.shape:
            np.testing.assert_array_equal(value[rows], getattr(other, item.name)[rows][:, column])


@pytest.mark.parametrize(
    ("line_set", "options", "strength"),
    [
        (REMNANT, ONE, (20.0, 600.0)),
        (REMNANT, ONE, 0.0),
        (BLEND, ONE, (20.0, 600.0)),
        (STANDARD, TWO, (20.0, 600.0)),
        (STANDARD, TWO, 0.0),
    ],
)
def test_spectra_without_a_component_have_none_and_the_fit_is_that_without(
    simulate, line_set, options, strength
):
    """At most 1 % of false components, in lines from faint to S/N 300 and in pure noise."""
    truth = _plain(simulate, line_set, strength=strength)
    fit = fit_lines(truth.spectra, line_set, options)
    extra = [name for name in fit.names if name not in line_set.primary().names]
    assert extra
    kept = np.any([_kept(fit, name) for name in extra], axis=0)
    assert kept.sum() <= 1
    _same_lines(fit_lines(truth.spectra, line_set.primary(), ONE), fit, ~kept)
    for name in extra:
        i = fit.index(name)
        assert np.all(fit.flags[~_kept(fit, name), i] == Flag.NO_COMPONENT)
        assert np.isnan(fit.flux[~_kept(fit, name), i]).all()


@pytest.mark.parametrize(("stated", "slope"), [(0.4, 0.0), (2.5, 0.0), (1.0, 0.02)])
def test_wrong_errors_and_a_sloping_continuum_make_no_component(simulate, stated, slope):
    truth = _plain(simulate, STANDARD, strength=(20.0, 200.0))
    gas = truth.spectra
    level = slope * (gas.wave - 6000.0)
    gas = replace(gas, flux=gas.flux + level, error=stated * gas.error)
    fit = fit_lines(gas, STANDARD, TWO)
    assert np.mean([_kept(fit, "Ha6563_2"), _kept(fit, "Hb4861_2")]) <= 0.01


def test_a_remnant_that_is_put_in_comes_out_within_its_error(simulate):
    truth = _plain(simulate, REMNANT, strength=(80.0, 300.0))
    shift = np.random.default_rng(1).uniform(-500.0, 500.0, 120)
    gas = _with_line(truth.spectra, 6562.8, 250.0, truth.velocity + shift, 250.0)
    fit = fit_lines(gas, REMNANT, ONE)
    kept, i = _kept(fit, "Ha6563_remnant"), fit.index("Ha6563_remnant")
    assert kept.mean() > 0.95
    pull = (fit.flux[kept, i] - 250.0) / fit.flux_err[kept, i]
    assert abs(pull.mean()) < 0.4
    assert 0.7 < pull.std() < 1.3
    away = (fit.velocity[:, i] - truth.velocity - shift)[kept] / fit.velocity_err[kept, i]
    assert np.mean(np.abs(away) < 3) > 0.95
    assert np.all(fit.group[i] == fit.group[fit.index("Ha6563")])


def test_a_remnant_keeps_to_its_bounds(simulate):
    truth = _plain(simulate, REMNANT, 60, strength=100.0)
    gas = _with_line(truth.spectra, 6562.8, 400.0, truth.velocity + 300.0, 300.0)
    fit = fit_lines(gas, REMNANT, ONE)
    i, of = fit.index("Ha6563_remnant"), fit.index("Ha6563")
    kept, start = _kept(fit, "Ha6563_remnant"), 3.0 / FWHM_PER_SIGMA
    assert kept.all()
    assert np.all(fit.flux[:, i] > 0)
    assert np.all(np.abs(fit.wave_obs[:, i] - fit.wave_obs[:, of]) < 35.0)
    assert np.all(fit.sigma_obs[:, i] >= 2.4 * start - 1e-9)
    assert np.all(fit.sigma_obs[:, i] <= 10.5 * start + 1e-9)
    assert np.all(fit.sigma_obs[:, of] <= 2.0 * start + 1e-9)


def test_a_blend_is_measured_on_what_the_other_lines_leave(simulate):
    truth = _plain(simulate, BLEND, strength=(50.0, 300.0))
    gas = _with_line(truth.spectra, 5006.843, 600.0, truth.velocity, 900.0)
    fit = fit_lines(gas, BLEND, ONE)
    kept, i = _kept(fit, "blend5007"), fit.index("blend5007")
    assert kept.mean() > 0.95
    assert np.median(fit.flux[kept, i]) == pytest.approx(600.0, rel=0.1)
    pull = (fit.flux[kept, i] - 600.0) / fit.flux_err[kept, i]
    assert 0.6 < pull.std() < 1.5
    others = fit_lines(gas, BLEND.primary(), ONE)
    _same_lines(others, fit, slice(None))
    assert fit.group[i] not in fit.group[:i]


@pytest.mark.parametrize(("share", "shift", "sigma"), [(0.5, -100.0, 200.0), (1.0, -150.0, 150.0)])
def test_a_second_component_comes_out_within_its_error_and_is_the_broader(
    simulate, share, shift, sigma
):
    truth = _plain(simulate, STANDARD, strength=(300.0, 600.0), sigma=(25.0, 45.0))
    gas, names = truth.spectra, truth.lines.names
    for k, line in enumerate(truth.lines.lines):
        gas = _with_line(gas, line.air, share * truth.flux[:, k], truth.velocity + shift, sigma)
    fit = fit_lines(gas, STANDARD, TWO)
    second = [fit.index(f"{name}_2") for name in HALPHA]
    kept, i, j = _kept(fit, "Ha6563_2"), fit.index("Ha6563"), fit.index("Ha6563_2")
    assert kept.mean() > 0.9
    pull = ((fit.flux[:, j] - share * truth.flux[:, names.index("Ha6563")]) / fit.flux_err[:, j])[
        kept
    ]
    assert abs(np.median(pull)) < 0.5
    assert np.mean(np.abs(pull) < 3) > 0.9
    assert np.all(fit.sigma[kept, j] > 0.8 * fit.sigma[kept, i])
    speeds = fit.velocity[np.ix_(kept, second)]
    assert np.all(np.ptp(speeds, axis=1) < 1e-9)
    ratio = fit.flux[kept, second[0]] / fit.flux[kept, second[2]]
    np.testing.assert_allclose(ratio, STANDARD["NII6548"].ratio)


def test_the_filter_loses_less_than_one_in_a_hundred_of_what_the_fit_would_keep(
    simulate, monkeypatch
):
    truth = _plain(simulate, STANDARD, 200, strength=(40.0, 400.0), sigma=(25.0, 45.0))
    gas, share = truth.spectra, np.random.default_rng(2).uniform(0.1, 1.0, 200)
    for k, line in enumerate(truth.lines.lines):
        gas = _with_line(gas, line.air, share * truth.flux[:, k], truth.velocity - 120.0, 160.0)
    screened = fit_lines(gas, STANDARD, TWO)
    monkeypatch.setattr(trials, "_GAIN_SHARE", 0.0)
    every = fit_lines(gas, STANDARD, TWO)
    found = [np.stack([_kept(f, n) for n in ("Hb4861_2", "Ha6563_2")]) for f in (screened, every)]
    assert 0.1 < found[1].mean() < 0.9
    assert np.sum(found[1] & ~found[0]) <= 0.01 * found[1].sum()


def test_the_filter_leaves_most_spectra_alone(simulate, monkeypatch):
    """Deterministic measure of speed: rows with lines but no component that are fitted again."""
    tried = []
    original = trials._extended

    def counted(candidate, gas, spectra, *rest):
        tried.append(len(spectra))
        return original(candidate, gas, spectra, *rest)

    monkeypatch.setattr(trials, "_extended", counted)
    truth = _plain(simulate, STANDARD, 200)
    fit_lines(truth.spectra, STANDARD, TWO)
    assert sum(tried) < 0.1 * 2 * 200


def test_rows_do_not_depend_on_each_other(simulate):
    truth = _plain(simulate, REMNANT, 40, strength=(80.0, 300.0))
    gas = _with_line(truth.spectra, 6562.8, np.linspace(20, 120, 40), truth.velocity, 250.0)
    whole = fit_lines(gas, REMNANT, ONE)
    assert 0.1 < _kept(whole, "Ha6563_remnant").mean() < 0.9
    part = fit_lines(gas.take(slice(7, 19)), REMNANT, ONE)
    np.testing.assert_array_equal(part.flags, whole.flags[7:19])
    np.testing.assert_allclose(part.flux, whole.flux[7:19], rtol=1e-5)


def test_flux_times_k_keeps_the_same_components(simulate):
    truth = _plain(simulate, STANDARD, 40, strength=(100.0, 400.0))
    gas = _with_line(truth.spectra, 4861.33, 100.0, truth.velocity - 200.0, 150.0)
    fit = fit_lines(gas, STANDARD, TWO)
    scaled = replace(gas, flux=1e-17 * gas.flux, error=1e-17 * gas.error)
    other = fit_lines(scaled, STANDARD, TWO)
    kept = _kept(fit, "Hb4861_2")
    assert 0.05 < kept.mean() < 1
    np.testing.assert_array_equal(kept, _kept(other, "Hb4861_2"))
    np.testing.assert_allclose(other.flux[kept], 1e-17 * fit.flux[kept], rtol=1e-5)


def test_always_keeps_it_wherever_it_can_be_fitted(simulate):
    truth = _plain(simulate, REMNANT, 30)
    fit = fit_lines(truth.spectra, REMNANT, replace(ONE, keep="always"))
    assert _kept(fit, "Ha6563_remnant").mean() > 0.95
    assert np.all(np.isfinite(fit.flux[_kept(fit, "Ha6563_remnant")]))


def test_the_signal_that_is_asked_for_decides(simulate):
    truth = _plain(simulate, REMNANT, 60, strength=100.0)
    gas = _with_line(truth.spectra, 6562.8, np.linspace(30, 200, 60), truth.velocity, 250.0)
    fits = [fit_lines(gas, REMNANT, replace(ONE, component_snr=snr)) for snr in (4.0, 8.0, 40.0)]
    counts = [_kept(fit, "Ha6563_remnant").sum() for fit in fits]
    assert counts[0] > counts[1] > counts[2] == 0
    i = fits[1].index("Ha6563_remnant")
    assert np.nanmin(fits[1].snr[:, i]) >= 8.0


def test_a_masked_or_absent_line_has_no_data_rather_than_no_component(simulate):
    truth = _plain(simulate, REMNANT, 4)
    mask = np.abs(truth.spectra.wave - 6562.8) < 60
    fit = fit_lines(replace(truth.spectra, mask=np.tile(mask, (4, 1))), REMNANT, ONE)
    assert np.all(fit.flags[:, fit.index("Ha6563_remnant")] == Flag.NO_DATA)
    short = _plain(simulate, REMNANT, 3, wave=np.arange(5000.0, 5400.0, 1.25))
    far = WHOLE.select(["OIII5007", *REMNANT.names, "blend6300", "blend5007"])
    fit = fit_lines(short.spectra, far, ONE)
    assert np.all(fit.flags[:, [fit.index(n) for n in ("Ha6563_remnant", "blend6300")]] == 2)
    assert np.all(fit.flags[:, fit.index("blend5007")] == Flag.NO_COMPONENT)


def test_a_remnant_of_lines_that_share_one_velocity_is_left_out(simulate):
    truth = _plain(simulate, REMNANT, 3)
    fit = fit_lines(truth.spectra, REMNANT, replace(ONE, kinematics="one"))
    assert fit.names == HALPHA


@pytest.mark.parametrize("kinematics", ["one", "ionisation"])
def test_second_components_of_lines_that_share_across_groups_are_refused(simulate, kinematics):
    truth = _plain(simulate, STANDARD, 2)
    with pytest.raises(ConfigError, match=r"components = 2 was asked .*; choose set or free"):
        fit_lines(truth.spectra, STANDARD, replace(TWO, kinematics=kinematics))


def test_every_emission_line_of_a_set_has_a_second_component_once():
    for line_set in (load_line_set(), WHOLE):
        two = with_components(line_set, TWO)
        first = [line for line in line_set.primary().lines if not line.absorption]
        added = two.lines[len(line_set.lines) :]
        assert [line.name for line in added] == [f"{line.name}_2" for line in first]
        assert [line.component_of for line in added] == [line.name for line in first]
        for line, other in zip(first, added, strict=True):
            assert (other.air, other.window, other.sign) == (line.air, line.window, "emission")
            assert other.ratio == line.ratio
            assert other.ratio_of == (f"{line.ratio_of}_2" if line.ratio_of else "")
        assert with_components(two, TWO) == two
        assert with_components(line_set, ONE) == line_set
