"""From a cube as observed to a rest-frame one without Galactic extinction; nothing is resampled."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.errors import ConfigError
from betis.extinction import extinction_curve
from betis.options import PrepareOptions
from betis.products import Cube


def prepare(cube: Cube, options: PrepareOptions) -> Cube:
    """Return the cube in the rest frame, dereddened, with its sky windows marked.

    The axis is divided by 1+z and the flux density multiplied by it, so that integrated fluxes
    stay those observed; the Galactic extinction is removed at the observed wavelengths. Voxels
    are still read when they are asked for.

    Raises
    ------
    ConfigError
        Where no redshift is given, the cube is in the rest frame already, or the law is unknown.
    """
    if options.redshift is None:
        raise ConfigError("the redshift of the galaxy is not given; give it with -z (or redshift=)")
    if cube.redshift != 0.0 or cube.factor is not None:
        raise ConfigError("this cube is prepared already; give the cube as it was read")
    stretch = 1.0 + options.redshift
    return replace(
        cube,
        wave=cube.wave / stretch,
        edges=cube.edges / stretch,
        lsf=cube.lsf / stretch,
        redshift=options.redshift,
        factor=stretch * dereddening(cube.wave, options),
        sky_window=in_windows(cube.wave, options.sky_windows),
    )


def dereddening(wave: Float[F64, " wave"], options: PrepareOptions) -> Float[F64, " wave"]:
    """Return what flux at observed wavelengths (Angstrom) is multiplied by: 10^(0.4 A(wave))."""
    if options.av == 0:
        return np.ones_like(wave)
    curve = extinction_curve(options.law, wave, options.r_v)
    return np.asarray(10 ** (0.4 * options.av * curve))


def in_windows(
    wave: Float[F64, " wave"], windows: tuple[tuple[float, float], ...]
) -> Bool[B8, " wave"]:
    """Tell which wavelengths lie inside any of the windows ``(low, high)``."""
    inside = np.zeros(wave.shape, dtype=bool)
    for low, high in windows:
        inside |= (wave >= low) & (wave <= high)
    return inside
