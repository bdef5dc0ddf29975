"""Derived quantities come back from their file, and their maps can be read by others."""

import numpy as np
import pytest
from astropy.io import fits
from tests.derived.fits import CURVE, NAMES, line_fit
from tests.io.test_row_products import SKY

from betis.derived import derive
from betis.errors import InputError
from betis.io.derived import read_derived, write_derived
from betis.options import DerivedOptions
from betis.products import BinMap


@pytest.fixture
def made():
    rng = np.random.default_rng(2)
    bin_id = np.full(SKY.shape, -1, np.int32)
    bin_id[1:3, 2:5] = [[0, 0, 1], [2, 2, 2]]
    n_spaxel = np.bincount(bin_id[bin_id >= 0])
    bins = BinMap(
        bin_id=bin_id, n_spaxel=n_spaxel.astype(np.int32), snr=np.ones(3),
        flags=np.zeros(3, np.int32), target=1.0, correlation=0.0,
    )  # fmt: skip
    flux = rng.uniform(50, 300, (3, len(NAMES)))
    flux[1, 0] = 1.0
    fit = line_fit(flux, 2.0)
    return derive(fit, DerivedOptions(), dust=CURVE, area=0.04 * n_spaxel), bins


def test_what_is_written_is_read(made, tmp_path):
    derived, bins = made
    write_derived(tmp_path / "derived.fits", derived, bins, SKY, {})
    found = read_derived(tmp_path / "derived.fits")
    assert set(found.quantities) == set(derived.quantities)
    assert found.names == NAMES
    assert found.min_snr == derived.min_snr
    for name, quantity in derived.quantities.items():
        again = found.quantities[name]
        np.testing.assert_array_equal(again.value, quantity.value)
        np.testing.assert_array_equal(again.error, quantity.error)
        assert (again.unit, again.meaning, again.lines) == (
            quantity.unit, quantity.meaning, quantity.lines,
        )  # fmt: skip
    for name, classes in derived.classes.items():
        np.testing.assert_array_equal(found.classes[name].value, classes.value)
        assert found.classes[name].names == classes.names


def test_maps_say_what_they_are_and_where(made, tmp_path):
    derived, bins = made
    write_derived(tmp_path / "derived.fits", derived, bins, SKY, {})
    with fits.open(tmp_path / "derived.fits", checksum=True) as hdus:
        for name in derived.quantities:
            assert hdus[name].data.shape[-2:] == SKY.shape
            assert hdus[name].header["CRVAL1"] == SKY.wcs["CRVAL1"]
            assert hdus[name].header["BUNIT"] == hdus[f"{name}_ERR"].header["BUNIT"]
        free = hdus["FLUX_DEREDDENED"].data
        total = np.nansum(free, axis=(1, 2))
        expected = np.nansum(derived.quantities["FLUX_DEREDDENED"].value, axis=0)
        np.testing.assert_allclose(total, expected, rtol=1e-10)
        assert (hdus["BPT_NII"].data[bins.bin_id < 0] == -1).all()
        assert hdus["BPT_NII"].data[bins.bin_id == 1].tolist() == [0]
        assert hdus["BPT_NII"].header["CLASS1"] == "star formation"


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_derived(tmp_path / "derived.fits")
