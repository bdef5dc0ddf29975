"""Where fits run: float64, all host cores or GPUs, fixed-shape chunks, compaction.

A kernel is a pure JAX function of ONE row. `map_rows` runs it over all rows; `run_until_done`
runs an iterative one in phases and takes the rows that have converged out of the batch between
phases, so that the slowest row does not set the pace. Both compile one shape a kernel: rows are
padded to full chunks. Workers, one a host core or two a GPU, take the next chunk when they have
done one. Results do not depend on the chunk, the workers or their number.

`ahead` and `Behind` read and write in a thread beside the caller.
"""

from __future__ import annotations

from collections.abc import Iterator

from betis.compute.beside import Behind, ahead
from betis.compute.devices import configure, host_cores, is_gpu, replicate
from betis.compute.programs import Arrays, programs_made
from betis.compute.rows import Progress, at_once, map_rows, run_until_done
from betis.compute.workers import fresh_workers

__all__ = [
    "BLOCK",
    "GPU_BLOCK",
    "Arrays",
    "Behind",
    "Progress",
    "ahead",
    "at_once",
    "blocks",
    "configure",
    "fresh_workers",
    "host_cores",
    "is_gpu",
    "map_rows",
    "programs_made",
    "replicate",
    "run_until_done",
]

BLOCK = 512
"""Spectra that the host holds copies of at once."""

GPU_BLOCK = 4096
"""The same where a GPU computes, which takes many rows at a time."""


def blocks(n_row: int) -> Iterator[slice]:
    """Yield slices of at most `BLOCK` rows, or `GPU_BLOCK` where a GPU computes."""
    size = GPU_BLOCK if is_gpu() else BLOCK
    for first in range(0, n_row, size):
        yield slice(first, min(first + size, n_row))
