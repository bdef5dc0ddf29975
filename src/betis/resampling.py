"""Spectra on another wavelength axis, with the covariance that this makes.

Nothing in the pipeline resamples: this is for programs that need a linear axis. An output pixel
is a weighted sum of input pixels, ``g = A f``, and ``A`` is a sparse matrix ``[out, in]``; two
output pixels that share an input pixel are correlated, ``C = A diag(variance) A^T``. ``C`` has few
bands, and all of them are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.ndimage import uniform_filter1d
from scipy.sparse import csr_array

from betis.arrays import B8, F64, Brief
from betis.errors import ConfigError, InputError
from betis.lsf import FWHM_PER_SIGMA
from betis.products import Spectra
from betis.wavelength import GAP, WaveAxis, pixel_edges, pixel_widths

__all__ = ["Resampled", "flux_conserving", "linear", "linear_axis", "pixel_bounds", "resample"]

Method = Literal["conserving", "linear"]

MIN_COVERED = 0.5
"""An output pixel of which good input pixels cover less than this is masked."""

_ROUNDING = 1e-9
"""Share of a pixel below which two edges are the same."""

_MOST_PIXELS = 1_000_000
_SMOOTH = 21
"""Pixels over which the line-spread function is evened out: it beats with the phase of pixels."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Resampled(Brief):
    """Spectra on a new axis, and the covariance of their pixels.

    Attributes
    ----------
    spectra
        On the new axis, ready to be fitted: edges, mask, line-spread function (what resampling
        adds to it included), redshift and medium. A fit knows its errors only, not the
        covariance: its chi2 and the errors of its parameters come out too small.
    covariance : [spectrum, k, wave]
        Covariance of the pixels ``i`` and ``i + k`` at ``[:, k, i]``, exact for independent input
        pixels; ``k = 0`` is the variance. 0 where one of the two is masked or there is none.
    method
        "conserving", where ``error**2`` is the variance; or "linear", where ``error`` is what was
        interpolated, and the variance is ``covariance[:, 0]``.
    """

    spectra: Spectra
    covariance: Float[F64, "spectrum k wave"]
    method: Method

    @property
    def wave(self) -> Float[F64, " wave"]:
        """Pixel centres, Angstrom."""
        return self.spectra.wave

    @property
    def edges(self) -> Float[F64, " wave+1"]:
        """Pixel edges, Angstrom."""
        return self.spectra.edges

    @property
    def flux(self) -> Float[F64, "spectrum wave"]:
        """Flux density; 0 where masked."""
        return self.spectra.flux

    @property
    def error(self) -> Float[F64, "spectrum wave"]:
        """1-sigma error of the flux density; infinite where masked."""
        return self.spectra.error

    @property
    def mask(self) -> Bool[B8, "spectrum wave"]:
        """True where bad."""
        return self.spectra.mask

    def variance_of(self, weights: ArrayLike) -> Float[F64, " spectrum"]:
        """Return the variance of ``sum(weights * flux)`` of each spectrum, covariance counted.

        Parameters
        ----------
        weights : [wave] or [spectrum, wave]
            Pixel widths for an integrated flux. Masked pixels have flux 0, and add nothing here.

        Raises
        ------
        InputError
            Where there is not one weight for each pixel.
        """
        factor = np.asarray(weights, dtype=float)
        if factor.shape not in {self.wave.shape, self.flux.shape}:
            raise InputError(
                f"the weights have shape {factor.shape}, where ({self.wave.size},) or "
                f"{self.flux.shape} was expected; give one for each pixel"
            )
        total = np.zeros(len(self.flux))
        for lag in range(self.covariance.shape[1]):
            last = self.wave.size - lag
            pairs = factor[..., :last] * factor[..., lag:]
            total += (2 if lag else 1) * np.sum(pairs * self.covariance[:, lag, :last], axis=1)
        return total

    def variance_of_sum(self, start: int, stop: int) -> Float[F64, " spectrum"]:
        """Return the variance of ``flux[:, start:stop].sum(axis=1)``, covariance counted."""
        weights = np.zeros(self.wave.size)
        weights[start:stop] = 1.0
        return self.variance_of(weights)


def resample(
    spectra: Spectra,
    wave: ArrayLike | None = None,
    *,
    step: float | None = None,
    method: Method = "conserving",
) -> Resampled:
    """Return spectra on another wavelength axis, with the covariance that this makes.

    Rows do not influence each other; some ``8 (4 + k) n_spectrum n_wave`` bytes are needed, with
    ``k`` the bands of the covariance (3 from 1.25 to 1 Angstrom). Give many rows in chunks.

    Parameters
    ----------
    spectra
        Their pixels' noise is taken as independent. Masked pixels give nothing: an output pixel of
        which good ones cover less than `MIN_COVERED` is masked, else it is the mean of these.
    wave : Angstrom [wave]
        Centres of the new pixels, strictly increasing; may have gaps.
    step : Angstrom
        In place of ``wave``: an axis of this step that lies inside the spectra, its centres
        at multiples of it; see `linear_axis`. 1 where neither is given.
    method
        "conserving" (`flux_conserving`), or "linear" (`linear`), as the BETIS scripts had it, for
        flux and error alike.

    Raises
    ------
    ConfigError
        Where the method is unknown, both ``wave`` and ``step`` are given, or the step makes no
        sense.
    InputError
        Where the new axis is not increasing, or shares nothing with the spectra.
    """
    if method not in get_args(Method):
        known = " or ".join(get_args(Method))
        raise ConfigError(f"the method of resampling is {method!r}, where {known} was expected")
    axis = _new_axis(spectra, wave, step)
    operator = _operator(spectra, axis, method)
    return _applied(spectra, axis, operator, method)


def linear_axis(
    wave: Float[F64, " wave"], edges: Float[F64, " wave+1"], step: float = 1.0
) -> WaveAxis:
    """Return the axis of constant step that lies inside another, centres at multiples of the step.

    Every pixel is inside ``edges`` and every centre within ``wave``, so that both methods of
    `resample` reach all of it (but for gaps).

    Raises
    ------
    ConfigError
        Where the step is not positive, or leaves less than 2 pixels or more than a million.
    """
    if not (np.isfinite(step) and step > 0):
        raise ConfigError(f"the step is {step:g} A, where a positive number was expected")
    low, high = max(edges[0] + step / 2, wave[0]), min(edges[-1] - step / 2, wave[-1])
    if (high - low) / step > _MOST_PIXELS:
        raise ConfigError(
            f"a step of {step:g} A makes {(high - low) / step:.3g} pixels of {low:.6g} to "
            f"{high:.6g} A, where at most {_MOST_PIXELS} were expected; choose a larger step"
        )
    first, last = np.ceil(low / step - _ROUNDING), np.floor(high / step + _ROUNDING)
    if last <= first:
        raise ConfigError(
            f"a step of {step:g} A leaves less than 2 pixels of {edges[0]:.6g} to "
            f"{edges[-1]:.6g} A; choose a smaller step"
        )
    number = np.arange(first, last + 1)
    return WaveAxis(
        wave=step * number, edges=step * (np.append(number, last + 1) - 0.5), medium=None
    )


def flux_conserving(edges_in: ArrayLike, edges_out: ArrayLike) -> csr_array:
    """Return the matrix ``[out, in]`` that takes mean flux densities from pixels to pixels.

    An element is the part of the output pixel that lies in the input pixel: flux is taken as
    constant in each input pixel, and integrated. Rows sum to the share of the output
    pixel that is covered.

    Parameters
    ----------
    edges_in, edges_out : Angstrom [wave+1] or [wave, 2]
        Edges, strictly increasing; or where there are gaps, lower and upper edge of each pixel, as
        from `pixel_bounds`.

    Raises
    ------
    InputError
        Where the edges do not increase.

    References
    ----------
    Carnall 2017, arXiv:1705.05165, has the same weights.
    """
    low, high = _as_bounds(edges_in), _as_bounds(edges_out)
    overlap = _overlap(low, high)
    width = high[:, 1] - high[:, 0]
    rows = np.repeat(np.arange(width.size), np.diff(overlap.indptr))
    overlap.data = overlap.data / width[rows]
    return overlap


def linear(wave_in: ArrayLike, wave_out: ArrayLike) -> csr_array:
    """Return the matrix ``[out, in]`` of linear interpolation between pixel centres.

    This is how the BETIS scripts resampled, flux and sigma alike, and is here for those who need
    their numbers. It samples the spectrum where it should integrate it, so flux is kept on average
    only. Sigma interpolated is not the sigma of what is interpolated: the true variance of a pixel
    is 0.5 to 1.0 times the claimed one, and that of a sum over 20 Angstrom is larger than
    the claimed ones add up to (by 11 to 23 % from MUSE's pixels of even noise to 1 Angstrom), since
    neighbours are correlated. `Resampled.variance_of` knows the truth for this method too.

    Parameters
    ----------
    wave_in, wave_out : Angstrom
        Pixel centres, strictly increasing. Rows of ``wave_out`` outside ``wave_in``, or in
        a gap of it, are empty.

    Raises
    ------
    InputError
        Where ``wave_in`` does not increase.
    """
    source, target = np.asarray(wave_in, dtype=float), np.asarray(wave_out, dtype=float)
    _require_increasing(source)
    left = np.clip(np.searchsorted(source, target, side="right") - 1, 0, source.size - 2)
    share = (target - source[left]) / (source[left + 1] - source[left])
    at_centre = (share == 0) | (share == 1)
    known = (share >= 0) & (share <= 1) & (at_centre | ~_gap_after(source)[left])
    row = np.flatnonzero(known)
    column, weight = left[row], share[row]
    matrix = csr_array(
        (
            np.concatenate([1 - weight, weight]),
            (np.tile(row, 2), np.concatenate([column, column + 1])),
        ),
        shape=(target.size, source.size),
    )
    matrix.eliminate_zeros()
    return matrix


def pixel_bounds(wave: Float[F64, " wave"], edges: Float[F64, " wave+1"]) -> Float[F64, "wave 2"]:
    """Return the lower and upper edge of each pixel, Angstrom; gaps belong to none.

    Edges in one row span a gap. A pixel at the end of one is taken to reach as far into it
    from its centre as it does on its other side.
    """
    gap = _gap_after(wave)
    low, high = np.array(edges[:-1], dtype=float), np.array(edges[1:], dtype=float)
    after, before = np.append(gap, False), np.insert(gap, 0, False)
    half = pixel_widths(edges) / 2
    inner_low = np.where(before, wave - half, low)
    inner_high = np.where(after, wave + half, high)
    mirrored_high, mirrored_low = 2 * wave - inner_low, 2 * wave - inner_high
    high = np.where(after, np.minimum(high, mirrored_high), high)
    low = np.where(before, np.maximum(low, mirrored_low), low)
    return np.stack([low, high], axis=1)


def _gap_after(wave: Float[F64, " wave"]) -> Bool[B8, " wave-1"]:
    """Tell the steps that are gaps: `GAP` times the step before or after."""
    step = np.diff(wave)
    gap = np.zeros(step.size, dtype=bool)
    gap[1:] |= step[1:] > GAP * step[:-1]
    gap[:-1] |= step[:-1] > GAP * step[1:]
    return gap


def _as_bounds(edges: ArrayLike) -> Float[F64, "wave 2"]:
    values = np.asarray(edges, dtype=float)
    if values.ndim == 2 and values.shape[1] == 2:
        _require_increasing(values[:, 0])
        if np.all(values[:, 0] < values[:, 1]) and np.all(values[1:, 0] >= values[:-1, 1]):
            return values
        raise InputError(
            "the lower and upper edges of the pixels overlap or are swapped; give pixels that "
            "follow each other"
        )
    _require_increasing(values)
    return np.stack([values[:-1], values[1:]], axis=1)


def _require_increasing(values: F64) -> None:
    if values.ndim != 1 or values.size < 2 or not np.all(np.diff(values) > 0):
        raise InputError(
            "a wavelength axis must be a strictly increasing list of at least 2 values, but this "
            f"one has shape {values.shape}; sort it and drop repeated values"
        )


def _overlap(source: Float[F64, "in 2"], target: Float[F64, "out 2"]) -> csr_array:
    """Return how much of each input pixel lies in each output pixel, ``[out, in]`` Angstrom.

    All edges cut the axis into pieces; each piece lies in one pixel, or none, of either axis.
    """
    cuts = np.unique(np.concatenate([source.ravel(), target.ravel()]))
    middle, length = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
    column, inside_source = _pixel_of(middle, source)
    row, inside_target = _pixel_of(middle, target)
    both = inside_source & inside_target
    return csr_array((length[both], (row[both], column[both])), shape=(len(target), len(source)))


def _pixel_of(
    place: Float[F64, " piece"], bounds: Float[F64, "wave 2"]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], Bool[B8, " piece"]]:
    index = np.searchsorted(bounds[:, 0], place, side="right") - 1
    inside = (index >= 0) & (place < bounds[index, 1])
    return index, inside


def _new_axis(spectra: Spectra, wave: ArrayLike | None, step: float | None) -> WaveAxis:
    if wave is None:
        return linear_axis(spectra.wave, spectra.edges, 1.0 if step is None else step)
    if step is not None:
        raise ConfigError("both wave and step were given, where one says the axis; give one")
    centre = np.asarray(wave, dtype=float)
    edges = pixel_edges(centre)
    if np.array_equal(centre, spectra.wave):
        edges = spectra.edges
    if edges[-1] <= spectra.edges[0] or edges[0] >= spectra.edges[-1]:
        raise InputError(
            f"the axis asked for runs from {centre[0]:.6g} to {centre[-1]:.6g} A and the spectra "
            f"from {spectra.wave[0]:.6g} to {spectra.wave[-1]:.6g} A; ask for an axis within that"
        )
    return WaveAxis(wave=centre, edges=edges, medium=spectra.medium)


def _operator(spectra: Spectra, axis: WaveAxis, method: Method) -> csr_array:
    if method == "linear":
        return linear(spectra.wave, axis.wave)
    return flux_conserving(
        pixel_bounds(spectra.wave, spectra.edges), pixel_bounds(axis.wave, axis.edges)
    )


def _applied(spectra: Spectra, axis: WaveAxis, operator: csr_array, method: Method) -> Resampled:
    good = ~spectra.mask
    covered = _rowwise(operator, good.astype(float))
    mask = covered < MIN_COVERED - _ROUNDING
    # Dividing by infinity leaves 0 in masked pixels, in flux and covariance.
    covered[mask] = np.inf
    sigma = np.where(good, spectra.error, 0.0)
    covariance = _bands(operator, sigma**2, covered)
    error = _rowwise(operator, sigma) / covered if method == "linear" else np.sqrt(covariance[:, 0])
    resampled = Spectra(
        axis.wave,
        _rowwise(operator, spectra.flux) / covered,
        error,
        mask,
        medium=spectra.medium,
        lsf=_broadened(spectra, axis, operator),
        edges=axis.edges,
        redshift=spectra.redshift,
        sky_window=(operator @ spectra.sky_window.astype(float)) > 0,
        n_spaxel=spectra.n_spaxel,
        sky=spectra.sky,
    )
    return Resampled(spectra=resampled, covariance=covariance, method=method)


def _rowwise(operator: csr_array, rows: Float[F64, "spectrum in"]) -> Float[F64, "spectrum out"]:
    return np.asarray((operator @ rows.T).T)


def _bands(
    operator: csr_array,
    variance: Float[F64, "spectrum in"],
    covered: Float[F64, "spectrum out"],
) -> Float[F64, "spectrum k out"]:
    """Return the upper bands of ``A diag(variance) A^T``: each is a sparse product of its own."""
    n_out = operator.shape[0]
    n_band = int(np.diff(operator.tocsc().indptr).max(initial=1))
    bands = np.zeros((len(variance), n_band, n_out))
    for lag in range(n_band):
        last = n_out - lag
        shared = operator[:last].multiply(operator[lag:]).tocsr()
        bands[:, lag, :last] = _rowwise(shared, variance)
        bands[:, lag, :last] /= covered[:, :last] * covered[:, lag:]
    return bands


def _broadened(spectra: Spectra, axis: WaveAxis, operator: csr_array) -> Float[F64, " out"]:
    """Return the FWHM (Angstrom) on the new axis: that of the spectra, and what resampling adds.

    An output pixel sees the sky through the input pixels it is made of. The variance of that
    window about the pixel's middle, less that of the pixel itself, which every model of a line
    counts already, broadens the line: by ``width**2 / 6`` on average over the phases of two
    axes, and not at all where they agree.
    """
    source = pixel_bounds(spectra.wave, spectra.edges)
    target = pixel_bounds(axis.wave, axis.edges)
    pairs = operator.tocoo()
    row, column = pairs.coords
    offset = source.mean(axis=1)[column] - target.mean(axis=1)[row]
    spread = pairs.data * (offset**2 + np.diff(source, axis=1)[column, 0] ** 2 / 12)
    covered = np.bincount(row, pairs.data, axis.wave.size).astype(float)
    own = np.diff(target, axis=1)[:, 0] ** 2 / 12
    added = np.bincount(row, spread, axis.wave.size) - covered * own
    mean = _smooth(added) / np.maximum(_smooth(covered), _ROUNDING)
    native = np.interp(axis.wave, spectra.wave, spectra.lsf)
    return np.asarray(np.sqrt(np.maximum(native**2 + FWHM_PER_SIGMA**2 * mean, 0.0)))


def _smooth(values: Float[F64, " out"]) -> Float[F64, " out"]:
    return np.asarray(uniform_filter1d(values, _SMOOTH, mode="nearest"))
