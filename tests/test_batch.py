"""A sample goes on past its failures, and one table tells all."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from betis.batch import Galaxy, read_catalogue, run_batch
from betis.errors import ConfigError, InputError
from betis.mock import MockOptions, make_galaxy, write_cube


def catalogue(tmp_path, text):
    path = tmp_path / "sample.csv"
    path.write_text(text)
    return path


def test_cells_are_flags_options_and_files_beside_the_catalogue(tmp_path):
    (tmp_path / "lines.toml").write_text("")
    (galaxy, other) = read_catalogue(
        catalogue(
            tmp_path,
            "cube, name, redshift, target_snr, lines.line_set, rescale_noise, continuum.law\n"
            "a/b.fits, first, 0.01, 20, lines.toml, true, CCM89\n"
            "c.fits.gz, , 0.02, , standard, , \n",
        )
    )
    assert galaxy == Galaxy(
        name="first",
        cube=tmp_path / "a/b.fits",
        tables={
            "prepare": {"redshift": 0.01, "rescale_noise": True},
            "binning": {"target": 20},
            "lines": {"line_set": str((tmp_path / "lines.toml").resolve())},
            "continuum": {"law": "CCM89"},
        },
    )
    assert other.name == "c"
    assert other.tables == {"prepare": {"redshift": 0.02}, "lines": {"line_set": "standard"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cube\n", "has no rows"),
        ("", "has no rows"),
        ("file,redshift\na.fits,0.1\n", "one of them must be cube"),
        ("cube,redshfit\na.fits,0.1\n", "the column 'redshfit'"),
        ("cube,redshift\na.fits\n", "line 2 .* another number of cells"),
        ("cube,redshift\na.fits,0.1,5\n", "line 2 .* another number of cells"),
        ("cube,redshift\n,0.1\n", "line 2 .* names no cube"),
        ("cube,redshift\na.fits,0.1\nx/a.fits,0.2\n", "names a twice"),
    ],
)
def test_a_catalogue_that_means_nothing_is_refused(text, said, tmp_path):
    with pytest.raises(InputError, match=said):
        read_catalogue(catalogue(tmp_path, text))


def test_options_for_all_are_checked_before_anything_runs(tmp_path):
    common = tmp_path / "common.toml"
    common.write_text("[binning]\ntarget = -3\n")
    with pytest.raises(ConfigError, match="target"):
        run_batch([], tmp_path / "out", common, 1, print)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Two mocks of two surveys among three cubes that cannot be used."""
    folder = tmp_path_factory.mktemp("sample")
    for name, instrument in (("muse", "muse"), ("sami", "sami")):
        options = MockOptions(n_y=8, n_x=8, instrument=instrument)
        write_cube(make_galaxy(options), folder / f"{name}.fits")
    (folder / "broken.fits").write_bytes((folder / "muse.fits").read_bytes()[:40000])
    (folder / "sample.csv").write_text(
        "cube,arm,redshift,continuum,target_snr\n"
        "muse.fits,,0.01,none,5\n"
        "missing.fits,,0.01,none,5\n"
        "broken.fits,,0.01,none,5\n"
        "sami_blue.fits,sami_red.fits,0.01,none,5\n"
        "again/muse2.fits,,,none,5\n"
    )
    (folder / "again").mkdir()
    (folder / "again" / "muse2.fits").write_bytes((folder / "muse.fits").read_bytes())
    return folder


def run_cli(folder, *more):
    return subprocess.run(
        [sys.executable, "-m", "betis.cli", "batch", str(folder / "sample.csv"), "-o",
         str(folder / "out"), *more],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


def test_the_good_are_done_and_the_bad_are_told(sample):
    ended = run_cli(sample)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "2 of 5 galaxies are done" in ended.stdout
    with (sample / "out/summary.csv").open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert [row["status"] for row in rows.values()] == [
        "done", "failed", "failed", "done", "failed",
    ]  # fmt: skip
    assert "there is no file" in rows["missing"]["said"]
    assert "cut short" in rows["broken"]["said"]
    assert "the redshift of the galaxy is not given" in rows["muse2"]["said"]
    assert float(rows["muse"]["Ha6563 flux"]) > 0
    assert rows["muse"]["OII3726 flux"] == ""
    assert (sample / "out/muse/report.html").exists()
    written = (sample / "out/muse/maps.fits").stat().st_mtime_ns
    again = run_cli(sample, "--at-once", "2")
    assert again.returncode == 2
    assert (sample / "out/muse/maps.fits").stat().st_mtime_ns == written
    assert Path(sample / "out/summary.csv").read_text().count("\n") == 6
