"""Samples of small mock galaxies, and a crew that runs them in the process of the test."""

import contextlib
import csv
import io
from dataclasses import replace

import pytest
from astropy.io import fits

from betis import pipeline
from betis.batch.catalogue import read_catalogue
from betis.batch.sample import SUMMARY, run_batch
from betis.cli import main
from betis.mock import MockOptions, make_galaxy, write_cube

SURVEYS = ("muse", "manga", "califa", "sami")


class CrewOfThisProcess:
    """Runs what a process would run, at once and here: nothing is loaded or compiled twice."""

    def __init__(self, environment):
        self._ended = []
        self.arguments = []
        CrewOfThisProcess.last = self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __len__(self):
        return len(self._ended)

    def start(self, name, arguments, log):
        self.arguments.append(arguments)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main(arguments)
        log.write_text(said.getvalue())
        self._ended.append((name, status))

    def ended(self):
        while self._ended:
            yield self._ended.pop(0)


@contextlib.contextmanager
def in_this_process():
    """Let samples run here, their reports without drawings, which take longer than all else."""
    stub = replace(
        pipeline.STAGES["report"],
        make=lambda _: "",
        write=lambda path, made, *_: path.write_text(made),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("betis.batch.sample.Crew", CrewOfThisProcess)
        patch.setitem(pipeline.STAGES, "report", stub)
        yield


def run_sample(folder, at_once=1, common=None):
    """Run ``sample.csv`` of a folder into ``out`` there; return results by name, and who ran."""
    with in_this_process():
        results = run_batch(
            read_catalogue(folder / "sample.csv"), folder / "out", common, at_once, lambda _: None
        )
        ran = [arguments[3].rpartition("/")[2] for arguments in CrewOfThisProcess.last.arguments]
    return {result.name: result for result in results}, ran


def write_mock(folder, name, instrument, **options):
    """Write a mock galaxy; return its file, or that of its blue arm and that of its red one."""
    galaxy = make_galaxy(MockOptions(n_y=10, n_x=10, instrument=instrument, **options))
    write_cube(galaxy, folder / f"{name}.fits")
    arms = [f"{name}_{arm}.fits" for arm in ("blue", "red")]
    return arms if instrument == "sami" else [f"{name}.fits", ""]


def without_voxels(path):
    """Overwrite a cube by one of which every voxel is NaN."""
    with fits.open(path) as hdus:
        for hdu in hdus:
            if hdu.data is not None and hdu.data.ndim == 3 and hdu.data.dtype.kind == "f":
                hdu.data[:] = float("nan")
        hdus.writeto(path, overwrite=True)


def summary_rows(folder):
    """Return the rows of the summary by name, each a cell by column."""
    with (folder / "out" / SUMMARY).open(encoding="utf-8") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}
