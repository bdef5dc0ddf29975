"""The fit groups that may have a component more, and how their parameters are those without it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32, Index
from betis.linelist import LineSet
from betis.lines.groups import GroupClass, fit_groups, group_classes
from betis.lines.limits import line_limits
from betis.lines.second import SECOND
from betis.options import LineOptions
from betis.products import Spectra

__all__ = ["Candidate", "Plan", "line_plan"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One fit group with its component.

    Attributes
    ----------
    kind
        A class of this group alone, the component's lines among its lines.
    place
        Class and position in it of the group without the component.
    flux, kin
        Place of each flux and kinematic set in that group ``[flux]``, ``[kin]``; -1 for those of
        the component, -2 for padding.
    elder : [line]
        For lines of the component, which line of the group they are one of; -1 for others.
    is_second
        Whether all emission lines of the group have the component.
    size
        Fluxes and kinematic sets in the class of the group without it, padding included.
    """

    kind: GroupClass
    place: tuple[int, int]
    flux: Index
    kin: Index
    elder: Index
    is_second: bool
    size: tuple[int, int]

    def origin(self) -> tuple[Index, Index]:
        """Return the parameters that the group has without it too, and their places there."""
        n_flux, n_kin = self.size
        own = self.kind.n_flux + 2 * self.kind.n_kin + np.arange(2)
        other = n_flux + 2 * n_kin + np.arange(2)
        flux, kin = np.flatnonzero(self.flux >= 0), np.flatnonzero(self.kin >= 0)
        first = self.kind.n_flux + kin
        here = [flux, first, first + self.kind.n_kin, own]
        at = n_flux + self.kin[kin]
        return np.concatenate(here), np.concatenate([self.flux[flux], at, at + n_kin, other])


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Which lines are fitted with which, before any spectrum is looked at.

    Attributes
    ----------
    wave : Angstrom [line]
        Where the lines lie; NaN for those outside the axis.
    primary : Angstrom [line]
        The same of the lines that every spectrum has; NaN for the others.
    group : [line]
        Fit group of each line in the table.
    kinds
        Classes of the groups without any component.
    layers
        Components by turns: lists, by class, of at most one candidate a group.
    after
        Classes, of one group each, of the lines that are fitted after all others.
    """

    wave: Float[F64, " line"]
    primary: Float[F64, " line"]
    group: Int[I32, " line"]
    kinds: list[GroupClass]
    layers: list[list[list[Candidate]]]
    after: list[list[GroupClass]]


def line_plan(
    line_set: LineSet, wave: Float[F64, " line"], gas: Spectra, options: LineOptions
) -> Plan:
    """Return what is fitted with what.

    Parameters
    ----------
    wave : Angstrom [line]
        Where the lines lie; NaN for those outside the axis.
    """
    is_extra = np.array([line.is_extra for line in line_set.lines], dtype=bool)
    is_after = np.array([line.after for line in line_set.lines], dtype=bool)
    primary = np.where(is_extra, np.nan, wave)
    window = line_limits(line_set, options).window
    group = _table_groups(line_set, primary, np.where(is_after, wave, np.nan), window)
    kinds = group_classes(line_set, primary, gas, options)
    wide = group_classes(line_set, np.where(is_after, wave, np.nan), gas, options)
    layers = [
        _layer(line_set, np.where(chosen | ~is_extra, wave, np.nan), group, kinds, (gas, options))
        for chosen in _turns(line_set, np.isfinite(wave) & ~is_after)
    ]
    after = [[_alone(kind, i, group) for i in range(kind.group.size)] for kind in wide]
    return Plan(wave=wave, primary=primary, group=group, kinds=kinds, layers=layers, after=after)


def _table_groups(line_set: LineSet, primary: F64, after: F64, window: F64) -> Int[I32, " line"]:
    """Return the numbers of the groups: a component has that of its line."""
    group = fit_groups(line_set, primary, window)
    is_primary = np.array([not line.is_extra for line in line_set.lines], dtype=bool)
    outside = np.flatnonzero(np.isnan(primary) & is_primary)
    n_group = int(group[np.isfinite(primary)].max(initial=-1)) + 1
    group[outside] = n_group + np.arange(outside.size)
    later = np.array([line.after for line in line_set.lines], dtype=bool)
    group[later] = n_group + outside.size + fit_groups(line_set, after, window)[later]
    for i, line in enumerate(line_set.lines):
        if line.component_of:
            group[i] = group[line_set.names.index(line.component_of)]
    return _without_gaps(group)


def _without_gaps(group: I32) -> Int[I32, " line"]:
    return np.unique(group, return_inverse=True)[1].astype(np.int32)


def _turns(line_set: LineSet, on_axis: B8) -> list[Bool[B8, " line"]]:
    """Return the components that are tried together: those of the set, and second ones."""
    second = np.array([line.kinematics == SECOND for line in line_set.lines], dtype=bool)
    component = np.array([bool(line.component_of) for line in line_set.lines], dtype=bool)
    turns = [component & ~second & on_axis, component & second & on_axis]
    return [chosen for chosen in turns if chosen.any()]


def _layer(
    line_set: LineSet,
    wave: F64,
    group: I32,
    kinds: list[GroupClass],
    given: tuple[Spectra, LineOptions],
) -> list[list[Candidate]]:
    """Return the groups that have one of the components on the axis, by class."""
    component = np.array([bool(line.component_of) for line in line_set.lines], dtype=bool)
    touched = np.isin(group, group[component & np.isfinite(wave)])
    classes = group_classes(line_set, np.where(touched, wave, np.nan), *given)
    return [
        [_candidate(_alone(kind, i, group), kinds, line_set) for i in range(kind.group.size)]
        for kind in classes
    ]


def _alone(kind: GroupClass, i: int, group: I32) -> GroupClass:
    """Return one group of a class as a class, under its number in the table."""
    parts = {item.name: getattr(kind, item.name)[i : i + 1] for item in fields(kind)}
    number = group[parts["line"][0, 0]]
    return replace(kind, **{**parts, "group": np.array([number])})


def _candidate(kind: GroupClass, kinds: list[GroupClass], line_set: LineSet) -> Candidate:
    number = int(kind.group[0])
    place = next(
        (c, int(j)) for c, base in enumerate(kinds) for j in np.flatnonzero(base.group == number)
    )
    base = kinds[place[0]]
    lines = base.line[place[1]]
    known = {int(line): i for i, line in enumerate(lines) if line >= 0}
    return Candidate(
        kind=kind,
        place=place,
        flux=_places(kind.line[0], kind.ratio[0], known, base.ratio[place[1]]),
        kin=_places(kind.line[0], kind.kinematics[0], known, base.kinematics[place[1]]),
        elder=_elders(kind.line[0], line_set),
        is_second=any(line_set.lines[i].kinematics == SECOND for i in kind.line[0] if i >= 0),
        size=(base.n_flux, base.n_kin),
    )


def _elders(line: Index, line_set: LineSet) -> Int[Index, " line"]:
    """Return the places in a group of the lines whose components the others are; -1 for none."""
    names = [line_set.names[i] if i >= 0 else "" for i in line]
    of = [line_set.lines[i].component_of if i >= 0 else "" for i in line]
    return np.array([names.index(name) if name else -1 for name in of])


def _places(line: Index, member: F64, known: dict[int, int], base: F64) -> Index:
    """Return where each column of a matrix over lines stands in that of the smaller group."""
    found = np.full(member.shape[1], -2)
    for column in range(member.shape[1]):
        users = [int(i) for i in line[(member[:, column] != 0) & (line >= 0)]]
        if users:
            place = next((known[i] for i in users if i in known), None)
            found[column] = -1 if place is None else int(np.argmax(base[place] != 0))
    return found
