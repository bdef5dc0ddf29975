"""The pixels round the lines that are measured, and the spectra in them, free of spikes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from betis.arrays import B8, F64, Index
from betis.errors import InputError
from betis.linelist import LineSet
from betis.lsf import FWHM_PER_SIGMA
from betis.products import Cube, Spectra

Axis = Cube | Spectra
"""Whatever has wavelengths, their edges, a line-spread function, a medium and a redshift."""

HALF_WINDOW = 40.0
"""Angstrom either side of the line that the matched filter looks at."""

MIN_PIXELS = 8
"""Wavelengths in that window below which no line is measured: twice what a lone line needs."""

INSIDE = 10.0
"""Angstrom that there must be between a line and the ends of the axis."""

SPIKE = 6.0
"""Errors by which a pixel must stand out from both neighbours to be a spike."""

SPIKE_SHAPE = 3.0
"""It must also stand out from them so many times more than they do from the next two: twice what
the peak of a line of dispersion `NARROWEST` does."""

MARGIN = 2
"""Pixels to either side of one that tell whether it is a spike."""

NARROWEST = 0.7
"""Pixels; of sharper line-spread functions a line may look like a spike, and none is removed."""

MAD = 1.4826
"""Standard deviation over the median absolute deviation of a Gaussian."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """The pixels round some lines, and the lines that lie in them.

    Attributes
    ----------
    waves
        Which pixels of the axis.
    edges : Angstrom [wave+1]
    lines : Angstrom [line]
        Those whose fluxes are added come last.
    n_wanted
        How many they are.
    sigma_lsf : Angstrom [line]
        Dispersion of the line-spread function.
    origin : Angstrom
        Where the pseudo-continuum is stated: the middle of the wanted lines.
    """

    waves: slice
    edges: Float[F64, " wave+1"]
    lines: Float[F64, " line"]
    n_wanted: int
    sigma_lsf: Float[F64, " line"]
    origin: float


class Rows(NamedTuple):
    """Spectra as the fits take them; bad pixels have no weight."""

    flux: Float[F64, "wave row"]
    ivar: Float[F64, "wave row"]

    def take(self, rows: Index | B8 | slice) -> Rows:
        """Return some of them; copies, but for a slice."""
        return Rows(self.flux[:, rows], self.ivar[:, rows])


def line_windows(axis: Axis, line_set: LineSet, names: Sequence[str]) -> tuple[Window, ...]:
    """Return the windows of some lines; those that share pixels are in one.

    Raises
    ------
    ConfigError
        Where the set has no such line.
    InputError
        Where a line is outside the axis, or there are too few wavelengths round it.
    """
    place = {name: require_inside(axis, line_set, name) for name in names}
    groups: list[list[str]] = []
    for name in sorted(place, key=lambda name: place[name]):
        if groups and place[name] - place[groups[-1][-1]] < 2 * HALF_WINDOW:
            groups[-1].append(name)
        else:
            groups.append([name])
    return tuple(_window(axis, line_set, group) for group in groups)


def covers(axis: Axis, line_set: LineSet, name: str) -> bool:
    """Tell whether a line, with some room to either side, is on the axis."""
    return bool(axis.wave[0] + INSIDE < _place(axis, line_set, name) < axis.wave[-1] - INSIDE)


def require_inside(axis: Axis, line_set: LineSet, name: str) -> float:
    """Return where a line lies (Angstrom), having checked that it is on the axis."""
    place, stretch = _place(axis, line_set, name), 1 + axis.redshift
    if not covers(axis, line_set, name):
        raise InputError(
            f"the line {name} lies at {place * stretch:.1f} A at redshift {axis.redshift:g}, "
            f"outside this cube ({axis.wave[0] * stretch:.0f}-{axis.wave[-1] * stretch:.0f} A); "
            "check the redshift or choose another line with --snr-line"
        )
    return place


def pixels(axis: Axis, low: float, high: float) -> slice:
    """Return the pixels whose centres are in ``low <= wave < high``, Angstrom."""
    start, stop = np.searchsorted(axis.wave, [low, high])
    return slice(int(start), int(stop))


def cube_rows(cube: Cube, waves: slice) -> Iterator[tuple[slice, Rows]]:
    """Yield image rows and the spectra in them, tile by tile, without spikes."""
    wider, inside = _with_margin(waves, cube.wave.size)
    sharp = _too_sharp(cube, waves)
    for rows in cube.tiles(wider.stop - wider.start):
        block = cube.read(rows, wider)
        flux, variance = (part.reshape(len(part), -1) for part in (block.flux, block.variance))
        clean = _without_spikes(Rows(flux, _inverse(variance)), sharp)
        yield rows, Rows(clean.flux[inside], clean.ivar[inside])


def rows_by_step(
    rows: Rows, *values: Float[F64, " row"], step: float
) -> Iterator[tuple[Index, Rows, tuple[float, ...]]]:
    """Yield copies of the rows that share their values, rounded to ``step``, and these.

    Rows with a value that is not finite are left out.
    """
    number = np.round(np.array(values) / step)
    known = np.flatnonzero(np.isfinite(number).all(axis=0))
    order = known[np.lexsort(number[:, known])]
    ordered, number = rows.take(order), number[:, order]
    changes = np.flatnonzero((np.diff(number, axis=1) != 0).any(axis=0)) + 1
    edges = [0, *changes.tolist(), order.size] if order.size else [0]
    for first, last in pairwise(edges):
        same = slice(first, last)
        yield order[same], ordered.take(same), tuple((number[:, first] * step).tolist())


def spectra_rows(spectra: Spectra, waves: slice) -> Rows:
    """Return some wavelengths of all spectra, without spikes."""
    wider, inside = _with_margin(waves, spectra.wave.size)
    flux, error = spectra.flux[:, wider].T, spectra.error[:, wider].T
    clean = _without_spikes(Rows(flux, 1.0 / error**2), _too_sharp(spectra, waves))
    return Rows(clean.flux[inside], clean.ivar[inside])


def _with_margin(waves: slice, n_wave: int) -> tuple[slice, slice]:
    """Return the pixels and as many to either side as tell spikes, and where in these they are."""
    start, stop = max(waves.start - MARGIN, 0), min(waves.stop + MARGIN, n_wave)
    return slice(start, stop), slice(waves.start - start, waves.stop - start)


def _window(axis: Axis, line_set: LineSet, names: Sequence[str]) -> Window:
    places = dict(zip(line_set.names, line_set.waves(axis.medium, axis.redshift), strict=True))
    wanted = [float(places.pop(name)) for name in names]
    low, high = wanted[0] - HALF_WINDOW, wanted[-1] + HALF_WINDOW
    waves = pixels(axis, low, high)
    if waves.stop - waves.start < MIN_PIXELS:
        raise InputError(
            f"there are {waves.stop - waves.start} wavelengths within {HALF_WINDOW:g} A of "
            f"{'+'.join(names)}, where at least {MIN_PIXELS} are needed; check the wavelength "
            "step of the cube"
        )
    lines = np.array([place for place in places.values() if low < place < high] + wanted)
    return Window(
        waves=waves,
        edges=axis.edges[waves.start : waves.stop + 1],
        lines=lines,
        n_wanted=len(wanted),
        sigma_lsf=np.interp(lines, axis.wave, axis.lsf) / FWHM_PER_SIGMA,
        origin=0.5 * (wanted[0] + wanted[-1]),
    )


def _place(axis: Axis, line_set: LineSet, name: str) -> float:
    line = line_set[name]
    return float(line_set.select([line.name]).waves(axis.medium, axis.redshift)[0])


def _inverse(variance: F64) -> F64:
    return np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)


def _too_sharp(axis: Axis, waves: slice) -> bool:
    """Tell whether a line may be so narrow in pixels that it looks like a spike."""
    step = np.diff(axis.edges[waves.start : waves.stop + 1])
    return bool(np.any(axis.lsf[waves] / FWHM_PER_SIGMA < NARROWEST * np.median(step)))


def _without_spikes(rows: Rows, sharp: bool) -> Rows:
    """Take the weight (in place) from lone pixels that stand out as no line can: cosmic rays.

    The peak of a line is higher than its neighbours, and these are higher than the next two, by
    amounts that are alike. A spike is higher than its neighbours, and these are like the others.
    """
    if sharp or len(rows.flux) < 5:
        return rows
    candidate = np.flatnonzero((_excess(rows.flux) ** 2 * rows.ivar[2:-2] > SPIKE**2).any(axis=0))
    if candidate.size:
        some = rows.take(candidate)
        rows.ivar[2:-2, candidate] = np.where(_spikes(some), 0.0, some.ivar[2:-2])
    return rows


def _excess(flux: Float[F64, "wave row"]) -> Float[F64, "wave-4 row"]:
    """Return by how much pixels stand out from both neighbours beyond what a line may; or 0."""
    high, low = np.maximum(flux[3:-1], flux[1:-3]), np.minimum(flux[3:-1], flux[1:-3])
    excess = np.maximum(flux[2:-2] - high, low - flux[2:-2])
    around = high + low
    around -= flux[:-4]
    around -= flux[4:]
    np.abs(around, out=around)
    around *= 0.5 * SPIKE_SHAPE
    excess -= around
    return np.asarray(np.maximum(excess, 0.0, out=excess))


def _spikes(rows: Rows) -> B8:
    flux, ivar = rows
    good = ivar > 0
    tested = good[2:-2] & good[1:-3] & good[3:-1] & good[:-4] & good[4:]
    variance = np.where(good, 1 / np.where(good, ivar, 1.0), 0.0)
    error = np.sqrt(variance[2:-2] + 0.25 * (variance[1:-3] + variance[3:-1]))
    curvature = flux[2:-2] - 0.5 * (flux[1:-3] + flux[3:-1])
    size = np.abs(curvature) / np.where(error > 0, error, 1.0)
    scatter = np.maximum(1.0, MAD * median(np.where(tested, size, np.nan)))
    return np.asarray(tested & (_excess(flux) > SPIKE * scatter * error))


def median(values: Float[F64, "wave row"]) -> Float[F64, " row"]:
    """Return the median of each row's values that are not NaN; 0 where there are none."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(values).sum(axis=0)
    last = np.maximum(count, 1)
    pair = [np.take_along_axis(ordered, k[None], axis=0)[0] for k in ((last - 1) // 2, last // 2)]
    return np.where(count > 0, 0.5 * (pair[0] + pair[1]), 0.0)
