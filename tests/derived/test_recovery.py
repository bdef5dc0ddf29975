"""Lines of a mock galaxy, with noise, fitted: what is derived from them against its truth."""

import numpy as np
import pytest
from tests.derived import recovery

from betis.derived import derive
from betis.derived.classes import DIAGRAMS
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.lsf import FWHM_PER_SIGMA
from betis.mock import MockOptions, make_galaxy
from betis.options import DerivedOptions, LineOptions
from betis.products import Sky, Spectra
from betis.wavelength import C_KMS

NAMES = (
    "Hb4861", "OIII4959", "OIII5007", "OI6300", "OI6364", "NII6548", "Ha6563", "NII6583",
    "SII6716", "SII6731",
)  # fmt: skip
WAVE = np.arange(4800.0, 6800.0, 1.25)
LEVEL, FWHM, NOISE = 50.0, 2.5, 1.5
OPTIONS = DerivedOptions()


@pytest.fixture(scope="module")
def truth():
    return make_galaxy(MockOptions(n_y=24, n_x=24, seed=4)).truth


@pytest.fixture(scope="module")
def bin_id(truth):
    inside = np.isfinite(truth.velocity)
    label = np.full(truth.shape, -1, np.int32)
    label[inside] = np.arange(inside.sum())
    return label


@pytest.fixture(scope="module")
def fit(truth, bin_id):
    """Fits of the truth's lines on a flat continuum; their errors are right to a few per cent."""
    inside, line_set = bin_id >= 0, load_line_set().select(NAMES)
    flux = np.broadcast_to(LEVEL, (int(inside.sum()), WAVE.size)).copy()
    speed = 1 + truth.velocity[inside] / C_KMS
    for name in NAMES:
        center = recovery.AIR[name] * speed
        width = np.hypot(truth.sigma[inside] / C_KMS * center, FWHM / FWHM_PER_SIGMA)
        z = (WAVE - center[:, None]) / width[:, None]
        height = truth.flux[truth.names.index(name)][inside] / (width * np.sqrt(2 * np.pi))
        flux += height[:, None] * np.exp(-0.5 * z**2)
    flux += NOISE * np.random.default_rng(5).standard_normal(flux.shape)
    lsf, sky = np.full(WAVE.size, FWHM), Sky(shape=truth.shape, flux_scale=1e-20)
    spectra = Spectra(WAVE, flux, np.full_like(flux, NOISE), medium="air", lsf=lsf, sky=sky)
    return fit_lines(spectra, line_set, LineOptions(flux_covariance=True))


@pytest.fixture(scope="module")
def found(fit, bin_id, truth):
    area = 0.04 * np.ones(len(fit.flux))
    dust = recovery.dust_of(fit.names, OPTIONS)
    return derive(fit, OPTIONS, dust=dust, area=area, redshift=truth.redshift)


@pytest.fixture(scope="module")
def true(truth, bin_id):
    return recovery.true_quantities(truth, bin_id)


@pytest.mark.parametrize(
    "name",
    ["LOG_NII_HA", "LOG_SII_HA", "LOG_OIII_HB", "BALMER_DECREMENT", "GAS_AV", "FLUX_DEREDDENED"],
)
def test_derived_quantities_are_the_truth_within_their_errors(
    truth, bin_id, fit, found, true, name
):
    lines = found.quantities[name].lines
    bright = recovery.truly_bright(truth, bin_id, fit, lines, 10.0)
    pulls = recovery.pulls(found, true, name, bright)
    assert pulls.size > 250
    low, high = np.percentile(pulls, [15.865, 84.135])
    assert (high - low) / 2 == pytest.approx(1.0, abs=0.1)
    assert np.median(pulls) == pytest.approx(0.0, abs=0.2)


def test_extinction_is_the_one_put_in(truth, bin_id, found):
    inside, av = bin_id >= 0, found.quantities["GAS_AV"]
    pulls = (av.value - truth.gas_av[inside]) / av.error
    assert np.nanmedian(pulls) == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("name", [*DIAGRAMS])
def test_nothing_is_classified_below_the_stated_snr(fit, found, name):
    assert recovery.faintest_classified(fit, found, name).min() >= OPTIONS.min_snr


def test_few_spectra_are_put_in_another_class(found, true):
    table = recovery.confusion(found, true, "BPT_NII")
    right, known = np.trace(table[:, 1:]), table[:, 1:].sum()
    assert known > 250
    assert right / known > 0.85
