"""What a long stage has computed so far: a file for each block of rows, until the whole is written.

A run that is killed goes on from the blocks that are there. A file appears when it is whole; one
that was damaged since counts as missing.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from betis.errors import RunFolderError
from betis.io.fits import write_atomically
from betis.products import ContinuumFit, LineFit, Sky

__all__ = ["ChunkStore"]

FitT = TypeVar("FitT", ContinuumFit, LineFit)

_FOLDER = ".chunks"
_TEXT = "__text__"
"""Entry that holds, as JSON, the fields that are no arrays."""
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


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

    def get(self, rows: slice) -> FitT | None:
        """Return a block of rows; None where it is missing or damaged."""
        try:
            # numpy leaves a file of its own open where it fails in the middle.
            with (
                self._path(rows).open("rb") as stream,
                np.load(stream, allow_pickle=False) as entries,
            ):
                block: FitT = self._kind(**_restored(entries))
                return block
        except _DAMAGE:
            return None

    def put(self, rows: slice, block: FitT) -> None:
        """Write a block of rows.

        Raises
        ------
        RunFolderError
            Where it cannot be written.
        """

        def write(part: Path) -> None:
            with part.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **_stored(block))

        write_atomically(self._path(rows), write)

    def _path(self, rows: slice) -> Path:
        return self._folder / f"{rows.start:09d}-{rows.stop:09d}.npz"

    def _remove(self, kept: Path | None) -> None:
        for folder in self._root.glob(f"{self._name}-*"):
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)


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
    return {**texts, **{name: entries[name] for name in entries if name != _TEXT}}
