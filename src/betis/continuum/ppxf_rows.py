"""Rows fitted one by one, as one `ContinuumFit` with betis's definitions and flags."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from betis.arrays import B8, F64, I32
from betis.continuum.cores import Cores
from betis.continuum.kinematics import Kinematics
from betis.continuum.on_pixels import Answer
from betis.continuum.pixels import MIN_PIXELS
from betis.continuum.populations import mean_populations
from betis.continuum.templates import PreparedBase
from betis.flags import Flag
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Templates
from betis.wavelength import C_KMS

__all__ = ["Found", "assemble", "not_found"]

_BAD_REDUCED_CHI2 = 3.0
_AT_BOUND = 1e-4
"""Share of the range of a parameter within which it lies on a bound."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What was found for one row of unit median.

    Attributes
    ----------
    answer
        The parameters; NaN where the fit failed.
    error
        Of shift, dispersion (km/s), h3, h4.
    av_err : mag
    model, residual : [wave]
        Flux density, and data minus model in units of the error, 0 at pixels that are not used.
    used : bool [wave]
    core_err : [core]
        Of the depth of the model in the cores of masked lines.
    converged
        Whether the search ended by itself.
    """

    answer: Answer
    error: Float[F64, " moment"]
    av_err: float
    model: Float[F64, " wave"]
    residual: Float[F64, " wave"]
    used: Bool[B8, " wave"]
    core_err: Float[F64, " core"]
    converged: bool

    @property
    def is_lit(self) -> bool:
        """Whether the stars have any light, and everything is finite."""
        return bool(np.isfinite(self.model).all() and self.answer.weights.sum() > 0)

    @property
    def n_param(self) -> int:
        """How many numbers were found."""
        answer = self.answer
        linear = int((answer.weights > 0).sum()) + answer.additive.size
        return linear + 3 + answer.hermite.size + answer.multiplicative.size


def not_found(
    used: Bool[B8, " wave"], n_template: int, n_core: int, options: ContinuumOptions
) -> Found:
    """Return NaN for a row that could not be fitted."""
    blank = np.full(used.size, np.nan)
    answer = Answer(
        shift=np.nan,
        sigma=np.nan,
        hermite=np.full(options.moments - 2, np.nan),
        av=np.nan,
        weights=np.full(n_template, np.nan),
        additive=np.empty(0),
        multiplicative=np.empty(0),
    )
    return Found(
        answer=answer,
        error=np.full(options.moments, np.nan),
        av_err=np.nan,
        model=blank,
        residual=blank,
        used=used,
        core_err=np.full(n_core, np.nan),
        converged=False,
    )


def assemble(
    found: Sequence[Found],
    scale: Float[F64, " spectrum"],
    base: tuple[PreparedBase, Templates, Cores],
    options: ContinuumOptions,
    kinematics: Kinematics | None,
) -> ContinuumFit:
    """Bring the rows to physical units and betis's definitions.

    Parameters
    ----------
    found
        The rows.
    scale : [spectrum]
        Flux unit of each row.
    base
        What the fits were made with.
    options
        Bounds, on which rows are flagged.
    kinematics
        What was held, with its errors.
    """
    prepared, templates, cores = base
    lit = np.array([one.is_lit for one in found], dtype=bool)

    def column(get: Callable[[Found], ArrayLike]) -> F64:
        values = np.array([get(one) for one in found], dtype=float)
        return np.where(lit.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)

    shift, unit = column(lambda one: one.answer.shift), scale[:, None]
    weights = column(lambda one: one.answer.weights) * unit
    means = mean_populations(weights, templates, prepared.normalisation)
    fit = ContinuumFit(
        model=np.where(prepared.has_flux, column(lambda one: one.model) * unit, np.nan),
        velocity=C_KMS * np.expm1(shift / C_KMS),
        velocity_err=column(lambda one: one.error[0]) * np.exp(shift / C_KMS),
        sigma=column(lambda one: one.answer.sigma),
        sigma_err=column(lambda one: one.error[1]),
        av=column(lambda one: one.answer.av),
        av_err=column(lambda one: one.av_err),
        weights=weights,
        chi2=column(lambda one: np.sum(one.residual**2)),
        dof=column(lambda one: one.used.sum() - one.n_param),
        flags=_flags(found, lit, options, kinematics),
        mean_log_age_light=means.log_age_light,
        mean_log_age_mass=means.log_age_mass,
        mean_metallicity_light=means.metallicity_light,
        mean_metallicity_mass=means.metallicity_mass,
        used=np.array([one.used for one in found]) & lit[:, None],
        core_wave=cores.wave,
        core_err=column(lambda one: one.core_err) * unit,
    )
    return _with_errors(_with_moments(fit, found, lit), kinematics)


def _with_moments(
    fit: ContinuumFit, found: Sequence[Found], lit: Bool[B8, " spectrum"]
) -> ContinuumFit:
    """Give h3 and h4, where they were fitted."""
    if not len(found) or found[0].answer.hermite.size < 2:
        return fit
    value = np.where(lit[:, None], [one.answer.hermite for one in found], np.nan)
    error = np.where(lit[:, None], [one.error[2:] for one in found], np.nan)
    error = np.where(error > 0, error, np.nan)
    return replace(fit, h3=value[:, 0], h3_err=error[:, 0], h4=value[:, 1], h4_err=error[:, 1])


def _with_errors(fit: ContinuumFit, kinematics: Kinematics | None) -> ContinuumFit:
    """Give held rows the errors that their kinematics came with; NaN for an error of 0."""
    velocity_err, sigma_err = (
        np.where(value > 0, value, np.nan) for value in (fit.velocity_err, fit.sigma_err)
    )
    if kinematics is not None:
        held = kinematics.is_known & np.isfinite(fit.velocity)
        velocity_err = np.where(held, kinematics.velocity_err, velocity_err)
        sigma_err = np.where(held, kinematics.sigma_err, sigma_err)
    return replace(fit, velocity_err=velocity_err, sigma_err=sigma_err)


def _flags(
    found: Sequence[Found],
    lit: Bool[B8, " spectrum"],
    options: ContinuumOptions,
    kinematics: Kinematics | None,
) -> Int[I32, " spectrum"]:
    held = np.zeros(len(found), bool) if kinematics is None else kinematics.is_known
    n_used = np.array([one.used.sum() for one in found], dtype=int)
    tried = n_used >= MIN_PIXELS
    chi2 = np.array([np.sum(one.residual**2) for one in found], dtype=float)
    conditions = {
        Flag.NO_DATA: n_used == 0,
        Flag.FEW_PIXELS: (n_used > 0) & ~tried,
        Flag.NOT_CONVERGED: lit & ~np.array([one.converged for one in found], dtype=bool),
        Flag.AT_BOUND: lit & _at_bound(found, held, options),
        Flag.BAD_CHI2: lit & (chi2 > _BAD_REDUCED_CHI2 * n_used),
        Flag.FIT_FAILED: tried & ~lit,
    }
    flags = np.zeros(n_used.size, np.int32)
    for flag, is_true in conditions.items():
        flags |= np.where(is_true, int(flag), 0).astype(np.int32)
    return flags


def _at_bound(
    found: Sequence[Found], held: Bool[B8, " spectrum"], options: ContinuumOptions
) -> Bool[B8, " spectrum"]:
    """Tell the rows whose extinction, or velocity or dispersion unless held, is on a bound."""
    answers = [one.answer for one in found]
    speed = C_KMS * np.expm1(np.array([one.shift for one in answers]) / C_KMS)
    sigma, av = (np.array([getattr(one, name) for one in answers]) for name in ("sigma", "av"))
    moves = _on_edge(speed, -options.max_velocity, options.max_velocity)
    moves |= _on_edge(sigma, 0.0, options.max_sigma)
    return np.asarray((moves & ~held) | _on_edge(av, options.min_av, options.max_av))


def _on_edge(values: Float[F64, " spectrum"], low: float, high: float) -> Bool[B8, " spectrum"]:
    return np.asarray(np.minimum(values - low, high - values) <= _AT_BOUND * (high - low))
