"""A polynomial as the continuum: for a quick look, or where there are no stars to be fitted.

One Legendre series over the whole axis, gaps included, by weighted linear least squares. All rows
are solved at once: the products of pairs of Legendre polynomials are the same for every row, so
that the normal matrices of all rows are one product of matrices.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.polynomial.legendre import legvander

from betis.arrays import B8, F64, I32
from betis.compute import Progress
from betis.continuum.cores import Cores, contrasts
from betis.continuum.kinematics import Engine, Kinematics
from betis.continuum.pixels import (
    MIN_PIXELS,
    UNKNOWN,
    median_where,
    outside_clip,
    usable_pixels,
)
from betis.flags import Flag
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, SpectraRows

__all__ = ["polynomial_engine"]

_CLIP_ROUNDS = 5
_BAD_REDUCED_CHI2 = 3.0
_RANK = 1e-12
"""Eigenvalues of a normal matrix below this share of its largest are not determined by the data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Basis:
    """What all rows share: Legendre polynomials ``[wave, degree+1]``, pixels, cores of lines."""

    legendre: Float[F64, "wave order"]
    usable: Bool[B8, " wave"]
    cores: Cores


@dataclass(frozen=True, kw_only=True, eq=False)
class _Solution:
    """Coefficients of each row and their covariance."""

    coefficients: Float[F64, "spectrum order"]
    covariance: Float[F64, "spectrum order order"]


def polynomial_engine(
    axis: SpectraRows, options: ContinuumOptions, *, line_waves: Float[F64, " line"]
) -> Engine:
    """Return what fits a polynomial to any spectra on this axis.

    Parameters
    ----------
    axis
        Of which only the wavelengths and what belongs to them are used.
    options
        ``degree`` of the polynomial, masks, limits of the wavelength, and ``clip``: pixels beyond
        it are left out in up to five rounds.
    line_waves : Angstrom [line]
        Emission lines on the axis.

    Returns
    -------
    An engine whose fits have a model at every pixel, the error of its depth in the cores of masked
    lines, chi2 and dof; kinematics, extinction and populations are NaN and there are no weights.
    Beyond the first and the last pixel used of a row its model keeps the value it has there.

    Raises
    ------
    FitError
        Where the masks leave fewer than 50 pixels.

    References
    ----------
    Weighted linear least squares: Press et al. 2007, Numerical Recipes, section 15.4.
    """
    blank = axis.take(slice(0))
    usable = usable_pixels(blank, np.ones(blank.wave.size, bool), options, line_waves)
    basis = _Basis(
        legendre=np.asarray(legvander(_scaled(blank.wave, usable), options.degree), dtype=float),
        usable=usable,
        cores=contrasts(blank, line_waves if options.mask_lines else np.empty(0), usable),
    )

    def fit(
        spectra: Spectra,
        progress: Progress | None = None,
        kinematics: Kinematics | None = None,  # noqa: ARG001  # an engine
    ) -> ContinuumFit:
        result = _fitted(spectra, basis, options.clip)
        if progress:
            progress(spectra.n_spectrum)
        return result

    return fit


def _scaled(wave: Float[F64, " wave"], usable: Bool[B8, " wave"]) -> Float[F64, " wave"]:
    """Return the wavelengths on -1 to 1 over the pixels that any row may use, held beyond them."""
    low, high = wave[usable][[0, -1]]
    return np.asarray(np.clip(2 * (wave - low) / (high - low) - 1, -1.0, 1.0))


def _fitted(spectra: Spectra, basis: _Basis, clip: float) -> ContinuumFit:
    """Fit all rows, clipping anew until nothing changes."""
    good = ~spectra.mask & basis.usable
    level = median_where(np.abs(spectra.flux), good)
    scale = np.where(level > 0, level, 1.0)[:, None]
    flux, weight = spectra.flux / scale, scale / spectra.error
    used = good
    found = _solve(flux, weight, used, basis.legendre)
    for _ in range(_CLIP_ROUNDS if clip > 0 else 0):
        residuals = (flux - found.coefficients @ basis.legendre.T) * np.where(good, weight, 0.0)
        kept = good & ~outside_clip(residuals, good, clip)
        changed = np.any(kept != used, axis=1) & (kept.sum(axis=1) >= MIN_PIXELS)
        if not changed.any():
            break
        used = np.where(changed[:, None], kept, used)
        found = _solve(flux, weight, used, basis.legendre)
    return _assemble(spectra, basis, found, used, scale)


def _solve(
    flux: Float[F64, "spectrum wave"],
    weight: Float[F64, "spectrum wave"],
    used: Bool[B8, "spectrum wave"],
    legendre: Float[F64, "wave order"],
) -> _Solution:
    """Solve the normal equations of each row.

    The eigenvalues of a normal matrix that the data leave undetermined give nothing.
    """
    ivar = np.where(used, weight, 0.0) ** 2
    first, second = np.triu_indices(legendre.shape[1])
    pairs = ivar @ (legendre[:, first] * legendre[:, second])
    normal = np.empty((len(flux), legendre.shape[1], legendre.shape[1]))
    normal[:, first, second] = normal[:, second, first] = pairs
    value, vector = np.linalg.eigh(normal)
    known = value > _RANK * value[:, -1:]
    inverse = np.where(known, 1 / np.where(known, value, 1.0), 0.0)
    covariance = (vector * inverse[:, None, :]) @ vector.transpose(0, 2, 1)
    linear = (ivar * np.where(used, flux, 0.0)) @ legendre
    return _Solution(
        coefficients=np.einsum("rij,rj->ri", covariance, linear), covariance=covariance
    )


def _assemble(
    spectra: Spectra,
    basis: _Basis,
    found: _Solution,
    used: Bool[B8, "spectrum wave"],
    scale: Float[F64, "spectrum 1"],
) -> ContinuumFit:
    """Bring the rows to physical units, with chi2, errors and flags."""
    n_used = used.sum(axis=1)
    tried = n_used >= MIN_PIXELS
    shape = _held_at_ends(found.coefficients @ basis.legendre.T, used)
    model = np.where(tried[:, None], shape * scale, np.nan)
    residuals = np.where(used, spectra.flux - shape * scale, 0.0) / spectra.error
    chi2 = np.where(tried, np.sum(residuals**2, axis=1), np.nan)
    blank = {name: np.full(n_used.size, np.nan) for name in UNKNOWN}
    return ContinuumFit(
        **blank,
        model=model,
        weights=np.empty((n_used.size, 0)),
        chi2=chi2,
        dof=np.where(tried, n_used - float(basis.legendre.shape[1]), np.nan),
        flags=_flags(n_used, tried, chi2),
        used=used & tried[:, None],
        core_wave=basis.cores.wave,
        core_err=np.where(tried[:, None], _core_errors(basis, found) * scale, np.nan),
    )


def _held_at_ends(
    model: Float[F64, "spectrum wave"], used: Bool[B8, "spectrum wave"]
) -> Float[F64, "spectrum wave"]:
    """Return the model with its value at the first and the last used pixel kept beyond them."""
    n_wave = used.shape[1]
    first = np.argmax(used, axis=1)[:, None]
    last = n_wave - 1 - np.argmax(used[:, ::-1], axis=1)[:, None]
    return np.take_along_axis(model, np.clip(np.arange(n_wave), first, last), axis=1)


def _core_errors(basis: _Basis, found: _Solution) -> Float[F64, "spectrum core"]:
    """Return the errors of the depths of the polynomial in the cores of masked lines."""
    share = basis.cores.shares @ basis.legendre
    variance = np.einsum("ci,rij,cj->rc", share, found.covariance, share, optimize=True)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _flags(
    n_used: Int[I32, " spectrum"], tried: Bool[B8, " spectrum"], chi2: Float[F64, " spectrum"]
) -> Int[I32, " spectrum"]:
    conditions = {
        Flag.NO_DATA: n_used == 0,
        Flag.FEW_PIXELS: (n_used > 0) & ~tried,
        Flag.BAD_CHI2: tried & (chi2 > _BAD_REDUCED_CHI2 * n_used),
        Flag.FIT_FAILED: tried & ~np.isfinite(chi2),
    }
    flags = np.zeros(n_used.size, np.int32)
    for flag, is_true in conditions.items():
        flags |= np.where(is_true, int(flag), 0).astype(np.int32)
    return flags
