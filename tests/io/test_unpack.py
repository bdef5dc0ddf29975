"""A packed cube is unpacked once, whole or not at all, and forgotten when it is not used."""

import bz2
import errno
import gzip
import logging
import lzma
import os
import time
import zipfile

import numpy as np
import pytest
from astropy.io import fits
from tests.io.small_cubes import SAMPLES, Voxels, header, kcwi, muse

from betis.errors import InputError
from betis.io import unpack
from betis.io.readers import read_cube
from betis.io.unpack import KEPT_DAYS, unpacked


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BETIS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cubes"


@pytest.fixture
def plain(tmp_path):
    return SAMPLES["muse"].write(tmp_path / "plain.fits", Voxels.drawn())


def zipped(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cube.fits", content)


PACKERS = {
    "gz": lambda path, content: path.write_bytes(gzip.compress(content)),
    "bz2": lambda path, content: path.write_bytes(bz2.compress(content)),
    "xz": lambda path, content: path.write_bytes(lzma.compress(content)),
    "zip": zipped,
}


@pytest.mark.parametrize("kind", PACKERS)
def test_what_is_packed_is_what_comes_out(kind, plain, tmp_path, folder):
    path = tmp_path / f"cube.fits.{kind}"
    PACKERS[kind](path, plain.read_bytes())
    assert unpacked(path).read_bytes() == plain.read_bytes()
    assert unpacked(path).parent == folder
    cube = read_cube(path)
    assert cube.path == str(path)
    np.testing.assert_array_equal(cube.flux, read_cube(plain).flux)


def test_what_is_not_packed_is_left_where_it_is(plain, folder):
    assert unpacked(plain) == plain
    assert not folder.exists()


def compressed(voxels, **options):
    hdus = muse(voxels)
    return [
        hdus[0],
        *(
            fits.CompImageHDU(hdu.data, hdu.header, compression_type="GZIP_2", **options)
            for hdu in hdus[1:]
        ),
    ]


@pytest.mark.parametrize("tiles", [{}, {"tile_shape": (7, 4, 5)}, {"tile_shape": (60, 2, 3)}])
def test_fpacked_extensions_become_plain_ones(tiles, plain, tmp_path):
    path = tmp_path / "cube.fits.fz"
    fits.HDUList(compressed(Voxels.drawn(), quantize_level=0, **tiles)).writeto(path)
    with fits.open(unpacked(path)) as found, fits.open(plain) as expected:
        assert [hdu.name for hdu in found] == [hdu.name for hdu in expected]
        for one, other in zip(found[1:], expected[1:], strict=True):
            assert type(one) is fits.ImageHDU
            np.testing.assert_array_equal(one.data, other.data)
            assert one.header["BITPIX"] == other.header["BITPIX"]
    whole, cube = read_cube(plain), read_cube(path)
    for one, other in zip(cube.read(), whole.read(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(cube.wave, whole.wave)


def test_tiles_that_take_less_room_than_their_voxels_are_whole_or_refused(tmp_path):
    plane = np.random.default_rng(0).normal(size=(1, 40, 50))
    options = {"compression_type": "GZIP_1", "quantize_level": 0, "tile_shape": (60, 40, 50)}
    same = fits.CompImageHDU(np.repeat(plane, 60, axis=0), name="SCI", **options)
    path = tmp_path / "cube.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), same]).writeto(path)
    assert path.stat().st_size < same.data.nbytes // 10
    np.testing.assert_array_equal(fits.getdata(unpacked(path), "SCI"), same.data)
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(InputError, match="is cut short"):
        unpacked(path)


def test_fpacked_tiles_are_unpacked_in_pieces(plain, tmp_path, monkeypatch):
    path = tmp_path / "cube.fits.fz"
    fits.HDUList(compressed(Voxels.drawn(), quantize_level=0)).writeto(path)
    monkeypatch.setattr(unpack, "_PIECE", 1000)
    sizes = [len(piece) for piece in unpack._image_pieces(path)]
    assert max(sizes) <= 5760
    assert sum(sizes) == plain.stat().st_size


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_scaled_integers_keep_their_scale(kind, tmp_path):
    values = np.arange(24).reshape(2, 3, 4).astype(kind)
    hdu = fits.CompImageHDU(values, name="SCI")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "cube.fits.fz")
    np.testing.assert_array_equal(fits.getdata(unpacked(tmp_path / "cube.fits.fz"), "SCI"), values)


def test_an_image_that_fpack_has_moved_from_the_primary_goes_back_there(tmp_path):
    voxels = Voxels.drawn()
    hdus = kcwi(voxels)
    first = fits.CompImageHDU(voxels.flux, hdus[0].header, compression_type="GZIP_2")
    first.header.update({"INSTRUME": "KCWI"})
    path = tmp_path / "cube.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), first, *hdus[1:]]).writeto(path)
    with fits.open(path, mode="update", disable_image_compression=True) as tables:
        tables[1].header["ZSIMPLE"] = True
    cube = read_cube(path)
    assert cube.instrument == "kcwi"
    np.testing.assert_allclose(cube.flux, voxels.flux)


def test_packed_tiles_in_a_packed_file_are_both_unpacked(plain, tmp_path):
    path = tmp_path / "cube.fits.fz"
    fits.HDUList(compressed(Voxels.drawn(), quantize_level=0)).writeto(path)
    PACKERS["gz"](tmp_path / "twice.gz", path.read_bytes())
    np.testing.assert_array_equal(read_cube(tmp_path / "twice.gz").flux, read_cube(plain).flux)


def test_it_is_unpacked_once_and_said_so(plain, tmp_path, caplog):
    path = tmp_path / "cube.fits.gz"
    PACKERS["gz"](path, plain.read_bytes())
    with caplog.at_level(logging.INFO, logger="betis"):
        first, second = unpacked(path), unpacked(path)
    assert first == second
    assert [record.name for record in caplog.records] == ["betis"]
    assert f"Unpacking {path}" in caplog.text


def test_a_file_that_has_changed_is_unpacked_anew(plain, tmp_path):
    path = tmp_path / "cube.fits.gz"
    PACKERS["gz"](path, plain.read_bytes())
    before = unpacked(path)
    SAMPLES["muse"].write(tmp_path / "other.fits", Voxels.drawn(seed=1))
    PACKERS["gz"](path, (tmp_path / "other.fits").read_bytes())
    assert unpacked(path) != before
    assert unpacked(path).read_bytes() == (tmp_path / "other.fits").read_bytes()


def test_a_file_of_the_same_size_that_has_changed_is_unpacked_anew(plain, tmp_path):
    path = tmp_path / "cube.fits.gz"
    PACKERS["gz"](path, plain.read_bytes())
    before = unpacked(path)
    os.utime(path, (1e9, 1e9))
    assert unpacked(path) != before


def test_what_was_not_used_for_long_is_removed_and_what_is_used_is_kept(plain, tmp_path, folder):
    paths = [tmp_path / f"{name}.fits.gz" for name in ("old", "used", "new")]
    for path in paths:
        PACKERS["gz"](path, plain.read_bytes())
    old, used = (unpacked(path) for path in paths[:2])
    long_ago = time.time() - 86400 * (KEPT_DAYS + 1)
    for path in (old, used):
        os.utime(path, (long_ago, long_ago))
    unpacked(paths[1])
    new = unpacked(paths[2])
    assert set(folder.iterdir()) == {used, new}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_damaged_file_is_refused_and_leaves_nothing(kind, plain, tmp_path, folder):
    path = tmp_path / f"cube.{kind}"
    PACKERS[kind](path, plain.read_bytes())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cannot be unpacked: it is cut short or damaged"):
        unpacked(path)
    assert not list(folder.iterdir())


def test_a_full_disk_is_one_sentence_and_leaves_nothing(plain, tmp_path, folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "cube.fits.gz"
    PACKERS["gz"](path, plain.read_bytes())
    monkeypatch.setattr(type(folder), "replace", full)
    with pytest.raises(InputError, match=r"no space is left in .*; free some, or .* BETIS_CACHE"):
        unpacked(path)
    assert not list(folder.iterdir())


def test_a_cache_that_cannot_be_written_is_one_sentence(plain, tmp_path, monkeypatch):
    path = tmp_path / "cube.fits.gz"
    PACKERS["gz"](path, plain.read_bytes())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BETIS_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"could not be unpacked: .* cannot be written"):
        unpacked(path)


def test_an_archive_of_several_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "cubes.zip", "w") as archive:
        archive.writestr("one.fits", b"1")
        archive.writestr("two.fits", b"2")
    with pytest.raises(InputError, match="an archive of 2 files, where one cube was expected"):
        unpacked(tmp_path / "cubes.zip")


def test_what_is_wrong_inside_names_the_file_that_was_given(plain, tmp_path):
    path = tmp_path / "cube.fits.gz"
    content = plain.read_bytes()
    PACKERS["gz"](path, content[:-9000])
    with pytest.raises(InputError, match=rf"{path} is cut short"):
        read_cube(path)
    fits.PrimaryHDU(np.ones((3, 4), np.float32), header()).writeto(tmp_path / "flat.fits")
    PACKERS["gz"](path, (tmp_path / "flat.fits").read_bytes())
    with pytest.raises(InputError, match=rf"{path} holds no 3-D image"):
        read_cube(path)
