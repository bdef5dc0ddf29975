"""A block of rows whose fit fails takes nobody with it: tried once smaller, then flagged."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool

from betis import compute, faults
from betis.arrays import B8
from betis.compute import Progress
from betis.fitting.fitters import FitT, Fitter, Given, one_blas_thread
from betis.flags import Flag
from betis.io.chunk_store import Kept, Trouble
from betis.products import ContinuumFit, LineFit
from betis.products.fits import joined

__all__ = ["Patience", "flagged", "guarded_fit"]

T = TypeVar("T")

log = logging.getLogger("betis")

FAILURES = (
    *(ArithmeticError, AssertionError, LookupError, MemoryError, RuntimeError),
    *(TimeoutError, TypeError, ValueError),
)
"""What the fit of a block may fail with; not what betis raises itself, nor what files do."""

_PATIENCE, _LEAST = 50.0, 1800.0
"""Slowest blocks, and seconds, that a block is waited for."""


class Patience:
    """How long the fit of a block may take.

    Parameters
    ----------
    limit : s
        0 for one that follows from the blocks before.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._slowest = 0.0

    @property
    def seconds(self) -> float:
        """The limit now; infinite where nothing is known yet."""
        if self._limit:
            return self._limit
        return max(_LEAST, _PATIENCE * self._slowest) if self._slowest else np.inf

    def learn(self, seconds: float) -> None:
        """Hear how long a block has taken."""
        self._slowest = max(self._slowest, seconds)


@dataclass(kw_only=True)
class _Meter:
    """Counts the rows of one block once, however often they are fitted."""

    progress: Progress
    left: int

    def advance(self, count: int) -> None:
        told = min(count, self.left)
        self.left -= told
        if told:
            self.progress(told)


def guarded_fit(
    fitter: Fitter[FitT], given: Given, stage: str, patience: Patience, progress: Progress
) -> Kept[FitT]:
    """Fit a block; where that fails, in smaller ones; rows for which these fail are flagged.

    Parameters
    ----------
    fitter
        What fits it.
    given
        The block.
    stage
        "continuum" or "lines".
    patience
        After how long a fit has failed.
    progress
        Told of each row once.

    Returns
    -------
    The fit, and the rows that it failed for.

    Raises
    ------
    BetisError
        What is no failure of the fit: a file that has gone, a full disk.
    """
    meter = _Meter(progress=progress, left=given.spectra.n_spectrum)
    started = time.perf_counter()
    try:
        fit = _fit(fitter, given, stage, patience, meter)
    except FAILURES as error:
        _note(given, stage, error)
        kept = _in_pieces(fitter, given, stage, patience, meter)
    else:
        kept = Kept(fit, ())
        patience.learn(time.perf_counter() - started)
    meter.advance(meter.left)
    return kept


def flagged(fitter: Fitter[FitT], given: Given) -> FitT:
    """Return a block as one that cannot be fitted: NaN, with a flag."""
    blank = fitter.fit(given.masked(), lambda _: None)
    return _with_failure(blank, np.ones(blank.flags.shape, bool))


def _in_pieces(
    fitter: Fitter[FitT], given: Given, stage: str, patience: Patience, meter: _Meter
) -> Kept[FitT]:
    parts, troubles = [], []
    for piece in given.pieces():
        try:
            part = _fit(fitter, piece, stage, patience, meter)
        except FAILURES as error:
            _note(piece, stage, error)
            part = flagged(fitter, piece)
            troubles.append(Trouble(piece.spectra.n_spectrum, _plain(error)))
        parts.append(part)
    return Kept(joined(parts), tuple(troubles))


def _fit(fitter: Fitter[FitT], given: Given, stage: str, patience: Patience, meter: _Meter) -> FitT:
    def work() -> FitT:
        faults.strike(stage, given.rows)
        with one_blas_thread():
            return _spoilt(fitter.fit(given, meter.advance), stage, given.rows)

    fit = _within(patience.seconds, work)
    bad = _without_word(fit)
    if bad.any():
        raise FloatingPointError(f"the fit of {int(bad.sum())} rows is not a number")
    return fit


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Return what ``work`` returns; a fit that takes too long is left to itself."""
    if np.isinf(seconds):
        return work()
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((True, work()))
        except BaseException as error:  # noqa: BLE001  # it is raised where it is waited for
            answers.put((False, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        is_done, answer = answers.get(timeout=seconds)
    except queue.Empty:
        compute.fresh_workers()
        raise TimeoutError(f"it took longer than {seconds:g} s") from None
    if is_done:
        result: T = answer
        return result
    raise answer


def _without_word(fit: ContinuumFit | LineFit) -> Bool[B8, " spectrum"]:
    """Return the rows that are not a number where no flag says so."""
    if isinstance(fit, ContinuumFit):
        wrong = (fit.used & ~np.isfinite(fit.model)).any(axis=1)
        return np.asarray(wrong & (fit.flags == 0))
    return np.asarray((~np.isfinite(fit.flux) & (fit.flags == 0)).any(axis=1))


def _with_failure(fit: FitT, rows: Bool[B8, ...]) -> FitT:
    flags = np.where(rows, fit.flags | int(Flag.FIT_FAILED), fit.flags)
    return replace(fit, flags=flags.astype(np.int32))


def _spoilt(fit: FitT, stage: str, rows: slice) -> FitT:
    """Return a fit some of whose rows are no number, where a test asks for that."""
    numbers = faults.spoils(stage, rows)
    if not numbers:
        return fit
    index = np.array(numbers) - rows.start
    name = "model" if isinstance(fit, ContinuumFit) else "flux"
    values, flags = getattr(fit, name).copy(), fit.flags.copy()
    values[index], flags[index] = np.nan, 0
    return replace(fit, flags=flags, **{name: values})


def _note(given: Given, stage: str, error: BaseException) -> None:
    rows = f"rows {given.rows.start} to {given.rows.stop - 1}"
    log.error("%s: %s could not be fitted", stage, rows, exc_info=error)


def _plain(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0].rstrip('.')}" if text else type(error).__name__
