"""A mock galaxy through the whole pipeline, compared with what was put into it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from betis import pipeline, stages
from betis.errors import RunFolderError
from betis.io.run_folder import CONFIG, PROVENANCE, RunFolder
from betis.mock import MockOptions, Recovery, make_galaxy, truth_path, write_muse
from betis.runner import Listener, Silent

CUBE = "galaxy.fits"


def demo(
    output: str | Path, options: MockOptions | None = None, listener: Listener | None = None
) -> Recovery:
    """Make a mock galaxy, run everything on it, and compare with what was put in.

    A second call with the same options makes nothing again.

    Raises
    ------
    BetisError
        Where the folder holds the run of a real cube, or cannot be used.
    """
    chosen = options or MockOptions()
    folder = RunFolder(output)
    cube = folder / CUBE
    if not _is_made(folder, chosen):
        _make(folder, chosen, listener or Silent())
    tables = {"prepare": {"redshift": chosen.redshift, "av": chosen.av}}
    run = pipeline.open_run(output, cube, tables, listener)
    run.folder.note({"mock": asdict(chosen), "truth": truth_path(cube).name})
    pipeline.execute(run)
    recovery = stages.recovery_of(run)
    if recovery is None:
        raise RunFolderError(f"{truth_path(cube)} is missing; remove {output} and start again")
    return recovery


def _is_made(folder: RunFolder, options: MockOptions) -> bool:
    same = folder.provenance().get("mock") == json.loads(json.dumps(asdict(options)))
    return same and (folder / CUBE).exists() and truth_path(folder / CUBE).exists()


def _make(folder: RunFolder, options: MockOptions, listener: Listener) -> None:
    known = folder.provenance()
    if known and "mock" not in known:
        raise RunFolderError(
            f"{folder.path} holds the run of {known.get('input', {}).get('path')}; choose another "
            "folder with -o"
        )
    folder.create()
    for old in (PROVENANCE, CONFIG):
        (folder / old).unlink(missing_ok=True)
    listener.begin("mock galaxy", None)
    write_muse(make_galaxy(options), folder / CUBE)
