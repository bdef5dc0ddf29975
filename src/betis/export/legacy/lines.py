"""The files of lines and equivalent widths, and the maps painted from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from betis.arrays import F64
from betis.export.files import Image, write_images
from betis.export.legacy.names import MAPS, LegacyFolder
from betis.export.legacy.planes import Planes
from betis.products import BinMap, Sky

__all__ = ["write_lines", "write_painted", "write_widths"]

_FLUX, _DENSITY = "10**(-20) erg s-1 cm-2", "10**(-20) erg s-1 cm-2 Angstrom-1"
_HA, _HB = 1, 9
"""Planes of Halpha and Hbeta, from 0."""
_WIDTHS = {"Ha": _HA, "Hb": _HB}

_Place = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def write_lines(folder: LegacyFolder, planes: Planes, bins: BinMap, *, spaxels: bool) -> None:
    """Write PRIMARY, FLUX, EFLUX, VEL, EVEL, LINEPARS, ELINEPARS and FLUXINT.

    ``[plane, 1, label]``, label 0 empty; of a run on spaxels ``[plane, y, x]``, with EW and DEW of
    Halpha and Hbeta behind.
    """
    place = bins.paint if spaxels else by_label
    flux, speed = {"BUNIT": _FLUX}, {"BUNIT": "km/s"}
    images = [
        Image("PRIMARY", None, {}),
        Image("FLUX", place(planes.flux), {**flux, **_plane_cards(planes)}),
        Image("EFLUX", place(planes.flux_err), flux),
        Image("VEL", place(planes.velocity), speed),
        Image("EVEL", place(planes.velocity_err), speed),
        Image("LINEPARS", place(planes.parameters), {"CONTENT": _PARAMETERS}),
        Image("ELINEPARS", place(planes.parameter_errors), {"CONTENT": _ERRORS}),
        Image("FLUXINT", place(planes.flux_direct), flux),
    ]
    more = _width_images(planes, place) if spaxels else []
    write_images(folder.lines(spaxels=spaxels), [*images, *more])


_PARAMETERS = "amplitude, wavelength (air), sigma of each plane"
_ERRORS = "errors of these and scatter of residual"


def write_widths(folder: LegacyFolder, planes: Planes) -> None:
    """Write FLUX, EW and DEW, under both names that the file has had."""
    cards = {"BUNIT": _FLUX, **_plane_cards(planes)}
    flux = Image("FLUX", by_label(planes.flux), cards)
    for path in folder.widths:
        images = [Image("PRIMARY", None, {}), flux, *_width_images(planes, by_label)]
        write_images(path, images)


def write_painted(folder: LegacyFolder, planes: Planes, bins: BinMap, sky: Sky) -> None:
    """Write the maps of fluxes, velocities and equivalent widths, each with its errors.

    A bin's total flux stands at each of its spaxels, so that their sum counts it many times.
    """
    for number, name in MAPS.items():
        i = number - 1
        for kind, value, error, unit in (
            ("flux", planes.flux, planes.flux_err, _FLUX),
            ("vel", planes.velocity, planes.velocity_err, "km/s"),
        ):
            _write_map(folder, (kind, name), (value[:, i], error[:, i]), bins, sky, unit)
    for name, i in _WIDTHS.items():
        measured = planes.ew[:, i], planes.ew_err[:, i]
        _write_map(folder, ("EW", name), measured, bins, sky, "Angstrom")


def _write_map(
    folder: LegacyFolder,
    name: tuple[str, str],
    measured: tuple[F64, F64],
    bins: BinMap,
    sky: Sky,
    unit: str,
) -> None:
    cards = {"BUNIT": unit, **sky.wcs}
    value, error = (bins.paint(values) for values in measured)
    images = [Image("PRIMARY", value, cards), Image("errores", error, cards)]
    write_images(folder.painted(*name), images)


def by_label(values: Float[F64, "bin plane"]) -> Float[F64, "plane 1 label"]:
    """Return ``[plane, 1, label]``: bins count from 1 there, and label 0 is empty."""
    empty = np.full((1, *values.shape[1:]), np.nan)
    return np.asarray(np.concatenate([empty, values]).T[:, None])


def _plane_cards(planes: Planes) -> dict[str, str]:
    return {f"PLANE{number:02d}": card for number, card in enumerate(planes.cards, start=1)}


def _width_images(planes: Planes, place: _Place) -> list[Image]:
    chosen = list(_WIDTHS.values())
    cards = {"BUNIT": "Angstrom"} | {
        f"PLANE{number:02d}": planes.cards[i] for number, i in enumerate(chosen, start=1)
    }
    return [
        Image("EW", place(planes.ew[:, chosen]), cards),
        Image("DEW", place(planes.ew_err[:, chosen]), cards),
    ]
