"""The native continuum engine: templates, one dust screen, a Gaussian velocity distribution."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from betis import compute
from betis.arrays import B8, F64, I32, Index
from betis.continuum.cores import contrasts
from betis.continuum.kernel import depth_error_row, fit_row, scan_row
from betis.continuum.populations import mean_populations
from betis.continuum.templates import PreparedBase, Range, prepare_base
from betis.errors import FitError, InputError
from betis.flags import Flag
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, SpectraRows, Templates
from betis.products.fits import joined
from betis.wavelength import C_KMS

__all__ = ["Engine", "fit_continuum", "no_continuum", "template_engine"]


Engine = Callable[[Spectra, compute.Progress | None], ContinuumFit]
"""Fits the continuum of some spectra, and tells how many have been finished."""

_MIN_PIXELS = 50
_PHASES = (5, 12, 60)
"""Steps after which converged rows leave the batch."""
_CLIP_ROUNDS = 2
_SCAN_STEP = 200.0
_START_SIGMA, _START_AV = 120.0, 0.3
_BAD_REDUCED_CHI2 = 3.0


@dataclass(kw_only=True, eq=False)
class _Rows:
    """Rows under way: scaled data, the pixels in use, and where each row stands."""

    flux: Float[F64, "spectrum wave"]
    weight: Float[F64, "spectrum wave"]
    used: Bool[B8, "spectrum wave"]
    params: Float[F64, "spectrum 3"]
    light: Float[F64, "spectrum template"]
    chi2: Float[F64, " spectrum"]
    covariance: Float[F64, "spectrum 3 3"]
    converged: Bool[B8, " spectrum"]
    model: Float[F64, "spectrum wave"]
    core_err: Float[F64, "spectrum core"]

    def residuals(self) -> Float[F64, "spectrum wave"]:
        """In units of the error."""
        return (self.flux - self.model) * self.weight


def fit_continuum(
    spectra: Spectra,
    templates: Templates,
    options: ContinuumOptions,
    *,
    dust: Float[F64, " wave"],
    line_waves: Float[F64, " line"],
    progress: compute.Progress | None = None,
) -> ContinuumFit:
    """Fit stellar templates, broadened, shifted and reddened, to each spectrum.

    Parameters
    ----------
    spectra
        In the rest frame. They are fitted on their own pixels.
    templates
        The base.
    options
        Bounds, masks and clipping.
    dust : [wave]
        A(wave)/A(V) at ``spectra.wave``.
    line_waves : Angstrom [line]
        Where emission lines lie on ``spectra.wave``; ``options.mask_width`` (km/s) to either
        side is left out if ``options.mask_lines``.
    progress
        Told how many spectra have been finished.

    Returns
    -------
    The fit. A row with fewer than 50 usable pixels is NaN and flagged. A row in which the base
    finds no light has a model of 0, and no kinematics. The model is NaN where the base has no
    flux. Velocities are ``c (wave / wave_rest - 1)``. The weights are the light at the
    normalisation wavelength (5635 Angstrom where the data reach it) before extinction.

    Raises
    ------
    InputError, FitError
        Where base and spectra cannot be brought together at all.

    Notes
    -----
    Gauss-Newton in velocity, squared dispersion and A(V), together with the templates' light,
    which stays non-negative: each step is a least-squares problem with bounds. The errors are
    those of the linear problem at its end, with the light of the active templates eliminated.

    References
    ----------
    The model is that of Cappellari & Emsellem 2004, PASP 116 138, section 3.3, and of Cid
    Fernandes et al. 2005, MNRAS 358 363, eq. 1.
    """
    if spectra.n_spectrum < 1:
        raise InputError("there is no spectrum to fit; give at least one row")
    engine = template_engine(spectra, templates, options, dust=dust, line_waves=line_waves)
    return joined(
        [engine(spectra.take(rows), progress) for rows in compute.blocks(spectra.n_spectrum)]
    )


def template_engine(
    axis: SpectraRows,
    templates: Templates,
    options: ContinuumOptions,
    *,
    dust: Float[F64, " wave"],
    line_waves: Float[F64, " line"],
) -> Engine:
    """Prepare the base once, and return what fits any spectra on this axis.

    The parameters, and what is raised, are those of `fit_continuum`; of ``axis`` only the
    wavelengths and what belongs to them are used.
    """
    blank = axis.take(slice(0))
    bounds = Range(options.max_velocity, options.max_sigma, options.min_av, options.max_av)
    base = prepare_base(templates, blank, dust, bounds)
    usable = _usable_pixels(blank, base, options, line_waves)
    cores = contrasts(blank, line_waves if options.mask_lines else np.empty(0), usable)

    def fit(spectra: Spectra, progress: compute.Progress | None = None) -> ContinuumFit:
        rows, scale = _fit_block(spectra, base, (usable, cores.shares), options, progress)
        return _assemble(rows, scale, base, templates, cores.wave)

    return fit


def no_continuum(spectra: Spectra, progress: compute.Progress | None = None) -> ContinuumFit:
    """Return a continuum of zero, for spectra that have none or have lost it already."""
    n_row = spectra.n_spectrum
    if progress:
        progress(n_row)
    empty = {name: np.full(n_row, np.nan) for name in _PER_ROW}
    return ContinuumFit(
        **empty,
        model=np.zeros_like(spectra.flux),
        weights=np.zeros((n_row, 0)),
        flags=np.zeros(n_row, np.int32),
        used=np.zeros(spectra.flux.shape, bool),
        core_wave=np.empty(0),
        core_err=np.empty((n_row, 0)),
    )


_PER_ROW = (
    *("velocity", "velocity_err", "sigma", "sigma_err", "av", "av_err", "chi2", "dof"),
    *("mean_log_age_light", "mean_log_age_mass"),
    *("mean_metallicity_light", "mean_metallicity_mass"),
)


def _usable_pixels(
    spectra: Spectra,
    base: PreparedBase,
    options: ContinuumOptions,
    line_waves: Float[F64, " line"],
) -> Bool[B8, " wave"]:
    """Return the pixels on which any row may be fitted."""
    wave = spectra.wave
    usable = base.covered & ~spectra.sky_window
    usable &= (wave >= options.min_wave) & (wave <= options.max_wave)
    if options.mask_lines:
        for line_wave in np.atleast_1d(line_waves):
            usable &= np.abs(wave / line_wave - 1) * C_KMS > options.mask_width
    if usable.sum() < _MIN_PIXELS:
        raise FitError(
            f"only {usable.sum()} pixels are left for the continuum fit, where {_MIN_PIXELS} are "
            "needed, after the base's range, the wavelength limits and the masks of lines and "
            "sky; widen the limits or narrow the masks"
        )
    return np.asarray(usable)


def _fit_block(
    spectra: Spectra,
    base: PreparedBase,
    pixels: tuple[Bool[B8, " wave"], Float[F64, "core wave"]],
    options: ContinuumOptions,
    progress: compute.Progress | None,
) -> tuple[_Rows, Float[F64, " spectrum"]]:
    """Fit the rows that have enough pixels; return all, and the flux unit of each."""
    usable, contrast = pixels
    rows, scale = _start(spectra, base, usable, len(contrast))
    fitted = np.flatnonzero(rows.used.sum(axis=1) >= _MIN_PIXELS)
    if progress and fitted.size < spectra.n_spectrum:
        progress(spectra.n_spectrum - fitted.size)
    if fitted.size:
        grid = list(base.grid)
        _scan(rows, fitted, grid, options)
        _fit_rows(rows, fitted, grid, progress)
        for _ in range(_CLIP_ROUNDS if options.clip > 0 else 0):
            changed = _clip(rows, fitted, spectra.mask | ~usable, options.clip)
            _fit_rows(rows, changed, grid, None)
        _measure_cores(rows, fitted, contrast, grid)
    return rows, scale


def _measure_cores(
    rows: _Rows,
    index: Index,
    contrast: Float[F64, "core wave"],
    grid: list[NDArray[Any]],
) -> None:
    """Find the errors of the model's depth in the cores of masked lines, in place."""
    if len(contrast):
        weight = (rows.weight * rows.used)[index]
        data = [weight, rows.params[index], rows.light[index]]
        found = compute.map_rows(depth_error_row, data, [contrast, *grid], chunk=_chunk())
        rows.core_err[index] = found


def _start(
    spectra: Spectra, base: PreparedBase, usable: Bool[B8, " wave"], n_core: int
) -> tuple[_Rows, Float[F64, " spectrum"]]:
    """Return rows in units of their own median flux, not fitted yet, and that unit."""
    used = ~spectra.mask & usable
    level = _median_where(np.abs(spectra.flux), used)
    scale = np.where(level > 0, level, 1.0)
    shape = (spectra.n_spectrum, base.normalisation.size)
    rows = _Rows(
        flux=spectra.flux / scale[:, None],
        weight=scale[:, None] / spectra.error,
        used=used,
        params=np.tile([0.0, _START_SIGMA**2, _START_AV], (shape[0], 1)),
        light=np.zeros(shape),
        chi2=np.full(shape[0], np.nan),
        covariance=np.full((shape[0], 3, 3), np.nan),
        converged=np.zeros(shape[0], bool),
        model=np.full(spectra.flux.shape, np.nan),
        core_err=np.full((shape[0], n_core), np.nan),
    )
    return rows, scale


def _chunk() -> int:
    """Return the rows a device takes at once: few where they must fit its cache."""
    return 4 if jax.default_backend() == "cpu" else 256


def _scan(rows: _Rows, index: Index, grid: list[NDArray[Any]], options: ContinuumOptions) -> None:
    """Start each row at the best of a few velocities."""
    lower, upper = grid[-2], grid[-1]
    n_velocity = 2 * int(np.ceil(options.max_velocity / _SCAN_STEP)) + 1
    velocities = np.linspace(lower[0], upper[0], n_velocity)
    data = [(values * rows.used)[index] for values in (rows.flux, rows.weight)]
    found = compute.map_rows(scan_row, data, [velocities, *grid], chunk=_chunk())
    rows.params[index, 0] = found
    rows.params[:] = np.clip(rows.params, lower, upper)


def _fit_rows(
    rows: _Rows,
    index: Index,
    grid: list[NDArray[Any]],
    progress: compute.Progress | None,
) -> None:
    """Fit these rows from where they stand, in place; those that are done leave in between."""
    active = index
    for number, limit in enumerate(_PHASES):
        if active.size == 0:
            return
        used = rows.used[active]
        data = [
            rows.flux[active] * used,
            rows.weight[active] * used,
            rows.params[active],
            rows.light[active],
            np.full(active.size, limit),
        ]
        end, model = compute.map_rows(
            fit_row, data, grid, chunk=_chunk(), progress=None if number else progress
        )
        rows.params[active], rows.light[active] = end.params, end.light
        rows.chi2[active], rows.covariance[active] = end.chi2, end.covariance
        rows.converged[active], rows.model[active] = end.converged, model
        active = active[~end.done]


def _clip(rows: _Rows, index: Index, mask: Bool[B8, "spectrum wave"], limit: float) -> Index:
    """Choose anew which pixels are used; return the rows for which that changes anything."""
    good = ~mask[index]
    residuals = np.where(good, np.abs(rows.residuals()[index]), 0.0)
    scatter = np.maximum(1.0, 1.4826 * _median_where(residuals, good))
    used = good & (residuals <= limit * scatter[:, None])
    changed = np.any(used != rows.used[index], axis=1) & (used.sum(axis=1) >= _MIN_PIXELS)
    rows.used[index[changed]] = used[changed]
    return np.asarray(index[changed])


def _median_where(
    values: Float[F64, "spectrum wave"], good: Bool[B8, "spectrum wave"]
) -> Float[F64, " spectrum"]:
    """Return the (upper) median of the good pixels of each row; 0 for rows without any."""
    ordered = np.sort(np.where(good, values, np.inf), axis=1)
    middle = np.take_along_axis(ordered, good.sum(axis=1)[:, None] // 2, axis=1)[:, 0]
    return np.asarray(np.where(np.isfinite(middle), middle, 0.0))


def _assemble(
    rows: _Rows,
    scale: Float[F64, " spectrum"],
    base: PreparedBase,
    templates: Templates,
    core_wave: Float[F64, " core"],
) -> ContinuumFit:
    """Bring the rows to physical units, with errors, means and flags."""
    finite = np.isfinite(rows.model).all(axis=1) & np.isfinite(rows.chi2)
    is_lit = finite & (rows.light.sum(axis=1) > 0)
    shift, variance, av = np.where(is_lit[:, None], rows.params, np.nan).T
    error = _errors(rows.covariance, is_lit)
    weights = np.where(finite[:, None], rows.light * scale[:, None], np.nan)
    means = mean_populations(weights, templates, base.normalisation)
    n_active = (rows.light > 0).sum(axis=1) + 3.0 * is_lit
    return ContinuumFit(
        model=np.where(finite[:, None] & base.has_flux, rows.model * scale[:, None], np.nan),
        velocity=C_KMS * np.expm1(shift / C_KMS),
        velocity_err=error[0] * np.exp(shift / C_KMS),
        sigma=np.sqrt(variance),
        sigma_err=_sigma_error(variance, error[1]),
        av=av,
        av_err=error[2],
        weights=weights,
        chi2=np.where(finite, rows.chi2, np.nan),
        dof=np.where(finite, rows.used.sum(axis=1) - n_active, np.nan),
        flags=_flags(rows, base, finite, is_lit),
        mean_log_age_light=means.log_age_light,
        mean_log_age_mass=means.log_age_mass,
        mean_metallicity_light=means.metallicity_light,
        mean_metallicity_mass=means.metallicity_mass,
        used=rows.used & finite[:, None],
        core_wave=core_wave,
        core_err=np.where(is_lit[:, None], rows.core_err * scale[:, None], np.nan),
    )


def _errors(
    covariance: Float[F64, "spectrum 3 3"], is_lit: Bool[B8, " spectrum"]
) -> Float[F64, "3 spectrum"]:
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    good = is_lit[:, None] & (variance > 0)
    return np.asarray(np.sqrt(np.where(good, variance, np.nan)).T)


def _sigma_error(
    variance: Float[F64, " spectrum"], variance_err: Float[F64, " spectrum"]
) -> Float[F64, " spectrum"]:
    """Return the error of sigma from that of its square; finite where sigma is 0."""
    return np.asarray(
        variance_err / (2 * np.maximum(np.sqrt(variance), 0.5 * np.sqrt(variance_err)))
    )


def _flags(
    rows: _Rows, base: PreparedBase, finite: Bool[B8, " spectrum"], is_lit: Bool[B8, " spectrum"]
) -> Int[I32, " spectrum"]:
    n_used = rows.used.sum(axis=1)
    tried = n_used >= _MIN_PIXELS
    lower, upper = np.asarray(base.grid.lower), np.asarray(base.grid.upper)
    slack = 1e-9 * (upper - lower)
    at_bound = np.any((rows.params <= lower + slack) | (rows.params >= upper - slack), axis=1)
    conditions = {
        Flag.NO_DATA: n_used == 0,
        Flag.FEW_PIXELS: (n_used > 0) & ~tried,
        Flag.NOT_CONVERGED: tried & finite & ~rows.converged,
        Flag.AT_BOUND: is_lit & at_bound,
        Flag.BAD_CHI2: finite & (rows.chi2 > _BAD_REDUCED_CHI2 * n_used),
        Flag.FIT_FAILED: tried & ~is_lit,
    }
    flags = np.zeros(n_used.size, np.int32)
    for flag, is_true in conditions.items():
        flags |= np.where(is_true, int(flag), 0).astype(np.int32)
    return flags
