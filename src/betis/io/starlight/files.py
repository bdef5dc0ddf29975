"""Many small text files: read, and written where their content is another."""

from __future__ import annotations

from pathlib import Path

from betis.errors import InputError, RunFolderError

__all__ = ["make_folder", "read_text", "write_text_plainly"]

_ENCODING = "latin-1"
"""STARLIGHT takes bytes: every file is one of it, and comes out as it went in."""


def read_text(path: Path, what: str) -> str:
    """Return the text of a file of STARLIGHT's.

    Raises
    ------
    InputError
        Where it cannot be read; ``what`` says what it should be.
    """
    try:
        return path.read_text(encoding=_ENCODING)
    except OSError as error:
        raise InputError(
            f"{what} {path} cannot be read: {error.strerror}; check the path"
        ) from error


def write_text_plainly(path: Path, text: str) -> None:
    """Write a file, unless it says that already: a fit that is under way may be reading it.

    A file that is cut short by a crash is written again by the next run, before it is read.

    Raises
    ------
    RunFolderError
        Where it cannot be written.
    """
    content = text.encode(_ENCODING)
    try:
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    except OSError as error:
        raise RunFolderError(
            f"{path} could not be written: {error.strerror}; free some space or check the folder, "
            "then run again"
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder, and those above it.

    Raises
    ------
    RunFolderError
        Where it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"the folder {path} cannot be made: {error.strerror}; check where it should lie"
        ) from error
