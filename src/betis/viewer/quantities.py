"""What a map can show: every quantity of a run, by line where it has one for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from betis.arrays import B8, F64
from betis.derived import Derived
from betis.flags import Flag, describe
from betis.products import ContinuumFit, LineFit, Sky, SnrMap
from betis.report.binmap import color_bins, touching_bins
from betis.report.summary import reduced, scale_text
from betis.viewer.opened import OpenedRun

__all__ = ["Painted", "Quantity", "catalogue", "flags_of", "paint", "with_flags"]

Kind = Literal["number", "flags", "classes", "bins"]
Values = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """Something to be mapped.

    Attributes
    ----------
    key, label, room, unit
        What it is called here and on the page, under which heading, and its unit.
    values
        Of a line ("" where it has none): ``[bin]`` or ``[y, x]``.
    per_line
        Whether there is one for each line.
    kind
        Numbers, quality bits, classes, or the bins themselves.
    names
        Of the classes, from 1.
    signed
        Whether it has a natural zero in its middle.
    note
        In words, with its source.
    """

    key: str
    label: str
    room: str
    values: Callable[[str], Values]
    unit: str = ""
    per_line: bool = False
    kind: Kind = "number"
    names: tuple[str, ...] = ()
    signed: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Painted:
    """A quantity on the field.

    Attributes
    ----------
    image : [y, x]
        NaN where there is nothing; numbers of ``names`` where it has those.
    names
        What the numbers 0, 1 ... stand for; empty for a quantity that is measured.
    title, unit, note
        In words.
    """

    image: Float[F64, "y x"]
    title: str
    unit: str = ""
    note: str = ""
    names: tuple[str, ...] = ()


_PER_LINE = (
    ("flux", "Flux per spaxel", "flux", False),
    ("flux_err", "Error of the flux", "flux", False),
    ("snr", "S/N of the line", "", False),
    ("ew", "Equivalent width", "Å", False),
    ("ew_err", "Error of the equivalent width", "Å", False),
    ("velocity", "Velocity", "km/s", True),
    ("velocity_err", "Error of the velocity", "km/s", False),
    ("sigma", "Dispersion σ", "km/s", False),
    ("sigma_err", "Error of the dispersion", "km/s", False),
    ("w80", "W80", "km/s", False),
)
_OF_STARS = (
    ("velocity", "Velocity of the stars", "km/s", True),
    ("velocity_err", "Error of the velocity", "km/s", False),
    ("sigma", "Dispersion σ of the stars", "km/s", False),
    ("sigma_err", "Error of the dispersion", "km/s", False),
    ("h3", "h3", "", True),
    ("h4", "h4", "", True),
    ("av", "A_V before the stars", "mag", False),
    ("mean_log_age_light", "log age by light", "log yr", False),
    ("mean_log_age_mass", "log age by mass", "log yr", False),
    ("mean_metallicity_light", "log Z by light", "", False),
    ("mean_metallicity_mass", "log Z by mass", "", False),
)
_FLUX = "flux"
_LINES, _STARS, _DERIVED, _BINS = "Emission lines", "Stars", "Derived", "Bins"
_MOST_COMBINATIONS = 7
"""Sets of flags that have a colour of their own; the rest share one."""
_COLORS_OF_BINS = 8


def catalogue(run: OpenedRun) -> dict[str, Quantity]:
    """Return the quantities that a run has, by key."""
    found: list[Quantity] = []
    sky = None if run.rows is None else run.rows.spectra.sky
    if run.lines is not None:
        found += _of_lines(run.lines, run.bins.n_spaxel, flux_unit(sky))
    if run.rows is not None and run.rows.continuum is not None:
        found += _of_stars(run.rows.continuum.table)
    if run.derived is not None:
        found += _of_derived(run.derived, run.bins.n_spaxel, flux_unit(sky))
    found += _of_bins(run)
    if run.snr is not None:
        found += _of_snr(run.snr)
    return {quantity.key: quantity for quantity in found}


def flux_unit(sky: Sky | None) -> str:
    """Return the unit of a flux as the page writes it."""
    return f"{scale_text(sky.flux_scale)}erg/s/cm²" if sky and sky.flux_scale else "file's unit"


def _of_lines(fit: LineFit, n_spaxel: Values, unit: str) -> Iterator[Quantity]:
    def column(name: str) -> Callable[[str], Values]:
        per_spaxel = n_spaxel if name in {"flux", "flux_err"} else 1
        return lambda line: getattr(fit, name)[:, fit.index(line)] / per_spaxel

    def chi2(line: str) -> Values:
        group = fit.group[fit.index(line)]
        return reduced(fit.chi2[:, group], fit.dof[:, group])

    for name, label, in_unit, signed in _PER_LINE:
        if np.isfinite(getattr(fit, name)).any():
            unit_text = unit if in_unit == _FLUX else in_unit
            yield Quantity(
                key=f"line.{name}",
                label=label,
                room=_LINES,
                values=column(name),
                unit=unit_text,
                per_line=True,
                signed=signed,
            )
    common: dict[str, Any] = {"room": _LINES, "per_line": True}
    yield Quantity(key="line.chi2", label="Reduced χ² of the fit", values=chi2, **common)
    yield Quantity(
        key="line.flags",
        label="Flags of the line",
        values=lambda line: fit.flags[:, fit.index(line)],
        kind="flags",
        **common,
    )


def _of_stars(fit: ContinuumFit) -> Iterator[Quantity]:
    def column(name: str) -> Callable[[str], Values]:
        return lambda _: getattr(fit, name)

    for name, label, unit, signed in _OF_STARS:
        if np.isfinite(getattr(fit, name)).any():
            key, values = f"stars.{name}", column(name)
            yield Quantity(
                key=key, label=label, room=_STARS, values=values, unit=unit, signed=signed
            )
    yield Quantity(
        key="stars.chi2",
        label="Reduced χ² of the stars",
        room=_STARS,
        values=lambda _: reduced(fit.chi2, fit.dof),
    )
    yield Quantity(
        key="stars.flags",
        label="Flags of the stars",
        room=_STARS,
        values=lambda _: fit.flags,
        kind="flags",
    )


def _of_derived(derived: Derived, n_spaxel: Values, unit: str) -> Iterator[Quantity]:
    def values(name: str) -> Callable[[str], Values]:
        found = derived.quantities[name].value
        if found.ndim == 1:
            return lambda _: found
        return lambda line: found[:, derived.names.index(line)] / n_spaxel

    for name, quantity in derived.quantities.items():
        if not np.isfinite(quantity.value).any():
            continue
        is_flux = quantity.unit == _FLUX
        yield Quantity(
            key=f"derived.{name}",
            label=name,
            room=_DERIVED,
            values=values(name),
            unit=unit if is_flux else quantity.unit,
            per_line=quantity.value.ndim > 1,
            note=quantity.meaning,
        )
    for name, classes in derived.classes.items():
        yield Quantity(
            key=f"derived.{name}",
            label=f"{name} (classes)",
            room=_DERIVED,
            values=_always(classes.value),
            kind="classes",
            names=classes.names,
            note=classes.meaning,
        )


def _of_bins(run: OpenedRun) -> Iterator[Quantity]:
    bins = run.bins
    shown: list[tuple[str, str, Kind, Values | None]] = [
        ("bin_id", "The bins", "bins", np.arange(bins.n_bin)),
        ("snr", "S/N of the bins", "number", bins.snr),
        ("snr_measured", "S/N measured on their spectra", "number", bins.snr_measured),
        ("n_spaxel", "Spaxels of a bin", "number", bins.n_spaxel),
        ("flags", "Flags of the bins", "flags", bins.flags),
    ]
    for name, label, kind, values in shown:
        if values is not None:
            yield Quantity(
                key=f"bins.{name}",
                label=label,
                room=_BINS,
                values=_always(values),
                kind=kind,
            )


def _of_snr(snr: SnrMap) -> Iterator[Quantity]:
    for name, label, values in (
        ("signal", f"Signal of {snr.line}, spaxels", snr.signal),
        ("snr", f"S/N of {snr.line}, spaxels", snr.snr),
        ("continuum", "Continuum, spaxels", snr.continuum),
    ):
        yield Quantity(
            key=f"spaxels.{name}",
            label=label,
            room="Before binning",
            values=_always(values),
        )


def _always(values: Values) -> Callable[[str], Values]:
    """Return the same values, whatever the line."""
    return lambda _: values


def paint(run: OpenedRun, quantity: Quantity, line: str, label: str = "") -> Painted:
    """Return a quantity on the field; of a line, which is called ``label``, where it has one."""
    values = quantity.values(line if quantity.per_line else "")
    title = f"{quantity.label}, {label or line}" if quantity.per_line else quantity.label
    names: tuple[str, ...] = ()
    if quantity.kind == "flags":
        values, names = _combinations(values)
    elif quantity.kind == "classes":
        names = ("none", *quantity.names)
    elif quantity.kind == "bins":
        values = color_bins(touching_bins(run.bins.bin_id), run.bins.n_bin) % _COLORS_OF_BINS
        names = ("",) * _COLORS_OF_BINS
    image = values if values.ndim == 2 else run.bins.paint(values.astype(float))
    return Painted(
        image=np.asarray(image, float), title=title, unit=quantity.unit, note=quantity.note,
        names=names,
    )  # fmt: skip


def _combinations(flags: Values) -> tuple[Values, tuple[str, ...]]:
    """Return numbers of the sets of flags, no flag first, then by how often; and their names."""
    every, index, count = np.unique(flags, return_inverse=True, return_counts=True)
    order = np.lexsort((-count, every != 0))
    rank = np.empty(every.size, int)
    rank[order] = np.arange(every.size)
    names = [" + ".join(describe(int(every[i]))) or "no flag" for i in order]
    if len(names) > _MOST_COMBINATIONS:
        names = [*names[: _MOST_COMBINATIONS - 1], "others"]
    return np.minimum(rank, len(names) - 1)[index.reshape(flags.shape)], tuple(names)


def flags_of(run: OpenedRun, line: str) -> NDArray[np.int32]:
    """Return the flags ``[bin]`` of bins, their stars and, where one is given, of a line."""
    flags = run.bins.flags
    if run.rows is not None and run.rows.continuum is not None:
        flags = flags | run.rows.continuum.table.flags
    if run.lines is not None and line:
        flags = flags | run.lines.flags[:, run.lines.index(line)]
    return np.asarray(flags)


def with_flags(run: OpenedRun, line: str, names: list[str]) -> Bool[B8, " bin"]:
    """Tell the bins that have one of these flags, as `flags_of` counts them."""
    bits = sum(Flag[name].value for name in names)
    return np.asarray((flags_of(run, line) & bits) != 0)
