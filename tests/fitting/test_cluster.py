"""Blocks on the workers of a Dask cluster: the same results, and no loss where a worker dies."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from betis import faults, fitting
from betis.errors import ConfigError, InputError
from betis.fitting import cluster
from betis.flags import Flag
from betis.io.row_products import read_lines
from betis.io.run_folder import RunFolder

from .conftest import assert_same_products, run

N_ROW = 52


@pytest.mark.parametrize("where", ["local", "local:", "local:0", "local:two", "local:-1"])
def test_what_is_no_number_of_processes_is_refused(where, cube, tmp_path):
    with pytest.raises(ConfigError, match="local:N"):
        run(cube, tmp_path, dask=where)
    assert not list(tmp_path.iterdir())


def test_a_scheduler_that_is_not_there_is_told(cube, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_CONNECT", "1s")
    with pytest.raises(InputError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        run(cube, tmp_path, dask="tcp://127.0.0.1:9")


def test_without_the_package_it_is_told_what_to_install(cube, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'betis\[dask\]'"):
        run(cube, tmp_path, dask="local:2")


def test_two_processes_that_die_at_times_make_the_same_products(cube, tmp_path, undisturbed):
    """One of the two is killed as soon as the first block is there."""
    folder = tmp_path / "run"
    killer = threading.Thread(target=kill_a_worker, args=(folder / ".chunks",), daemon=True)
    killer.start()
    run(cube, folder, "derived", dask="local:2")
    killer.join(1.0)
    assert not killer.is_alive()
    assert_same_products(folder, undisturbed)


def kill_a_worker(chunks):
    """Kill a process that works for this one, once there is a block that it may have made."""
    while not list(chunks.glob("*/*.npz")):
        time.sleep(0.05)
    workers = [pid for pid in children(os.getpid()) if "spawn_main" in command(pid)]
    os.kill(workers[-1], signal.SIGKILL)


def children(parent):
    entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [int(entry.name) for entry in entries if starter(entry) == parent]


def starter(entry):
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return None


def command(pid):
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_rows_that_kill_every_worker_are_flagged(cube, tmp_path, monkeypatch, undisturbed):
    monkeypatch.setenv(faults.VARIABLE, "lines:25 kill")
    monkeypatch.setattr(fitting, "blocks", lambda n_row: [slice(0, n_row)])
    run(cube, tmp_path, "lines", dask="local:2")
    flags = np.asarray(read_lines(tmp_path / "lines.fits").flags)
    lost = np.flatnonzero(((flags & Flag.FIT_FAILED) != 0).all(axis=1))
    np.testing.assert_array_equal(lost, np.arange(21, 28))
    said = " ".join(RunFolder(tmp_path).provenance()["warnings"]["lines"])
    assert f"the fits of 7 of {N_ROW} spectra failed" in said
    assert "the worker died on it" in said
