"""Making products once: which are still valid, who is told, what is noted.

Each product is written under a key: a digest of the cube, the code, the options of its stage and
the keys of what it was made from. A product whose key still holds is read, not made again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from betis.errors import InputError
from betis.io.chunk_store import ChunkStore
from betis.io.label_map import split_extension
from betis.io.run_folder import RunFolder, code_version, digest_file, digest_of
from betis.io.template_files import base_list_spectra
from betis.options import Options

Cards = Mapping[str, Any]

log = logging.getLogger("betis")


class Listener(Protocol):
    """Whoever wants to see the run go on."""

    def begin(self, stage: str, total: int | None) -> None:
        """Hear that a stage starts; ``total`` units of work where that is known."""

    def advance(self, count: int) -> None:
        """Hear that so many units are done."""

    def end(self, stage: str, seconds: float, *, reused: bool) -> None:
        """Hear that a stage is done, or that its product was there already."""

    def warn(self, text: str) -> None:
        """Hear a sentence that the user should read."""


class Silent:
    """A listener that says nothing."""

    def begin(self, stage: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, count: int) -> None:
        """Say nothing."""

    def end(self, stage: str, seconds: float, *, reused: bool) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the pipeline.

    Attributes
    ----------
    file
        Its product in the run folder; "" for what is only opened, never stored.
    needs
        Stages whose products it uses.
    tables
        Options that its product depends on: whole tables, or single keys as "lines.line_set".
    make
        Makes the product, or what yields it piece by piece.
    write, read
        Take it to disk and back. The stages after this one see what was read, so that a run that
        goes on from disk is the run that went through.
    """

    file: str
    needs: tuple[str, ...]
    tables: tuple[str, ...]
    make: Callable[[Run], Any]
    write: Callable[[Path, Any, Run, Cards], None] | None = None
    read: Callable[[Path], Any] | None = None


@dataclass(kw_only=True)
class Run:
    """One cube, one set of options, one folder; makes each product when it is asked for."""

    folder: RunFolder
    cube_path: Path
    cube_digest: str
    options: Options
    stages: Mapping[str, Stage]
    listener: Listener = field(default_factory=Silent)
    _products: dict[str, Any] = field(default_factory=dict)
    _chunks: dict[str, ChunkStore[Any]] = field(default_factory=dict)
    _entered: dict[str, Any] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    def key(self, name: str) -> str:
        """Return the key under which the product of a stage is valid now."""
        stage = self.stages[name]
        tables = {name: self._chosen(name) for name in stage.tables}
        upstream = [self.key(need) for need in stage.needs]
        return digest_of(
            name, code_version(), self.cube_digest, tables, _file_digests(tables), upstream
        )

    def _chosen(self, name: str) -> dict[str, Any]:
        """Return the options that ``name`` stands for: a table, or one key of it."""
        table, _, key = name.partition(".")
        values = asdict(getattr(self.options, table))
        if table == "starlight":
            is_used = self.options.continuum.engine == table
            # How many run at once changes no result.
            return {key: value for key, value in values.items() if is_used and key != "processes"}
        return {key: values[key]} if key else values

    def obtain(self, name: str) -> Any:
        """Return the product of a stage: from memory, from disk where it holds, or made now."""
        if name not in self._products:
            product = self._read(name) if self.is_valid(name) else None
            self._products[name] = self._make(name) if product is None else product
            if product is not None:
                self.listener.end(name, 0.0, reused=True)
        return self._products[name]

    def warn(self, stage: str, text: str) -> None:
        """Tell the user something, and keep it for the report."""
        log.warning("%s: %s", stage, text)
        self.listener.warn(text)
        known = self.folder.provenance().get("warnings", {}).get(stage, [])
        self.folder.note({"warnings": {stage: list(dict.fromkeys([*known, text]))}})

    def chunks(self, name: str, kind: type[Any]) -> ChunkStore[Any]:
        """Return where blocks of rows of a product are kept until the whole is written."""
        store = ChunkStore(self.folder.path, name, self.key(name), kind)
        store.open()
        self._chunks[name] = store
        return store

    def enter(self, name: str, context: Callable[[], AbstractContextManager[Any]]) -> Any:
        """Enter what stages share while they run, once; `closing` leaves it."""
        if name not in self._entered:
            self._entered[name] = self._open.enter_context(context())
        return self._entered[name]

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Leave at the end, however that comes, what stages have entered."""
        try:
            with self._open:
                yield
        finally:
            self._entered.clear()

    def begin(self, name: str, total: int | None = None) -> None:
        """Tell the listener that the long part of a stage starts."""
        self.listener.begin(name, total)

    def is_valid(self, name: str) -> bool:
        """Tell whether a product holds: its key, and what it was made from as it is there now."""
        file = self.stages[name].file
        if not file or self.folder.key_of(file) != self.key(name):
            return False
        known = self.folder.provenance().get("stages", {}).get(file, {}).get("from", {})
        return all(known.get(need, found) == found for need, found in self._sources(name).items())

    def _sources(self, name: str) -> dict[str, str]:
        """Return the contents of the products that a stage reads, those that are there."""
        files = [self.stages[need].file for need in self.stages[name].needs]
        found = {file: self.folder.content_of(file) for file in files if file}
        return {file: content for file, content in found.items() if content}

    def _read(self, name: str) -> Any:
        """Return a product from disk; None where it was damaged there, so that it is made anew."""
        stage = self.stages[name]
        path = self.folder / stage.file
        try:
            return path if stage.read is None else stage.read(path)
        except (InputError, KeyError):
            return None

    def _make(self, name: str) -> Any:
        stage = self.stages[name]
        for need in stage.needs:
            self.obtain(need)
        self.folder.note({"warnings": {name: []}})
        started = time.perf_counter()
        self.listener.begin(name, None)
        product = stage.make(self)
        path = self.folder / stage.file
        if stage.write is not None:
            stage.write(path, product, self, {"BETISKEY": self.key(name)})
        if name in self._chunks:
            self._chunks.pop(name).close()
        if stage.read is not None:
            product = stage.read(path)
        seconds = time.perf_counter() - started
        if stage.file:
            self._note_stage(name, seconds)
        self.listener.end(name, seconds, reused=False)
        return product

    def _note_stage(self, name: str, seconds: float) -> None:
        stage = self.stages[name]
        log.info("%s: %s in %.2f s", name, stage.file, seconds)
        facts = {
            "key": self.key(name),
            "seconds": round(seconds, 3),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "from": self._sources(name),
        }
        self.folder.note({"stages": {stage.file: facts}})


_BASE_DIR = "base_dir"
"""Option that says where the spectra of a base list lie; other files may lie there too."""


def _file_digests(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return digests of the files that options name, so that editing one is noticed.

    By absolute paths, as a settled run has them: a file may be called as a method is.
    """
    options = [(key, value) for table in tables.values() for key, value in table.items()]
    values = [value for key, value in options if key != _BASE_DIR]
    named = {split_extension(value)[0] for value in values if isinstance(value, str)}
    spectra_dirs = [value for key, value in options if key == _BASE_DIR and value]
    files = {
        file
        for path in named
        if path.is_absolute()
        for file in (*_files_of(path), *base_list_spectra(path, *spectra_dirs))
    }
    found = [(file, file.stat()) for file in sorted(files)]
    return {str(file): _digest(file, stat.st_size, stat.st_mtime_ns) for file, stat in found}


def _files_of(path: Path) -> list[Path]:
    """Return the file, the files of the folder, or those that the pattern stands for."""
    if path.is_dir():
        found = list(path.iterdir())
    elif path.exists():
        found = [path]
    else:
        found = list(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    return [file for file in found if file.is_file()]


@lru_cache(maxsize=2048)
def _digest(file: Path, _size: int, _mtime_ns: int) -> str:
    """Return the digest of a file, once as long as it has not been touched: it may be large."""
    return digest_file(file)
