"""Stellar populations of a mock galaxy: mixtures of the shipped base."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.io.templates import load_templates
from betis.products import Templates

CONTINUUM_WINDOWS = ((6480.0, 6530.0), (6600.0, 6650.0))
"""Rest wavelengths (vacuum, Angstrom) beside H alpha where the continuum level is taken."""

_GYR = 1e9
_RANGES = {
    "bulge": (6 * _GYR, 13 * _GYR, 0.02),
    "old disc": (0.9 * _GYR, 10.1 * _GYR, 0.02),
    "young disc": (3e6, 0.3 * _GYR, 0.008),
}
"""Youngest and oldest age (yr) and metallicity (Z) of each component."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Components:
    """The stellar populations that are mixed in each spaxel.

    Attributes
    ----------
    wave : Angstrom [wave]
        Rest frame, vacuum.
    flux : [component, wave]
        Mean 1 in `CONTINUUM_WINDOWS`.
    fwhm : Angstrom [wave]
        Resolution.
    mean_log_age : log10 yr [component]
        Weighted by the light in `CONTINUUM_WINDOWS`.
    """

    wave: Float[F64, " wave"]
    flux: Float[F64, "component wave"]
    fwhm: Float[F64, " wave"]
    mean_log_age: Float[F64, " component"]


def make_components() -> Components:
    """Mix the shipped base into bulge, old disc and young disc.

    Within a component the star formation rate is constant: mass goes with the age step.
    """
    base = load_templates("bpass")
    beside = in_continuum_windows(base.wave)
    light = base.flux[:, beside].mean(axis=1)
    masses = np.array([_masses(base, *limits) for limits in _RANGES.values()])
    share = masses * light / (masses @ light)[:, None]
    return Components(
        wave=base.wave,
        flux=(masses / (masses @ light)[:, None]) @ base.flux,
        fwhm=base.fwhm,
        mean_log_age=share @ np.log10(base.age),
    )


def in_continuum_windows(wave: Float[F64, " wave"]) -> Bool[B8, " wave"]:
    """Tell which rest wavelengths (vacuum, Angstrom) are beside H alpha."""
    inside = [(wave >= low) & (wave <= high) for low, high in CONTINUUM_WINDOWS]
    return np.asarray(np.logical_or.reduce(inside))


def _masses(
    base: Templates, youngest: float, oldest: float, metallicity: float
) -> Float[F64, " template"]:
    """Return the mass of each template: that formed in its age step at a constant rate."""
    of_metallicity = np.isclose(base.metallicity, metallicity)
    mass = np.zeros(base.n_template)
    mass[of_metallicity] = np.gradient(base.age[of_metallicity])
    return np.where((base.age >= youngest) & (base.age <= oldest), mass, 0.0)
