"""The truth of a mock galaxy, spaxel by spaxel, and its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError

if TYPE_CHECKING:
    from astropy.io import fits

_MAPS = {
    "VELOCITY": "km/s",
    "SIGMA": "km/s",
    "GAS_AV": "mag",
    "STELLAR_VELOCITY": "km/s",
    "STELLAR_SIGMA": "km/s",
    "STELLAR_AV": "mag",
    "MEAN_LOG_AGE": "",
    "CONTINUUM": "10**(-20)*erg/s/cm**2/Angstrom",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What a perfect measurement would give at each spaxel; NaN outside the field.

    Attributes
    ----------
    names : [line]
    flux : 1e-20 erg/s/cm² [line, y, x]
        Integrated, before Galactic extinction.
    velocity, sigma : km/s [y, x]
        Of the gas, the same for every line; relative to ``redshift``.
    gas_av : mag [y, x]
        A_V before the lines (CCM89); H alpha / H beta is 2.86 behind it.
    stellar_velocity, stellar_sigma : km/s [y, x]
    stellar_av : mag [y, x]
        A_V before the stars (CCM89).
    mean_log_age : log10 yr [y, x]
        Weighted by the light beside H alpha.
    continuum : 1e-20 erg/s/cm²/Angstrom [y, x]
        Of the stars beside H alpha (`betis.mock.stars.CONTINUUM_WINDOWS`), rest-frame density:
        that as observed times 1 + ``redshift``.
    redshift
    av : mag
        Galactic extinction in the cube.
    """

    names: tuple[str, ...]
    flux: Float[F64, "line y x"]
    velocity: Float[F64, "y x"]
    sigma: Float[F64, "y x"]
    gas_av: Float[F64, "y x"]
    stellar_velocity: Float[F64, "y x"]
    stellar_sigma: Float[F64, "y x"]
    stellar_av: Float[F64, "y x"]
    mean_log_age: Float[F64, "y x"]
    continuum: Float[F64, "y x"]
    redshift: float
    av: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """``(y, x)``."""
        return (self.velocity.shape[0], self.velocity.shape[1])


def write_truth(path: str | Path, truth: Truth) -> None:
    """Write the truth: an image extension FLUX (line, y, x), and a map (y, x) for each field.

    The cards LINE1, LINE2 ... of FLUX name its planes.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header["REDSHIFT"] = (truth.redshift, "velocities are relative to this")
    primary.header["AV"] = (truth.av, "[mag] Galactic extinction in the cube")
    flux = fits.ImageHDU(truth.flux, name="FLUX")
    flux.header["BUNIT"] = "10**(-20)*erg/s/cm**2"
    for number, name in enumerate(truth.names, start=1):
        flux.header[f"LINE{number}"] = name
    maps = [_image(truth, name, unit) for name, unit in _MAPS.items()]
    fits.HDUList([primary, flux, *maps]).writeto(path, overwrite=True, checksum=True)


def _image(truth: Truth, name: str, unit: str) -> fits.ImageHDU:
    from astropy.io import fits

    image = fits.ImageHDU(getattr(truth, name.lower()), name=name)
    if unit:
        image.header["BUNIT"] = unit
    return image


def read_truth(path: str | Path) -> Truth:
    """Read what `write_truth` wrote.

    Raises
    ------
    InputError
        Where the file is absent, is not FITS, or lacks an extension.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            flux = hdus["FLUX"]
            names = tuple(str(flux.header[f"LINE{i + 1}"]) for i in range(flux.shape[0]))
            maps = {name.lower(): np.asarray(hdus[name].data, dtype=float) for name in _MAPS}
            return Truth(
                names=names,
                flux=np.asarray(flux.data, dtype=float),
                redshift=float(hdus[0].header["REDSHIFT"]),
                av=float(hdus[0].header["AV"]),
                **maps,
            )
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path} cannot be read as the truth of a mock galaxy ({error}); give the "
            "*_truth.fits file that was written beside the cube"
        ) from error
