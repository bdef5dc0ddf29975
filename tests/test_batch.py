"""``betis batch`` from the shell: processes of their own, a table, an exit status."""

import csv
import os
import re
import subprocess
import sys

import pytest

from betis.mock import MockOptions, make_galaxy, write_cube

HEAD = "name,cube,redshift,continuum,target_snr,snr_line"


def run_cli(folder, *rows):
    """Run a sample of these rows in two processes at once."""
    (folder / "sample.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    command = [sys.executable, "-m", "betis.cli", "batch", "sample.csv", "-o", "out"]
    return subprocess.run(
        [*command, "--at-once", "2"],
        capture_output=True, text=True, check=False, cwd=folder, env={**os.environ},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A mock galaxy on a few wavelengths."""
    path = tmp_path_factory.mktemp("sample")
    options = MockOptions(n_y=8, n_x=8, wave_min=6500.0, wave_max=6900.0)
    write_cube(make_galaxy(options), path / "muse.fits")
    return path


def test_processes_wait_or_fail_and_the_table_says_why(folder):
    ended = run_cli(
        folder,
        "waits,muse.fits,0.01,starlight,5,Ha6563",
        "fails,muse.fits,0.01,none,99999,Ha6563",
        "lost,missing.fits,0.01,none,5,Ha6563",
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert re.match(r"lost +failed +there is no file missing\.fits", lines[0])
    assert lines[-1] == "galaxies: 1 waiting, 2 failed; the table is out/summary.csv"
    with (folder / "out/summary.csv").open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["waits", "fails", "lost"]
    assert rows["waits"]["status"] == "waiting"
    assert rows["waits"]["said"].startswith("STARLIGHT has ")
    assert rows["fails"]["said"].startswith("no bin reaches S/N 99999 in Ha6563")
    assert "betis: no bin reaches S/N 99999" in (folder / "out/fails.log").read_text()
    made = (folder / "out/waits/provenance.json").read_text()
    assert re.search(r'"command": \[\s+"betis",\s+"run"', made)
