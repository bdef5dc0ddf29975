"""A small cube of known noise in the layout of each instrument that betis reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from tests.cubes import WCS

from betis.options import CubeOptions

SHAPE = (60, 4, 5)
AXIS = {"CRVAL3": 6500.0, "CRPIX3": 3.0, "CD3_3": 1.25, "CUNIT3": "Angstrom", "CTYPE3": "AWAV"}


@dataclass(frozen=True, kw_only=True)
class Voxels:
    """Flux, 1-sigma error and a mask's bits, ``[wave, y, x]``."""

    flux: np.ndarray
    sigma: np.ndarray
    bits: np.ndarray

    @classmethod
    def drawn(cls, seed: int = 0) -> Voxels:
        rng = np.random.default_rng(seed)
        sigma = rng.uniform(0.5, 2.0, SHAPE).astype(np.float32)
        flux = (10 + sigma * rng.normal(0, 1, SHAPE)).astype(np.float32)
        return cls(flux=flux, sigma=sigma, bits=np.zeros(SHAPE, np.int32))


def header(**cards) -> fits.Header:
    made = fits.Header({**WCS, **AXIS})
    for card, value in cards.items():
        made[card] = value
        if value is None:
            del made[card]
    return made


def header_of_steps(**cards) -> fits.Header:
    """A header with CDELT in place of the CD matrix."""
    made = header(**cards)
    for axis in "123":
        made[f"CDELT{axis}"] = made.pop(f"CD{axis}_{axis}")
    del made["CD1_2"], made["CD2_1"]
    return made


def image(values, name, **cards):
    return fits.ImageHDU(values, header(**cards), name=name)


def bare(values, name):
    """An extension that says nothing of its axes."""
    return fits.ImageHDU(values, name=name)


def primary(values=None, axes=None, **cards):
    made = fits.PrimaryHDU(values, axes)
    made.header.update(cards)
    return made


def muse(voxels: Voxels, **cards):
    return [
        primary(INSTRUME="MUSE"),
        image(voxels.flux, "DATA", BUNIT="10**(-20)*erg/s/cm**2/Angstrom", **cards),
        image(voxels.sigma**2, "STAT", **cards),
        bare(voxels.bits.astype(np.uint8), "DQ"),
    ]


def manga(voxels: Voxels, *, log=True, widths=("PRESPECRES", "SPECRES"), **cards):
    step = np.log(10) * 1e-4
    kind = {"CTYPE3": "WAVE-LOG", "CRPIX3": 1, "CD3_3": 6500.0 * step}
    axis = (kind if log else {"CTYPE3": "WAVE", "CRPIX3": 1}) | cards
    with np.errstate(divide="ignore"):
        ivar = np.float32(1) / voxels.sigma**2
    pixel = np.arange(voxels.flux.shape[0])
    wave = 6500.0 * np.exp(step * pixel) if log else 6500.0 + 1.25 * pixel
    power = {"PRESPECRES": 2000.0, "SPECRES": 1900.0}
    return [
        primary(INSTRUME="MaNGA", PLATEIFU="8485-1901"),
        image(voxels.flux, "FLUX", BUNIT="1E-17 erg/s/cm^2/Ang/spaxel", **axis),
        image(ivar, "IVAR", **axis),
        image(voxels.bits, "MASK", **axis),
        bare(wave, "WAVE"),
        *(bare(np.full(pixel.size, power[name]), name) for name in widths),
    ]


def califa(voxels: Voxels, **cards):
    return [
        primary(
            voxels.flux,
            header_of_steps(**{"CTYPE3": "WAVELENGTH"} | cards),
            INSTRUME="PMAS",
        ),
        bare(voxels.sigma, "ERROR"),
        bare(np.ones_like(voxels.flux), "ERRWEIGHT"),
        bare(voxels.bits.astype(np.uint8), "BADPIX"),
    ]


def sami(voxels: Voxels, *, labels=None, **cards):
    unit = "10**(-16) erg /s /cm**2 /angstrom /pixel"
    bins = [] if labels is None else [bare(labels, "BIN_MASK")]
    return [
        primary(
            voxels.flux.astype(float),
            header_of_steps(**cards),
            INSTRUME="AAOMEGA-SAMI",
            SPECTID="RD",
            BUNIT=unit,
        ),
        bare(voxels.sigma.astype(float) ** 2, "VARIANCE"),
        *bins,
    ]


def kcwi_primary(values, **cards):
    facts = {"INSTRUME": "KCWI", "CAMERA": "RED", "RGRATNAM": "RM1", "IFUNAM": "Medium"}
    return primary(values, header(**cards), **facts, BUNIT="FLAM16")


def kcwi(voxels: Voxels, **cards):
    return [
        kcwi_primary(voxels.flux, **cards),
        image(voxels.bits.astype(np.uint8), "MASK"),
        image(voxels.sigma, "UNCERT", **cards),
        image(np.ones(voxels.flux.shape, np.uint8), "FLAGS"),
    ]


def generic(voxels: Voxels, **cards):
    return [
        primary(),
        image(voxels.flux, "SCI", BUNIT="1e-18 erg/s/cm2/Angstrom", **cards),
        image(voxels.sigma, "ERR", **cards),
        bare(voxels.bits, "QUALITY"),
    ]


GENERIC = CubeOptions(
    flux="SCI", error="ERR", error_kind="sigma", mask="QUALITY", mask_bits=6, resolving_power=3000
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a layout is, and what a reader must find in it."""

    reader: str
    hdus: Callable
    kind: str
    scale: float
    medium: str
    fwhm: tuple[float, float]
    flux: str
    error: str
    bad_bit: int = 1
    good_bit: int = 0
    options: CubeOptions | None = None
    facts: dict = field(default_factory=dict)

    def write(self, path: Path, voxels: Voxels, **changes) -> Path:
        fits.HDUList(self.hdus(voxels, **changes)).writeto(path)
        return path


SAMPLES = {
    "muse": Sample(
        reader="muse",
        hdus=muse,
        kind="variance",
        scale=1e-20,
        medium="air",
        fwhm=(2.2, 2.7),
        flux="DATA",
        error="STAT",
    ),
    "manga": Sample(
        reader="manga",
        hdus=manga,
        kind="ivar",
        scale=1e-17,
        medium="vacuum",
        fwhm=(3.2, 3.4),
        flux="FLUX",
        error="IVAR",
        bad_bit=1 << 10,
        good_bit=1 << 1,
    ),
    "manga, linear": Sample(
        reader="manga",
        hdus=lambda voxels, **cards: manga(voxels, log=False, **cards),
        kind="ivar",
        scale=1e-17,
        medium="vacuum",
        fwhm=(3.2, 3.4),
        flux="FLUX",
        error="IVAR",
        bad_bit=1 << 3,
        good_bit=1 << 1,
    ),
    "califa": Sample(
        reader="califa",
        hdus=califa,
        kind="sigma",
        scale=1e-16,
        medium="air",
        fwhm=(2.3, 2.3),
        flux="PRIMARY",
        error="ERROR",
        facts={"dereddened": True},
    ),
    "sami": Sample(
        reader="sami",
        hdus=sami,
        kind="variance",
        scale=1e-16,
        medium="air",
        fwhm=(1.59, 1.59),
        flux="PRIMARY",
        error="VARIANCE",
        bad_bit=0,
    ),
    "kcwi": Sample(
        reader="kcwi",
        hdus=kcwi,
        kind="sigma",
        scale=1e-16,
        medium="air",
        fwhm=(1.5, 1.8),
        flux="PRIMARY",
        error="UNCERT",
    ),
    "generic": Sample(
        reader="generic",
        hdus=generic,
        kind="sigma",
        scale=1e-18,
        medium="air",
        fwhm=(2.1, 2.3),
        flux="SCI",
        error="ERR",
        bad_bit=4,
        good_bit=8,
        options=GENERIC,
    ),
}
