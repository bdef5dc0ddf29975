"""The catalogue of a sample: a text table, a row a galaxy, a column an option."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from betis.config import FLAGS
from betis.errors import InputError
from betis.io.fits import require_file
from betis.options import Options

__all__ = ["Galaxy", "read_catalogue"]

_NAME, _CUBE = "name", "cube"
_OWN = (_NAME, _CUBE)
_ALIASES = {"z": "redshift"}
_ASIDE = "_"
"""First letter of the columns that are not for betis."""
_TRUTH = {"true": True, "false": False}
_TAKEN = ("summary.csv", "run.log")
"""Files of the sample itself, in the folder of the run folders."""


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


def read_catalogue(path: str | Path) -> list[Galaxy]:
    """Read a catalogue: a table with commas, semicolons or tabs, whose first line is its head.

    Parameters
    ----------
    path
        Columns are ``cube``, ``name`` (of the run folder; the cube's if there is none), any flag
        of `betis run` (``redshift``, ``av``, ``snr_line`` ...) and any option as ``table.key``
        (``binning.target``); those that begin with ``_`` are left alone. An empty cell leaves the
        default. Paths are relative to the catalogue. Lines that are empty or begin with ``#`` are
        comments.

    Raises
    ------
    InputError
        Where it cannot be read, has no column ``cube``, an unknown column, no rows, a row that
        does not fit its head, or one name twice.
    """
    where = require_file(path)
    lines = _cells(where, _lines(where))
    _, head = next(lines, (0, []))
    rows = [(number, cells) for number, cells in lines if any(cells)]
    if not rows:
        raise InputError(f"the catalogue {where} has no rows; give one a galaxy, below the head")
    columns = [_column(text) for text in head]
    places = _places(where, columns)
    galaxies = [_galaxy(where, row, columns, places) for row in rows]
    _require_own_names(where, galaxies)
    return galaxies


def _lines(where: Path) -> list[tuple[int, str]]:
    """Return the lines that are no comments, with their numbers."""
    try:
        with where.open(encoding="utf-8-sig") as stream:
            numbered = [(number, line.strip("\n")) for number, line in enumerate(stream, start=1)]
    except UnicodeDecodeError as error:
        raise InputError(
            f"the catalogue {where} is no text in UTF-8: {error}; save it as CSV in UTF-8"
        ) from error
    except OSError as error:
        raise InputError(
            f"the catalogue {where} cannot be read: {error.strerror}; check the path"
        ) from error
    return [(number, line) for number, line in numbered if re.match(r"\s*[^\s#]", line)]


def _cells(where: Path, lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line and its cells, split at what splits the first one most."""
    between = max(",;\t", key=lines[0][1].count) if lines else ","
    for number, line in lines:
        reader = csv.reader([line], delimiter=between, skipinitialspace=True, strict=True)
        try:
            yield number, [cell.strip() for cell in next(reader)]
        except csv.Error as error:
            raise InputError(
                f"line {number} of the catalogue {where} is no row of a table: {error}; mend it"
            ) from error


def _column(text: str) -> str:
    """Return the name of a column as a flag has it, or as it is where it is not for betis."""
    if text.startswith(_ASIDE):
        return text
    name = text.lower().lstrip("-").replace("-", "_")
    return _ALIASES.get(name, name)


def _places(where: Path, columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the table and the key that each column sets."""
    if _CUBE not in columns:
        raise InputError(
            f"the catalogue {where} has the columns {', '.join(columns)}; one of them must be cube"
        )
    options = {f"{table}.{key}": (table, key) for table, key in _options()}
    known = {**FLAGS, **options, **{name: ("", name) for name in _OWN}}
    ours = [name for name in columns if not name.startswith(_ASIDE)]
    for name in ours:
        if name not in known:
            raise InputError(
                f"the catalogue {where} has the column {name!r}; expected cube, name, an option "
                f"as table.key, or one of {', '.join(FLAGS)}; begin its name with _ if it is not "
                "for betis"
            )
    meant = [known[name] for name in ours]
    for name, place in zip(ours, meant, strict=True):
        if meant.count(place) > 1:
            raise InputError(f"the catalogue {where} has two columns for {name!r}; leave one out")
    return {name: place for name, place in zip(ours, meant, strict=True) if name not in _OWN}


def _options() -> Iterator[tuple[str, str]]:
    defaults = Options()
    for table in fields(defaults):
        for item in fields(getattr(defaults, table.name)):
            yield table.name, item.name


def _galaxy(
    where: Path,
    row: tuple[int, Sequence[str]],
    columns: Sequence[str],
    places: Mapping[str, tuple[str, str]],
) -> Galaxy:
    number, cells = row
    if len(cells) != len(columns):
        raise InputError(
            f"line {number} of the catalogue {where} has another number of cells than its head "
            f"({len(cells)}, not {len(columns)}); add or remove some"
        )
    texts = dict(zip(columns, cells, strict=True))
    if not texts[_CUBE]:
        raise InputError(f"line {number} of the catalogue {where} names no cube; give one")
    cube = where.parent / _at_home(texts[_CUBE])
    tables: dict[str, dict[str, Any]] = {}
    for column, (table, key) in places.items():
        if texts[column]:
            tables.setdefault(table, {})[key] = _value(texts[column], where.parent)
    return Galaxy(name=texts.get(_NAME) or _stem(cube), cube=cube, tables=tables)


def _value(text: str, folder: Path) -> Any:
    """Return what a cell stands for: as TOML says it, a number, a file, or text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
    try:
        return float(text)
    except ValueError:
        return _file(text, folder)


def _file(text: str, folder: Path) -> str:
    """Return the absolute path of a file or folder beside the catalogue; other text as it is."""
    name, bracket, extension = text.partition("[")
    beside = folder.resolve() / _at_home(name)
    try:
        is_there = beside.is_file() or ("/" in name and beside.is_dir())
    except OSError:  # a text too long for a name
        return text
    return f"{beside}{bracket}{extension}" if is_there else text


def _at_home(text: str) -> Path:
    return Path.home() / text[2:] if text.startswith("~/") else Path(text)


def _stem(cube: Path) -> str:
    name = cube.name.removesuffix(".gz").removesuffix(".fz")
    return name.rpartition(".")[0] or name


def _require_own_names(where: Path, galaxies: Sequence[Galaxy]) -> None:
    """Refuse names that are no folder's, and names that are one folder where case is ignored."""
    names = [galaxy.name for galaxy in galaxies]
    for name in names:
        if re.search(r"^\.|[/\\\0]", name) or name in _TAKEN:
            raise InputError(
                f"the catalogue {where} names a galaxy {name!r}, which cannot be the name of its "
                "folder; use letters and numbers"
            )
    folded = [name.casefold() for name in names]
    twice = sorted({name for name in names if folded.count(name.casefold()) > 1})
    if twice:
        raise InputError(
            f"the catalogue {where} names {', '.join(twice)} twice; give each galaxy a name of "
            "its own in the column name"
        )
