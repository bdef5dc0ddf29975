"""Compiled kernels: one program a shape and device, and how many rows it is given at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from threading import RLock
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from betis.compute.devices import WORKERS_PER_GPU, devices, free_bytes, is_gpu

__all__ = [
    "GPU_CHUNK",
    "Arrays",
    "Program",
    "Shapes",
    "program_of",
    "programs_made",
    "shapes_of",
    "with_rows",
]

Arrays = Any
"""A pytree of arrays."""

GPU_CHUNK = 1024
"""Most rows that a GPU is given at once, a power of two."""

_SHARE = 0.8
"""Of the free memory that chunks may fill; what is free lies in pieces."""


class Shape(NamedTuple):
    """Shape and type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return math.prod(self.shape) * self.dtype.itemsize


Shapes = tuple[Shape, ...]

_COUNT = Shape((), np.dtype(np.int32))


class Program:
    """A kernel over chunks of rows, compiled once for each shape and device.

    Parameters
    ----------
    batched
        Function of a number of rows, of arrays of rows, and of those that all rows see.
    name
        Of the kernel.
    n_rows
        How many of its arrays hold rows.
    n_state
        How many of these it gives back in the same shape: on a GPU the new take the place of the
        old.
    """

    def __init__(
        self, batched: Callable[..., Arrays], name: str, n_rows: int, n_state: int
    ) -> None:
        self.name = name
        self.n_rows = n_rows
        replaced = tuple(range(1, 1 + n_state)) if is_gpu() else ()
        self._jitted = jax.jit(batched, donate_argnums=replaced)
        self._lock = RLock()
        self._made: dict[Any, Any] = {}
        self._most: dict[Shapes, int] = {}

    def compiled(self, shapes: Shapes, device: jax.Device) -> Any:
        """Return the program for arrays of these shapes on a device."""
        with self._lock:
            if (shapes, device) not in self._made:
                here = jax.sharding.SingleDeviceSharding(device)
                given = [_stand_in(shape, here) for shape in (_COUNT, *shapes)]
                self._made[shapes, device] = self._jitted.lower(*given).compile()
                _MADE.append(self.name)
            return self._made[shapes, device]

    def size(self, one: Shapes, chunk: int) -> int:
        """Return how many rows it is given at once.

        Parameters
        ----------
        one
            Shapes of one row's arrays and of those that all rows see.
        chunk
            The rows where no memory bounds them.
        """
        with self._lock:
            if one not in self._most and (room := _room()) is not None:
                self._most[one] = self._fitting(one, room)
            most = self._most.get(one, chunk)
        return most if is_gpu() else min(chunk, most)

    def shrink(self, one: Shapes, size: int) -> None:
        """Give it no more than so many rows from now on."""
        with self._lock:
            self._most[one] = min(size, self._most.get(one, size))

    def _fitting(self, one: Shapes, room: int) -> int:
        """Return the largest power of two of rows whose memory is there."""
        size = GPU_CHUNK
        while size > 1:
            need = self._bytes(one, size)
            if need <= room:
                break
            size = min(size // 2, _power_of_two(size * room // need))
        return size

    def _bytes(self, one: Shapes, size: int) -> int:
        """Return the memory of a chunk, without what all rows see."""
        shapes = with_rows(one, size, self.n_rows)
        known = self.compiled(shapes, devices()[0]).memory_analysis()
        own = sum(shape.nbytes for shape in shapes[: self.n_rows])
        if known is None:
            return own
        return int(own + known.temp_size_in_bytes + known.output_size_in_bytes)


def with_rows(one: Shapes, size: int, n_rows: int) -> Shapes:
    """Return the shapes of so many rows from those of one."""
    rows = (Shape((size, *each.shape), each.dtype) for each in one[:n_rows])
    return (*rows, *one[n_rows:])


def shapes_of(rows: Sequence[NDArray[Any]], shared: Sequence[Any]) -> Shapes:
    """Return the shapes of one row's arrays and of those that all rows see."""
    kind = jax.dtypes.canonicalize_dtype
    of_row = (Shape(array.shape[1:], kind(array.dtype)) for array in rows)
    return (*of_row, *(Shape(array.shape, kind(array.dtype)) for array in shared))


def programs_made() -> int:
    """Return how many programs this process has compiled, or read from the cache, so far."""
    return len(_MADE)


_MADE: list[str] = []
_LOCK = RLock()


def program_of(
    kernel: Callable[..., Arrays], n_rows: int, n_state: int = 0, part: int = 0
) -> Program:
    """Return the program of a kernel; one for all threads.

    Parameters
    ----------
    kernel
        Function of one row. Where ``n_state`` is given it is a step that is iterated.
    n_rows
        How many of its arrays hold rows.
    n_state
        How many of these are its state, the first ones; the last of the state is ``done``. The
        first of the arrays that all rows see is then the largest number of steps.
    part
        Rows that are iterated together; 0 for all of a chunk.
    """
    with _LOCK:
        return _programs(kernel, n_rows, n_state, part, is_gpu())


@lru_cache(maxsize=256)
def _programs(
    kernel: Callable[..., Arrays], n_rows: int, n_state: int, part: int, _on_gpu: bool
) -> Program:
    def mapped(_count: Any, *arrays: Any) -> Arrays:
        rows, shared = arrays[:n_rows], arrays[n_rows:]
        return jax.vmap(lambda *row: kernel(*row, *shared))(*rows)

    def iterated(count: Any, *arrays: Any) -> Arrays:
        rows, limit = list(arrays[:n_rows]), arrays[n_rows]
        size = rows[0].shape[0]
        rows[n_state - 1] = rows[n_state - 1] | (jnp.arange(size) >= count)
        together = min(part, size) if part else size
        split = [value.reshape(-1, together, *value.shape[1:]) for value in rows]
        done = jax.lax.map(
            lambda some: _iterate(kernel, some[:n_state], some[n_state:], limit), split
        )
        return tuple(value.reshape(size, *value.shape[2:]) for value in done)

    name = getattr(kernel, "__name__", "kernel")
    return Program(iterated if n_state else mapped, name, n_rows, n_state)


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


def _room() -> int | None:
    """Return the memory that one chunk may take; None where nothing bounds it."""
    known = [free for device in devices() if (free := free_bytes(device)) is not None]
    return int(_SHARE * min(known)) // WORKERS_PER_GPU if known else None


def _power_of_two(number: int) -> int:
    """Return the largest power of two that is not above a number, at least 1."""
    return 1 << max(number.bit_length() - 1, 0)


def _stand_in(shape: Shape, where: Any) -> Any:
    kind: Callable[..., Any] = jax.ShapeDtypeStruct
    return kind(shape.shape, shape.dtype, sharding=where)
