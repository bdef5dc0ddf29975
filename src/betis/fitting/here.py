"""Blocks of rows, one after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from betis.compute import Behind, Progress, ahead
from betis.fitting.fitters import FitT, Fitter
from betis.fitting.guard import Patience, guarded_fit
from betis.io.chunk_store import ChunkStore, Kept

__all__ = ["fit_here"]


def fit_here(
    fitter: Fitter[FitT],
    store: ChunkStore[FitT],
    stage: str,
    todo: Sequence[slice],
    time_limit: float,
    progress: Progress,
) -> Iterator[tuple[slice, Kept[FitT]]]:
    """Fit blocks and keep each, while the next is read and the last is written.

    Parameters
    ----------
    fitter, stage
        What fits them, of which stage.
    store
        Where they are kept.
    todo
        The blocks.
    time_limit : s
        See `betis.options.ComputeOptions`.
    progress
        Told of each row once.
    """
    patience = Patience(time_limit)

    with Behind(store.put) as behind:
        for given in ahead(fitter.read(rows) for rows in todo):
            kept = guarded_fit(fitter, given, stage, patience, progress)
            behind.put(given.rows, *kept)
            yield given.rows, kept
