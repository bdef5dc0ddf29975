"""Extinction laws against published values and against a survey's own correction."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from betis.errors import ConfigError
from betis.extinction import R_V_MILKY_WAY, extinction_curve, law_names
from betis.wavelength import read_axis

OPTICAL = np.linspace(3500.0, 10000.0, 66)


def test_the_laws_that_the_options_name_are_there():
    assert {"CCM89", "O94", "F99", "F04", "M14", "F19", "G23"} <= set(law_names())


def test_a_law_without_r_v_is_not_listed():
    assert not {"G16", "G03_SMCBar"} & set(law_names())


@pytest.mark.parametrize("law", law_names())
@pytest.mark.parametrize("r_v", [2.5, R_V_MILKY_WAY, 5.0])
def test_each_law_listed_spans_the_optical_and_reddens(law, r_v):
    curve = extinction_curve(law, OPTICAL, r_v)
    assert curve.shape == OPTICAL.shape
    assert np.all((curve > 0.2) & (curve < 2.5))
    assert np.all(np.diff(curve[::4]) < 0)


@pytest.mark.parametrize("law", law_names())
def test_each_law_is_near_one_in_the_v_band(law):
    # The anchors of F99 and F04 give 0.978 at 5500 A: A(V) there is that of a broad band.
    assert extinction_curve(law, np.array([5500.0]))[0] == pytest.approx(1.0, abs=0.025)


def test_ccm89_gives_the_q_norm_that_starlight_prints():
    # A(4020 A)/A(V) in the output files of STARLIGHT v04 with its law CCM.
    assert extinction_curve("CCM89", np.array([4020.0]))[0] == pytest.approx(1.458241, abs=2e-5)


@pytest.mark.parametrize("r_v", [2.5, 3.1, 5.0])
def test_f99_passes_through_its_published_anchors(r_v):
    # Fitzpatrick 1999, PASP 111 63, Table 3 and footnote: A/E(B-V) at the optical anchors.
    anchors = {
        6000.0: -0.426 + 1.0044 * r_v,
        5470.0: -0.050 + 1.0016 * r_v,
        4670.0: 0.701 + 1.0016 * r_v,
        4110.0: 1.208 + 1.0032 * r_v - 0.00033 * r_v**2,
    }
    curve = extinction_curve("F99", np.array(list(anchors)), r_v)
    np.testing.assert_allclose(curve * r_v, list(anchors.values()), rtol=2e-3)


@given(shift=st.integers(0, 64))
def test_a_law_is_a_function_of_wavelength_alone(shift):
    rolled = extinction_curve("CCM89", np.roll(OPTICAL, shift))
    np.testing.assert_array_equal(rolled, np.roll(extinction_curve("CCM89", OPTICAL), shift))


@pytest.mark.parametrize("name", ["41144_A_sectors_blue", "209807_A_sectors_red"])
def test_sami_corrected_its_cubes_by_this_law(test_data, name):
    with gzip.open(test_data / "sami" / f"{name}.fits.gz") as file, fits.open(file) as hdus:
        wave = read_axis(hdus[0].header).wave
        dust, ebv = hdus["DUST"].data, hdus["DUST"].header["EBVPLNCK"]
        expected = 10 ** (0.4 * 3.1 * ebv * extinction_curve("CCM89", wave))
        np.testing.assert_allclose(expected, dust, rtol=2e-5)
        assert np.ptp(dust) > 1e-3


def test_an_unknown_law_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ConfigError, match=r"law 'CAL' is unknown; expected one of .*CCM89.*F99"):
        extinction_curve("CAL", OPTICAL)


def test_a_wavelength_that_the_law_does_not_cover_is_refused():
    with pytest.raises(ConfigError, match=r"law CCM89 with R_V = 3\.1: "):
        extinction_curve("CCM89", np.array([500.0]))


def test_an_r_v_that_the_law_does_not_cover_is_refused():
    with pytest.raises(ConfigError, match=r"law F99 with R_V = 0\.5: "):
        extinction_curve("F99", OPTICAL, r_v=0.5)
