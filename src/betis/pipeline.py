"""The order of the stages, from a cube to maps and a report: the only module that knows it."""

from __future__ import annotations

import json
import logging
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from betis import bin_stage, compute, preparation, snr, stages
from betis.config import (
    cube_layout,
    options_from,
    overlaid,
    read_tables,
    to_toml,
    without_input,
)
from betis.errors import BetisError, ConfigError, RunFolderError, WaitingError
from betis.fitting.cluster import require_cluster
from betis.io import products as files
from betis.io import row_products as row_files
from betis.io.derived import read_derived, write_derived
from betis.io.fits import require_file, write_text
from betis.io.label_map import split_extension
from betis.io.readers import read_cube
from betis.io.run_folder import CONFIG, CONTINUUM, LINES, LOG, SPECTRA, RunFolder
from betis.io.templates import list_templates
from betis.linelist import set_names
from betis.maps import read_maps
from betis.options import Options, StarlightOptions
from betis.report import write_report
from betis.runner import Listener, Run, Silent, Stage

_LIBRARIES = ("numpy", "scipy", "astropy", "jax", "dust_extinction")


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
    options = _settled(options_from(without_input(overlaid(stored, tables or {}))))
    if options.prepare.redshift is None:
        raise ConfigError("the redshift of the galaxy is not given; give it with -z (or redshift=)")
    # A text that means nothing is refused before all else.
    snr.line_names(options.snr.line)
    require_cluster(options.compute.dask)
    _require_apart(folder, path, options)
    digest = folder.digest_of_cube(require_file(path).resolve())
    chosen = options.prepare
    read_cube(path, chosen.instrument, layout=options.cube, arm=chosen.arm or None)
    folder.claim(path.resolve(), digest)
    return Run(
        folder=folder,
        cube_path=path.resolve(),
        cube_digest=digest,
        options=options,
        stages=STAGES,
        listener=listener or Silent(),
    )


def execute(run: Run, until: str = "report") -> None:
    """Make every product up to a stage, reusing what is still valid.

    Raises
    ------
    BetisError
        With one plain sentence; what was written before stays.
    """
    with run.folder.held(), _logged(run), _configured(run), run.closing():
        compute.configure(run.options.compute)
        run.folder.note(_provenance())
        for name in STAGES:
            run.obtain(name)
            if name == until:
                break


def _require_apart(folder: RunFolder, cube: Path, options: Options) -> None:
    """Refuse to read what the run itself replaces: the cube would be lost, or labels change."""
    made = {(folder / stage.file).resolve() for stage in STAGES.values() if stage.file}
    named = (options.prepare.arm, options.binning.method, options.regions.map)
    for path in (cube, *(split_extension(text)[0] for text in named)):
        if path.resolve() in made:
            raise ConfigError(
                f"{path} is a file that a run in {folder.path} replaces; copy it elsewhere, or "
                "choose another folder with -o"
            )


def _settled(options: Options) -> Options:
    """Return options that stand on their own: the layout of the cube in them, absolute paths."""
    chosen = options.prepare
    preparation.require_one_extinction(chosen)
    instrument, layout = cube_layout(chosen.instrument, options.cube)
    arm = str(require_file(chosen.arm).resolve()) if chosen.arm else ""
    binning = replace(options.binning, method=_binning_method(options.binning.method))
    regions = replace(options.regions, map=_absolute(options.regions.map))
    templates = _named_or_absolute(options.continuum.templates, list_templates())
    line_set = _named_or_absolute(options.lines.line_set, set_names())
    return replace(
        options,
        cube=layout,
        prepare=replace(chosen, instrument=instrument, arm=arm),
        binning=binning,
        regions=regions,
        continuum=replace(options.continuum, templates=templates),
        starlight=_starlight_paths(options),
        lines=replace(options.lines, line_set=line_set),
    )


def _starlight_paths(options: Options) -> StarlightOptions:
    """Return the options of STARLIGHT with absolute paths; what it needs must be there."""
    chosen = options.starlight
    known: dict[str, Any] = {
        name: _absolute_path(value)
        for name in ("base", "base_dir", "config", "mask")
        if (value := getattr(chosen, name))
    }
    program = _program(chosen.executable) if chosen.executable else ""
    if options.continuum.engine == "starlight":
        for name in known.keys() - {"base_dir"}:
            require_file(known[name])
        if program is None:
            raise ConfigError(
                f"starlight.executable is {chosen.executable!r}, which is no program that can be "
                "run; give the path of the executable of STARLIGHT for this machine"
            )
    executable = _absolute_path(program) if program else chosen.executable
    return replace(chosen, executable=executable, **known)


def _program(text: str) -> str | None:
    """Return the path of an executable, by its own path or as a command; None for none."""
    return shutil.which(_absolute_path(text)) or shutil.which(text)


def _absolute_path(text: str) -> str:
    return str(Path(text).expanduser().absolute())


def _binning_method(text: str) -> str:
    """Return the name of a binning, or the absolute path of the labels that stand for one."""
    if text in bin_stage.METHODS:
        return text
    path, _ = split_extension(text)
    if not path.suffix and not _is_there(path):
        raise ConfigError(
            f"the binning {text!r} is unknown; expected one of {', '.join(bin_stage.METHODS)}, or "
            "a FITS file of labels as FILE.fits[EXTNAME]"
        )
    return _absolute(text)


def _absolute(text: str) -> str:
    """Return the absolute path of ``FILE.fits[EXTNAME]``; "" for none."""
    if not text:
        return ""
    path, extension = split_extension(text)
    where = str(require_file(path).resolve())
    return where if extension is None else f"{where}[{extension}]"


def _named_or_absolute(text: str, shipped: tuple[str, ...]) -> str:
    """Return the name of what is shipped, or the absolute path of what stands in its place.

    What is neither stays as it is, for its reader to refuse.
    """
    path = Path(text).expanduser()
    known = text in shipped or not (_is_there(path) or any(sign in text for sign in "*?["))
    return text if known else str(path.absolute())


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text too long for a name
        return False


def _stored(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Return the tables of the folder's configuration, the cube among them."""
    tables = read_tables(folder / CONFIG) if (folder / CONFIG).exists() else {}
    if not isinstance(tables.get("input", {}).get("cube"), str):
        raise RunFolderError(f"{folder.path} holds no run yet; give the cube: betis run CUBE")
    return tables


@contextmanager
def _configured(run: Run) -> Iterator[None]:
    """Write the run's configuration; where its options turn out wrong, leave the one before."""
    file = run.folder / CONFIG
    before = file.read_text("utf-8") if file.exists() else None
    cube = json.dumps(str(run.cube_path), ensure_ascii=False)
    head = f"# The resolved configuration of this run.\n[input]\ncube = {cube}\n\n"
    write_text(file, head + to_toml(run.options))
    try:
        yield
    except WaitingError as waiting:
        run.folder.note({"waiting": str(waiting)})
        raise
    except BetisError:
        if before is not None:
            with suppress(RunFolderError):
                write_text(file, before)
        raise


def _provenance() -> dict[str, Any]:
    return {
        "betis": version("betis"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _LIBRARIES},
        "waiting": "",
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
    "noise": Stage(
        file="noise.fits",
        needs=(),
        tables=("cube", "prepare", "lines.line_set"),
        make=stages.check_noise,
        write=files.write_noise,
        read=files.read_noise,
    ),
    "prepare": Stage(file="", needs=("noise",), tables=("cube", "prepare"), make=stages.open_cube),
    "snr": Stage(
        file="snr.fits",
        needs=("prepare",),
        tables=("snr", "lines.line_set"),
        make=stages.measure_snr,
        write=lambda path, made, run, cards: files.write_snr(
            path, made, run.obtain("prepare").sky, cards
        ),
        read=files.read_snr,
    ),
    "bin": Stage(
        file="bins.fits",
        needs=("prepare", "snr"),
        tables=("binning", "regions", "snr", "lines.line_set"),
        make=stages.make_bins,
        write=lambda path, made, run, cards: files.write_bins(
            path, made, run.obtain("prepare").sky, cards
        ),
        read=files.read_bins,
    ),
    "stack": Stage(
        file=SPECTRA,
        needs=("prepare", "bin"),
        tables=(),
        make=stages.sum_spectra,
        write=lambda path, made, _, cards: row_files.write_spectra(path, made, cards),
        read=row_files.read_spectra,
    ),
    "continuum": Stage(
        file=CONTINUUM,
        needs=("stack",),
        tables=("continuum", "starlight", "lines.line_set"),
        make=stages.fit_stars,
        write=lambda path, made, run, cards: row_files.write_continuum(
            path, made, run.obtain("stack").sky, cards
        ),
        read=row_files.read_continuum,
    ),
    "lines": Stage(
        file=LINES,
        needs=("stack", "continuum"),
        tables=("lines",),
        make=stages.fit_lines,
        write=lambda path, made, run, cards: row_files.write_lines(
            path, made, stages.tied_lines(run), cards
        ),
        read=row_files.read_lines,
    ),
    "maps": Stage(
        file="maps.fits",
        needs=("bin", "lines", "continuum"),
        tables=(),
        make=stages.paint_maps,
        write=lambda path, made, _, cards: made.write(path, cards),
        read=read_maps,
    ),
    "derived": Stage(
        file="derived.fits",
        needs=("prepare", "bin", "lines"),
        tables=("derived",),
        make=stages.derive_quantities,
        write=lambda path, made, run, cards: write_derived(
            path, made, run.obtain("bin"), run.obtain("prepare").sky, cards
        ),
        read=read_derived,
    ),
    "report": Stage(
        file="report.html",
        needs=("prepare", "snr", "maps", "derived"),
        tables=(),
        make=stages.compose_report,
        write=lambda path, made, *_: write_report(path, made),
    ),
}
"""The stages in their order; each is also a command."""
