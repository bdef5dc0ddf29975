"""Each mistake is one plain sentence, exit status 2, no traceback, and nothing is lost."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from tests.cubes import WAVE, write_muse_file

from betis.cli import main


def fails(arguments, capsys, status=2):
    """Run the command line; return the one sentence it ends with."""
    assert main([str(argument) for argument in arguments]) == status
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    sentences = [line for line in said.err.splitlines() if line.startswith("betis: ")]
    assert len(sentences) == 1
    return sentences[0].removeprefix("betis: ")


def fast(cube, folder, *more):
    return ["run", cube, "-z", "0.01", "-o", folder, "--continuum", "none", *more]


def test_no_such_file(tmp_path, capsys):
    said = fails(fast(tmp_path / "nowhere.fits", tmp_path / "out"), capsys)
    assert "there is no file" in said
    assert "nowhere.fits" in said
    assert not (tmp_path / "out").exists()


def test_a_two_dimensional_fits(tmp_path, capsys):
    fits.PrimaryHDU(np.ones((5, 5))).writeto(tmp_path / "image.fits")
    assert "holds no 3-D image" in fails(fast(tmp_path / "image.fits", tmp_path / "out"), capsys)


def test_a_cube_without_variance(tmp_path, capsys):
    path = write_muse_file(tmp_path / "cube.fits", np.ones((WAVE.size, 4, 4)))
    assert "no extension STAT" in fails(fast(path, tmp_path / "out"), capsys)


def test_a_redshift_that_puts_the_line_outside(mock_cube, tmp_path, capsys):
    said = fails(["run", mock_cube, "-z", "0.5", "-o", tmp_path / "out"], capsys)
    assert "SII6731" in said
    assert "outside this cube (4800-7000 A)" in said


@pytest.mark.parametrize(("redshift", "is_told"), [(0.008, True), (0.012, True), (0.01, False)])
def test_a_redshift_that_leaves_the_lines_out_of_reach_is_told(
    redshift, is_told, mock_cube, tmp_path, capsys
):
    line = ["--snr-line", "continuum:6600-6700", "--continuum", "none", "--target-snr", "30"]
    run = ["run", str(mock_cube), "-z", str(redshift), "-o", str(tmp_path / "out"), *line]
    assert main(run) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("of the lines found end on the bound of the velocity" in said) == is_told


def test_no_redshift(mock_cube, tmp_path, capsys):
    assert "give it with -z" in fails(["run", mock_cube, "-o", tmp_path / "out"], capsys)


def test_an_extinction_that_is_given_twice(mock_cube, tmp_path, capsys):
    said = fails(fast(mock_cube, tmp_path / "out", "--av", "1.0", "--ebv", "0.3"), capsys)
    assert "given twice, as A_V = 1 mag and as E(B-V) = 0.3 mag" in said
    assert not (tmp_path / "out").exists()


def test_a_binning_that_there_is_not(mock_cube, tmp_path, capsys):
    said = fails(fast(mock_cube, tmp_path / "out", "--binning", "hexagons"), capsys)
    assert "the binning 'hexagons' is unknown; expected one of quadtree, " in said
    said = fails(fast(mock_cube, tmp_path / "out", "--binning", "labels.fits[HII]"), capsys)
    assert "there is no file labels.fits" in said


def test_a_cube_of_nan(tmp_path, capsys):
    empty = np.full((WAVE.size, 6, 6), np.nan)
    path = write_muse_file(tmp_path / "cube.fits", empty, np.ones_like(empty))
    assert "no spaxel has usable data" in fails(fast(path, tmp_path / "out"), capsys)


def test_a_target_that_nothing_reaches(mock_cube, tmp_path, capsys):
    said = fails(fast(mock_cube, tmp_path / "out", "--target-snr", "99999"), capsys)
    assert "no bin reaches S/N 99999 in SII6731: the best has" in said
    assert (tmp_path / "out" / "snr.fits").exists()
    assert main([str(part) for part in fast(mock_cube, tmp_path / "out")]) == 0


def test_the_folder_of_another_cube(mock_cube, tmp_path, capsys):
    folder = tmp_path / "out"
    assert main([str(part) for part in fast(mock_cube, folder)]) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = write_muse_file(
        tmp_path / "other.fits", np.ones((WAVE.size, 4, 4)), np.ones((WAVE.size, 4, 4))
    )
    capsys.readouterr()
    assert "holds the run of another cube" in fails(fast(other, folder), capsys)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "flags", [("--snr-line", "SII6717"), ("--target-snr", "99999"), ("--line-set", "nowhere")]
)
def test_a_wrong_option_leaves_a_finished_run_as_it_was(finished_run, tmp_path, capsys, flags):
    folder = shutil.copytree(finished_run, tmp_path / "galaxy")
    fixed = [path.name for path in folder.iterdir() if path.suffix in {".toml", ".fits", ".html"}]
    before = {name: (folder / name).read_bytes() for name in fixed}
    stage = {"--snr-line": "snr", "--target-snr": "bin", "--line-set": "lines"}[flags[0]]
    fails([stage, folder, *flags], capsys)
    assert {name: (folder / name).read_bytes() for name in fixed} == before


def test_an_unknown_option_and_a_wrong_value(mock_cube, tmp_path, capsys):
    said = fails(fast(mock_cube, tmp_path / "out", "--binning", "hexagons"), capsys)
    assert "'hexagons'" in said
    assert "No such option" in fails(fast(mock_cube, tmp_path / "out", "--colour", "1"), capsys)


def test_a_stage_on_an_empty_folder(tmp_path, capsys):
    assert "holds no run yet" in fails(["lines", tmp_path], capsys)


def test_a_run_folder_that_is_a_file(mock_cube, tmp_path, capsys):
    (tmp_path / "out").write_text("not a folder")
    assert "cannot be made" in fails(fast(mock_cube, tmp_path / "out"), capsys)


def test_a_full_disk(mock_cube, tmp_path, capsys, monkeypatch):
    folder, sync = tmp_path / "out", os.fsync

    def full(handle):
        if list(folder.glob(".bins.fits*")):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    said = fails(fast(mock_cube, folder), capsys)
    assert "bins.fits could not be written: No space left on device; free some space" in said
    assert not list(folder.glob(".*"))
    monkeypatch.undo()
    assert main([str(part) for part in fast(mock_cube, folder)]) == 0


def betis_process(arguments, before=""):
    """Start the command line as a process of its own, after some words of shell."""
    words = [sys.executable, "-m", "betis.cli", *map(str, arguments)]
    return subprocess.Popen(
        ["/bin/sh", "-c", f'{before} exec "$@"', "sh", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_file_size_limit_of_the_machine(mock_cube, tmp_path):
    process = betis_process(fast(mock_cube, tmp_path / "out"), "ulimit -f 600;")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "Traceback" not in said
    assert "spectra.fits could not be written" in said
    assert not list((tmp_path / "out").glob(".*"))


def test_ctrl_c_keeps_what_is_done_and_the_next_run_goes_on(mock_cube, tmp_path):
    folder = tmp_path / "out"
    process = betis_process(fast(mock_cube, folder))
    deadline = time.monotonic() + 120
    while not (folder / "snr.fits").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "run the same command again to go on" in said
    assert (folder / "snr.fits").exists()
    assert not list(folder.rglob("*.part"))
    assert main([str(part) for part in fast(mock_cube, folder)]) == 0
