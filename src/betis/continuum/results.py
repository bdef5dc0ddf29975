"""From fitted rows to a `ContinuumFit`: physical units, errors, mean populations, flags."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32
from betis.continuum.kinematics import Kinematics
from betis.continuum.model import LOG_PER_MAG
from betis.continuum.pixels import MIN_PIXELS
from betis.continuum.populations import Means, mean_populations
from betis.continuum.rows import Rows
from betis.continuum.templates import PreparedBase
from betis.flags import Flag
from betis.products import ContinuumFit, Templates
from betis.wavelength import C_KMS

_BAD_REDUCED_CHI2 = 3.0
_AREA_BY_H4 = np.sqrt(3 / 8)
"""What h4 adds to the integral of a Gauss-Hermite series."""


def assemble(
    rows: Rows,
    base: PreparedBase,
    templates: Templates,
    core_wave: Float[F64, " core"],
    n_moment: int,
) -> ContinuumFit:
    """Bring the rows to physical units, with errors, means and flags."""
    finite = np.asarray(np.isfinite(rows.model).all(axis=1))
    is_lit = finite & (rows.light.sum(axis=1) > 0)
    params = np.where(is_lit[:, None], rows.params, np.nan)
    error = _errors(rows, is_lit)
    scale = np.where(finite, rows.scale, np.nan)[:, None]
    weights = light_of(rows, base, n_moment) * scale
    means = mean_populations(weights, templates, base.normalisation)
    shift, variance = params[:, 0], params[:, 1]
    n_free = (rows.light > 0).sum(axis=1) + (rows.bounds[:, 1] > rows.bounds[:, 0]).sum(axis=1)
    chi2 = np.sum(np.where(rows.used, rows.residuals(), 0.0) ** 2, axis=1)
    return ContinuumFit(
        model=np.where(base.has_flux, rows.model * scale, np.nan),
        velocity=C_KMS * np.expm1(shift / C_KMS),
        velocity_err=error[:, 0] * np.exp(shift / C_KMS),
        sigma=np.sqrt(variance),
        sigma_err=_sigma_error(variance, error[:, 1]),
        av=params[:, n_moment],
        av_err=error[:, n_moment],
        weights=weights,
        chi2=np.where(finite, chi2, np.nan),
        dof=np.where(finite, rows.used.sum(axis=1) - np.where(is_lit, n_free, 0.0), np.nan),
        flags=_flags(rows, finite, is_lit, chi2),
        **_mean_fields(means),
        used=rows.used & finite[:, None],
        core_wave=core_wave,
        core_err=np.where(is_lit[:, None], rows.core_err * scale, np.nan),
        **_moment_fields(params, error, n_moment),
    )


def light_of(rows: Rows, base: PreparedBase, n_moment: int) -> Float[F64, "spectrum template"]:
    """Return the light of each template before extinction, in units of the row's scale."""
    unseen = np.exp(-LOG_PER_MAG * base.pivot * rows.params[:, n_moment])
    if n_moment == 4:  # h3 and h4 were fitted
        unseen = unseen * (1 + _AREA_BY_H4 * rows.params[:, 3])
    return np.asarray(np.where(rows.light > 0, rows.light * unseen[:, None], 0.0))


def with_held(fit: ContinuumFit, kinematics: Kinematics) -> ContinuumFit:
    """Give rows whose kinematics were held the errors that these came with."""
    held = kinematics.is_known & np.isfinite(fit.velocity)
    return replace(
        fit,
        velocity_err=np.where(held, kinematics.velocity_err, fit.velocity_err),
        sigma_err=np.where(held, kinematics.sigma_err, fit.sigma_err),
    )


def _mean_fields(means: Means) -> dict[str, Float[F64, " spectrum"]]:
    return {f"mean_{name}": value for name, value in means._asdict().items()}


def _moment_fields(
    params: Float[F64, "spectrum param"], error: Float[F64, "spectrum param"], n_moment: int
) -> dict[str, Float[F64, " spectrum"]]:
    if n_moment == 2:  # velocity and dispersion only
        return {}
    return {"h3": params[:, 2], "h3_err": error[:, 2], "h4": params[:, 3], "h4_err": error[:, 3]}


def _errors(rows: Rows, is_lit: Bool[B8, " spectrum"]) -> Float[F64, "spectrum param"]:
    variance = np.diagonal(rows.covariance, axis1=1, axis2=2)
    good = is_lit[:, None] & (variance > 0)
    return np.asarray(np.sqrt(np.where(good, variance, np.nan)))


def _sigma_error(
    variance: Float[F64, " spectrum"], variance_err: Float[F64, " spectrum"]
) -> Float[F64, " spectrum"]:
    """Return the error of sigma from that of its square; finite where sigma is 0."""
    return np.asarray(
        variance_err / (2 * np.maximum(np.sqrt(variance), 0.5 * np.sqrt(variance_err)))
    )


def _flags(
    rows: Rows,
    finite: Bool[B8, " spectrum"],
    is_lit: Bool[B8, " spectrum"],
    chi2: Float[F64, " spectrum"],
) -> Int[I32, " spectrum"]:
    n_used = rows.used.sum(axis=1)
    tried = n_used >= MIN_PIXELS
    conditions = {
        Flag.NO_DATA: n_used == 0,
        Flag.FEW_PIXELS: (n_used > 0) & ~tried,
        Flag.NOT_CONVERGED: tried & finite & ~rows.converged,
        Flag.AT_BOUND: is_lit & _at_bound(rows),
        Flag.BAD_CHI2: finite & (chi2 > _BAD_REDUCED_CHI2 * n_used),
        Flag.FIT_FAILED: tried & ~is_lit,
    }
    flags = np.zeros(n_used.size, np.int32)
    for flag, is_true in conditions.items():
        flags |= np.where(is_true, int(flag), 0).astype(np.int32)
    return flags


def _at_bound(rows: Rows) -> Bool[B8, " spectrum"]:
    """Tell the rows in which a parameter that is not held ended on a bound."""
    lower, upper = rows.bounds[:, 0], rows.bounds[:, 1]
    is_bound = np.isfinite(upper) & (upper > lower)
    slack = 1e-9 * np.where(is_bound, upper - lower, 0.0)
    on_bound = (rows.params <= lower + slack) | (rows.params >= upper - slack)
    return np.asarray(np.any(on_bound & is_bound, axis=1))
