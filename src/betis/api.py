"""The public functions: each stage with flat keywords in place of an options object.

Keywords that are not spelled out here are the fields of the stage's dataclass in
`betis.options`, with the same defaults and the same checks.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from betis import compute, pipeline, preparation, snr, stacking
from betis.arrays import F64
from betis.binning import quadtree as quadtree_binning
from betis.binning import voronoi as voronoi_binning
from betis.config import FLAGS, cube_layout, merged, read_tables, validated
from betis.continuum.engines import continuum_engine
from betis.continuum.fit import fit_all
from betis.errors import ConfigError
from betis.extinction import extinction_curve
from betis.io import readers
from betis.io.templates import load_templates
from betis.linelist import LineSet, load_line_set
from betis.lines import fit as line_stage
from betis.maps import Maps, make_maps
from betis.options import (
    BinningOptions,
    ContinuumOptions,
    CubeOptions,
    LineOptions,
    PrepareOptions,
    SnrOptions,
)
from betis.products import BinMap, ContinuumFit, Cube, LineFit, SnrMap, Spectra, Templates
from betis.resampling import resample

__all__ = [
    "fit_continuum",
    "fit_lines",
    "line_snr",
    "load_templates",
    "make_maps",
    "prepare",
    "quadtree",
    "read_cube",
    "resample",
    "run",
    "stack",
    "voronoi",
]

Image = Float[F64, "y x"]


def read_cube(
    path: str | Path, instrument: str | Path | None = None, arm: str | Path | None = None
) -> Cube:
    """Open a cube; its voxels are read when they are asked for.

    Parameters
    ----------
    path
        FITS file.
    instrument
        Name of the reader to force, or a TOML file whose table [cube] describes the cube; found
        from the file's content where None.
    arm
        Cube of the other arm of the same instrument, to be joined to this one.

    Raises
    ------
    InputError
        Where a file is missing or is no cube that a reader knows, or the two are not arms of one
        instrument on one field.
    ConfigError
        Where the TOML file does not describe a cube.
    """
    name, layout = cube_layout(str(instrument or "auto"), CubeOptions())
    return readers.read_cube(path, name, layout=layout, arm=arm)


def prepare(cube: Cube, redshift: float, av: float = 0.0, **options: Any) -> Cube:
    """Return the cube in the rest frame without Galactic extinction; nothing is resampled.

    Parameters
    ----------
    cube
        As read.
    redshift
        Of the galaxy.
    av : mag
        Galactic A_V towards it. ``ebv`` or ``dust_map`` may stand in its place. A cube that the
        survey has dereddened is not dereddened again, of which a UserWarning tells.
    **options
        Other fields of `betis.options.PrepareOptions`.

    Raises
    ------
    ConfigError
        Where an option is wrong, the extinction is given twice, a dust map is not installed, or
        the cube is prepared already.
    InputError
        Where a dust map does not know the field.
    """
    chosen = validated(PrepareOptions, {"redshift": redshift, "av": av, **options})
    said = preparation.extinction_warning(cube, chosen)
    if said:
        warnings.warn(said, stacklevel=2)
    return preparation.prepare(cube, chosen)


def line_snr(cube: Cube, line: str = "SII6731", method: str = "matched", **options: Any) -> SnrMap:
    """Measure signal and noise of an emission line at each spaxel, ``[y, x]``.

    Parameters
    ----------
    cube
        Prepared.
    line
        A line of the standard set, a sum "SII6716+SII6731", the worst of several
        "min(Ha6563,SII6731)", "continuum", or "continuum:5100-5200" (rest Angstrom).
    method
        "matched", or "betis" for Equation 1 of the BETIS scripts.
    **options
        Other fields of `betis.options.SnrOptions`.

    Raises
    ------
    ConfigError, InputError
        Where the line is unknown or outside the cube, or there are no usable data.
    """
    chosen = validated(SnrOptions, {"line": line, "method": method, **options})
    return snr.line_snr(cube, load_line_set(), chosen)


def quadtree(
    signal: Image,
    noise: Image,
    target: float = 10.0,
    correlation: float | str | None = None,
    **options: Any,
) -> BinMap:
    """Bin a field adaptively to a target S/N; see `betis.binning.quadtree`.

    Parameters
    ----------
    signal, noise : [y, x]
        Additive signal and its 1-sigma noise; NaN outside the field.
    target
        S/N that each bin must reach.
    correlation
        alpha of the noise law ``1 + alpha log10(n_spaxel)``, "califa", "manga" or "muse" for
        theirs, or "gaussian:SIGMA" (spaxels); None for independent noise.
    **options
        Other fields of `betis.options.BinningOptions`.

    Raises
    ------
    ConfigError, InputError
        Where an option is wrong, shapes differ, or no spaxel is usable.
    """
    chosen = _binning_options(target, correlation, options)
    return quadtree_binning.quadtree(
        np.asarray(signal, dtype=float), np.asarray(noise, dtype=float), chosen
    )


def _binning_options(
    target: float, correlation: float | str | None, others: dict[str, Any]
) -> BinningOptions:
    chosen = 0.0 if correlation is None else correlation
    return validated(BinningOptions, {"target": target, "correlation": chosen, **others})


def voronoi(
    signal: Image,
    noise: Image,
    target: float = 10.0,
    correlation: float | str | None = None,
    **options: Any,
) -> BinMap:
    """Bin a field into round cells of nearly the target S/N; see `betis.binning.voronoi`.

    Parameters
    ----------
    signal, noise : [y, x]
        Additive signal and its 1-sigma noise; NaN outside the field.
    target
        S/N that each bin must reach.
    correlation
        alpha of the noise law ``1 + alpha log10(n_spaxel)``, "califa", "manga" or "muse" for
        theirs, or "gaussian:SIGMA" (spaxels); None for independent noise.
    **options
        Other fields of `betis.options.BinningOptions`.

    Raises
    ------
    ConfigError, InputError
        Where an option is wrong, shapes differ, or no spaxel is usable.
    """
    chosen = _binning_options(target, correlation, options)
    return voronoi_binning.voronoi(
        np.asarray(signal, dtype=float), np.asarray(noise, dtype=float), chosen
    )


def stack(cube: Cube, bins: BinMap) -> Spectra:
    """Sum the spectra of each bin, ``[bin, wave]``.

    Raises
    ------
    InputError
        Where the bins are of another field.
    """
    return stacking.stack(cube, bins)


def fit_continuum(
    spectra: Spectra,
    templates: Templates | None = None,
    mask_lines: bool = True,
    **options: Any,
) -> ContinuumFit:
    """Fit the stellar continuum of each spectrum.

    Parameters
    ----------
    spectra
        In the rest frame.
    templates
        The stellar base; None for the one that ships with betis.
    mask_lines
        Leave out the pixels of the standard set's emission lines.
    **options
        Other fields of `betis.options.ContinuumOptions`: ``engine`` = "templates", "ppxf",
        "polynomial" or "none" among them.

    Raises
    ------
    ConfigError, InputError, FitError
        Where an option is wrong or the base does not cover the spectra.
    """
    chosen = validated(ContinuumOptions, {"mask_lines": mask_lines, **options})
    if chosen.kinematics == "coarse":
        raise ConfigError(
            "kinematics is 'coarse', which needs to know which bins lie side by side; set it to "
            "'bin', or use betis.run"
        )
    compute.configure()
    engine = continuum_engine(
        spectra,
        chosen,
        base=lambda: load_templates(chosen.templates) if templates is None else templates,
        dust=lambda: extinction_curve(chosen.law, spectra.wave, chosen.r_v),
        line_waves=load_line_set().emission().waves(spectra.medium, spectra.redshift),
    )
    return fit_all(engine, spectra)


def fit_lines(
    gas: Spectra,
    lines: str | Path | LineSet = "standard",
    continuum: ContinuumFit | None = None,
    **options: Any,
) -> LineFit:
    """Fit the emission lines of each continuum-subtracted spectrum.

    Parameters
    ----------
    gas
        ``spectra.subtract(continuum)``.
    lines
        Name of a shipped line set, a TOML file, or a `betis.linelist.LineSet`.
    continuum
        What was subtracted: gives the level for equivalent widths.
    **options
        Other fields of `betis.options.LineOptions`.

    Raises
    ------
    ConfigError, InputError
        Where an option or the line set is wrong.
    """
    line_set = lines if isinstance(lines, LineSet) else load_line_set(lines)
    chosen = validated(LineOptions, {"line_set": line_set.name, **options})
    compute.configure()
    return line_stage.fit_lines(gas, line_set, chosen, continuum=continuum)


def run(
    path: str | Path | None = None,
    redshift: float | None = None,
    output: str | Path = "betis-run",
    config: str | Path | None = None,
    **options: Any,
) -> Maps:
    """Run everything from a cube to maps and a report, as ``betis run`` does.

    Parameters
    ----------
    path
        The cube, with the default options where no other is given; None to go on with the cube
        and the options of the run folder.
    redshift
        Of the galaxy; may come from ``config``.
    output
        Run folder. What is there and still valid is not computed again.
    config
        TOML file; the keywords win over it.
    **options
        The flags of the command line (`betis.config.FLAGS`), with underscores: instrument, arm, av,
        ebv, dust_map, rescale_noise, snr_line, snr_method, target_snr, binning, correlation,
        strict_snr, regions_map, continuum, templates, line_set, components, device, cores, dask.

    Raises
    ------
    BetisError
        With one plain sentence, where something that was given cannot be used.
    TypeError
        Where a keyword is unknown.
    """
    unknown = sorted(set(options) - set(FLAGS))
    if unknown:
        raise TypeError(f"run() got an unexpected keyword {unknown[0]!r}; it takes {list(FLAGS)}")
    given = read_tables(config) if config else {}
    tables = merged(given, {"redshift": redshift, **options})
    galaxy = pipeline.open_run(output, path, tables)
    pipeline.execute(galaxy)
    maps: Maps = galaxy.obtain("maps")
    return maps
