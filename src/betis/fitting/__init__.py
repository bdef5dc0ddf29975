"""Blocks of rows through the long fits: kept as they are done, here or on a cluster.

A stage gives its fitter; it gets blocks of fits back, in any order, none of them computed twice
even if the run is killed in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from betis.compute import blocks, host_cores
from betis.errors import FitError
from betis.fitting.cluster import connected, fit_on
from betis.fitting.fitters import FitT, Fitter
from betis.fitting.here import fit_here
from betis.fitting.task import HELD, Task
from betis.io.chunk_store import ChunkStore, Kept
from betis.io.run_folder import LOG, code_version
from betis.runner import Run

__all__ = ["HELD", "fitted_blocks"]


def fitted_blocks(
    run: Run, stage: str, store: ChunkStore[FitT], n_row: int, fitter: Callable[[], Fitter[FitT]]
) -> Iterator[tuple[slice, FitT]]:
    """Yield the fits of all rows, in blocks; a block whose fit fails comes flagged.

    Parameters
    ----------
    run
        Its options say where the fits are made.
    stage
        "continuum" or "lines".
    store
        Where blocks are kept, and those of before may be.
    n_row
        How many rows there are.
    fitter
        Prepares what fits them; called where this process has to fit.

    Raises
    ------
    FitError
        Where the fits of all rows fail.
    BetisError
        Where a file or the cluster cannot be used.
    """
    failed: Counter[str] = Counter()
    for rows, kept in _all(run, stage, store, n_row, fitter):
        for trouble in kept.troubles:
            failed[trouble.reason] += trouble.n_row
        yield rows, kept.fit
    if failed:
        _tell(run, stage, store, n_row, failed)


def _all(
    run: Run, stage: str, store: ChunkStore[FitT], n_row: int, fitter: Callable[[], Fitter[FitT]]
) -> Iterator[tuple[slice, Kept[FitT]]]:
    """Yield what is kept, then what is fitted now."""
    todo = []
    for rows in blocks(n_row):
        kept = store.get(rows)
        if kept is None:
            todo.append(rows)
        else:
            run.listener.advance(rows.stop - rows.start)
            yield rows, kept
    if not todo:
        return
    options, advance = run.options.compute, run.listener.advance
    if options.dask:
        cores = options.cores or host_cores()
        client = run.enter("cluster", lambda: connected(options.dask, cores))
        warn = partial(run.warn, stage)
        yield from fit_on(client, _task(run, stage), todo, fitter, advance, warn)
    else:
        yield from fit_here(fitter(), store, stage, todo, options.time_limit, advance)


def _task(run: Run, stage: str) -> Task:
    return Task(
        folder=run.folder.path.resolve(),
        stage=stage,
        key=run.key(stage),
        options=run.options,
        code=code_version(),
    )


def _tell(run: Run, stage: str, store: ChunkStore[FitT], n_row: int, failed: Counter[str]) -> None:
    """Warn of rows that no fit could be made of; refuse to go on where these are all."""
    count, reason = failed.total(), failed.most_common(1)[0][0]
    product, log = run.stages[stage].file, run.folder / LOG
    if count == n_row:
        store.close()
        raise FitError(
            f"the fits of all {n_row} spectra failed in the stage {stage} ({reason}); {log} says "
            "more; run again when the reason is gone"
        )
    run.warn(
        stage,
        f"the fits of {count} of {n_row} spectra failed and are flagged FIT_FAILED ({reason}); "
        f"{log.name} says more; remove {product} and run again to try them once more.",
    )
