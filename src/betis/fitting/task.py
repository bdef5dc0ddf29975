"""What a worker of a cluster is told: where the run lies, which stage, which rows."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from betis import compute
from betis.continuum.kinematics import Kinematics
from betis.errors import RunFolderError
from betis.fitting.fitters import Fitter, line_fitter, star_fitter
from betis.fitting.guard import Patience, guarded_fit
from betis.io.chunk_store import ChunkStore
from betis.io.row_products import read_continuum, read_spectra
from betis.io.run_folder import CONTINUUM, SPECTRA, code_version
from betis.options import Options

__all__ = ["HELD", "Task", "run_block"]

HELD = "held"
"""What the fits of the stars are given beside the spectra: see `betis.continuum.coarse`."""

_ONE_AT_A_TIME = threading.Lock()
"""A block uses all cores that a worker has."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A stage of a run, as a worker sees it; small, since it is sent with every block.

    Attributes
    ----------
    folder
        Of the run, where workers and the run itself can read and write.
    stage, key
        "continuum" or "lines", and the key of its product.
    options
        Of the run.
    code
        The version of betis that the run is made with.
    """

    folder: Path
    stage: str
    key: str
    options: Options
    code: str

    def store(self) -> ChunkStore[Any]:
        """Return where its blocks are kept."""
        return ChunkStore(self.folder, self.stage, self.key, _fitter(self).kind)


def run_block(task: Task, rows: slice) -> None:
    """Fit a block and keep the fit in the run folder; what a worker does.

    Parameters
    ----------
    task
        Which stage of which run.
    rows
        The block.

    Raises
    ------
    BetisError
        Where the run cannot be read or the fit not be written here.
    """
    if task.code != code_version():
        raise RunFolderError(
            f"a worker has betis {code_version()}, the run {task.code}; install the same on all"
        )
    with _ONE_AT_A_TIME:
        compute.configure(replace(task.options.compute, cores=_cores()))
        fitter, patience = _fitter(task), _patience(task)
        kept = guarded_fit(fitter, fitter.read(rows), task.stage, patience, _nobody)
        task.store().put(rows, *kept)


def _cores() -> int:
    """Return how many cores this worker has; those of one of its threads each."""
    from distributed import get_worker

    return int(get_worker().state.nthreads)


@lru_cache(maxsize=2)
def _fitter(task: Task) -> Fitter[Any]:
    """Return what fits the blocks of a stage, prepared once a process."""
    spectra = read_spectra(task.folder / SPECTRA)
    if task.stage == "lines":
        has_stars = task.options.continuum.engine != "none"
        stars = read_continuum(task.folder / CONTINUUM) if has_stars else None
        return line_fitter(spectra, stars, task.options)
    fitter = star_fitter(spectra, task.options)
    store = ChunkStore(task.folder, task.stage, task.key, fitter.kind)
    held = store.beside(HELD)
    return fitter if held is None else replace(fitter, held=Kinematics(**held))


@lru_cache(maxsize=2)
def _patience(task: Task) -> Patience:
    return Patience(task.options.compute.time_limit)


def _nobody(_count: int) -> None:
    """Hear of progress."""
