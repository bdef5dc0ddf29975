"""Where fits run: float64, all host cores or a GPU, fixed-shape chunks, compaction.

A kernel is a pure JAX function of ONE row. `map_rows` runs it over all rows; `run_until_done`
runs an iterative one in phases and takes the rows that have converged out of the batch between
phases, so that the slowest row does not set the pace. Both compile one shape a kernel: rows are
padded to full chunks. Results do not depend on the chunk, the devices or their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import RLock
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from betis.arrays import Index
from betis.cache import cache_folder
from betis.errors import ConfigError
from betis.options import ComputeOptions

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int], None]
"""Called with the number of rows that have just been finished."""

Arrays = Any
"""A pytree of arrays."""


def configure(options: ComputeOptions | None = None) -> None:
    """Choose the device, the number of host devices and the folder of compiled programs.

    The number of host devices can only be set before JAX has started; later calls leave it.

    Raises
    ------
    ConfigError
        Where a GPU is asked for and there is none.
    """
    chosen = options or ComputeOptions()
    settings: dict[str, Any] = {
        "jax_enable_x64": True,
        "jax_compilation_cache_dir": str(cache_folder() / "jax"),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    if chosen.device == "cpu":
        settings["jax_platforms"] = "cpu"
    if not _started():
        settings["jax_num_cpu_devices"] = chosen.cores or _host_cores()
    update: Callable[[str, Any], None] = jax.config.update
    for name, value in settings.items():
        update(name, value)
    if chosen.device == "gpu" and jax.default_backend() != "gpu":
        raise ConfigError(
            f"the device 'gpu' was asked for, but JAX finds only {jax.default_backend()!r}; "
            "install jax with CUDA, or use --device cpu"
        )


BLOCK = 512
"""Spectra that the host holds copies of at once."""


def blocks(n_row: int) -> Iterator[slice]:
    """Yield slices of at most `BLOCK` rows."""
    for first in range(0, n_row, BLOCK):
        yield slice(first, min(first + BLOCK, n_row))


def replicate(arrays: Arrays) -> Arrays:
    """Copy arrays that every row sees to all devices; those that are there stay."""
    spec: Callable[..., PartitionSpec] = PartitionSpec
    return jax.device_put(arrays, NamedSharding(_mesh(), spec()))


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
        Rows a device takes at once.
    progress
        Told how many rows each finished chunk held.
    """
    program = _chunk_program(kernel, len(rows), 0)
    constants = [jnp.asarray(value) for value in shared]
    parts = []
    for index, count in _chunks(len(rows[0]), chunk * _mesh().size):
        result = jax.device_get(program(*(row[index] for row in rows), *constants))
        parts.append(jax.tree.map(lambda value, n=count: value[:n], result))
        if progress:
            progress(count)
    return jax.tree.map(lambda *values: np.concatenate(values), *parts)


_CHUNKS = 8
"""Chunks that a device is sent at once: sending costs about as much as a step."""


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
        Rows a device takes at once.

    Returns
    -------
    The final state, ``[row, ...]`` each.
    """
    program = _chunk_program(step, len(state) + len(rows), len(state), chunk)
    final = [np.array(value) for value in state]
    n_device = _mesh().size
    dealt = np.arange(chunk * _CHUNKS * n_device).reshape(-1, n_device).T.ravel()
    for count in n_step:
        active = np.flatnonzero(~final[-1])
        if active.size == 0:
            break
        limit = jnp.asarray(count)
        for index, n_row in _chunks(active.size, dealt.size):
            picked, is_row = active[index[dealt]], dealt < n_row
            given = [value[picked] for value in final]
            given[-1] |= ~is_row
            result = program(*given, *(row[picked] for row in rows), limit)
            for value, new in zip(final, jax.device_get(result), strict=True):
                value[picked[is_row]] = new[is_row]
    return tuple(final)


def _chunks(n_row: int, size: int) -> Iterator[tuple[Index, int]]:
    """Yield indices of full chunks, the last padded with its own first rows, and true counts."""
    for start in range(0, n_row, size):
        index = np.arange(start, min(start + size, n_row))
        yield np.resize(index, size), index.size


_LOCK = RLock()


def _chunk_program(
    kernel: Callable[..., Arrays], n_rows: int, n_state: int, chunk: int = 0
) -> Callable[..., Arrays]:
    """Return the compiled kernel; one for all threads."""
    with _LOCK:
        return _compiled(kernel, n_rows, n_state, chunk)


@lru_cache(maxsize=256)
def _compiled(
    kernel: Callable[..., Arrays], n_rows: int, n_state: int, chunk: int
) -> Callable[..., Arrays]:
    """Compile a kernel for chunks that are split over the devices.

    ``n_state = 0``: one call of the kernel a row. Otherwise the kernel is a step that is iterated,
    chunk after chunk, until every row of the chunk is done or the limit (the extra) is reached.
    """
    mesh = _mesh()

    def on_one_device(*arrays: Any) -> Arrays:
        rows, rest = arrays[:n_rows], arrays[n_rows:]
        if n_state:
            split = [value.reshape(-1, chunk, *value.shape[1:]) for value in rows]
            done = jax.lax.map(
                lambda part: _iterate(kernel, part[:n_state], part[n_state:], rest[0]), split
            )
            return tuple(value.reshape(-1, *value.shape[2:]) for value in done)
        return jax.vmap(lambda *row: kernel(*row, *rest))(*rows)

    def whole(*arrays: Any) -> Arrays:
        spec: Callable[..., PartitionSpec] = PartitionSpec
        split, same = spec("rows"), spec()
        specs = (split,) * n_rows + (same,) * (len(arrays) - n_rows)
        mapped = jax.shard_map(
            on_one_device, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False
        )
        return mapped(*arrays)

    return jax.jit(whole)


def _iterate(step: Callable[..., Arrays], state: Any, rows: Any, limit: Any) -> Arrays:
    """Iterate the rows of one chunk together."""
    batched = jax.vmap(step)

    def go_on(carry: Any) -> Any:
        count, current = carry
        return (count < limit) & ~jnp.all(current[-1])

    def advance(carry: Any) -> Any:
        count, current = carry
        return count + 1, batched(current, *rows)

    start = (jnp.zeros((), limit.dtype), tuple(state))
    return jax.lax.while_loop(go_on, advance, start)[1]


@lru_cache(maxsize=1)
def _mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), ("rows",))


def _host_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _started() -> bool:
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized()
