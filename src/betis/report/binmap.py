"""Figures of the field and its bins: flux, S/N before and after, the bins themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from betis.arrays import F64, I32, Index
from betis.products import BinMap
from betis.report.binfacts import region_sentence, signal_unit
from betis.report.canvas import (
    BLUE,
    GREY,
    INK,
    RED,
    new_figure,
    robust_range,
    set_log_ticks,
    to_png,
)
from betis.report.content import ReportContent
from betis.report.field import FieldImage, Outline, draw_image, outline, sky_axes
from betis.report.page import Panel, Picture
from betis.report.summary import counted, density_unit, number, reached

_PALETTE = ("#88CCEE", "#DDCC77", "#44AA99", "#CC6677", "#332288", "#AA4499", "#117733", "#882255")
"""Paul Tol's muted colours."""
_GREYS = ("#d0d0d0", "#a8a8a8", "#bcbcbc", "#949494", "#c6c6c6", "#9e9e9e", "#b2b2b2", "#8a8a8a")
_MAX_OUTLINED = 3000
"""Bins beyond which their outlines would cover them."""

Pairs = Int[Index, "pair 2"]


def draw_cube_image(content: ReportContent) -> Panel:
    """Return the image of the continuum, in an asinh stretch."""
    from matplotlib.colors import AsinhNorm

    low, high = robust_range(content.cube_image, 0.5, 99.8)
    return draw_image(
        content.sky,
        FieldImage(
            title="Continuum",
            unit=f"{density_unit(content)} per spaxel",
            values=content.cube_image,
            norm=AsinhNorm((high - low) / 15, vmin=low, vmax=high),
            color_map="magma",
            caption="Flux density of the continuum of each spaxel; asinh stretch.",
        ),
    )


def draw_snr_maps(content: ReportContent) -> list[Panel]:
    """Return the S/N of each spaxel before binning and of its bin after, in one stretch."""
    label, bins = content.label(content.snr.line), content.bins
    after = bins.paint(bins.snr)
    return [
        _draw_snr(
            content, content.snr.snr, f"S/N of {label}, spaxels", "Before binning, each spaxel."
        ),
        _draw_snr(content, after, f"S/N of {label}, bins", "After binning, each spaxel's bin."),
    ]


def draw_outlines(content: ReportContent) -> Panel:
    """Return the signal that the bins were made on, with their outlines and those of regions."""
    from matplotlib.colors import AsinhNorm

    bins, label = content.bins, content.label(content.snr.line)
    low, high = robust_range(content.snr.signal, 0.5, 99.8)
    drawn = bins.n_bin <= _MAX_OUTLINED
    lines = "Blue: the bins." if drawn else f"{bins.n_bin:,} bins, too many to outline."
    caption = f"Signal of each spaxel; asinh stretch. {lines} {region_sentence(content)}"
    return draw_image(
        content.sky,
        FieldImage(
            title=f"{label} and the bins",
            unit=f"{signal_unit(content)} per spaxel",
            values=content.snr.signal,
            norm=AsinhNorm((high - low) / 15, vmin=low, vmax=high),
            color_map="Greys",
            outlines=_bin_outlines(bins, drawn=drawn),
            caption=caption.rstrip(),
        ),
    )


def draw_bins(content: ReportContent) -> Panel:
    """Return the map of bins: neighbours in different colours, bins below the target in greys."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    bins = content.bins
    if bins.n_bin == 0:
        return "Bins: no spaxel is in any bin."
    color = color_bins(touching_bins(bins.bin_id), bins.n_bin) % len(_PALETTE)
    index = np.where(reached(content), color, color + len(_PALETTE)).astype(float)
    figure, axes = sky_axes(content.sky)
    colors = ListedColormap(_PALETTE + _GREYS)
    norm = BoundaryNorm(np.arange(colors.N + 1) - 0.5, colors.N)
    axes.imshow(bins.paint(index), cmap=colors, norm=norm)
    if bins.n_bin <= _MAX_OUTLINED:
        outline(axes, Outline(bins.bin_id, INK, 0.4))
    axes.set_title(counted(bins.n_bin, "bin"))
    low = int((~reached(content)).sum())
    caption = (
        f"Colours only tell neighbours apart. Grey: {counted(low, 'bin')} below the target S/N."
    )
    return Picture(to_png(figure), f"Map of {counted(bins.n_bin, 'bin')}", caption)


def draw_bin_sizes(content: ReportContent) -> Panel:
    """Return how many bins there are of each size."""
    sizes = content.bins.n_spaxel
    if sizes.size == 0:
        return "Bin sizes: no spaxel is in any bin."
    edges = np.unique(np.round(np.geomspace(1, sizes.max() + 1, 25))) - 0.5
    good = reached(content)
    figure = new_figure(4.47, 3.68)
    axes = figure.add_subplot()
    axes.hist(
        [sizes[good], sizes[~good]],
        edges.tolist(),
        stacked=True,
        color=[BLUE, GREY],
        label=["reach the target", "below it"],
    )
    axes.set(xscale="log", xlabel="spaxels in the bin", ylabel="bins", title="Size of the bins")
    axes.legend()
    set_log_ticks(axes.xaxis, 1.0, float(edges[-1]))
    caption = f"Median {number(float(np.median(sizes)))}, largest {number(float(sizes.max()))}."
    return Picture(to_png(figure), "Histogram of bin sizes", caption)


def touching_bins(bin_id: Int[I32, "y x"]) -> Pairs:
    """Return the pairs of bins that share an edge or a corner, each once, the smaller first."""
    shifted = [
        (bin_id[:, 1:], bin_id[:, :-1]),
        (bin_id[1:], bin_id[:-1]),
        (bin_id[1:, 1:], bin_id[:-1, :-1]),
        (bin_id[1:, :-1], bin_id[:-1, 1:]),
    ]
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in shifted])
    kept = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs.min(axis=1) >= 0)]
    return np.unique(np.sort(kept, axis=1), axis=0).astype(np.intp)


def color_bins(pairs: Pairs, n_bin: int) -> Int[Index, " bin"]:
    """Return a number for each bin that differs from those of its neighbours, as low as can be.

    References
    ----------
    Welsh & Powell 1967, Comput. J. 10 85: greedy, the bins with most neighbours first.
    """
    neighbours = _neighbours(pairs, n_bin)
    color = np.full(n_bin, -1, dtype=np.intp)
    for row in sorted(range(n_bin), key=lambda row: -len(neighbours[row])):
        taken = {int(color[other]) for other in neighbours[row]}
        color[row] = next(free for free in range(n_bin) if free not in taken)
    return color


def _neighbours(pairs: Pairs, n_bin: int) -> Sequence[Index]:
    both = np.concatenate([pairs, pairs[:, ::-1]])
    ordered = both[np.argsort(both[:, 0], kind="stable")]
    return np.split(ordered[:, 1], np.searchsorted(ordered[:, 0], np.arange(1, n_bin)))


def _bin_outlines(bins: BinMap, *, drawn: bool) -> tuple[Outline, ...]:
    """Return the outlines of the bins, and over them those of regions."""
    around = (Outline(bins.bin_id, BLUE, 0.45),) if drawn else ()
    if bins.is_region is None or not bins.is_region.any():
        return around
    region = np.where(bins.paint(bins.is_region, blank=False), bins.bin_id, -1)
    return (*around, Outline(region, RED, 1.0))


def _draw_snr(content: ReportContent, values: Float[F64, "y x"], title: str, caption: str) -> Panel:
    from matplotlib.colors import Normalize

    target = content.bins.target
    has_target = bool(np.isfinite(target))
    high = max(robust_range(content.bins.snr, 1, 95)[1], 1.0)
    high = float(np.clip(high, 2 * target, 5 * target)) if has_target else high
    mark = f" The mark in the colour bar is the target, {number(target)}." if has_target else ""
    return draw_image(
        content.sky,
        FieldImage(
            title=title,
            unit="S/N",
            values=values,
            norm=Normalize(0, high),
            color_map="viridis",
            mark=target if has_target else None,
            caption=caption + mark,
        ),
    )
