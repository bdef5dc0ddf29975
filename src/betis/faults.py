"""Faults on purpose, so that tests see what a run makes of them; none unless asked for.

The environment variable ``BETIS_FAULTS`` lists them, apart from each other by ``;``, each as
``PLACE:NUMBER KIND``. It reaches every process of a run, the workers of a cluster too::

    BETIS_FAULTS="continuum:100 raise; lines:0 hang; write:7 full"

PLACE is ``continuum`` or ``lines`` (the fit of a block of spectra that holds the row NUMBER), or
``write`` (the NUMBER-th file that a process writes, from 1 on). KIND is what happens there:

- ``raise``: an arithmetic error;
- ``memory``: there is no memory for more than `MOST_ROWS` rows at once;
- ``hang``: nothing, for ever;
- ``nan``: the fit of that row is not a number, and no flag says so;
- ``kill``: the process ends at once, as by ``kill -9``;
- ``full``: the disk is full;
- ``bug``: an error that no code expects.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from functools import lru_cache
from typing import NamedTuple, NoReturn

__all__ = ["MOST_ROWS", "VARIABLE", "spoils", "strike"]

VARIABLE = "BETIS_FAULTS"
MOST_ROWS = 64
"""Rows that there is memory for, where there is none for more."""


class _Fault(NamedTuple):
    place: str
    number: int
    kind: str


def strike(place: str, rows: slice) -> None:
    """Let the faults happen that were asked for at this place.

    Parameters
    ----------
    place
        As in the table above.
    rows
        The numbers that are at stake.
    """
    for fault in _faults(os.environ.get(VARIABLE, "")):
        if fault.place == place and rows.start <= fault.number < rows.stop:
            _happen(fault.kind, rows.stop - rows.start)


def spoils(place: str, rows: slice) -> tuple[int, ...]:
    """Return which of these rows are to come out as no number."""
    return tuple(
        fault.number
        for fault in _faults(os.environ.get(VARIABLE, ""))
        if (fault.place, fault.kind) == (place, "nan") and rows.start <= fault.number < rows.stop
    )


@lru_cache(maxsize=8)
def _faults(text: str) -> tuple[_Fault, ...]:
    entries = (entry.split() for entry in text.split(";") if entry.strip())
    places = ((place.partition(":"), kind) for place, kind in entries)
    return tuple(_Fault(place[0], int(place[2]), kind) for place, kind in places)


def _happen(kind: str, count: int) -> None:
    if kind == "raise":
        raise FloatingPointError("a fault on purpose")
    if kind == "memory" and count > MOST_ROWS:
        raise MemoryError("a fault on purpose")
    if kind == "bug":
        raise AssertionError("a fault on purpose")
    if kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if kind == "hang":
        _hang()
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> NoReturn:
    while True:
        threading.Event().wait()
