"""What the command line shows: progress bars, tables, warnings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, cast

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

from betis import pipeline
from betis.config import merged, read_tables, validated
from betis.demonstration import demo
from betis.export.resampled import write_resampled
from betis.mock import MockOptions
from betis.mock.table import recovery_table
from betis.resampling import Method

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
