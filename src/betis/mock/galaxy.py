"""The truth of a mock galaxy: an inclined disc with a bulge, H II regions and diffuse gas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.errors import ConfigError
from betis.extinction import extinction_curve
from betis.linelist import LineSet, load_line_set
from betis.mock.gas import Regions, diffuse_ratios, draw_regions, paint_regions, tie
from betis.mock.instruments import Setup
from betis.mock.options import MockOptions
from betis.mock.stars import CONTINUUM_WINDOWS, Components, make_components
from betis.mock.truth import Truth

DUST_LAW = "CCM89"

_INCLINATION, _POSITION_ANGLE = np.deg2rad(50.0), np.deg2rad(35.0)
_SCALE_LENGTH = 0.3
"""Of the disc, in units of the shorter side of the field."""
_CENTER = 200.0
"""Continuum at the centre beside H alpha, 1e-20 erg/s/cm²/Angstrom: 20 mag/arcsec²."""
_GAS_ROTATION, _STELLAR_ROTATION = 120.0, 100.0
"""Flat part of the rotation curves, as projected on the line of sight, km/s."""
_REGIONS_PER_SPAXEL = 0.02
_DIFFUSE_CENTER = 350.0
"""H alpha of the diffuse gas at the centre without dust, 1e-20 erg/s/cm²."""
_LINE_MARGIN = 25.0
"""A line nearer than this (Angstrom) to an end of the range is left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Galaxy:
    """A mock galaxy before it is observed.

    Attributes
    ----------
    options
    truth
        What is to be found.
    line_set
        The lines of ``truth``.
    components
        Stellar populations.
    weights : 1e-20 erg/s/cm²/Angstrom [component, y, x]
        Light of each component beside H alpha without dust, rest-frame density.
    regions
        H II regions.
    diffuse_fraction : [y, x]
        Share of H alpha that is diffuse.
    field : bool [y, x]
        False outside the field of view.
    """

    options: MockOptions
    truth: Truth
    line_set: LineSet
    components: Components
    weights: Float[F64, "component y x"]
    regions: Regions
    diffuse_fraction: Float[F64, "y x"]
    field: Bool[B8, "y x"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plane:
    """Where each spaxel lies in the plane of the disc, all ``[y, x]``.

    ``radius`` and ``major`` (along the major axis) are in scale lengths, ``azimuth`` in radians.
    """

    radius: Float[F64, "y x"]
    major: Float[F64, "y x"]
    azimuth: Float[F64, "y x"]


def make_galaxy(options: MockOptions | None = None) -> Galaxy:
    """Make a mock galaxy: all that there is to know of it, and no voxel yet.

    Raises
    ------
    ConfigError
        Where no emission line lies in the wavelength range.
    """
    chosen = options or MockOptions()
    line_set, plane = _lines_in_range(chosen), _plane(chosen.shape)
    components, weights = make_components(), _weights(plane)
    rng = np.random.default_rng([chosen.seed, 0])
    regions = draw_regions(rng, _region_density(plane), plane.radius, line_set)
    bright, diffuse = _gas(regions, plane)
    field = _field_of_view(chosen.shape)
    maps = _stellar_maps(plane, components, weights) | _gas_maps(plane, bright, diffuse)
    maps["flux"] = chosen.line_brightness * _line_fluxes(
        paint_regions(regions, chosen.shape), diffuse, maps["gas_av"], line_set
    )
    blanked = {name: np.where(field, values, np.nan) for name, values in maps.items()}
    return Galaxy(
        options=chosen,
        truth=Truth(
            names=line_set.names, redshift=chosen.redshift, av=_extinction_left(chosen), **blanked
        ),
        line_set=line_set,
        components=components,
        weights=weights,
        regions=regions,
        diffuse_fraction=diffuse / (bright + diffuse),
        field=field,
    )


def _lines_in_range(options: MockOptions) -> LineSet:
    """Return the emission lines of the standard set that the cubes cover."""
    emission = load_line_set("standard").emission()
    names = {name for setup in options.setups for name in _inside(emission, setup, options)}
    if not names:
        ranges = " and ".join(f"{s.wave[0]:g}-{s.wave[-1]:g}" for s in options.setups)
        raise ConfigError(
            f"no emission line lies in {ranges} Angstrom at redshift {options.redshift:g}; widen "
            "the range of the mock galaxy"
        )
    return emission.select(names)


def _inside(lines: LineSet, setup: Setup, options: MockOptions) -> list[str]:
    observed = (1 + options.redshift) * lines.waves(setup.medium, options.redshift)
    low, high = setup.wave[0] + _LINE_MARGIN, setup.wave[-1] - _LINE_MARGIN
    pairs = zip(lines.names, observed, strict=True)
    return [name for name, wave in pairs if low <= wave <= high]


def _extinction_left(options: MockOptions) -> float:
    """Return the Galactic A_V (mag) that the cubes still have."""
    return 0.0 if all(setup.dereddened for setup in options.setups) else options.av


def _plane(shape: tuple[int, int]) -> _Plane:
    y, x = np.indices(shape) - (np.array(shape)[:, None, None] - 1) / 2
    cosine, sine = np.cos(_POSITION_ANGLE), np.sin(_POSITION_ANGLE)
    scale = _SCALE_LENGTH * min(shape)
    major = (cosine * x + sine * y) / scale
    minor = (cosine * y - sine * x) / (scale * np.cos(_INCLINATION))
    return _Plane(
        radius=np.hypot(major, minor), major=major, azimuth=np.asarray(np.arctan2(minor, major))
    )


def _field_of_view(shape: tuple[int, int]) -> Bool[B8, "y x"]:
    """Cut two opposite corners and one column, as the edge of a rotated field does."""
    y, x = np.indices(shape)
    cut = max(2, min(shape) // 10)
    from_far_corner = (shape[0] - 1 - y) + (shape[1] - 1 - x)
    return np.asarray((y + x >= cut) & (from_far_corner >= cut) & (x > 0))


def _rotation(plane: _Plane, flat: float, turnover: float) -> Float[F64, "y x"]:
    """Return the projected velocity (km/s) of a curve ``flat x tanh(radius / turnover)``."""
    radius = np.maximum(plane.radius, 1e-6)
    return np.asarray(flat * np.tanh(radius / turnover) * plane.major / radius)


def _stellar_maps(
    plane: _Plane, components: Components, weights: Float[F64, "component y x"]
) -> dict[str, Float[F64, "y x"]]:
    """Return the maps of `Truth` that are of the stars."""
    av = 0.44 * _gas_av(plane)
    rest = np.mean(CONTINUUM_WINDOWS)
    dust = 10 ** (-0.4 * av * extinction_curve(DUST_LAW, np.array([rest]))[0])
    light = weights.sum(axis=0)
    return {
        "stellar_velocity": _rotation(plane, _STELLAR_ROTATION, 1.0),
        "stellar_sigma": 50.0 + 60.0 * np.exp(-plane.radius),
        "stellar_av": av,
        "continuum": light * dust,
        "mean_log_age": np.tensordot(components.mean_log_age, weights, 1) / light,
    }


def _gas_maps(
    plane: _Plane, bright: Float[F64, "y x"], diffuse: Float[F64, "y x"]
) -> dict[str, Float[F64, "y x"]]:
    """Return the maps of `Truth` that are of the gas, but its fluxes."""
    fraction = diffuse / (bright + diffuse)
    return {
        "velocity": _rotation(plane, _GAS_ROTATION, 0.8),
        "sigma": 25.0 + 20.0 * fraction,
        "gas_av": _gas_av(plane),
    }


def _gas_av(plane: _Plane) -> Float[F64, "y x"]:
    """Return A_V (mag) before the gas; the stars have 0.44 of it.

    References
    ----------
    Calzetti et al. 2000, ApJ 533 682, eq. 3.
    """
    return np.asarray(0.2 + 0.8 * np.exp(-plane.radius))


def _weights(plane: _Plane) -> Float[F64, "component y x"]:
    """Return the light of bulge, old disc and young disc beside H alpha."""
    bulge = 0.4 * np.exp(-plane.radius / 0.2)
    old = 0.42 * np.exp(-plane.radius)
    young = 0.18 * np.exp(-plane.radius / 1.3)
    return _CENTER * np.array([bulge, old, young])


def _region_density(plane: _Plane) -> Float[F64, "y x"]:
    """Return how many H II regions a spaxel has on average: two arms, fading outwards."""
    arms = 1 + 0.9 * np.cos(2 * (plane.azimuth - 2.5 * np.log(plane.radius + 0.2)))
    density = arms * np.exp(-0.5 * plane.radius)
    return np.asarray(_REGIONS_PER_SPAXEL * density / density.mean())


def _gas(regions: Regions, plane: _Plane) -> tuple[Float[F64, "y x"], Float[F64, "y x"]]:
    """Return H alpha without dust, of the H II regions and of the diffuse gas."""
    alone = replace(regions, ratios=np.ones((regions.luminosity.size, 1)))
    diffuse = _DIFFUSE_CENTER * np.exp(-plane.radius / 1.3)
    return paint_regions(alone, plane.radius.shape)[0], diffuse


def _line_fluxes(
    bright: Float[F64, "line y x"],
    diffuse: Float[F64, "y x"],
    av: Float[F64, "y x"],
    line_set: LineSet,
) -> Float[F64, "line y x"]:
    """Add the diffuse gas to the H II regions, and put the dust before both."""
    flux = bright + diffuse_ratios(line_set)[:, None, None] * diffuse
    curve = extinction_curve(DUST_LAW, np.array([line.vacuum for line in line_set.lines]))
    return tie(flux * 10 ** (-0.4 * curve[:, None, None] * av), line_set)
