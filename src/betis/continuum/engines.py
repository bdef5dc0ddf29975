"""The engines that fit a continuum, by the names that the option has for them."""

from collections.abc import Callable

from jaxtyping import Float

from betis.arrays import F64
from betis.continuum.fit import no_continuum, template_engine
from betis.continuum.kinematics import Engine
from betis.continuum.polynomial import polynomial_engine
from betis.continuum.ppxf import ppxf_engine
from betis.errors import ConfigError
from betis.options import ContinuumOptions
from betis.products import SpectraRows, Templates

__all__ = ["HAVE_STARS", "NEED_BASE", "check_kinematics", "continuum_engine"]

_StarEngine = Callable[..., Engine]

_WITH_BASE: dict[str, _StarEngine] = {"templates": template_engine, "ppxf": ppxf_engine}

NEED_BASE = tuple(_WITH_BASE)
"""Engines that fit the templates of betis."""

HAVE_STARS = ("templates", "ppxf", "starlight")
"""Engines that know of velocities, dispersions and populations."""


def continuum_engine(
    axis: SpectraRows,
    options: ContinuumOptions,
    *,
    base: Callable[[], Templates],
    dust: Callable[[], Float[F64, " wave"]],
    line_waves: Float[F64, " line"],
) -> Engine:
    """Return the engine that the options name, ready for spectra on an axis.

    Parameters
    ----------
    axis
        Of which only the wavelengths and what belongs to them are used.
    options
        Which engine, and how it fits.
    base, dust
        Give the stellar base and A(wave)/A(V) at ``axis.wave``; called by engines that need them.
    line_waves : Angstrom [line]
        Emission lines on the axis.

    Raises
    ------
    ConfigError
        Where the engine is unknown here, lacks its package, or an option is not for it.
    InputError, FitError
        Where base and spectra cannot be brought together.
    """
    check_kinematics(options)
    if options.engine in _WITH_BASE:
        make = _WITH_BASE[options.engine]
        return make(axis, base(), options, dust=dust(), line_waves=line_waves)
    if options.engine == "polynomial":
        return polynomial_engine(axis, options, line_waves=line_waves)
    if options.engine == "none":
        return no_continuum
    raise ConfigError(
        f"the continuum engine is {options.engine!r}, where one of "
        f"{', '.join([*_WITH_BASE, 'polynomial', 'none'])} was expected; choose one of these"
    )


def check_kinematics(options: ContinuumOptions) -> None:
    """Refuse the kinematics of neighbourhoods for engines that cannot hold them.

    Raises
    ------
    ConfigError
        Where they are asked for.
    """
    if options.kinematics == "coarse" and options.engine not in _WITH_BASE:
        raise ConfigError(
            f"continuum.kinematics is 'coarse' with the engine {options.engine!r}, which cannot "
            f"hold a velocity; set it to 'bin', or choose the engine {' or '.join(_WITH_BASE)}"
        )
