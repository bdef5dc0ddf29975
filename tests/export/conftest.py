"""Runs that are exported, and their files."""

import shutil

import pytest

import betis
from betis.cli import main
from betis.finished import open_finished
from betis.mock import MockOptions, make_galaxy, write_cube


def exported(run, kind, folder, *more):
    """Export a run with the command line, and return where the files are."""
    path = folder / kind
    assert main(["export", kind, str(run), "-o", str(path), *more]) == 0
    return path


@pytest.fixture(scope="session")
def bare_cube(tmp_path_factory):
    """A cube of 8 x 8 spaxels without much of a range."""
    path = tmp_path_factory.mktemp("bare") / "galaxy.fits"
    options = MockOptions(n_y=8, n_x=8, snr=40.0, wave_min=6400.0, wave_max=6900.0, seed=5)
    write_cube(make_galaxy(options), path)
    return path


@pytest.fixture(scope="session")
def spaxel_run(bare_cube, tmp_path_factory):
    """A run on spaxels, without a continuum; not to be changed."""
    folder = tmp_path_factory.mktemp("spaxels") / "galaxy"
    betis.run(bare_cube, redshift=0.01, output=folder, binning="spaxel", continuum="none")
    return folder


@pytest.fixture(scope="session")
def run_of_exports(finished_run, tmp_path_factory):
    """A copy of the run on bins: exports may write beside its products."""
    return shutil.copytree(finished_run, tmp_path_factory.mktemp("copy") / "galaxy")


@pytest.fixture(scope="session")
def products(run_of_exports):
    """The products of that run."""
    return open_finished(run_of_exports)


@pytest.fixture(scope="session")
def files(run_of_exports, tmp_path_factory):
    """What that run is exported to, by the kind."""
    folder = tmp_path_factory.mktemp("exports")
    kinds = ("legacy", "dap", "pipe3d", "cube")
    more = {"legacy": ("--name", "NGC863")}
    return {kind: exported(run_of_exports, kind, folder, *more.get(kind, ())) for kind in kinds}
