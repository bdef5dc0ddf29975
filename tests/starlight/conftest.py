"""The stand-in executable, a small base, and a run that uses them."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from betis import pipeline
from betis.errors import WaitingError
from betis.io.row_products import read_continuum
from betis.io.starlight.base import base_text, spectrum_text
from betis.options import ContinuumOptions, StarlightOptions
from betis.starlight.base import base_files

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture(scope="session")
def executable(tmp_path_factory):
    """The stand-in as a program of its own."""
    path = tmp_path_factory.mktemp("starlight") / "StarlightStandIn.exe"
    path.write_text(f"#!{sys.executable} -S\n{STAND_IN.read_text('utf-8')}", "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def small_base(tmp_path_factory):
    """A base list of three components beside their spectra."""
    folder = tmp_path_factory.mktemp("base")
    wave = np.arange(4400.0, 7400.0)
    files = base_files(StarlightOptions(), ContinuumOptions(), wave)
    rows = [3, 40, 80]
    components = [files.components[row] for row in rows]
    (folder / "Base.small").write_text(base_text(components))
    for row, component in zip(rows, components, strict=True):
        text = spectrum_text(files.templates.wave, files.templates.flux[row])
        (folder / component.file).write_text(text)
    return folder / "Base.small"


class Recorder:
    """A listener that remembers what it heard."""

    def __init__(self):
        self.made, self.kept, self.warned, self.advanced = [], [], [], 0

    def begin(self, stage, total):
        self.advanced = 0

    def advance(self, count):
        self.advanced += count

    def end(self, stage, _seconds, *, reused):
        (self.kept if reused else self.made).append(stage)

    def warn(self, text):
        self.warned.append(text)


@pytest.fixture(scope="session")
def stacked(mock_cube, tmp_path_factory):
    """A run whose spectra are summed, not to be changed: nine bins."""
    folder = tmp_path_factory.mktemp("stacked") / "NGC 1 (test)"
    tables = {"prepare": {"redshift": 0.01}, "binning": {"min_level": 2, "max_level": 2}}
    pipeline.execute(pipeline.open_run(folder, mock_cube, tables), "stack")
    return folder


class Continued:
    """A run that goes on with STARLIGHT, from a copy of another; returns the fits."""

    def __init__(self, folder, base):
        self.folder, self.base, self.listener = folder, base, None

    def __call__(self, until="continuum", *, base=None, tables=None, **options):
        given = {"base": str(self.base if base is None else base), "processes": 2, **options}
        chosen = {"continuum": {"engine": "starlight"}, **(tables or {}), "starlight": given}
        self.listener = Recorder()
        run = pipeline.open_run(self.folder, None, chosen, self.listener)
        pipeline.execute(run, until)
        return run.obtain("continuum")


@pytest.fixture
def continue_run(stacked, small_base, tmp_path):
    """Goes on with a run whose spectra are summed."""
    return Continued(shutil.copytree(stacked, tmp_path / stacked.name), small_base)


@pytest.fixture(scope="session")
def finished(stacked, small_base, executable, tmp_path_factory):
    """A run whose stars STARLIGHT has fitted; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / stacked.name
    run = Continued(shutil.copytree(stacked, folder), small_base)
    run(executable=str(executable))
    return run


@pytest.fixture(scope="session")
def fitted(finished):
    """The fits of that run, whole."""
    return read_continuum(finished.folder / "continuum.fits").take(slice(None))


@pytest.fixture
def repeat_run(finished, tmp_path):
    """Goes on with that run, its product removed, its outputs there."""
    folder = shutil.copytree(finished.folder, tmp_path / finished.folder.name)
    (folder / "continuum.fits").unlink()
    (folder / "starlight/calls.txt").unlink()
    return Continued(folder, finished.base)


@pytest.fixture
def waiting_run(continue_run):
    """Goes on with a run that waits for STARLIGHT to be run by hand."""
    with pytest.raises(WaitingError, match="STARLIGHT has 9 of 9 spectra to fit"):
        continue_run()
    return continue_run


@pytest.fixture(scope="session")
def by_hand(stacked, small_base, executable, tmp_path_factory):
    """The folder of a run that was written, and STARLIGHT run on its grid files by hand."""
    folder = tmp_path_factory.mktemp("hand") / stacked.name
    run = Continued(shutil.copytree(stacked, folder), small_base)
    with pytest.raises(WaitingError, match="STARLIGHT has 9 of 9 spectra to fit"):
        run()
    for grid in sorted((folder / "starlight").glob("*.in")):
        with grid.open() as stdin:
            subprocess.run([executable], stdin=stdin, cwd=grid.parent, check=True)
    return run


@pytest.fixture
def hand_run(by_hand, tmp_path):
    """Goes on with that run."""
    folder = shutil.copytree(by_hand.folder, tmp_path / by_hand.folder.name)
    return Continued(folder, by_hand.base)
