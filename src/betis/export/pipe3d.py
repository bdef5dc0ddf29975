"""The lines of a run as a flux_elines cube of Pipe3D: one image, eight blocks of planes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.export.files import Image, factor_to, observed_sigma_err, write_images
from betis.linelist import Line, LineSet
from betis.lsf import FWHM_PER_SIGMA
from betis.products import BinMap, LineFit, Sky
from betis.wavelength import C_KMS

__all__ = ["pipe3d_name", "write_pipe3d"]

_SCALE = 1e-16
_GREEK = {"Ha": "Halpha", "Hb": "Hbeta", "Hg": "Hgamma", "Hd": "Hdelta", "Heps": "Hepsilon"}
_PERMITTED = ("He", "Na", "K", "Ca", "Mg")
"""Elements whose lines stand without brackets."""
_BLOCKS = (
    ("flux", "10^-16 erg/s/cm^2"),
    ("vel", "km/s"),
    ("disp", "Angstrom"),
    ("EW", "Angstrom"),
)


def write_pipe3d(
    path: str | Path, bins: BinMap, lines: LineFit, line_set: LineSet, sky: Sky, redshift: float
) -> None:
    """Write ``[plane, y, x]``: flux, vel, disp and EW of each line, then their errors.

    Plane ``i`` has the cards NAMEi ("flux Halpha"), WAVEi (air, rest) and UNITi, i from 0. Fluxes
    are per spaxel, the bin's over its number of spaxels; vel is c times the redshift of the
    line; disp is the observed FWHM, line-spread function included; EW is negative in emission.

    Parameters
    ----------
    path
        Of the file; one that is there is replaced, by a complete one only.
    bins, lines
        Where the fits are, and what they are, ``[bin, line]``.
    line_set
        What the lines are.
    sky, redshift
        Of the run.

    Raises
    ------
    InputError
        Where the flux scale of the cube is not known.
    RunFolderError
        Where the file cannot be written; what was there before stays.
    """
    known = {line.name: line for line in line_set.lines}
    blocks = list(_blocks(lines, bins, redshift, factor_to(_SCALE, sky)))
    planes = np.concatenate([bins.paint(block) for block in blocks])
    cards = {**_plane_cards([known[name] for name in lines.names]), **sky.wcs}
    head = {"REDSHIFT": (redshift, "of the rest frame"), "DISPKIND": ("FWHM", "observed")}
    write_images(Path(path), [Image("PRIMARY", planes.astype(np.float32), {**head, **cards})])


def _blocks(
    lines: LineFit, bins: BinMap, redshift: float, factor: float
) -> Iterator[Float[F64, "bin line"]]:
    """Yield the eight quantities of all lines."""
    per_spaxel = factor / bins.n_spaxel[:, None]
    stretch = 1 + redshift
    width = FWHM_PER_SIGMA * stretch
    observed = C_KMS * lines.sigma_obs / lines.wave_obs
    sigma_err = observed_sigma_err(lines.sigma, lines.sigma_err, observed)
    yield lines.flux * per_spaxel
    yield C_KMS * redshift + stretch * lines.velocity
    yield width * lines.sigma_obs
    yield -lines.ew
    yield lines.flux_err * per_spaxel
    yield stretch * lines.velocity_err
    yield width * sigma_err * lines.wave_obs / C_KMS
    yield lines.ew_err


def _plane_cards(lines: list[Line]) -> dict[str, Any]:
    cards: dict[str, Any] = {}
    number = 0
    for prefix in ("", "e_"):
        for quantity, unit in _BLOCKS:
            for line in lines:
                cards[f"NAME{number}"] = f"{prefix}{quantity} {pipe3d_name(line.name)}"
                cards[f"WAVE{number}"] = round(line.air, 3)
                cards[f"UNIT{number}"] = unit
                number += 1
    return cards


def pipe3d_name(name: str) -> str:
    """Return what Pipe3D calls a line: Halpha, [OIII]5007, HeI5876; without blanks."""
    found = re.fullmatch(r"([A-Z][A-Za-z]*?)(\d{4})(.*)", name)
    if found is None:
        return name
    ion, wave, more = found.groups()
    if ion in _GREEK:
        return f"{_GREEK[ion]}{more}"
    return f"{ion}{wave}{more}" if ion.startswith(_PERMITTED) else f"[{ion}]{wave}{more}"
