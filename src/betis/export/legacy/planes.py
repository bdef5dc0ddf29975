"""The 41 planes of the BETIS scripts' line files, from the lines of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betis.arrays import F64, Index
from betis.export.files import observed_sigma_err
from betis.linelist import LineSet
from betis.products import LineFit
from betis.wavelength import C_KMS

__all__ = ["N_PLANE", "Planes", "fill_planes"]

N_PLANE = 41
SCALE = 1e-20
"""erg/s/cm² of 1 in the files of the scripts."""
_SQRT_2PI = float(np.sqrt(2 * np.pi))


@dataclass(frozen=True, kw_only=True, eq=False)
class Planes:
    """What the scripts store of each line; ``[bin, plane]``, NaN where it was not measured.

    Fluxes are in 1e-20 erg/s/cm², amplitudes and the scatter of the residual in 1e-20
    erg/s/cm²/Angstrom, velocities in km/s, wavelengths (air) and dispersions in Angstrom at rest.

    Attributes
    ----------
    cards
        What the scripts call each plane.
    """

    cards: tuple[str, ...]
    flux: Float[F64, "bin plane"]
    flux_err: Float[F64, "bin plane"]
    velocity: Float[F64, "bin plane"]
    velocity_err: Float[F64, "bin plane"]
    amplitude: Float[F64, "bin plane"]
    amplitude_err: Float[F64, "bin plane"]
    wave: Float[F64, "bin plane"]
    wave_err: Float[F64, "bin plane"]
    sigma: Float[F64, "bin plane"]
    sigma_err: Float[F64, "bin plane"]
    scatter: Float[F64, "bin plane"]
    flux_direct: Float[F64, "bin plane"]
    ew: Float[F64, "bin plane"]
    ew_err: Float[F64, "bin plane"]

    @property
    def parameters(self) -> Float[F64, "bin 3*plane"]:
        """LINEPARS: amplitude, wavelength and sigma of one plane after the other."""
        return _interleaved([self.amplitude, self.wave, self.sigma])

    @property
    def parameter_errors(self) -> Float[F64, "bin 4*plane"]:
        """ELINEPARS: their errors and the scatter of the residual."""
        errors = [self.amplitude_err, self.wave_err, self.sigma_err, self.scatter]
        return _interleaved(errors)


def fill_planes(
    lines: LineFit, planes: LineSet, noise: Float[F64, "bin line"], factor: float
) -> Planes:
    """Return the planes of a fit: all that it has, whatever its line set.

    The two lines of a doublet that share a plane make one, their sum, at the place of the first;
    the amplitude is that of one Gaussian of the sum and the width.

    Parameters
    ----------
    lines
        ``[bin, line]``.
    planes
        The set `betis41`, which knows the planes.
    noise : flux density [bin, line]
        Median error of the data near each line.
    factor
        What fluxes are multiplied by to be in 1e-20 erg/s/cm².
    """
    members = _members(lines, planes)
    air = {line.name: line.air for line in planes.lines}
    n_bin = len(lines.flux)
    measured = [_plane(lines, noise, factor, here, air) for here in members.values()]
    blank = np.full(n_bin, np.nan)
    values = {
        name: np.stack([plane.get(name, blank) for plane in measured], axis=1) for name in _NAMES
    }
    return Planes(cards=_cards(planes), **values)


_NAMES = (
    "flux", "flux_err", "velocity", "velocity_err", "amplitude", "amplitude_err", "wave",
    "wave_err", "sigma", "sigma_err", "scatter", "flux_direct", "ew", "ew_err",
)  # fmt: skip


def _cards(planes: LineSet) -> tuple[str, ...]:
    known = {line.plane: line.card for line in planes.lines}
    return tuple(known[number] for number in range(1, N_PLANE + 1))


def _members(lines: LineFit, planes: LineSet) -> Mapping[int, Sequence[int]]:
    """Return which lines of the fit make each plane, from 1 to 41."""
    place = {name: index for index, name in enumerate(lines.names)}
    members: dict[int, list[int]] = {number: [] for number in range(1, N_PLANE + 1)}
    for line in planes.lines:
        if line.plane and line.name in place:
            members[line.plane].append(place[line.name])
    return members


def _plane(
    lines: LineFit,
    noise: Float[F64, "bin line"],
    factor: float,
    members: Sequence[int],
    air: Mapping[str, float],
) -> dict[str, F64]:
    """Return what is known of one plane; nothing of one that was not fitted."""
    if not members:
        return {}
    first, every = members[0], np.asarray(members)
    place, sigma = air[lines.names[first]], lines.sigma_obs[:, first]
    flux = lines.flux[:, every].sum(axis=1) * factor
    flux_err = _error_of_sum(lines, every) * factor
    wide = _SQRT_2PI * np.where(sigma > 0, sigma, np.nan)
    velocity, velocity_err = lines.velocity[:, first], lines.velocity_err[:, first]
    observed = C_KMS * sigma / lines.wave_obs[:, first]
    sigma_err = observed_sigma_err(lines.sigma[:, first], lines.sigma_err[:, first], observed)
    return {
        "flux": flux,
        "flux_err": flux_err,
        "velocity": velocity,
        "velocity_err": velocity_err,
        # Of one Gaussian, whose relative errors of amplitude and flux are the same.
        "amplitude": flux / wide,
        "amplitude_err": flux_err / wide,
        "wave": place * (1 + velocity / C_KMS),
        "wave_err": place * velocity_err / C_KMS,
        "sigma": sigma,
        "sigma_err": sigma_err * place / C_KMS,
        "scatter": lines.scatter[:, lines.group[first]] * noise[:, first] * factor,
        "flux_direct": lines.flux_direct[:, every].sum(axis=1) * factor,
        "ew": lines.ew[:, every].sum(axis=1),
        "ew_err": np.sqrt(np.sum(lines.ew_err[:, every] ** 2, axis=1)),
    }


def _error_of_sum(lines: LineFit, members: Index) -> Float[F64, " bin"]:
    """Return the error of a sum of fluxes, with their covariance where the run has kept it."""
    if lines.flux_cov is None:
        return np.asarray(np.sqrt(np.sum(lines.flux_err[:, members] ** 2, axis=1)))
    covariance = lines.flux_cov[:, members[:, None], members].sum(axis=(1, 2))
    return np.asarray(np.sqrt(np.maximum(covariance, 0.0)))


def _interleaved(values: Sequence[F64]) -> F64:
    return np.stack(values, axis=2).reshape(len(values[0]), -1)
