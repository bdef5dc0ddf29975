"""pPXF as the engine, where it is installed: an extra, used through its documented interface.

Data and base are brought to steps of constant velocity, as pPXF needs them, one row at a time; what
it finds is evaluated on the pixels of the data again, so that residuals, chi2, clipping and the
model are those of pixels whose noise is independent.
"""

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.compute import Progress
from betis.continuum.cores import Cores, contrasts
from betis.continuum.kinematics import Engine, Kinematics
from betis.continuum.on_pixels import Answer, PixelBase, covariance, make_pixel_base
from betis.continuum.pixels import MIN_PIXELS, median_where, outside_clip, usable_pixels
from betis.continuum.ppxf_rows import Found, assemble, not_found
from betis.continuum.templates import PreparedBase, Range, prepare_base, sampled_templates
from betis.errors import ConfigError
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, SpectraRows, Templates
from betis.resampling import resample
from betis.wavelength import C_KMS, pixel_widths

__all__ = ["ppxf_engine"]

_START_SIGMA, _START_AV = 120.0, 0.3
_SCAN_STEP = 200.0
_CLIP_ROUNDS = 2
_HERMITE = (-0.3, 0.3)
"""pPXF's own bounds of h3 and h4."""
_FINE = 0.5
"""Step of the grid on which its answer is evaluated, over the one on which it was found."""
_FAILURES = (ValueError, AssertionError, ArithmeticError, IndexError, np.linalg.LinAlgError)
"""What pPXF raises on data that it cannot fit."""


class _Row(NamedTuple):
    """One spectrum of unit median: flux, inverse error, pixels in use, and what is held."""

    flux: Float[F64, " wave"]
    weight: Float[F64, " wave"]
    used: Bool[B8, " wave"]
    held: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Setup:
    """What all rows share.

    ``log_wave`` [log] are the pixels of the fit, ``stars`` [grid, template] the base for them, at
    the wavelengths ``stars_wave``.
    """

    call: Callable[..., Any]
    axis: Spectra
    log_wave: Float[F64, " log"]
    stars: Float[F64, "grid template"]
    stars_wave: Float[F64, " grid"]
    pixels: PixelBase
    base: PreparedBase
    usable: Bool[B8, " wave"]
    cores: Cores
    options: ContinuumOptions

    @property
    def velscale(self) -> float:
        """Step, km/s."""
        return float(self.log_wave[1] - self.log_wave[0]) * C_KMS

    def dust(self, wave: Float[F64, " log"], av: float) -> Float[F64, " log"]:
        """Return what a screen lets through."""
        curve = np.interp(wave, self.axis.wave, self.pixels.dust)
        return np.asarray(10.0 ** (-0.4 * av * curve))


def ppxf_engine(
    axis: SpectraRows,
    templates: Templates,
    options: ContinuumOptions,
    *,
    dust: Float[F64, " wave"],
    line_waves: Float[F64, " line"],
) -> Engine:
    """Prepare the base for pPXF, and return what fits any spectra on this axis.

    Parameters
    ----------
    axis
        Of which only the wavelengths and what belongs to them are used.
    templates
        The base.
    options
        As for the engine templates: bounds, masks, clipping, moments, polynomials.
    dust : [wave]
        A(wave)/A(V) at ``axis.wave``.
    line_waves : Angstrom [line]
        Emission lines on the axis.

    Returns
    -------
    An engine. Velocities are ``c (wave / wave_rest - 1)``, as everywhere in betis; chi2 is that of
    the pixels of the data. The errors of velocity, dispersion, h3 and h4 are pPXF's formal ones,
    not rescaled, for the noise that a sum of its correlated pixels has; that of A(V) is the one of
    the linearised model. A row on which pPXF fails is NaN and flagged.

    Raises
    ------
    ConfigError
        Where the package is not installed, or an option is for another engine.
    InputError, FitError
        Where base and spectra cannot be brought together at all.

    References
    ----------
    Cappellari 2017, MNRAS 466 798; Cappellari 2023, MNRAS 526 3273.
    """
    _check_options(options)
    call = _imported()
    blank = axis.take(slice(0))
    bounds = Range(options.max_velocity, options.max_sigma, options.min_av, options.max_av)
    base = prepare_base(templates, blank, dust, bounds)
    usable = usable_pixels(blank, base.covered, options, line_waves)
    setup = _setup(call, (blank, usable, templates, base), dust, options, line_waves)

    def fit(
        spectra: Spectra, progress: Progress | None = None, kinematics: Kinematics | None = None
    ) -> ContinuumFit:
        found, scale = _fitted(spectra, setup, progress, kinematics)
        return assemble(found, scale, (base, templates, setup.cores), options, kinematics)

    return fit


def _check_options(options: ContinuumOptions) -> None:
    for name in ("regularisation", "realisations"):
        if getattr(options, name) > 0:
            raise ConfigError(
                f"continuum.{name} is {getattr(options, name):g}, where 0 was expected with the "
                "engine ppxf; choose the engine templates, which knows it"
            )


def _imported() -> Callable[..., Any]:
    try:
        module = importlib.import_module("ppxf.ppxf")
    except ImportError as error:
        raise ConfigError(
            "the continuum engine 'ppxf' was asked for and its package is not installed; install "
            "it with pip install 'betis[ppxf]' (see its terms), or choose the engine templates"
        ) from error
    call: Callable[..., Any] = module.ppxf
    return call


def _setup(
    call: Callable[..., Any],
    data: tuple[Spectra, Bool[B8, " wave"], Templates, PreparedBase],
    dust: Float[F64, " wave"],
    options: ContinuumOptions,
    line_waves: Float[F64, " line"],
) -> _Setup:
    blank, usable, templates, base = data
    log_wave = _log_axis(blank, usable)
    step = float(log_wave[1] - log_wave[0])
    reach = options.max_velocity + 4 * options.max_sigma
    n_side = int(np.ceil(reach / C_KMS / step)) + 2
    stars_log = log_wave[0] + step * np.arange(-n_side, log_wave.size + n_side)
    # What resampling adds to the resolution of the data, the base has to have too.
    resampled = resample(blank, np.exp(log_wave)).spectra
    stars = sampled_templates(templates, resampled, stars_log) / base.normalisation[:, None]
    span = (float(log_wave[0]), float(log_wave[-1]), _FINE * step, reach)
    return _Setup(
        call=call,
        axis=blank,
        log_wave=log_wave,
        stars=np.ascontiguousarray(stars.T),
        stars_wave=np.exp(stars_log),
        pixels=make_pixel_base(templates, blank, base.normalisation, dust, span),
        base=base,
        usable=usable,
        cores=contrasts(blank, line_waves if options.mask_lines else np.empty(0), usable),
        options=options,
    )


def _log_axis(spectra: Spectra, usable: Bool[B8, " wave"]) -> Float[F64, " log"]:
    """Return log wavelengths of constant step, the median one of the data, over what is fitted."""
    step = float(np.median((pixel_widths(spectra.edges) / spectra.wave)[usable]))
    first, last = np.log(spectra.wave[usable][[0, -1]])
    return np.asarray(first + step * np.arange(int((last - first) / step) + 1))


def _fitted(
    spectra: Spectra,
    setup: _Setup,
    progress: Progress | None,
    kinematics: Kinematics | None,
) -> tuple[list[Found], Float[F64, " spectrum"]]:
    """Fit row by row; return what was found, and the flux unit of each row."""
    used = ~spectra.mask & setup.usable
    level = median_where(np.abs(spectra.flux), used)
    scale = np.where(level > 0, level, 1.0)
    held = _held(kinematics, spectra.n_spectrum)
    found = []
    for number, unit in enumerate(scale):
        row = _Row(
            spectra.flux[number] / unit,
            unit / spectra.error[number],
            used[number],
            held[number],
        )
        found.append(_fit_row(row, setup))
        if progress:
            progress(1)
    return found, scale


def _held(kinematics: Kinematics | None, count: int) -> list[tuple[float, float] | None]:
    """Return shift and dispersion of the rows where they are held."""
    if kinematics is None:
        return [None] * count
    shift = C_KMS * np.log1p(kinematics.velocity / C_KMS)
    return [
        (float(u), float(sigma)) if known else None
        for u, sigma, known in zip(shift, kinematics.sigma, kinematics.is_known, strict=True)
    ]


def _fit_row(row: _Row, setup: _Setup) -> Found:
    """Fit one spectrum, clipping twice; NaN where it has too few pixels, or pPXF fails."""
    failed = not_found(
        row.used, setup.base.normalisation.size, setup.cores.wave.size, setup.options
    )
    if row.used.sum() < MIN_PIXELS:
        return failed
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = _fit_once(row, setup, _start(row, setup))
            for _ in range(_CLIP_ROUNDS if setup.options.clip > 0 else 0):
                clipped = _clip(row, setup, found)
                if np.array_equal(clipped, found.used):
                    break
                start = (found.answer.shift, max(found.answer.sigma, setup.velscale))
                found = _fit_once(row._replace(used=clipped), setup, row.held or start)
            return _with_errors(row, setup, found)
    except _FAILURES:
        return failed


def _start(row: _Row, setup: _Setup) -> tuple[float, float]:
    """Return the best of a few velocities, by linear fits, and a dispersion to start from."""
    if row.held:
        return row.held
    limit = C_KMS * np.log1p(setup.options.max_velocity / C_KMS)
    n_velocity = 2 * int(np.ceil(limit / _SCAN_STEP)) + 1
    data = _rebinned(row, setup)
    chi2 = {}
    for shift in np.linspace(-limit, limit, n_velocity):
        arguments = _arguments(data, setup, (shift, _START_SIGMA), None)
        chi2[float(shift)] = setup.call(**{**arguments, "mdegree": 0}, linear=True).chi2
    return min(chi2, key=chi2.__getitem__), min(_START_SIGMA, 0.9 * setup.options.max_sigma)


def _rebinned(
    row: _Row, setup: _Setup
) -> tuple[Float[F64, " log"], Float[F64, " log"], Bool[B8, " log"]]:
    """Return flux, error and pixels in use in log wavelength.

    The error of a pixel is that of sums of pixels, shared out: neighbours are correlated, and pPXF
    takes them for independent, so that the variances of theirs alone would be too small.
    """
    error = np.where(row.used, 1 / np.where(row.weight > 0, row.weight, 1.0), np.inf)
    single = replace(
        setup.axis,
        flux=row.flux[None],
        error=error[None],
        mask=~row.used[None],
        n_spaxel=np.ones(1, np.int32),
    )
    result = resample(single, np.exp(setup.log_wave))
    shared = result.covariance[0]
    variance = shared[0].copy()
    for lag in range(1, len(shared)):
        variance[:-lag] += shared[lag, :-lag]
        variance[lag:] += shared[lag, :-lag]
    good = ~result.mask[0] & (variance > 0)
    return result.flux[0], np.sqrt(np.where(good, variance, 1.0)), good


def _arguments(
    data: tuple[Float[F64, " log"], Float[F64, " log"], Bool[B8, " log"]],
    setup: _Setup,
    start: tuple[float, float],
    held: tuple[float, float] | None,
) -> dict[str, Any]:
    """Return the keywords of a call of pPXF."""
    flux, error, good = data
    options, every = setup.options, np.ones(setup.stars.shape[1], bool)
    limit = C_KMS * np.log1p(np.array([-1.0, 1.0]) * options.max_velocity / C_KMS)
    narrow = setup.velscale / 100
    n_hermite = options.moments - 2
    sigma = float(np.clip(start[1], narrow, options.max_sigma))
    return {
        "templates": setup.stars,
        "galaxy": flux,
        "noise": error,
        "velscale": setup.velscale,
        "start": [float(np.clip(start[0], *limit)), sigma, *[0.0] * n_hermite],
        "bounds": [limit, [narrow, options.max_sigma], *[list(_HERMITE)] * n_hermite],
        "fixed": [bool(held), bool(held), *[False] * n_hermite],
        "moments": options.moments,
        "degree": options.additive,
        "mdegree": options.multiplicative,
        "dust": [
            {
                "start": [float(np.clip(_START_AV, options.min_av, options.max_av))],
                "bounds": [[options.min_av, options.max_av]],
                "component": every,
                "func": setup.dust,
            }
        ],
        "mask": good,
        "lam": np.exp(setup.log_wave),
        "lam_temp": setup.stars_wave,
        "quiet": True,
    }


def _fit_once(row: _Row, setup: _Setup, start: tuple[float, float]) -> Found:
    """Call pPXF, and evaluate what it finds on the pixels of the data."""
    fit = setup.call(**_arguments(_rebinned(row, setup), setup, start, row.held))
    options = setup.options
    answer = Answer(
        shift=float(fit.sol[0]),
        sigma=float(fit.sol[1]),
        hermite=np.asarray(fit.sol[2:], dtype=float),
        av=float(fit.dust[0]["sol"][0]),
        weights=np.maximum(np.asarray(fit.weights, dtype=float), 0.0),
        additive=np.asarray(fit.polyweights if options.additive >= 0 else [], dtype=float),
        multiplicative=np.asarray(
            fit.mpolyweights if options.multiplicative > 0 else [], dtype=float
        ),
    )
    model = setup.pixels.model(answer)
    return Found(
        answer=answer,
        error=np.asarray(fit.error, dtype=float),
        av_err=np.nan,
        model=model,
        residual=np.where(row.used, (row.flux - model) * row.weight, 0.0),
        used=row.used,
        core_err=np.full(setup.cores.wave.size, np.nan),
        converged=int(fit.status) > 0,
    )


def _clip(row: _Row, setup: _Setup, found: Found) -> Bool[B8, " wave"]:
    """Return the pixels in use after clipping; those of before where too few would be left."""
    residuals = (row.flux - found.model) * row.weight
    kept = row.used & ~outside_clip(residuals[None], row.used[None], setup.options.clip)[0]
    return kept if kept.sum() >= MIN_PIXELS else found.used


def _with_errors(row: _Row, setup: _Setup, found: Found) -> Found:
    """Add the errors of A(V) and of the depths under masked lines, from the linearised model."""
    design = setup.pixels.design(found.answer)
    if row.held:
        design = np.delete(design, [1, 2], axis=1)
    spread = covariance(design, np.where(found.used, row.weight, 0.0))
    share = setup.cores.shares @ design
    depth = np.einsum("cp,pq,cq->c", share, spread, share)
    return replace(
        found,
        av_err=float(np.sqrt(max(spread[0, 0], 0.0))) or np.nan,
        core_err=np.sqrt(np.maximum(depth, 0.0)),
    )
