"""Files are written whole or not at all."""

import errno

import numpy as np
import pytest
from astropy.io import fits

from betis.errors import RunFolderError
from betis.io.fits import image_hdu, write_atomically, write_fits, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "product.txt"
    write_text(path, "old")

    def full(part):
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunFolderError, match="No space left on device; free some space"):
        write_atomically(path, full)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["product.txt"]


def test_a_full_disk_in_the_words_of_astropy_has_the_same_remedy(tmp_path):
    def full(part):
        raise OSError("Not enough space on disk: requested 9, available 1. ")

    with pytest.raises(RunFolderError, match=r"Not enough space on disk.*; free some space"):
        write_atomically(tmp_path / "product.fits", full)


def test_an_interrupted_write_leaves_no_litter(tmp_path):
    def interrupted(part):
        part.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "product.txt", interrupted)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(RunFolderError, match="could not be written: No such file"):
        write_text(tmp_path / "no" / "where.txt", "text")


def test_long_texts_are_announced_and_short_ones_are_not(tmp_path):
    texts = {"SHORT": "a", "EMPTY": None, "LONG": "b" * 200}
    write_fits(tmp_path / "x.fits", [image_hdu("IMAGE", np.zeros((2, 2)), texts)], {"SHORT": "a"})
    with fits.open(tmp_path / "x.fits") as hdus:
        assert "LONGSTRN" not in hdus[0].header
        assert hdus["IMAGE"].header["LONGSTRN"] == "OGIP 1.0"
        assert hdus["IMAGE"].header["LONG"] == "b" * 200
        assert "EMPTY" not in hdus["IMAGE"].header
