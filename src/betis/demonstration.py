"""A mock galaxy through the whole pipeline, compared with what was put into it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from betis import pipeline, stages
from betis.errors import RunFolderError
from betis.io.run_folder import CONFIG, PROVENANCE, RunFolder
from betis.mock import (
    MockOptions,
    Recovery,
    cube_paths,
    make_galaxy,
    read_truth,
    truth_path,
    write_cube,
)
from betis.runner import Listener, Silent

CUBE = "galaxy.fits"

_BINNED_ON = ("SII6731", "OIII5007", "Hb4861", "Hg4340", "OII3729")
"""Lines whose S/N the bins must reach: the first that the cube covers."""


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
    first = cube_paths(chosen, cube)[0]
    run = pipeline.open_run(output, first, _tables(chosen, cube), listener)
    run.folder.note({"mock": asdict(chosen), "truth": truth_path(cube).name})
    pipeline.execute(run)
    recovery = stages.recovery_of(run)
    if recovery is None:
        raise RunFolderError(f"{truth_path(cube)} is missing; remove {output} and start again")
    return recovery


def _tables(options: MockOptions, cube: Path) -> dict[str, dict[str, Any]]:
    """Return the options of the run: what the files beside the cube are for, and its truth."""
    truth = read_truth(truth_path(cube))
    prepare: dict[str, Any] = {"redshift": truth.redshift, "av": truth.av}
    for file in cube_paths(options, cube)[1:]:
        prepare["arm" if file.suffix == cube.suffix else "instrument"] = str(file.resolve())
    line = next((name for name in _BINNED_ON if name in truth.names), truth.names[0])
    return {"prepare": prepare, "snr": {"line": line}}


def _is_made(folder: RunFolder, options: MockOptions) -> bool:
    same = folder.provenance().get("mock") == json.loads(json.dumps(asdict(options)))
    files = (*cube_paths(options, folder / CUBE), truth_path(folder / CUBE))
    return same and all(file.exists() for file in files)


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
    write_cube(make_galaxy(options), folder / CUBE)
