"""The products with a row a bin on disk: spectra, continuum, lines; written and read in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from betis.arrays import B8, F64, I32, Index
from betis.flags import header_cards
from betis.io.fits import image_hdu, open_fits, table_hdu
from betis.io.products import flux_unit, native, read_sky
from betis.io.row_files import (
    Layout,
    RowArray,
    RowWriter,
    image_layout,
    row_array,
    row_numbers,
    table_layout,
    write_rows,
)
from betis.io.stored_lines import PER_GROUP, PER_LINE, read_lines
from betis.linelist import LineSet
from betis.products import ContinuumFit, LineFit, RowStream, Sky, Spectra
from betis.products.fits import joined
from betis.wavelength import Medium

__all__ = [
    "StoredContinuum",
    "StoredSpectra",
    "read_continuum",
    "read_lines",
    "read_spectra",
    "write_continuum",
    "write_lines",
    "write_spectra",
]

Cards = Mapping[str, Any]
T = TypeVar("T")

_AT_ONCE = 64
"""Spectra looked at at once, of a quantity that needs each only once."""

_KMS = "km/s"
_STELLAR_UNITS = {
    **dict.fromkeys(("velocity", "velocity_err", "sigma", "sigma_err"), _KMS),
    **dict.fromkeys(("av", "av_err"), "mag"),
}
_OF_FLUX = ("flux", "flux_err", "flux_direct", "flux_direct_err", "flux_fixed", "upper_limit")
_IN_KMS = (
    "velocity", "velocity_err", "sigma", "sigma_err", "velocity_direct", "velocity_direct_err",
    "sigma_direct", "sigma_direct_err", "w80", "w80_err",
)  # fmt: skip
_LINE_UNITS = {
    **dict.fromkeys(_IN_KMS, _KMS),
    **dict.fromkeys(("sigma_obs", "wave_obs", "ew", "ew_err"), "Angstrom"),
}
_OF_MODEL = {"model", "used", "weights", "core_wave", "core_err"}
_STELLAR = tuple(item.name for item in fields(ContinuumFit) if item.name not in _OF_MODEL)


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredSpectra:
    """Spectra in a file: `betis.products.SpectraRows`."""

    axis: Spectra
    n_spaxel: Int[I32, " spectrum"]
    flux: RowArray
    error: RowArray
    mask: RowArray

    @property
    def n_spectrum(self) -> int:
        """How many rows there are."""
        return int(self.n_spaxel.size)

    @property
    def wave(self) -> Float[F64, " wave"]:
        """Rest wavelengths, Angstrom."""
        return self.axis.wave

    @property
    def medium(self) -> Medium:
        """Of the wavelengths as observed."""
        return self.axis.medium

    @property
    def redshift(self) -> float:
        """What the axis was divided by, minus one."""
        return self.axis.redshift

    @property
    def sky_window(self) -> Bool[B8, " wave"]:
        """True at pixels that the continuum fit leaves out."""
        return self.axis.sky_window

    @property
    def sky(self) -> Sky | None:
        """Shape of the field, WCS and flux scale."""
        return self.axis.sky

    def mean_flux(self) -> Float[F64, " spectrum"]:
        """Return the mean flux density over the good pixels of each row; NaN where none is."""
        mean = np.full(self.n_spectrum, np.nan)
        for first in range(0, mean.size, _AT_ONCE):
            rows = slice(first, first + _AT_ONCE)
            good = (self.mask.take(rows) == 0).sum(axis=1)
            # Bad pixels are stored as 0.
            total = self.flux.take(rows).sum(axis=1)
            mean[rows] = np.divide(total, good, out=mean[rows], where=good > 0)
        return mean

    def take(self, rows: slice | NDArray[Any]) -> Spectra:
        """Return some of the rows, in memory."""
        return replace(
            self.axis,
            flux=self.flux.take(rows),
            error=self.error.take(rows),
            mask=self.mask.take(rows).astype(bool),
            n_spaxel=self.n_spaxel[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredContinuum:
    """Continuum fits in a file: `betis.products.ContinuumRows`."""

    table: ContinuumFit
    model: RowArray
    used: RowArray

    def take(self, rows: slice | NDArray[Any]) -> ContinuumFit:
        """Return some of the rows, whole, in memory."""
        return replace(
            self.table.take(rows),
            model=self.model.take(rows),
            used=self.used.take(rows).astype(bool),
        )


def write_spectra(path: Path, stream: RowStream[Spectra], cards: Cards) -> None:
    """Write ``spectra.fits``: FLUX, ERROR, MASK ``(bin, wave)``, WAVE, PIXELS, ROWS, FIELD."""
    first, pieces = _peek(stream.pieces)
    sky = first.sky or Sky(shape=(0, 0))
    unit = {"BUNIT": flux_unit(sky, density=True)}
    shape = (stream.n_row, first.wave.size)
    n_spaxel = np.ones(stream.n_row, np.int32)

    def fill(writer: RowWriter) -> Sequence[Any]:
        for rows, part in pieces:
            writer.put("FLUX", rows, part.flux)
            writer.put("ERROR", rows, part.error)
            writer.put("MASK", rows, part.mask)
            n_spaxel[rows] = part.n_spaxel
        return [*_axis_hdus(first, sky), table_hdu("ROWS", {"n_spaxel": n_spaxel})]

    layouts = [
        image_layout("FLUX", shape, "f8", unit),
        image_layout("ERROR", shape, "f8", unit),
        image_layout("MASK", shape, "u1"),
    ]
    write_rows(path, layouts, fill, {**cards, "MEDIUM": first.medium, "REDSHIFT": first.redshift})


def _axis_hdus(spectra: Spectra, sky: Sky) -> list[Any]:
    pixels = {
        "low": spectra.edges[:-1],
        "high": spectra.edges[1:],
        "lsf": spectra.lsf,
        "sky_window": spectra.sky_window,
    }
    return [
        image_hdu("WAVE", spectra.wave, {"BUNIT": "Angstrom"}),
        table_hdu("PIXELS", pixels, dict.fromkeys(("low", "high", "lsf"), "Angstrom")),
        _field_hdu(sky),
    ]


def _field_hdu(sky: Sky) -> Any:
    """Return an empty image that holds the WCS and the flux scale."""
    return image_hdu(
        "FIELD", np.zeros(sky.shape, np.uint8), {**sky.wcs, "FLUXSCAL": sky.flux_scale}
    )


def read_spectra(path: str | Path) -> StoredSpectra:
    """Open ``spectra.fits``; its rows are read when they are asked for."""
    where = Path(path)
    with open_fits(where) as hdus:
        pixels, head = hdus["PIXELS"].data, hdus[0].header
        wave = np.array(hdus["WAVE"].data, dtype=float)
        axis = Spectra(
            wave,
            np.zeros((0, wave.size)),
            np.zeros((0, wave.size)),
            medium=cast("Medium", head["MEDIUM"]),
            lsf=np.array(pixels["lsf"], dtype=float),
            edges=np.append(pixels["low"], pixels["high"][-1:]).astype(float),
            redshift=float(head["REDSHIFT"]),
            sky_window=np.array(pixels["sky_window"], dtype=bool),
            sky=read_sky(hdus["FIELD"].header),
        )
        return StoredSpectra(
            axis=axis,
            n_spaxel=native(hdus["ROWS"].data["n_spaxel"]),
            flux=row_array(where, hdus["FLUX"]),
            error=row_array(where, hdus["ERROR"]),
            mask=row_array(where, hdus["MASK"]),
        )


def write_continuum(
    path: Path, stream: RowStream[ContinuumFit], sky: Sky | None, cards: Cards
) -> None:
    """Write ``continuum.fits``: MODEL, USED ``(bin, wave)``, STELLAR, CORES and WEIGHTS."""
    first, pieces = _peek(stream.pieces)
    shape, unit = (stream.n_row, first.model.shape[1]), flux_unit(sky, density=True)

    def fill(writer: RowWriter) -> Sequence[Any]:
        order, parts = [], []
        for rows, part in pieces:
            writer.put("MODEL", rows, part.model)
            writer.put("USED", rows, part.used)
            order.append(row_numbers(rows, stream.n_row))
            # Copies: an empty view would keep the whole array alive.
            parts.append(
                replace(part, model=part.model[:, :0].copy(), used=part.used[:, :0].copy())
            )
        return _stellar_hdus(joined(parts).take(np.argsort(np.concatenate(order))), unit)

    layouts = [
        image_layout("MODEL", shape, "f8", {"BUNIT": unit}),
        image_layout("USED", shape, "u1"),
    ]
    write_rows(path, layouts, fill, {**cards, **header_cards()})


def _stellar_hdus(fit: ContinuumFit, unit: str) -> list[Any]:
    columns = {"bin_id": np.arange(fit.flags.size, dtype=np.int32)}
    columns.update({name: getattr(fit, name) for name in _STELLAR})
    cores = {"core_wave": fit.core_wave, "core_err": fit.core_err.T}
    hdus = [
        table_hdu("STELLAR", columns, _STELLAR_UNITS),
        table_hdu("CORES", cores, {"core_wave": "Angstrom", "core_err": unit}),
    ]
    if fit.weights.shape[1]:
        hdus.append(image_hdu("WEIGHTS", fit.weights, {"BUNIT": unit}))
    return hdus


def read_continuum(path: str | Path) -> StoredContinuum:
    """Open ``continuum.fits``; its models are read when they are asked for."""
    where = Path(path)
    with open_fits(where) as hdus:
        table, cores = hdus["STELLAR"].data, hdus["CORES"].data
        n_row = len(table)
        weights = hdus["WEIGHTS"].data if "WEIGHTS" in hdus else np.zeros((n_row, 0))
        fit = ContinuumFit(
            model=np.zeros((n_row, 0)),
            used=np.zeros((n_row, 0), bool),
            weights=np.array(weights, dtype=float),
            core_wave=native(cores["core_wave"]),
            core_err=native(cores["core_err"]).reshape(-1, n_row).T.copy(),
            **{name: native(table[name]) for name in _STELLAR if name in table.columns.names},
        )
        model, used = row_array(where, hdus["MODEL"]), row_array(where, hdus["USED"])
        return StoredContinuum(table=fit, model=model, used=used)


def write_lines(path: Path, stream: RowStream[LineFit], line_set: LineSet, cards: Cards) -> None:
    """Write ``lines.fits``: LINES (a row a bin and line), LINELIST, GROUPS, and images a group.

    With the covariance of the fluxes, where there is one, as FLUX_COV ``(bin, line, line)``.
    """
    first, pieces = _peek(stream.pieces)
    n_line, n_group = first.flux.shape[1], first.chi2.shape[1]
    density = flux_unit(first.sky, density=True)
    lines = table_layout(_lines_hdu(first, np.arange(len(first.flux))), stream.n_row * n_line)
    layouts = [
        lines,
        image_layout("BACKGROUND", (stream.n_row, n_group, 2), "f8", {"BUNIT": density}),
        *(
            image_layout(name.upper(), (stream.n_row, n_group), getattr(first, name).dtype.str[1:])
            for name in PER_GROUP
        ),
        *_covariance_layouts(first, stream.n_row),
    ]

    def fill(writer: RowWriter) -> Sequence[Any]:
        for rows, part in pieces:
            index = row_numbers(rows, stream.n_row)
            places = (index[:, None] * n_line + np.arange(n_line)).ravel()
            writer.put("LINES", places, np.asarray(_lines_hdu(part, index).data))
            writer.put("BACKGROUND", rows, part.background)
            for name in PER_GROUP:
                writer.put(name.upper(), rows, getattr(part, name))
            if part.flux_cov is not None:
                writer.put("FLUX_COV", rows, part.flux_cov)
        return [
            table_hdu("LINELIST", _line_list(first, line_set), _LIST_UNITS),
            table_hdu("GROUPS", {"background_wave": first.background_wave}),
            _field_hdu(first.sky or Sky(shape=(0, 0))),
        ]

    write_rows(path, layouts, fill, {**cards, **header_cards()})


def _covariance_layouts(first: LineFit, n_row: int) -> list[Layout]:
    if first.flux_cov is None:
        return []
    squared = None if first.sky is None else replace(first.sky, flux_scale=first.sky.flux_scale**2)
    unit = flux_unit(squared, density=False).replace("erg s-1 cm-2", "erg2 s-2 cm-4")
    cards = {"BUNIT": unit or None}
    return [image_layout("FLUX_COV", (n_row, *first.flux_cov.shape[1:]), "f8", cards)]


_LIST_UNITS = dict.fromkeys(("air", "vacuum"), "Angstrom")


def _lines_hdu(fit: LineFit, bin_id: Index) -> Any:
    """Return the table of some bins' lines, a row a bin and line."""
    n_row, n_line = fit.flux.shape
    columns: dict[str, NDArray[Any]] = {
        "bin_id": np.repeat(bin_id.astype(np.int32), n_line),
        "line": np.tile(np.array(fit.names), n_row),
    }
    columns.update({name: getattr(fit, name).ravel() for name in PER_LINE})
    columns.update({name: getattr(fit, name)[:, fit.group].ravel() for name in PER_GROUP})
    units = {**_LINE_UNITS, "amplitude": flux_unit(fit.sky, density=True)}
    flux = flux_unit(fit.sky, density=False)
    units.update(dict.fromkeys(_OF_FLUX, flux))
    return table_hdu("LINES", columns, units)


def _line_list(fit: LineFit, line_set: LineSet) -> dict[str, NDArray[Any]]:
    lines = line_set.lines
    return {
        "line": np.array(fit.names),
        "group": fit.group,
        "air": np.array([line.air for line in lines]),
        "vacuum": np.array([line.vacuum for line in lines]),
        "kinematics": np.array([line.kinematics for line in lines]),
        "ratio_of": np.array([line.ratio_of for line in lines]),
        "ratio": np.array([line.ratio for line in lines]),
    }


def _peek(pieces: Iterable[tuple[slice | Index, T]]) -> tuple[T, Iterator[tuple[slice | Index, T]]]:
    """Return the rows of the first piece, and all pieces."""
    iterator = iter(pieces)
    head = next(iterator)

    def again() -> Iterator[tuple[slice | Index, T]]:
        yield head
        yield from iterator

    return head[1], again()
