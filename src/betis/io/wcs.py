"""Celestial world coordinates of a cube's field, as plain header cards."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

from betis.errors import InputError

_SPECTRAL = re.compile(
    r"NAXIS3?|WCSAXES|(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CNAME|CROTA)3|(CD|PC)(3_\d|\d_3)"
)
"""Cards of the third axis: what is wrong with it is no matter of the sky."""

_LARGEST_SPAXEL = 1.0
"""Square degrees; a scale beyond this, or none, is a mistake."""


def read_celestial(header: Any) -> dict[str, Any]:
    """Return the cards of the celestial WCS of a cube that somebody else wrote, checked.

    Raises
    ------
    InputError
        Where there is one, but it places no spaxel on the sky.
    """
    from astropy.wcs import WcsError

    try:
        cards = celestial_cards(header)
    except (WcsError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise InputError(
            f"the celestial WCS makes no sense ({reason}); mend CTYPE1, CTYPE2, CUNIT1, CUNIT2, "
            "CRVAL1, CRVAL2 and the CD matrix, or remove them all"
        ) from error
    if cards:
        _require_separate(header)
        _require_reference(header)
        _require_scale(cards)
    return cards


def celestial_cards(header: Any) -> dict[str, Any]:
    """Return the cards of the celestial WCS of FITS axes 1 and 2; empty where there is none."""
    from astropy.io import fits
    from astropy.wcs import WCS

    plane = fits.Header([card for card in header.cards if not _SPECTRAL.fullmatch(card.keyword)])
    with warnings.catch_warnings():
        # A CDELT beside a CD matrix, or a date in an old form, is repaired and reported.
        warnings.simplefilter("ignore")
        celestial = WCS(plane, naxis=2).celestial
        if celestial.naxis != 2 or not celestial.has_celestial:
            return {}
        return {card.keyword: card.value for card in celestial.to_header().cards}


def celestial_wcs(cards: Mapping[str, Any]) -> Any:
    """Return the astropy WCS of such cards, or None where there are none."""
    from astropy.io import fits
    from astropy.wcs import WCS

    return WCS(fits.Header(dict(cards))) if cards else None


def _require_separate(header: Any) -> None:
    for card in ("CD1_3", "CD2_3", "CD3_1", "CD3_2", "PC1_3", "PC2_3", "PC3_1", "PC3_2"):
        if header.get(card, 0.0) != 0.0:
            raise InputError(
                f"the header's {card} is {header[card]!r}, which mixes the sky with the "
                "wavelengths, where it must be 0; rewrite the cube along its axes"
            )


def _require_reference(header: Any) -> None:
    """Check the cards for which FITS has a default that is never meant."""
    for card in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        value = header.get(card)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(
                f"the header's {card} is {value!r}, where the celestial WCS needs a number; mend "
                "the card"
            )


def _require_scale(cards: Mapping[str, Any]) -> None:
    area = float(celestial_wcs(cards).proj_plane_pixel_area().to_value("deg2"))
    if not 0 < area < _LARGEST_SPAXEL:
        raise InputError(
            f"the celestial WCS gives a spaxel an area of {area:g} square degrees; mend CD1_1, "
            "CD1_2, CD2_1, CD2_2 or CDELT1, CDELT2, or remove the celestial WCS"
        )
