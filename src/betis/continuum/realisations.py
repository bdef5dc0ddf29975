"""Errors of mean ages and metallicities: fits to noise added to the best model."""

from dataclasses import replace
from zlib import crc32

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.continuum.populations import mean_populations
from betis.continuum.results import light_of
from betis.continuum.rows import Rows, Setup, follow_rows
from betis.continuum.templates import PreparedBase
from betis.options import ContinuumOptions
from betis.products import Templates


def population_errors(
    rows: Rows, setup: Setup, base: PreparedBase, templates: Templates, options: ContinuumOptions
) -> dict[str, Float[F64, " spectrum"]]:
    """Return the standard deviations (dex) of the means over noise realisations.

    Each realisation is the best model with noise of the stated errors on it, fitted from the best
    point. Its noise is drawn from the seed and the data of the row, so that it depends on no other
    row. Empty where no realisations are asked for.

    Parameters
    ----------
    rows
        Fitted.
    setup, base, templates
        What they were fitted with.
    options
        Of which the number of realisations and their seed are used.
    """
    if options.realisations == 0:
        return {}
    found = []
    noises = [_generator(row, options.seed) for row in rows.flux]
    for _ in range(options.realisations):
        noise = np.stack([rng.normal(size=rows.flux.shape[1]) for rng in noises])
        trial = _with_noise(rows, noise)
        follow_rows(trial, rows.fitted, setup)
        light = light_of(trial, base, options.moments)
        found.append(mean_populations(light, templates, base.normalisation))
    names = found[0]._fields
    return {
        f"mean_{name}_err": np.std([getattr(means, name) for means in found], axis=0, ddof=1)
        if len(found) > 1
        else np.full(len(rows.flux), np.nan)
        for name in names
    }


def _generator(flux: Float[F64, " wave"], seed: int) -> np.random.Generator:
    """Return the noise of a row: the order of its pixels is the same in any unit of flux."""
    return np.random.default_rng([seed, crc32(np.argsort(flux, kind="stable").tobytes())])


def _with_noise(rows: Rows, noise: Float[F64, "spectrum wave"]) -> Rows:
    """Return rows at the same point whose data are their models with noise."""
    used = rows.used & np.isfinite(rows.model)
    inverse = np.where(used, rows.weight, 1.0)
    return replace(
        rows,
        flux=np.where(used, rows.model + noise / inverse, rows.flux),
        params=rows.params.copy(),
        light=rows.light.copy(),
        model=rows.model.copy(),
        converged=rows.converged.copy(),
    )
