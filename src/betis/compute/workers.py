"""Threads that take the next chunk when they have done one, each for a device of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

import jax

from betis.compute.devices import devices, n_worker

__all__ = ["each_computed", "fresh_workers"]

Result = TypeVar("Result")

_LAST_WAIT = 10.0
"""Seconds that chunks under way are waited for where another has failed."""

_Task = tuple[Future[Any], Callable[[jax.Device], Any]]


class _Workers:
    """Threads with a queue; they end with the process, or when they are dismissed."""

    def __init__(self, count: int, chosen: Sequence[jax.Device]) -> None:
        self.made_for = (count, tuple(chosen))
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        for number in range(count):
            device = chosen[number % len(chosen)]
            Thread(target=self._work, args=(device,), name="betis-compute", daemon=True).start()

    def submit(self, work: Callable[[jax.Device], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._tasks.put((future, work))
        return future

    def dismiss(self) -> None:
        """Let each end when it has nothing more to do."""
        for _ in range(self.made_for[0]):
            self._tasks.put(None)

    def _work(self, device: jax.Device) -> None:
        while (task := self._tasks.get()) is not None:
            future, work = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work(device))
                except BaseException as error:  # noqa: BLE001  # raised where it is waited for
                    future.set_exception(error)
            del task, future, work


_LOCK = Lock()
_PRESENT: list[_Workers] = []


def _workers() -> _Workers:
    """Return the workers of all callers; others where other devices or cores have been chosen."""
    wanted = (n_worker(), tuple(devices()))
    with _LOCK:
        if _PRESENT and _PRESENT[0].made_for != wanted:
            _PRESENT.pop().dismiss()
        if not _PRESENT:
            _PRESENT.append(_Workers(*wanted))
        return _PRESENT[0]


def fresh_workers() -> None:
    """Take other workers from now on: those of today may hang in a chunk that has been given up."""
    with _LOCK:
        while _PRESENT:
            _PRESENT.pop().dismiss()


def each_computed(
    works: Sequence[Callable[[jax.Device], Result]],
    told: Callable[[int], None] | None = None,
) -> list[Result]:
    """Return what each of some functions of a device returns, in their order.

    Parameters
    ----------
    works
        Called by whichever worker is free; what one raises is raised here, and those that have
        not begun are left out.
    told
        Called, in the caller's thread, with the number of each that has ended, in their order.
    """
    workers = _workers()
    futures = [workers.submit(work) for work in works]
    try:
        return [_ended(future, number, told) for number, future in enumerate(futures)]
    except BaseException:
        under_way = [future for future in futures if not future.cancel()]
        wait(under_way, timeout=_LAST_WAIT)
        raise


def _ended(future: Future[Result], number: int, told: Callable[[int], None] | None) -> Result:
    result = future.result()
    if told:
        told(number)
    return result
