"""Images of the field: any [y, x] image with celestial axes, scale bar and colour bar."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32, U8
from betis.io.wcs import celestial_wcs
from betis.products import Sky
from betis.report.canvas import DPI, FAINT, INK, finite, new_figure, plain, set_plain_ticks, to_png
from betis.report.page import Panel, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_IMAGE, _LEFT, _RIGHT, _BOTTOM, _TOP = 2.9, 0.72, 0.85, 0.44, 0.28
"""Width of the image and the margins round it, inches: all maps of a field line up."""
_MAX_HEIGHT = 6.0

_HOURS = ("ʰ", "ᵐ", "ˢ")
"""Letters rather than what astropy sets as a formula, which takes longer than the map itself."""

_BAR_LENGTHS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
"""Arcsec."""


@dataclass(frozen=True, eq=False)
class Outline:
    """Lines between spaxels of different ``label [y, x]``, of this colour and width (points)."""

    label: Int[I32, "y x"]
    color: str
    width: float


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldImage:
    """An image of the field and how it is to look.

    Attributes
    ----------
    title, unit
        Above the image, and beside the colour bar.
    values : [y, x]
        NaN is left white.
    norm, color_map
        Stretch and name of the colour map.
    faint : bool [y, x]
        Spaxels that are grey instead: their bin has no detection.
    extend
        Which ends of the colour bar are open: "neither", "min", "max" or "both".
    mark
        A value to mark in the colour bar.
    caption
        What to read below the image.
    outlines
        Drawn over the image, the last on top.
    """

    title: str
    unit: str
    values: Float[F64, "y x"]
    norm: Normalize
    color_map: str
    faint: Bool[B8, "y x"] | None = None
    extend: str = "both"
    mark: float | None = None
    caption: str = ""
    outlines: tuple[Outline, ...] = ()


def draw_image(sky: Sky, image: FieldImage) -> Panel:
    """Return the drawn image, or a sentence where there is nothing to draw."""
    shown = image.values if image.faint is None else np.where(image.faint, np.nan, image.values)
    if finite(shown).size == 0:
        return f"{image.title}: there is no finite value to show."
    figure, axes = sky_axes(sky)
    if image.faint is not None:
        shade(axes, image.faint)
    artist = axes.imshow(shown, cmap=image.color_map, norm=image.norm)
    for lines in image.outlines:
        outline(axes, lines)
    _draw_color_bar(figure, axes, artist, image)
    axes.set_title(plain(image.title))
    return Picture(to_png(figure), f"Map: {image.title}, {image.unit}", image.caption)


def sky_axes(sky: Sky) -> tuple[Figure, Any]:
    """Return a figure whose one axes have the field's celestial coordinates, or pixels."""
    size, place = _layout(sky)
    figure = new_figure(*size, layout=None)
    axes: Any = figure.add_axes(place)
    axes.set_axis_off()
    _show_field(axes, sky)
    figure.figimage(_frame(sky.shape, tuple(sky.wcs.items())), origin="upper", zorder=3)
    return figure, axes


def _layout(sky: Sky) -> tuple[tuple[float, float], tuple[float, float, float, float]]:
    """Return the size of the figure, inches, and the place of the axes in it, shares of that."""
    width, height = _image_size(sky)
    whole_width, whole_height = width + _LEFT + _RIGHT, height + _BOTTOM + _TOP
    left, bottom = _LEFT / whole_width, _BOTTOM / whole_height
    place = (left, bottom, width / whole_width, height / whole_height)
    return (whole_width, whole_height), place


def _show_field(axes: Any, sky: Sky) -> None:
    axes.set_aspect("equal")
    axes.set_xlim(-0.5, sky.shape[1] - 0.5)
    axes.set_ylim(-0.5, sky.shape[0] - 0.5)


@lru_cache(maxsize=2)
def _frame(shape: tuple[int, int], cards: tuple[tuple[str, Any], ...]) -> Int[U8, "row column 4"]:
    """Return what all maps of a field have round them and above them, transparent elsewhere.

    Ticks, labels and scale bar take longer than a map, so they are drawn once.
    """
    sky = Sky(shape=shape, wcs=dict(cards))
    size, place = _layout(sky)
    figure = new_figure(*size, layout=None)
    figure.set_dpi(DPI)
    wcs = field_wcs(sky)
    if wcs is None:
        axes: Any = figure.add_axes(place)
        axes.set(xlabel="x (pixel)", ylabel="y (pixel)")
    else:
        axes = figure.add_axes(place, projection=wcs)
        _label_sky(axes)
        _draw_scale_bar(axes, sky, wcs)
    _show_field(axes, sky)
    figure.patch.set_alpha(0.0)
    axes.patch.set_alpha(0.0)
    canvas: Any = figure.canvas
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def field_wcs(sky: Sky) -> Any:
    """Return the celestial WCS of the field; None where there is none that can be used."""
    with warnings.catch_warnings():
        # Old cards are repaired by astropy and reported: the reader has told the user already.
        warnings.simplefilter("ignore")
        try:
            wcs = celestial_wcs(sky.wcs)
        except (ValueError, TypeError, MemoryError):
            return None
        return wcs if wcs is not None and wcs.has_celestial and wcs.naxis == 2 else None


def shade(axes: Axes, where: Bool[B8, "y x"]) -> None:
    """Paint spaxels grey."""
    from matplotlib.colors import ListedColormap

    axes.imshow(np.where(where, 1.0, np.nan), cmap=ListedColormap([FAINT]), vmin=0, vmax=2)


def outline(axes: Axes, lines: Outline) -> None:
    """Draw a line along each edge between spaxels of different labels."""
    from matplotlib.collections import LineCollection

    label = lines.label
    y, x = np.nonzero(label[:, 1:] != label[:, :-1])
    upright = np.stack([np.stack([x + 0.5, y - 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    y, x = np.nonzero(label[1:] != label[:-1])
    level = np.stack([np.stack([x - 0.5, y + 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    edges = np.concatenate([upright, level]).tolist()
    axes.add_collection(
        LineCollection(edges, colors=lines.color, linewidths=lines.width), autolim=False
    )


def scale_bar_length(pixel: float, n_x: int) -> float | None:
    """Return the length (arcsec) of a bar about a quarter of the field; None where none fits."""
    fitting = [length for length in _BAR_LENGTHS if length <= 0.33 * pixel * n_x]
    return fitting[-1] if fitting else None


def _image_size(sky: Sky) -> tuple[float, float]:
    """Return width and height of the image, inches, in the shape of the field."""
    height = _IMAGE * sky.shape[0] / max(1, sky.shape[1])
    shrink = min(1.0, _MAX_HEIGHT / height)
    return _IMAGE * max(shrink, 0.4), max(height * shrink, 0.8)


def _draw_color_bar(figure: Figure, axes: Axes, artist: AxesImage, image: FieldImage) -> None:
    """Draw the bar at the right of the image, its ticks in plain numbers."""
    place, width = axes.get_position(), figure.get_figwidth()
    room = figure.add_axes((place.x1 + 0.07 / width, place.y0, 0.11 / width, place.height))
    bar = figure.colorbar(artist, cax=room, extend=image.extend)
    set_plain_ticks(bar, image.norm)
    bar.set_label(plain(image.unit))
    if image.mark is not None:
        bar.ax.axhline(image.mark, color=INK, linewidth=1.5)


def _label_sky(axes: Any) -> None:
    for coordinate, name in zip(axes.coords, ("RA", "Dec"), strict=True):
        if coordinate.get_format_unit() == "hourangle":
            coordinate.set_separator(_HOURS)
        coordinate.set_axislabel(name, minpad=0.5)
        coordinate.set_ticks(number=4)
        coordinate.set_ticklabel(exclude_overlapping=True)
        coordinate.display_minor_ticks(True)


def _draw_scale_bar(axes: Axes, sky: Sky, wcs: Any) -> None:
    from matplotlib.patheffects import withStroke

    pixel = _pixel_arcsec(wcs)
    length = scale_bar_length(pixel, sky.shape[1]) if pixel else None
    if pixel is None or length is None:
        return
    around: Mapping[str, Any] = {"path_effects": [withStroke(linewidth=3, foreground="white")]}
    start, level = 0.05 * sky.shape[1] - 0.5, 0.05 * sky.shape[0] - 0.5
    end = start + length / pixel
    axes.plot([start, end], [level, level], color=INK, linewidth=2, zorder=5, **around)
    axes.annotate(
        f"{length:g}″",
        ((start + end) / 2, level),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        zorder=5,
        **around,
    )


def _pixel_arcsec(wcs: Any) -> float | None:
    from astropy.wcs.utils import proj_plane_pixel_scales

    scale = 3600 * float(np.mean(proj_plane_pixel_scales(wcs)))
    return scale if np.isfinite(scale) and scale > 0 else None
