"""The mask of a masked array was dropped, and a NaN in the line-spread function ended a fit."""

import numpy as np
import pytest

from betis.errors import InputError
from betis.products import Spectra

WAVE = np.arange(5000.0, 5020.0)


def test_masked_arrays_keep_their_masks():
    flux = np.ma.masked_less(np.arange(20), 3)
    error = np.ma.masked_array(np.ones(20), mask=np.arange(20) == 9)
    given = np.ma.masked_array(np.zeros(20, bool), mask=np.arange(20) == 12)
    spectra = Spectra(WAVE, flux, error, given)
    assert np.flatnonzero(spectra.mask[0]).tolist() == [0, 1, 2, 9, 12]


@pytest.mark.parametrize("kind", [">f4", "<f4", ">i2", "<f8"])
def test_any_type_of_number_becomes_the_same_spectrum(kind):
    spectra = Spectra(WAVE.astype(">f8"), np.arange(20).astype(kind), np.ones(20, kind))
    np.testing.assert_array_equal(spectra.flux[0], np.arange(20.0))
    assert all(values.dtype == np.dtype(float) for values in (spectra.flux, spectra.error))
    assert spectra.flux.dtype.isnative


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0])
def test_a_line_spread_function_that_is_no_width_is_refused(wrong):
    lsf = np.where(np.arange(20) == 4, wrong, 2.5)
    with pytest.raises(InputError, match="lsf is negative or not finite at 1 of 20 wavelengths"):
        Spectra(WAVE, np.ones(20), np.ones(20), lsf=lsf)
