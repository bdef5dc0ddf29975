"""Arguments and flags of the command line: their types and what their help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

CubeFile = Annotated[Path, typer.Argument(metavar="CUBE", help="FITS cube.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Run folder.")]
ConfigFile = Annotated[Path | None, typer.Option("-c", "--config", help="TOML file of options.")]
Redshift = Annotated[float | None, typer.Option("-z", "--redshift", help="Redshift.")]
LineSetName = Annotated[str, typer.Option("--line-set", help="standard, betis41, or a TOML file.")]


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


FLAG_TYPES: dict[str, Any] = {
    "redshift": Redshift,
    "arm": Annotated[Path | None, typer.Option(help="Cube of the other arm: SAMI or KCWI red.")],
    "av": Annotated[float | None, typer.Option(help="Galactic extinction A_V, mag.")],
    "ebv": Annotated[float | None, typer.Option(help="Galactic E(B-V) in place of A_V, mag.")],
    "dust_map": Annotated[str | None, typer.Option(help="E(B-V) from dustmaps: sfd, planck.")],
    "rescale_noise": Annotated[
        bool | None, typer.Option("--rescale-noise", help="Scale errors to the measured scatter.")
    ],
    "instrument": Annotated[
        str | None,
        typer.Option(help="auto, the reader to force (muse, manga, ...), or a TOML file."),
    ],
    "snr_line": Annotated[
        str | None,
        typer.Option(help="Line whose S/N the bins must reach: SII6731, A+B, min(A,B), continuum."),
    ],
    "snr_method": Annotated[str | None, typer.Option(help="matched or betis.")],
    "target_snr": Annotated[float | None, typer.Option(help="S/N that each bin must reach.")],
    "binning": Annotated[
        str | None,
        typer.Option(
            help="quadtree, voronoi, regions, spaxel, powerbin, vorbin, or FILE.fits[EXT]."
        ),
    ],
    "regions_map": Annotated[
        Path | None, typer.Option(help="Segmentation for --binning regions: FILE.fits[EXTNAME].")
    ],
    "strict_snr": Annotated[
        bool | None,
        typer.Option("--strict-snr", help="Merge bins until the measured S/N is the target."),
    ],
    "correlation": Annotated[
        str | None,
        typer.Option(
            parser=_number_or_text,
            metavar="ALPHA|MODEL",
            help="alpha of the noise law 1 + alpha log10(n spaxels), or its model: califa, manga, "
            "muse, measured, gaussian:SIGMA.",
        ),
    ],
    "continuum": Annotated[
        str | None, typer.Option(help="templates, starlight, ppxf, polynomial or none.")
    ],
    "templates": Annotated[str | None, typer.Option(help="Stellar base: bpass, or a path.")],
    "line_set": Annotated[str | None, typer.Option(help="standard, betis41, or a TOML file.")],
    "components": Annotated[
        int | None, typer.Option(help="2: a second component where the data ask for it.")
    ],
    "device": Annotated[str | None, typer.Option(help="auto, cpu or gpu.")],
    "cores": Annotated[int | None, typer.Option(help="Host cores; 0 for all.")],
    "dask": Annotated[
        str | None,
        typer.Option(metavar="local:N|ADDRESS", help="Fit on N processes, or a Dask cluster."),
    ],
}
"""Flags of the commands; `betis.config.FLAGS` says which option each one sets."""

_WHERE = ("device", "cores", "dask")

STAGE_FLAGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "snr": ("Measure the S/N of a line at each spaxel.", ("snr_line", "snr_method")),
    "bin": (
        "Bin the field to the target S/N.",
        ("target_snr", "binning", "correlation", "regions_map", "strict_snr"),
    ),
    "stack": ("Sum the spectra of each bin.", ()),
    "continuum": ("Fit the stars of each bin.", ("continuum", "templates", *_WHERE)),
    "lines": ("Fit the emission lines of each bin.", ("line_set", "components", *_WHERE)),
    "maps": ("Paint the maps.", ()),
    "derived": ("Derive ratios, extinction and classes from the lines.", ()),
    "report": ("Write the report.", ()),
}
