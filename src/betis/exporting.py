"""Finished runs to the files of other programs: what each `betis export` puts together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from betis import pipeline
from betis.arrays import B8, F64, Index
from betis.compute import blocks
from betis.config import read_tables
from betis.continuum.engines import HAVE_STARS
from betis.errors import ConfigError
from betis.export.cube import Modelled, write_model_cube
from betis.export.dap import FIGURES, DapInput, write_dap_maps
from betis.export.dap_field import bin_snr, measure_light
from betis.export.figures import figures_of_merit
from betis.export.files import factor_to
from betis.export.legacy import field, lines
from betis.export.legacy.names import LegacyFolder
from betis.export.legacy.nebular import Columns, write_nebular
from betis.export.legacy.planes import SCALE, Planes, fill_planes
from betis.export.pipe3d import write_pipe3d
from betis.export.sidebands import noise_near
from betis.export.table import write_line_table
from betis.finished import FinishedRun, open_finished
from betis.io.products import read_snr
from betis.io.run_folder import CONFIG
from betis.io.starlight.spectrum import BAD
from betis.linelist import LineSet, load_line_set
from betis.lines.model import line_model
from betis.lines.second import with_components
from betis.products import Cube, Sky
from betis.runner import Listener
from betis.starlight.axis import on_linear_axis
from betis.starlight.names import plain, row_names
from betis.starlight.setup import make_setup
from betis.starlight.workspace import START_SIGMA, Workspace

__all__ = ["export_cube", "export_dap", "export_legacy", "export_pipe3d", "export_table"]

_SURVEYS = {"muse": "MUSE", "manga": "MANGA", "califa": "PMAS"}
_USUAL_TARGET = 10.0
"""S/N that the notebooks have in their names of files."""
_MIN_SNR = 5.0
"""S/N of the continuum from which the scripts let STARLIGHT fit a spaxel."""


def export_cube(folder: Path, output: Path | None, listener: Listener) -> Path:
    """Write the model cube of a run, and return where.

    Raises
    ------
    RunFolderError, InputError
        Where the run is not finished or damaged, or the file cannot be written.
    ConfigError
        Where the file is one of the run's own.
    """
    run = open_finished(folder)
    path = _free_path(folder, output, "model_cube.fits")
    listener.begin("cube", run.bins.bin_id.shape[0])
    write_model_cube(
        path,
        run.bins,
        run.spectra,
        lambda rows: _modelled(run, rows),
        has_stars=run.continuum is not None,
        cards=_origin(run),
        progress=listener.advance,
    )
    return path


def export_table(folder: Path, output: Path | None, listener: Listener) -> Path:
    """Write the table of lines of a run, and return where; raises as `export_cube` does."""
    run = open_finished(folder)
    path = _free_path(folder, output, "lines.ecsv")
    listener.begin("table", None)
    write_line_table(path, folder / "lines.fits", run.bins)
    return path


def export_pipe3d(folder: Path, output: Path | None, listener: Listener) -> Path:
    """Write the flux_elines cube of a run, and return where; raises as `export_cube` does."""
    run = open_finished(folder)
    path = _free_path(folder, output, "pipe3d.fits")
    listener.begin("pipe3d", None)
    sky = _sky(run)
    write_pipe3d(path, run.bins, run.line_fit, _fitted_set(run), sky, run.spectra.redshift)
    return path


def export_dap(folder: Path, output: Path | None, listener: Listener) -> Path:
    """Write the MAPS file of a run, and return where; raises as `export_cube` does."""
    run = open_finished(folder)
    path = _free_path(folder, output, "dap.fits")
    factor_to(1.0, run.spectra.sky)
    cube = _prepared(folder, listener)
    listener.begin("dap", cube.sky.shape[0])
    has_stars = run.continuum is not None and run.options.continuum.engine in HAVE_STARS
    given = DapInput(
        bins=run.bins,
        spectra=run.spectra,
        lines=run.line_fit,
        line_set=_fitted_set(run),
        stars=run.continuum.table if run.continuum is not None and has_stars else None,
        noise=noise_near(run.spectra, _places(run)),
        figures=_figures(run),
        light=measure_light(cube, listener.advance),
        bin_snr=bin_snr(run.spectra),
    )
    write_dap_maps(path, given, _origin(run))
    return path


def export_legacy(
    folder: Path, output: Path | None, name: str, target: float | None, listener: Listener
) -> Path:
    """Write every file of the BETIS scripts that a run can give, and return their folder.

    Parameters
    ----------
    folder
        Of the run.
    output
        Where to; the folder "legacy" in that of the run if None.
    name
        What the galaxy is called in the names of files; as the run folder if empty.
    target
        S/N in the names of files; that of the bins, or 10, if None.
    listener
        Told how the resampling goes on.

    Raises
    ------
    RunFolderError, InputError, FitError
        Where the run is not finished or damaged, its cube is gone, a file cannot be written, or
        the stellar base does not reach the spectra.
    """
    run = open_finished(folder)
    chosen = run.bins.target if target is None else target
    if not np.isfinite(chosen):
        chosen = _USUAL_TARGET
    cube = _prepared(folder, listener)
    place = LegacyFolder(
        path=folder / "legacy" if output is None else output,
        galaxy=plain(name or run.title),
        target=f"{chosen:g}",
        survey=_SURVEYS.get(cube.instrument, cube.instrument.upper()),
    )
    planes = _planes(run)
    place.make()
    _write_maps(place, run, planes)
    if not _on_spaxels(run):
        _write_nebular(place, run)
    listener.begin("legacy", cube.sky.shape[0])
    found = field.write_resampled_cube(place, cube, listener.advance)
    _write_starlight(place, run, found, chosen)
    return place.path


def _prepared(folder: Path, listener: Listener) -> Cube:
    cube: Cube = pipeline.open_run(folder, None, {}, listener).obtain("prepare")
    return cube


def _free_path(folder: Path, output: Path | None, name: str) -> Path:
    """Return where to write, which must not be a file that the run needs."""
    path = folder / name if output is None else output
    cube = read_tables(folder / CONFIG).get("input", {}).get("cube", "")
    own = {(folder / stage.file).resolve() for stage in pipeline.STAGES.values() if stage.file}
    if path.resolve() in {*own, Path(str(cube)).resolve()}:
        raise ConfigError(
            f"{path} is a file of the run itself, which would be lost; choose another with -o"
        )
    return path


def _origin(run: FinishedRun) -> dict[str, Any]:
    return {
        "ORIGIN": (f"betis {version('betis')}", "what made the run"),
        "OBJECT": (run.title, "name of the run"),
    }


def _sky(run: FinishedRun) -> Sky:
    shape = run.bins.bin_id.shape
    return run.spectra.sky or Sky(shape=(shape[0], shape[1]))


def _fitted_set(run: FinishedRun) -> LineSet:
    """Return the line set with the further components that a fit may have."""
    return with_components(run.line_set, run.options.lines)


def _places(run: FinishedRun) -> Float[F64, " line"]:
    """Return where the fitted lines lie on the axis of the spectra, Angstrom."""
    known = _fitted_set(run)
    waves = known.waves(run.spectra.medium, run.spectra.redshift)
    place = dict(zip(known.names, waves, strict=True))
    return np.array([place[name] for name in run.line_fit.names])


def _modelled(run: FinishedRun, rows: slice | Index) -> Modelled:
    spectra = run.spectra.take(rows)
    stars = None if run.continuum is None else run.continuum.take(rows).model
    fitted = line_model(run.line_fit.take(rows), spectra, background=False)
    return Modelled(spectra=spectra, stars=stars, lines=fitted)


def _figures(run: FinishedRun) -> Float[F64, "bin figure"]:
    figures = np.full((run.bins.n_bin, len(FIGURES)), np.nan)
    for rows in blocks(run.bins.n_bin):
        figures[rows] = figures_of_merit(_modelled(run, rows))
    return figures


def _on_spaxels(run: FinishedRun) -> bool:
    return run.options.binning.method == "spaxel"


def _planes(run: FinishedRun) -> Planes:
    noise = noise_near(run.spectra, _places(run))
    factor = factor_to(SCALE, run.spectra.sky)
    return fill_planes(run.line_fit, load_line_set("betis41"), noise, factor)


def _write_maps(place: LegacyFolder, run: FinishedRun, planes: Planes) -> None:
    """Write what follows from the products of the run alone."""
    sky, bins = _sky(run), run.bins
    regions = run.options.binning.method == "regions" or bins.is_region is not None
    field.write_labels(place, bins, sky, regions=regions)
    field.write_line_snr(place, read_snr(run.path / "snr.fits"), sky)
    lines.write_lines(place, planes, bins, spaxels=_on_spaxels(run))
    if not _on_spaxels(run):
        lines.write_widths(place, planes)
    lines.write_painted(place, planes, bins, sky)


def _write_nebular(place: LegacyFolder, run: FinishedRun) -> None:
    scale = factor_to(SCALE, run.spectra.sky)
    example = on_linear_axis(run.spectra.take(slice(0, 1)), 1.0, scale)
    write_nebular(place, example.wave, run.bins.n_bin, _columns(run, scale))


def _columns(run: FinishedRun, scale: float) -> Iterator[Columns]:
    for rows in blocks(run.bins.n_bin):
        made = on_linear_axis(run.nebular(rows)[0], 1.0, scale)
        yield Columns(rows, made.flux, made.error, made.good)


def _write_starlight(
    place: LegacyFolder, run: FinishedRun, found: field.ContinuumSnr, target: float
) -> None:
    """Write the spectra, the grid file, and all that it names."""
    fitting = replace(run.options.starlight, step=1.0, kinematics="FIT")
    options = replace(run.options, starlight=fitting)
    setup = make_setup(run.spectra, run.line_set, options)
    named = replace(run.bins, target=target)
    n_row = run.bins.n_bin
    space = Workspace(
        folder=place.starlight,
        setup=setup,
        names=row_names(place.galaxy, named, options.binning.method, setup.law),
        velocity=np.zeros(n_row),
        sigma=np.full(n_row, START_SIGMA),
    )
    fit = _fit_by_starlight(run, found)
    space.write_common()
    for rows in blocks(n_row):
        _write_spectra(space, run, rows, fit)
    space.write_grids(np.flatnonzero(fit), 1)
    if _on_spaxels(run):
        y, x = _spaxels(run)
        chosen = np.flatnonzero(fit).tolist()
        files = {(int(y[row]), int(x[row])): space.names.spectrum(row) for row in chosen}
        field.write_spaxel_table(place, files, found)


def _write_spectra(space: Workspace, run: FinishedRun, rows: slice, fit: Bool[B8, " bin"]) -> None:
    made = on_linear_axis(run.spectra.take(rows), 1.0, space.setup.scale)
    made = made._replace(flag=np.where(made.sky_window, BAD, made.flag).astype(np.int32))
    for index, row in enumerate(range(rows.start, rows.stop)):
        if fit[row]:
            space.write_spectrum(row, made, index)


def _fit_by_starlight(run: FinishedRun, found: field.ContinuumSnr) -> Bool[B8, " bin"]:
    """Tell which rows STARLIGHT fits: every bin, and spaxels of S/N 5 with enough data."""
    if not _on_spaxels(run):
        return np.ones(run.bins.n_bin, dtype=bool)
    y, x = _spaxels(run)
    return np.asarray((found.snr[y, x] > _MIN_SNR) & found.whole[y, x])


def _spaxels(run: FinishedRun) -> tuple[Index, Index]:
    """Return y and x of the spaxel of each row of a run on spaxels."""
    y, x = np.nonzero(run.bins.bin_id >= 0)
    order = np.argsort(run.bins.bin_id[y, x], kind="stable")
    return y[order], x[order]
