"""Mutations after which no cube is left: each is refused in one sentence."""

from __future__ import annotations

import gzip

import numpy as np
from tests.io.mutations import changes as do
from tests.io.mutations.cases import (
    IN_PRIMARY,
    NAMES,
    WITH_ERROR,
    WITH_ERROR_AXIS,
    WITH_MASK,
    WITHOUT_DEFAULT_MEDIUM,
    refused,
)

NO_DATA = "no spaxel has usable data"
AXIS = "lies within|differ by up to|lies inside"
ALL = (...,)

SOME = ("muse", "manga, linear", "sami, two arms", "kcwi, three files")
"""For mutations that meet the same lines of the program in every layout."""

STEPLESS = {"CD3_3": None, "CDELT3": None, "PC3_3": None}

AXES = (
    *refused("no CRVAL3", do.cards(CRVAL3=None), "no card CRVAL3"),
    *refused("no CRPIX3", do.cards(CRPIX3=None), "no card CRPIX3"),
    *refused("no step", do.cards(**STEPLESS), "neither CD3_3 nor CDELT3"),
    *refused("CRVAL3 is text", do.cards(CRVAL3="abc"), "CRVAL3 is 'abc'", names=SOME),
    *refused("CRVAL3 is true", do.cards(CRVAL3=True), "CRVAL3 is True", names=SOME),
    *refused(
        "CRVAL3 is no FITS", do.poked("flux", "CRVAL3", "64oo"), "card that is not FITS", names=SOME
    ),
    *refused(
        "CRVAL3 is NaN", do.poked("flux", "CRVAL3", "NaN"), "card that is not FITS", names=SOME
    ),
    *refused(
        "CRVAL3 is undefined", do.poked("flux", "CRVAL3", ""), "a number is needed", names=SOME
    ),
    *refused("CRVAL3 is 0", do.cards(CRVAL3=0.0), AXIS, names=SOME),
    *refused("CRVAL3 in nanometres", do.cards(CRVAL3=650.0), AXIS),
    *refused("the axis in nanometres, unsaid", do.multiplied(0.1, "Angstrom"), AXIS),
    *refused("the axis in microns, unsaid", do.multiplied(1e-4, None), AXIS, names=SOME),
    *refused(
        "CRVAL3 twice", do.repeated("flux", "CRVAL3", 6000.0), "CRVAL3 more than once", names=SOME
    ),
    *refused("huge step", do.cards(STEP=1e4), AXIS, names=SOME),
    *refused("step 0", do.cards(STEP=0.0), "step in the header is 0.0", names=SOME),
    *refused("step < 0", do.cards(STEP=-1.25), "step in the header is -1.25", names=SOME),
    *refused("step is text", do.cards(STEP="one"), "is 'one'", names=SOME),
    *refused("two steps", do.cards(CD3_3=1.25, CDELT3=1.5), "CDELT3"),
    *refused("CRPIX3 is text", do.cards(CRPIX3="one"), "CRPIX3 is 'one'", names=SOME),
    *refused("CRPIX3 is absurd", do.cards(CRPIX3=1e9), f"{AXIS}|strictly|increasing", names=SOME),
    *refused("CRPIX3 is far above", do.cards(CRPIX3=1e5), f"{AXIS}|lies inside", names=SOME),
    *refused(
        "CRPIX3 is far below",
        do.cards(CRPIX3=-1e5),
        f"{AXIS}|outside this cube",
        stage="snr",
        names=SOME,
    ),
    *refused("frequency", do.cards(CTYPE3="FREQ"), "CTYPE3 is 'FREQ'"),
    *refused("velocity", do.cards(CTYPE3="VELO-LSR"), "CTYPE3 is 'VELO-LSR'", names=SOME),
    *refused("radio velocity", do.cards(CTYPE3="VRAD"), "CTYPE3 is 'VRAD'", names=SOME),
    *refused("wave number", do.cards(CTYPE3="WAVN"), "CTYPE3 is 'WAVN'", names=SOME),
    *refused("grism", do.cards(CTYPE3="AWAV-GRI"), "CTYPE3 is 'AWAV-GRI'", names=SOME),
    *refused("Stokes", do.cards(CTYPE3="STOKES"), "CTYPE3 is 'STOKES'", names=SOME),
    *refused("axes swapped", do.cards(CTYPE1="AWAV", CTYPE3="RA---TAN"), "CTYPE3 is 'RA---TAN'"),
    *refused("CUNIT3 is Hz", do.cards(CUNIT3="Hz"), "'Hz'", names=SOME),
    *refused("CUNIT3 is km/s", do.cards(CUNIT3="km/s"), "'km/s'", names=SOME),
    *refused("CUNIT3 is a number", do.cards(CUNIT3=5), "'5'", names=SOME),
    *refused("CUNIT3 in nm of Angstrom", do.cards(CUNIT3="nm"), AXIS, but=("generic",)),
    *refused(
        "CUNIT3 in nm of Angstrom",
        do.cards(CUNIT3="nm"),
        "outside this cube",
        names=("generic",),
        stage="snr",
    ),
    *refused(
        "no medium",
        do.cards(CTYPE3="LINEAR"),
        "does not say whether",
        names=WITHOUT_DEFAULT_MEDIUM,
    ),
    *refused(
        "another axis of the error",
        do.cards_of("error", CRVAL3=6400.0),
        "of (STAT|IVAR|UNCERT|ERR) gives wavelengths that differ",
        names=WITH_ERROR_AXIS,
    ),
    *refused(
        "the axis of the error in another medium",
        do.cards_of("error", CTYPE3="WAVE"),
        "in vacuum, where that of the flux gives them in air",
        names=("muse", "kcwi", "generic"),
    ),
    *refused("rest frame, said", do.cards(SPECSYS="SOURCE"), "rest frame"),
    *refused(
        "rest frame, unsaid",
        do.in_turn(do.cards(CRVAL3=6500 / 1.01, STEP=1.25 / 1.01)),
        "no bin reaches S/N|differ by up to",
        names=("muse", "califa", "sami", "kcwi", "generic"),
        stage="bin",
    ),
)

UNITS = (
    *refused("per Hz", do.cards_of("flux", BUNIT="10**(-20)*erg/s/cm**2/Hz"), "unit of frequency"),
    *refused("mJy", do.cards_of("flux", BUNIT="mJy"), "unit of frequency", names=SOME),
    *refused(
        "BUNIT of a variance",
        do.cards_of("flux", BUNIT="(1e-20 erg/s/cm2/Angstrom)**2"),
        "unit of a variance",
    ),
    *refused(
        "BUNIT of a variance, spelled out",
        do.cards_of("flux", BUNIT="10**-40 Angstrom-2 cm-4 erg2 s-2"),
        "unit of a variance",
        names=SOME,
    ),
    *refused(
        "BUNIT of an inverse variance",
        do.cards_of("flux", BUNIT="1/(1e-17 erg/s/cm2/Angstrom)**2"),
        "inverse variance",
        names=SOME,
    ),
    *refused(
        "the error has the unit of the other kind",
        do.cards_of("error", BUNIT="(1e-20 erg/s/cm2/Angstrom)**2"),
        "unit of a variance",
        names=("manga", "manga, linear", "califa", "kcwi", "generic"),
    ),
)

SKY = (
    *refused("no CTYPE1", do.cards(CTYPE1=None), "celestial WCS makes no sense", names=SOME),
    *refused("no CRVAL1", do.cards(CRVAL1=None), "CRVAL1 is None", names=SOME),
    *refused("CRVAL1 is text", do.cards(CRVAL1="north"), "CRVAL1 is 'north'", names=SOME),
    *refused("declination 999", do.cards(CRVAL2=999.0), "celestial WCS makes no sense", names=SOME),
    *refused(
        "unknown projection",
        do.cards(CTYPE1="RA---XYZ"),
        "celestial WCS makes no sense",
        names=SOME,
    ),
    *refused("furlongs", do.cards(CUNIT1="furlong"), "celestial WCS makes no sense", names=SOME),
    *refused("sky mixed with wavelengths", do.cards(CD1_3=0.5), "CD1_3 is 0.5", names=SOME),
)

SHAPES = (
    *refused(
        "flux of NaN", do.voxels("flux", do.filled(np.nan, ALL)), NO_DATA, stage="snr", names=SOME
    ),
    *refused(
        "error of 0",
        do.voxels("error", do.filled(0, ALL)),
        NO_DATA,
        names=("muse", "manga", "kcwi"),
        stage="snr",
    ),
    *refused(
        "error of NaN",
        do.voxels("error", do.filled(np.nan, ALL)),
        NO_DATA,
        names=WITH_ERROR,
        stage="snr",
    ),
    *refused(
        "error of -1",
        do.voxels("error", do.filled(-1, ALL)),
        NO_DATA,
        names=("muse", "manga", "kcwi"),
        stage="snr",
    ),
    *refused(
        "error of inf",
        do.voxels("error", do.filled(np.inf, ALL)),
        NO_DATA,
        names=("muse", "manga", "kcwi"),
        stage="snr",
    ),
    *refused("all in the mask", do.masked(ALL), NO_DATA, names=WITH_MASK, stage="snr"),
    *refused("all bits", do.every_bit, NO_DATA, names=("muse", "manga", "kcwi"), stage="snr"),
    *refused(
        "flat flux",
        do.voxels("flux", lambda flux: flux[0]),
        "2 axes|no 3-D|no reader|RSS",
        names=SOME,
    ),
    *refused(
        "flat error", do.voxels("error", lambda error: error[0]), "has 2 axes", names=WITH_ERROR
    ),
    *refused(
        "4-D", do.all_voxels(lambda values: values[None]), "no 3-D image|has 4 axes", names=SOME
    ),
    *refused(
        "a spectrum", do.all_voxels(lambda values: values[:, 0, 0]), "no 3-D image", names=SOME
    ),
    *refused(
        "1 wavelength",
        do.all_voxels(lambda values: values[:1]),
        "has 1 wavelengths|WAVE",
        names=SOME,
    ),
    *refused(
        "a short error",
        do.voxels("error", lambda error: error[:-1]),
        "where they must be the same",
        names=WITH_ERROR,
    ),
    *refused(
        "a small error",
        do.voxels("error", lambda error: error[:, 1:]),
        "where they must be the same",
        names=("muse", "manga", "kcwi"),
    ),
    *refused(
        "a short mask",
        do.voxels("mask", lambda bits: bits[:9]),
        "where they must be the same",
        names=WITH_MASK,
    ),
    *refused(
        "flat mask",
        do.voxels("mask", lambda bits: bits[0]),
        "has 2 axes",
        names=("muse", "manga", "kcwi"),
    ),
    *refused(
        "wavelengths last",
        do.all_voxels(lambda values: np.moveaxis(values, 0, -1).copy()),
        "outside this cube|wavelengths|where they must be the same|different fields",
        stage="snr",
    ),
    *refused(
        "BSCALE 0", do.in_turn(do.scaled_integers, do.poked("flux", "BSCALE", "0.0")), "BSCALE is 0"
    ),
    *refused(
        "BZERO is text",
        do.in_turn(do.scaled_integers, do.poked("flux", "BZERO", "'none'")),
        "BZERO is 'none'|damaged header",
        names=SOME,
    ),
    *refused(
        "BLANK is text",
        do.in_turn(do.scaled_integers, do.cards_of_stored("flux", BLANK="none")),
        "BLANK is 'none'",
        names=SOME,
    ),
)

EXTENSIONS = (
    *refused("no error", do.without("error"), "needs one|no extension", names=WITH_ERROR),
    *refused(
        "no mask", do.without("mask"), "no extension", names=("manga", "califa", "kcwi", "generic")
    ),
    *refused("error twice", do.doubled("error"), "has 2 extensions", names=WITH_ERROR),
    *refused("mask twice", do.doubled("mask"), "has 2 extensions", names=WITH_MASK),
    *refused(
        "flux twice",
        do.doubled("flux"),
        "has 2 extensions",
        names=("muse", "manga", "manga, linear", "generic"),
    ),
    *refused(
        "error of another name",
        do.renamed("error", "SPAM"),
        "no extension",
        names=WITH_ERROR,
    ),
    *refused(
        "flux of another name",
        do.renamed("flux", "SPAM"),
        "no extension|no reader knows",
        but=IN_PRIMARY,
    ),
    *refused(
        "flux and error swapped, of a faint field",
        do.in_turn(do.faint(1.0), do.swapped("flux", "error")),
        "negative",
        names=WITH_ERROR,
    ),
    *refused(
        "names of flux and error swapped, of a faint field",
        do.in_turn(do.faint(1.0), do.names_swapped),
        "negative|unit of a variance|no reader|unit",
        names=("muse", "manga", "manga, linear", "generic"),
    ),
    *refused(
        "the flux says that it is an error",
        do.cards_of("flux", HDUCLAS2="ERROR"),
        "not swapped",
    ),
    *refused(
        "the error says that it is another",
        lambda file: do.cards_of("error", HDUCLAS3=OTHER[file.sample.kind])(file),
        "convert it|says that it holds",
        names=WITH_ERROR,
    ),
    *refused(
        "the error is that of other units",
        lambda file: do.voxels("error", lambda error: error * TINY[file.sample.kind])(file),
        "times",
        names=WITH_ERROR,
    ),
    *refused(
        "a mask that is promised is absent",
        do.in_turn(do.cards_of("flux", QUALDATA="DQ"), do.without("mask")),
        "DQ",
        names=("muse",),
    ),
    *refused(
        "another instrument",
        do.primary(INSTRUME="HST"),
        "no reader knows",
        names=("muse", *IN_PRIMARY),
    ),
    *refused(
        "two instruments",
        do.in_turn(do.primary(INSTRUME="MUSE", PLATEIFU="1-1")),
        "recognised by two",
        names=("manga", "manga, linear"),
    ),
    *refused(
        "the marks of MUSE only",
        do.primary(INSTRUME="MUSE"),
        "no extension DATA|different instruments",
        names=IN_PRIMARY,
    ),
)

TINY = {"variance": 1e-30, "sigma": 1e-15, "ivar": 1e30}
OTHER = {"variance": "RMSE", "sigma": "MSE", "ivar": "MSE"}

BYTES = (
    *refused(
        "NAXIS without sizes",
        do.poked("flux", "NAXIS", "4"),
        "damaged header|cannot be",
        names=SOME,
    ),
    *refused(
        "NAXIS1 is text",
        do.poked("flux", "NAXIS1", "'x'"),
        "damaged header|not FITS|cannot be",
        names=SOME,
    ),
    *refused("NAXIS3 is huge", do.poked("flux", "NAXIS3", "40000000"), "is cut short", names=SOME),
    *refused("BITPIX is 7", do.poked("flux", "BITPIX", "7"), "BITPIX|cannot|damaged", names=SOME),
    *refused("empty", do.cut(0.0), "cannot be read as a FITS file", names=SOME),
    *refused(
        "reversed", do.packed(lambda content: content[::-1]), "cannot be read as a FITS", names=SOME
    ),
    *(
        case
        for at in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
        for case in refused(
            f"cut at {at:g}", do.cut(at), "cut short|no extension|needs one|cannot be", names=SOME
        )
    ),
    *(
        case
        for role, part, at in (
            ("flux", "hdrLoc", 80),
            ("flux", "hdrLoc", 1500),
            ("flux", "datLoc", 0),
            ("flux", "datLoc", 1000),
            ("error", "hdrLoc", 0),
            ("error", "hdrLoc", 80),
            ("error", "hdrLoc", 1500),
            ("error", "datLoc", 1000),
            ("mask", "hdrLoc", 80),
            ("mask", "hdrLoc", 1500),
            ("mask", "datLoc", 1000),
        )
        for case in refused(
            f"cut {at} bytes after {part} of the {role}",
            do.cut_in(role, part, at),
            "cut short|no extension|needs one|cannot be read as a FITS|no 3-D|no reader",
            names={"flux": SOME, "error": SOME[:3], "mask": ("muse", "califa", "kcwi")}[role],
        )
    ),
    *refused(
        "gzip, cut short",
        do.packed(lambda content: gzip.compress(content, 1)[: len(content) // 4]),
        "cut short or damaged",
    ),
    *refused(
        "gzip, a byte changed",
        do.packed(lambda content: _flipped(gzip.compress(content, 1))),
        "damaged",
        names=SOME,
    ),
)


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


READERS = ("muse", "manga", "califa", "sami", "kcwi")
FORCED = tuple(
    case
    for name in NAMES
    for reader in READERS
    if not name.startswith(reader)
    for case in refused(
        f"read as {reader}",
        do.unchanged,
        "no extension|tell the resolution|lies within|needs one",
        names=(name,),
        words=("--instrument", reader),
    )
)

UNUSABLE = (*AXES, *UNITS, *SKY, *SHAPES, *EXTENSIONS, *BYTES, *FORCED)
