"""The order of the stages, from a cube to maps and a report: the only module that knows it."""

from __future__ import annotations

import json
import logging
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from betis import compute, preparation, snr, stacking
from betis.binning import quadtree, spaxel
from betis.binning.quality import LARGE_BIN, correlation_of_residuals
from betis.config import options_from, read_tables, to_toml
from betis.continuum import fit as continuum_fit
from betis.continuum.templates import template_broader_share
from betis.errors import ConfigError, InputError, RunFolderError
from betis.extinction import extinction_curve
from betis.flags import Flag
from betis.inspection import describe_cube
from betis.io import products as files
from betis.io.fits import require_file, write_text
from betis.io.readers import read_cube
from betis.io.run_folder import CONFIG, LOG, RunFolder
from betis.io.templates import load_templates
from betis.linelist import LineSet, load_line_set
from betis.lines import fit as line_fit
from betis.lines.model import line_model
from betis.maps import Maps, make_maps, read_maps
from betis.mock import Recovery, compare, read_truth
from betis.mock.table import recovery_table
from betis.options import Options
from betis.products import BinMap, ContinuumFit, Cube, LineFit, SnrMap, Spectra
from betis.report import ReportContent, write_report
from betis.runner import Listener, Run, Silent, Stage

BINNINGS = {"quadtree": quadtree.quadtree, "spaxel": spaxel.spaxels}

_LIBRARIES = ("numpy", "scipy", "astropy", "jax", "dust_extinction")


_BROAD_SHARE = 0.05
"""Share of pixels at which the base may be broader than the data without a warning."""

_CORRELATION_EXCESS = 0.1
"""Excess of alpha over the one in use that is worth a warning."""


def open_run(
    output: str | Path,
    cube: str | Path | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    listener: Listener | None = None,
) -> Run:
    """Open a run folder, new or old, and settle its options.

    Parameters
    ----------
    output
        The run folder.
    cube
        The cube, with the default options; None to go on with the cube and the options that the
        folder's ``config.toml`` names.
    tables
        Options that win over those.
    listener
        Told how the run goes on.

    Raises
    ------
    BetisError
        Where the cube is missing, an option is wrong, or the folder is another cube's.
    """
    folder = RunFolder(output)
    stored = _stored(folder) if cube is None else {}
    path = Path(cube if cube is not None else stored["input"]["cube"])
    options = options_from(_without_input(_over(stored, tables or {})))
    if options.prepare.redshift is None:
        raise ConfigError("the redshift of the galaxy is not given; give it with -z (or redshift=)")
    digest = folder.digest_of_cube(require_file(path).resolve())
    read_cube(path, options.prepare.instrument)
    folder.claim(path.resolve(), digest)
    run = Run(
        folder=folder,
        cube_path=path.resolve(),
        cube_digest=digest,
        options=options,
        stages=STAGES,
        listener=listener or Silent(),
    )
    _write_config(run)
    return run


def execute(run: Run, until: str = "report") -> None:
    """Make every product up to a stage, reusing what is still valid.

    Raises
    ------
    BetisError
        With one plain sentence; what was written before stays.
    """
    with _logged(run):
        compute.configure(run.options.compute)
        run.folder.note(_provenance())
        for name in STAGES:
            run.obtain(name)
            if name == until:
                break


def _open_cube(run: Run) -> Cube:
    cube = read_cube(run.cube_path, run.options.prepare.instrument)
    return preparation.prepare(cube, run.options.prepare)


def _line_set(run: Run) -> LineSet:
    return load_line_set(run.options.lines.line_set)


def _measure_snr(run: Run) -> SnrMap:
    cube: Cube = run.obtain("prepare")
    line_set = _snr_lines(run)
    place = line_set.select([run.options.snr.line]).waves(cube.medium, cube.redshift)
    result = snr.line_snr(cube, line_set, run.options.snr)
    if cube.sky_window is not None and np.interp(place, cube.wave, cube.sky_window)[0] > 0:
        run.warn(
            "snr",
            f"{run.options.snr.line} lies in a window of sky lines or telluric absorption at "
            f"{place[0] * (1 + cube.redshift):.0f} Å observed: look at its S/N map with care.",
        )
    return result


def _snr_lines(run: Run) -> LineSet:
    """Return the set that knows the S/N line: the run's own, or the standard one."""
    own = _line_set(run)
    return own if run.options.snr.line in own.names else load_line_set()


def _make_bins(run: Run) -> BinMap:
    measured: SnrMap = run.obtain("snr")
    bins = BINNINGS[run.options.binning.method](
        measured.signal, measured.noise, run.options.binning
    )
    low = (bins.flags & Flag.LOW_SNR) != 0
    if low.all():
        raise InputError(
            f"no bin reaches S/N {bins.target:g} in {measured.line}: the best has "
            f"{np.nanmax(bins.snr):.3g}; check the redshift, lower --target-snr, or choose a "
            "brighter line with --snr-line"
        )
    share = bins.n_spaxel[low].sum() / bins.n_spaxel.sum()
    if share > 0.5:
        run.warn(
            "bin",
            f"{100 * share:.0f} % of the binned spaxels are in bins below S/N {bins.target:g} "
            f"in {measured.line}.",
        )
    return bins


def _make_spectra(run: Run) -> Spectra:
    cube: Cube = run.obtain("prepare")
    run.begin("stack", cube.shape[1])
    return stacking.stack(cube, run.obtain("bin"), run.listener.advance)


def _fit_continuum(run: Run) -> ContinuumFit:
    spectra: Spectra = run.obtain("stack")
    options = run.options.continuum
    if options.engine == "none":
        return continuum_fit.no_continuum(spectra)
    run.begin("continuum", spectra.n_spectrum)
    emission = _line_set(run).emission()
    base = load_templates(options.templates)
    _warn_of_broad_base(run, template_broader_share(base, spectra))
    fit = continuum_fit.fit_continuum(
        spectra,
        base,
        options,
        dust=extinction_curve(options.law, spectra.wave, options.r_v),
        line_waves=emission.waves(spectra.medium, spectra.redshift),
        progress=run.listener.advance,
    )
    failed = int(((fit.flags & (Flag.NOT_CONVERGED | Flag.FIT_FAILED | Flag.NO_DATA)) != 0).sum())
    if failed:
        run.warn(
            "continuum", f"{failed} of {spectra.n_spectrum} continuum fits failed or did not end."
        )
    _warn_of_correlation(run, fit)
    return fit


def _warn_of_broad_base(run: Run, share: float) -> None:
    if share > _BROAD_SHARE:
        run.warn(
            "continuum",
            f"the stellar base is broader than the data at {100 * share:.0f} % of the pixels: "
            "stellar dispersions come out too small; a sharper base would mend it.",
        )


def _warn_of_correlation(run: Run, fit: ContinuumFit) -> None:
    """Warn where the residuals of large bins say that their errors are too small."""
    bins: BinMap = run.obtain("bin")
    alpha = correlation_of_residuals(bins, fit)
    if alpha > bins.correlation + _CORRELATION_EXCESS:
        run.warn(
            "continuum",
            f"bins of {LARGE_BIN} and more spaxels scatter about their continuum by more than "
            "their errors: the noise of neighbouring spaxels is correlated, or the model is not "
            f"good enough; --correlation {alpha:.2f} would make the errors and S/N of bins honest.",
        )


def _fit_lines(run: Run) -> LineFit:
    gas, fit = _nebular(run)
    run.begin("lines", None)
    result = line_fit.fit_lines(gas, _line_set(run), run.options.lines, continuum=fit)
    detected = (result.flags & (Flag.NOT_DETECTED | Flag.NO_DATA)) == 0
    if detected.any(axis=1).mean() < 0.05:
        run.warn(
            "lines",
            "hardly any bin shows an emission line: check the redshift "
            f"({run.options.prepare.redshift:g}).",
        )
    return result


def _nebular(run: Run) -> tuple[Spectra, ContinuumFit | None]:
    """Return the spectra without stars; the fit is None where no engine ran."""
    spectra: Spectra = run.obtain("stack")
    fit: ContinuumFit = run.obtain("continuum")
    return spectra.subtract(fit), None if run.options.continuum.engine == "none" else fit


def _make_maps(run: Run) -> Maps:
    _, stars = _nebular(run)
    return make_maps(run.obtain("bin"), run.obtain("lines"), stars)


def _make_report(run: Run) -> ReportContent:
    cube: Cube = run.obtain("prepare")
    gas, _ = _nebular(run)
    lines: LineFit = run.obtain("lines")
    measured: SnrMap = run.obtain("snr")
    known = run.folder.provenance()
    said = [text for stage in known.get("warnings", {}).values() for text in stage]
    recovery = recovery_of(run)
    return ReportContent(
        title=run.folder.path.resolve().name,
        facts=_facts(run, cube),
        settings=_settings(run.options),
        cube_image=_image(measured, cube),
        snr=measured,
        bins=run.obtain("bin"),
        spectra=run.obtain("stack"),
        continuum=run.obtain("continuum"),
        lines=lines,
        line_set=_line_set(run),
        sky=cube.sky,
        model_lines=lambda rows: line_model(
            lines.take(rows), gas.take(rows), window=run.options.lines.window
        ),
        timings={
            Path(name).stem: fact["seconds"] for name, fact in known.get("stages", {}).items()
        },
        warnings=tuple(said),
        recovery=() if recovery is None else recovery_table(recovery),
    )


def _image(measured: SnrMap, cube: Cube) -> np.ndarray:
    """Return an image of the field: the continuum beside the line, or zeros without one."""
    return np.zeros(cube.sky.shape) if measured.continuum is None else measured.continuum


def _facts(run: Run, cube: Cube) -> dict[str, str]:
    chosen = run.options.prepare
    return {
        **describe_cube(cube),
        "redshift": f"{chosen.redshift:g}",
        "Galactic extinction": f"A_V = {chosen.av:g} mag removed ({chosen.law}, R_V {chosen.r_v:g})"
        if chosen.av
        else "none removed",
        "betis": version("betis"),
    }


def _settings(options: Options) -> dict[str, str]:
    return {
        f"{section.name}.{key}": str(value)
        for section in fields(options)
        for key, value in asdict(getattr(options, section.name)).items()
    }


def recovery_of(run: Run) -> Recovery | None:
    """Compare with the truth, where the cube is a mock of ours."""
    name = run.folder.provenance().get("truth")
    if not name or not (run.folder / name).exists():
        return None
    bins: BinMap = run.obtain("bin")
    return compare(
        read_truth(run.folder / name), bins.bin_id, run.obtain("lines"), run.obtain("continuum")
    )


def _stored(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Return the tables of the folder's configuration, the cube among them."""
    tables = read_tables(folder / CONFIG) if (folder / CONFIG).exists() else {}
    if not isinstance(tables.get("input", {}).get("cube"), str):
        raise RunFolderError(f"{folder.path} holds no run yet; give the cube: betis run CUBE")
    return tables


def _without_input(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the options of a run folder's configuration, which may serve for another run."""
    return {name: table for name, table in tables.items() if name != "input"}


def _over(
    base: Mapping[str, Mapping[str, Any]], tables: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    names = [*base, *(name for name in tables if name not in base)]
    return {name: {**base.get(name, {}), **tables.get(name, {})} for name in names}


def _write_config(run: Run) -> None:
    cube = json.dumps(str(run.cube_path), ensure_ascii=False)
    head = f"# The resolved configuration of this run.\n[input]\ncube = {cube}\n\n"
    write_text(run.folder / CONFIG, head + to_toml(run.options))


def _provenance() -> dict[str, Any]:
    return {
        "betis": version("betis"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _LIBRARIES},
    }


class _LogFile(logging.FileHandler):
    """A log that is lost on a full disk without a word: the run itself says that it is full."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Say nothing."""


@contextmanager
def _logged(run: Run) -> Iterator[None]:
    """Let the package's log go to the run folder."""
    logger = logging.getLogger("betis")
    try:
        handler = _LogFile(run.folder / LOG, encoding="utf-8")
    except OSError as error:
        raise RunFolderError(f"{run.folder / LOG} cannot be written: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.info("betis %s: %s", version("betis"), " ".join(sys.argv))
    try:
        yield
    except BaseException as error:
        logger.error("ended by %s: %s", type(error).__name__, error)
        raise
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()


STAGES: dict[str, Stage] = {
    "prepare": Stage(file="", needs=(), tables=("prepare",), make=_open_cube),
    "snr": Stage(
        file="snr.fits",
        needs=("prepare",),
        tables=("snr", "lines"),
        make=_measure_snr,
        write=lambda path, made, run, cards: files.write_snr(
            path, made, run.obtain("prepare").sky, cards
        ),
        read=files.read_snr,
    ),
    "bin": Stage(
        file="bins.fits",
        needs=("snr",),
        tables=("binning",),
        make=_make_bins,
        write=lambda path, made, run, cards: files.write_bins(
            path, made, run.obtain("prepare").sky, cards
        ),
        read=files.read_bins,
    ),
    "stack": Stage(
        file="spectra.fits",
        needs=("prepare", "bin"),
        tables=(),
        make=_make_spectra,
        write=lambda path, made, _, cards: files.write_spectra(path, made, cards),
        read=files.read_spectra,
    ),
    "continuum": Stage(
        file="continuum.fits",
        needs=("stack",),
        tables=("continuum", "lines"),
        make=_fit_continuum,
        write=lambda path, made, run, cards: files.write_continuum(
            path, made, run.obtain("stack").sky, cards
        ),
        read=files.read_continuum,
    ),
    "lines": Stage(
        file="lines.fits",
        needs=("stack", "continuum"),
        tables=("lines",),
        make=_fit_lines,
        write=lambda path, made, run, cards: files.write_lines(path, made, _line_set(run), cards),
        read=files.read_lines,
    ),
    "maps": Stage(
        file="maps.fits",
        needs=("bin", "lines", "continuum"),
        tables=(),
        make=_make_maps,
        write=lambda path, made, _, cards: made.write(path, cards),
        read=read_maps,
    ),
    "report": Stage(
        file="report.html",
        needs=("prepare", "snr", "maps"),
        tables=(),
        make=_make_report,
        write=lambda path, made, *_: write_report(path, made),
    ),
}
"""The stages in their order; each is also a command."""
