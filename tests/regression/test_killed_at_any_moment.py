"""A run that is killed in every stage goes on to the products of a run that was not."""

import os
import signal
import subprocess
import sys

import distributed
import numpy as np
import pytest
from astropy.io import fits

import betis
from betis import faults, fitting, pipeline
from betis.config import merged
from betis.errors import FitError
from betis.fitting.cluster import connected
from betis.io.run_folder import RunFolder
from betis.mock import MockOptions, make_galaxy, write_cube

FLAGS = {"redshift": 0.01, "binning": "spaxel", "continuum": "polynomial"}
STAGES = {
    "noise": "noise.fits",
    "snr": "snr.fits",
    "bin": "bins.fits",
    "stack": "spectra.fits",
    "continuum": "continuum.fits",
    "lines": "lines.fits",
    "maps": "maps.fits",
    "derived": "derived.fits",
    "report": "report.html",
}
KILLED_BEFORE = {
    "noise": 5,
    "snr": 9,
    "bin": 9,
    "stack": 9,
    "continuum": 12,
    "lines": 13,
    "maps": 10,
    "report": 11,
}
"""The file, by its number in its process, before which the run is killed in each stage.

A process writes three files of its own, one as it opens the cube, and three a stage: that it
begins, its product, that it has ended. A fit writes its blocks, too, all but the first while its
product is half written.
"""
BLOCK = 20
DATED = ("CHECKSUM", "DATASUM", "DATE")
RUN = f"""
import sys
from betis import fitting
from betis.cli import main
fitting.blocks = lambda n: [slice(row, min(row + {BLOCK}, n)) for row in range(0, n, {BLOCK})]
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    path = tmp_path_factory.mktemp("cube") / "galaxy.fits"
    write_cube(make_galaxy(MockOptions(n_y=8, n_x=8, wave_min=6300.0, wave_max=7000.0)), path)
    return path


def small_blocks(n_row):
    """Yield few rows a block, as the processes do, so that a small galaxy has several."""
    for first in range(0, n_row, BLOCK):
        yield slice(first, min(first + BLOCK, n_row))


def kill_before_a_write(number, cube, folder):
    """Run everything in a process that is killed before it writes its file of this number."""
    flags = [word for name, value in FLAGS.items() for word in (f"--{name}", str(value))]
    return subprocess.run(
        [sys.executable, "-c", RUN, "run", str(cube), *flags, "-o", str(folder)],
        env={**os.environ, faults.VARIABLE: f"write:{number} kill"},
        capture_output=True,
        check=False,
    )


def content(path):
    """Return what a FITS file holds, its dates aside."""
    with fits.open(path) as hdus:
        cards = [[card for card in hdu.header.cards if card.keyword not in DATED] for hdu in hdus]
        texts = [[(card.keyword, card.value) for card in header] for header in cards]
        return texts, [None if hdu.data is None else np.array(hdu.data).tobytes() for hdu in hdus]


def unfinished(folder):
    """Return the stages whose product is not there."""
    return [stage for stage, file in STAGES.items() if not (folder / file).exists()]


def killed_in_every_stage(cube, folder):
    """Kill a run again and again; return the stages it was in, and what lay half written."""
    hit, halves = [], []
    for number in KILLED_BEFORE.values():
        ended = kill_before_a_write(number, cube, folder)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
        hit.append(unfinished(folder)[0])
        halves += [path.name for path in folder.glob(".*.part")]
    return hit, " ".join(halves)


def test_killed_in_every_stage_it_ends_as_an_undisturbed_run(cube, tmp_path, monkeypatch):
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    hit, halves = killed_in_every_stage(cube, killed)
    assert hit == [*KILLED_BEFORE]
    assert ".continuum.fits." in halves
    assert ".lines.fits." in halves
    monkeypatch.setattr(fitting, "blocks", small_blocks)
    betis.run(cube, output=killed, **FLAGS)
    pipeline.execute(pipeline.open_run(straight, cube, merged({}, FLAGS)), "derived")
    files = {path.name for path in straight.iterdir()}
    assert {path.name for path in killed.iterdir()} == files | {"report.html"}
    for file in sorted(name for name in files if name.endswith(".fits")):
        assert content(killed / file) == content(straight / file), file
    said, expected = (RunFolder(folder).provenance()["warnings"] for folder in (killed, straight))
    assert {stage: said[stage] for stage in expected} == expected


def test_processes_that_die_as_they_start_are_told(monkeypatch):
    def dying(**_options):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", dying)
    told = pytest.raises(
        FitError, match=r"local:2 could not be started \(Nanny .* start\); run again"
    )
    with told, connected("local:2", 2):
        pass
