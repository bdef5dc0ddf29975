"""Blocks of rows on the workers of a Dask cluster: processes of this machine, or many machines.

Workers read their own rows from the run folder and write their fits there, so that what goes
through the scheduler are row numbers only.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from betis.compute import Progress
from betis.errors import ConfigError, FitError, InputError, RunFolderError
from betis.fitting.fitters import FitT, Fitter, pieces_of
from betis.fitting.guard import flagged
from betis.fitting.task import Task, run_block
from betis.io.chunk_store import ChunkStore, Kept, Trouble
from betis.products.fits import joined

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["connected", "fit_on", "require_cluster"]

_LOCAL = "local:"
_DEATHS = 1
"""Workers that a block may take with it before it is tried in smaller ones."""
_CONNECT = "60s"
_HEARD = 60.0
"""Seconds without a worker after which the run says so."""
_AHEAD = 2
"""Blocks that a worker has at most: the one that it fits, and the next."""
_POLL = 5.0
_LOOKS = 6

log = logging.getLogger("betis")


def require_cluster(where: str) -> None:
    """Refuse what no cluster can be had from, before anything is computed.

    Parameters
    ----------
    where
        As `connected` takes it; "" for none.

    Raises
    ------
    ConfigError
        Where it means nothing, or the package is not installed.
    """
    if not where:
        return
    if where.startswith(_LOCAL):
        _count(where)
    elif "://" not in where and not Path(where).is_file():
        raise ConfigError(
            f"compute.dask is {where!r}, where local:N, the address of a Dask scheduler as "
            "tcp://HOST:PORT, or its scheduler file was expected"
        )
    if importlib.util.find_spec("distributed") is None:
        raise ConfigError(
            "compute.dask needs the package distributed, which is not installed; install it with "
            "pip install 'betis[dask]', or leave compute.dask empty"
        )


@contextmanager
def connected(where: str, cores: int) -> Iterator[Client]:
    """Give a client of a cluster, and end the cluster where it was started here.

    Parameters
    ----------
    where
        "local:N", the address of a scheduler, or the path of a scheduler file.
    cores
        That processes of this machine share.

    Raises
    ------
    InputError
        Where no scheduler answers.
    FitError
        Where processes of this machine cannot be started.
    """
    import distributed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as opened:
        if where.startswith(_LOCAL):
            yield opened.enter_context(_local_client(_count(where), cores, opened))
            return
        try:
            named = {"scheduler_file": where} if Path(where).is_file() else {"address": where}
            client = opened.enter_context(distributed.Client(**named, timeout=_CONNECT))
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"no Dask scheduler answers at {where!r}: {error}; give local:N, the address of "
                "one that runs (tcp://HOST:PORT), or its scheduler file"
            ) from error
        yield client


def _count(where: str) -> int:
    """Return the number of processes that local:N asks for."""
    text = where.removeprefix(_LOCAL)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(
            f"compute.dask is {where!r}, where local:N with a number of processes was expected, as "
            "in local:4"
        )
    return int(text)


def _local_client(n_worker: int, cores: int, opened: ExitStack) -> Client:
    """Start processes of this machine."""
    import dask
    from distributed import Client, LocalCluster

    settings = {"distributed.scheduler.allowed-failures": _DEATHS}
    opened.enter_context(dask.config.set(settings))
    scratch = opened.enter_context(TemporaryDirectory(prefix="betis-"))
    try:
        cluster = LocalCluster(
            n_workers=n_worker,
            threads_per_worker=max(1, cores // n_worker),
            processes=True,
            dashboard_address=":0",
            local_directory=scratch,
        )
    except (OSError, RuntimeError) as error:
        raise FitError(
            f"the processes of compute.dask = {_LOCAL}{n_worker} could not be started "
            f"({str(error).rstrip('.')}); run again, it goes on from there, or ask for fewer"
        ) from error
    opened.enter_context(cluster)
    return Client(cluster)


def fit_on(
    client: Client,
    task: Task,
    todo: Sequence[slice],
    fitter: Callable[[], Fitter[FitT]],
    progress: Progress,
    warn: Callable[[str], None],
) -> Iterator[tuple[slice, Kept[FitT]]]:
    """Let workers fit blocks, and yield each as it is done.

    Parameters
    ----------
    client
        Of the cluster.
    task
        Which stage of which run.
    todo
        The blocks.
    fitter
        Gives what fits them, for what no worker can: asked for only then.
    progress
        Told of each row once.
    warn
        Told what the user should know.

    Raises
    ------
    BetisError
        Where the workers cannot read the run or write their fits, or the scheduler has gone.
    """
    crew = _Crew(client=client, task=task, store=task.store(), warn=warn)
    lost: list[slice] = []
    for rows, kept in crew.work(todo):
        if kept is None:
            lost.append(rows)
        else:
            progress(rows.stop - rows.start)
            yield rows, kept
    for rows in lost:
        log.error("%s: a worker died on rows %d to %d", task.stage, rows.start, rows.stop - 1)
        kept = _in_pieces(crew, rows, fitter)
        crew.store.put(rows, *kept)
        progress(rows.stop - rows.start)
        yield rows, kept


def _in_pieces(crew: _Crew, rows: slice, fitter: Callable[[], Fitter[FitT]]) -> Kept[FitT]:
    """Fit a block that workers died on in smaller ones, and flag those that they die on again."""
    pieces = pieces_of(rows)
    found = {piece.start: kept or _given_up(fitter(), piece) for piece, kept in crew.work(pieces)}
    parts = [found[piece.start] for piece in pieces]
    troubles = [trouble for part in parts for trouble in part.troubles]
    return Kept(joined([part.fit for part in parts]), tuple(troubles))


def _given_up(fitter: Fitter[FitT], rows: slice) -> Kept[FitT]:
    reason = "the worker died on it"
    return Kept(flagged(fitter, fitter.read(rows)), (Trouble(rows.stop - rows.start, reason),))


@dataclass(frozen=True, kw_only=True)
class _Crew:
    """Workers, and where they keep what they have done."""

    client: Client
    task: Task
    store: ChunkStore[Any]
    warn: Callable[[str], None]

    def work(self, todo: Sequence[slice]) -> Iterator[tuple[slice, Kept[Any] | None]]:
        """Yield blocks as they are done; None for those that workers died on."""
        from distributed import KilledWorker

        submit = partial(self.client.submit, run_block, self.task, pure=False)
        waiting: dict[Future[Any], slice] = {}
        ahead = deque(todo)
        try:
            while ahead or waiting:
                # A block that has been given to a worker is no longer free for another.
                for _ in range(min(self._n_worker() * _AHEAD + 1 - len(waiting), len(ahead))):
                    rows = ahead.popleft()
                    waiting[submit(rows)] = rows
                for done in self._completed(waiting):
                    rows, error = waiting.pop(done), self._error(done)
                    if isinstance(error, KilledWorker):
                        yield rows, None
                    elif error is not None:
                        raise error
                    else:
                        yield rows, self._read(rows)
        finally:
            self.client.cancel(list(waiting))

    def _completed(self, waiting: Iterable[Future[Any]]) -> set[Future[Any]]:
        """Return what is done; wait for it for a while, in which an interruption is heard."""
        from distributed import wait

        waited = 0.0
        while True:
            with suppress(TimeoutError):
                return set(wait(list(waiting), timeout=_POLL, return_when="FIRST_COMPLETED").done)
            waited = 0.0 if self._n_worker() else waited + _POLL
            if waited == _HEARD:
                self.warn("the Dask cluster has no worker; this run waits until there is one.")

    def _error(self, done: Future[Any]) -> BaseException | None:
        """Return what a block failed with."""
        if done.status not in ("finished", "error"):
            raise RunFolderError(
                "the Dask scheduler has gone, or has dropped this run; start it, and run again, it "
                "goes on from there"
            )
        error: BaseException | None = done.exception()
        return error

    def _n_worker(self) -> int:
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def _read(self, rows: slice) -> Kept[Any]:
        """Return what a worker has written; the file system may show it a little later."""
        for _ in range(_LOOKS):
            kept = self.store.get(rows)
            if kept is not None:
                return kept
            time.sleep(_POLL)
        raise RunFolderError(
            f"a worker has fitted rows {rows.start} to {rows.stop - 1}, but they are not in "
            f"{self.task.folder} as this process sees it; put the run on a disk that all share"
        )
