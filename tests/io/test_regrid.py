"""Labels put on another field."""

import numpy as np
import pytest

from betis.errors import InputError
from betis.io.regrid import labels_on_field, same_field
from betis.products import Sky


def field(n_y, n_x, *, x=0.0, y=0.0, scale=0.2):
    """Return a field whose first spaxel lies x, y arcsec from the reference."""
    cards = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRVAL1": 150.0,
        "CRVAL2": 2.0,
        "CRPIX1": 1 + x / scale,
        "CRPIX2": 1 - y / scale,
        "CDELT1": -scale / 3600,
        "CDELT2": scale / 3600,
    }
    return Sky(shape=(n_y, n_x), wcs=cards, flux_scale=1e-20)


LABEL = np.arange(12, dtype=np.int32).reshape(3, 4)


def test_a_field_is_itself():
    assert same_field(field(3, 4), field(3, 4))
    assert labels_on_field(LABEL, field(3, 4), field(3, 4)) is LABEL
    assert same_field(Sky(shape=(3, 4)), field(3, 4))
    assert not same_field(field(3, 4), field(3, 4, x=0.1))


def test_labels_move_with_the_sky_and_are_absent_outside():
    found = labels_on_field(LABEL, field(3, 4), field(3, 4, y=0.2))
    np.testing.assert_array_equal(found, [*LABEL[1:], [-1] * 4])
    found = labels_on_field(LABEL, field(3, 4), field(3, 4, x=-0.2))
    np.testing.assert_array_equal(found[:, :3], LABEL[:, 1:])
    assert (found[:, 3] == -1).all()


def test_small_spaxels_have_the_label_of_the_large_one_that_they_lie_in():
    fine = field(6, 8, x=0.05, y=-0.05, scale=0.1)
    found = labels_on_field(LABEL, field(3, 4), fine)
    np.testing.assert_array_equal(found, LABEL.repeat(2, axis=0).repeat(2, axis=1))


def test_different_fields_without_a_wcs_cannot_be_matched():
    with pytest.raises(InputError, match="no celestial WCS"):
        labels_on_field(LABEL, Sky(shape=(3, 4)), field(6, 8))
