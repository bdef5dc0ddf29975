"""A sample of galaxies, a row of a catalogue each; what fails is told and the rest goes on.

Each galaxy is a process of its own, so that neither a bug nor the end of the memory takes the
others with it.
"""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from betis.config import FLAGS, options_from, read_tables, to_toml
from betis.errors import BetisError, InputError
from betis.finished import open_finished
from betis.flags import Flag
from betis.io.fits import require_file, write_text
from betis.io.run_folder import RunFolder

__all__ = ["Galaxy", "Result", "read_catalogue", "run_batch", "write_summary"]

SUMMARY = "summary.csv"
_OWN = ("name", "cube")
_BUG = 1
_ABSENT = Flag.NOT_DETECTED | Flag.NO_DATA | Flag.NO_COMPONENT


@dataclass(frozen=True, kw_only=True)
class Galaxy:
    """A row of a catalogue.

    Attributes
    ----------
    name
        Of its run folder.
    cube
        Its cube.
    tables
        The options that it has for itself.
    """

    name: str
    cube: Path
    tables: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """How the run of a galaxy ended.

    Attributes
    ----------
    name, cube
    status
        "done", or "failed".
    said
        Why it failed, in a sentence.
    numbers
        Of a run that is done: bins, spaxels, lines found ...
    """

    name: str
    cube: str
    status: str
    said: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


def read_catalogue(path: str | Path) -> list[Galaxy]:
    """Read a catalogue: CSV whose first line names its columns.

    Parameters
    ----------
    path
        Columns are ``cube``, ``name`` (of the run folder; the cube's if there is none), any flag
        of `betis run` (``redshift``, ``av``, ``snr_line`` ...) and any option as ``table.key``
        (``binning.target``). An empty cell leaves the default. Paths are relative to the
        catalogue.

    Raises
    ------
    InputError
        Where it cannot be read, has no column ``cube``, an unknown column, no rows, or one name
        twice.
    """
    where = require_file(path)
    try:
        with where.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the catalogue {where} is no CSV file: {error}") from error
    if not rows:
        raise InputError(f"the catalogue {where} has no rows; give one a galaxy, below the head")
    columns = [name for name in rows[0] if name is not None]
    _require_columns(where, columns)
    galaxies = [_galaxy(where, number, row) for number, row in enumerate(rows, start=2)]
    names = [galaxy.name for galaxy in galaxies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"the catalogue {where} names {', '.join(twice)} twice; give each galaxy a name of "
            "its own in the column name"
        )
    return galaxies


def _require_columns(where: Path, columns: Sequence[str]) -> None:
    if "cube" not in columns:
        raise InputError(
            f"the catalogue {where} has the columns {', '.join(columns)}; one of them must be cube"
        )
    unknown = [name for name in columns if name not in (*_OWN, *FLAGS) and "." not in name]
    if unknown:
        raise InputError(
            f"the catalogue {where} has the column {unknown[0]!r}; expected cube, name, an option "
            f"as table.key, or one of {', '.join(FLAGS)}"
        )


def _galaxy(where: Path, number: int, row: Mapping[Any, Any]) -> Galaxy:
    if None in row or None in row.values():
        raise InputError(
            f"line {number} of the catalogue {where} has another number of cells than its head; "
            "add or remove commas"
        )
    if not row["cube"]:
        raise InputError(f"line {number} of the catalogue {where} names no cube; give one")
    cube = where.parent / row["cube"]
    tables: dict[str, dict[str, Any]] = {}
    for column, text in row.items():
        if column not in _OWN and text:
            table, key = FLAGS.get(column) or column.split(".", 1)
            tables.setdefault(table, {})[key] = _value(text, where.parent)
    return Galaxy(name=row.get("name") or _stem(cube), cube=cube, tables=tables)


def _value(text: str, folder: Path) -> Any:
    """Return what a cell stands for: as TOML says it, a file beside the catalogue, or text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        beside = folder / text.partition("[")[0]
        return str(folder.resolve() / text) if beside.is_file() else text


def _stem(cube: Path) -> str:
    return cube.name.removesuffix(".gz").rpartition(".")[0] or cube.name


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
        Holds a run folder a galaxy, and the summary.
    common
        TOML file of options for all; a galaxy's own win.
    at_once
        How many run at the same time.
    told
        Hears how each ended.

    Returns
    -------
    A result a galaxy, in the order of the catalogue.

    Raises
    ------
    BetisError
        Where the output cannot be written, or ``common`` is wrong.
    """
    RunFolder(output).create()
    shared = read_tables(common) if common else {}
    options_from(shared)
    results: dict[str, Result] = {}
    running: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(at_once) as pool:
        waiting = [pool.submit(_run, galaxy, output, shared, running) for galaxy in galaxies]
        try:
            for done in as_completed(waiting):
                result = done.result()
                results[result.name] = result
                told(result)
                write_summary(output / SUMMARY, _in_order(galaxies, results))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()
            raise
    return _in_order(galaxies, results)


def _in_order(galaxies: Sequence[Galaxy], results: Mapping[str, Result]) -> list[Result]:
    return [results[galaxy.name] for galaxy in galaxies if galaxy.name in results]


def _run(
    galaxy: Galaxy,
    output: Path,
    shared: Mapping[str, Mapping[str, Any]],
    running: list[subprocess.Popen[str]],
) -> Result:
    """Run one galaxy, and say how it ended."""
    folder = output / galaxy.name
    try:
        said = _failure(galaxy, folder, shared, running)
        numbers = {} if said else _numbers(folder)
    except BetisError as error:
        said, numbers = str(error), {}
    status = "failed" if said else "done"
    return Result(
        name=galaxy.name, cube=str(galaxy.cube), status=status, said=said, numbers=numbers
    )


def _failure(
    galaxy: Galaxy,
    folder: Path,
    shared: Mapping[str, Mapping[str, Any]],
    running: list[subprocess.Popen[str]],
) -> str:
    """Return why the run of a galaxy failed; "" where it did not."""
    names = {*shared, *galaxy.tables}
    tables = {name: {**shared.get(name, {}), **galaxy.tables.get(name, {})} for name in names}
    require_file(galaxy.cube)
    config = folder.parent / f"{galaxy.name}.toml"
    write_text(config, to_toml(options_from(tables), comments=False))
    command = [sys.executable, "-m", "betis.cli", "run", str(galaxy.cube)]
    with subprocess.Popen(
        [*command, "-o", str(folder), "-c", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        running.append(process)
        _, errors = process.communicate()
    running.remove(process)
    return _sentence(process.returncode, errors)


def _sentence(status: int, errors: str) -> str:
    """Return why a process ended with this status, from the last line that it said."""
    if status == 0:
        return ""
    last = next((line for line in reversed(errors.splitlines()) if line.strip()), "")
    if status < 0:
        return f"ended by the signal {-status}: was there enough memory?"
    said = last.removeprefix("betis: ")
    return f"a bug of betis: {said}" if status == _BUG else said


def _numbers(folder: Path) -> dict[str, float]:
    """Return what the summary tells of a finished run."""
    run = open_finished(folder)
    lines, bins = run.line_fit, run.bins
    found = {
        "bins": float(bins.n_bin),
        "spaxels": float(bins.n_spaxel.sum()),
        "bins below target": float(np.sum((bins.flags & Flag.LOW_SNR) > 0)),
    }
    for i, name in enumerate(lines.names):
        is_found = (lines.flags[:, i] & _ABSENT) == 0
        if np.isfinite(lines.flux[:, i]).any():
            found[f"{name} flux"] = float(np.nansum(lines.flux[:, i]))
            found[f"{name} bins"] = float(is_found.sum())
    return found


def write_summary(path: Path, results: Sequence[Result]) -> None:
    """Write one table of all results, CSV.

    Raises
    ------
    RunFolderError
        Where it cannot be written.
    """
    measured = list(dict.fromkeys(name for result in results for name in result.numbers))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "cube", "status", "said", *measured])
    for result in results:
        known = [result.numbers.get(name) for name in measured]
        cells = ["" if number is None else f"{number:.9g}" for number in known]
        table.writerow([result.name, result.cube, result.status, result.said, *cells])
    write_text(path, text.getvalue())
