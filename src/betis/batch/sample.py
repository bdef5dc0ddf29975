"""A sample of galaxies through the pipeline; what fails is told and the rest goes on.

Each galaxy is a process of its own, so that neither a bug nor the end of the memory takes the
others with it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from betis import pipeline
from betis.batch.catalogue import Galaxy
from betis.batch.processes import Crew
from betis.batch.summary import Result, numbers_of, write_summary
from betis.compute import host_cores
from betis.config import (
    cube_layout,
    options_from,
    overlaid,
    read_tables,
    to_toml,
    without_input,
)
from betis.errors import BetisError, ConfigError, RunFolderError
from betis.io.fits import require_file, write_text
from betis.io.readers import read_cube
from betis.io.run_folder import LOG, RunFolder
from betis.options import Options

__all__ = ["STATUSES", "SUMMARY", "check_batch", "run_batch"]

SUMMARY = "summary.csv"
STATUSES = ("done", "ready", "waiting", "failed")
"""How a galaxy may end, the best first."""

Tables = dict[str, dict[str, Any]]

_BUG = 1
_SAID = "betis: "
"""What the command line begins its last sentence with."""
_TAIL = 20_000
"""Bytes at the end of a log in which that is looked for."""
_PER_CORE = (("compute", "cores"), ("starlight", "processes"))
"""Options that say how many cores a run takes; 0 stands for all."""
_SHARED_GPU = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Lets several runs have memory of one GPU: JAX takes most of it for the first otherwise."""


def run_batch(
    galaxies: Sequence[Galaxy],
    output: Path,
    common: Path | None,
    at_once: int,
    told: Callable[[Result], None],
) -> list[Result]:
    """Run each galaxy in a folder of its own; what was done before is not done again.

    Parameters
    ----------
    galaxies
        The sample.
    output
        Holds for each galaxy a run folder, its options ``NAME.toml`` and what its run said,
        ``NAME.log``; and the summary, which is written anew when a galaxy has ended.
    common
        TOML file of options for all; a galaxy's own win.
    at_once
        How many run at the same time; they share the cores, where options do not give them some.
    told
        Hears how each ended, at once.

    Returns
    -------
    A result a galaxy, in the order of the catalogue.

    Raises
    ------
    BetisError
        Where the output cannot be written, another sample is at work in it, or ``common`` is
        wrong.
    """
    folder = RunFolder(output)
    folder.create()
    shared = _common(common)
    with folder.held(), Crew(_SHARED_GPU if at_once > 1 else {}) as crew:
        sample = _Sample(
            galaxies=galaxies, output=output, shared=shared, at_once=at_once, told=told, crew=crew
        )
        return sample.run()


def check_batch(
    galaxies: Sequence[Galaxy], common: Path | None, told: Callable[[Result], None]
) -> list[Result]:
    """Look at the options and the header of the cube of each galaxy, and run nothing.

    Returns
    -------
    A result a galaxy, "ready" or "failed".

    Raises
    ------
    BetisError
        Where ``common`` is wrong.
    """
    shared = _common(common)
    results = []
    for galaxy in galaxies:
        results.append(_checked(galaxy, shared))
        told(results[-1])
    return results


def _checked(galaxy: Galaxy, shared: Mapping[str, Mapping[str, Any]]) -> Result:
    try:
        options = _options(galaxy, overlaid(shared, galaxy.tables))
        instrument, layout = cube_layout(options.prepare.instrument, options.cube)
        read_cube(galaxy.cube, instrument, layout=layout, arm=options.prepare.arm or None)
    except BetisError as error:
        return _result(galaxy, "failed", str(error))
    return _result(galaxy, "ready")


def _common(path: Path | None) -> Tables:
    """Return the options for all, those of another run's folder without its cube."""
    shared = without_input(read_tables(path) if path else {})
    options_from(shared)
    return shared


def _options(galaxy: Galaxy, tables: Tables) -> Options:
    """Return the options of a galaxy that can be run, as far as is seen without opening its cube.

    Raises
    ------
    InputError, ConfigError
        Where there is no such cube, or an option is wrong or missing.
    """
    options = options_from(tables)
    require_file(galaxy.cube)
    if options.prepare.redshift is None:
        raise ConfigError("the redshift of the galaxy is not given; give it in the column redshift")
    return options


def _result(galaxy: Galaxy, status: str, said: str = "") -> Result:
    return Result(name=galaxy.name, cube=str(galaxy.cube), status=status, said=said)


@dataclass(kw_only=True, eq=False)
class _Sample:
    """A sample under way."""

    galaxies: Sequence[Galaxy]
    output: Path
    shared: Tables
    at_once: int
    told: Callable[[Result], None]
    crew: Crew
    _results: dict[str, Result] = field(default_factory=dict)

    def run(self) -> list[Result]:
        """Run what is to be run, at most ``at_once`` at the same time."""
        known = {galaxy.name: galaxy for galaxy in self.galaxies}
        waiting = [galaxy for galaxy in self.galaxies if self._can_run(galaxy)]
        while waiting or len(self.crew):
            while waiting and len(self.crew) < self.at_once:
                self._begin(waiting.pop(0))
            for name, status in self.crew.ended():
                self._end(known[name], self._outcome(known[name], status))
        return [self._results[galaxy.name] for galaxy in self.galaxies]

    def _can_run(self, galaxy: Galaxy) -> bool:
        """Tell whether a galaxy can be run; if not, say so before the others take hours."""
        try:
            _options(galaxy, self._tables(galaxy))
        except BetisError as error:
            self._end(galaxy, _result(galaxy, "failed", str(error)))
            return False
        return True

    def _tables(self, galaxy: Galaxy) -> Tables:
        tables = overlaid(self.shared, galaxy.tables)
        if self.at_once > 1:
            for table, key in _PER_CORE:
                options = tables.setdefault(table, {})
                options[key] = options.get(key) or max(1, host_cores() // self.at_once)
        return tables

    def _begin(self, galaxy: Galaxy) -> None:
        """Start the run of a galaxy, unless it is done already."""
        folder, tables = self.output / galaxy.name, self._tables(galaxy)
        if _is_done(folder, galaxy.cube, tables):
            self._end(galaxy, self._numbered(galaxy, kept=True))
            return
        config = self.output / f"{galaxy.name}.toml"
        write_text(config, to_toml(options_from(tables), comments=False))
        arguments = ["run", str(galaxy.cube), "-o", str(folder), "-c", str(config)]
        self.crew.start(galaxy.name, arguments, self._log(galaxy))

    def _log(self, galaxy: Galaxy) -> Path:
        return self.output / f"{galaxy.name}.log"

    def _outcome(self, galaxy: Galaxy, status: int) -> Result:
        """Return how a run ended whose process ended with this status."""
        if status:
            return _result(galaxy, "failed", _sentence(status, self._log(galaxy)))
        waits_for = RunFolder(self.output / galaxy.name).provenance().get("waiting", "")
        return _result(galaxy, "waiting", waits_for) if waits_for else self._numbered(galaxy)

    def _numbered(self, galaxy: Galaxy, *, kept: bool = False) -> Result:
        """Return the result of a run that is done."""
        try:
            numbers = numbers_of(self.output / galaxy.name)
        except BetisError as error:
            return _result(galaxy, "failed", str(error))
        return Result(
            name=galaxy.name, cube=str(galaxy.cube), status="done", kept=kept, numbers=numbers
        )

    def _end(self, galaxy: Galaxy, result: Result) -> None:
        """Keep a result: in the summary, in the log of the sample, and for who listens."""
        self._results[galaxy.name] = result
        rows = [self._results.get(one.name) or _result(one, "to do") for one in self.galaxies]
        write_summary(self.output / SUMMARY, rows)
        _note(self.output / LOG, result)
        self.told(result)


def _is_done(folder: Path, cube: Path, tables: Tables) -> bool:
    """Tell whether a run folder holds every product under the key that it has now."""
    place = RunFolder(folder)
    try:
        if pipeline.STAGES["report"].file not in place.provenance().get("stages", {}):
            return False
        run = pipeline.open_run(folder, cube, tables)
    except BetisError:  # the run itself will say it
        return False
    return all(run.is_valid(name) for name, stage in run.stages.items() if stage.file)


def _sentence(status: int, log: Path) -> str:
    """Return why a process ended with this status, from the end of what it said."""
    if status == -signal.SIGKILL:
        return (
            "it was killed, as happens where memory ends: let fewer galaxies run at once, "
            "or see the memory of this machine"
        )
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}; see {log}"
    said = [line.strip() for line in _tail(log).splitlines() if line.strip()]
    ours = [line.removeprefix(_SAID) for line in said if line.startswith(_SAID)]
    if status != _BUG and ours:
        return ours[-1]
    return f"a bug of betis: {said[-1] if said else 'it said nothing'}; see {log}"


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL))
        return stream.read().decode("utf-8", errors="replace")


def _note(log: Path, result: Result) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"{now} {result.name} {result.status} {result.said}".rstrip() + "\n")
    except OSError as error:
        raise RunFolderError(
            f"{log} could not be written: {error.strerror}; free some space or check its "
            "permissions, then run again"
        ) from error
