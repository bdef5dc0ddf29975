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
from betis.lines.model import Problem
from betis.lsf import FWHM_PER_SIGMA
from betis.options import LineOptions
from betis.products import Spectra
from betis.wavelength import C_KMS, pixel_widths

__all__ = ["GroupClass", "fit_groups", "free_flux", "group_classes", "lsf_sigma", "problems"]


_SIZES = (1, 2, 3)
_PIXEL_STEP, _PIXEL_SLACK = 8, 2
"""Pixels of a class are padded to a multiple of this, with some slack since their number changes
with where the axis begins: few shapes over galaxies."""
_LEAST_WIDTH = 0.6
_LEAST_PIXELS = 0.25


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
    wave, excess, ratio, kinematics
        As in `Problem`, with a leading group axis.
    lsf, reference : km/s
        Dispersion of the line-spread function at each line ``[group, line]`` and at the
        reference line of each kinematic set ``[group, kin]``.
    least : km/s [group, kin]
        Lower bound of the observed dispersion.
    """

    group: Index
    line: Index
    pixel: Index
    edges: Float[F64, "group edge"]
    inside: Bool[B8, "group pixel"]
    center: Float[F64, " group"]
    half: Float[F64, " group"]
    wave: Float[F64, "group line"]
    excess: Float[F64, "group line"]
    ratio: Float[F64, "group line flux"]
    kinematics: Float[F64, "group line kin"]
    lsf: Float[F64, "group line"]
    reference: Float[F64, "group kin"]
    least: Float[F64, "group kin"]

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


def fit_groups(line_set: LineSet, wave_of_lines: ArrayLike, window: float) -> Int[I32, " line"]:
    """Return the group of each line: those whose windows overlap or whose fluxes are tied.

    Parameters
    ----------
    line_set
        The lines.
    wave_of_lines : Angstrom [line]
        Where they lie on the axis; NaN for a line outside it, which is a group by itself.
    window : Angstrom
        Half-width of the window round each line.

    Returns
    -------
    Numbers from 0 in the order of the wavelengths, the lines outside last.
    """
    wave = np.asarray(wave_of_lines, dtype=float)
    order = np.argsort(wave, kind="stable")
    label = np.arange(wave.size)
    for before, after in pairwise(order):
        if wave[after] - wave[before] <= 2 * window:
            label[after] = label[before]
    for i, line in enumerate(line_set.lines):
        if line.ratio_of in line_set.names:
            parent = line_set.names.index(line.ratio_of)
            if np.isfinite(wave[i] + wave[parent]):
                label[label == label[i]] = label[parent]
    numbers: dict[int, int] = {}
    for i in order:
        numbers.setdefault(int(label[i]), len(numbers))
    return np.array([numbers[int(value)] for value in label], dtype=np.int32)


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
    group = fit_groups(line_set, wave, options.window)
    kept = line_set.select(np.array(line_set.names)[inside])
    sizes = np.bincount(group[inside])
    classes = []
    for low, high in pairwise((0, *_SIZES, max(sizes.max(), _SIZES[-1] + 1))):
        members = np.flatnonzero((sizes > low) & (sizes <= high))
        if members.size:
            lines = [np.flatnonzero(group == number) for number in members]
            parts = [
                _Part(each, line_set.names, kept, _pixels(wave[each], gas, options.window))
                for each in lines
            ]
            classes.append(_stack_parts(members, parts, wave, gas, options.window))
    return classes


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


def _pixels(wave: F64, gas: Spectra, window: float) -> tuple[F64, Index]:
    """Return the edges of the pixels in the windows of these lines, and which pixels they are.

    Between windows that do not touch lies one pixel that is none of the axis (-1).
    """
    near = np.any(np.abs(gas.wave - wave[:, None]) <= window, axis=0)
    picked = np.flatnonzero(near)
    edges = np.union1d(gas.edges[picked], gas.edges[picked + 1])
    pixel = np.searchsorted(gas.edges, edges[:-1])
    return edges, np.where(near[pixel.clip(max=gas.wave.size - 1)], pixel, -1)


def _stack_parts(
    group: Index, parts: list[_Part], wave: F64, gas: Spectra, window: float
) -> GroupClass:
    """Pad the groups of one class to common shapes."""
    n_line = max(part.line.size for part in parts)
    n_flux = max(len(part.free) for part in parts)
    n_kin = max(len(part.kin) for part in parts)
    n_pixel = _round_up(max(part.pixel.size for part in parts))
    ratio = np.zeros((len(parts), n_line, n_flux))
    kinematics = np.zeros((len(parts), n_line, n_kin))
    line = np.full((len(parts), n_line), -1)
    pixel = np.full((len(parts), n_pixel), -1)
    edges = np.empty((len(parts), n_pixel + 1))
    for i, part in enumerate(parts):
        line[i, : part.line.size] = part.line
        pixel[i, : part.pixel.size] = part.pixel
        edges[i] = _padded_edges(part.edges, n_pixel)
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
    first, last = _ends(places, line >= 0)
    return GroupClass(
        group=group,
        line=line,
        pixel=pixel,
        edges=edges,
        inside=pixel >= 0,
        center=0.5 * (first + last),
        half=0.5 * (last - first) + window,
        wave=places,
        excess=np.where(line >= 0, np.maximum(lsf**2 - of_line**2, 0.0), 0.0),
        ratio=ratio,
        kinematics=kinematics,
        lsf=lsf,
        reference=reference,
        least=np.maximum(_LEAST_WIDTH * reference, _LEAST_PIXELS * _pixel_velocity(gas, first)),
    )


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


def problems(kind: GroupClass, gas: Spectra, options: LineOptions) -> tuple[Problem, F64]:
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
    lower, upper = _bounds(kind, weight > 0, options)
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


def _bounds(kind: GroupClass, good: B8, options: LineOptions) -> tuple[F64, F64]:
    """Return the bounds ``[group, spectrum, param]``; fluxes without data are held at 0."""
    n_group, n_spectrum = good.shape[:2]
    seen = np.einsum("gsl,glf->gsf", reachable(kind, good, options), np.abs(kind.ratio)) > 0
    free = np.where(seen, np.inf, 0.0)
    widest = np.hypot(options.max_sigma, kind.reference)

    def whole(values: F64) -> F64:
        return np.broadcast_to(values[:, None], (n_group, n_spectrum, values.shape[-1]))

    velocity = np.full((n_group, n_spectrum, kind.n_kin), options.max_velocity)
    ground = np.full((n_group, n_spectrum, 2), np.inf)
    lower = np.concatenate([-free, -velocity, whole(kind.least), -ground], axis=2)
    upper = np.concatenate([free, velocity, whole(widest), ground], axis=2)
    return lower, np.maximum(upper, lower)


def reachable(
    kind: GroupClass, good: B8, options: LineOptions
) -> Float[F64, "group spectrum line"]:
    """Return 1 for each line that a good pixel within its reach could see, 0 otherwise."""
    reach = (options.max_velocity + 2 * kind.lsf) / C_KMS * kind.wave
    near = (kind.edges[:, None, 1:] > (kind.wave - reach)[..., None]) & (
        kind.edges[:, None, :-1] < (kind.wave + reach)[..., None]
    )
    count = np.einsum("gsp,glp->gsl", good.astype(float), near.astype(float))
    return np.asarray((count > 0) & (kind.line >= 0)[:, None], dtype=float)
