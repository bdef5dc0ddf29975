"""What follows from the lines: right on average, with errors that are the scatter."""

from importlib import import_module

import numpy as np
import pytest
from tests.derived.fits import CURVE, NAMES, line_fit

from betis.derived import derive
from betis.derived.derive import luminosity_per_kpc2
from betis.derived.ratios import electron_density
from betis.flags import Flag
from betis.options import DerivedOptions

TRUE = np.array([100.0, 80.0, 15.0, 350.0, 120.0, 90.0, 70.0])
OPTIONS = DerivedOptions()
N = 20000


def noisy(relative, correlation=0.0):
    """Return fits to one truth: noise of this size, correlated alike between all lines."""
    rng = np.random.default_rng(1)
    error = relative * TRUE
    matrix = np.full((TRUE.size, TRUE.size), correlation) + (1 - correlation) * np.eye(TRUE.size)
    matrix *= error[:, None] * error
    flux = rng.multivariate_normal(TRUE, matrix, N)
    cov = np.broadcast_to(matrix, (N, *matrix.shape))
    return line_fit(flux, error, cov=cov if correlation else None)


def pull(found, truth, at=...):
    return (found.value[at] - truth) / found.error[at]


@pytest.mark.parametrize("correlation", [0.0, 0.6, -0.1])
def test_errors_are_the_scatter_with_and_without_covariance(correlation):
    found = derive(noisy(0.02, correlation), OPTIONS, dust=CURVE).quantities
    truth = derive(line_fit(TRUE, 1e-9), OPTIONS, dust=CURVE).quantities
    for name, quantity in found.items():
        if name in {"FLUX_DEREDDENED", "SII_DENSITY"}:
            continue
        pulls = pull(quantity, truth[name].value[0])
        assert np.nanstd(pulls) == pytest.approx(1.0, abs=0.05), name
        assert np.nanmean(pulls) == pytest.approx(0.0, abs=0.08), name
    free = found["FLUX_DEREDDENED"]
    for i in range(len(NAMES)):
        pulls = pull(free, truth["FLUX_DEREDDENED"].value[0, i], np.s_[:, i])
        assert np.std(pulls) == pytest.approx(1.0, abs=0.06), NAMES[i]


def test_covariance_is_not_what_independent_lines_would_have():
    fit = noisy(0.02, 0.6)
    shared = derive(fit, OPTIONS, dust=CURVE).quantities["LOG_NII_HA"].error
    alone = derive(noisy(0.02), OPTIONS, dust=CURVE).quantities["LOG_NII_HA"].error
    np.testing.assert_allclose(np.median(shared / alone), np.sqrt(0.4), rtol=0.02)


@pytest.mark.parametrize("n_row", [0, 1, 7])
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_how_many_rows_are_looked_at_at_once_changes_nothing(n_row, correlation, monkeypatch):
    fit, area = noisy(0.1, correlation).take(slice(0, n_row)), np.arange(1.0, n_row + 1)
    whole = derive(fit, OPTIONS, dust=CURVE, area=area)
    monkeypatch.setattr(import_module("betis.derived.derive"), "_AT_ONCE", 3)
    parts = derive(fit, OPTIONS, dust=CURVE, area=area)
    assert set(parts.quantities) == set(whole.quantities)
    for name, quantity in whole.quantities.items():
        assert len(quantity.value) == n_row
        np.testing.assert_array_equal(parts.quantities[name].value, quantity.value)
        np.testing.assert_array_equal(parts.quantities[name].error, quantity.error)
    for name, classes in whole.classes.items():
        np.testing.assert_array_equal(parts.classes[name].value, classes.value)


@pytest.mark.parametrize("av", [0.3, 1.0, 3.0])
def test_dust_that_is_put_in_comes_out(av):
    free = TRUE.copy()
    free[NAMES.index("Ha6563")] = 2.86 * free[NAMES.index("Hb4861")]
    found = derive(line_fit(free * 10 ** (-0.4 * CURVE * av), 1e-9), OPTIONS, dust=CURVE)
    assert found.quantities["GAS_AV"].value[0] == pytest.approx(av, rel=1e-9)
    np.testing.assert_allclose(found.quantities["FLUX_DEREDDENED"].value[0], free, rtol=1e-9)


def test_negative_extinction_is_told_and_not_applied():
    bluer = TRUE.copy()
    bluer[NAMES.index("Ha6563")] = 2.5 * bluer[NAMES.index("Hb4861")]
    found = derive(line_fit(bluer, 1.0), OPTIONS, dust=CURVE).quantities
    assert found["GAS_AV"].value[0] < 0
    np.testing.assert_allclose(found["FLUX_DEREDDENED"].value[0], bluer)


def test_nothing_is_told_or_classified_below_the_stated_snr():
    error = np.full(TRUE.size, 1.0)
    for i, name in enumerate(NAMES):
        faint = error.copy()
        faint[i] = TRUE[i] / 2.9
        found = derive(line_fit(TRUE, faint), OPTIONS, dust=CURVE)
        for key, quantity in found.quantities.items():
            sums = key == "LOG_SII_HA" and name.startswith("SII")
            blank = name in quantity.lines and not sums
            assert np.isnan(quantity.value).all() == blank, (name, key)
            assert np.isnan(quantity.error).all() == blank, (name, key)
        needed = {"BPT_NII": "NII6583", "BPT_OI": "OI6300", "EW_CLASS": "Ha6563"}
        for key, other in needed.items():
            lines = {other} if key == "EW_CLASS" else {other, "Ha6563", "Hb4861", "OIII5007"}
            assert (found.classes[key].value[0] == 0) == (name in lines), (name, key)


@pytest.mark.parametrize("flag", [Flag.NO_DATA, Flag.FEW_PIXELS, Flag.FIT_FAILED])
def test_lines_that_could_not_be_measured_tell_nothing(flag):
    flags = np.zeros((1, TRUE.size), np.int32)
    flags[0, NAMES.index("Ha6563")] = flag
    found = derive(line_fit(TRUE, 1.0, flags=flags), OPTIONS, dust=CURVE)
    assert np.isnan(found.quantities["LOG_NII_HA"].value[0])
    assert found.classes["EW_CLASS"].value[0] == 0
    assert np.isfinite(found.quantities["LOG_OIII_HB"].value[0])


def test_lines_that_were_not_fitted_give_no_quantity():
    names = ("Ha6563", "NII6583")
    found = derive(
        line_fit([[350.0, 120.0]], 1.0, names=names), OPTIONS, dust=np.array([0.82, 0.81])
    )
    assert set(found.quantities) == {"LOG_NII_HA"}
    assert set(found.classes) == {"EW_CLASS"}


def test_a_second_component_is_part_of_its_line():
    names = ("Ha6563", "NII6583", "Ha6563_2", "NII6583_2")
    dust = np.array([0.82, 0.81, 0.82, 0.81])
    two = line_fit([[200.0, 60.0, 150.0, 60.0], [350, 120, np.nan, np.nan]], 1.0, names=names)
    value = derive(two, OPTIONS, dust=dust).quantities["LOG_NII_HA"].value
    np.testing.assert_allclose(value, np.log10(120 / 350))


def test_the_equivalent_width_is_that_of_both_components():
    names, dust = ("Ha6563", "Ha6563_2"), np.array([0.82, 0.82])
    widths = np.array([[10.0, 6.0], [10.0, np.nan]])
    fit = line_fit([[200.0, 150.0], [200.0, np.nan]], 1.0, names=names, ew=widths)
    assert derive(fit, OPTIONS, dust=dust).classes["EW_CLASS"].value.tolist() == [3, 2]


def test_surface_brightness_is_that_of_the_galaxy_whatever_its_distance():
    fit = line_fit(TRUE, 1.0)
    near, far = (
        derive(fit, OPTIONS, dust=CURVE, area=np.array([2.0]), redshift=z).quantities["SIGMA_HA"]
        for z in (0.0, 0.1)
    )
    np.testing.assert_allclose(far.value / near.value, 1.1**4)
    # 1e-17 erg/s/cm²/arcsec² is 5.09e38 erg/s over a kpc², as a sum over a sphere's light gives.
    kpc_at_1_mpc = 3.0856775814913673e24 * np.pi / 180 / 3600 / 3.0856775814913673e21
    luminosity = 4 * np.pi * 3.0856775814913673e24**2 * 1e-17
    np.testing.assert_allclose(1e-17 * luminosity_per_kpc2(0.0), luminosity / kpc_at_1_mpc**2)
    np.testing.assert_allclose(near.value, 350e-20 / 2.0 * luminosity_per_kpc2(0.0))
    assert "SIGMA_HA" not in derive(fit, OPTIONS, dust=CURVE).quantities


def test_density_falls_with_the_ratio_between_its_limits():
    ratio = np.linspace(0.46, 1.42, 200)
    density = electron_density(ratio)
    assert (np.diff(density) < 0).all()
    # The curve of Osterbrock & Ferland 2006, section 5.6, which has slightly older atomic data.
    assert 10 ** electron_density(np.array(1.30)) == pytest.approx(100, rel=0.3)
    assert 10 ** electron_density(np.array(0.84)) == pytest.approx(1000, rel=0.35)


def test_errors_of_the_density_are_its_scatter_away_from_the_limits():
    found = derive(noisy(0.006), OPTIONS, dust=CURVE).quantities["SII_DENSITY"]
    truth = derive(line_fit(TRUE, 1e-9), OPTIONS, dust=CURVE).quantities["SII_DENSITY"]
    pulls = pull(found, truth.value[0])
    assert np.isfinite(pulls).mean() > 0.999
    assert np.nanstd(pulls) == pytest.approx(1.0, abs=0.05)
    assert np.nanmean(pulls) == pytest.approx(0.0, abs=0.05)


def test_noise_alone_makes_no_density():
    rng = np.random.default_rng(3)
    flux = np.tile(TRUE, (N, 1))
    flux[:, NAMES.index("SII6716")] = 1.43 * flux[:, NAMES.index("SII6731")]
    noisy_flux = flux * (1 + 0.03 * rng.standard_normal(flux.shape))
    found = derive(line_fit(noisy_flux, 0.03 * flux), OPTIONS, dust=CURVE)
    # 0.13 % lie three errors to one side, and those have smaller errors than the rest.
    assert np.isfinite(found.quantities["SII_DENSITY"].value).mean() < 0.006


def test_a_ratio_at_its_limit_tells_no_density():
    flux = np.tile(TRUE, (3, 1))
    flux[:, NAMES.index("SII6716")] = 70 * np.array([1.5, 0.4, 1.40])
    found = derive(line_fit(flux, 3.0), OPTIONS, dust=CURVE).quantities["SII_DENSITY"]
    assert np.isnan(found.value).all()
    assert np.isfinite(
        derive(line_fit(flux, 0.01), OPTIONS, dust=CURVE).quantities["SII_DENSITY"].value[2]
    )
