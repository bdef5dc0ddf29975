"""From a cube as observed to a rest-frame one without Galactic extinction; nothing is resampled."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.errors import ConfigError
from betis.extinction import extinction_curve
from betis.io.dust_maps import reddening
from betis.options import PrepareOptions
from betis.products import Cube


def prepare(cube: Cube, options: PrepareOptions) -> Cube:
    """Return the cube in the rest frame, dereddened, with its sky windows marked.

    The axis is divided by 1+z and the flux density multiplied by it, so that integrated fluxes
    stay those observed; the Galactic extinction is removed at the observed wavelengths, unless
    the survey has done it already. Voxels are still read when they are asked for.

    Raises
    ------
    ConfigError
        Where no redshift is given, the cube is in the rest frame already, the law is unknown, or
        A_V cannot be had (see `galactic_av`).
    InputError
        Where a dust map is asked for and does not know the field.
    """
    if options.redshift is None:
        raise ConfigError("the redshift of the galaxy is not given; give it with -z (or redshift=)")
    if cube.redshift != 0.0 or cube.factor is not None:
        raise ConfigError("this cube is prepared already; give the cube as it was read")
    stretch = 1.0 + options.redshift
    av = galactic_av(cube, options)
    return replace(
        cube,
        wave=cube.wave / stretch,
        edges=cube.edges / stretch,
        lsf=cube.lsf / stretch,
        redshift=options.redshift,
        factor=stretch * dereddening(cube.wave, av, options),
        galactic_av=av,
        sky_window=in_windows(cube.wave, options.sky_windows),
    )


def galactic_av(cube: Cube, options: PrepareOptions) -> float:
    """Return the Galactic A_V (mag) towards a cube: as stated, from E(B-V), or from a dust map.

    A_V is ``r_v`` times E(B-V). A cube that the survey has dereddened has 0; see
    `extinction_warning`.

    Raises
    ------
    ConfigError
        Where two of ``av``, ``ebv`` and ``dust_map`` are given, or the map is not installed.
    InputError
        Where the cube has no celestial WCS, or lies outside the map.
    """
    require_one_extinction(options)
    if cube.dereddened:
        return 0.0
    if options.dust_map:
        return options.r_v * reddening(options.dust_map, cube.sky)
    return options.av if options.ebv is None else options.r_v * options.ebv


def require_one_extinction(options: PrepareOptions) -> None:
    """Check that the Galactic extinction is stated once, if at all.

    Raises
    ------
    ConfigError
        Where two of ``av``, ``ebv`` and ``dust_map`` are given.
    """
    given = _given(options)
    if len(given) > 1:
        raise ConfigError(
            f"the Galactic extinction is given twice, as {' and as '.join(given)}; keep one of "
            "--av, --ebv and --dust-map"
        )


def extinction_warning(cube: Cube, options: PrepareOptions) -> str:
    """Return what the user must hear of a correction that is not applied twice; "" for nothing."""
    given = _given(options)
    if not cube.dereddened or not given:
        return ""
    return (
        f"the survey has removed the Galactic extinction from this cube already, so "
        f"{' and '.join(given)} is not applied a second time."
    )


def dereddening(
    wave: Float[F64, " wave"], av: float, options: PrepareOptions
) -> Float[F64, " wave"]:
    """Return what flux at observed wavelengths (Angstrom) is multiplied by: 10^(0.4 A(wave))."""
    if av == 0:
        return np.ones_like(wave)
    curve = extinction_curve(options.law, wave, options.r_v)
    return np.asarray(10 ** (0.4 * av * curve))


def in_windows(
    wave: Float[F64, " wave"], windows: tuple[tuple[float, float], ...]
) -> Bool[B8, " wave"]:
    """Tell which wavelengths lie inside any of the windows ``(low, high)``."""
    inside = np.zeros(wave.shape, dtype=bool)
    for low, high in windows:
        inside |= (wave >= low) & (wave <= high)
    return inside


def _given(options: PrepareOptions) -> list[str]:
    stated = {
        f"A_V = {options.av:g} mag": options.av != 0,
        f"E(B-V) = {options.ebv or 0:g} mag": options.ebv is not None,
        f"the dust map {options.dust_map}": bool(options.dust_map),
    }
    return [text for text, said in stated.items() if said]
