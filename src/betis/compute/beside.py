"""Reading ahead of the caller and writing behind it, each in one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["Behind", "ahead"]

Item = TypeVar("Item")

_END: Any = object()


def ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """Yield items, drawing the next ones in a thread while the caller works on this one.

    What drawing raises is raised in the caller's thread, after the items before. Where the caller
    stops early, an item that is being drawn is waited for, and the source is closed.

    Parameters
    ----------
    items
        Drawn from in one thread, one after the other.
    depth
        Items that wait at most, beside that which the caller has.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(1, "betis-ahead")
    drawn = deque(pool.submit(next, source, _END) for _ in range(depth))
    try:
        while (item := drawn.popleft().result()) is not _END:
            drawn.append(pool.submit(next, source, _END))
            yield item
            del item  # it is the caller's alone: a block of spectra is large
    finally:
        pool.shutdown(cancel_futures=True)
        close: Callable[[], None] = getattr(source, "close", _nothing)
        close()


class Behind:
    """Calls a function in a thread behind the caller, in the order of what it is given.

    To be used in a ``with``, at whose end everything has been done; where the block ends with an
    error, what has not been begun is left out.

    Parameters
    ----------
    write
        The function. What it raises is raised by the next `put`, or at the end; nothing is done
        after it.
    depth
        Calls that may wait or be under way; `put` waits for one to end where there are more.

    Examples
    --------
    >>> done = []
    >>> with Behind(done.append) as behind:
    ...     for number in range(3):
    ...         behind.put(number)
    >>> done
    [0, 1, 2]
    """

    def __init__(self, write: Callable[..., object], depth: int = 1) -> None:
        self._write, self._depth = write, depth
        self._pool = ThreadPoolExecutor(1, "betis-behind")
        self._given: deque[Future[None]] = deque()
        self._failed = False

    def put(self, *item: Any) -> None:
        """Have the function called with this, soon."""
        while len(self._given) >= self._depth or (self._given and self._given[0].done()):
            self._given.popleft().result()
        self._given.append(self._pool.submit(self._call, item))

    def __enter__(self) -> Behind:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=error is not None)
        while error is None and self._given:
            self._given.popleft().result()

    def _call(self, item: tuple[Any, ...]) -> None:
        if self._failed:
            return
        self._failed = True
        self._write(*item)
        self._failed = False


def _nothing() -> None:
    """Close what needs no closing."""
