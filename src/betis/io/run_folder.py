"""A run folder: where products lie, whose run it is, and under which key each was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from betis.errors import InputError, RunFolderError
from betis.io.fits import write_text
from betis.io.products import read_checksums, read_key

PROVENANCE = "provenance.json"
CONFIG = "config.toml"
LOG = "run.log"
SPECTRA, CONTINUUM, LINES = "spectra.fits", "continuum.fits", "lines.fits"


class RunFolder:
    """The folder that one run of one cube lives in."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        """Return the path of a product."""
        return self.path / name

    def create(self) -> None:
        """Make the folder.

        Raises
        ------
        RunFolderError
            Where it cannot be made, or is a file.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"the run folder {self.path} cannot be made: {error.strerror}; choose another "
                "with -o"
            ) from error

    def claim(self, cube: Path, digest: str) -> None:
        """Make this the folder of a cube.

        Raises
        ------
        RunFolderError
            Where it holds the run of another cube.
        """
        _require_text(self.path.resolve(), cube)
        before = self.provenance().get("input", {})
        is_mended = before.get("path") == str(cube)  # the file has other voxels now
        if before and before.get("blake2b") != digest and not is_mended:
            raise RunFolderError(
                f"{self.path} holds the run of another cube ({before.get('path')}), not of {cube}; "
                "choose another folder with -o, or remove that one"
            )
        self.create()
        self.note({"input": {"path": str(cube), "blake2b": digest, **_stamp(cube)}})

    def digest_of_cube(self, cube: Path) -> str:
        """Return the digest of a cube, from the provenance where the file has not been touched.

        Raises
        ------
        InputError
            Where it cannot be read.
        """
        known = self.provenance().get("input", {})
        stamp = {"path": str(cube), **_stamp(cube)}
        if stamp == {name: known.get(name) for name in stamp}:
            return str(known["blake2b"])
        return digest_file(cube)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the folder for the while.

        The operating system's lock on the log, which ends with the process however that ends.
        Where the file system knows no locks, nothing is locked.

        Raises
        ------
        RunFolderError
            Where another run is at work in the folder, or it cannot be written.
        """
        file = self.path / LOG
        try:
            stream = file.open("a", encoding="utf-8")
        except OSError as error:
            raise RunFolderError(f"{file} cannot be written: {error.strerror}") from error
        with stream:
            if not _locked(stream):
                raise RunFolderError(
                    f"another run is at work in {self.path}, as its {LOG} tells; wait until it is "
                    "done, stop it, or choose another folder with -o"
                )
            yield

    def provenance(self) -> dict[str, Any]:
        """Return what is known of how the run was made; empty where nothing is.

        Raises
        ------
        RunFolderError
            Where the file is damaged.
        """
        file = self / PROVENANCE
        try:
            known = json.loads(file.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise RunFolderError(
                f"{file} cannot be read: {error.strerror}; choose another folder with -o"
            ) from error
        except ValueError as error:
            raise RunFolderError(
                f"{file} is damaged ({error}); remove it to start this run afresh"
            ) from error
        return _tables_of(file, known)

    def note(self, facts: Mapping[str, Any]) -> None:
        """Add facts to the provenance; tables are merged one level deep."""
        known = self.provenance()
        for name, value in facts.items():
            both = isinstance(value, dict) and isinstance(known.get(name), dict)
            known[name] = {**known[name], **value} if both else value
        write_text(self / PROVENANCE, json.dumps(known, indent=2, ensure_ascii=False) + "\n")

    def key_of(self, name: str) -> str:
        """Return the key under which a product was made; "" where it is absent or damaged."""
        if not (self / name).exists():
            return ""
        if name.endswith(".fits"):
            try:
                return read_key(self / name)
            except InputError:
                return ""
        return str(self.provenance().get("stages", {}).get(name, {}).get("key", ""))

    def content_of(self, name: str) -> str:
        """Return a digest of the data of a FITS product; "" where it is absent or damaged.

        From the checksums of its extensions, so that the data themselves are not read.
        """
        try:
            return digest_of(read_checksums(self / name))
        except InputError:
            return ""


def _locked(stream: TextIO) -> bool:
    """Lock an open file for this process; False where another has it."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _require_text(*paths: Path) -> None:
    for path in paths:
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError as error:
            raise RunFolderError(
                f"the path {str(path)!r} is not valid UTF-8, which config.toml and the report "
                "need; rename it"
            ) from error


def _tables_of(file: Path, known: object) -> dict[str, Any]:
    tables = {"input", "stages", "warnings"}
    if not isinstance(known, dict) or any(
        not isinstance(known[name], dict) for name in tables & set(known)
    ):
        raise RunFolderError(
            f"{file} is damaged (its tables are missing); remove it to start this run afresh"
        )
    return known


def _stamp(path: Path) -> dict[str, int]:
    """Return what changes when a file is written: its size and the time of that."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def digest_file(path: Path) -> str:
    """Return the BLAKE2b digest of a file's bytes.

    Raises
    ------
    InputError
        Where it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as handle:
            while piece := handle.read(1 << 22):
                digest.update(piece)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path") from error
    return digest.hexdigest()


def digest_of(*parts: object) -> str:
    """Return the BLAKE2b digest of values that JSON can write."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return the version of betis with a digest of its source files and shipped data."""
    root = Path(__file__).parents[1]
    files = sorted(file for file in root.rglob("*") if file.suffix in {".py", ".toml", ".npz"})
    return f"{version('betis')}+{digest_of([digest_file(file) for file in files])[:8]}"
