"""The base list of STARLIGHT, and the spectra that it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError

__all__ = ["Component", "base_text", "parse_base", "spectrum_text"]


class Component(NamedTuple):
    """A row of a base list: age in yr, Z, what it is called, and the share of mass that remains."""

    file: str
    age: float
    metallicity: float
    code: str
    mass_fraction: float


def base_text(components: Sequence[Component]) -> str:
    """Return a base list, in the columns of those that come with STARLIGHT."""
    widest = max(len(component.file) for component in components)
    rows = [
        f"{file:<{widest}}  {age / 1e9:11.5f}e9  {metallicity:11.5f}     {code:<16s}"
        f"{mass_fraction:7.4f}     0     0.0000"
        for file, age, metallicity, code, mass_fraction in components
    ]
    return "\n".join([f" {len(components):<14d}[N_base]", *rows, ""])


def parse_base(text: str, name: str = "the base list") -> list[Component]:
    """Return the components of a base list.

    Raises
    ------
    InputError
        Where it has fewer rows than it announces, or a row is not what it should be.
    """
    lines = text.splitlines()
    try:
        count = int(lines[0].split()[0])
        rows = [row for row in map(str.split, lines[1:]) if row and not row[0].startswith("#")]
        if len(rows) < count or count < 1:
            raise ValueError(f"{count} spectra are announced and {len(rows)} are named")
        return [
            Component(row[0], float(row[1]), float(row[2]), row[3], float(row[4]))
            for row in rows[:count]
        ]
    except (ValueError, IndexError) as error:
        raise InputError(f"{name} is no base list of STARLIGHT: {error}; correct it") from error


def spectrum_text(wave: Float[F64, " wave"], flux: Float[F64, " wave"]) -> str:
    """Return the spectrum of a component: wavelength (Angstrom, air) and Lsun/Angstrom/Msun."""
    return "".join(f"{w:12.3f}  {f:.6E}\n" for w, f in zip(wave, np.asarray(flux), strict=True))
