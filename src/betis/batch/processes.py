"""The runs of a sample that are under way, a process each; none outlives the one that began it.

Each holds the reading end of a pipe whose other end its starter holds and never writes to. When
the starter ends, however it ends, the operating system closes the pipe, and the run stops.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from betis.errors import RunFolderError

__all__ = ["Crew", "follow_starter"]

PROGRAM: tuple[str, ...] = (
    sys.executable,
    "-c",
    "import sys; from betis.batch.processes import follow_starter; follow_starter(); "
    "sys.argv[0] = 'betis'; from betis.cli import main; sys.exit(main())",
)
"""The command line, in a process that follows its starter."""

_POLL = 0.1
"""Seconds between two looks at what has ended."""
_PATIENCE = 10.0
"""Seconds that a process has to end when it is asked to."""


def follow_starter() -> None:
    """Let this process, and those of its group, end when the one that started it has ended."""
    threading.Thread(target=_end_with_pipe, daemon=True).start()


def _end_with_pipe() -> None:
    os.read(0, 1)  # returns when the pipe is closed: nothing is ever written to it
    # Asked to end, not ended: a run that has started STARLIGHT stops that first.
    os.killpg(0, signal.SIGTERM)


class Crew:
    """Runs that are under way, by name; as a context, all of them are ended behind it.

    Parameters
    ----------
    environment
        Variables that they have beside those of this process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**environment, **os.environ, "PYTHONUNBUFFERED": "1"}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind."""
        self.stop()

    def __len__(self) -> int:
        """Return how many are under way."""
        return len(self._running)

    def start(self, name: str, arguments: Sequence[str], log: Path) -> None:
        """Run the command line with arguments; what it says goes to a file.

        Raises
        ------
        RunFolderError
            Where that file cannot be written.
        """
        try:
            said = log.open("wb")
        except OSError as error:
            raise RunFolderError(
                f"{log} could not be written: {error.strerror}; check the folder and its "
                "permissions, then run again"
            ) from error
        with said:
            self._running[name] = subprocess.Popen(
                [*PROGRAM, *arguments],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def ended(self) -> Iterator[tuple[str, int]]:
        """Yield name and exit status of the runs that have ended by now."""
        time.sleep(_POLL)
        for name in [name for name, run in self._running.items() if run.poll() is not None]:
            process = self._running.pop(name)
            _close(process)
            yield name, process.returncode

    def stop(self) -> None:
        """End all runs: those that do not when they are asked to are killed."""
        left = list(self._running.values())
        deadline = time.monotonic() + _PATIENCE
        try:
            for process in left:
                _signal(process, signal.SIGTERM)
            for process in left:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
        finally:
            for process in left:
                _signal(process, signal.SIGKILL)
                process.wait()
                _close(process)
            self._running.clear()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and those that it started; to a group that is no more, none."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
