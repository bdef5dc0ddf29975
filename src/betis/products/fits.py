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

NOT_ALWAYS_FITTED = (
    *("h3", "h3_err", "h4", "h4_err", "mean_log_age_light_err", "mean_log_age_mass_err"),
    *("mean_metallicity_light_err", "mean_metallicity_mass_err"),
)
"""Fields of `ContinuumFit` that are NaN unless asked for; files of before lack them."""


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
    h3, h3_err, h4, h4_err : [spectrum]
        Gauss-Hermite moments of the velocity distribution; NaN where they were not fitted.
    mean_log_age_light_err, mean_log_age_mass_err : dex [spectrum]
    mean_metallicity_light_err, mean_metallicity_mass_err : dex [spectrum]
        From noise realisations; NaN where there were none.
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
    h3: Float[F64, " spectrum"] = None  # type: ignore[assignment]  # filled below
    h3_err: Float[F64, " spectrum"] = None  # type: ignore[assignment]  # filled below
    h4: Float[F64, " spectrum"] = None  # type: ignore[assignment]  # filled below
    h4_err: Float[F64, " spectrum"] = None  # type: ignore[assignment]  # filled below
    mean_log_age_light_err: Float[F64, " spectrum"] = None  # type: ignore[assignment]  # as above
    mean_log_age_mass_err: Float[F64, " spectrum"] = None  # type: ignore[assignment]  # as above
    mean_metallicity_light_err: Float[F64, " spectrum"] = None  # type: ignore[assignment]  # too
    mean_metallicity_mass_err: Float[F64, " spectrum"] = None  # type: ignore[assignment]  # too

    def __post_init__(self) -> None:
        """Give what is not known its rows: cores none, all else NaN."""
        for name in NOT_ALWAYS_FITTED:
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(self.flags.size, np.nan))
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
    flux_direct, flux_direct_err : flux scale x Angstrom [spectrum, line]
        Sum of the data, minus the local background and the models of the other lines, within 3
        sigma of the centre.
    velocity_direct, velocity_direct_err : km/s [spectrum, line]
        First moment of the same data. NaN, as the following, below a S/N of 5.
    sigma_direct, sigma_direct_err : km/s [spectrum, line]
        Root of the second central moment of the same data, times what a Gaussian has beyond 3
        sigma, without the line-spread function.
    w80, w80_err : km/s [spectrum, line]
        Width that holds the middle 80 % of the flux within 5 sigma, without the line-spread
        function; of a Gaussian, 2.563 sigma.
    snr : [spectrum, line]
        ``flux / flux_err``.
    flux_fixed : flux scale x Angstrom [spectrum, line]
        Flux, of either sign, at the place and width of the spectrum's detected lines.
    snr_fixed : [spectrum, line]
        ``flux_fixed`` over its error: normal, of mean 0 and unit width, where there is no line.
    upper_limit : flux scale x Angstrom [spectrum, line]
        3 times the error of ``flux_fixed``.
    flags : [spectrum, line]
    group : [line]
        Which fit group a line is in.
    chi2, dof, bic, n_iter : [spectrum, group]
    scatter : [spectrum, group]
        Robust scatter of the residual in units of the errors of the data: 1.4826 times the median
        absolute one, for as many degrees of freedom; 1 where model and errors are right.
    background : flux density [spectrum, group, 2]
        Local linear background: value and slope (per Angstrom) at ``background_wave``.
    background_wave : Angstrom [group]
    sky
        That of the spectra.
    flux_cov : (flux scale x Angstrom)² [spectrum, line, line]
        Covariance of the fluxes, on request: its diagonal is the square of ``flux_err``; 0 between
        lines of different groups, NaN where a flux is.

    What may be left out when a fit is made by hand is NaN then.
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
    flux_direct_err: Float[F64, "spectrum line"] = None  # type: ignore[assignment]  # filled below
    velocity_direct: Float[F64, "spectrum line"] = None  # type: ignore[assignment]
    velocity_direct_err: Float[F64, "spectrum line"] = None  # type: ignore[assignment]
    sigma_direct: Float[F64, "spectrum line"] = None  # type: ignore[assignment]
    sigma_direct_err: Float[F64, "spectrum line"] = None  # type: ignore[assignment]
    w80: Float[F64, "spectrum line"] = None  # type: ignore[assignment]
    w80_err: Float[F64, "spectrum line"] = None  # type: ignore[assignment]
    flux_fixed: Float[F64, "spectrum line"] = None  # type: ignore[assignment]
    snr_fixed: Float[F64, "spectrum line"] = None  # type: ignore[assignment]
    scatter: Float[F64, "spectrum group"] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Give what was not measured its NaN."""
        for item in fields(self):
            if item.name not in _OPTIONAL and getattr(self, item.name) is None:
                like = self.chi2 if item.name == "scatter" else self.flux
                object.__setattr__(self, item.name, np.full(like.shape, np.nan))

    @property
    def n_spectrum(self) -> int:
        """How many rows there are."""
        return len(self.flux)

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


_OPTIONAL = {"sky", "flux_cov"}
_WITHOUT_ROWS = {"core_wave", "names", "group", "background_wave", "sky"}


def _take(fit: FitT, rows: slice | NDArray[Any]) -> FitT:
    arrays = {item.name: getattr(fit, item.name) for item in fields(fit)}
    kept = {k: v[rows] for k, v in arrays.items() if k not in _WITHOUT_ROWS and v is not None}
    return replace(fit, **kept)
