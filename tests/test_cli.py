"""Each command does what its help says."""

import tomllib

import pytest

from betis.cli import main
from betis.cli_flags import FLAG_TYPES
from betis.config import FLAGS, options_from
from betis.linelist import load_line_set
from betis.options import Options


def test_every_flag_is_an_option_and_every_option_flag_is_there():
    assert set(FLAG_TYPES) == set(FLAGS)


def test_stages_one_at_a_time_make_the_same_as_run(mock_cube, finished_run, tmp_path):
    folder = str(tmp_path / "galaxy")
    assert main(["prepare", str(mock_cube), "-z", "0.01", "-o", folder]) == 0
    for stage, product in (
        ("snr", "snr.fits"),
        ("bin", "bins.fits"),
        ("stack", "spectra.fits"),
        ("continuum", "continuum.fits"),
        ("lines", "lines.fits"),
        ("maps", "maps.fits"),
        ("report", "report.html"),
    ):
        assert not (tmp_path / "galaxy" / product).exists()
        assert main([stage, folder]) == 0
        assert (tmp_path / "galaxy" / product).exists()
    from astropy.io.fits import FITSDiff

    dated = {"ignore_keywords": ["CHECKSUM"], "ignore_comments": ["DATASUM"]}
    difference = FITSDiff(str(finished_run / "maps.fits"), folder + "/maps.fits", **dated)
    assert difference.identical, difference.report()


def test_config_prints_toml_with_the_defaults(capsys):
    assert main(["config", "--full"]) == 0
    assert options_from(tomllib.loads(capsys.readouterr().out)) == Options()


def test_a_configuration_file_is_used_and_flags_win(mock_cube, tmp_path):
    (tmp_path / "mine.toml").write_text(
        "[prepare]\nredshift = 0.01\n[binning]\ntarget = 30\n[continuum]\nengine = 'none'\n"
    )
    folder = tmp_path / "out"
    arguments = ["prepare", str(mock_cube), "-c", str(tmp_path / "mine.toml"), "-o", str(folder)]
    assert main([*arguments, "--av", "0.2"]) == 0
    written = tomllib.loads((folder / "config.toml").read_text())
    assert written["binning"]["target"] == 30
    assert written["prepare"]["av"] == 0.2
    assert written["input"]["cube"] == str(mock_cube)


def test_inspect_says_what_was_understood(mock_cube, capsys):
    assert main(["inspect", str(mock_cube), "-z", "0.01"]) == 0
    said = capsys.readouterr().out
    for part in ("INSTRUME is MUSE", "12 x 12 spaxels", "4800.000", "in air", "Ha6563"):
        assert part in said


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("betis ")


def test_templates_are_listed_and_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["templates", "list"]) == 0
    assert "bpass" in capsys.readouterr().out
    assert main(["templates", "show", "bpass"]) == 0
    assert "vacuum" in capsys.readouterr().out


def test_line_sets_are_listed_and_shown(capsys):
    assert main(["line-set", "list"]) == 0
    said = capsys.readouterr().out
    assert "standard" in said
    assert "43 lines, 10 in absorption" in said
    assert main(["line-set", "show", "betis41"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["name", "line", "air", "[Å]"]
    assert [row.split()[0] for row in rows] == list(load_line_set("betis41").names)
    (sodium,) = (row for row in rows if row.startswith("NaI5890"))
    for part in ("5889.951", "5891.583", "≤ 0", "± 15", "guess within 10 Å", "van Hoof"):
        assert part in sodium


def test_a_line_set_that_is_nowhere_is_one_sentence(capsys):
    assert main(["line-set", "show", "betis42"]) == 2
    assert "there is no line set 'betis42'" in capsys.readouterr().err


def test_templates_are_converted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    from importlib import resources

    source = resources.files("betis.data") / "bpass.npz"
    assert main(["templates", "convert", str(source), str(tmp_path / "mine.npz")]) == 0
    assert main(["templates", "show", str(tmp_path / "mine.npz")]) == 0


@pytest.mark.parametrize("command", ["run", "demo", "inspect", "bin", "templates", "line-set"])
def test_help_of_every_command(command, capsys):
    assert main([command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out
