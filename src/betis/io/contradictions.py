"""What the headers of a cube say against its layout, or against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from betis.errors import InputError
from betis.io.flux_units import error_kind_of

STATED_KINDS = {"MSE": "variance", "RMSE": "sigma", "INVMSE": "ivar", "INVRMSE": "inverse sigma"}
"""HDUCLAS3 of an error extension (ESO's data interface control document; also SDSS)."""

KINDS = {"variance": "variance", "ivar": "inverse variance", "sigma": "1-sigma error"}
"""What sentences call the kinds of error."""

_NO_FLUX = {"ERROR", "QUALITY"}
_ONCE = ("CTYPE3", "CRVAL3", "CRPIX3", "CUNIT3", "CD3_3", "CDELT3", "BUNIT", "BSCALE", "BZERO")


def require_kinds(path: Path, flux: Any, error: Any, kind: str) -> None:
    """Check what the headers of flux and error say that they hold, where they say it.

    A file often has HDUCLAS2 = DATA in the header of its error, copied from that of the flux, so
    that only the flux is asked for it.

    Parameters
    ----------
    path
        The file, for the sentence.
    flux, error
        HDUs of astropy.
    kind
        variance, ivar or sigma: what the error is taken for.

    Raises
    ------
    InputError
        Where the flux says that it is an error or a mask, or the error that it is another kind.
    """
    stated = _text(flux, "HDUCLAS2")
    if stated in _NO_FLUX:
        raise InputError(
            f"{path}: the extension {_name(flux)} says that it holds {stated} (HDUCLAS2), where "
            f"the flux was expected; check that {_name(flux)} and {_name(error)} are not swapped"
        )
    stated = _text(error, "HDUCLAS3")
    if STATED_KINDS.get(stated, kind) != kind:
        raise InputError(
            f"{path}: the extension {_name(error)} says that it holds {stated} (HDUCLAS3), where "
            f"{_class_of(kind)}, the {KINDS[kind]}, was expected; convert it, or describe the "
            "cube in the table [cube] of a TOML file"
        )
    _require_unit(path, error, kind)


def _require_unit(path: Path, error: Any, kind: str) -> None:
    """Check the unit of the error; one that is no square may have been copied from the flux."""
    unit = str(error.header.get("BUNIT") or "")
    stated = error_kind_of(unit)
    if stated in {"variance", "ivar"} and stated != kind:
        raise InputError(
            f"{path}: the extension {_name(error)} has BUNIT = {unit!r}, the unit of a "
            f"{KINDS[stated]}, where the {KINDS[kind]} was expected; convert it, mend the card, "
            "or describe the cube in the table [cube] of a TOML file"
        )


def require_single_cards(header: Any) -> None:
    """Check that no card of the axis or of the scale stands twice with different values.

    Raises
    ------
    InputError
        Where one does.
    """
    for card in _ONCE:
        values = [other.value for other in header.cards if other.keyword == card]
        if any(value != values[0] for value in values[1:]):
            raise InputError(
                f"the header has {card} more than once, with the values "
                f"{' and '.join(map(str, values))}; remove the one that is wrong"
            )


def require_observed(header: Any) -> None:
    """Check that the axis is not said to be in the rest frame of the source.

    Raises
    ------
    InputError
        Where it is.

    References
    ----------
    SPECSYS = SOURCE: Greisen et al. 2006, A&A 446 747, Table 8.
    """
    frame = str(header.get("SPECSYS") or "").strip().upper()
    if frame.startswith("SOURC"):
        raise InputError(
            f"the header's SPECSYS is {frame!r}: its wavelengths are in the rest frame of the "
            "source, where those observed are needed; give the cube as it was observed, or "
            "remove the card and give -z 0"
        )


def promised_mask(flux: Any, mask: str) -> bool:
    """Tell whether the flux says that the file has this extension of bad voxels."""
    return bool(mask) and _text(flux, "QUALDATA") == mask.upper()


def _text(hdu: Any, card: str) -> str:
    return str(hdu.header.get(card) or "").strip().upper()


def _name(hdu: Any) -> str:
    return str(hdu.name or "PRIMARY")


def _class_of(kind: str) -> str:
    return next(card for card, known in STATED_KINDS.items() if known == kind)
