"""What the stage ``bin`` does: a method by its name, regions, or somebody's labels; then checked.

Each bin's S/N is predicted from the maps of signal and noise, and measured on the bin's own
stacked spectrum, of which only the windows of the S/N are read.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from betis import snr, spatial_noise, stacking
from betis.arrays import F64
from betis.binning import extras, labels, quadtree, regions, spaxel, voronoi
from betis.binning.quality import bin_map
from betis.binning.strict import held_to_the_target
from betis.errors import InputError
from betis.flags import Flag
from betis.io.label_map import read_labels
from betis.linelist import LineSet
from betis.options import BinningOptions, RegionOptions
from betis.products import BinMap, Cube, SnrMap
from betis.runner import Run

_ADAPTIVE: dict[str, regions.Binning] = {
    "quadtree": quadtree.quadtree,
    "voronoi": voronoi.voronoi,
    "spaxel": spaxel.spaxels,
    "powerbin": extras.powerbin,
    "vorbin": extras.vorbin,
}
REGIONS = "regions"
METHODS = (*_ADAPTIVE, REGIONS)
"""Names of binnings; anything else is a file of labels."""

_FEW = 0.5
"""Share of spaxels in flagged bins that is worth a warning."""

_PROMISE = 0.03
"""How far the median of measured over predicted S/N may be from 1 without a warning."""


def make_bins(run: Run, line_set: LineSet) -> BinMap:
    """Bin the field, and measure what each bin reaches.

    Raises
    ------
    InputError
        Where no bin reaches the target.
    """
    measured: SnrMap = run.obtain("snr")
    options = _with_correlation(run, line_set)
    bins = _binned(run, measured, options, line_set)
    bins, summed_noise = _with_copies(run, bins, measured, options)
    if run.options.binning.method in _ADAPTIVE:
        _require_some(bins, measured)

    def measure(current: BinMap) -> Float[F64, " bin"]:
        return _measured(run, current, measured, line_set)

    if options.strict:
        bins = held_to_the_target(bins, measure, measured.signal, summed_noise, options)
    else:
        bins = replace(bins, snr_measured=measure(bins))
    _warn(run, bins, measured)
    return bins


def _with_correlation(run: Run, line_set: LineSet) -> BinningOptions:
    """Return the options with the correlation of the noise, measured where that is asked for."""
    options = run.options.binning
    if options.correlation != "measured":
        return options
    cube: Cube = run.obtain("prepare")
    alpha = spatial_noise.measure_correlation(cube, line_set.waves(cube.medium, cube.redshift))
    return replace(options, correlation=max(alpha, 0.0))


def _binned(run: Run, measured: SnrMap, options: BinningOptions, line_set: LineSet) -> BinMap:
    chosen, field = run.options.regions, (measured.signal, measured.noise)
    if options.method in _ADAPTIVE:
        _warn_of_copies(run)
        return _ADAPTIVE[options.method](*field, options)
    diffuse = _ADAPTIVE.get(chosen.diffuse)
    if options.method == REGIONS:
        if chosen.map:
            drawn, none_below = read_labels(chosen.map)
            return regions.with_diffuse(drawn, *field, options, diffuse, none_below)
        bright = _region_map(run, measured, chosen, line_set)
        return regions.regions(bright.signal, bright.noise, *field, options, chosen, diffuse)
    drawn, none_below = read_labels(options.method)
    return labels.labels(drawn, *field, options, none_below)


def _with_copies(
    run: Run, bins: BinMap, measured: SnrMap, options: BinningOptions
) -> tuple[BinMap, Float[F64, "y x"]]:
    """Return the bins with the S/N that copies of spectra leave them, and the noise that they sum.

    n copies of one spectrum have n times its noise, which is sqrt(n) times their quadratic sum.
    """
    cube: Cube = run.obtain("prepare")
    if cube.copies is None:
        return bins, measured.noise
    noise = measured.noise * np.sqrt(stacking.repeats(cube, bins))
    found = bin_map(bins.bin_id, measured.signal, noise, options)
    return replace(bins, snr=found.snr, flags=found.flags, growth=found.growth), noise


def _region_map(run: Run, measured: SnrMap, chosen: RegionOptions, line_set: LineSet) -> SnrMap:
    """Return the S/N map of the line that regions are found on."""
    if (measured.line, measured.method) == (chosen.line, "matched"):
        return measured
    options = replace(run.options.snr, line=chosen.line, method="matched")
    return snr.line_snr(run.obtain("prepare"), line_set, options)


def _measured(run: Run, bins: BinMap, snr_map: SnrMap, line_set: LineSet) -> Float[F64, " bin"]:
    options = run.options.snr
    window = snr.window_cube(run.obtain("prepare"), line_set, options)
    stacked = stacking.stack_rows(window, bins)
    return snr.measured_snr(stacked, bins, snr_map, line_set, options).snr


def _require_some(bins: BinMap, measured: SnrMap) -> None:
    if np.all(bins.flags & Flag.LOW_SNR):
        raise InputError(
            f"no bin reaches S/N {bins.target:g} in {measured.line}: the best has "
            f"{np.nanmax(bins.snr):.3g}; check the redshift, lower --target-snr, or choose a "
            "brighter line with --snr-line"
        )


def _warn(run: Run, bins: BinMap, measured: SnrMap) -> None:
    low = (bins.flags & Flag.LOW_SNR) != 0
    share = bins.n_spaxel[low].sum() / bins.n_spaxel.sum()
    if share > _FEW:
        run.warn(
            "bin",
            f"{100 * share:.0f} % of the binned spaxels are in bins below S/N {bins.target:g} "
            f"in {measured.line}.",
        )
    if run.options.regions.map and run.options.binning.method != REGIONS:
        run.warn(
            "bin",
            f"the map of regions {run.options.regions.map} is not used by the binning "
            f"{run.options.binning.method}; --binning {REGIONS} uses it.",
        )
    if bins.is_region is not None and not bins.is_region.any():
        run.warn(
            "bin",
            f"no H II region was found on the map of {run.options.regions.line}, so that all of "
            "the field is binned as diffuse; regions.peak_snr lower than "
            f"{run.options.regions.peak_snr:g} finds fainter ones.",
        )
    ratio = bins.promise
    if abs(ratio - 1) > _PROMISE:
        run.warn(
            "bin",
            f"the S/N of {measured.line} measured on the bins' own spectra is {ratio:.2f} times "
            "the one predicted from the map (median); --strict-snr merges bins until the measured "
            "one reaches the target.",
        )


def _warn_of_copies(run: Run) -> None:
    if run.obtain("prepare").copies is not None:
        run.warn(
            "bin",
            "spaxels of this cube hold copies of one spectrum, so that its S/N map promises too "
            "much for bins of several: give the cube's own bins, as in --binning "
            f"{run.cube_path.name}[BIN_MASK].",
        )
