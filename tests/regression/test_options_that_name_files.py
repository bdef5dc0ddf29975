"""A run folder goes on from anywhere, and notices what its options name."""

import shutil
from importlib import resources

import pytest

from betis.cli import main
from betis.errors import RunFolderError
from betis.io.templates import load_templates, save_templates
from betis.pipeline import open_run


@pytest.fixture
def line_set(tmp_path):
    place = tmp_path / "here"
    place.mkdir()
    with resources.as_file(resources.files("betis.data") / "lines.toml") as shipped:
        shutil.copy(shipped, place / "mine.toml")
    return place / "mine.toml"


def keys(cube, folder, tables):
    run = open_run(folder, cube, {"prepare": {"redshift": 0.01}, **tables})
    return {name: run.key(name) for name in run.stages}


def test_a_stage_finds_the_files_of_its_run_from_another_folder(
    line_set, mock_cube, tmp_path, monkeypatch
):
    monkeypatch.chdir(line_set.parent)
    folder = str(tmp_path / "out")
    given = ["--line-set", "mine.toml", "--templates", "*.nothing"]
    assert main(["run", str(mock_cube), "-z", "0.01", "-o", folder, *given]) == 2
    monkeypatch.chdir(tmp_path)
    options = open_run(folder).options
    assert options.lines.line_set == str(line_set)
    assert options.continuum.templates == str(line_set.parent / "*.nothing")
    assert main(["snr", folder]) == 0


def test_what_ships_keeps_its_name_even_beside_a_file_of_that_name(
    line_set, mock_cube, tmp_path, monkeypatch
):
    monkeypatch.chdir(line_set.parent)
    before = keys(mock_cube, tmp_path / "out", {})
    for name in ("standard", "bpass", "quadtree"):
        (line_set.parent / name).write_text("no set of lines")
    assert keys(mock_cube, tmp_path / "out", {}) == before


@pytest.mark.parametrize("pattern", ["", "*.npz"])
def test_a_base_of_many_files_is_made_again_when_one_of_them_changes(pattern, mock_cube, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    save_templates(base / "one.npz", load_templates())
    tables = {"continuum": {"templates": str(base / pattern)}}
    before = keys(mock_cube, tmp_path / "out", tables)
    assert keys(mock_cube, tmp_path / "out", tables) == before
    (base / "two.npz").write_bytes(b"another")
    after = keys(mock_cube, tmp_path / "out", tables)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"continuum", "lines", "maps", "derived", "report"}


def test_a_text_that_is_too_long_for_a_name_is_refused(mock_cube, tmp_path, capsys):
    given = ["run", str(mock_cube), "-z", "0.01", "-o", str(tmp_path / "out")]
    assert main([*given, "--binning", "x" * 999]) == 2
    assert "is unknown; expected one of quadtree" in capsys.readouterr().err


def test_an_unreadable_request_is_refused_before_anything_is_made(mock_cube, tmp_path, capsys):
    given = ["run", str(mock_cube), "-z", "0.01", "-o", str(tmp_path / "out")]
    assert main([*given, "--snr-line", "min(Ha6563,SII6731"]) == 2
    assert "the S/N cannot be measured of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_map_of_regions_that_nothing_uses_is_said(mock_cube, tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["prepare", str(mock_cube), "-z", "0.01", "-o", str(folder)]) == 0
    assert main(["bin", str(folder)]) == 0
    assert "not used" not in capsys.readouterr().out
    shutil.copy(folder / "bins.fits", tmp_path / "mine.fits")
    given = ["--regions-map", str(tmp_path / "mine.fits")]
    assert main(["bin", str(folder), *given]) == 0
    assert "--binning regions uses it" in " ".join(capsys.readouterr().out.split())
    assert main(["bin", str(folder), *given, "--binning", "regions"]) == 0
    assert "not used" not in " ".join(capsys.readouterr().out.split())


def test_a_folder_without_a_run_is_said(tmp_path):
    with pytest.raises(RunFolderError, match="holds no run yet"):
        open_run(tmp_path)


@pytest.mark.parametrize("given", [[], ["--instrument", "muse"]])
def test_a_description_that_nothing_reads_is_refused(given, mock_cube, tmp_path, capsys):
    described = tmp_path / "mine.toml"
    described.write_text("[cube]\nfwhm = 2.6\n")
    command = ["prepare", str(mock_cube), "-z", "0.01", "-o", str(tmp_path / "out")]
    assert main([*command, "-c", str(described), *given]) == 2
    assert "the table [cube] describes a layout, but" in capsys.readouterr().err


def test_a_run_does_not_replace_what_it_reads(mock_cube, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    shutil.copy(mock_cube, folder / "spectra.fits")
    before = (folder / "spectra.fits").read_bytes()
    given = ["-z", "0.01", "-o", str(folder)]
    assert main(["run", str(folder / "spectra.fits"), *given]) == 2
    assert "replaces; copy it elsewhere" in capsys.readouterr().err
    assert (folder / "spectra.fits").read_bytes() == before
    (folder / "spectra.fits").unlink()
    assert main(["prepare", str(mock_cube), *given]) == 0
    assert main(["bin", str(folder)]) == 0
    assert main(["bin", str(folder), "--binning", f"{folder / 'bins.fits'}[BINID]"]) == 2
    assert "replaces; copy it elsewhere" in capsys.readouterr().err
