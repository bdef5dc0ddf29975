"""A MAPS file as the data analysis pipeline of MaNGA (DAP) writes it, from a finished run.

Values, inverse variances and masks of each quantity; lines are channels, named by ion and vacuum
wavelength. Fluxes are per spaxel, the bin's over its number of spaxels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from betis.arrays import F64, I32
from betis.export.dap_field import FieldLight, bin_offsets, sky_offsets
from betis.export.dap_masks import DONOTUSE, NOCOV, NOVALUE, line_mask, star_mask, value_mask
from betis.export.files import Image, factor_to, observed_sigma_err, write_images
from betis.linelist import LineSet
from betis.lsf import FWHM_PER_SIGMA
from betis.products import BinMap, ContinuumFit, LineFit, Sky, SpectraRows
from betis.wavelength import C_KMS

__all__ = ["FIGURES", "DapInput", "dap_name", "write_dap_maps"]

_SCALE = 1e-17
_FLUX = "1E-17 erg/s/cm^2/spaxel"
_DENSITY = "1E-17 erg/s/cm^2/ang/spaxel"
_GREEK = {"Hg": "Hgam", "Hd": "Hdel"}
_BINID = (
    "Binned spectra",
    "Stellar continua",
    "Em. line moments",
    "Em. line models",
    "Spectral indices",
)
FIGURES = (
    "rms",
    "frms",
    "rchi2",
    "68th perc frac resid",
    "99th perc frac resid",
    "max frac resid",
    "68th perc per pix chi",
    "99th perc per pix chi",
    "max per pix chi",
)
"""Channels of EMLINE_FOM."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DapInput:
    """What a MAPS file is made of.

    Attributes
    ----------
    bins, spectra, lines, line_set
        Of the run.
    stars
        None where it has no stellar kinematics.
    noise : flux density [bin, line]
        Median error of the data near each line.
    figures : [bin, figure]
        As in `FIGURES`, the first in the scale of the run.
    light
        Of the field.
    bin_snr : [bin]
        Mean S/N a pixel of the bins' spectra.
    """

    bins: BinMap
    spectra: SpectraRows
    lines: LineFit
    line_set: LineSet
    stars: ContinuumFit | None
    noise: Float[F64, "bin line"]
    figures: Float[F64, "bin figure"]
    light: FieldLight
    bin_snr: Float[F64, " bin"]

    @property
    def sky(self) -> Sky:
        """The field."""
        return self.spectra.sky or Sky(shape=self.light.flux.shape)


def write_dap_maps(path: str | Path, given: DapInput, cards: Mapping[str, Any]) -> None:
    """Write the file.

    Parameters
    ----------
    path
        Of the file; one that is there is replaced, by a complete one only.
    given
        What it is made of.
    cards
        Of the primary header.

    Raises
    ------
    InputError
        Where the flux scale of the cube is not known.
    RunFolderError
        Where the file cannot be written; what was there before stays.

    References
    ----------
    Westfall et al. 2019, AJ 158 231; the data model of mangadap 4.
    """
    redshift = given.spectra.redshift
    head = {
        "SCINPVEL": (C_KMS * redshift, "[km/s] c z that velocities are relative to"),
        "DAPTYPE": "betis",
        "DAPFRMT": "MAPS",
        **cards,
    }
    images = [
        *_field_images(given),
        *_star_images(given),
        *_line_images(given),
        Image("EMLINE_FOM", _figures(given), {"BUNIT": "", **_channels(FIGURES)}),
    ]
    placed = [image._replace(cards={**image.cards, **given.sky.wcs}) for image in images]
    write_images(Path(path), [Image("PRIMARY", None, head), *placed])


def dap_name(name: str, vacuum: float) -> str:
    """Return the DAP's name of a line: its ion, and its vacuum wavelength cut to the Angstrom."""
    ion, more = _GREEK.get(name, name), ""
    found = re.fullmatch(r"([A-Za-z]+?)\d{4}(.*)", name)
    if found:
        ion, more = _GREEK.get(found[1], found[1]), found[2]
    return f"{ion}-{int(vacuum)}{more}"


def _channels(names: tuple[str, ...]) -> dict[str, str]:
    width = max(2, len(str(len(names))))
    return {f"C{number:0{width}d}": name for number, name in enumerate(names, start=1)}


def _line_channels(given: DapInput) -> dict[str, str]:
    known = {line.name: line.vacuum for line in given.line_set.lines}
    return _channels(tuple(dap_name(name, known[name]) for name in given.lines.names))


def _field_images(given: DapInput) -> Iterator[Image]:
    """Yield where spaxels and bins are, how bright, and which is in which."""
    bins, light = given.bins, given.light
    factor = factor_to(_SCALE, given.sky)
    offsets, center = sky_offsets(given.sky, light.flux)
    sky_cards = {"BUNIT": "arcsec", **_channels(("On-sky X", "On-sky Y")), **center}
    yield Image("SPX_SKYCOO", offsets, sky_cards)
    data, ivar = {"ERRDATA": "SPX_MFLUX_IVAR"}, {"SCIDATA": "SPX_MFLUX"}
    yield Image("SPX_MFLUX", light.flux * factor, {"BUNIT": _DENSITY, **data})
    yield Image(
        "SPX_MFLUX_IVAR", _ivar(light.error * factor), {"BUNIT": _inverse(_DENSITY), **ivar}
    )
    yield Image("SPX_SNR", light.snr, {"BUNIT": ""})
    yield Image("BINID", _bin_ids(given), {"BUNIT": "", **_channels(_BINID)})
    weighted = bin_offsets(bins, offsets, light.flux)
    yield Image("BIN_LWSKYCOO", bins.paint(weighted), {**sky_cards, **_channels(("X", "Y"))})
    yield Image("BIN_AREA", bins.paint(bins.n_spaxel * light.spaxel_area), {"BUNIT": "arcsec^2"})
    yield Image("BIN_SNR", bins.paint(given.bin_snr), {"BUNIT": ""})


def _bin_ids(given: DapInput) -> Int[I32, "channel y x"]:
    """Return the bins of each kind of analysis: there are no spectral indices here."""
    bin_id = given.bins.bin_id
    none = np.full_like(bin_id, -1)
    stars = none if given.stars is None else bin_id
    return np.stack([bin_id, stars, bin_id, bin_id, none])


def _star_images(given: DapInput) -> Iterator[Image]:
    """Yield the stellar kinematics, the dispersion without the line-spread function."""
    stars = given.stars
    if stars is None:
        return
    mask = star_mask(stars.flags)
    yield from _triplet(given, "STELLAR_VEL", (stars.velocity, stars.velocity_err), "km/s", mask)
    yield from _triplet(given, "STELLAR_SIGMA", (stars.sigma, stars.sigma_err), "km/s", mask)
    none = given.bins.paint(np.zeros((stars.sigma.size, 2)))
    names = _channels(("resolution difference", "fit"))
    yield Image("STELLAR_SIGMACORR", none, {"BUNIT": "km/s", **names})


def _line_images(given: DapInput) -> Iterator[Image]:
    """Yield what was measured of the lines."""
    lines, channels = given.lines, _line_channels(given)
    mask = line_mask(lines.flags)
    per_spaxel = factor_to(_SCALE, given.sky) / given.bins.n_spaxel[:, None]
    stretch = 1 + given.spectra.redshift
    for name, values, unit in _measured(given, per_spaxel):
        yield from _triplet(given, f"EMLINE_{name}", values, unit, mask, channels)
    for name, shown, unit in (
        ("SEW_CNT", per_spaxel * _ratio(lines.flux, lines.ew) / stretch, _DENSITY),
        ("GEW_CNT", per_spaxel * _ratio(lines.flux, lines.ew) / stretch, _DENSITY),
        ("INSTSIGMA", _instrumental(given), "km/s"),
        ("GA", per_spaxel * lines.amplitude / stretch, _DENSITY),
        ("GANR", _ratio(lines.amplitude, given.noise), ""),
    ):
        yield Image(f"EMLINE_{name}", given.bins.paint(shown), {"BUNIT": unit, **channels})


def _measured(
    given: DapInput, per_spaxel: Float[F64, "bin 1"]
) -> Iterator[tuple[str, tuple[F64, F64], str]]:
    """Yield each quantity that has an error: its name, values and errors, and unit."""
    lines = given.lines
    observed = C_KMS * lines.sigma_obs / _places(given)
    sigma_err = observed_sigma_err(lines.sigma, lines.sigma_err, observed)
    direct = lines.flux_direct, lines.flux_direct_err
    # The continuum under the line is that of the Gaussian's equivalent width.
    level = _ratio(lines.flux, lines.ew)
    yield "SFLUX", (direct[0] * per_spaxel, direct[1] * per_spaxel), _FLUX
    yield "SEW", (_ratio(direct[0], level), np.abs(_ratio(direct[1], level))), "ang"
    yield "GFLUX", (lines.flux * per_spaxel, lines.flux_err * per_spaxel), _FLUX
    yield "GEW", (lines.ew, lines.ew_err), "ang"
    yield "GVEL", (lines.velocity, lines.velocity_err), "km/s"
    yield "GSIGMA", (observed, sigma_err), "km/s"


def _instrumental(given: DapInput) -> Float[F64, "bin line"]:
    """Return the dispersion of the line-spread function at each line, km/s; NaN without a fit.

    Where the line is resolved, just so that ``GSIGMA**2 - INSTSIGMA**2`` is the square of the
    dispersion of the gas.
    """
    axis, place = given.spectra.take(slice(0, 0)), _places(given)
    width = C_KMS * np.interp(place, axis.wave, axis.lsf) / FWHM_PER_SIGMA / place
    sigma, observed = given.lines.sigma, C_KMS * given.lines.sigma_obs / place
    removed = np.sqrt(np.maximum(observed**2 - sigma**2, 0.0))
    return np.where(np.isfinite(observed), np.where(sigma > 0, removed, width), np.nan)


def _places(given: DapInput) -> Float[F64, " line"]:
    """Return where the lines lie on the axis of the spectra, Angstrom."""
    waves = given.line_set.waves(given.spectra.medium, given.spectra.redshift)
    known = dict(zip(given.line_set.names, waves, strict=True))
    return np.array([known[name] for name in given.lines.names])


def _figures(given: DapInput) -> NDArray[Any]:
    figures = given.figures.copy()
    stretch = 1 + given.spectra.redshift
    figures[:, 0] *= factor_to(_SCALE, given.sky) / given.bins.n_spaxel / stretch
    return given.bins.paint(figures)


def _triplet(
    given: DapInput,
    name: str,
    measured: tuple[F64, F64],
    unit: str,
    mask: I32,
    channels: Mapping[str, str] | None = None,
) -> Iterator[Image]:
    """Yield a quantity, its inverse variance, and its mask."""
    values, error = measured
    names, bins = channels or {}, given.bins
    kind = {"HDUCLASS": "SDSS", "HDUCLAS1": "CUBE" if names else "IMAGE"}
    error_name, mask_name = f"{name}_IVAR", f"{name}_MASK"
    links = {"ERRDATA": error_name, "QUALDATA": mask_name}
    yield Image(
        name, bins.paint(values), {"BUNIT": unit, **kind, "HDUCLAS2": "DATA", **links, **names}
    )
    links = {"SCIDATA": name, "QUALDATA": mask_name}
    inverse = bins.paint(_ivar(error), 0.0)
    cards = {"BUNIT": _inverse(unit), **kind, "HDUCLAS2": "ERROR", "HDUCLAS3": "INVMSE"}
    yield Image(error_name, inverse, {**cards, **links, **names})
    links = {"SCIDATA": name, "ERRDATA": error_name}
    bits = bins.paint(mask | value_mask(values, error), NOVALUE | DONOTUSE).astype(np.int32)
    bits |= np.where(np.isfinite(given.light.flux), 0, NOCOV).astype(np.int32)
    cards = {**kind, "HDUCLAS2": "QUALITY", "HDUCLAS3": "MASKTYPE"}
    yield Image(mask_name, bits, {**cards, **links, **names})


def _ivar(error: NDArray[Any]) -> NDArray[Any]:
    """Return inverse variances; 0 where there is no error."""
    known = np.isfinite(error) & (error > 0)
    inverse = np.divide(1.0, np.square(error), out=np.zeros(np.shape(error)), where=known)
    return np.asarray(inverse)


def _inverse(unit: str) -> str:
    return f"({unit})^{{-2}}"


def _ratio(value: F64, over: F64) -> F64:
    known = np.isfinite(over) & (over != 0)
    return np.asarray(np.divide(value, over, out=np.full(np.shape(value), np.nan), where=known))
