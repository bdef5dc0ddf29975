"""What was fitted to each spectrum: its stars, its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from betis.arrays import B8, F64, I32, Brief
from betis.errors import InputError
from betis.products.cube import Sky


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ContinuumFit(Brief):
    """The stellar continuum of each spectrum.

    Attributes
    ----------
    model : [spectrum, wave]
        On the pixels of the spectra, in their flux scale, at every pixel (also masked ones).
    velocity, velocity_err, sigma, sigma_err : km/s [spectrum]
        Relative to the rest frame of the spectra; sigma without the line-spread function.
    av, av_err : mag [spectrum]
    weights : [spectrum, template]
        Share of the light of each template at the normalisation wavelength, in the flux scale.
    chi2, dof, flags : [spectrum]
    mean_log_age_light, mean_log_age_mass : log10 yr [spectrum]
    mean_metallicity_light, mean_metallicity_mass : log10 Z [spectrum]
    used : bool [spectrum, wave]
        Pixels that the fit was made on.
    core_wave : Angstrom [core]
        Lines whose pixels were left out of the fit.
    core_err : [spectrum, core]
        1-sigma error of the depth of the model there, relative to its surroundings, flux
        density: what the stars add to the error of that line's flux. Empty where not known.
    """

    model: Float[F64, "spectrum wave"]
    velocity: Float[F64, " spectrum"]
    velocity_err: Float[F64, " spectrum"]
    sigma: Float[F64, " spectrum"]
    sigma_err: Float[F64, " spectrum"]
    av: Float[F64, " spectrum"]
    av_err: Float[F64, " spectrum"]
    weights: Float[F64, "spectrum template"]
    chi2: Float[F64, " spectrum"]
    dof: Float[F64, " spectrum"]
    flags: Int[I32, " spectrum"]
    mean_log_age_light: Float[F64, " spectrum"]
    mean_log_age_mass: Float[F64, " spectrum"]
    mean_metallicity_light: Float[F64, " spectrum"]
    mean_metallicity_mass: Float[F64, " spectrum"]
    used: Bool[B8, "spectrum wave"]
    core_wave: Float[F64, " core"] = field(default_factory=lambda: np.empty(0))
    core_err: Float[F64, "spectrum core"] = None  # type: ignore[assignment]  # filled below

    def __post_init__(self) -> None:
        """Give the errors of the cores, where there are none, their rows."""
        if self.core_err is None:
            object.__setattr__(self, "core_err", np.empty((self.flags.size, 0)))

    @property
    def table(self) -> ContinuumFit:
        """The fit itself, as that of a fit whose models are in a file lacks them."""
        return self

    def take(self, rows: slice | NDArray[Any]) -> ContinuumFit:
        """Return some of the rows."""
        return _take(self, rows)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LineFit(Brief):
    """What was measured of each emission line in each spectrum; NaN where it could not be.

    Attributes
    ----------
    names : [line]
    flux, flux_err : flux scale x Angstrom [spectrum, line]
        Integrated.
    velocity, velocity_err, sigma, sigma_err : km/s [spectrum, line]
        Relative to the rest frame of the spectra; sigma without the line-spread function.
    sigma_obs : Angstrom [spectrum, line]
        Dispersion as observed, line-spread function included.
    amplitude : [spectrum, line]
        Peak of the profile, flux density.
    wave_obs : Angstrom [spectrum, line]
        Centre on the axis of the spectra.
    ew, ew_err : Angstrom [spectrum, line]
        Rest frame, positive in emission.
    flux_direct : [spectrum, line]
        Sum of the data minus the local background within 3 sigma of the centre.
    snr : [spectrum, line]
        ``flux / flux_err``.
    upper_limit : [spectrum, line]
        3 times the error of the flux of a line at the fitted place and width.
    flags : [spectrum, line]
    group : [line]
        Which fit group a line is in.
    chi2, dof, bic, n_iter : [spectrum, group]
    background : flux density [spectrum, group, 2]
        Local linear background: value and slope (per Angstrom) at ``background_wave``.
    background_wave : Angstrom [group]
    sky
        That of the spectra.
    flux_cov : [spectrum, line, line]
        Covariance of the fluxes, on request.
    """

    names: tuple[str, ...]
    flux: Float[F64, "spectrum line"]
    flux_err: Float[F64, "spectrum line"]
    velocity: Float[F64, "spectrum line"]
    velocity_err: Float[F64, "spectrum line"]
    sigma: Float[F64, "spectrum line"]
    sigma_err: Float[F64, "spectrum line"]
    sigma_obs: Float[F64, "spectrum line"]
    amplitude: Float[F64, "spectrum line"]
    wave_obs: Float[F64, "spectrum line"]
    ew: Float[F64, "spectrum line"]
    ew_err: Float[F64, "spectrum line"]
    flux_direct: Float[F64, "spectrum line"]
    snr: Float[F64, "spectrum line"]
    upper_limit: Float[F64, "spectrum line"]
    flags: Int[I32, "spectrum line"]
    group: Int[I32, " line"]
    chi2: Float[F64, "spectrum group"]
    dof: Float[F64, "spectrum group"]
    bic: Float[F64, "spectrum group"]
    n_iter: Int[I32, "spectrum group"]
    background: Float[F64, "spectrum group 2"]
    background_wave: Float[F64, " group"]
    sky: Sky | None = None
    flux_cov: Float[F64, "spectrum line line"] | None = None

    def index(self, name: str) -> int:
        """Return the position of a line on the line axis.

        Raises
        ------
        InputError
            Where the line was not fitted.
        """
        if name not in self.names:
            raise InputError(f"the line {name} was not fitted; these were: {', '.join(self.names)}")
        return self.names.index(name)

    def take(self, rows: slice | NDArray[Any]) -> LineFit:
        """Return some of the rows."""
        return _take(self, rows)


FitT = TypeVar("FitT", ContinuumFit, LineFit)


def joined(parts: Sequence[FitT]) -> FitT:
    """Return the fits of successive rows as one."""
    first = parts[0]
    stacked: dict[str, Any] = {
        item.name: np.concatenate([getattr(part, item.name) for part in parts])
        for item in fields(first)
        if item.name not in _WITHOUT_ROWS and getattr(first, item.name) is not None
    }
    return replace(first, **stacked)


_WITHOUT_ROWS = {"core_wave", "names", "group", "background_wave", "sky"}


def _take(fit: FitT, rows: slice | NDArray[Any]) -> FitT:
    arrays = {item.name: getattr(fit, item.name) for item in fields(fit)}
    kept = {k: v[rows] for k, v in arrays.items() if k not in _WITHOUT_ROWS and v is not None}
    return replace(fit, **kept)
