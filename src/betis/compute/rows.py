"""Rows through a kernel: in chunks, by whichever worker is free, back in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray

from betis.arrays import Index
from betis.compute.devices import devices, is_gpu, n_worker, placed
from betis.compute.programs import Arrays, Program, Shapes, program_of, shapes_of, with_rows
from betis.compute.workers import each_computed

__all__ = ["Progress", "at_once", "map_rows", "run_until_done"]

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int], None]
"""Called with the number of rows that have just been finished."""

_PARTS = 8
"""Chunks that a host core is sent at once: sending costs about as much as a step."""

_NO_MEMORY = "RESOURCE_EXHAUSTED"


def at_once(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the function of each item, in their order, each in a thread of its own.

    The programs that they need are compiled side by side, and the host prepares the arrays of one
    while a device works on another.
    """
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(function, items))


def map_rows(
    kernel: Callable[..., Arrays],
    rows: Sequence[NDArray[Any]],
    shared: Sequence[NDArray[Any]] = (),
    *,
    chunk: int = 64,
    progress: Progress | None = None,
) -> Arrays:
    """Return ``kernel(*row, *shared)`` for every row, as numpy arrays with the row axis first.

    Parameters
    ----------
    kernel
        Module-level function of one row; its identity keys the compiled program.
    rows
        Arrays ``[row, ...]`` of the same length.
    shared
        Arrays that every row sees whole.
    chunk
        Rows that a host core takes at once: few where they must fit its cache. A GPU takes as many
        as its memory holds.
    progress
        Told how many rows each finished chunk held.

    Raises
    ------
    MemoryError
        Where a GPU has no memory for one row.
    """
    batch = _Batch(program_of(kernel, len(rows)), rows, shared, chunk)
    indices = _split(np.arange(len(rows[0])), batch.size)
    return _joined(batch.computed(indices, progress))


def run_until_done(
    step: Callable[..., Arrays],
    state: Sequence[NDArray[Any]],
    rows: Sequence[NDArray[Any]],
    *,
    n_step: Sequence[int] = (6, 14, 40),
    chunk: int = 256,
) -> tuple[NDArray[Any], ...]:
    """Iterate every row until it is done, taking finished rows out of the batch.

    Parameters
    ----------
    step
        ``step(state, *row) -> state`` for one row, a module-level function; ``state`` is a tuple
        of arrays whose last element is ``done`` (bool). It must leave a state that is done as
        it is.
    state
        Arrays ``[row, ...]``, the last one ``done``.
    rows
        Arrays ``[row, ...]`` that do not change.
    n_step
        Steps a phase; rows that are done leave after each phase.
    chunk
        Rows that a host core iterates at once; a GPU as many as its memory holds.

    Returns
    -------
    The final state, ``[row, ...]`` each.

    Raises
    ------
    MemoryError
        Where a GPU has no memory for one row.
    """
    part = 0 if is_gpu() else chunk
    program = program_of(step, len(state) + len(rows), len(state), part)
    final = [np.array(value) for value in state]
    for count in n_step:
        active = np.flatnonzero(~final[-1])
        if active.size == 0:
            break
        limit = np.asarray(count, np.int64)
        batch = _Batch(program, [*final, *rows], [limit], chunk * _PARTS)
        indices = _split(active, _share(active.size, batch.size, chunk))
        for index, found in zip(indices, batch.computed(indices), strict=True):
            for value, new in zip(final, found, strict=True):
                value[index] = new
    return tuple(final)


class _Batch:
    """A program, the rows that it is for, and what they all see, on every device."""

    def __init__(
        self,
        program: Program,
        rows: Sequence[NDArray[Any]],
        shared: Sequence[Any],
        chunk: int,
    ) -> None:
        self._program, self._rows, self._chunk = program, rows, chunk
        self._shared = {d: [placed(value, d) for value in shared] for d in devices()}
        self._one = shapes_of(rows, next(iter(self._shared.values())))
        self.size = program.size(self._one, chunk)
        for device in devices():
            program.compiled(self._shapes(self.size), device)

    def computed(self, indices: Sequence[Index], progress: Progress | None = None) -> list[Arrays]:
        """Return the results of some rows, numpy arrays, for each index given."""

        def told(number: int) -> None:
            if progress:
                progress(indices[number].size)

        return each_computed([partial(self._result, index) for index in indices], told)

    def _result(self, index: Index, device: jax.Device) -> Arrays:
        """Compute rows on a device, in halves where its memory holds no more."""
        size = self._program.size(self._one, self._chunk)
        if index.size > size:
            halves = np.array_split(index, 2)
            return _joined([self._result(half, device) for half in halves])
        try:
            return self._fetched(index, size, device)
        except jax.errors.JaxRuntimeError as error:
            if _NO_MEMORY not in str(error):
                raise
            if size == 1:
                raise MemoryError(_without_memory(self._program.name, device)) from error
            self._program.shrink(self._one, size // 2)
        return self._result(index, device)

    def _fetched(self, index: Index, size: int, device: jax.Device) -> Arrays:
        """Send rows to a device, padded to a full chunk with themselves, and fetch the results."""
        program = self._program.compiled(self._shapes(size), device)
        padded = np.resize(index, size)
        count = np.asarray(index.size, np.int32)
        found = program(count, *(row[padded] for row in self._rows), *self._shared[device])
        return jax.tree.map(lambda value: value[: index.size], jax.device_get(found))

    def _shapes(self, size: int) -> Shapes:
        return with_rows(self._one, size, self._program.n_rows)


def _split(index: Index, size: int) -> list[Index]:
    return [index[first : first + size] for first in range(0, index.size, size)]


def _share(n_row: int, size: int, chunk: int) -> int:
    """Return the rows of each task of an iteration, so that every host core has some."""
    if is_gpu():
        return size
    even = -(-n_row // n_worker())
    return min(size, -(-even // chunk) * chunk)


def _joined(parts: list[Arrays]) -> Arrays:
    return jax.tree.map(lambda *values: np.concatenate(values), *parts)


def _without_memory(name: str, device: jax.Device) -> str:
    return (
        f"the device {device} has no memory for one row of {name!r}; end what else runs on it, or "
        "use --device cpu"
    )
