"""A run folder knows whose it is."""

import json
import subprocess
import sys

import pytest

from betis.errors import InputError, RunFolderError
from betis.io.run_folder import LOG, RunFolder, digest_file


@pytest.fixture
def cube(tmp_path):
    path = tmp_path / "cube.fits"
    path.write_bytes(b"voxels")
    return path


def test_an_untouched_cube_is_not_read_again_and_a_touched_one_is(tmp_path, cube, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    first = folder.digest_of_cube(cube)
    folder.claim(cube, first)
    read = []
    monkeypatch.setattr(
        "betis.io.run_folder.digest_file", lambda path: read.append(path) or digest_file(path)
    )
    assert folder.digest_of_cube(cube) == first
    assert read == []
    cube.write_bytes(b"other voxels")
    assert folder.digest_of_cube(cube) != first
    assert read == [cube]


def test_the_folder_of_another_cube_is_refused_and_kept(tmp_path, cube):
    folder = RunFolder(tmp_path / "run")
    folder.claim(cube, "a" * 32)
    before = folder.provenance()
    with pytest.raises(RunFolderError, match=r"holds the run of another cube .*cube\.fits"):
        folder.claim(tmp_path / "else.fits", "b" * 32)
    assert folder.provenance() == before


def test_notes_are_merged_one_level_deep(tmp_path, cube):
    folder = RunFolder(tmp_path / "run")
    folder.claim(cube, "a" * 32)
    folder.note({"stages": {"snr.fits": 1}})
    folder.note({"stages": {"bins.fits": 2}, "betis": "1"})
    assert folder.provenance()["stages"] == {"snr.fits": 1, "bins.fits": 2}
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["betis"] == "1"


def test_a_damaged_provenance_is_said(tmp_path, cube):
    folder = RunFolder(tmp_path / "run")
    folder.claim(cube, "a" * 32)
    (folder / "provenance.json").write_text("{half")
    with pytest.raises(
        RunFolderError, match=r"provenance\.json is damaged .* start this run afresh"
    ):
        folder.provenance()


def test_a_damaged_product_has_no_key(tmp_path, cube):
    folder = RunFolder(tmp_path / "run")
    folder.claim(cube, "a" * 32)
    (folder / "snr.fits").write_text("no FITS")
    assert folder.key_of("snr.fits") == ""
    assert folder.key_of("absent.fits") == ""


def test_a_cube_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be read: Is a directory; check the path"):
        digest_file(tmp_path)


def test_two_runs_do_not_share_a_folder(tmp_path):
    folder = RunFolder(tmp_path)
    script = (
        "import sys, time; from betis.io.run_folder import RunFolder\n"
        f"with RunFolder({str(tmp_path)!r}).held():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(RunFolderError, match=r"another run is at work .* wait until"),
            folder.held(),
        ):
            pass
        other.kill()
        other.wait()
    with folder.held():
        pass


def test_a_folder_that_cannot_be_locked_is_said(tmp_path):
    (tmp_path / LOG).mkdir()
    with pytest.raises(RunFolderError, match="cannot be written"), RunFolder(tmp_path).held():
        pass
