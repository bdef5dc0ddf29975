"""Velocities and dispersions that a fit is told, in place of finding them."""

from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float

from betis import compute
from betis.arrays import B8, F64, Index
from betis.products import ContinuumFit, Spectra
from betis.wavelength import C_KMS

__all__ = ["Engine", "Kinematics", "held_bounds"]


class Kinematics(NamedTuple):
    """What the stars of each row move like; a row with NaN is fitted freely.

    Attributes
    ----------
    velocity, velocity_err, sigma, sigma_err : km/s [spectrum]
        As in `betis.products.ContinuumFit`.
    """

    velocity: Float[F64, " spectrum"]
    velocity_err: Float[F64, " spectrum"]
    sigma: Float[F64, " spectrum"]
    sigma_err: Float[F64, " spectrum"]

    @property
    def is_known(self) -> Bool[B8, " spectrum"]:
        """Rows whose velocity and dispersion are held."""
        return np.asarray(np.isfinite(self.velocity) & np.isfinite(self.sigma))

    def take(self, rows: slice | Index) -> "Kinematics":
        """Return some of the rows."""
        return Kinematics(*(values[rows] for values in self))


class Engine(Protocol):
    """Fits the continuum of some spectra, and tells how many have been finished."""

    def __call__(
        self,
        spectra: Spectra,
        progress: compute.Progress | None = None,
        kinematics: Kinematics | None = None,
    ) -> ContinuumFit:
        """Return the fit; velocity and dispersion are held where ``kinematics`` has them."""


def held_bounds(
    lower: Float[F64, " param"],
    upper: Float[F64, " param"],
    n_row: int,
    kinematics: Kinematics | None,
) -> tuple[Float[F64, "spectrum param"], Float[F64, "spectrum param"]]:
    """Return the bounds of each row; those of ``u, s2`` coincide where they are held.

    Parameters
    ----------
    lower, upper : [param]
        Of all rows: ``u = c ln(1 + v/c)`` (km/s), ``s2 = sigma^2``, and what else there is.
    n_row
        How many rows.
    kinematics
        What is held; it is put inside the bounds.
    """
    low, high = np.tile(lower, (n_row, 1)), np.tile(upper, (n_row, 1))
    if kinematics is not None:
        shift = C_KMS * np.log1p(kinematics.velocity / C_KMS)
        held = np.clip(np.stack([shift, kinematics.sigma**2], axis=1), lower[:2], upper[:2])
        known = kinematics.is_known[:, None]
        low[:, :2] = np.where(known, held, low[:, :2])
        high[:, :2] = np.where(known, held, high[:, :2])
    return low, high
