"""Labels are found in a file, or it is said which images there are."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from betis.errors import InputError
from betis.io.fits import image_hdu, write_fits
from betis.io.label_map import read_labels

LABELS = np.arange(12, dtype=np.int16).reshape(3, 4)


def write(path, *images, primary=None):
    extensions = [fits.ImageHDU(image, name=name) for name, image in images]
    fits.HDUList([fits.PrimaryHDU(primary), *extensions]).writeto(path)
    return path


@pytest.fixture
def two_maps(tmp_path):
    """Two maps and a cube."""
    cube = np.zeros((2, 3, 4), np.float32)
    return write(tmp_path / "maps.fits", ("FLUX", cube), ("REGIONS", LABELS), ("HII", LABELS + 100))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float32", "float64"])
def test_the_only_map_is_read_as_stored(tmp_path, dtype):
    path = write(tmp_path / "labels.fits", ("SEG", LABELS.astype(dtype)))
    found, none_below = read_labels(str(path))
    assert np.array_equal(found, LABELS)
    assert found.dtype == np.dtype(dtype)
    assert none_below == 1


def test_a_map_in_the_primary_extension_is_read(tmp_path):
    path = write(tmp_path / "labels.fits", primary=LABELS)
    assert np.array_equal(read_labels(str(path))[0], LABELS)


@pytest.mark.parametrize("extension", ["HII", "hii", "3"])
def test_an_extension_is_found_by_name_or_number(two_maps, extension):
    assert np.array_equal(read_labels(f"{two_maps}[{extension}]")[0], LABELS + 100)


def test_nan_stays(tmp_path):
    image = LABELS.astype(float)
    image[1, 1] = np.nan
    found, _ = read_labels(str(write(tmp_path / "labels.fits", ("SEG", image))))
    np.testing.assert_array_equal(found, image)


def test_a_compressed_file_is_read(tmp_path, two_maps):
    path = tmp_path / "maps.fits.gz"
    path.write_bytes(gzip.compress(two_maps.read_bytes()))
    assert np.array_equal(read_labels(f"{path}[REGIONS]")[0], LABELS)


def test_a_compressed_image_is_read(tmp_path):
    path = tmp_path / "labels.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(LABELS, name="SEG")]).writeto(path)
    assert np.array_equal(read_labels(str(path))[0], LABELS)


def test_in_a_map_of_ours_zero_is_a_bin(tmp_path):
    path = tmp_path / "bins.fits"
    write_fits(path, [image_hdu("BINID", LABELS)])
    assert read_labels(str(path))[1] == 0
    assert read_labels(f"{path}[1]")[1] == 0


def test_a_folder_with_brackets_in_its_name_is_a_folder(tmp_path):
    folder = tmp_path / "run[1]"
    folder.mkdir()
    path = write(folder / "labels.fits", ("SEG", LABELS))
    assert np.array_equal(read_labels(str(path))[0], LABELS)
    assert np.array_equal(read_labels(f"{path}[SEG]")[0], LABELS)


def test_a_choice_of_maps_is_the_users(two_maps):
    said = r"has 2 2-D images: REGIONS, HII, .* as in maps.fits\[EXTNAME\]"
    with pytest.raises(InputError, match=said):
        read_labels(str(two_maps))


def test_a_file_without_a_map_is_refused(tmp_path):
    path = write(tmp_path / "cube.fits", ("FLUX", np.zeros((2, 3, 4))))
    with pytest.raises(InputError, match="has no 2-D image, where one map of labels"):
        read_labels(str(path))


@pytest.mark.parametrize("extension", ["SEG", "7", ""])
def test_an_extension_that_is_not_there_is_refused(two_maps, extension):
    said = f"has no extension '{extension}', .*2-D images are: REGIONS, HII"
    with pytest.raises(InputError, match=said):
        read_labels(f"{two_maps}[{extension}]")


def test_a_name_that_two_extensions_have_is_refused(tmp_path):
    path = write(tmp_path / "labels.fits", ("SEG", LABELS), ("SEG", LABELS))
    with pytest.raises(InputError, match="has 2 extensions 'SEG', where one was expected"):
        read_labels(f"{path}[SEG]")


def test_a_cube_of_labels_is_refused(two_maps):
    with pytest.raises(InputError, match="the extension 'FLUX' is no 2-D image"):
        read_labels(f"{two_maps}[FLUX]")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none\.fits; check the path"):
        read_labels(f"{tmp_path}/none.fits[SEG]")
