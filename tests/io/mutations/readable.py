"""Mutations that leave a cube which can be read rightly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.io.mutations import changes as do
from tests.io.mutations.cases import (
    NAMES,
    WITH_ERROR,
    WITH_MASK,
    WITHOUT_DEFAULT_MEDIUM,
    bad_at,
    flux_at,
    read,
    without_unit,
)

BLOCK = (slice(90, 110), slice(1, 3), slice(2, 4))
PLANES = (slice(150, 160),)
SPAXEL = (slice(None), 2, 3)
NO_NUMBER = {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf}
NO_ERROR = {"NaN": np.nan, "inf": np.inf, "0": 0.0, "negative": -1.0}
SOME = ("muse", "manga", "sami, two arms")
"""For mutations that meet the same lines of the program in every layout."""

FEW = {"NaN": NAMES, "gzip": NAMES}
"""The rest of their kind is tried in some layouts only."""

MASK_KINDS = (np.int16, np.uint16, np.uint32, np.int64, np.uint64, np.float32)


def with_sky_taken(truth, setting):
    return replace(truth, has_sky=setting.name == "sami, two arms")


HEADERS = (
    *read("as it should be", do.unchanged),
    *read("no CTYPE3", do.cards(CTYPE3=None), but=(*WITHOUT_DEFAULT_MEDIUM, "manga")),
    *read("CTYPE3 LINEAR", do.cards(CTYPE3="LINEAR"), but=(*WITHOUT_DEFAULT_MEDIUM, "manga")),
    *read("no CUNIT3", do.cards(CUNIT3=None)),
    *read("blank CUNIT3", do.cards(CUNIT3=""), names=SOME),
    *read("nanometres", do.multiplied(0.1, "nm")),
    *read("metres", do.multiplied(1e-10, "m"), names=SOME),
    *read("microns", do.multiplied(1e-4, "um"), names=SOME),
    *read("CUNIT3 in capitals", do.cards(CUNIT3="ANGSTROM"), names=SOME),
    *read("PC3_3 beside the step", do.cards(PC3_3=1.0), names=SOME),
    *read("CDELT3 of 1 beside CD3_3", do.cards(CDELT3=1.0), names=("muse", "manga")),
    *read("both steps", do.cards(CD3_3=1.25, CDELT3=1.25), names=("kcwi", "califa", "sami")),
    *read("no BUNIT", do.cards_of("flux", BUNIT=None), but=("generic",)),
    *read("blank BUNIT", do.cards_of("flux", BUNIT=" "), names=SOME),
    *read("no BUNIT", do.cards_of("flux", BUNIT=None), without_unit, names=("generic",)),
    *read(
        "BUNIT is nonsense",
        do.cards_of("flux", BUNIT="10**(-20"),
        without_unit,
        names=("muse", "kcwi"),
    ),
    *read("BUNIT is a number", do.cards_of("flux", BUNIT=5), without_unit, names=("muse", "kcwi")),
    *read("no celestial WCS", do.cards(**do.WITHOUT_SKY), with_sky_taken),
    *read("no INSTRUME", do.primary(INSTRUME=None), names=("muse", "manga", "califa", "generic")),
    *read("INSTRUME in small letters", do.primary(INSTRUME="muse "), names=("muse",)),
    *read("long comments", do.primary(COMMENT="no pixel was harmed " * 20), names=SOME),
    *read("a long text", do.primary(ORIGIN="the far side of the moon " * 9), names=SOME),
)

STORED = (
    *read("doubles", do.voxels("flux", lambda flux: flux.astype(float)), names=SOME),
    *read("scaled integers", do.scaled_integers, rtol=1e-4, names=SOME),
    *read("extensions in the opposite order", do.reordered, but=("kcwi, three files",)),
    *read("small letters in EXTNAME", do.in_small_letters, names=SOME),
    *read("bytes after the end", do.packed(lambda content: content + b"junk" * 999), names=SOME),
    *read("zeros after the end", do.packed(lambda content: content + bytes(2880)), names=SOME),
    *read(
        "tiles compressed",
        do.tiled,
        names=("muse", "manga", "califa", "generic"),
    ),
    *(
        case
        for name, pack in do.PACKERS.items()
        for case in read(name, pack, names=FEW.get(name, SOME))
    ),
    *(
        case
        for kind in MASK_KINDS
        for case in read(
            f"mask of {kind.__name__}",
            do.voxels("mask", lambda bits, kind=kind: bits.astype(kind)),
            names=("muse", "generic"),
        )
    ),
)

BLOCKS = (
    *(
        case
        for name, value in NO_NUMBER.items()
        for case in read(
            f"{name} in a block of the flux",
            do.voxels("flux", do.filled(value, BLOCK)),
            bad_at(BLOCK),
            names=FEW.get(name, SOME),
        )
    ),
    *(
        case
        for name, place in (("planes", PLANES), ("a spaxel", SPAXEL))
        for case in read(
            f"NaN in {name} of the flux",
            do.voxels("flux", do.filled(np.nan, place)),
            bad_at(place),
            names=SOME,
        )
    ),
    *(
        case
        for value in (0.0, -200.0)
        for case in read(
            f"{value:g} in a block of the flux",
            do.voxels("flux", do.filled(value, BLOCK)),
            flux_at(BLOCK, value),
            names=SOME,
        )
    ),
    *(
        case
        for name, value in NO_ERROR.items()
        for case in read(
            f"{name} in a block of the error",
            do.voxels("error", do.filled(value, BLOCK)),
            bad_at(BLOCK),
            names=WITH_ERROR if name == "NaN" else ("muse", "manga", "califa"),
        )
    ),
    *read("a block in the mask", do.masked(BLOCK), bad_at(BLOCK), names=WITH_MASK),
    *read("a spaxel in the mask", do.masked(SPAXEL), bad_at(SPAXEL), names=WITH_MASK),
)

READABLE = (*HEADERS, *STORED, *BLOCKS)
