"""The command line: typer and rich, no logic. Heavy libraries load inside the commands."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from betis.cli_flags import (
    FLAG_TYPES,
    STAGE_FLAGS,
    ConfigFile,
    CubeFile,
    LineSetName,
    Output,
    Redshift,
    RunPath,
)

app = typer.Typer(
    name="betis",
    help="From a reduced integral-field cube to maps of its emission lines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
templates_app = typer.Typer(help="Stellar bases: list, show, convert.", no_args_is_help=True)
app.add_typer(templates_app, name="templates")
line_set_app = typer.Typer(help="Sets of lines: list, show.", no_args_is_help=True)
app.add_typer(line_set_app, name="line-set")
export_app = typer.Typer(help="Files for other programs, made from a run.", no_args_is_help=True)
app.add_typer(export_app, name="export")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        import betis

        typer.echo(f"betis {betis.__version__}")
        raise typer.Exit


def _command(
    name: str, text: str, place: Mapping[str, Any], flags: tuple[str, ...]
) -> Callable[..., None]:
    """Add a command that runs the pipeline up to a stage; ``place`` are its fixed parameters."""

    def command(**values: Any) -> None:
        from betis.console import run_until

        fixed = {key: values.pop(key) for key in place}
        run_until(
            "report" if name == "run" else name,
            output=fixed.get("output") or fixed["folder"],
            cube=fixed.get("cube"),
            config=fixed.get("config"),
            flags=values,
        )

    types = {**place, **{flag: FLAG_TYPES[flag] for flag in flags}}
    defaults = {"output": Path("betis-run"), "config": None, **dict.fromkeys(flags)}
    empty = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(key, empty), annotation=kind
        )
        for key, kind in types.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = types
    command.__doc__ = text
    return app.command(name)(command)


_NEW_RUN = {"cube": CubeFile, "output": Output, "config": ConfigFile}
_command(
    "run",
    "Run everything; run it again after a crash and it goes on where it was.",
    _NEW_RUN,
    tuple(FLAG_TYPES),
)
_command(
    "prepare",
    "Open a cube and a run folder: the stages below go on from there.",
    _NEW_RUN,
    ("redshift", "av", "ebv", "dust_map", "rescale_noise", "instrument", "arm"),
)
for _name, (_text, _flags) in STAGE_FLAGS.items():
    _command(_name, _text, {"folder": RunPath, "config": ConfigFile}, _flags)


@app.command()
def demo(
    output: Output = Path("betis-demo"),
    size: Annotated[int, typer.Option(help="Spaxels a side.")] = 40,
    snr: Annotated[float, typer.Option(help="Continuum S/N at the centre.")] = 30.0,
    redshift: Annotated[float, typer.Option("-z", "--redshift", help="Redshift.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Seed.")] = 1,
    instrument: Annotated[
        str,
        typer.Option(help="What observes it: muse, manga, manga-lin, califa, sami, kcwi, generic."),
    ] = "muse",
    mode: Annotated[str, typer.Option(help="Of the instrument: V1200 (califa), RL (kcwi).")] = "",
) -> None:
    """Make a mock galaxy, run everything on it, and compare with what was put in."""
    from betis.console import run_demo

    sizes = {"n_y": size, "n_x": size, "snr": snr, "redshift": redshift, "seed": seed}
    run_demo(output, {**sizes, "instrument": instrument, "mode": mode})


@app.command("show")
def show_bin(
    folder: RunPath,
    bins: Annotated[list[int] | None, typer.Option("--bin", help="A bin; several times.")] = None,
    spaxel: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="X Y", help="The bin of a spaxel, x and y from 0 as in bins.fits."),
    ] = None,
    flag: Annotated[str, typer.Option(help="One at random that has this flag: AT_BOUND.")] = "",
    seed: Annotated[int, typer.Option(help="Of that choice.")] = 1,
    line: Annotated[str, typer.Option(help="Close up to the fit of this line only.")] = "",
    all_groups: Annotated[
        bool, typer.Option("--all-groups", help="Close up to every fit, detected or not.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="png, pdf or svg file; RUN/figures/bin-N.png."),
    ] = None,
) -> None:
    """Draw the spectrum of a bin with its model, and show what was measured of its lines."""
    from betis.console import show_bins
    from betis.report.bin_choice import Choice

    choice = Choice(bins=tuple(bins or ()), spaxel=spaxel, flag=flag, seed=seed, line=line)
    show_bins(folder, choice, output, every=all_groups)


@app.command("view")
def view(
    folder: RunPath,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="To listen on; 0 for any that is free.")
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only say where the page is.")
    ] = False,
) -> None:
    """Look around in the maps and spectra of a run, in the browser."""
    from betis.viewer import view_run

    view_run(folder, port=port, browser=not no_browser, say=typer.echo)


@app.command()
def remnants(
    folder: RunPath,
    templates: Annotated[
        list[Path], typer.Argument(metavar="TEMPLATE...", help="Spectra: wavelength (Å), flux.")
    ],
    velocity: Annotated[
        float, typer.Option(help="Of the remnants in the rest frame of the run, km/s.")
    ] = 0.0,
    redshift: Annotated[float, typer.Option("-z", "--redshift", help="Of the templates.")] = 0.0,
    medium: Annotated[str, typer.Option(help="Of the templates' wavelengths: air, vacuum.")] = (
        "air"
    ),
    degree: Annotated[int, typer.Option(help="Of the polynomial taken out of both.")] = 2,
    without_lines: Annotated[
        bool, typer.Option("--without-lines", help="Take the fitted lines away first.")
    ] = False,
    region: Annotated[
        list[str] | None, typer.Option(help="LOW-HIGH in place of the five regions; several times.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="FITS file; RUN/remnants.fits.")
    ] = None,
) -> None:
    """Compare the spectra of the bins with templates of supernova remnants."""
    from betis.console import match_remnants
    from betis.remnants import Matching, regions_from

    how = Matching(
        regions=regions_from(region or ()), degree=degree, velocity=velocity, redshift=redshift
    )
    match_remnants(folder, templates, how, medium=medium, lines=not without_lines, output=output)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN", help="The run held against it.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="HTML file; compare-SECOND.html in the first RUN."),
    ] = None,
) -> None:
    """Compare two runs on the same sky line by line: other options, bins or observations."""
    from betis.console import show_comparison

    show_comparison(first, second, output)


@app.command()
def batch(
    catalogue: Annotated[
        Path,
        typer.Argument(metavar="CATALOG.csv", help="A row a galaxy: cube, redshift, any option."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the run folders and the summary.")
    ] = Path("betis-batch"),
    config: ConfigFile = None,
    at_once: Annotated[
        int, typer.Option("--at-once", min=1, help="Galaxies that run at the same time.")
    ] = 1,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Look at every row's options and cube, and run nothing."),
    ] = False,
) -> None:
    """Run a sample, a row of a catalogue each, going on past failures."""
    from betis.console import run_catalogue

    if not run_catalogue(catalogue, output, config, at_once, dry=dry_run):
        raise typer.Exit(2)


@app.command("inspect")
def inspect_(
    cube: CubeFile,
    redshift: Redshift = None,
    instrument: Annotated[
        str, typer.Option(help="auto, the reader to force, or a TOML file.")
    ] = "auto",
    arm: Annotated[Path | None, typer.Option(help="Cube of the other arm.")] = None,
    line_set: LineSetName = "standard",
) -> None:
    """Say what was understood of a cube, and what a run on it will cost."""
    from betis.config import cube_layout
    from betis.console import show_facts
    from betis.inspection import inspect_cube
    from betis.linelist import load_line_set
    from betis.options import CubeOptions

    reader, layout = cube_layout(instrument, CubeOptions())
    lines = load_line_set(line_set)
    show_facts(inspect_cube(cube, lines, reader, redshift, layout=layout, arm=arm))


@app.command()
def config(
    full: Annotated[bool, typer.Option("--full", help="Every option.")] = False,
) -> None:
    """Print a commented TOML file to start from."""
    from betis.config import to_toml
    from betis.options import Options

    typer.echo(to_toml(Options(), full=full), nl=False)


@templates_app.command("list")
def list_() -> None:
    """List the bases that ship with betis."""
    from betis.console import show_facts
    from betis.io.templates import list_templates, load_templates

    show_facts({name: load_templates(name).source for name in list_templates()})


@templates_app.command()
def show(
    source: Annotated[str, typer.Argument(help="Name of a base, or a path.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="png file of its figure; betis-NAME.png here."),
    ] = None,
) -> None:
    """Say what a base holds, and draw it."""
    from betis.console import show_facts
    from betis.io.templates import describe_templates, load_templates
    from betis.report.base_figure import default_path, write_base_figure

    base = load_templates(source)
    show_facts(describe_templates(base))
    path = output or default_path(base)
    write_base_figure(path, base)
    typer.echo(f"drawn: {path}")


@templates_app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="FITS file or folder, or STARLIGHT base list.")],
    output: Annotated[Path, typer.Argument(help="The npz file to write.")],
    spectra: Annotated[
        Path | None, typer.Option(help="Folder of a STARLIGHT base's spectra.")
    ] = None,
    fwhm: Annotated[float | None, typer.Option(help="Resolution (FWHM), Angstrom.")] = None,
) -> None:
    """Bring a base into betis's own format."""
    from betis.io.templates import load_templates, save_templates

    save_templates(output, load_templates(source, spectra_dir=spectra, fwhm=fwhm))
    typer.echo(f"wrote {output}")


@line_set_app.command("list")
def list_line_sets() -> None:
    """List the sets that ship with betis."""
    from betis.console import show_facts
    from betis.linelist import describe_set, load_line_set, set_names

    show_facts({name: describe_set(load_line_set(name)) for name in set_names()})


@line_set_app.command("show")
def show_line_set(
    source: Annotated[str, typer.Argument(metavar="SET", help="Name of a set, or a TOML file.")],
) -> None:
    """Show the lines of a set: wavelengths, ties, signs, windows, bounds and sources."""
    from betis.console import show_table
    from betis.linelist import describe_line, load_line_set

    show_table([describe_line(line) for line in load_line_set(source).lines])


@export_app.command()
def resampled(
    folder: RunPath,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="FITS file; RUN/resampled.fits.")
    ] = None,
    step: Annotated[float, typer.Option(help="Step of the new axis, Angstrom.")] = 1.0,
    method: Annotated[str, typer.Option(help="conserving or linear.")] = "conserving",
) -> None:
    """Write the whole cube on a linear axis: rest frame, dereddened, with its errors."""
    from betis.console import export_resampled

    export_resampled(folder, output, step, method)


@export_app.command()
def starlight(
    folder: RunPath,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder; RUN/starlight.")
    ] = None,
    processes: Annotated[
        int, typer.Option(help="Grid files to split the fits into; 0 for one a core.")
    ] = 0,
) -> None:
    """Write what STARLIGHT needs for every bin: spectra, grid files, config, mask and base."""
    from betis.console import export_starlight

    export_starlight(folder, output, processes)


@export_app.command()
def legacy(
    folder: RunPath,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder; RUN/legacy.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the galaxy, in the names of files; RUN's.")] = "",
    target: Annotated[
        float | None, typer.Option(help="S/N in the names of files; that of the bins, or 10.")
    ] = None,
) -> None:
    """Write the files of the BETIS scripts, for their notebooks."""
    from betis.console import export_to
    from betis.exporting import export_legacy

    export_to("legacy", lambda told: export_legacy(folder, output, name, target, told))


_EXPORTS = {
    "dap": ("Write a MAPS file as the MaNGA DAP does, for Marvin and others.", "dap.fits"),
    "pipe3d": ("Write the lines as a flux_elines cube of Pipe3D.", "pipe3d.fits"),
    "cube": ("Write data, stars, lines and residual, for Cubeviz and others.", "model_cube.fits"),
    "table": ("Write the table of lines: .ecsv, .csv or .parquet.", "lines.ecsv"),
}
"""Exports that are one file: what they are for, and its name."""


def _export_command(name: str, text: str, file: str) -> None:
    def command(folder: Path, output: Path | None = None) -> None:
        from betis import exporting
        from betis.console import export_to

        write = getattr(exporting, f"export_{name}")
        export_to(name, lambda told: write(folder, output, told))

    where = typer.Option("-o", "--output", help=f"File; RUN/{file}.")
    command.__annotations__ = {"folder": RunPath, "output": Annotated[Path | None, where]}
    command.__doc__ = text
    export_app.command(name)(command)


for _name, (_text, _file) in _EXPORTS.items():
    _export_command(_name, _text, _file)


_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
"""Base of every complaint of typer about the command line; it exports no name for it."""

_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Returns
    -------
    0 done, or all that can be before another program does its part; 2 the input is wrong, or cannot
    be written, in one sentence; 130 interrupted. A bug raises, which ends the program with 1.
    """
    from betis.errors import BetisError, WaitingError

    try:
        status = app(args=arguments, standalone_mode=False)
    except WaitingError as waiting:
        return _fail(str(waiting), 0)
    except BetisError as error:
        return _fail(str(error), 2)
    except _UsageError as error:
        return _fail(error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    if status == _INTERRUPTED:
        return _fail("stopped; what is done is kept, run the same command again to go on", 130)
    return status if isinstance(status, int) else 0


def _fail(text: str, status: int) -> int:
    typer.secho(f"betis: {text}", err=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
