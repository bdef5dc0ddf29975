"""The figure of one bin: the whole spectrum, a close-up of each fit group, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from betis.arrays import B8, F64
from betis.errors import ConfigError, RunFolderError
from betis.io.fits import write_atomically
from betis.report.bin_view import (
    BinView,
    base_of,
    drawn_group,
    drawn_whole,
    facts_of,
    letter,
    limits_of,
    line_rows,
    unit_text,
    window_of,
)
from betis.report.canvas import BLUE, GREEN, GREY, INK, RED, house_style, new_figure, plain
from betis.report.spectra import Drawn, draw_legend, draw_range, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_bin", "figure_paths", "save_bin"]

_WIDTH, _LEFT, _RIGHT = 12.0, 0.75, 0.12
_HEAD, _WHOLE, _CLOSE, _ROW = 1.3, 2.3, 2.6, 0.155
_LABELS, _FOOT = 0.62, 0.3
"""Inches that the names of the lines take above a close-up, and its wavelengths below it."""
_RESIDUAL = 0.55
_COLUMNS = 3
_MAP = 1.75

_PARTS = ("#CC79A7", "#56B4E9", "#E69F00", "#117733", "#882255", "#999933", "#332288")
"""Colours of the lines of a group, in turn."""
_SKY = "#fdf3d8"
_CALM = 6.0
"""Residual (sigma) up to which the axes are the same in every close-up."""

_DATES: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
"""What a format would write of the machine and the time."""


@dataclass(frozen=True)
class _Page:
    """Places on a figure of this height, in inches from its top left corner."""

    figure: Figure
    height: float

    def axes(self, left: float, top: float, width: float, height: float, **kwargs: Any) -> Axes:
        """Return new axes; ``top`` is measured downwards."""
        bottom = self.height - top - height
        place = (left / _WIDTH, bottom / self.height, width / _WIDTH, height / self.height)
        return self.figure.add_axes(place, **kwargs)

    def text(self, left: float, top: float, text: str, **kwargs: Any) -> None:
        """Write text whose upper left corner is there."""
        settings: dict[str, Any] = {"va": "top", "ha": "left", **kwargs}
        self.figure.text(left / _WIDTH, 1 - top / self.height, plain(text), **settings)


def save_bin(path: Path, view: BinView, groups: Sequence[int]) -> None:
    """Draw a bin into a file whose suffix says its format; its folder is made.

    Raises
    ------
    ConfigError
        Where the suffix is none of .png, .pdf and .svg.
    RunFolderError
        Where the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in _DATES:
        raise ConfigError(
            f"the figure {path} has the suffix {path.suffix!r}, where one of {', '.join(_DATES)} "
            "was expected; change it"
        )
    _make_folder(path.parent)
    with house_style():
        figure = draw_bin(view, groups)
        options: dict[str, Any] = {"format": kind[1:], "dpi": 150, "metadata": _DATES[kind]}
        write_atomically(path, lambda part: figure.savefig(part, **options))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"the folder {folder} cannot be made: {error.strerror}; choose another with -o"
        ) from error


def figure_paths(folder: Path, output: Path | None, rows: Sequence[int]) -> list[Path]:
    """Return where the figures of some bins of a run go.

    ``RUN/figures/bin-17.png`` where no file is given; the number of the bin is put before the
    suffix of one file for several bins.
    """
    if output is None:
        return [folder / "figures" / f"bin-{row}.png" for row in rows]
    if len(rows) == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{row}{output.suffix}") for row in rows]


def draw_bin(view: BinView, groups: Sequence[int]) -> Figure:
    """Return the figure of a bin, in the style of matplotlib that is set.

    Parameters
    ----------
    view
        The bin.
    groups
        Fit groups to be shown close up and in the table.
    """
    columns = max(1, min(_COLUMNS, len(groups)))
    n_row = -(-len(groups) // columns)
    table = line_rows(view, groups)
    close = _HEAD + _WHOLE + 2 * _FOOT
    below = close + n_row * _CLOSE
    height = below + _ROW * (len(table) + 3)
    page = _Page(new_figure(_WIDTH, height, layout=None), height)
    _draw_head(page, view)
    pair = _draw_whole(page, view, groups)
    width = (_WIDTH - _LEFT - _RIGHT) / columns
    every = [*pair]
    for position, group in enumerate(groups):
        row, column = divmod(position, columns)
        left, top = _LEFT + column * width, close + row * _CLOSE + _LABELS - 0.2
        pair = _pair(page, left, top, width - 0.42, _CLOSE - _LABELS - _FOOT)
        _draw_close(pair, view, group, letter(position))
        every += pair
    without = {"continuum", "left out of the continuum fit"} if view.stars is None else set()
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": _legend_place(page)}
    draw_legend(page.figure, every, without=without, ncols=9, **place)
    _draw_table(page, table, below, unit_text(view, density=False))
    return page.figure


def _legend_place(page: _Page) -> tuple[float, float]:
    return (_LEFT - 0.1) / _WIDTH, 1 - 0.62 / page.height


def _draw_head(page: _Page, view: BinView) -> None:
    page.text(_LEFT, 0.1, f"{view.title}, bin {view.row}", fontsize=12, fontweight="bold")
    for position, text in enumerate(facts_of(view)):
        page.text(_LEFT, 0.33 + 0.15 * position, text, fontsize=8)


def _pair(page: _Page, left: float, top: float, width: float, height: float) -> tuple[Axes, Axes]:
    """Return axes of flux, and of the residual below them."""
    flux_axes = page.axes(left, top, width, height - _RESIDUAL - 0.05)
    flux_axes.tick_params(labelbottom=False)
    place = (left, top + height - _RESIDUAL, width, _RESIDUAL)
    return flux_axes, page.axes(*place, sharex=flux_axes)


def _draw_whole(page: _Page, view: BinView, groups: Sequence[int]) -> tuple[Axes, Axes]:
    drawn = drawn_whole(view)
    width = _WIDTH - _LEFT - _RIGHT - _MAP - 0.35
    pair = _pair(page, _LEFT, _HEAD, width, _WHOLE)
    limits = (float(view.wave[0]), float(view.wave[-1]))
    draw_range(pair, drawn, limits)
    _shade_sky(pair, view, np.ones(view.wave.size, bool))
    pair[0].set_ylabel(plain(unit_text(view, density=True)))
    pair[1].set(ylabel="resid. / σ", xlabel="rest wavelength (Å)")
    for position, group in enumerate(groups):
        _mark_window(pair[0], view, group, letter(position))
    _draw_map(page, view, _WIDTH - _RIGHT - _MAP)
    return pair


def _mark_window(axes: Axes, view: BinView, group: int, name: str) -> None:
    """Draw a bar along the fit windows of a close-up, with its letter."""
    inside = window_of(view, group)
    place = axes.get_xaxis_transform()
    axes.fill_between(
        view.wave, 0, 0.025, where=inside.tolist(), color=INK, linewidth=0, transform=place
    )
    middle = float(view.wave[inside].mean())
    axes.text(middle, 0.03, name, fontsize=7, ha="center", va="bottom", transform=place)


def _draw_map(page: _Page, view: BinView, left: float) -> None:
    """Draw the field in grey and the bin in it."""
    from matplotlib.colors import ListedColormap

    axes = page.axes(left, _HEAD, _MAP, _WHOLE - _RESIDUAL - 0.05)
    bin_id = view.bins.bin_id
    shown = np.where(bin_id < 0, np.nan, np.where(bin_id == view.row, 1.0, 0.0))
    axes.imshow(shown, cmap=ListedColormap(["#d9dde2", RED]), vmin=0, vmax=1)
    y, x = (float(center[view.row]) for center in view.bins.centers)
    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": RED}
    axes.plot(x, y, "o", markersize=14, **ring)
    axes.set_title("where the bin is", fontsize=8)
    axes.tick_params(labelsize=6.5)
    axes.set_xlabel("x (spaxel, from 0)", fontsize=7)
    axes.set_ylabel("y", fontsize=7)


def _draw_close(pair: tuple[Axes, Axes], view: BinView, group: int, name: str) -> None:
    drawn, inside = drawn_group(view, group), window_of(view, group)
    limits = limits_of(view, group)
    draw_range(pair, drawn, limits, whole=True)
    where = (view.wave >= limits[0]) & (view.wave <= limits[1])
    _shade_sky(pair, view, where)
    _draw_parts(pair[0], view, group, inside)
    _fit_residual(pair[1], drawn, where)
    pair[0].text(0.02, 0.95, name, transform=pair[0].transAxes, va="top", fontweight="bold")
    said = _group_text(view, group)
    pair[0].text(0.985, 0.95, said, transform=pair[0].transAxes, va="top", ha="right", fontsize=6.5)


def _group_text(view: BinView, group: int) -> str:
    chi2, dof = float(view.lines.chi2[0, group]), float(view.lines.dof[0, group])
    return f"χ²/dof {chi2:.4g}/{dof:.0f}" if np.isfinite(chi2) and dof > 0 else "not fitted"


def _draw_parts(axes: Axes, view: BinView, group: int, inside: B8) -> None:
    """Draw the local background on the stars, and each line of the group on both."""
    level = base_of(view, group)
    fitted = np.isfinite(view.lines.background[0, group]).all()
    if fitted:
        axes.plot(
            view.wave[inside],
            level[inside],
            color=GREEN,
            linestyle=(0, (4, 2)),
            linewidth=0.9,
            label="with local background",
        )
    member = np.flatnonzero(view.lines.group == group)
    for position, i in enumerate(member[np.argsort(view.places[member])]):
        profile = view.profiles[i]
        seen = inside & (np.abs(profile) > _FAINTEST * np.abs(profile).max(initial=0.0))
        color = _PARTS[position % len(_PARTS)]
        area: dict[str, Any] = {"color": color, "alpha": 0.35, "linewidth": 0, "zorder": 1.2}
        axes.fill_between(view.wave, level, level + profile, where=seen.tolist(), **area)
    _widen(axes, level[inside])


def _widen(axes: Axes, values: F64) -> None:
    """Keep these values in sight: the stars may be deeper than the data in an emission line."""
    low, high = axes.get_ylim()
    least = float(np.nanmin(values, initial=high))
    axes.set_ylim(min(low, least - 0.05 * (high - least)), high)


_FAINTEST = 1e-3
"""Part of its peak below which a line is not drawn."""


def _fit_residual(axes: Axes, drawn: Drawn, where: B8) -> None:
    """Widen the axes of the residual where it is large."""
    values = np.abs(drawn.residual[where])
    most = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    for level in (-3, 3):
        axes.axhline(level, color=GREY, linewidth=0.4, linestyle=":")
    if most > _CALM:
        axes.set(ylim=(-1.1 * most, 1.1 * most))
        axes.set_yticks([-float(f"{most:.1g}"), 0, float(f"{most:.1g}")])


def _shade_sky(pair: tuple[Axes, Axes], view: BinView, where: B8) -> None:
    sky = view.spectrum.sky_window & ~view.spectrum.mask[0]
    if sky[where].any():
        for axes in pair:
            shade(axes, view.wave[where], sky[where], _SKY, "window of the sky")


def _draw_table(page: _Page, rows: Sequence[dict[str, str]], top: float, unit: str) -> None:
    """Write the table in columns as wide as they have to be."""
    if not rows:
        page.text(_LEFT, top, "No line is detected; --all-groups shows them all.", color=GREY)
        return
    names = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in names]
    lines = [_row_text(dict(zip(names, names, strict=True)), widths)]
    lines += [_row_text(row, widths) for row in rows]
    settings: dict[str, Any] = {"family": "DejaVu Sans Mono", "fontsize": 7.2}
    for position, line in enumerate(lines):
        color = BLUE if position == 0 else INK
        page.text(_LEFT - 0.45, top + position * _ROW, line, color=color, **settings)
    note = f"flux and its error in {unit}; V and σ without the line-spread function"
    page.text(_LEFT - 0.3, top + (len(lines) + 0.3) * _ROW, note, color=GREY, fontsize=7.2)


def _row_text(row: dict[str, str], widths: Sequence[int]) -> str:
    left = {"", "line", "flags"}
    return "  ".join(
        f"{value:<{width}}" if name in left else f"{value:>{width}}"
        for (name, value), width in zip(row.items(), widths, strict=True)
    )
