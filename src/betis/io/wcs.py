"""Celestial world coordinates of a cube's field, as plain header cards."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any


def celestial_cards(header: Any) -> dict[str, Any]:
    """Return the cards of the celestial WCS of FITS axes 1 and 2; empty where there is none."""
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        # A CDELT beside a CD matrix, or a date in an old form, is repaired and reported.
        warnings.simplefilter("ignore")
        celestial = WCS(header).celestial
        if celestial.naxis != 2 or not celestial.has_celestial:
            return {}
        return {card.keyword: card.value for card in celestial.to_header().cards}


def celestial_wcs(cards: Mapping[str, Any]) -> Any:
    """Return the astropy WCS of such cards, or None where there are none."""
    from astropy.io import fits
    from astropy.wcs import WCS

    return WCS(fits.Header(dict(cards))) if cards else None
