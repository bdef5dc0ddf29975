"""H II regions on a map of a bright line, and the bins that regions and the rest become.

A region is a peak of the smoothed map over the diffuse gas round it, with what flows down to it
as far as it stands out. What is in no region is binned by another method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from betis.arrays import B8, F64, I32, Index
from betis.binning.background import diffuse_level
from betis.binning.labels import LOWEST_LABEL, labels
from betis.binning.quality import bin_map, usable_spaxels
from betis.errors import InputError
from betis.options import BinningOptions, RegionOptions
from betis.products import BinMap

Binning = Callable[[F64, F64, BinningOptions], BinMap]
"""A method that bins a field: signal, noise, options."""


class _Excess(NamedTuple):
    """What stands over the diffuse gas, smoothed: in units of the median noise, and its S/N."""

    valid: Bool[B8, "y x"]
    flux: Float[F64, "y x"]
    snr: Float[F64, "y x"]


def find_regions(
    signal: Float[F64, "y x"], noise: Float[F64, "y x"], options: RegionOptions
) -> Int[I32, "y x"]:
    """Outline H II regions on a map of a bright line, such as H alpha.

    The map is smoothed, and the local level of the diffuse gas taken from it. A peak of what is
    left is a region where it is ``peak_snr`` times its noise, and stands ``prominence`` times the
    noise over the saddle to any higher one. Each spaxel belongs to the peak that it flows up to,
    where it is over ``edge`` times that peak, over ``edge_snr`` times its own noise, and no
    farther from it than ``max_radius``; of that, the piece with the peak is the region.

    Parameters
    ----------
    signal, noise : [y, x]
        Flux of the line and its 1-sigma noise; spaxels that are NaN, or whose noise is not
        positive, are in no region.
    options
        What a region is. The noise of neighbours is taken as independent: where it is not,
        ``peak_snr`` and ``prominence`` count for less.

    Returns
    -------
    1, 2 ... from the region of the highest peak down; 0 outside regions.

    Raises
    ------
    InputError
        Where shapes differ or no spaxel is usable.

    References
    ----------
    Thilker, Braun & Walterbos 2000, AJ 120, 3070 (peaks that grow down to a share of themselves);
    Vincent & Soille 1991, IEEE PAMI 13, 583 (watersheds); Edelsbrunner, Letscher & Zomorodian 2002,
    Discrete & Computational Geometry 28, 511 (the height of a peak over its saddle: persistence).
    """
    valid = usable_spaxels(signal, noise)
    part = _box(valid)
    excess = _excess(valid[part], signal[part], noise[part], options)
    label = np.zeros(valid.shape, dtype=np.int32)
    label[part] = _outlined(excess, _peaks(excess, options), options)
    return label


def _box(valid: Bool[B8, "y x"]) -> tuple[slice, slice]:
    """Return the smallest part that holds all spaxels: what lies around leaves no trace."""
    y, x = np.nonzero(valid)
    return slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1)


def _excess(
    valid: Bool[B8, "y x"],
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: RegionOptions,
) -> _Excess:
    unit = np.median(noise[valid])
    # In single precision, so that a common factor of signal and noise changes no decision.
    flux, error = (
        np.where(valid, values / unit, 0.0).astype(np.float32).astype(float)
        for values in (signal, noise)
    )
    mean, mean_error = smoothed(valid, flux, error, options.smoothing)
    over = np.where(valid, mean - diffuse_level(valid, mean, options.background), 0.0)
    return _Excess(valid=valid, flux=over, snr=over / mean_error)


def smoothed(
    valid: Bool[B8, "y x"], signal: Float[F64, "y x"], noise: Float[F64, "y x"], width: float
) -> tuple[Float[F64, "y x"], Float[F64, "y x"]]:
    """Return the Gaussian mean of the usable spaxels round each, and its noise.

    Parameters
    ----------
    valid
        Which spaxels count.
    signal, noise
        0 elsewhere.
    width : spaxels
        Sigma of the Gaussian; 0 for none.

    Returns
    -------
    Mean and 1-sigma noise; 0 and 1 where a spaxel does not count.
    """
    reach = np.arange(-int(np.ceil(_REACH * width)), int(np.ceil(_REACH * width)) + 1)
    kernel = np.exp(-0.5 * (reach / max(width, _SHARP)) ** 2)
    weight = np.where(valid, _convolved(valid.astype(float), kernel), 1.0)
    mean = _convolved(signal, kernel) / weight
    error = np.sqrt(_convolved(noise**2, kernel**2)) / weight
    return np.where(valid, mean, 0.0), np.where(valid, error, 1.0)


_REACH, _SHARP = 4.0, 1e-3
"""Sigmas to which the Gaussian reaches; a sigma that is none."""


def _convolved(image: Float[F64, "y x"], kernel: Float[F64, " step"]) -> Float[F64, "y x"]:
    along_y = correlate1d(image, kernel, axis=0, mode="constant")
    return np.asarray(correlate1d(along_y, kernel, axis=1, mode="constant"))


def _peaks(excess: _Excess, options: RegionOptions) -> tuple[Index, Index]:
    """Return y and x of the peaks, from the highest down."""
    from skimage.feature import peak_local_max

    relief = np.where(excess.valid, excess.flux, excess.flux.min() - 1.0)
    place = peak_local_max(
        relief, min_distance=options.min_distance, threshold_abs=0.0, exclude_border=False
    )
    y, x = place[excess.snr[*place.T] >= options.peak_snr].T
    saddle = _saddles(excess.flux, _basins(excess.flux, (y, x), excess.valid), y.size)
    share = 1 - saddle / excess.flux[y, x]
    stands = share * excess.snr[y, x] >= options.prominence
    return y[stands], x[stands]


def _basins(
    flux: Float[F64, "y x"], peaks: tuple[Index, Index], mask: Bool[B8, "y x"]
) -> Int[I32, "y x"]:
    """Return the peak that each spaxel of the mask flows up to, from 1; 0 for none."""
    from skimage.segmentation import watershed

    marker = np.zeros(flux.shape, dtype=np.int32)
    marker[peaks] = np.arange(1, peaks[0].size + 1)
    return np.asarray(watershed(-flux, marker, mask=mask), dtype=np.int32)


def _saddles(flux: Float[F64, "y x"], basin: Int[I32, "y x"], n_peak: int) -> Float[F64, " peak"]:
    """Return the highest saddle from each peak to a higher one; minus infinity where none is.

    Basins are numbered from the highest peak down.
    """
    saddle = np.full(n_peak + 1, -np.inf)
    highest = list(range(n_peak + 1))
    for height, *both in _passes(flux, basin):
        first, second = (_end(highest, int(number)) for number in both)
        if first != second:
            saddle[max(first, second)] = height
            highest[max(first, second)] = min(first, second)
    return saddle[1:]


def _passes(flux: Float[F64, "y x"], basin: Int[I32, "y x"]) -> Float[F64, "pass 3"]:
    """Return the height of the ways from basin to basin, and their numbers; the highest first."""
    heights = np.concatenate([np.minimum(a, b).ravel() for a, b in _neighbours(flux)])
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in _neighbours(basin)])
    apart = (pairs.min(axis=1) > 0) & (pairs[:, 0] != pairs[:, 1])
    order = np.argsort(-heights[apart], kind="stable")
    return np.column_stack([heights[apart], pairs[apart]])[order]


def _neighbours(image: NDArray[Any]) -> tuple[tuple[NDArray[Any], NDArray[Any]], ...]:
    return (image[1:], image[:-1]), (image[:, 1:], image[:, :-1])


def _end(highest: list[int], number: int) -> int:
    """Return where a chain of joined basins ends, and shorten it."""
    while highest[number] != number:
        highest[number] = highest[highest[number]]
        number = highest[number]
    return number


def _outlined(
    excess: _Excess, peaks: tuple[Index, Index], options: RegionOptions
) -> Int[I32, "y x"]:
    """Return the region of each spaxel, from 1; 0 for none."""
    from skimage.measure import label as piece_of

    above = excess.valid & (excess.snr >= options.edge_snr)
    basin = _basins(excess.flux, peaks, above)
    basin[~_belongs(excess.flux, basin, peaks, options)] = 0
    piece = piece_of(basin, background=0, connectivity=1)
    own = np.append(-1, piece[peaks])
    return _large(np.where((piece > 0) & (piece == own[basin]), basin, 0), options.min_area)


def _belongs(
    flux: Float[F64, "y x"],
    basin: Int[I32, "y x"],
    peaks: tuple[Index, Index],
    options: RegionOptions,
) -> Bool[B8, "y x"]:
    """Tell which spaxels are near and bright enough for the peak of their basin."""
    y, x = np.nonzero(basin)
    row = basin[y, x] - 1
    near = np.hypot(y - peaks[0][row], x - peaks[1][row]) <= options.max_radius
    bright = flux[y, x] >= options.edge * flux[peaks][row]
    belongs = np.zeros(flux.shape, dtype=bool)
    belongs[y, x] = near & bright
    return belongs


def _large(label: Int[I32, "y x"], fewest: int) -> Int[I32, "y x"]:
    """Drop regions of fewer spaxels, and number the others without a gap."""
    kept = np.bincount(label.ravel()) >= fewest
    kept[0] = False
    return np.asarray((np.cumsum(kept) * kept)[label], dtype=np.int32)


def regions(
    ha_signal: Float[F64, "y x"],
    ha_noise: Float[F64, "y x"],
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: BinningOptions,
    region_options: RegionOptions,
    diffuse: Binning | None = None,
) -> BinMap:
    """Make each H II region a bin, and bin the rest of the field by another method.

    Parameters
    ----------
    ha_signal, ha_noise : [y, x]
        H alpha, or another bright line, on which the regions are found.
    signal, noise : [y, x]
        The line whose S/N the bins should reach: additive signal and its 1-sigma noise.
    options
        Target and correlation of the noise, and what ``diffuse`` needs.
    region_options
        What a region is.
    diffuse
        Bins what is in no region; None to leave it in no bin. ``region_options.diffuse`` is the
        name of it.

    Returns
    -------
    The regions in the order of `find_regions`, whether they reach the target or not, then the bins
    of the rest; ``is_region`` tells them apart. A region without a usable spaxel of ``signal`` has
    no bin. Where no region is found, all of the field is the rest.

    Raises
    ------
    InputError
        Where shapes differ, no spaxel is usable, or no region is found and ``diffuse`` is None.
    """
    label = find_regions(ha_signal, ha_noise, region_options)
    if label.any():
        return with_diffuse(label, signal, noise, options, diffuse)
    if diffuse is None:
        raise InputError(
            f"no region of {region_options.min_area} spaxels has a peak of S/N "
            f"{region_options.peak_snr:g} over the diffuse gas round it, so there is nothing to "
            "bin; lower regions.peak_snr, or have the rest of the field binned by regions.diffuse"
        )
    rest = diffuse(signal, noise, options)
    return replace(rest, is_region=np.zeros(rest.n_bin, dtype=bool))


def with_diffuse(
    label_map: Shaped[NDArray[Any], "y x"],
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: BinningOptions,
    diffuse: Binning | None = None,
    none_below: int = LOWEST_LABEL,
) -> BinMap:
    """Make each label of a map a bin, and bin the rest of the field by another method.

    Parameters
    ----------
    label_map, signal, noise, options, none_below
        As of `betis.binning.labels.labels`.
    diffuse
        The other method; None to leave the rest of the field in no bin.

    Returns
    -------
    The bins of the labels, in their order, then those of the rest; ``is_region`` tells them apart.
    Each has the S/N of exactly its own spaxels; those below the target have `Flag.LOW_SNR`. The
    margin over it, and ``options.leftover``, are about the rest only.

    Raises
    ------
    InputError
        As of `betis.binning.labels.labels`.
    """
    drawn = labels(label_map, signal, noise, options, none_below)
    rest = _rest(drawn.bin_id < 0, signal, noise, options, diffuse)
    if rest is None:
        return replace(drawn, is_region=np.ones(drawn.n_bin, dtype=bool))
    bin_id = np.where(rest.bin_id >= 0, drawn.n_bin + rest.bin_id, drawn.bin_id)
    bins = bin_map(bin_id.astype(np.int32), signal, noise, options)
    return replace(
        bins,
        flags=np.append(drawn.flags, rest.flags),
        margin=rest.margin,
        is_region=np.arange(bins.n_bin) < drawn.n_bin,
    )


def _rest(
    outside: Bool[B8, "y x"],
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: BinningOptions,
    diffuse: Binning | None,
) -> BinMap | None:
    """Return the bins of the usable spaxels outside regions; None where there are none."""
    noise_outside = np.where(outside & np.isfinite(noise), noise, np.nan)
    if diffuse is None or not (np.isfinite(signal) & (noise_outside > 0)).any():
        return None
    try:
        return diffuse(signal, noise_outside, options)
    except InputError:
        # A method that drops every bin it makes refuses the field; this one has regions too.
        if options.leftover != "drop":
            raise
        return None
