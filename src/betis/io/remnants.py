"""Templates of supernova remnants in, what resembles them out: ``remnants.fits``."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betis.errors import InputError
from betis.flags import header_cards
from betis.io.fits import image_hdu, require_file, table_hdu, write_fits
from betis.products import BinMap, Sky
from betis.remnants import MEASURED, Match, Matching, RemnantTemplate
from betis.wavelength import Medium

__all__ = ["read_remnant", "remnant_cards", "write_remnants"]

_EXTENSIONS = {
    "": "coefficient",
    "_P": "p_value",
    "_SIG": "significance",
    "_LEGACY": "legacy",
    "_FLAGS": "flags",
}
"""What is painted, and what it adds to the name of the template."""


def read_remnant(path: str | Path, medium: Medium = "air") -> RemnantTemplate:
    """Read a template of two columns, wavelength in Angstrom and flux; what follows is ignored.

    Columns are separated by blanks, tabs or commas; lines that begin with # are comments.

    Raises
    ------
    InputError
        Where there is no such file, it is no table of numbers, or its wavelengths do not increase.
    """
    where = require_file(path)
    columns = _columns(where)
    wave, flux = columns[:, 0], columns[:, 1]
    if len(wave) < _FEWEST or not (np.diff(wave) > 0).all() or wave[0] <= 0:
        raise InputError(
            f"{where} has {len(wave)} wavelengths, where at least {_FEWEST} that are positive and "
            "increase were expected; sort them and drop repeated ones"
        )
    if not np.isfinite(columns[:, :2]).all():
        raise InputError(f"{where} has values that are not finite; leave out those rows")
    return RemnantTemplate(name=_extension_name(where), wave=wave, flux=flux, medium=medium)


_FEWEST = 10


def _columns(path: Path) -> NDArray[Any]:
    expected = "where two columns of numbers, wavelength (Angstrom) and flux, were expected"
    try:
        text = path.read_text("utf-8").replace(",", " ")
        rows = [line for line in text.splitlines() if line.partition("#")[0].strip()]
        table = np.loadtxt(io.StringIO("\n".join(rows)), ndmin=2) if rows else np.empty((0, 0))
    except ValueError as error:
        raise InputError(f"{path} cannot be read as a spectrum ({error}), {expected}") from error
    if table.shape[1] < len(("wave", "flux")):
        raise InputError(f"{path} has {table.shape[1]} columns, {expected}; add the other")
    return np.asarray(table, dtype=float)


def _extension_name(path: Path) -> str:
    """Return the name of the file in letters, digits and underscores, capitals."""
    return re.sub(r"\W+", "_", path.stem, flags=re.ASCII).strip("_").upper() or "TEMPLATE"


def write_remnants(
    path: Path,
    bins: BinMap,
    sky: Sky | None,
    matches: Mapping[str, Match],
    cards: Mapping[str, Any],
) -> None:
    """Write ``remnants.fits``: for each template maps ``(region, y, x)``, and the table REMNANTS.

    The extension called after the template is the coefficient; ``_P``, ``_SIG``, ``_LEGACY`` and
    ``_FLAGS`` hold its p-value, significance, the old coefficient and the flags. Cards REGION1 ...
    name the planes. Spaxels in no bin are NaN; their flags are -1.

    Raises
    ------
    RunFolderError
        Where the file cannot be written; an older one stays as it was.
    """
    place = {} if sky is None else dict(sky.wcs)
    regions = next(iter(matches.values())).regions
    planes = {f"REGION{i + 1}": _region_text(region) for i, region in enumerate(regions)}
    hdus = [
        image_hdu(f"{name}{suffix}", _painted(bins, match, field), {**place, **planes})
        for name, match in matches.items()
        for suffix, field in _EXTENSIONS.items()
    ]
    hdus.append(table_hdu("REMNANTS", _table(matches), {"low": "Angstrom", "high": "Angstrom"}))
    write_fits(path, hdus, {**header_cards(), **cards})


def _painted(bins: BinMap, match: Match, field: str) -> NDArray[Any]:
    return bins.paint(getattr(match, field), -1 if field == "flags" else np.nan)


def _region_text(region: tuple[float, float]) -> str:
    return f"{region[0]:g}-{region[1]:g}"


def remnant_cards(how: Matching) -> dict[str, Any]:
    """Return the header cards that say how spectra and templates were compared."""
    return {
        "DEGREE": (how.degree, "of the polynomial taken out of both"),
        "VELOCITY": (how.velocity, "[km/s] of the remnants in the rest frame"),
        "TEMPLZ": (how.redshift, "redshift of the templates"),
        "NOISCORR": (how.noise_correlation, "of the noise of neighbouring wavelengths"),
    }


def _table(matches: Mapping[str, Match]) -> dict[str, NDArray[Any]]:
    """Return the columns of a table with a row a template, bin and region."""
    n_row, n_region = next(iter(matches.values())).coefficient.shape
    ends = np.array(next(iter(matches.values())).regions, dtype=float)
    of_rows = {
        "bin_id": np.repeat(np.arange(n_row, dtype=np.int32), n_region),
        "low": np.tile(ends[:, 0], n_row),
        "high": np.tile(ends[:, 1], n_row),
    }
    columns = {name: np.tile(values, len(matches)) for name, values in of_rows.items()}
    columns["template"] = np.repeat(np.array(list(matches)), n_row * n_region)
    for name in MEASURED:
        columns[name] = np.concatenate([getattr(one, name).ravel() for one in matches.values()])
    return columns
