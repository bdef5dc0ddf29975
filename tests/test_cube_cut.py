"""A cube cut to some wavelengths is that cube at these wavelengths."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.cubes import WAVE, noise_cube

from betis.products import Cube
from betis.wavelength import pixel_widths

CUBE = replace(
    noise_cube((3, 4), seed=1),
    factor=np.linspace(1.0, 2.0, WAVE.size),
    noise_scale=np.linspace(2.0, 3.0, WAVE.size),
    sky_window=WAVE > 6600,
)


def same(cut: Cube, kept, rows=slice(None)):
    block, whole = cut.read(rows), CUBE.read(rows)
    good = ~block.mask.any(axis=(1, 2))
    np.testing.assert_array_equal(block.flux[good], whole.flux[kept][good])
    np.testing.assert_array_equal(block.variance[good], whole.variance[kept][good])
    return good


@given(start=st.integers(0, 390), size=st.integers(2, 60), row=st.integers(0, 2))
def test_one_slice_loses_nothing(start, size, row):
    waves = slice(start, min(start + size, WAVE.size))
    cut = CUBE.cut(waves)
    assert same(cut, waves, slice(row, row + 1)).all()
    np.testing.assert_array_equal(cut.wave, CUBE.wave[waves])
    np.testing.assert_array_equal(cut.edges, CUBE.edges[waves.start : waves.stop + 1])
    np.testing.assert_array_equal(cut.lsf, CUBE.lsf[waves])
    np.testing.assert_array_equal(cut.sky_window, CUBE.sky_window[waves])


@given(
    first=st.integers(0, 50),
    size=st.integers(3, 50),
    gap=st.integers(1, 80),
    wanted=st.slices(100),
)
def test_only_the_pixels_at_a_gap_are_masked(first, size, gap, wanted):
    low = slice(first, first + size)
    high = slice(low.stop + gap, low.stop + gap + 50)
    cut = CUBE.cut(low, high)
    good = same(cut, np.r_[low, high])
    assert np.flatnonzero(~good).tolist() == [size - 1, size]
    assert cut.edges.size == cut.wave.size + 1
    assert (np.diff(cut.edges) > 0).all()
    np.testing.assert_allclose(pixel_widths(cut.edges), 1.25)
    if (wanted.step or 1) == 1:
        part, whole = cut.read(slice(0, 2), wanted), cut.read(slice(0, 2))
        np.testing.assert_array_equal(part.flux, whole.flux[wanted])
        np.testing.assert_array_equal(part.mask, whole.mask[wanted])


def test_slices_that_touch_make_no_gap():
    cut = CUBE.cut(slice(10, 30), slice(30, 45))
    assert same(cut, slice(10, 45)).all()
    np.testing.assert_array_equal(cut.edges, CUBE.edges[10:46])


def test_a_cut_may_be_cut_again():
    once, twice = CUBE.cut(slice(20, 60)), CUBE.cut(slice(10, 80)).cut(slice(10, 50))
    np.testing.assert_array_equal(once.read().flux, twice.read().flux)
    np.testing.assert_array_equal(once.wave, twice.wave)
