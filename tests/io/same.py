"""Comparison of containers, to the last bit."""

from dataclasses import fields

import numpy as np

from betis.products import Sky


def same(one, two):
    for item in fields(one):
        a, b = getattr(one, item.name), getattr(two, item.name)
        if isinstance(a, Sky):
            assert (a.shape, a.flux_scale) == (b.shape, b.flux_scale)
            assert b.wcs["CRVAL1"] == a.wcs["CRVAL1"]
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=item.name)
            assert a.dtype == b.dtype, item.name
        else:
            assert a == b, item.name
