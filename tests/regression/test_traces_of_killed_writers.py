"""What a killed run left half written goes; what a running one writes stays."""

import os
import platform
import subprocess
import sys

import pytest

from betis.errors import RunFolderError
from betis.io.fits import write_text


def part(path, process):
    return path.with_name(f".{path.name}.{platform.node()}.{process}.part")


def killed_process():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


@pytest.mark.skipif(os.name != "posix", reason="only here can a process be asked after")
def test_a_half_written_product_goes_with_the_next_one(tmp_path):
    path = tmp_path / "spectra.fits"
    part(path, killed_process()).write_bytes(bytes(1000))
    write_text(path, "whole")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "whole"


def test_what_others_write_stays(tmp_path):
    path = tmp_path / "spectra.fits"
    others = [
        part(path, os.getppid()),
        part(tmp_path / "lines.fits", killed_process()),
        tmp_path / f".spectra.fits.elsewhere.{killed_process()}.part",
        tmp_path / f".spectra.fits.{platform.node()}.notes.part",
    ]
    for other in others:
        other.write_text("under way")
    write_text(path, "whole")
    assert all(other.exists() for other in others)


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="could not be written: Not a directory"):
        write_text(tmp_path / "file" / "below.fits", "")
