"""The folder for what can be made again: compiled programs, unpacked cubes."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return betis's cache folder: ``BETIS_CACHE``, or ``betis`` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "betis"
    return Path(os.environ.get("BETIS_CACHE", default))
