"""Line-spread functions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis import lsf

WIDTHS = st.floats(0.0, 1e3)


@pytest.mark.parametrize(
    ("wave", "fwhm"),
    # By hand from eq. 8 of Bacon et al. 2017: 5.866e-8 w^2 - 9.187e-4 w + 6.040.
    [(5000.0, 2.9130), (7000.0, 2.48344), (9300.0, 2.5695934)],
)
def test_muse_is_the_published_polynomial(wave, fwhm):
    assert lsf.muse_fwhm(wave) == pytest.approx(fwhm, abs=1e-10)


def test_muse_keeps_the_shape_of_its_argument_and_is_near_the_instruments_2_5_angstrom():
    wave = np.linspace(4750, 9350, 101)
    assert lsf.muse_fwhm(wave).shape == wave.shape
    assert np.all((lsf.muse_fwhm(wave) > 2.4) & (lsf.muse_fwhm(wave) < 3.1))


def test_half_maximum_lies_half_a_fwhm_from_the_centre_of_a_gaussian():
    assert np.exp(-0.5 * (lsf.FWHM_PER_SIGMA / 2) ** 2) == pytest.approx(0.5, rel=1e-14)


@given(narrow=WIDTHS, kernel=WIDTHS)
def test_quadrature_difference_undoes_a_sum_in_quadrature(narrow, kernel):
    back = lsf.quadrature_difference(np.hypot(narrow, kernel), narrow)
    assert back == pytest.approx(kernel, rel=1e-7, abs=2e-7 * narrow + 1e-12)


@given(broad=WIDTHS, extra=WIDTHS)
def test_nothing_is_added_where_the_template_is_broader_already(broad, extra):
    assert lsf.quadrature_difference(broad, broad + extra) == 0.0


@given(fwhm=st.floats(0.1, 20.0), share=st.floats(0.01, 1.0))
def test_a_line_without_its_pixel_is_the_line_before_it(fwhm, share):
    pixel = share * fwhm
    boxcar = lsf.FWHM_PER_SIGMA * pixel / np.sqrt(12)
    assert lsf.without_pixel(np.hypot(fwhm, boxcar), pixel) == pytest.approx(fwhm)


def test_pixels_too_coarse_to_tell_leave_a_width():
    assert lsf.without_pixel(1.0, 100.0) == 0.5


@pytest.mark.parametrize(
    ("grating", "slicer", "power"),
    # Morrissey et al. 2018, Table 1.
    [
        ("BL", "Large", 900),
        ("BL", "Medium", 1800),
        ("BL", "Small", 3600),
        ("BM", "Large", 2000),
        ("BH2", "Small", 18000),
        (" rl ", "MEDIUM", 1800),
        ("RM2", "Medium", 4000),
        ("none", "Medium", 0),
        ("BL", "FPCam", 0),
        ("", "", 0),
    ],
)
def test_the_resolving_power_of_kcwi(grating, slicer, power):
    assert lsf.kcwi_resolving_power(grating, slicer) == power
