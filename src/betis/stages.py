"""What each stage of a run does: from the products before it to its own, with its warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Float

from betis import bin_stage, noise, preparation, snr, stacking
from betis.arrays import F64, Index
from betis.binning.quality import LARGE_BIN, correlation_of_residuals
from betis.continuum.engines import HAVE_STARS, NEED_BASE, check_kinematics
from betis.continuum.kinematics import Kinematics
from betis.continuum.templates import template_broader_share
from betis.derived import Derived, derive
from betis.errors import InputError
from betis.extinction import extinction_curve
from betis.fitting import HELD, fitted_blocks
from betis.fitting.fitters import (
    LineFitter,
    StarFitter,
    chosen_lines,
    held_kinematics,
    line_fitter,
    star_fitter,
)
from betis.flags import Flag
from betis.inspection import describe_cube
from betis.io.chunk_store import ChunkStore
from betis.io.products import spaxel_area
from betis.io.readers import read_cube
from betis.io.templates import load_templates
from betis.linelist import LineSet, load_line_set
from betis.lines.limits import line_limits
from betis.lines.model import line_model
from betis.maps import Maps, make_maps
from betis.mock import Recovery, compare, read_truth
from betis.mock.table import recovery_table
from betis.noise import NoiseCheck
from betis.options import Options, PrepareOptions
from betis.products import (
    BinMap,
    ContinuumFit,
    Cube,
    LineFit,
    RowStream,
    SnrMap,
    Spectra,
    SpectraRows,
    Templates,
)
from betis.report import ReportContent
from betis.runner import Run
from betis.starlight_stage import starlight_fits

_BROAD_SHARE = 0.05
"""Share of pixels at which the base may be broader than the data without a warning."""

_WRONG_ERRORS = 3.0
"""Factor by which the scatter may differ from the errors without a warning."""

_EDGE = 1.0
"""km/s from its bound within which a velocity lies on it."""

_MOST = 0.5
"""Share of the lines found on the bound of the velocity that is worth a warning."""

_NOTABLE = 1.005
"""Factor on the errors, for neighbouring wavelengths that are correlated, that is told."""

_CORRELATION_EXCESS = 0.1
"""Excess of alpha over the one in use that is worth a warning."""


def _observed(run: Run) -> Cube:
    """Open the cube, and that of its other arm, as they were observed."""
    chosen = run.options.prepare
    arm = chosen.arm or None
    return read_cube(run.cube_path, chosen.instrument, layout=run.options.cube, arm=arm)


def check_noise(run: Run) -> NoiseCheck:
    """Compare the stated errors of the cube with the scatter of its data; NaN where it cannot.

    Raises
    ------
    InputError
        Where it cannot, and the errors are to be multiplied by it.
    """
    cube, redshift = _observed(run), run.options.prepare.redshift or 0.0
    lines = chosen_lines(run.options).waves(cube.medium, redshift) * (1 + redshift)
    try:
        check = noise.measure_noise(cube, lines)
    except InputError:
        if run.options.prepare.rescale_noise:
            raise
        return NoiseCheck(ratio=np.full(cube.wave.size, np.nan), correlation=np.nan)
    ratio = float(np.median(check.ratio))
    if max(ratio, 1 / ratio) > _WRONG_ERRORS:
        run.warn(
            "noise",
            f"the data scatter by {ratio:.3g} times their errors, which were read as "
            f"{cube.noise_kind}: check with `betis inspect` that they are that.",
        )
    return check


def open_cube(run: Run) -> Cube:
    """Open the cube and bring it to the rest frame, without Galactic extinction."""
    cube, chosen = _observed(run), run.options.prepare
    said = preparation.extinction_warning(cube, chosen)
    if said:
        run.warn("prepare", said)
    if chosen.rescale_noise:
        cube = noise.rescaled(cube, run.obtain("noise").of_sums)
    return preparation.prepare(cube, chosen)


def tied_lines(run: Run) -> LineSet:
    """Return the line set of the run with the kinematics that its lines share in the fit."""
    return chosen_lines(run.options).tied(run.options.lines.kinematics)


def measure_snr(run: Run) -> SnrMap:
    """Measure the S/N of the chosen lines; warn where the sky may have made it."""
    cube: Cube = run.obtain("prepare")
    line_set = _snr_lines(run)
    result = snr.line_snr(cube, line_set, run.options.snr)
    for name in snr.line_names(run.options.snr.line):
        place = line_set.select([name]).waves(cube.medium, cube.redshift)
        if cube.sky_window is not None and np.interp(place, cube.wave, cube.sky_window)[0] > 0:
            run.warn(
                "snr",
                f"{name} lies in a window of sky lines or telluric absorption at "
                f"{place[0] * (1 + cube.redshift):.0f} Å observed: look at its S/N map with care.",
            )
    return result


def _snr_lines(run: Run) -> LineSet:
    """Return the set that knows the lines of the S/N: the run's own, or the standard one."""
    own, names = chosen_lines(run.options).primary(), snr.line_names(run.options.snr.line)
    return own if set(names) <= set(own.names) else load_line_set()


def make_bins(run: Run) -> BinMap:
    """Bin the field, and measure what each bin reaches."""
    return bin_stage.make_bins(run, _snr_lines(run))


def sum_spectra(run: Run) -> RowStream[Spectra]:
    """Sum the spectra of each bin."""
    cube: Cube = run.obtain("prepare")
    run.begin("stack", cube.shape[1])
    return stacking.stack_rows(cube, run.obtain("bin"), run.listener.advance)


def fit_stars(run: Run) -> RowStream[ContinuumFit]:
    """Fit the stars of each bin; warn of failed fits and of errors that are too small."""
    spectra: SpectraRows = run.obtain("stack")
    run.begin("continuum", spectra.n_spectrum)
    check_kinematics(run.options.continuum)
    if run.options.continuum.engine == "starlight":
        fits = starlight_fits(run, spectra, chosen_lines(run.options))
    else:
        fits = _engine_fits(run, spectra)
    return RowStream(n_row=spectra.n_spectrum, pieces=_fitted_stars(run, spectra.n_spectrum, fits))


def _engine_fits(run: Run, spectra: SpectraRows) -> Iterator[tuple[slice, ContinuumFit]]:
    """Fit the stars with an engine of betis."""
    store = run.chunks("continuum", ContinuumFit)
    base = cache(lambda: load_templates(run.options.continuum.templates))
    if run.options.continuum.engine in NEED_BASE:
        _warn_of_broad_base(run, template_broader_share(base(), spectra.take(slice(0))))
    held = _held(run, spectra, store, base)

    def fitter() -> StarFitter:
        return replace(star_fitter(spectra, run.options, base), held=held)

    return fitted_blocks(run, "continuum", store, spectra.n_spectrum, fitter)


def _held(
    run: Run, spectra: SpectraRows, store: ChunkStore[ContinuumFit], base: Callable[[], Templates]
) -> Kinematics | None:
    """Return the kinematics of neighbourhoods, where bins are to have these; once found, kept."""
    if run.options.continuum.kinematics != "coarse":
        return None
    known = store.beside(HELD)
    if known is not None:
        return Kinematics(**known)
    bins: BinMap = run.obtain("bin")
    found = held_kinematics(star_fitter(spectra, run.options, base), bins.bin_id, run.options)
    store.put_beside(HELD, found._asdict())
    return found


def _fitted_stars(
    run: Run, n_row: int, fits: Iterator[tuple[slice, ContinuumFit]]
) -> Iterator[tuple[slice, ContinuumFit]]:
    """Pass the fits on; warn of those that failed, and where errors are too small."""
    flags, scatter = np.zeros(n_row, np.int32), np.full(n_row, np.nan)
    for rows, fit in fits:
        flags[rows] = fit.flags
        with np.errstate(invalid="ignore", divide="ignore"):
            scatter[rows] = np.sqrt(fit.chi2 / fit.dof)
        yield rows, fit
    failed = int(((flags & (Flag.NOT_CONVERGED | Flag.FIT_FAILED | Flag.NO_DATA)) != 0).sum())
    if failed:
        run.warn("continuum", f"{failed} of {n_row} continuum fits failed or did not end.")
    _warn_of_correlation(run, scatter)


def _warn_of_broad_base(run: Run, share: float) -> None:
    if share > _BROAD_SHARE:
        run.warn(
            "continuum",
            f"the stellar base is broader than the data at {100 * share:.0f} % of the pixels: "
            "stellar dispersions come out too small; a sharper base would mend it.",
        )


def _warn_of_correlation(run: Run, scatter: Float[F64, " bin"]) -> None:
    """Warn where the residuals of large bins say that their errors are too small."""
    bins: BinMap = run.obtain("bin")
    alpha = correlation_of_residuals(bins, scatter)
    if alpha > bins.correlation + _CORRELATION_EXCESS:
        run.warn(
            "continuum",
            f"bins of {LARGE_BIN} and more spaxels scatter about their continuum by more than "
            "their errors: the noise of neighbouring spaxels is correlated, or the model is not "
            f"good enough; --correlation {alpha:.2f} would make the errors and S/N of bins honest.",
        )


def fit_lines(run: Run) -> RowStream[LineFit]:
    """Fit the emission lines of each bin; warn where there are hardly any."""
    n_row = run.obtain("stack").n_spectrum
    run.begin("lines", n_row)
    return RowStream(n_row=n_row, pieces=_fitted_lines(run, n_row))


def _fitted_lines(run: Run, n_row: int) -> Iterator[tuple[slice, LineFit]]:
    line_set, n_with_line = chosen_lines(run.options), 0
    limits, n_found, n_at_edge = line_limits(line_set, run.options.lines).velocity, 0, 0
    store = run.chunks("lines", LineFit)

    def fitter() -> LineFitter:
        return line_fitter(run.obtain("stack"), run.obtain("continuum"), run.options)

    for rows, result in fitted_blocks(run, "lines", store, n_row, fitter):
        absent = Flag.NOT_DETECTED | Flag.NO_DATA | Flag.NO_COMPONENT
        detected = (result.flags & absent) == 0
        n_with_line += int(detected.any(axis=1).sum())
        at_edge = np.min(np.abs(result.velocity[..., None] - limits), axis=-1) < _EDGE
        n_found, n_at_edge = n_found + detected.sum(), n_at_edge + (detected & at_edge).sum()
        yield rows, result
    if n_with_line < 0.05 * n_row:
        run.warn(
            "lines",
            "hardly any bin shows an emission line: check the redshift "
            f"({run.options.prepare.redshift:g}).",
        )
    elif n_at_edge > _MOST * n_found:
        run.warn(
            "lines",
            f"{100 * n_at_edge / n_found:.0f} % of the lines found end on the bound of the "
            f"velocity, so that it is not theirs: check the redshift "
            f"({run.options.prepare.redshift:g}), or widen lines.max_velocity.",
        )


def _nebular(run: Run, rows: slice | Index) -> Spectra:
    """Return some spectra without stars."""
    spectra: Spectra = run.obtain("stack").take(rows)
    if run.options.continuum.engine == "none":
        return spectra
    return spectra.subtract(run.obtain("continuum").take(rows))


def paint_maps(run: Run) -> Maps:
    """Paint what was measured on the sky."""
    has_stars = run.options.continuum.engine in HAVE_STARS
    stars = run.obtain("continuum").table if has_stars else None
    return make_maps(run.obtain("bin"), run.obtain("lines"), stars)


def derive_quantities(run: Run) -> Derived:
    """Derive ratios, extinction and classes from the lines of each bin."""
    cube: Cube = run.obtain("prepare")
    bins: BinMap = run.obtain("bin")
    options, spaxel = run.options.derived, spaxel_area(cube.sky)
    wave = np.array([line.air for line in tied_lines(run).lines])
    return derive(
        run.obtain("lines"),
        options,
        dust=extinction_curve(options.law, wave, options.r_v),
        area=np.asarray(spaxel * bins.n_spaxel) if np.isfinite(spaxel) else None,
        redshift=cube.redshift,
    )


def compose_report(run: Run) -> ReportContent:
    """Collect what the report shows."""
    cube: Cube = run.obtain("prepare")
    lines: LineFit = run.obtain("lines")
    measured: SnrMap = run.obtain("snr")
    known = run.folder.provenance()
    said = [text for stage in known.get("warnings", {}).values() for text in stage]
    recovery = recovery_of(run)
    return ReportContent(
        title=run.folder.path.resolve().name,
        facts=_facts(run, cube),
        settings=_settings(run.options),
        cube_image=measured.continuum,
        snr=measured,
        bins=run.obtain("bin"),
        spectra=run.obtain("stack"),
        continuum=run.obtain("continuum"),
        lines=lines,
        derived=run.obtain("derived"),
        line_set=chosen_lines(run.options),
        sky=cube.sky,
        model_lines=lambda rows: line_model(
            lines.take(rows),
            _nebular(run, rows),
            window=line_limits(chosen_lines(run.options), run.options.lines).window,
        ),
        timings={
            Path(name).stem: fact["seconds"] for name, fact in known.get("stages", {}).items()
        },
        warnings=tuple(said),
        recovery=() if recovery is None else recovery_table(recovery),
    )


def _facts(run: Run, cube: Cube) -> dict[str, str]:
    chosen = run.options.prepare
    return {
        **describe_cube(cube),
        "redshift": f"{chosen.redshift:g}",
        "errors": _errors(cube, run.obtain("noise"), chosen),
        "Galactic extinction": _extinction_removed(cube, chosen),
        "betis": version("betis"),
    }


def _errors(cube: Cube, check: NoiseCheck, options: PrepareOptions) -> str:
    if np.isnan(check.ratio).any():
        return f"stated as {cube.noise_kind}; too few usable voxels to check them"
    said = noise.describe_noise(cube, check.ratio)
    if not options.rescale_noise:
        return said
    of_sums = np.median(check.of_sums / check.ratio)
    more = f", and by {of_sums:.2f} for correlated neighbours" if of_sums > _NOTABLE else ""
    return f"{said}; they were multiplied by it{more}"


def _extinction_removed(cube: Cube, options: PrepareOptions) -> str:
    if cube.dereddened:
        return "removed by the survey"
    law = f"{options.law}, R_V {options.r_v:g}"
    av = cube.galactic_av
    return f"A_V = {av:.4g} mag removed ({law})" if av else "none removed"


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
    stars: ContinuumFit = run.obtain("continuum").table
    return compare(read_truth(run.folder / name), bins.bin_id, run.obtain("lines"), stars)
