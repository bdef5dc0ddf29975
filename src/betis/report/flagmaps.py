"""Where on the sky fits are flagged, and how well they describe the data there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32
from betis.flags import Flag
from betis.report.canvas import finite, plain, robust_range, to_png
from betis.report.content import ReportContent
from betis.report.derivedmaps import draw_key
from betis.report.field import FieldImage, draw_image, shade, sky_axes
from betis.report.page import Panel, Picture
from betis.report.summary import continuum_chi2, detected, number, reduced

__all__ = ["draw_doubt", "draw_fit_quality", "draw_flags", "leading_flag"]

SERIOUS = (
    Flag.FIT_FAILED,
    Flag.NO_DATA,
    Flag.NOT_CONVERGED,
    Flag.FEW_PIXELS,
    Flag.BAD_CHI2,
    Flag.AT_BOUND,
    Flag.COARSE_KINEMATICS,
)
"""Flags that maps show, the worst first: those of the fits, not of what they were given."""

_IN_DOUBT = Flag.FIT_FAILED | Flag.NOT_CONVERGED | Flag.FEW_PIXELS | Flag.BAD_CHI2 | Flag.AT_BOUND
_COLORS = (
    "#882255", "#332288", "#AA4499", "#CC6677", "#D55E00", "#E69F00", "#88CCEE",
)  # fmt: skip


def draw_flags(content: ReportContent) -> list[Panel]:
    """Return maps of the flag that leads in each bin: of the continuum, and of detected lines."""
    stars = content.continuum.table.flags
    seen = np.where(detected(content), content.lines.flags, 0)
    return [
        _draw_leading(content, leading_flag(stars[:, None]), "Flags of the continuum"),
        _draw_leading(content, leading_flag(seen), "Flags of the detected lines"),
    ]


def draw_doubt(content: ReportContent) -> Panel:
    """Return how many of the detected lines of each bin have a flag that puts them in doubt."""
    from matplotlib.colors import Normalize

    doubtful = detected(content) & ((content.lines.flags & int(_IN_DOUBT)) != 0)
    count = doubtful.sum(axis=1).astype(float)
    if not count.any():
        return "Detected lines in doubt: there is none."
    none = content.bins.paint(np.asarray(~detected(content).any(axis=1)), blank=False)
    return draw_image(
        content.sky,
        FieldImage(
            title="Detected lines in doubt",
            unit="lines",
            values=content.bins.paint(count),
            norm=Normalize(0, max(float(np.percentile(count, 99.5)), 1.0)),
            color_map="magma_r",
            faint=none,
            extend="max",
            caption=(
                f"{int(doubtful.sum()):,} of {int(detected(content).sum()):,} detected lines: "
                "their fit failed, did not end, has few pixels, a bad χ² or a parameter at a "
                "bound. Grey: nothing detected."
            ),
        ),
    )


def draw_fit_quality(content: ReportContent) -> list[Panel]:
    """Return maps of the reduced chi-square of the continuum, and of the worst fit of lines."""
    lines = reduced(content.lines.chi2, content.lines.dof)
    counted = _groups_with_detection(content, lines.shape[1])
    worst = np.max(np.where(counted & np.isfinite(lines), lines, -1.0), axis=1, initial=-1.0)
    return [
        _draw_chi2(content, "Reduced χ², continuum", continuum_chi2(content)),
        _draw_chi2(
            content, "Reduced χ², worst line fit", np.where(worst >= 0, worst, np.nan), worst < 0
        ),
    ]


def leading_flag(flags: Int[I32, "row fit"]) -> Int[I32, " row"]:
    """Return for each row which of `SERIOUS` most of its fits have, from 1; 0 for none.

    Of flags that as many fits have the worst counts.
    """
    counts = np.stack([((flags & flag) != 0).sum(axis=1) for flag in SERIOUS], axis=1)
    first = counts.argmax(axis=1) + 1
    return np.where(counts.any(axis=1), first, 0).astype(np.int32)


def _groups_with_detection(content: ReportContent, n_group: int) -> Bool[B8, "bin group"]:
    seen, found = detected(content), np.zeros((content.bins.n_bin, n_group), bool)
    for line, group in enumerate(content.lines.group):
        found[:, group] |= seen[:, line]
    return found


def _draw_leading(content: ReportContent, leading: Int[I32, " bin"], title: str) -> Panel:
    """Draw which flag leads, grey where there is none; a sentence where there is none at all."""
    from matplotlib.colors import ListedColormap

    present = [i for i in range(1, len(SERIOUS) + 1) if (leading == i).any()]
    if not present:
        return f"{title}: no bin has one."
    place = np.zeros(len(SERIOUS) + 1)
    place[present] = np.arange(1, len(present) + 1)
    painted = content.bins.paint(place[leading])
    figure, axes = sky_axes(content.sky)
    shade(axes, painted == 0)
    colors = [_COLORS[i - 1] for i in present]
    shown = np.where(painted > 0, painted, np.nan)
    axes.imshow(shown, cmap=ListedColormap(colors), vmin=0.5, vmax=len(colors) + 0.5)
    axes.set_title(plain(title))
    draw_key(axes, [SERIOUS[i - 1].name or "" for i in present], colors)
    count = int((leading > 0).sum())
    caption = (
        f"{count:,} of {leading.size:,} bins have one; the flag that most of the fits of a bin "
        "have, of equals the worst. Meanings below."
    )
    return Picture(to_png(figure), f"Map: {title}", caption)


def _draw_chi2(
    content: ReportContent,
    title: str,
    values: Float[F64, " bin"],
    faint: Bool[B8, " bin"] | None = None,
) -> Panel:
    from matplotlib.colors import Normalize

    good = finite(values)
    low, high = robust_range(values, 1, 99)
    half = max(high - 1.0, 1.0 - low, 0.5)
    middle = number(float(np.median(good))) if good.size else "–"
    grey = " Grey: no line is detected." if faint is not None else ""
    return draw_image(
        content.sky,
        FieldImage(
            title=title,
            unit="χ² / degree of freedom",
            values=content.bins.paint(values),
            norm=Normalize(1.0 - half, 1.0 + half),
            color_map="RdBu_r",
            faint=None if faint is None else content.bins.paint(faint, blank=False),
            mark=1.0,
            caption=f"Median {middle}; white where the data scatter by their errors.{grey}",
        ),
    )
