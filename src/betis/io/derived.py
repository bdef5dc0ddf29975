"""``derived.fits``: what follows from the lines, as a table of the bins and as maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betis.derived import Derived
from betis.derived.classes import Classes
from betis.derived.fluxes import Quantity
from betis.io.fits import image_hdu, open_fits, table_hdu, write_fits
from betis.io.products import flux_unit, native
from betis.products import BinMap, Sky

__all__ = ["read_derived", "write_derived"]

Cards = Mapping[str, Any]

_FLUX = "flux"
"""Unit of a quantity that is a flux, which a map shows per spaxel."""


def write_derived(path: Path, derived: Derived, bins: BinMap, sky: Sky, cards: Cards) -> None:
    """Write ``derived.fits``: DERIVED, a row a bin, and an image for each quantity and class.

    Each quantity has its error beside it, ``NAME_ERR``. FLUX_DEREDDENED is per spaxel in the
    images, as the fluxes of ``maps.fits`` are, and of the whole bin in the table.
    """
    hdus = [_table(derived, sky)]
    for name, quantity in derived.quantities.items():
        hdus.extend(_images(name, quantity, derived.names, bins, sky))
    for name, classes in derived.classes.items():
        known = {f"CLASS{i + 1}": text for i, text in enumerate(classes.names)}
        head = {**sky.wcs, "MEANING": classes.meaning, "CLASS0": "none", **known}
        hdus.append(image_hdu(name, bins.paint(classes.value, -1), head))
    write_fits(path, hdus, {**cards, "MINSNR": derived.min_snr})


def _table(derived: Derived, sky: Sky) -> Any:
    columns: dict[str, NDArray[Any]] = {}
    units: dict[str, str] = {}
    for name, quantity in derived.quantities.items():
        columns |= {name: quantity.value, f"{name}_ERR": quantity.error}
        units |= dict.fromkeys((name, f"{name}_ERR"), _unit(quantity, sky))
    columns |= {name: classes.value for name, classes in derived.classes.items()}
    n_bin = max((len(column) for column in columns.values()), default=0)
    return table_hdu("DERIVED", {"bin_id": np.arange(n_bin, dtype=np.int32), **columns}, units)


def _unit(quantity: Quantity, sky: Sky) -> str:
    return flux_unit(sky, density=False) if quantity.unit == _FLUX else quantity.unit


def _images(
    name: str, quantity: Quantity, names: tuple[str, ...], bins: BinMap, sky: Sky
) -> Iterator[Any]:
    head = {"BUNIT": _unit(quantity, sky), **sky.wcs, "MEANING": quantity.meaning}
    head |= {f"NEED{i + 1}": line for i, line in enumerate(quantity.lines)}
    if quantity.value.ndim > 1:
        head |= {f"LINE{i + 1}": line for i, line in enumerate(names)}
    for suffix, values in (("", quantity.value), ("_ERR", quantity.error)):
        per_spaxel = values / bins.n_spaxel[:, None] if quantity.unit == _FLUX else values
        yield image_hdu(name + suffix, bins.paint(per_spaxel), head)


def read_derived(path: str | Path) -> Derived:
    """Read ``derived.fits``.

    Raises
    ------
    InputError
        Where there is no such file or it is no FITS file.
    """
    with open_fits(path) as hdus:
        table = hdus["DERIVED"].data
        heads = {hdu.name: hdu.header for hdu in hdus[2:]}
        measured = [name for name in heads if f"{name}_ERR" in heads]
        return Derived(
            quantities={name: _quantity(name, table, heads[name]) for name in measured},
            classes={
                name: Classes(
                    value=native(table[name]).astype(np.int32),
                    names=_listed(head, "CLASS"),
                    meaning=str(head["MEANING"]),
                )
                for name, head in heads.items()
                if "CLASS1" in head
            },
            names=next((_listed(head, "LINE") for head in heads.values() if "LINE1" in head), ()),
            min_snr=float(hdus[0].header["MINSNR"]),
        )


def _quantity(name: str, table: Any, head: Any) -> Quantity:
    is_flux = "LINE1" in head
    return Quantity(
        value=native(table[name]),
        error=native(table[f"{name}_ERR"]),
        unit=_FLUX if is_flux else str(head["BUNIT"]),
        meaning=str(head["MEANING"]),
        lines=_listed(head, "NEED"),
    )


def _listed(head: Any, key: str) -> tuple[str, ...]:
    """Return the values of the cards KEY1, KEY2 ..."""
    found: list[str] = []
    while f"{key}{len(found) + 1}" in head:
        found.append(str(head[f"{key}{len(found) + 1}"]))
    return tuple(found)
