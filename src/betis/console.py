"""What the command line shows: progress bars, tables, warnings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, cast, get_args

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from betis import pipeline, remnants, starlight_stage
from betis.batch import catalogue as catalogues
from betis.batch import sample
from betis.batch.summary import Result
from betis.comparing import compare_runs
from betis.config import merged, read_tables, validated
from betis.demonstration import demo
from betis.errors import ConfigError
from betis.export.resampled import write_resampled
from betis.finished import open_finished
from betis.io.remnants import read_remnant, remnant_cards, write_remnants
from betis.linelist import load_line_set
from betis.mock import MockOptions
from betis.mock.table import recovery_table
from betis.remnants import Matching
from betis.report.bin_choice import Choice, choose_bins
from betis.report.bin_figure import figure_paths, save_bin
from betis.report.bin_view import facts_of, line_rows, shown_groups
from betis.report.compare_content import console_rows, verdict
from betis.resampling import Method
from betis.wavelength import Medium

_WIDTH = 12
_WIDEST = 1000
"""Columns of a table that is not cut."""


class ConsoleListener:
    """A progress bar a stage, and a line when it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn(f"{{task.description:{_WIDTH}}}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> ConsoleListener:
        """Start to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal clean, whatever happened."""
        self._progress.stop()

    def begin(self, stage: str, total: int | None) -> None:
        """Draw a bar for a stage."""
        self._clear()
        self._task = self._progress.add_task(stage, total=total)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task, count)

    def end(self, stage: str, seconds: float, *, reused: bool) -> None:
        """Say that a stage is done."""
        self._clear()
        said = "kept from before" if reused else f"{seconds:.1f} s"
        self._console.print(f"{stage:{_WIDTH}}{said}", highlight=False)

    def warn(self, text: str) -> None:
        """Show a warning."""
        self._console.print(f"[yellow]warning[/yellow]: {escape(text)}", highlight=False)

    def _clear(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def run_until(
    stage: str,
    *,
    output: Path,
    cube: Path | None,
    config: Path | None,
    flags: Mapping[str, Any],
) -> None:
    """Run the pipeline up to a stage, with progress."""
    console = Console()
    tables = merged(read_tables(config) if config else {}, flags)
    with ConsoleListener(console) as listener:
        run = pipeline.open_run(output, cube, tables, listener)
        pipeline.execute(run, stage)
    product = run.stages[stage].file
    where = run.folder / product if product else run.folder.path
    console.print(f"done: {where}", soft_wrap=True, markup=False, highlight=False)


def export_resampled(folder: Path, output: Path | None, step: float, method: str) -> None:
    """Write the cube of a run on a linear axis, with progress."""
    console = Console()
    path = folder / "resampled.fits" if output is None else output
    with ConsoleListener(console) as listener:
        run = pipeline.open_run(folder, None, {}, listener)
        cube = run.obtain("prepare")
        started = time.perf_counter()
        listener.begin("resample", cube.sky.shape[0])
        write_resampled(
            cube,
            path,
            run.options.prepare,
            step=step,
            method=cast("Method", method),
            cards={"CUBEHASH": (run.cube_digest, "BLAKE2b digest of the cube's file")},
            progress=listener.advance,
        )
        listener.end("resample", time.perf_counter() - started, reused=False)
    console.print(f"done: {path}", soft_wrap=True, markup=False, highlight=False)


def export_starlight(folder: Path, output: Path | None, processes: int) -> None:
    """Write the files of STARLIGHT for a run, with progress."""
    console = Console()
    where = folder / starlight_stage.FOLDER if output is None else output
    with ConsoleListener(console) as listener:
        run = pipeline.open_run(folder, None, {}, listener)
        line_set = load_line_set(run.options.lines.line_set)
        started = time.perf_counter()
        grids = starlight_stage.export_files(run, line_set, where, processes)
        listener.end("starlight", time.perf_counter() - started, reused=False)
    names = " ".join(path.name for path in grids)
    said = f"done: in {where}, run STARLIGHT on each of {names}"
    console.print(said, soft_wrap=True, markup=False, highlight=False)


def export_to(name: str, write: Callable[[ConsoleListener], Path]) -> None:
    """Write files for another program, with progress, and say where they are."""
    console = Console()
    with ConsoleListener(console) as listener:
        started = time.perf_counter()
        path = write(listener)
        listener.end(name, time.perf_counter() - started, reused=False)
    console.print(f"done: {path}", soft_wrap=True, markup=False, highlight=False)


def run_catalogue(
    catalogue: Path, output: Path, config: Path | None, at_once: int, *, dry: bool
) -> bool:
    """Run a sample with progress, or only check it, and tell whether no galaxy failed."""
    console = Console()
    galaxies = catalogues.read_catalogue(catalogue)
    with ConsoleListener(console) as listener:
        listener.begin("galaxies", len(galaxies))

        def told(result: Result) -> None:
            listener.advance(1)
            console.print(_told(result), soft_wrap=True, markup=False, highlight=False)

        if dry:
            results = sample.check_batch(galaxies, config, told)
        else:
            results = sample.run_batch(galaxies, output, config, at_once, told)
    where = "nothing was run" if dry else f"the table is {output / sample.SUMMARY}"
    said = f"{_counted(results)}; {where}"
    console.print(said, soft_wrap=True, markup=False, highlight=False)
    return all(result.status != "failed" for result in results)


def _told(result: Result) -> str:
    """Return the line that says how a galaxy ended."""
    if result.status != "done":
        said = result.said
    else:
        warnings = int(result.numbers["warnings"])
        more = f", {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
        said = f"{result.numbers['bins']:.0f} bins{more}"
        said += ", kept from before" if result.kept else ""
    return f"{result.name:{_WIDTH}}{result.status:{_WIDTH}}{said}".rstrip()


def _counted(results: Sequence[Result]) -> str:
    """Return how many galaxies ended how."""
    found = [result.status for result in results]
    counts = {text: found.count(text) for text in sample.STATUSES}
    said = ", ".join(f"{count} {text}" for text, count in counts.items() if count)
    return f"galaxies: {said}"


def run_demo(output: Path, values: Mapping[str, Any]) -> None:
    """Run the demo and show how well the truth was found."""
    console = Console()
    with ConsoleListener(console) as listener:
        recovery = demo(output, validated(MockOptions, values), listener)
    header, *rows = recovery_table(recovery)
    table = Table(*header, title="Recovered against the truth (bins with line S/N > 10)")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    where = (output / "report.html").resolve()
    console.print(f"report: {where}", soft_wrap=True, markup=False, highlight=False)


def show_bins(folder: Path, choice: Choice, output: Path | None, *, every: bool) -> None:
    """Draw some bins of a run, and show what was measured of their lines."""
    console, run = Console(), open_finished(folder)
    stars = None if run.continuum is None else run.continuum.table.flags
    chosen = choose_bins(choice, run.bins, stars, run.line_fit)
    paths = figure_paths(folder, output, list(chosen))
    for (row, lines), path in zip(chosen.items(), paths, strict=True):
        view = run.view(row)
        groups = shown_groups(view, every=every, lines=lines, only=bool(choice.line))
        save_bin(path, view, groups)
        console.print(f"bin {row} of {view.title}", style="bold", highlight=False)
        for text in facts_of(view):
            console.print(text, markup=False, highlight=False)
        if groups:
            show_table(line_rows(view, groups))
        console.print(f"done: {path}", soft_wrap=True, markup=False, highlight=False)


def match_remnants(
    folder: Path,
    templates: Sequence[Path],
    how: Matching,
    *,
    medium: str,
    lines: bool,
    output: Path | None,
) -> None:
    """Compare the bins of a run with templates of supernova remnants, and show the best of each."""
    console, run = Console(), open_finished(folder)
    how = replace(how, noise_correlation=run.noise_correlation())
    if medium not in get_args(Medium):
        raise ConfigError(f"the medium is {medium!r}, where air or vacuum was expected")
    spectra = [read_remnant(path, cast("Medium", medium)) for path in templates]
    matches = remnants.match_remnants(run.gas(lines=lines), spectra, how)
    path = folder / "remnants.fits" if output is None else output
    cards = {"LINES": (lines, "the fitted lines were left in the spectra")}
    write_remnants(path, run.bins, run.spectra.sky, matches, {**remnant_cards(how), **cards})
    show_table(remnants.best_bins(matches))
    console.print(f"done: {path}", soft_wrap=True, markup=False, highlight=False)


def show_comparison(first: Path, second: Path, output: Path | None) -> None:
    """Compare two runs, show the differences of each line, and say where the page is."""
    console = Console()
    content, path = compare_runs(first, second, output)
    for name, (here, there) in content.options.items():
        console.print(f"{name}: {here} | {there}", markup=False, highlight=False)
    console.print(verdict(content), markup=False, highlight=False)
    if rows := console_rows(content):
        show_table(rows)
    console.print(f"done: {path}", soft_wrap=True, markup=False, highlight=False)


def show_facts(facts: Mapping[str, str]) -> None:
    """Show names and values as two columns."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(f"[bold]{escape(name)}[/bold]", escape(value))
    Console().print(table)


def show_table(rows: list[dict[str, str]]) -> None:
    """Print rows as a table, as wide as it has to be; columns that are empty are left out."""
    table = Table(box=None, pad_edge=False)
    shown = [name for name in rows[0] if any(row[name] for row in rows)]
    for name in shown:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(escape(row[name]) for name in shown))
    console = Console()
    wide = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    Console(width=max(wide, console.width)).print(table, highlight=False)
