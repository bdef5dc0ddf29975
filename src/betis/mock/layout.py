"""What the layouts of all instruments share: extensions, and the cards of their axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from betis.arrays import B8, F64
from betis.mock.instruments import Setup
from betis.mock.options import MockOptions

if TYPE_CHECKING:
    from astropy.io import fits

RA, DEC = 34.55, -8.0
"""Where the mock galaxy lies, degrees."""

Cards = Mapping[str, Any]
"""Header cards: a value, or a value and a comment."""


class Voxels(NamedTuple):
    """Some image rows of a cube as observed, in the unit of the file.

    Attributes
    ----------
    flux, variance : [wave, y, x]
    outside : bool [y, x]
        True where the spaxel is outside the field of view.
    """

    flux: Float[F64, "wave y x"]
    variance: Float[F64, "wave y x"]
    outside: Bool[B8, "y x"]

    def blank(self, values: Float[F64, "wave y x"], mark: float) -> Float[F64, "wave y x"]:
        """Return values with a mark outside the field of view."""
        return np.where(self.outside, mark, values)

    def marked(self, inside: int, outside: int) -> NDArray[Any]:
        """Return integers, the same at every wavelength."""
        return np.broadcast_to(np.where(self.outside, outside, inside), self.flux.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Extension:
    """One extension of a file.

    Attributes
    ----------
    header
        Whole: it says type and size.
    dtype
        Of the voxels as they are stored.
    fill
        Gives the voxels of some image rows ``[wave, y, x]``; None where ``values`` are all.
    values
        What is stored, where it is no cube.
    """

    header: fits.Header
    dtype: str = ">f4"
    fill: Callable[[Voxels], NDArray[Any]] | None = None
    values: NDArray[Any] | None = None


_BITPIX = {">f4": -32, ">f8": -64, ">i4": 32, "u1": 8}


def cube_extension(
    options: MockOptions,
    setup: Setup,
    fill: Callable[[Voxels], NDArray[Any]],
    cards: Cards,
    dtype: str = ">f4",
) -> Extension:
    """Return an image extension of the size of the cube; the primary one where it has no EXTNAME.

    Parameters
    ----------
    options, setup
        Give the size.
    fill
        As `Extension.fill`.
    cards
        All but those of type and size.
    dtype
        As `Extension.dtype`.
    """
    sizes = (options.n_x, options.n_y, setup.axis.count)
    return Extension(
        header=_header(sizes, dtype, cards, primary="EXTNAME" not in cards), dtype=dtype, fill=fill
    )


def image_extension(name: str, values: NDArray[Any], cards: Cards | None = None) -> Extension:
    """Return a small image extension of double precision, written at once."""
    header = _header(values.shape[::-1], ">f8", {"EXTNAME": name, **(cards or {})}, primary=False)
    return Extension(header=header, dtype=">f8", values=values.astype(">f8"))


def empty_primary(cards: Cards) -> Extension:
    """Return a primary header without voxels."""
    from astropy.io import fits

    header = fits.PrimaryHDU().header
    header.update(header_cards(cards))
    return Extension(header=header)


def header_cards(cards: Cards) -> list[tuple[str, Any, str]]:
    """Return keyword, value and comment of each card."""
    return [
        (key, *card) if isinstance(card, tuple) else (key, card, "") for key, card in cards.items()
    ]


def reference_pixel(options: MockOptions) -> dict[str, Any]:
    """Return the cards of the middle of the field, which lies at `RA`, `DEC`."""
    return {
        "CRPIX1": ((options.n_x + 1) / 2, "Pixel coordinate of reference point"),
        "CRPIX2": ((options.n_y + 1) / 2, "Pixel coordinate of reference point"),
        "CUNIT1": ("deg", "Units of coordinate increment and value"),
        "CUNIT2": ("deg", "Units of coordinate increment and value"),
        "CTYPE1": ("RA---TAN", "Right ascension, gnomonic projection"),
        "CTYPE2": ("DEC--TAN", "Declination, gnomonic projection"),
        "CRVAL1": (RA, "[deg] Coordinate value at reference point"),
        "CRVAL2": (DEC, "[deg] Coordinate value at reference point"),
    }


def spaxel_steps(setup: Setup, card: str = "CD{0}_{0}") -> dict[str, float]:
    """Return the cards of the step along x (to the west) and y (to the north), degrees."""
    step = setup.spaxel / 3600
    return {card.format(1): -step, card.format(2): step}


def wave_cards(setup: Setup, ctype: str, step_card: str) -> dict[str, Any]:
    """Return the cards of the wavelength axis."""
    axis = setup.axis
    return {
        "CTYPE3": ctype,
        "CUNIT3": "Angstrom",
        step_card: axis.step,
        "CRPIX3": axis.reference,
        "CRVAL3": axis.value,
    }


def _header(sizes: tuple[int, ...], dtype: str, cards: Cards, *, primary: bool) -> fits.Header:
    from astropy.io import fits

    first = (
        ("SIMPLE", True, "conforms to FITS standard")
        if primary
        else ("XTENSION", "IMAGE", "Image extension")
    )
    header = fits.Header([first, ("BITPIX", _BITPIX[dtype]), ("NAXIS", len(sizes))])
    header.update({f"NAXIS{axis}": size for axis, size in enumerate(sizes, start=1)})
    header.update({"EXTEND": True} if primary else {"PCOUNT": 0, "GCOUNT": 1})
    header.update(header_cards(cards))
    return header
