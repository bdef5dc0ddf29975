"""Figures of a few spectra: which ones, and data, model and residuals of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, Index
from betis.flags import describe
from betis.report.canvas import BLUE, FAINT, GREY, INK, ORANGE, RED, new_figure, plain, to_png
from betis.report.content import ReportContent
from betis.report.page import Panel, Picture
from betis.report.summary import continuum_chi2, density_unit, detected, fixed, measure, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ZOOMS = (("Hβ and [O III]", 4820.0, 5050.0), ("Hα to [S II]", 6500.0, 6780.0))
"""Title and range (Angstrom, rest frame) of the close-ups."""

_RESIDUAL_LIMIT = 6.0
_DATA, _MASKED = "#4a5462", "#ecdff0"
_FEWEST_PIXELS = 10
"""That make a close-up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """One spectrum ready to be drawn: arrays [wave], NaN where there is nothing to show.

    ``total`` is continuum plus lines; ``residual`` is in units of the error. ``lines`` holds
    label, place (Angstrom) and whether it is detected, of each line, the strongest first.
    """

    wave: Float[F64, " wave"]
    flux: Float[F64, " wave"]
    error: Float[F64, " wave"]
    continuum: Float[F64, " wave"]
    total: Float[F64, " wave"]
    residual: Float[F64, " wave"]
    mask: Bool[B8, " wave"]
    unused: Bool[B8, " wave"]
    lines: tuple[tuple[str, float, bool], ...]


def draw_spectra(content: ReportContent) -> list[Panel]:
    """Return figures of a few telling spectra; their number does not grow with that of the bins."""
    chosen = choose_rows(content)
    if not chosen:
        return ["Spectra: no bin has a pixel that can be used."]
    rows = np.array(list(chosen), dtype=np.intp)
    models = np.nan_to_num(np.asarray(content.model_lines(rows), dtype=float))
    return [
        _draw_spectrum(content, int(row), model, chosen[int(row)])
        for row, model in zip(rows, models, strict=True)
    ]


def choose_rows(content: ReportContent) -> dict[int, str]:
    """Return the rows worth seeing and why: brightest, median, faintest, largest, worst ..."""
    bright = brightness(content)
    order = [int(row) for row in np.argsort(bright) if np.isfinite(bright[row])]
    if not order:
        return {}
    clean = (content.bins.flags | content.continuum.table.flags) == 0
    alpha = measure(content, ("Ha6563",))
    size = np.where(np.isfinite(bright), content.bins.n_spaxel, -1).astype(float)
    wanted: list[tuple[str, int | None]] = [
        ("brightest", order[-1]),
        ("median brightness", order[len(order) // 2]),
        ("faintest without a flag", next((row for row in order if clean[row]), None)),
        ("largest bin", int(np.argmax(size))),
        ("worst continuum χ²", _highest(continuum_chi2(content), bright)),
    ]
    if alpha is not None:
        width = np.where(alpha.detected, content.lines.ew[:, alpha.position], np.nan)
        wanted.append((f"largest EW of {alpha.label}", _highest(width, bright)))
    chosen: dict[int, str] = {}
    for why, row in wanted:
        if row is not None:
            chosen[row] = f"{chosen[row]}, {why}" if row in chosen else why
    return chosen


def brightness(content: ReportContent) -> Float[F64, " spectrum"]:
    """Return the mean flux density per spaxel over the good pixels; NaN where there is none."""
    return np.asarray(content.spectra.mean_flux() / np.maximum(content.spectra.n_spaxel, 1))


def flux_limits(drawn: Drawn, where: Bool[B8, " wave"], *, whole: bool) -> tuple[float, float]:
    """Return the range of flux to show; ``whole`` keeps the peaks of lines in it."""
    values = drawn.flux[where & ~drawn.mask]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, [0.5, 99.5]))
    if whole:
        peaks = drawn.total[where]
        high = max(high, float(np.nanmax(peaks)) if np.isfinite(peaks).any() else high)
    width = high - low or abs(high) or 1.0
    return low - 0.08 * width, high + 0.12 * width


def gaps(wave: Float[F64, " wave"]) -> Int[Index, " gap"]:
    """Return the pixels behind which the axis jumps by more than five of its steps."""
    step = np.diff(wave)
    return np.flatnonzero(step > 5 * np.median(step))


def _highest(values: F64, bright: F64) -> int | None:
    usable = np.where(np.isfinite(values) & np.isfinite(bright), values, -np.inf)
    row = int(np.argmax(usable))
    return row if np.isfinite(usable[row]) else None


def _draw_spectrum(content: ReportContent, row: int, model: F64, why: str) -> Picture:
    drawn = prepare_row(content, row, model)
    figure = new_figure(9.0, 6.3, layout=None)
    whole, *close = _make_axes(figure)
    draw_range(whole, drawn, (float(drawn.wave[0]), float(drawn.wave[-1])))
    draw_legend(figure, whole)
    for pair, zoom in zip(close, ZOOMS, strict=True):
        _draw_zoom(pair, drawn, zoom)
    for flux_axes, residual_axes in (whole, close[0]):
        flux_axes.set_ylabel(density_unit(content))
        residual_axes.set_ylabel("resid. / σ", fontsize=7)
    figure.supxlabel("rest wavelength (Å)", y=0.005, fontsize=8.5)
    caption = _caption(content, row, why)
    return Picture(to_png(figure), f"Spectrum of bin {row} ({why}) with its model", caption)


def _make_axes(figure: Figure) -> list[tuple[Axes, Axes]]:
    """Return axes of flux and residual: of the whole range above, of each close-up below.

    Their places are fixed: constrained layout takes as long as the drawing itself.
    """
    edges: dict[str, Any] = {"left": 0.072, "right": 0.992, "hspace": 0.06}
    heights: dict[str, Any] = {"height_ratios": [3.2, 1]}
    top = figure.add_gridspec(2, 1, top=0.88, bottom=0.52, **edges, **heights)
    bottom = figure.add_gridspec(2, 2, top=0.38, bottom=0.065, wspace=0.12, **edges, **heights)
    pairs = []
    for grid, column in ((top, 0), (bottom, 0), (bottom, 1)):
        flux_axes = figure.add_subplot(grid[0, column])
        flux_axes.tick_params(labelbottom=False)
        pairs.append((flux_axes, figure.add_subplot(grid[1, column], sharex=flux_axes)))
    for _, residual_axes in pairs:
        residual_axes.tick_params(labelbottom=True)
    return pairs


def prepare_row(content: ReportContent, row: int, model: F64) -> Drawn:
    """Return one spectrum and its models, NaN at bad pixels and at jumps of the axis."""
    only = slice(row, row + 1)
    spectra, fit = content.spectra.take(only), content.continuum.take(only)
    mask, wave = spectra.mask[0], spectra.wave
    broken = np.zeros(wave.size)
    broken[gaps(wave)] = np.nan
    flux = np.where(mask, np.nan, spectra.flux[0]) + broken
    error = np.where(mask, np.nan, spectra.error[0])
    continuum = np.asarray(fit.model[0], dtype=float) + broken
    total = np.where(np.isfinite(continuum), continuum, broken) + model
    return Drawn(
        wave=wave,
        flux=flux,
        error=error,
        continuum=continuum,
        total=total,
        residual=(flux - total) / error,
        mask=mask,
        unused=~fit.used[0] & ~mask,
        lines=_line_places(content, row),
    )


def _line_places(content: ReportContent, row: int) -> tuple[tuple[str, float, bool], ...]:
    spectra, fit = content.spectra, content.lines.take(slice(row, row + 1))
    seen = detected(content)[row]
    places = content.line_set.waves(spectra.medium, spectra.redshift)
    nominal = dict(zip(content.line_set.names, places, strict=True))
    found = []
    for column, (name, wave) in enumerate(zip(fit.names, fit.wave_obs[0], strict=True)):
        place = float(wave) if np.isfinite(wave) else float(nominal.get(name, np.nan))
        if spectra.wave[0] < place < spectra.wave[-1]:
            found.append((column, (content.label(name), place, bool(seen[column]))))
    strength = np.nan_to_num(np.abs(fit.amplitude[0]), nan=-1.0)
    return tuple(line for _, line in sorted(found, key=lambda item: -strength[item[0]]))


def _draw_zoom(axes: tuple[Axes, Axes], drawn: Drawn, zoom: tuple[str, float, float]) -> None:
    title, low, high = zoom
    if np.count_nonzero((drawn.wave > low) & (drawn.wave < high)) >= _FEWEST_PIXELS:
        draw_range(axes, drawn, (low, high), whole=True)
        return
    text = f"{title}: outside the spectra"
    axes[0].text(0.5, 0.3, text, ha="center", color=GREY, transform=axes[0].transAxes)
    for part in axes:
        part.set_axis_off()


def draw_range(
    pair: tuple[Axes, Axes], drawn: Drawn, limits: tuple[float, float], *, whole: bool = False
) -> None:
    """Draw flux and residual of a range; ``whole`` keeps the peaks of lines in sight."""
    where = (drawn.wave >= limits[0]) & (drawn.wave <= limits[1])
    flux_axes, residual_axes = pair
    _draw_flux(flux_axes, drawn, where)
    _draw_residual(residual_axes, drawn, where)
    flux_axes.set_xlim(*limits)
    flux_axes.set_ylim(*flux_limits(drawn, where, whole=whole))
    _label_lines(flux_axes, drawn, limits)


def _draw_flux(axes: Axes, drawn: Drawn, where: B8) -> None:
    wave, flux, error = drawn.wave[where], drawn.flux[where], drawn.error[where]
    band: dict[str, Any] = {"step": "mid", "linewidth": 0}
    axes.fill_between(wave, flux - error, flux + error, color=FAINT, label="±1σ", **band)
    axes.step(wave, flux, where="mid", color=_DATA, linewidth=0.5, label="data")
    axes.plot(wave, drawn.total[where], color=RED, linewidth=0.9, label="continuum + lines")
    axes.plot(wave, drawn.continuum[where], color=BLUE, linewidth=0.9, label="continuum")
    shade(axes, wave, drawn.mask[where], _MASKED, "masked")


def _draw_residual(axes: Axes, drawn: Drawn, where: B8) -> None:
    wave = drawn.wave[where]
    axes.axhspan(-1, 1, color=FAINT, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.step(wave, drawn.residual[where], where="mid", color=_DATA, linewidth=0.5)
    axes.fill_between(
        wave,
        0,
        0.06,
        where=drawn.unused[where].tolist(),
        step="mid",
        color=ORANGE,
        linewidth=0,
        transform=axes.get_xaxis_transform(),
        label="left out of the continuum fit",
    )
    shade(axes, wave, drawn.mask[where], _MASKED, "masked")
    axes.set(ylim=(-_RESIDUAL_LIMIT, _RESIDUAL_LIMIT), yticks=[-5, 0, 5])


def shade(axes: Axes, wave: F64, where: B8, color: str, label: str) -> None:
    """Shade pixels over the whole height of the axes, behind everything else."""
    axes.fill_between(
        wave,
        0,
        1,
        where=where.tolist(),
        step="mid",
        color=color,
        linewidth=0,
        zorder=0,
        transform=axes.get_xaxis_transform(),
        label=label,
    )


def _label_lines(axes: Axes, drawn: Drawn, limits: tuple[float, float]) -> None:
    """Tick every line; name those that have room, the detected ones first."""
    room = 0.016 * (limits[1] - limits[0]) * (1.0 if limits[1] - limits[0] > 1000 else 2.0)
    inside = [line for line in drawn.lines if limits[0] < line[1] < limits[1]]
    named: list[float] = []
    for label, wave, is_seen in sorted(inside, key=lambda line: not line[2]):
        color = INK if is_seen else GREY
        axes.axvline(wave, ymin=0.95, ymax=1.0, color=color, linewidth=0.8)
        if all(abs(wave - other) > room for other in named):
            named.append(wave)
            axes.text(
                wave,
                1.02,
                plain(label.rpartition(" ")[0] or label) if room > 20 else plain(label),
                rotation=90,
                fontsize=6,
                color=color,
                ha="center",
                va="bottom",
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )


def draw_legend(
    figure: Figure, axes: Sequence[Axes], *, without: Collection[str] = (), **place: Any
) -> None:
    """Draw one legend, on top of the figure, of what is labelled in these axes, but for some."""
    shown: dict[str, Any] = {}
    for part in axes:
        handles, labels = part.get_legend_handles_labels()
        shown.update(zip(labels, handles, strict=True))
    for label in without:
        shown.pop(label, None)
    settings: dict[str, Any] = {"loc": "upper center", "ncols": 6, "fontsize": 7, **place}
    figure.legend(shown.values(), shown.keys(), **settings)


def _caption(content: ReportContent, row: int, why: str) -> str:
    y, x = (float(center[row]) for center in content.bins.centers)
    fit, chi2 = content.continuum.table, continuum_chi2(content)[row]
    count = int(content.bins.n_spaxel[row])
    parts = [
        f"Bin {row} ({why}): {count} spaxel{'s' if count != 1 else ''} at x = {x:.1f}, y = {y:.1f}",
        f"S/N {number(float(content.bins.snr[row]))}",
    ]
    if np.isfinite(fit.velocity[row]):
        velocity, sigma = fixed(float(fit.velocity[row]), 1), fixed(float(fit.sigma[row]), 1)
        extinction = fixed(float(fit.av[row]), 2)
        parts.append(f"stars: velocity {velocity} km/s, σ {sigma} km/s, A_V {extinction} mag")
    parts.append(f"reduced χ² of the continuum {number(float(chi2))}")
    flags = describe(int(content.bins.flags[row]) | int(fit.flags[row]))
    parts.append(f"flags: {', '.join(flags)}" if flags else "no flag")
    return "; ".join(parts) + "."
