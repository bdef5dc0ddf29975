"""The stage of the stellar continuum where STARLIGHT fits it: write, run or wait, collect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from betis.arrays import F64, I32, Index
from betis.compute import blocks, host_cores
from betis.continuum import fit as continuum_fit
from betis.errors import FitError, WaitingError
from betis.extinction import extinction_curve
from betis.io.starlight.output import is_unfinished
from betis.io.templates import load_templates
from betis.linelist import LineSet
from betis.products import BinMap, ContinuumFit, SpectraRows
from betis.runner import Run
from betis.starlight.axis import on_linear_axis
from betis.starlight.collect import Collector, row_flag
from betis.starlight.names import row_names
from betis.starlight.running import Job, Program, last_words, run_jobs, scratch_name
from betis.starlight.setup import make_setup
from betis.starlight.workspace import START_SIGMA, Workspace

__all__ = ["FOLDER", "export_files", "starlight_fits"]

FOLDER = "starlight"
"""Of STARLIGHT's files, in the run folder."""


def starlight_fits(
    run: Run, spectra: SpectraRows, line_set: LineSet
) -> Iterator[tuple[slice, ContinuumFit]]:
    """Let STARLIGHT fit the stars of each bin, and return an iterator over its fits.

    Everything is written to the folder "starlight" of the run. Fits whose output is there are not
    made again; those that are missing are run here, or left to the user.

    Raises
    ------
    WaitingError
        Where no executable is given, and outputs are missing.
    FitError
        Where STARLIGHT gave no output for any spectrum.
    InputError, ConfigError
        Where its files or its executable cannot be used.
    """
    space = _workspace(run, spectra, line_set, run.folder / FOLDER)
    collector = Collector(workspace=space)
    states = _write(space, spectra, collector)
    missing = np.flatnonzero(states == 0)
    run.listener.advance(int((states != 0).sum()))
    if missing.size and run.options.starlight.executable:
        collector.failed = _run(run, space, missing)
        if len(collector.failed) == missing.size and not (states == _DONE).any():
            raise FitError(_all_failed(space, collector.failed))
    elif missing.size and run.options.starlight.missing == "wait":
        _wait(run, space, missing, int((states == _DONE).sum()))
    return _collected(run, spectra, collector)


def export_files(run: Run, line_set: LineSet, folder: Path, processes: int) -> list[Path]:
    """Write everything that STARLIGHT needs for all bins of a run; return the grid files.

    Parameters
    ----------
    run
        Its spectra are made where they are not there.
    line_set
        Whose lines are masked.
    folder
        Where to.
    processes
        Number of grid files; 0 for one a core.
    """
    spectra: SpectraRows = run.obtain("stack")
    space = _workspace(run, spectra, line_set, folder)
    run.begin("starlight", spectra.n_spectrum)
    states = _write(space, spectra, None)
    run.listener.advance(spectra.n_spectrum)
    return space.write_grids(np.flatnonzero(states == 0), processes or host_cores())


_DONE = -1
"""State of a row whose output is there; a row that cannot be fitted has its flag; 0 is to do."""


def _workspace(run: Run, spectra: SpectraRows, line_set: LineSet, folder: Path) -> Workspace:
    options, bins = run.options, _bins(run)
    setup = make_setup(spectra, line_set, options)
    if not options.starlight.base:
        run.warn(
            "continuum",
            f"starlight.base is not given, so that the base {options.continuum.templates!r} was "
            f"written as one of {len(setup.base.components)} spectra: give a base list to fit "
            "with another.",
        )
    velocity, sigma = np.zeros(spectra.n_spectrum), np.full(spectra.n_spectrum, START_SIGMA)
    if setup.kinematics == "FXK":
        velocity, sigma = _held(run, spectra, line_set, setup.excess)
    galaxy = run.folder.path.resolve().name
    return Workspace(
        folder=folder,
        setup=setup,
        names=row_names(galaxy, bins, options.binning.method, setup.law),
        velocity=velocity,
        sigma=sigma,
    )


def _bins(run: Run) -> BinMap:
    bins: BinMap = run.obtain("bin")
    return bins


def _held(
    run: Run, spectra: SpectraRows, line_set: LineSet, excess: float
) -> tuple[Float[F64, " spectrum"], Float[F64, " spectrum"]]:
    """Return the kinematics to hold: those of betis's own engine, as STARLIGHT would see them.

    A row that it cannot fit has those at which STARLIGHT starts.
    """
    options = run.options.continuum
    engine = continuum_fit.template_engine(
        spectra,
        load_templates(options.templates),
        options,
        dust=extinction_curve(options.law, spectra.wave, options.r_v),
        line_waves=line_set.emission().waves(spectra.medium, spectra.redshift),
    )
    velocity, sigma = np.zeros(spectra.n_spectrum), np.full(spectra.n_spectrum, START_SIGMA)
    for rows in blocks(spectra.n_spectrum):
        fit = engine(spectra.take(rows), None)
        known = np.isfinite(fit.velocity) & np.isfinite(fit.sigma)
        seen = np.sqrt(np.maximum(np.where(known, fit.sigma, 0.0) ** 2 + excess, 0.0))
        velocity[rows] = np.round(np.where(known, fit.velocity, 0.0), 2)
        sigma[rows] = np.round(np.where(known, seen, START_SIGMA), 2)
    return velocity, sigma


def _write(
    space: Workspace, spectra: SpectraRows, collector: Collector | None
) -> Int[I32, " spectrum"]:
    """Write every file but the grids; return for each row whether it is done, bad or to do."""
    space.write_common()
    states = np.zeros(spectra.n_spectrum, np.int32)
    for block in blocks(spectra.n_spectrum):
        rows = on_linear_axis(spectra.take(block), space.setup.step, space.setup.scale)
        for index in range(block.stop - block.start):
            row = block.start + index
            states[row] = row_flag(rows, index, space.setup)
            if states[row]:
                continue
            space.write_spectrum(row, rows, index)
            if collector and collector.is_done(row, rows, index):
                states[row] = _DONE
    return states


def _run(run: Run, space: Workspace, missing: Index) -> dict[int, str]:
    chosen = run.options.starlight
    program = Program(
        executable=chosen.executable,
        processes=chosen.processes or host_cores(),
        time_limit=chosen.time_limit,
    )
    jobs = [
        Job(int(row), space.grid([int(row)], scratch_name()), space.names.output(row), path)
        for row, path in ((row, space.output(int(row))) for row in missing)
    ]
    return run_jobs(jobs, program, space.folder, run.listener.advance)


def _wait(run: Run, space: Workspace, missing: Index, n_done: int) -> None:
    """Stop here, unless what is missing are outputs that will not come."""
    unfinished = np.array([row for row in missing if _is_to_come(space, int(row))], int)
    if not unfinished.size:
        return
    grids = space.write_grids(unfinished, run.options.starlight.processes or host_cores())
    names = grids[0].name if len(grids) == 1 else f"{grids[0].name} to {grids[-1].name}"
    raise WaitingError(
        f"STARLIGHT has {unfinished.size} of {unfinished.size + n_done} spectra to fit: in "
        f"{space.folder} run it on {names}, as in `StarlightChains_v04.exe < {grids[0].name}`, and "
        "then run betis again; or name it as starlight.executable, or set starlight.missing to "
        "'flag' to go on without them"
    )


def _is_to_come(space: Workspace, row: int) -> bool:
    """Tell whether an output that cannot be used will be made: it is not whole, or is outdated."""
    output = space.output(row)
    if is_unfinished(output):
        return True
    return output.stat().st_mtime_ns < space.spectrum(row).stat().st_mtime_ns


def _all_failed(space: Workspace, failed: dict[int, str]) -> str:
    row, reason = next(iter(failed.items()))
    words = last_words(space.folder, space.names.output(row))
    said = f"; it said {words!r}" if words else ""
    return (
        f"STARLIGHT fitted none of {len(failed)} spectra (of the first, {reason}{said}); check "
        f"starlight.executable, base and config, and see {space.folder / 'logs'}"
    )


def _collected(
    run: Run, spectra: SpectraRows, collector: Collector
) -> Iterator[tuple[slice, ContinuumFit]]:
    for rows in blocks(spectra.n_spectrum):
        yield rows, collector.collect(rows.start, spectra.take(rows))
    for reason, count in collector.reasons.most_common():
        run.warn(
            "continuum",
            f"STARLIGHT gave no continuum for {count} of {spectra.n_spectrum} spectra: {reason}.",
        )
