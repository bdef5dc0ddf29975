"""Whatever a file system allows in a name is kept, or refused before anything is written."""

import os
import shutil
import sys

import pytest

from betis.cli import main


@pytest.mark.parametrize(
    "name", ["with a blank", "星系 ünï", 'a "quote"', "back\\table", "[bold]", "line\nbreak"]
)
def test_a_run_goes_on_from_a_folder_of_any_name(name, mock_cube, tmp_path):
    place = tmp_path / name
    place.mkdir()
    cube = place / f"{name}.fits"
    shutil.copy(mock_cube, cube)
    assert main(["prepare", str(cube), "-z", "0.01", "-o", str(place / "out")]) == 0
    assert main(["snr", str(place / "out")]) == 0
    assert (place / "out" / "snr.fits").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only here may a name be any bytes")
@pytest.mark.parametrize("odd", ["cube", "folder"])
def test_a_name_that_is_no_text_is_refused(odd, mock_cube, tmp_path, capsys):
    other = {"cube": "folder", "folder": "cube"}[odd]
    names = {odd: os.fsdecode(b"bad\xff"), other: "good"}
    cube, folder = tmp_path / f"{names['cube']}.fits", tmp_path / names["folder"]
    shutil.copy(mock_cube, cube)
    assert main(["prepare", str(cube), "-z", "0.01", "-o", str(folder)]) == 2
    assert "is not valid UTF-8" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize("odd", ["x" * 999, "/dev/null/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_is_said(odd, mock_cube, capsys):
    assert main(["prepare", str(mock_cube), "-z", "0.01", "-o", odd]) == 2
    said = capsys.readouterr().err
    assert said.startswith("betis: ")
    assert "-o" in said


def test_a_configuration_that_cannot_be_read_is_said(mock_cube, tmp_path, capsys):
    arguments = ["prepare", str(mock_cube), "-z", "0.01", "-o", str(tmp_path / "out")]
    assert main([*arguments, "-c", str(tmp_path)]) == 2
    assert "cannot be read: Is a directory" in capsys.readouterr().err
