"""Bases of stellar populations."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float

from betis.arrays import F64, Brief
from betis.wavelength import Medium


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Templates(Brief):
    """A base of stellar populations.

    Attributes
    ----------
    wave : Angstrom [wave]
    flux : [template, wave]
        Lsun/Angstrom per Msun of initial mass where the base gives it.
    age : yr [template]
    metallicity : [template]
        Mass fraction Z.
    mass_fraction : [template]
        Stellar mass that remains, per initial mass; 1 where unknown.
    medium
        "air" or "vacuum".
    fwhm : Angstrom [wave]
        Resolution of the templates.
    name, source
        What to call it and whom to cite.
    """

    wave: Float[F64, " wave"]
    flux: Float[F64, "template wave"]
    age: Float[F64, " template"]
    metallicity: Float[F64, " template"]
    mass_fraction: Float[F64, " template"]
    medium: Medium
    fwhm: Float[F64, " wave"]
    name: str = ""
    source: str = ""

    @property
    def n_template(self) -> int:
        """How many templates there are."""
        return int(self.flux.shape[0])
