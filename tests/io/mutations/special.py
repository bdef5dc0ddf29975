"""Mutations of what only some layouts have: two arms, companions, a description; what is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.io import fits
from tests.io.mutations import changes as do
from tests.io.mutations.cases import ARMS, WITH_ERROR, Case, read, refused, told
from tests.io.mutations.settings import TOML, File, axis_of, galaxy
from tests.io.small_cubes import SAMPLES

GENERIC = ("generic",)
THREE = ("kcwi, three files",)


def other_instrument(file: File) -> None:
    file.path.unlink()
    SAMPLES["muse"].write(file.path, galaxy(axis_of("muse"), "air"))


def first_arm_again(file: File) -> None:
    file.path.write_bytes((file.path.parent / "cube.fits").read_bytes())


TWO_ARMS = (
    *refused("the same arm twice", first_arm_again, "lies inside", names=ARMS),
    *refused("another galaxy", do.cards(CRVAL1=151.0), "spaxels apart", names=ARMS),
    *refused("another grid", do.cards(CDELT1=-1e-4), "spaxels apart", names=ARMS),
    *refused("an arm of another instrument", other_instrument, "different instruments", names=ARMS),
    *refused(
        "another field", do.all_voxels(lambda values: values[:, 1:]), "different fields", names=ARMS
    ),
    *refused("another medium", do.cards(CTYPE3="WAVE"), "different media", names=ARMS),
    *refused(
        "a unit that nobody knows",
        do.cards_of("flux", BUNIT="10**(-20"),
        "knowledge of the flux unit",
        names=ARMS,
    ),
    *refused("no arm", lambda file: file.path.unlink(), "there is no file", names=ARMS),
)


def changed(change):
    """Change the voxels of a file that has them in its primary."""

    def write(path):
        with fits.open(path, memmap=False) as hdus:
            hdus[0].data = change(np.array(hdus[0].data))
            hdus.writeto(path, overwrite=True)

    return write


def set_card(card, value):
    return lambda path: fits.setval(path, card, value=value)


def exchanged(file: File) -> None:
    """Give flux and variance each other's names."""
    names = [file.path.parent / f"a_{letter}cubes.fits" for letter in "iv"]
    flux, variance = (name.read_bytes() for name in names)
    names[0].write_bytes(variance)
    names[1].write_bytes(flux)


def unmasked(truth, _):
    return replace(truth, bad=np.zeros_like(truth.bad))


V, M = "a_vcubes.fits", "a_mcubes.fits"
COMPANIONS = (
    *refused(
        "no variance", do.beside(V, lambda path: path.unlink()), "there is no file", names=THREE
    ),
    *refused(
        "a variance of another shape",
        do.beside(V, changed(lambda values: values[:, :3])),
        "where they must be the same",
        names=THREE,
    ),
    *refused(
        "a mask of another shape",
        do.beside(M, changed(lambda values: values[:9])),
        "where they must be the same",
        names=THREE,
    ),
    *refused(
        "a variance on another axis",
        do.beside(V, set_card("CRVAL3", 6400.0)),
        "gives wavelengths that differ",
        names=THREE,
    ),
    *refused(
        "a variance cut short",
        do.beside(V, lambda path: path.write_bytes(path.read_bytes()[:9000])),
        "is cut short",
        names=THREE,
    ),
    *refused(
        "a variance of NaN",
        do.beside(V, changed(lambda values: values * np.nan)),
        "no spaxel has usable data",
        names=THREE,
        stage="snr",
    ),
    *refused(
        "the file of the variance",
        do.beside(V, lambda path: path.write_text("not FITS")),
        "cannot be read as a FITS file",
        names=THREE,
    ),
    *refused(
        "flux and variance exchanged, of a faint field",
        do.in_turn(do.faint(1.0), exchanged),
        "negative",
        names=THREE,
    ),
    *read("no mask", do.beside(M, lambda path: path.unlink()), unmasked, names=THREE),
    *read(
        "the unit of some versions",
        do.cards_of("flux", BUNIT="1e+16 erg / (Angstrom cm2 s)"),
        names=("kcwi", "kcwi, three files"),
    ),
)


def described(name: str, old: str, new: str, sentence: str) -> tuple[Case, ...]:
    """Refuse another description."""
    assert TOML.count(old) == 1
    return tuple(refused(name, do.described(TOML.replace(old, new)), sentence, names=GENERIC))


WAVE = TOML + 'wave = "LAMBDA"\nmedium = "air"\n'

DESCRIPTIONS = (
    *described("unknown flux", '"SCI"', '"NOPE"', "no extension NOPE"),
    *described("unknown error", '"ERR"', '"NOPE"', "no extension NOPE"),
    *described("unknown mask", '"QUALITY"', '"NOPE"', "no extension NOPE"),
    *described("a number too high", '"ERR"', '"9"', "no extension 9"),
    *described("the primary, which is empty", '"SCI"', '"0"', "has 0 axes"),
    *described("the error is the flux", '"ERR"', '"SCI"', "is taken for the 1-sigma error"),
    *described("the error is the flux, by number", '"ERR"', '"1"', "is taken for"),
    *described("the mask is the flux", '"QUALITY"', '"SCI"', "is taken for the mask"),
    *described("the mask is the error", '"QUALITY"', '"ERR"', "is taken for the mask"),
    *described("an unknown kind", '"sigma"', '"std"', "error_kind"),
    *described("an unknown key", "mask_bits", "mask_bytes", "mask_bytes"),
    *described("bits that are text", "mask_bits = 6", 'mask_bits = "six"', "mask_bits"),
    *described("no width", "resolving_power = 3000", "", "how wide a line is"),
    *described("a negative width", "resolving_power = 3000", "fwhm = -2", "fwhm"),
    *described("no error said", 'error = "ERR"', "", "set error"),
    *described("a list of widths", "resolving_power = 3000", 'lsf = "ERR"', "has 3 axes"),
    *described("another table", "[cube]", "[tube]", "tube|no table"),
    *described("no TOML", "[cube]", "[cube", "TOML"),
    *described("an unknown medium", "mask_bits = 6", 'medium = "water"', "medium"),
    *described("wavelengths that are absent", "mask_bits = 6", 'wave = "L"', "no extension L"),
    *refused(
        "no description",
        do.beside("layout.toml", lambda path: path.unlink()),
        "there is no configuration file",
        names=GENERIC,
    ),
    *refused(
        "a kind against its header",
        do.cards_of("error", HDUCLAS3="MSE"),
        "holds MSE",
        names=GENERIC,
    ),
    *(
        case
        for name, make, sentence in (
            ("too few", lambda wave: wave[1:], "has 219 wavelengths, where the flux has 220"),
            ("in nm, unsaid", lambda wave: wave / 10, "lies within"),
            ("in disorder", lambda wave: wave[::-1].copy(), "strictly increasing"),
            ("not all known", lambda wave: np.where(wave < 6600, np.nan, wave), "increasing"),
            ("of one value", lambda wave: wave * 0 + 6500, "strictly increasing"),
            ("of all spaxels", lambda wave: wave[:, None] + np.zeros(4), "has 2 axes"),
        )
        for case in refused(
            f"wavelengths {name}",
            do.in_turn(do.listed("LAMBDA", make), do.described(WAVE)),
            sentence,
            names=GENERIC,
        )
    ),
    *refused(
        "wavelengths in Hz",
        do.in_turn(do.listed("LAMBDA", np.array, BUNIT="Hz"), do.described(WAVE)),
        "is not a length",
        names=GENERIC,
    ),
    *read(
        "wavelengths in a list",
        do.in_turn(do.listed("LAMBDA", np.array), do.described(WAVE)),
        names=GENERIC,
    ),
    *read(
        "wavelengths in a list, in nm",
        do.in_turn(do.listed("LAMBDA", lambda wave: wave / 10, BUNIT="nm"), do.described(WAVE)),
        names=GENERIC,
    ),
)

WAVE_OF_MANGA = (
    *(
        case
        for name, make, sentence in (
            ("in nm", lambda wave: wave / 10, "WAVE gives wavelengths that differ"),
            ("shifted by a pixel", lambda wave: wave + 1.25, "WAVE gives wavelengths that differ"),
            ("in air", lambda wave: wave / 1.000277, "WAVE gives wavelengths that differ"),
            ("in the rest frame", lambda wave: wave / 1.01, "WAVE gives wavelengths that differ"),
            ("of NaN", lambda wave: wave * np.nan, "WAVE gives wavelengths that differ"),
            ("too short", lambda wave: wave[1:], "WAVE gives 219 wavelengths"),
        )
        for case in refused(
            f"WAVE {name}",
            do.in_turn(do.without_named("WAVE"), do.listed("WAVE", make)),
            sentence,
            names=("manga", "manga, linear"),
        )
    ),
    *read(
        "WAVE in nm, as it says",
        do.in_turn(do.without_named("WAVE"), do.listed("WAVE", lambda wave: wave / 10, BUNIT="nm")),
        names=("manga", "manga, linear"),
    ),
)

WRONG = r"too (small|large) by a factor"
POWERS = {"variance": (0.5, -0.5), "sigma": (2, -2), "ivar": (-0.5, -1)}
"""Powers of the error that is stated, which make it one of the other two kinds."""


def as_other_kind(which: int) -> do.Change:
    return lambda file: do.voxels("error", lambda error: error ** POWERS[file.sample.kind][which])(
        file
    )


TOLD = (
    *told("an error of another kind", as_other_kind(0), WRONG, names=WITH_ERROR),
    *told("an error of a third kind", as_other_kind(1), WRONG, names=WITH_ERROR),
    *told("an error ten times too small", do.error_times(0.1), WRONG, names=WITH_ERROR),
    *told("flux and error swapped", do.swapped("flux", "error"), WRONG, names=WITH_ERROR),
    *told(
        "a unit against that of the error",
        do.in_turn(
            do.cards_of("flux", BUNIT="1e-18 erg/s/cm2/Angstrom"),
            do.cards_of("error", BUNIT="1e-17 erg/s/cm2/Angstrom"),
        ),
        "contradictions",
        names=("muse", "manga", "kcwi", "generic"),
    ),
    *told("a unit that nobody knows", do.cards_of("flux", BUNIT="10**("), "BUNIT", names=GENERIC),
)

SPECIAL = (*TWO_ARMS, *COMPANIONS, *DESCRIPTIONS, *WAVE_OF_MANGA, *TOLD)
