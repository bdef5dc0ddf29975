"""What is shown of one bin: its spectrum, the parts of its model, its lines in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64, Index
from betis.errors import InputError
from betis.flags import Flag, describe
from betis.products import BinMap, ContinuumFit, LineFit, Spectra
from betis.report.spectra import Drawn, gaps
from betis.report.summary import fixed, number, reduced, scale_text

__all__ = [
    "BinView",
    "base_of",
    "drawn_group",
    "drawn_whole",
    "facts_of",
    "group_members",
    "letter",
    "limits_of",
    "line_rows",
    "shown_groups",
    "unit_text",
    "window_of",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class BinView:
    """One bin: its spectrum and all that was fitted to it.

    Attributes
    ----------
    title
        What the run is called.
    row
        The number of the bin.
    bins
        All bins of the field.
    spectrum, stars, lines
        The row of this bin; ``stars`` is None where no engine took them away.
    profiles : flux density [line, wave]
        Each line of the model by itself; 0 where it was not fitted.
    places : Angstrom [line]
        Where the lines lie on the axis of the spectra at velocity 0.
    window : Angstrom [line]
        Half-widths of their fit windows.
    labels : [line]
        What figures call them.
    absorbed : bool [line]
        Absorption lines, which are detected with either sign.
    """

    title: str
    row: int
    bins: BinMap
    spectrum: Spectra
    stars: ContinuumFit | None
    lines: LineFit
    profiles: Float[F64, "line wave"]
    places: Float[F64, " line"]
    window: Float[F64, " line"]
    labels: tuple[str, ...]
    absorbed: Bool[B8, " line"]

    @property
    def wave(self) -> Float[F64, " wave"]:
        """Rest wavelengths, Angstrom."""
        return self.spectrum.wave

    @property
    def centers(self) -> Float[F64, " line"]:
        """Where the lines were found, Angstrom; where they were looked for if they were not."""
        found = self.lines.wave_obs[0]
        return np.where(np.isfinite(found), found, self.places)

    @property
    def detected(self) -> Bool[B8, " line"]:
        """Lines that were measured and are not flagged NOT_DETECTED; emission must be positive."""
        flux = self.lines.flux[0]
        absent = (self.lines.flags[0] & Flag.NOT_DETECTED) != 0
        return np.asarray(np.isfinite(flux) & ~absent & ((flux > 0) | self.absorbed))

    @property
    def level(self) -> Float[F64, " wave"]:
        """The stellar continuum; NaN at gaps of the axis, and all over where no engine ran."""
        broken = _broken(self.wave)
        return broken + (np.nan if self.stars is None else self.stars.model[0])


def group_members(view: BinView) -> dict[int, Index]:
    """Return the lines of each fit group that has a pixel of the spectrum, by wavelength."""
    on_axis = [
        bool(np.any(np.abs(view.wave - place) <= half))
        for place, half in zip(view.places, view.window, strict=True)
    ]
    members: dict[int, Index] = {}
    for group in np.unique(view.lines.group[np.array(on_axis, dtype=bool)]):
        inside = np.flatnonzero((view.lines.group == group) & np.array(on_axis))
        members[int(group)] = inside[np.argsort(view.places[inside])]
    return dict(sorted(members.items(), key=lambda item: view.places[item[1]].min()))


def shown_groups(
    view: BinView, *, every: bool = False, lines: Sequence[str] = (), only: bool = False
) -> list[int]:
    """Return the fit groups worth a close-up.

    Parameters
    ----------
    view
        The bin.
    every
        All that the spectrum reaches.
    lines
        Names of lines whose groups are shown in any case, as far as the spectrum reaches.
    only
        Nothing but those of ``lines``.

    Raises
    ------
    InputError
        Where one of the lines is unknown, or alone to be shown and outside the spectrum.
    """
    members = group_members(view)
    group_of = {name: int(view.lines.group[view.lines.index(name)]) for name in lines}
    outside = [name for name, group in group_of.items() if group not in members]
    if outside and only:
        raise InputError(
            f"the line {outside[0]} lies outside the spectra, which run from {view.wave[0]:.0f} to "
            f"{view.wave[-1]:.0f} A in the rest frame; choose another line"
        )
    asked = set(group_of.values())
    if only:
        return [group for group in members if group in asked]
    return [
        group
        for group, member in members.items()
        if every or group in asked or view.detected[member].any()
    ]


def window_of(view: BinView, group: int) -> Bool[B8, " wave"]:
    """Tell the pixels of the fit windows of a group."""
    member = np.flatnonzero(view.lines.group == group)
    near = np.abs(view.wave - view.places[member, None]) <= view.window[member, None]
    return np.asarray(near.any(axis=0))


def limits_of(view: BinView, group: int) -> tuple[float, float]:
    """Return the ends of the fit windows of a group on the axis, Angstrom, with a small margin."""
    member = group_members(view)[group]
    low = float((view.places - view.window)[member].min())
    high = float((view.places + view.window)[member].max())
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def background_of(view: BinView, group: int) -> Float[F64, " wave"]:
    """Return the local background of a group over the whole axis; 0 where it was not fitted."""
    value, slope = np.nan_to_num(view.lines.background[0, group])
    return np.asarray(value + slope * (view.wave - view.lines.background_wave[group]))


def base_of(view: BinView, group: int) -> Float[F64, " wave"]:
    """Return what the lines of a group stand on: its background, on the stars where there are any.

    NaN at jumps of the axis.
    """
    level = _broken(view.wave) if view.stars is None else view.level
    return level + background_of(view, group)


def drawn_group(view: BinView, group: int) -> Drawn:
    """Return the spectrum with the model that the fit of one group had: its own background."""
    inside = window_of(view, group)
    return _drawn(view, view.level, np.where(inside, base_of(view, group), np.nan))


def drawn_whole(view: BinView) -> Drawn:
    """Return the whole spectrum; each pixel has the background of its narrowest fit window.

    Outside all windows the model is the stars, where there are any.
    """
    base = view.level
    width = np.full(view.wave.size, np.inf)
    for group, member in group_members(view).items():
        inside = window_of(view, group) & (view.window[member].max() < width)
        width[inside] = view.window[member].max()
        base[inside] = base_of(view, group)[inside]
    return _drawn(view, view.level, base)


def _drawn(view: BinView, level: F64, base: F64) -> Drawn:
    spectrum, broken = view.spectrum, _broken(view.wave)
    mask = spectrum.mask[0]
    flux = np.where(mask, np.nan, spectrum.flux[0]) + broken
    error = np.where(mask, np.nan, spectrum.error[0])
    total = base + view.profiles.sum(axis=0)
    used = np.ones_like(mask) if view.stars is None else view.stars.used[0]
    return Drawn(
        wave=view.wave,
        flux=flux,
        error=error,
        continuum=level,
        total=total,
        residual=(flux - total) / error,
        mask=mask,
        unused=~used & ~mask,
        lines=_named_lines(view),
    )


def _named_lines(view: BinView) -> tuple[tuple[str, float, bool], ...]:
    """Return label, place and whether it is detected of each line on the axis, strongest first."""
    strength = np.nan_to_num(np.abs(view.lines.amplitude[0]), nan=-1.0)
    inside = (view.centers > view.wave[0]) & (view.centers < view.wave[-1])
    order = [i for i in np.argsort(-strength, kind="stable") if inside[i]]
    return tuple((view.labels[i], float(view.centers[i]), bool(view.detected[i])) for i in order)


def _broken(wave: F64) -> F64:
    """Return zeros, NaN where the axis jumps: a curve is not drawn across."""
    broken = np.zeros(wave.size)
    broken[gaps(wave)] = np.nan
    return broken


def facts_of(view: BinView) -> list[str]:
    """Return sentences on the bin, on its stars and on its flags."""
    bins, row = view.bins, view.row
    y, x = (float(center[row]) for center in bins.centers)
    count = int(bins.n_spaxel[row])
    place = f"{count} spaxel{'s' if count != 1 else ''} about x = {x:.1f}, y = {y:.1f} (from 0)"
    measured = "" if bins.snr_measured is None else f", measured {number(bins.snr_measured[row])}"
    target = f", target {bins.target:g}" if np.isfinite(bins.target) else ""
    first = f"{place}; S/N {number(float(bins.snr[row]))}{measured}{target}"
    flags = describe(int(bins.flags[row]))
    return [f"{first}; {_flag_text(flags)}", _stars_text(view)]


def _stars_text(view: BinView) -> str:
    if view.stars is None:
        return "stars: no continuum was fitted; the local backgrounds stand for it"
    fit = view.stars
    values = (
        ("V", fit.velocity, fit.velocity_err, "km/s", 1),
        ("σ", fit.sigma, fit.sigma_err, "km/s", 1),
        ("A_V", fit.av, fit.av_err, "mag", 2),
    )
    said = [
        f"{name} = {with_error(float(value[0]), float(error[0]), digits)} {unit}"
        for name, value, error, unit, digits in values
        if np.isfinite(value[0])
    ]
    chi2 = float(reduced(fit.chi2, fit.dof)[0])
    flags = describe(int(fit.flags[0]))
    return f"stars: {', '.join([*said, f'reduced χ² {number(chi2)}'])}; {_flag_text(flags)}"


def _flag_text(flags: Sequence[str]) -> str:
    return f"flags {', '.join(flags)}" if flags else "no flag"


def with_error(value: float, error: float, digits: int) -> str:
    """Return ``12.3 ± 0.4``, and a dash for what is not known."""
    if not np.isfinite(value):
        return "–"
    return f"{fixed(value, digits)} ± {fixed(error, digits)}"


def line_rows(view: BinView, groups: Sequence[int]) -> list[dict[str, str]]:
    """Return the table of the lines of some groups in words, a row a line.

    ``group`` is the letter of the close-up; fluxes are in the scale of the spectra.
    """
    members = group_members(view)
    return [
        _line_row(view, int(i), letter(position))
        for position, group in enumerate(groups)
        for i in members[group]
    ]


def letter(position: int) -> str:
    """Return a, b ... z, then aa, ab ..."""
    first, last = divmod(position, 26)
    return (letter(first - 1) if first else "") + chr(ord("a") + last)


def _line_row(view: BinView, i: int, name: str) -> dict[str, str]:
    fit, group = view.lines, int(view.lines.group[i])
    flux, flux_err = float(fit.flux[0, i]), float(fit.flux_err[0, i])
    chi2 = float(reduced(fit.chi2[0, group], fit.dof[0, group]))
    return {
        "": name,
        "line": fit.names[i],
        "flux": _rounded(flux, flux_err),
        "error": _rounded(flux_err, flux_err),
        "S/N": fixed(float(fit.snr[0, i]), 1),
        "V [km/s]": with_error(float(fit.velocity[0, i]), float(fit.velocity_err[0, i]), 1),
        "σ [km/s]": with_error(float(fit.sigma[0, i]), float(fit.sigma_err[0, i]), 1),
        "EW [Å]": with_error(float(fit.ew[0, i]), float(fit.ew_err[0, i]), 2),
        "χ²/dof": number(chi2),
        "flags": " ".join(describe(int(fit.flags[0, i]))),
    }


def _rounded(value: float, error: float) -> str:
    """Return a value with two digits of its error."""
    if not (np.isfinite(value) and np.isfinite(error) and error > 0):
        return number(value)
    decimals = int(np.clip(1 - np.floor(np.log10(error)), 0, 12))
    return fixed(value, decimals) if decimals < _MOST_DECIMALS else number(value)


_MOST_DECIMALS = 6


def unit_text(view: BinView, *, density: bool) -> str:
    """Return the unit of flux or of flux density, as figures write it."""
    scale = 0.0 if view.spectrum.sky is None else view.spectrum.sky.flux_scale
    unit = f"{scale_text(scale)}erg/s/cm²" if scale else "file's unit"
    return f"{unit}/Å" if density and scale else unit
