"""What each stage of a run does: from the products before it to its own, with its warnings."""

from __future__ import annotations

from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

import numpy as np

from betis import preparation, snr, stacking
from betis.binning import quadtree, spaxel
from betis.binning.quality import LARGE_BIN, correlation_of_residuals
from betis.continuum import fit as continuum_fit
from betis.continuum.templates import template_broader_share
from betis.errors import InputError
from betis.extinction import extinction_curve
from betis.flags import Flag
from betis.inspection import describe_cube
from betis.io.readers import read_cube
from betis.io.templates import load_templates
from betis.linelist import LineSet, load_line_set
from betis.lines import fit as line_fit
from betis.lines.model import line_model
from betis.maps import Maps, make_maps
from betis.mock import Recovery, compare, read_truth
from betis.mock.table import recovery_table
from betis.options import Options
from betis.products import BinMap, ContinuumFit, Cube, LineFit, SnrMap, Spectra
from betis.report import ReportContent
from betis.runner import Run

BINNINGS = {"quadtree": quadtree.quadtree, "spaxel": spaxel.spaxels}


_BROAD_SHARE = 0.05
"""Share of pixels at which the base may be broader than the data without a warning."""

_CORRELATION_EXCESS = 0.1
"""Excess of alpha over the one in use that is worth a warning."""


def open_cube(run: Run) -> Cube:
    """Open the cube and bring it to the rest frame, without Galactic extinction."""
    cube = read_cube(run.cube_path, run.options.prepare.instrument)
    return preparation.prepare(cube, run.options.prepare)


def chosen_lines(run: Run) -> LineSet:
    """Return the line set of the run."""
    return load_line_set(run.options.lines.line_set)


def measure_snr(run: Run) -> SnrMap:
    """Measure the S/N of the chosen line; warn where the sky may have made it."""
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
    own = chosen_lines(run)
    return own if run.options.snr.line in own.names else load_line_set()


def make_bins(run: Run) -> BinMap:
    """Bin the field.

    Raises
    ------
    InputError
        Where no bin reaches the target.
    """
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


def sum_spectra(run: Run) -> Spectra:
    """Sum the spectra of each bin."""
    cube: Cube = run.obtain("prepare")
    run.begin("stack", cube.shape[1])
    return stacking.stack(cube, run.obtain("bin"), run.listener.advance)


def fit_stars(run: Run) -> ContinuumFit:
    """Fit the stars of each bin; warn of failed fits and of errors that are too small."""
    spectra: Spectra = run.obtain("stack")
    options = run.options.continuum
    if options.engine == "none":
        return continuum_fit.no_continuum(spectra)
    run.begin("continuum", spectra.n_spectrum)
    emission = chosen_lines(run).emission()
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


def fit_lines(run: Run) -> LineFit:
    """Fit the emission lines of each bin; warn where there are hardly any."""
    gas, fit = _nebular(run)
    run.begin("lines", None)
    result = line_fit.fit_lines(gas, chosen_lines(run), run.options.lines, continuum=fit)
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


def paint_maps(run: Run) -> Maps:
    """Paint what was measured on the sky."""
    _, stars = _nebular(run)
    return make_maps(run.obtain("bin"), run.obtain("lines"), stars)


def compose_report(run: Run) -> ReportContent:
    """Collect what the report shows."""
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
        cube_image=measured.continuum,
        snr=measured,
        bins=run.obtain("bin"),
        spectra=run.obtain("stack"),
        continuum=run.obtain("continuum"),
        lines=lines,
        line_set=chosen_lines(run),
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
