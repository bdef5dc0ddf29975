"""A run that is stopped between two blocks of rows goes on from the block that it was at."""

import numpy as np
import pytest
from astropy.io import fits

from betis import compute, fitting, pipeline
from betis.fitting import fitters
from betis.mock import MockOptions, make_galaxy, write_cube


class StoppedError(Exception):
    pass


@pytest.fixture
def blocks_of_20(monkeypatch):
    """Few rows a block, so that a small galaxy has several."""

    def blocks(n_row):
        for first in range(0, n_row, 20):
            yield slice(first, min(first + 20, n_row))

    monkeypatch.setattr(fitting, "blocks", blocks)


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    path = tmp_path_factory.mktemp("cube") / "galaxy.fits"
    write_cube(make_galaxy(MockOptions(n_y=8, n_x=8)), path)
    return path


def run(cube, folder, until="lines"):
    tables = {
        "prepare": {"redshift": 0.01},
        "continuum": {"engine": "polynomial"},
        "binning": {"target": 3.0},
    }
    pipeline.execute(pipeline.open_run(folder, cube, tables), until)


def stopping_after(count, function):
    """Return the function, which fails once it has been called so many times; and its calls."""
    calls = []

    def counted(*given, **more):
        if len(calls) == count:
            raise StoppedError
        calls.append(len(given))
        return function(*given, **more)

    return counted, calls


def content(path):
    with fits.open(path) as hdus:
        return [np.array(hdu.data).tobytes() for hdu in hdus[1:] if hdu.data is not None]


@pytest.mark.parametrize(
    ("file", "name"),
    [("continuum.fits", "fit_held"), ("lines.fits", "fit_lines")],
)
def test_only_what_is_missing_is_computed(file, name, cube, tmp_path, monkeypatch,
                                          blocks_of_20):  # fmt: skip
    whole = getattr(fitters, name)
    with monkeypatch.context() as patched:
        counted, calls = stopping_after(2, whole)
        patched.setattr(fitters, name, counted)
        with pytest.raises(StoppedError):
            run(cube, tmp_path / "stopped")
        assert len(calls) == 2
    counted, calls = stopping_after(99, whole)
    monkeypatch.setattr(fitters, name, counted)
    run(cube, tmp_path / "stopped")
    resumed = len(calls)
    run(cube, tmp_path / "straight")
    assert len(calls) - resumed == resumed + 2
    assert content(tmp_path / "stopped" / file) == content(tmp_path / "straight" / file)
    assert not list((tmp_path / "stopped").glob(".*"))


def test_other_options_use_no_block_of_before(cube, tmp_path, monkeypatch, blocks_of_20):
    counted, calls = stopping_after(1, fitters.fit_held)
    with monkeypatch.context() as patched:
        patched.setattr(fitters, "fit_held", counted)
        with pytest.raises(StoppedError):
            run(cube, tmp_path)
    other = pipeline.open_run(tmp_path, cube, {
        "prepare": {"redshift": 0.01},
        "continuum": {"engine": "polynomial", "degree": 2},
        "binning": {"target": 3.0},
    })  # fmt: skip
    counted, calls = stopping_after(99, fitters.fit_held)
    monkeypatch.setattr(fitters, "fit_held", counted)
    pipeline.execute(other, "continuum")
    n_block = -(-other.obtain("bin").n_bin // 20)
    assert len(calls) == n_block > 2
    assert compute.BLOCK >= 20
