"""Two run folders compared: read, put on one field, written as a page."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from betis.compare import Side, compare_sides, pair_bins
from betis.errors import InputError
from betis.finished import FinishedRun, open_finished
from betis.io.products import spaxel_area
from betis.io.regrid import labels_on_field
from betis.io.run_folder import RunFolder
from betis.options import Options
from betis.products import Sky
from betis.report.compare_content import ComparedRuns
from betis.report.compare_page import write_comparison

__all__ = ["compare_runs", "comparison_of"]

_NO_RESULT = {"compute"}
"""Tables of options that change nothing in the results."""


def compare_runs(
    first: str | Path, second: str | Path, output: str | Path | None = None
) -> tuple[ComparedRuns, Path]:
    """Compare two runs and write the page of it.

    Parameters
    ----------
    first, second
        Run folders.
    output
        The HTML file; ``compare-SECOND.html`` in the first run's folder if None.

    Returns
    -------
    What was found, and where the page is.

    Raises
    ------
    RunFolderError
        Where a folder holds no run that has reached its lines, or the page cannot be written.
    InputError
        Where the runs have nothing in common.
    """
    content = comparison_of(open_finished(first), open_finished(second))
    name = re.sub(r"[^\w.+-]", "_", Path(second).resolve().name)
    path = Path(first) / f"compare-{name}.html" if output is None else Path(output)
    write_comparison(path, content)
    return content, path


def comparison_of(first: FinishedRun, second: FinishedRun) -> ComparedRuns:
    """Return the differences of two runs, the second's bins on the field of the first.

    Raises
    ------
    RunFolderError
        Where one has no line fits.
    InputError
        Where they have nothing in common.
    """
    here, there = _sky(first), _sky(second)
    try:
        pairs = pair_bins(first.bins.bin_id, labels_on_field(second.bins.bin_id, there, here))
        differences = compare_sides(_side(first), _side(second), pairs)
    except InputError as error:
        raise InputError(f"{first.path} and {second.path} cannot be compared: {error}") from error
    names = _titles(first, second)
    cubes = [RunFolder(run.path).provenance().get("input", {}) for run in (first, second)]
    digest = cubes[0].get("blake2b")
    return ComparedRuns(
        first=names[0],
        second=names[1],
        facts=_facts(first, second, cubes),
        options=_differing(first.options, second.options),
        same_cube=digest is not None and digest == cubes[1].get("blake2b"),
        pairs=pairs,
        differences=differences,
        sky=here,
        labels={line.name: line.label for run in (second, first) for line in run.line_set.lines},
    )


def _side(run: FinishedRun) -> Side:
    return Side(
        bins=run.bins,
        lines=run.line_fit,
        stars=None if run.continuum is None else run.continuum.table,
        redshift=run.spectra.redshift,
        spaxel_area=spaxel_area(_sky(run)),
    )


def _sky(run: FinishedRun) -> Sky:
    n_y, n_x = run.bins.bin_id.shape
    return run.spectra.sky or Sky(shape=(n_y, n_x))


def _titles(first: FinishedRun, second: FinishedRun) -> tuple[str, str]:
    """Return the names of the runs, with those of the folders round them where they are alike."""
    if first.title != second.title:
        return first.title, second.title
    paths = (run.path.resolve() for run in (first, second))
    here, there = (f"{path.parent.name}/{path.name}" for path in paths)
    return here, there


def _facts(
    first: FinishedRun, second: FinishedRun, cubes: list[dict[str, Any]]
) -> dict[str, tuple[str, str]]:
    told = []
    for run, cube in zip((first, second), cubes, strict=True):
        n_y, n_x = run.bins.bin_id.shape
        told.append(
            {
                "cube": Path(str(cube.get("path", "unknown"))).name,
                "field": f"{n_x} × {n_y} spaxels",
                "bins": f"{run.bins.n_bin:,}, {int(run.bins.n_spaxel.sum()):,} spaxels in them",
                "redshift": f"{run.spectra.redshift:g}",
                "lines": f"{len(run.line_fit.names)} of the set {run.line_set.name}",
            }
        )
    return {name: (told[0][name], told[1][name]) for name in told[0]}


def _differing(first: Options, second: Options) -> dict[str, tuple[str, str]]:
    """Return the options that differ and may change results, by their dotted names."""
    here, there = _flat(first), _flat(second)
    return {name: (here[name], there[name]) for name in here if here[name] != there[name]}


def _flat(options: Options) -> dict[str, str]:
    return {
        f"{table.name}.{key}": str(value)
        for table in fields(options)
        if table.name not in _NO_RESULT
        for key, value in asdict(getattr(options, table.name)).items()
    }
