"""What a long stage has computed so far: a file for each block of rows, until the whole is written.

A run that is killed goes on from the blocks that are there. A file appears when it is whole; one
that was damaged since counts as missing.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from betis.errors import RunFolderError
from betis.io.fits import write_atomically
from betis.products import ContinuumFit, LineFit, Sky

__all__ = ["ChunkStore", "Kept", "Trouble"]

FitT = TypeVar("FitT", ContinuumFit, LineFit)
T = TypeVar("T")

_FOLDER = ".chunks"
_TEXT, _TROUBLES = "__text__", "__troubles__"
"""Entries that hold, as JSON, the fields that are no arrays, and what was not fitted."""
_OWN = (_TEXT, _TROUBLES)
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


class Trouble(NamedTuple):
    """Rows whose fit failed, and why."""

    n_row: int
    reason: str


class Kept(NamedTuple, Generic[FitT]):
    """A block of rows, and what could not be fitted of it."""

    fit: FitT
    troubles: tuple[Trouble, ...]


class ChunkStore(Generic[FitT]):
    """Blocks of rows of one product, kept under the key that the whole will have.

    Parameters
    ----------
    run
        The run folder.
    name, key
        Of the product: blocks under another key are of other options, and are removed.
    kind
        What a block is.
    """

    def __init__(self, run: Path, name: str, key: str, kind: type[FitT]) -> None:
        self._name = name
        self._kind: type[FitT] = kind
        self._root = run / _FOLDER
        self._folder = self._root / f"{name}-{key[:32]}"

    def open(self) -> None:
        """Make the folder, and remove what was kept of the product under other keys.

        Raises
        ------
        RunFolderError
            Where the folder cannot be written.
        """
        self._remove(self._folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"{self._folder} cannot be made: {error.strerror}; check permissions and space"
            ) from error

    def close(self) -> None:
        """Remove all that was kept of the product."""
        self._remove(None)
        if self._root.is_dir() and not any(self._root.iterdir()):
            self._root.rmdir()

    def get(self, rows: slice) -> Kept[FitT] | None:
        """Return a block of rows; None where it is missing or damaged."""
        return _read(self._path(rows), self._restored)

    def put(self, rows: slice, block: FitT, troubles: Sequence[Trouble] = ()) -> None:
        """Write a block of rows, and what could not be fitted of it.

        Raises
        ------
        RunFolderError
            Where it cannot be written.
        """
        said = np.array(json.dumps(troubles))
        _write(self._path(rows), {**_stored(block), _TROUBLES: said})

    def beside(self, name: str) -> dict[str, NDArray[Any]] | None:
        """Return arrays that belong to all blocks; None where they are missing or damaged."""
        return _read(self._folder / f"{name}.npz", dict)

    def put_beside(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write arrays that belong to all blocks.

        Raises
        ------
        RunFolderError
            Where they cannot be written.
        """
        _write(self._folder / f"{name}.npz", arrays)

    def _restored(self, entries: Mapping[str, Any]) -> Kept[FitT]:
        block: FitT = self._kind(**_restored(entries))
        troubles = json.loads(str(entries[_TROUBLES]))
        return Kept(block, tuple(Trouble(*trouble) for trouble in troubles))

    def _path(self, rows: slice) -> Path:
        return self._folder / f"{rows.start:09d}-{rows.stop:09d}.npz"

    def _remove(self, kept: Path | None) -> None:
        for folder in self._root.glob(f"{self._name}-*"):
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path, restored: Callable[[Any], T]) -> T | None:
    try:
        # numpy leaves a file of its own open where it fails in the middle.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as entries:
            return restored(entries)
    except _DAMAGE:
        return None


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    def write(part: Path) -> None:
        with part.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    write_atomically(path, write)


def _stored(block: ContinuumFit | LineFit) -> dict[str, Any]:
    values = {item.name: getattr(block, item.name) for item in fields(block)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    others = {name: value for name, value in values.items() if name not in arrays}
    texts = {
        name: asdict(value) if isinstance(value, Sky) else value for name, value in others.items()
    }
    return {**arrays, _TEXT: np.array(json.dumps(texts))}


def _restored(entries: Mapping[str, Any]) -> dict[str, Any]:
    texts = json.loads(str(entries[_TEXT]))
    if texts.get("names") is not None:
        texts["names"] = tuple(texts["names"])
    if texts.get("sky") is not None:
        sky = texts["sky"]
        texts["sky"] = Sky(**{**sky, "shape": tuple(sky["shape"])})
    return {**texts, **{name: entries[name] for name in entries if name not in _OWN}}
