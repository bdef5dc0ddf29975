"""Runs the executable of STARLIGHT, one fit a process, some at once, each with a limit of time.

A fit a process and not a grid file a process: so a fit that hangs or crashes is one fit, and takes
no other with it. What this costs is that the base is read for each.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NamedTuple, NoReturn

from betis.compute import Progress
from betis.errors import InputError, RunFolderError
from betis.io.fits import lives
from betis.io.starlight.files import make_folder
from betis.io.starlight.output import read_output

__all__ = ["Job", "Program", "last_words", "run_jobs", "scratch_name"]

_POLL = 0.2
"""Seconds after which the main thread looks up, so that it hears of an interruption."""
_LAST_WORDS = 200


class Job(NamedTuple):
    """One fit: its row, its grid file, the name of its output, and where that is to lie."""

    row: int
    grid: str
    name: str
    output: Path


@dataclass(frozen=True, kw_only=True)
class Program:
    """How STARLIGHT is run.

    Attributes
    ----------
    executable
        Path.
    processes
        How many fits at once.
    time_limit : s
        After which a fit is killed.
    """

    executable: str
    processes: int
    time_limit: float


def scratch_name() -> str:
    """Return the folder that this process lets fits write to, before they are whole."""
    return f"running-{os.getpid()}"


def run_jobs(
    jobs: Sequence[Job], program: Program, folder: Path, progress: Progress | None = None
) -> dict[int, str]:
    """Run fits; each output appears in its place when it is whole.

    Parameters
    ----------
    jobs
        Grid files that write to the folder `scratch_name` of ``folder``.
    program
        What to run, how many at once, and for how long each.
    folder
        Where STARLIGHT is started.
    progress
        Told of each fit that ended, well or not.

    Returns
    -------
    For each row without an output, why it has none. What STARLIGHT said of it is in ``logs``.

    Raises
    ------
    InputError
        Where the executable cannot be run at all.
    RunFolderError
        Where the folder cannot be written.

    Whatever ends this (an error, Ctrl-C, SIGTERM), no process is left behind, and what has been
    finished stays.
    """
    scratch = folder / scratch_name()
    _remove_old(folder)
    for path in (scratch, folder / "logs"):
        make_folder(path)
    crew = _Crew(program=program, folder=folder, scratch=scratch)
    try:
        with _interruptible(), crew:
            return crew.work(jobs, progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(kw_only=True, eq=False)
class _Crew:
    """The processes that are under way."""

    program: Program
    folder: Path
    scratch: Path
    _alive: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        self.stop()

    def stop(self) -> None:
        """Kill what is under way, and let nothing new begin."""
        with self._lock:
            self._stopped = True
            for group in self._alive:
                _kill(group)

    def work(self, jobs: Sequence[Job], progress: Progress | None) -> dict[int, str]:
        """Run all jobs, and return why rows failed."""
        failed: dict[int, str] = {}
        with ThreadPoolExecutor(max(1, self.program.processes)) as pool:
            waiting: dict[Future[str], Job] = {pool.submit(self._fit, job): job for job in jobs}
            try:
                for done in _completed(waiting):
                    job, reason = waiting[done], done.result()
                    if reason:
                        failed[job.row] = reason
                    if progress:
                        progress(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise
        return failed

    def _fit(self, job: Job) -> str:
        """Run one fit; return why it failed, or ""."""
        output, log = self.scratch / job.name, self.scratch / f"{job.name}.log"
        grid = self.scratch / f"{job.name}.in"
        try:
            grid.write_text(job.grid, encoding="latin-1")
            reason = self._run(grid, log)
            if _is_whole(output):
                output.replace(job.output)
                return ""
            shutil.copyfile(log, self.folder / "logs" / f"{job.name}.log")
        except OSError as error:
            raise RunFolderError(
                f"the fit of {job.name} could not be written: {error.strerror}; free some space "
                f"in {self.folder}, then run again"
            ) from error
        return reason or "it left no whole output"

    def _run(self, grid: Path, log: Path) -> str:
        """Let the executable read a grid file; return what went wrong, or ""."""
        with grid.open("rb") as stdin, log.open("wb") as said:
            process = self._start(stdin, said)
            if process is None:
                return "it was stopped"
            try:
                status = process.wait(self.program.time_limit)
            except subprocess.TimeoutExpired:
                return f"it took longer than {self.program.time_limit:g} s"
            finally:
                # Its group, not only itself: the executable may be a script that started it.
                _kill(process.pid)
                process.wait()
                with self._lock:
                    self._alive.discard(process.pid)
        if status:
            return f"it ended with status {status}"
        return ""

    def _start(self, stdin: BinaryIO, said: BinaryIO) -> subprocess.Popen[bytes] | None:
        """Start the executable, unless the crew has stopped; in a group of its own."""
        with self._lock:
            if self._stopped:
                return None
            try:
                process = subprocess.Popen(
                    [self.program.executable],
                    stdin=stdin,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    start_new_session=True,
                )
            except OSError as error:
                raise InputError(
                    f"{self.program.executable} cannot be run: {error.strerror}; give the "
                    "executable of STARLIGHT for this machine as starlight.executable"
                ) from error
            self._alive.add(process.pid)
            return process


def _completed(waiting: dict[Future[str], Job]) -> Iterator[Future[str]]:
    """Yield what is done, as it is done."""
    left = set(waiting)
    while left:
        done, left = wait(left, timeout=_POLL, return_when=FIRST_COMPLETED)
        yield from done


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _is_whole(output: Path) -> bool:
    try:
        read_output(output)
    except InputError:
        return False
    return True


def last_words(folder: Path, name: str) -> str:
    """Return the last line that STARLIGHT said of an output that it did not make; "" for none."""
    log = folder / "logs" / f"{name}.log"
    lines = log.read_text(encoding="latin-1").split("\n") if log.is_file() else []
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:_LAST_WORDS] if said else ""


def _remove_old(folder: Path) -> None:
    """Remove what processes of this computer left that were killed."""
    for path in folder.glob("running-*"):
        number = path.name.removeprefix("running-")
        if number.isdecimal() and not lives(int(number)):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end this as Ctrl-C does, so that the processes are not left behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
