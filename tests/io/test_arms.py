"""Two arms are one cube, whichever comes first; nothing of either is lost or moved."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cubes import WCS, ArraySource

from betis.errors import InputError
from betis.io.arms import join
from betis.products import Cube, Sky
from betis.wavelength import pixel_edges

FIELD = (3, 4)


def arm(start, step=1.0, n_wave=20, seed=0, **changes):
    rng = np.random.default_rng(seed)
    wave = start + step * np.arange(n_wave)
    shape = (n_wave, *FIELD)
    source = ArraySource(
        flux=rng.normal(5, 1, shape),
        variance=rng.uniform(0.5, 2, shape),
        mask=rng.random(shape) < 0.1,
    )
    cube = Cube(
        source=source,
        wave=wave,
        edges=pixel_edges(wave),
        medium="air",
        lsf=np.full(n_wave, step),
        sky=Sky(shape=FIELD, wcs=WCS, flux_scale=1e-16),
        instrument="sami",
        path=f"{start:g}.fits",
    )
    return replace(cube, **changes)


BLUE, RED = arm(5000.0, 1.05), arm(6000.0, 0.6, 30, seed=1)


def voxels(cube):
    return [np.asarray(part) for part in cube.read()]


def test_an_axis_with_a_gap_is_both_axes_one_after_the_other():
    cube = join(BLUE, RED)
    np.testing.assert_array_equal(cube.wave, np.concatenate([BLUE.wave, RED.wave]))
    np.testing.assert_array_equal(cube.lsf, np.concatenate([BLUE.lsf, RED.lsf]))
    np.testing.assert_array_equal(cube.edges[:20], BLUE.edges[:-1])
    np.testing.assert_array_equal(cube.edges[21:], RED.edges[1:])
    assert BLUE.edges[-1] < cube.edges[20] < RED.edges[0]


def test_voxels_are_those_of_the_arms_but_beside_the_gap():
    joined = voxels(join(BLUE, RED))
    apart = [np.concatenate(pair) for pair in zip(voxels(BLUE), voxels(RED), strict=True)]
    for part in apart[:2]:
        part[19:21] = 0
    apart[2][19:21] = True
    for found, expected in zip(joined, apart, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_order_of_the_arms_changes_nothing_but_the_name():
    one, other = join(BLUE, RED), join(RED, BLUE)
    np.testing.assert_array_equal(one.wave, other.wave)
    for first, second in zip(voxels(one), voxels(other), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (one.path, other.path) == (BLUE.path, RED.path)


@given(
    rows=st.slices(FIELD[0]).filter(lambda item: (item.step or 1) == 1),
    waves=st.slices(50).filter(lambda item: (item.step or 1) > 0),
)
def test_any_block_is_that_part_of_the_whole(rows, waves):
    cube = join(BLUE, RED)
    for part, whole in zip(cube.read(rows, waves), cube.read(), strict=True):
        np.testing.assert_array_equal(part, whole[waves, rows])


@given(start=st.floats(5001.0, 5019.0), step=st.floats(0.5, 1.2))
def test_arms_that_overlap_are_cut_at_the_middle_of_the_overlap(start, step):
    red = arm(start, step, 60, seed=1)
    cube = join(BLUE, red)
    middle = 0.5 * (BLUE.edges[-1] + red.edges[0])
    n_blue = int(np.sum(cube.wave < middle))
    assert np.all(np.diff(cube.wave) > 0)
    assert np.all(np.diff(cube.edges) > 0)
    assert np.all((cube.edges[:-1] < cube.wave) & (cube.wave < cube.edges[1:]))
    np.testing.assert_array_equal(cube.wave[:n_blue], BLUE.wave[BLUE.wave < middle])
    np.testing.assert_array_equal(cube.wave[n_blue:], red.wave[red.wave >= middle])
    block, own = cube.read(), red.read()
    np.testing.assert_array_equal(block.flux[n_blue + 1 :], own.flux[red.wave >= middle][1:])
    assert block.mask[n_blue - 1 : n_blue + 1].all()


def test_the_flux_scale_is_that_of_the_first():
    faint = replace(RED, sky=replace(RED.sky, flux_scale=1e-17))
    one, other = join(BLUE, faint), join(faint, BLUE)
    assert (one.sky.flux_scale, other.sky.flux_scale) == (1e-16, 1e-17)
    np.testing.assert_allclose(one.read().flux * 10, other.read().flux)
    np.testing.assert_allclose(one.read().variance * 100, other.read().variance)
    np.testing.assert_allclose(one.read().flux[21:] * 10, RED.read().flux[1:])


def test_copies_are_those_of_both_arms():
    labels = np.array([[1, 1, 2, -1]] * 3, dtype=np.int32)
    other = np.array([[1, 1, 2, 2], [3, 3, 2, 2], [3, 3, 2, -1]], dtype=np.int32)
    same = join(replace(BLUE, copies=labels), replace(RED, copies=labels))
    np.testing.assert_array_equal(same.copies, labels)
    both = join(replace(BLUE, copies=labels), replace(RED, copies=other)).copies
    assert (both[labels < 0] == -1).all()
    kept = both >= 0
    together = both[kept][:, None] == both[kept][None]
    expected = (labels[kept][:, None] == labels[kept][None]) & (
        other[kept][:, None] == other[kept][None]
    )
    np.testing.assert_array_equal(together, expected)
    assert join(replace(BLUE, copies=labels), RED).copies is None


def shifted(n_spaxel):
    return Sky(shape=FIELD, wcs={**WCS, "CRPIX1": WCS["CRPIX1"] + n_spaxel}, flux_scale=1e-16)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"instrument": "kcwi"}, r"different instruments \(sami and kcwi\)"),
        ({"medium": "vacuum"}, "different media of the wavelengths"),
        ({"noise_kind": "ivar"}, "different kinds of error"),
        ({"dereddened": True}, "Galactic extinction"),
        ({"sky": Sky(shape=(4, 4), flux_scale=1e-16)}, r"different fields \(y, x\)"),
        ({"sky": Sky(shape=FIELD, wcs=WCS)}, "knowledge of the flux unit"),
        ({"sky": shifted(0.2)}, r"are 0\.2 spaxels apart by their celestial WCS"),
    ],
)
def test_what_are_no_two_arms_is_refused(changed, sentence):
    with pytest.raises(InputError, match=sentence):
        join(BLUE, replace(RED, **changed))


def test_a_small_offset_and_a_missing_wcs_are_let_pass():
    assert join(BLUE, replace(RED, sky=shifted(0.05))).sky.wcs == WCS
    bare = replace(BLUE, sky=Sky(shape=FIELD, flux_scale=1e-16))
    assert join(bare, RED).sky.wcs == WCS


def test_an_arm_inside_the_other_is_refused():
    inside = arm(5005.0, 1.0, 5)
    for pair in ((BLUE, inside), (inside, BLUE), (BLUE, BLUE)):
        with pytest.raises(InputError, match="lies inside"):
            join(*pair)
