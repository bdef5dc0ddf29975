"""Which lines are fitted together, and the arrays that tell the solver so."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from betis.arrays import B8, F64, I32, Index
from betis.errors import FitError
from betis.linelist import LineSet
from betis.lines.limits import Limits, line_limits
from betis.lines.model import Problem
from betis.lsf import FWHM_PER_SIGMA
from betis.options import LineOptions
from betis.products import Spectra
from betis.wavelength import C_KMS, pixel_widths

__all__ = [
    "GroupClass",
    "fit_groups",
    "free_flux",
    "group_classes",
    "lsf_sigma",
    "near_start",
    "problems",
]


_SIZES = (1, 2, 3)
_PIXEL_STEP, _PIXEL_SLACK = 8, 2
"""Pixels of a class are padded to a multiple of this, with some slack since their number changes
with where the axis begins: few shapes over galaxies."""
_LEAST_WIDTH = 0.6
_LEAST_PIXELS = 0.25
_BROADER = 1.2


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupClass:
    """Fit groups that share one compiled program, padded alike; -1 is padding.

    Attributes
    ----------
    group : [group]
        Their numbers.
    line, pixel
        Lines ``[group, line]`` of the set and pixels ``[group, pixel]`` of the axis.
    edges : Angstrom [group, pixel+1]
    inside : bool [group, pixel]
        True at the pixels of the fit windows.
    center, half : Angstrom [group]
        Where the background is anchored, and the length on which its slope acts.
    window : Angstrom [group, line]
        Half-widths of the fit windows.
    wave, excess, ratio, kinematics
        As in `Problem`, with a leading group axis.
    lsf, reference : km/s
        Dispersion of the line-spread function at each line ``[group, line]`` and at the
        reference line of each kinematic set ``[group, kin]``.
    least, most : km/s [group, kin]
        Bounds of the observed dispersion at the reference line.
    start_width : km/s [group, kin]
        Its first guess.
    slowest, fastest : km/s [group, kin]
        Bounds of the velocity.
    shift, search : km/s [group, kin]
        How far from its first guess a velocity may end, and how far from the velocity of the
        spectrum the first guess may lie.
    low_flux, high_flux : [group, flux]
        0 or infinity: the signs that a flux may have.
    shared : [group, kin]
        Number of the set that other groups have too; -1 where a group has it alone.
    """

    group: Index
    line: Index
    pixel: Index
    edges: Float[F64, "group edge"]
    inside: Bool[B8, "group pixel"]
    center: Float[F64, " group"]
    half: Float[F64, " group"]
    window: Float[F64, "group line"]
    wave: Float[F64, "group line"]
    excess: Float[F64, "group line"]
    ratio: Float[F64, "group line flux"]
    kinematics: Float[F64, "group line kin"]
    lsf: Float[F64, "group line"]
    reference: Float[F64, "group kin"]
    least: Float[F64, "group kin"]
    most: Float[F64, "group kin"]
    start_width: Float[F64, "group kin"]
    slowest: Float[F64, "group kin"]
    fastest: Float[F64, "group kin"]
    shift: Float[F64, "group kin"]
    search: Float[F64, "group kin"]
    low_flux: Float[F64, "group flux"]
    high_flux: Float[F64, "group flux"]
    shared: Index

    @property
    def n_flux(self) -> int:
        """Number of free fluxes, padding included."""
        return int(self.ratio.shape[2])

    @property
    def n_kin(self) -> int:
        """Number of kinematic sets, padding included."""
        return int(self.kinematics.shape[2])

    @property
    def n_param(self) -> int:
        """Number of parameters, padding included."""
        return self.n_flux + 2 * self.n_kin + 2


def fit_groups(line_set: LineSet, wave_of_lines: ArrayLike, window: ArrayLike) -> Int[I32, " line"]:
    """Return the group of each line: those whose windows overlap or whose fluxes are tied.

    Parameters
    ----------
    line_set
        The lines.
    wave_of_lines : Angstrom [line]
        Where they lie on the axis; NaN for a line outside it, which is a group by itself.
    window : Angstrom
        Half-width of the window round each line, a number or ``[line]``.

    Returns
    -------
    Numbers from 0 in the order of the wavelengths, the lines outside last.
    """
    wave = np.asarray(wave_of_lines, dtype=float)
    half = np.broadcast_to(np.asarray(window, dtype=float), wave.shape)
    label = np.arange(wave.size)
    _join_windows(label, wave, half)
    for i, line in enumerate(line_set.lines):
        if line.ratio_of in line_set.names:
            parent = line_set.names.index(line.ratio_of)
            if np.isfinite(wave[i] + wave[parent]):
                label[label == label[i]] = label[parent]
    numbers: dict[int, int] = {}
    for i in np.argsort(wave, kind="stable"):
        numbers.setdefault(int(label[i]), len(numbers))
    return np.array([numbers[int(value)] for value in label], dtype=np.int32)


def _join_windows(label: Index, wave: F64, half: F64) -> None:
    """Give lines whose windows overlap one label: each with the one that reaches farthest."""
    order = np.argsort(wave - half, kind="stable")
    farthest = int(order[0]) if order.size else 0
    for i in order[1:]:
        if wave[i] - wave[farthest] <= half[i] + half[farthest]:
            label[i] = label[farthest]
        if not wave[i] + half[i] <= wave[farthest] + half[farthest]:
            farthest = int(i)


def free_flux(line_set: LineSet, name: str) -> tuple[str, float]:
    """Return the line whose flux is free, and the flux of ``name`` per flux of that line.

    Raises
    ------
    FitError
        Where the ties of the set go round in a circle.
    """
    line, ratio = line_set[name], 1.0
    for _ in line_set.lines:
        if not line.ratio_of:
            return line.name, ratio
        ratio *= line.ratio
        line = line_set[line.ratio_of]
    raise FitError(
        f"the flux of {name} in the line set {line_set.name!r} is tied to itself through its "
        "ratios; leave one of these lines free"
    )


def lsf_sigma(gas: Spectra, wave: ArrayLike) -> Float[F64, " line"]:
    """Return the dispersion of the line-spread function (km/s) at wavelengths (Angstrom)."""
    at = np.asarray(wave, dtype=float)
    return np.asarray(np.interp(at, gas.wave, gas.lsf) / FWHM_PER_SIGMA * C_KMS / at)


def group_classes(
    line_set: LineSet, wave: Float[F64, " line"], gas: Spectra, options: LineOptions
) -> list[GroupClass]:
    """Return the groups of the lines on the axis (finite ``wave``), sorted into classes of size."""
    inside = np.isfinite(wave)
    if not inside.any():
        return []
    limits = line_limits(line_set, options)
    group = fit_groups(line_set, wave, limits.window)
    kept = line_set.select(np.array(line_set.names)[inside])
    sizes = np.bincount(group[inside])
    shared = _shared_sets(kept, group[inside])
    classes = []
    for low, high in pairwise((0, *_SIZES, max(sizes.max(), _SIZES[-1] + 1))):
        members = np.flatnonzero((sizes > low) & (sizes <= high))
        if members.size:
            lines = [np.flatnonzero(group == number) for number in members]
            parts = [
                _Part(each, line_set.names, kept, _pixels(wave[each], gas, limits.window[each]))
                for each in lines
            ]
            for part in parts:
                part.shared = [shared.get(name, -1) for name in part.kin]
            classes.append(_stack_parts(members, parts, wave, gas, limits))
    return classes


def _shared_sets(line_set: LineSet, group: I32) -> dict[str, int]:
    """Return numbers for the kinematics that lines of several groups are to share."""
    if line_set.kinematics not in ("one", "ionisation"):
        return {}
    groups: dict[str, set[int]] = {}
    for line, number in zip(line_set.lines, group, strict=True):
        if not line.absorption:
            groups.setdefault(line.kinematics, set()).add(int(number))
    wide = [name for name, numbers in groups.items() if len(numbers) > 1]
    return {name: number for number, name in enumerate(wide)}


class _Part:
    """One group before padding: its lines, free fluxes, kinematic sets and pixel edges."""

    def __init__(
        self, line: Index, names: tuple[str, ...], kept: LineSet, pixels: tuple[F64, Index]
    ) -> None:
        self.line = line
        self.edges, self.pixel = pixels
        self.ties = [free_flux(kept, names[i]) for i in line]
        self.free = list(dict.fromkeys(name for name, _ in self.ties))
        self.sets = [kept[names[i]].kinematics for i in line]
        self.kin = list(dict.fromkeys(self.sets))
        self.shared = [-1 for _ in self.kin]


def _pixels(wave: F64, gas: Spectra, window: F64) -> tuple[F64, Index]:
    """Return the edges of the pixels in the windows of these lines, and which pixels they are.

    Between windows that do not touch lies one pixel that is none of the axis (-1).
    """
    near = np.any(np.abs(gas.wave - wave[:, None]) <= window[:, None], axis=0)
    picked = np.flatnonzero(near)
    edges = np.union1d(gas.edges[picked], gas.edges[picked + 1])
    pixel = np.searchsorted(gas.edges, edges[:-1])
    return edges, np.where(near[pixel.clip(max=gas.wave.size - 1)], pixel, -1)


def _stack_parts(
    group: Index, parts: list[_Part], wave: F64, gas: Spectra, limits: Limits
) -> GroupClass:
    """Pad the groups of one class to common shapes."""
    n_line = max(part.line.size for part in parts)
    n_flux = max(len(part.free) for part in parts)
    n_kin = max(len(part.kin) for part in parts)
    n_pixel = _round_up(max(part.pixel.size for part in parts))
    ratio = np.zeros((len(parts), n_line, n_flux))
    kinematics = np.zeros((len(parts), n_line, n_kin))
    shared = np.full((len(parts), n_kin), -1)
    line = np.full((len(parts), n_line), -1)
    pixel = np.full((len(parts), n_pixel), -1)
    edges = np.empty((len(parts), n_pixel + 1))
    for i, part in enumerate(parts):
        line[i, : part.line.size] = part.line
        pixel[i, : part.pixel.size] = part.pixel
        edges[i] = _padded_edges(part.edges, n_pixel)
        shared[i, : len(part.shared)] = part.shared
        kinematics[i, :, 0] = 1
        for j, ((free, value), name) in enumerate(zip(part.ties, part.sets, strict=True)):
            ratio[i, j, part.free.index(free)] = value
            kinematics[i, j] = np.eye(n_kin)[part.kin.index(name)]
    places = np.where(line >= 0, wave[line], edges[:, :1])
    lsf = np.where(line >= 0, lsf_sigma(gas, places), np.inf)
    reference = np.where(kinematics > 0, lsf[:, :, None], np.inf).min(axis=1)
    reference = np.where(np.isfinite(reference), reference, 100.0)
    lsf = np.where(line >= 0, lsf, 100.0)
    of_line = np.einsum("glk,gk->gl", kinematics, reference)
    excess = np.where(line >= 0, np.maximum(lsf**2 - of_line**2, 0.0), 0.0)
    first, last = _ends(places, line >= 0)
    window = np.where(line >= 0, limits.window[line], 0.0)
    least = np.maximum(_LEAST_WIDTH * reference, _LEAST_PIXELS * _pixel_velocity(gas, first))
    member = (kinematics > 0) & (line >= 0)[:, :, None]
    return GroupClass(
        group=group,
        line=line,
        pixel=pixel,
        edges=edges,
        inside=pixel >= 0,
        center=0.5 * (first + last),
        half=0.5 * (last - first) + window.max(axis=1),
        window=window,
        wave=places,
        excess=excess,
        ratio=ratio,
        kinematics=kinematics,
        lsf=lsf,
        reference=reference,
        **_velocity_limits(limits, line, places, member),
        **_width_limits(limits, line, (places, excess, member), (reference, least)),
        **_flux_limits(limits, line, ratio),
        shared=shared,
    )


def _velocity_limits(limits: Limits, line: Index, wave: F64, member: B8) -> dict[str, F64]:
    """Return the bounds of velocities ``[group, kin]``: the tightest of the lines of each set."""
    per_angstrom = C_KMS / wave[:, :, None]
    held = limits.velocity[line][:, :, None]
    return {
        "slowest": np.where(member, held[..., 0], -np.inf).max(axis=1),
        "fastest": np.where(member, held[..., 1], np.inf).min(axis=1),
        "shift": _least(limits.shift[line][:, :, None] * per_angstrom, member),
        "search": _most(limits.search[line][:, :, None] * per_angstrom, member),
    }


def _least(values: F64, member: B8) -> Float[F64, "group kin"]:
    return np.asarray(np.where(member, values, np.inf).min(axis=1))


def _most(values: F64, member: B8) -> Float[F64, "group kin"]:
    return np.asarray(np.where(member, values, 0.0).max(axis=1))


def _width_limits(
    limits: Limits, line: Index, lines: tuple[F64, F64, B8], widths: tuple[F64, F64]
) -> dict[str, F64]:
    """Return bounds and guess of the observed dispersion ``[group, kin]`` at the reference line."""
    wave, excess, member = lines
    reference, least = widths
    per_angstrom = C_KMS / wave

    def observed(width: F64) -> F64:
        """Return the dispersion (km/s) at the reference where that of a line is given in Å."""
        square = (width * per_angstrom) ** 2 - excess
        return np.asarray(np.sqrt(np.maximum(square, 0.0))[:, :, None])

    held, narrowest = limits.sigma[line], _most(limits.sigma[line][..., :1], member)
    thin = np.where(narrowest > 0, np.hypot(narrowest, reference), 0.0)
    broad = np.hypot(_least(held[..., 1:], member), reference)
    guess = _least(observed(np.asarray(limits.start_width)), member)
    usual = _BROADER * np.maximum(reference, least)
    return {
        "least": np.maximum.reduce(
            [least, thin, _most(observed(limits.width[line][..., 0]), member)]
        ),
        "most": np.minimum(broad, _least(observed(limits.width[line][..., 1]), member)),
        "start_width": np.where((guess > 0) & np.isfinite(guess), guess, usual),
    }


def _flux_limits(limits: Limits, line: Index, ratio: F64) -> dict[str, F64]:
    """Return the bounds of the free fluxes ``[group, flux]``: those of the lines tied to them."""
    held, uses = limits.flux[line][:, :, None], (ratio != 0) & (line >= 0)[:, :, None]
    return {
        "low_flux": np.where(uses, held[..., 0], -np.inf).max(axis=1),
        "high_flux": np.where(uses, held[..., 1], np.inf).min(axis=1),
    }


def _round_up(n_pixel: int) -> int:
    return -(-(n_pixel + _PIXEL_SLACK) // _PIXEL_STEP) * _PIXEL_STEP


def _padded_edges(edges: F64, n_pixel: int) -> F64:
    extra = np.arange(1, n_pixel + 2 - edges.size)
    return np.concatenate([edges, edges[-1] + extra])


def _ends(wave: F64, real: B8) -> tuple[F64, F64]:
    first = np.where(real, wave, np.inf).min(axis=1)
    last = np.where(real, wave, -np.inf).max(axis=1)
    return first, last


def _pixel_velocity(gas: Spectra, wave: F64) -> Float[F64, "group 1"]:
    step = pixel_widths(gas.edges)[np.searchsorted(gas.wave, wave).clip(max=gas.wave.size - 1)]
    return np.asarray(step / wave * C_KMS)[:, None]


def problems(kind: GroupClass, gas: Spectra) -> tuple[Problem, F64]:
    """Return the problems of a class in all spectra, and the scale of each.

    Rows run over spectra first, groups second: ``row = group * n_spectrum + spectrum``. Fluxes are
    divided by the scale, the median error of the good pixels of the row (1 where there is none).
    """
    n_group, n_spectrum = kind.group.size, gas.n_spectrum
    index = kind.pixel.clip(min=0)
    flux = gas.flux[:, index].swapaxes(0, 1)
    good = ~gas.mask[:, index].swapaxes(0, 1) & kind.inside[:, None]
    error = np.where(good, gas.error[:, index].swapaxes(0, 1), np.inf)
    scale = typical(error)[..., None]
    weight = scale / error

    def rows(values: F64) -> F64:
        shape = (n_group, n_spectrum, *values.shape[1:])
        return np.broadcast_to(values[:, None], shape).reshape(-1, *values.shape[1:])

    middle = 0.5 * (kind.edges[:, 1:] + kind.edges[:, :-1])
    lower, upper = _bounds(kind, weight > 0)
    problem = Problem(
        edges=rows(kind.edges),
        flux=np.where(good, flux / scale, 0.0).reshape(-1, index.shape[1]),
        weight=weight.reshape(-1, index.shape[1]),
        position=rows((middle - kind.center[:, None]) / kind.half[:, None]),
        line_wave=rows(kind.wave),
        excess=rows(kind.excess),
        ratio=rows(kind.ratio),
        kinematics=rows(kind.kinematics),
        lower=lower.reshape(-1, kind.n_param),
        upper=upper.reshape(-1, kind.n_param),
    )
    return problem, scale.ravel()


def typical(error: F64) -> F64:
    """Return the median of the finite values along the last axis; 1 where there is none."""
    count = np.isfinite(error).sum(axis=-1)
    middle = np.sort(error, axis=-1)
    value = np.take_along_axis(middle, (count // 2)[..., None].clip(max=error.shape[-1] - 1), -1)
    return np.where(count > 0, value[..., 0], 1.0)


def _bounds(kind: GroupClass, good: B8) -> tuple[F64, F64]:
    """Return the bounds ``[group, spectrum, param]``; fluxes without data are held at 0."""
    n_group, n_spectrum = good.shape[:2]
    seen = np.einsum("gsl,glf->gsf", reachable(kind, good), np.abs(kind.ratio)) > 0

    def whole(values: F64) -> F64:
        return np.broadcast_to(values[:, None], (n_group, n_spectrum, values.shape[-1]))

    ground = np.full((n_group, n_spectrum, 2), np.inf)
    low, high = (np.where(seen, whole(at), 0.0) for at in (kind.low_flux, kind.high_flux))
    lower = np.concatenate([low, whole(kind.slowest), whole(kind.least), -ground], axis=2)
    upper = np.concatenate([high, whole(kind.fastest), whole(kind.most), ground], axis=2)
    return lower, np.maximum(upper, lower)


def near_start(kind: GroupClass, rows: Problem, start: Float[F64, "row param"]) -> Problem:
    """Return the problems with each velocity held as near its first guess as the set says."""
    if np.isinf(kind.shift).all():
        return rows
    at = slice(kind.n_flux, kind.n_flux + kind.n_kin)
    shift = np.repeat(kind.shift, len(start) // kind.group.size, axis=0)
    lower, upper = rows.lower.copy(), rows.upper.copy()
    lower[:, at] = np.maximum(lower[:, at], np.minimum(start[:, at] - shift, upper[:, at]))
    upper[:, at] = np.minimum(upper[:, at], np.maximum(start[:, at] + shift, lower[:, at]))
    return rows._replace(lower=lower, upper=upper)


def reachable(kind: GroupClass, good: B8) -> Float[F64, "group spectrum line"]:
    """Return 1 for each line that a good pixel within its reach could see, 0 otherwise."""
    fastest = np.maximum(np.abs(kind.slowest), np.abs(kind.fastest))
    far = np.where(kind.kinematics > 0, fastest[:, None], 0.0).max(axis=2)
    reach = (far + 2 * kind.lsf) / C_KMS * kind.wave
    near = (kind.edges[:, None, 1:] > (kind.wave - reach)[..., None]) & (
        kind.edges[:, None, :-1] < (kind.wave + reach)[..., None]
    )
    count = np.einsum("gsp,glp->gsl", good.astype(float), near.astype(float))
    return np.asarray((count > 0) & (kind.line >= 0)[:, None], dtype=float)
