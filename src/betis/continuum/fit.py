"""The native continuum engine: templates, one dust screen, a Gaussian velocity distribution."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from betis import compute
from betis.arrays import F64
from betis.continuum.cores import contrasts
from betis.continuum.kinematics import Engine, Kinematics
from betis.continuum.pixels import usable_pixels
from betis.continuum.realisations import population_errors
from betis.continuum.results import assemble, with_held
from betis.continuum.rows import begin, fit_rows, limits_of, make_setup
from betis.continuum.smoothness import unevenness
from betis.continuum.templates import Range, Shape, prepare_base
from betis.errors import InputError
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, SpectraRows, Templates
from betis.products.fits import joined

__all__ = ["Engine", "Kinematics", "fit_all", "no_continuum", "template_engine"]


def fit_all(
    engine: Engine, spectra: Spectra, progress: compute.Progress | None = None
) -> ContinuumFit:
    """Fit the continuum of spectra in memory, a block of rows at a time.

    Raises
    ------
    InputError
        Where there is no spectrum.
    """
    if spectra.n_spectrum < 1:
        raise InputError("there is no spectrum to fit; give at least one row")
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
    """Prepare a base once, and return what fits it, broadened, shifted and reddened, to spectra.

    Parameters
    ----------
    axis
        Of the spectra, which are in the rest frame and fitted on their own pixels; only its
        wavelengths and what belongs to them are used.
    templates
        The base.
    options
        Bounds, masks and clipping.
    dust : [wave]
        A(wave)/A(V) at ``axis.wave``.
    line_waves : Angstrom [line]
        Where emission lines lie on ``axis.wave``; ``options.mask_width`` (km/s) to either
        side is left out if ``options.mask_lines``.

    Returns
    -------
    An engine. A row with fewer than 50 usable pixels is NaN and flagged. A row in which the base
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
    blank = axis.take(slice(0))
    bounds = Range(options.max_velocity, options.max_sigma, options.min_av, options.max_av)
    penalty = unevenness(templates, options.regularisation)
    shape = Shape(options.multiplicative, options.additive, penalty)
    base = prepare_base(templates, blank, dust, bounds, shape)
    usable = usable_pixels(blank, base.covered, options, line_waves)
    cores = contrasts(blank, line_waves if options.mask_lines else np.empty(0), usable)
    setup = make_setup(base.grid, limits_of(options, shape), cores.shares, options.moments)

    def fit(
        spectra: Spectra,
        progress: compute.Progress | None = None,
        kinematics: Kinematics | None = None,
    ) -> ContinuumFit:
        rows = begin(spectra, usable, setup, templates.n_template, kinematics)
        fit_rows(rows, setup, spectra.mask | ~usable, options.clip, progress)
        result = assemble(rows, base, templates, cores.wave, options.moments)
        errors: dict[str, Any] = population_errors(rows, setup, base, templates, options)
        result = replace(result, **errors)
        return result if kinematics is None else with_held(result, kinematics)

    return fit


def no_continuum(
    spectra: Spectra,
    progress: compute.Progress | None = None,
    kinematics: Kinematics | None = None,  # noqa: ARG001  # an engine
) -> ContinuumFit:
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
