"""The MUSE reader: what is in the file is what comes out, and noise is noise."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from tests.cubes import WAVE, write_muse_file
from tests.cubes import WCS as CARDS

import betis
from betis.errors import InputError
from betis.io.flux_units import flux_density_scale
from betis.io.muse import LAYOUT
from betis.io.wcs import celestial_wcs

SHAPE = (WAVE.size, 5, 7)


@pytest.fixture
def voxels():
    rng = np.random.default_rng(0)
    flux = rng.normal(10, 1, SHAPE).astype(np.float32)
    variance = rng.uniform(0.5, 2, SHAPE).astype(np.float32)
    return flux, variance


def test_flux_error_mask_and_axis_come_back(tmp_path, voxels):
    flux, variance = voxels
    cube = betis.read_cube(write_muse_file(tmp_path / "cube.fits", flux, variance))
    np.testing.assert_array_equal(cube.flux, flux)
    np.testing.assert_allclose(cube.error, np.sqrt(variance.astype(float)))
    np.testing.assert_allclose(cube.wave, WAVE, atol=1e-6)
    assert cube.medium == "air"
    assert cube.sky.flux_scale == 1e-20
    assert not cube.mask.any()


def test_any_block_is_that_part_of_the_whole(tmp_path, voxels):
    cube = betis.read_cube(write_muse_file(tmp_path / "cube.fits", *voxels))
    whole, part = cube.read(), cube.read(slice(1, 4), slice(20, 33))
    np.testing.assert_array_equal(part.flux, whole.flux[20:33, 1:4])
    np.testing.assert_array_equal(part.variance, whole.variance[20:33, 1:4])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_voxel_without_a_positive_variance_is_masked(tmp_path, voxels, value):
    flux, variance = voxels
    variance[7, 2, 3] = value
    block = betis.read_cube(write_muse_file(tmp_path / "cube.fits", flux, variance)).read()
    assert np.argwhere(block.mask).tolist() == [[7, 2, 3]]
    assert block.flux[7, 2, 3] == 0
    assert block.variance[7, 2, 3] == 0


def test_the_field_keeps_the_celestial_wcs(tmp_path, voxels):
    path = write_muse_file(tmp_path / "cube.fits", *voxels)
    original = WCS(fits.Header(CARDS))
    kept = celestial_wcs(betis.read_cube(path).sky.wcs)
    for x, y in ((0, 0), (6, 4), (2.5, 1.5)):
        assert kept.pixel_to_world(x, y).separation(original.pixel_to_world(x, y)).arcsec < 1e-6


def test_a_file_without_variance_is_refused(tmp_path, voxels):
    path = write_muse_file(tmp_path / "cube.fits", voxels[0])
    with pytest.raises(
        InputError, match=r"no extension STAT \(the variance\); it has PRIMARY, DATA"
    ):
        betis.read_cube(path)


def test_variance_of_another_shape_is_refused(tmp_path, voxels):
    path = write_muse_file(tmp_path / "cube.fits", voxels[0], voxels[1][:-1])
    with pytest.raises(
        InputError, match=r"DATA has the shape \(400, 5, 7\) and STAT \(399, 5, 7\)"
    ):
        betis.read_cube(path)


def test_an_image_is_refused(tmp_path):
    fits.PrimaryHDU(np.ones((4, 4))).writeto(tmp_path / "image.fits")
    with pytest.raises(InputError, match="holds no 3-D image"):
        betis.read_cube(tmp_path / "image.fits")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*nowhere\.fits"):
        betis.read_cube(tmp_path / "nowhere.fits")


def test_what_is_no_fits_is_refused(tmp_path):
    (tmp_path / "cube.fits").write_text("a shopping list")
    with pytest.raises(InputError, match="cannot be read as a FITS file"):
        betis.read_cube(tmp_path / "cube.fits")


def test_a_file_cut_short_is_refused(tmp_path, voxels):
    path = write_muse_file(tmp_path / "cube.fits", *voxels)
    path.write_bytes(path.read_bytes()[: int(0.9 * path.stat().st_size)])
    with pytest.raises(InputError, match=r"cut short|cannot be read"):
        betis.read_cube(path).read()


def test_an_unknown_reader_is_refused(tmp_path, voxels):
    path = write_muse_file(tmp_path / "cube.fits", *voxels)
    with pytest.raises(InputError, match="there is no reader 'hubble'; expected one of muse"):
        betis.read_cube(path, instrument="hubble")


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        ("10**(-20)*erg/s/cm**2/Angstrom", 1e-20),
        ("1e-17 erg/s/cm2/Angstrom", 1e-17),
        ("10^-18 erg/s/cm^2/A", 1e-18),
        ("", 1e-20),
    ],
)
def test_the_flux_scale_is_read_from_the_unit(unit, scale):
    assert flux_density_scale(unit, LAYOUT.default_scale) == pytest.approx(scale)


def test_the_real_cube(test_data):
    cube = betis.read_cube(test_data / "muse" / "a478_bcg.fits")
    assert cube.shape == (3681, 40, 40)
    np.testing.assert_allclose(cube.wave, 4749.890625 + 1.25 * np.arange(3681), atol=1e-6)
    assert cube.medium == "air"
    assert int(np.isnan(cube.flux).sum()) == 5


def test_a_real_cube_with_an_old_axis(test_data):
    cube = betis.read_cube(test_data / "muse" / "edge_linear_cdelt3.fits")
    np.testing.assert_allclose(cube.wave, 7300 + 1.25 * np.arange(1595), atol=1e-6)
    assert cube.medium == "air"
