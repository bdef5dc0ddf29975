"""What the light of the templates says of the stars: mean ages and metallicities."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.products import Templates


class Means(NamedTuple):
    """Mean log10 age (yr) and log10 metallicity of each row, by light and by mass."""

    log_age_light: Float[F64, " spectrum"]
    log_age_mass: Float[F64, " spectrum"]
    metallicity_light: Float[F64, " spectrum"]
    metallicity_mass: Float[F64, " spectrum"]


def mean_populations(
    weights: Float[F64, "spectrum template"],
    templates: Templates,
    normalisation: Float[F64, " template"],
) -> Means:
    """Return the means over the templates; NaN for rows without light.

    By light: ``sum(w log t) / sum(w)``. By mass the same with the stellar mass that remains
    today, ``w / normalisation * mass_fraction``, in place of ``w``.

    Parameters
    ----------
    weights : [spectrum, template]
        Light at the normalisation wavelength.
    templates
        The base.
    normalisation : [template]
        Flux there per unit of initial mass.

    References
    ----------
    Cid Fernandes et al. 2005, MNRAS 358 363, eq. 2, 3 (with log Z in place of Z).
    """
    mass = weights / normalisation * templates.mass_fraction
    log_age = np.log10(templates.age)
    known = templates.metallicity > 0
    log_z = np.where(known, np.log10(np.where(known, templates.metallicity, 1.0)), np.nan)
    return Means(
        _mean(weights, log_age), _mean(mass, log_age), _mean(weights, log_z), _mean(mass, log_z)
    )


def _mean(
    shares: Float[F64, "spectrum template"], values: Float[F64, " template"]
) -> Float[F64, " spectrum"]:
    total = shares.sum(axis=1)
    is_lit = total > 0
    mean = shares @ values / np.where(is_lit, total, 1.0)
    return np.asarray(np.where(is_lit, mean, np.nan))
