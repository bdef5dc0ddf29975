"""Extinction laws, all of them those of the package dust_extinction."""

import inspect
from typing import Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import ConfigError

R_V_MILKY_WAY = 3.1


def law_names() -> tuple[str, ...]:
    """Return the names of the laws that depend on R(V) and reach the optical."""
    import dust_extinction.parameter_averages as laws

    names = (name for name, law in vars(laws).items() if inspect.isclass(law))
    return tuple(sorted(name for name in names if _is_usable(getattr(laws, name))))


def extinction_curve(
    law: str, wave: Float[F64, " wave"], r_v: float = R_V_MILKY_WAY
) -> Float[F64, " wave"]:
    """Return A(wave)/A(V) of an extinction law.

    Parameters
    ----------
    law
        Name of a class of `dust_extinction.parameter_averages`: "F99", "CCM89", "O94", "G23" ...
    wave : Angstrom
        In the frame of the dust.
    r_v
        A(V) / E(B-V).

    Raises
    ------
    ConfigError
        Where the law is unknown, or does not cover ``wave`` or ``r_v``.
    """
    import astropy.units as u
    import dust_extinction.parameter_averages as laws

    if law not in law_names():
        raise ConfigError(
            f"the extinction law {law!r} is unknown; expected one of {', '.join(law_names())}"
        )
    try:
        return np.asarray(getattr(laws, law)(Rv=r_v)(np.asarray(wave) * u.AA), dtype=float)
    except ValueError as error:
        raise ConfigError(f"the extinction law {law} with R_V = {r_v}: {error}") from error


def _is_usable(law: Any) -> bool:
    x_range = getattr(law, "x_range", None)
    has_r_v = getattr(law, "Rv_range", None) is not None
    return has_r_v and x_range is not None and x_range[0] <= 1.0 and x_range[1] >= 1 / 0.35
