"""Velocity and dispersion of the stars from neighbourhoods of bins, where a bin alone is too noisy.

Bins that lie side by side on the sky are gathered until the continuum of their sum has the S/N
that is asked for; the sum is fitted, and each of the bins is fitted again with its velocity and
dispersion held. What is in memory at once is a block of neighbourhoods and a block of bins.
"""

import heapq
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from betis import compute
from betis.arrays import B8, F64, I32, Index
from betis.continuum.kinematics import Engine, Kinematics
from betis.continuum.pixels import MIN_PIXELS, median_where, usable_pixels
from betis.flags import Flag
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, SpectraRows

__all__ = ["fit_held", "neighbourhood_kinematics", "neighbourhoods"]

_LEAST_SHARE = 0.5
"""Of the spaxels of a neighbourhood whose pixel is good; with less the pixel of its sum is bad."""


def neighbourhood_kinematics(
    spectra: SpectraRows,
    bin_id: Int[I32, "y x"],
    engine: Engine,
    options: ContinuumOptions,
    *,
    line_waves: Float[F64, " line"],
) -> Kinematics:
    """Fit the sums of neighbouring bins, and return what each bin's stars then move like.

    Parameters
    ----------
    spectra
        Of the bins, in memory or in a file.
    bin_id : [y, x]
        Which bin each spaxel is in; -1 for none.
    engine
        What fits the sums.
    options
        ``coarse_snr``, and what is left out of the fit and hence of the S/N.
    line_waves : Angstrom [line]
        Emission lines on the axis of the spectra.

    Returns
    -------
    One value a bin. NaN, which leaves a bin's own fit free, for bins that reach the S/N alone, for
    those without data, and where the fit of the sum failed. The velocity field within a
    neighbourhood is part of its dispersion.

    Raises
    ------
    FitError
        Where the masks leave fewer than 50 pixels.
    """
    blank = spectra.take(slice(0))
    usable = usable_pixels(blank, np.ones(blank.wave.size, bool), options, line_waves)
    signal, noise = continuum_levels(spectra, usable)
    label = neighbourhoods(bin_id, signal, noise, options.coarse_snr)
    held = np.full((4, label.size), np.nan)
    for rows, number, summed in _sums(spectra, label):
        fit = engine(summed)
        found = np.stack([fit.velocity, fit.velocity_err, fit.sigma, fit.sigma_err])
        held[:, rows] = found[:, number]
    return Kinematics(*held)


def fit_held(
    engine: Engine,
    spectra: Spectra,
    kinematics: Kinematics | None,
    progress: compute.Progress | None = None,
) -> ContinuumFit:
    """Fit spectra whose velocities and dispersions are those of neighbourhoods, and flag them.

    Parameters
    ----------
    engine, progress
        What fits them, and is told how many are done.
    spectra, kinematics : [spectrum]
        A row whose kinematics are NaN is fitted freely; so are all where there are none.
    """
    fit = engine(spectra, progress, kinematics)
    if kinematics is None:
        return fit
    is_held = kinematics.is_known & np.isfinite(fit.velocity)
    coarse = np.where(is_held, int(Flag.COARSE_KINEMATICS), 0).astype(np.int32)
    return replace(fit, flags=fit.flags | coarse)


def continuum_levels(
    spectra: SpectraRows, usable: Bool[B8, " wave"]
) -> tuple[Float[F64, " bin"], Float[F64, " bin"]]:
    """Return the median flux density and the median error of the usable pixels of each bin.

    NaN for bins with fewer than 50 of them.
    """
    signal = np.full(spectra.n_spectrum, np.nan)
    noise = signal.copy()
    for rows in compute.blocks(spectra.n_spectrum):
        part = spectra.take(rows)
        good = ~part.mask & usable
        enough = good.sum(axis=1) >= MIN_PIXELS
        signal[rows] = np.where(enough, median_where(part.flux, good), np.nan)
        noise[rows] = np.where(enough, median_where(part.error, good), np.nan)
    return signal, noise


def neighbourhoods(
    bin_id: Int[I32, "y x"],
    signal: Float[F64, " bin"],
    noise: Float[F64, " bin"],
    target: float,
) -> Int[Index, " bin"]:
    """Gather bins that touch each other until each group reaches a S/N.

    Groups grow from the bin of highest S/N that is in none, by the bin that touches the group
    and is nearest to where it began. What cannot reach the S/N joins the nearest group that it
    touches, if there is one that was gathered.

    Parameters
    ----------
    bin_id : [y, x]
        Which bin each spaxel is in; -1 for none. Bins touch where spaxels share an edge.
    signal, noise : [bin]
        Additive signal and its 1-sigma noise, taken as independent between bins; NaN for bins that
        stay out.
    target
        S/N of a group.

    Returns
    -------
    The number of the group of each bin; -1 for bins that reach the S/N alone, and for those that
    stay out.
    """
    beside = _beside(bin_id, signal.size)
    centre = _centres(bin_id, signal.size)
    known = np.isfinite(signal) & (noise > 0)
    snr = np.divide(signal, noise, out=np.full(signal.size, -np.inf), where=known)
    is_free = known & (snr < target)
    label = np.full(signal.size, -1)
    short, n_group = [], 0
    for seed in np.argsort(-snr, kind="stable"):
        if is_free[seed]:
            members, reached = _grown(int(seed), (beside, centre), is_free, signal, noise, target)
            label[members], is_free[members] = n_group, False
            short += [] if reached else [n_group]
            n_group += 1
    return _joined(label, short, beside, centre)


def _beside(bin_id: Int[I32, "y x"], n_bin: int) -> csr_array:
    """Return which bins touch, ``[bin, bin]``."""
    across = (bin_id[:, :-1].ravel(), bin_id[:, 1:].ravel())
    along = (bin_id[:-1].ravel(), bin_id[1:].ravel())
    one, other = np.concatenate([across, along], axis=1)
    touch = (one != other) & (one >= 0) & (other >= 0)
    rows = np.concatenate([one[touch], other[touch]])
    columns = np.concatenate([other[touch], one[touch]])
    return csr_array((np.ones(rows.size), (rows, columns)), shape=(n_bin, n_bin))


def _centres(bin_id: Int[I32, "y x"], n_bin: int) -> Float[F64, "bin 2"]:
    y, x = np.nonzero(bin_id >= 0)
    row = bin_id[y, x]
    count = np.maximum(np.bincount(row, minlength=n_bin), 1)
    return np.stack(
        [np.bincount(row, y, n_bin) / count, np.bincount(row, x, n_bin) / count], axis=1
    )


def _grown(
    seed: int,
    sky: tuple[csr_array, Float[F64, "bin 2"]],
    is_free: Bool[B8, " bin"],
    signal: Float[F64, " bin"],
    noise: Float[F64, " bin"],
    target: float,
) -> tuple[list[int], bool]:
    """Return the bins of a group that grows from a seed, and whether it reaches the S/N."""
    beside, centre = sky
    members: list[int] = []
    light, variance = 0.0, 0.0
    edge, seen = [(0.0, seed)], {seed}
    while edge:
        _, nearest = heapq.heappop(edge)
        members.append(nearest)
        light, variance = light + float(signal[nearest]), variance + float(noise[nearest]) ** 2
        if light >= target * variance**0.5:
            return members, True
        for other in _neighbours(beside, nearest):
            if is_free[other] and other not in seen:
                seen.add(other)
                heapq.heappush(edge, (float(np.sum((centre[other] - centre[seed]) ** 2)), other))
    return members, False


def _neighbours(beside: csr_array, number: int) -> list[int]:
    found: list[int] = beside.indices[beside.indptr[number] : beside.indptr[number + 1]].tolist()
    return found


def _joined(
    label: Int[Index, " bin"],
    short: list[int],
    beside: csr_array,
    centre: Float[F64, "bin 2"],
) -> Int[Index, " bin"]:
    """Give each group that fell short to the nearest it touches, and number the groups anew.

    No two of them touch: the one that grew first would have taken in the other.
    """
    joined = label.copy()
    for number in short:
        own = np.flatnonzero(label == number)
        touched = {other for one in own for other in _neighbours(beside, int(one))}
        rim = np.array([one for one in sorted(touched) if label[one] not in (-1, number)], int)
        if rim.size:
            distance = np.sum((centre[rim] - centre[own].mean(axis=0)) ** 2, axis=1)
            joined[own] = label[rim[np.argmin(distance)]]
    names, inverse = np.unique(joined, return_inverse=True)
    return np.asarray(inverse - int(-1 in names))


def _sums(
    spectra: SpectraRows, label: Int[Index, " bin"]
) -> Iterator[tuple[Index, Index, Spectra]]:
    """Yield bins, the row of each bin's neighbourhood in the sums, and these sums, in blocks."""
    for groups in compute.blocks(int(label.max(initial=-1)) + 1):
        rows = np.flatnonzero((label >= groups.start) & (label < groups.stop))
        number = label[rows] - groups.start
        yield rows, number, _summed(spectra, rows, number)


def _summed(spectra: SpectraRows, rows: Index, number: Index) -> Spectra:
    """Return the sums of rows of the same number.

    Where a pixel is bad in some of them, the sum of the others stands for all.
    """
    blank = spectra.take(slice(0))
    n_sum = int(number.max()) + 1
    flux, variance, area = (np.zeros((n_sum, blank.wave.size)) for _ in range(3))
    n_spaxel = np.bincount(number, spectra.n_spaxel[rows], n_sum)
    for block in compute.blocks(rows.size):
        part = spectra.take(rows[block])
        adds = csr_array(
            (np.ones(len(part.flux)), (number[block], np.arange(len(part.flux)))),
            shape=(n_sum, len(part.flux)),
        )
        good = ~part.mask
        flux += adds @ np.where(good, part.flux, 0.0)
        variance += adds @ np.where(good, part.error, 0.0) ** 2
        area += adds @ (part.n_spaxel[:, None] * good)
    share = area / n_spaxel[:, None]
    bad = share < _LEAST_SHARE
    whole = np.where(bad, 1.0, share)
    return replace(
        blank,
        flux=flux / whole,
        error=np.sqrt(variance) / whole,
        mask=bad,
        n_spaxel=n_spaxel.astype(np.int32),
    )
