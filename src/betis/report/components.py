"""Where further components of lines were kept, and what they are like."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.flags import Flag
from betis.report.content import ReportContent
from betis.report.field import FieldImage, draw_image
from betis.report.page import Panel
from betis.report.summary import fixed, median, percent

__all__ = ["component_table", "components_of", "draw_components"]

_ABSENT = Flag.NO_COMPONENT | Flag.NO_DATA | Flag.FIT_FAILED
_MOST = 4
"""Components that have a map of their own, those of the most bins."""


def components_of(content: ReportContent) -> dict[str, str]:
    """Return the further components that the fit could keep, and the lines they are parts of."""
    known = {line.name: line.component_of for line in content.line_set.lines}
    found = {}
    for name in content.lines.names:
        base = known.get(name, "")
        if base in content.lines.names:
            found[name] = base
    return found


def component_table(content: ReportContent) -> list[tuple[str, ...]]:
    """Return a table of the components that were kept somewhere, its header first.

    Medians are over the bins in which they were kept; velocities are relative to the line's own.
    """
    head = ("component", "bins", "share of the bins", "share of the flux")
    more = ("velocity from the line (km/s)", "σ (km/s)", "median S/N")
    rows: list[tuple[str, ...]] = [(*head, *more)]
    for name, base in components_of(content).items():
        where = _kept(content, name)
        if where.any():
            rows.append(_row(content, name, base, where))
    return rows


def draw_components(content: ReportContent) -> list[Panel]:
    """Return maps of the flux share of the components kept most often, and of how many a bin has.

    A sentence where the fit could have kept components and kept none.
    """
    kept = {name: _kept(content, name) for name in components_of(content)}
    count = np.sum(list(kept.values()), axis=0) if kept else np.zeros(content.bins.n_bin)
    if not count.any():
        return ["Further components: the data ask for none in any bin."]
    often = sorted((name for name in kept if kept[name].any()), key=lambda n: -kept[n].sum())
    shares = [_draw_share(content, name, kept[name]) for name in often[:_MOST]]
    return [_draw_count(content, count.astype(float)), *shares]


def _kept(content: ReportContent, name: str) -> Bool[B8, " bin"]:
    at = content.lines.index(name)
    absent = (content.lines.flags[:, at] & int(_ABSENT)) != 0
    return np.asarray(~absent & np.isfinite(content.lines.flux[:, at]))


def _draw_count(content: ReportContent, count: Float[F64, " bin"]) -> Panel:
    from matplotlib.colors import Normalize

    bins = int((count > 0).sum())
    return draw_image(
        content.sky,
        FieldImage(
            title="Components kept",
            unit="components",
            values=content.bins.paint(count),
            norm=Normalize(0, max(float(count.max()), 1.0)),
            color_map="viridis",
            faint=content.bins.paint(count == 0, blank=False),
            extend="neither",
            caption=f"Further components of lines in {bins:,} of {count.size:,} bins. Grey: none.",
        ),
    )


def _draw_share(content: ReportContent, name: str, where: Bool[B8, " bin"]) -> Panel:
    from matplotlib.colors import Normalize

    at, base = content.lines.index(name), content.lines.index(components_of(content)[name])
    share = _share(content, at, base, where)
    return draw_image(
        content.sky,
        FieldImage(
            title=f"{content.label(name)}: share of the flux",
            unit="component / line",
            values=content.bins.paint(share),
            norm=Normalize(0, 1),
            color_map="cividis",
            faint=content.bins.paint(~where, blank=False),
            caption=f"Kept in {int(where.sum()):,} of {where.size:,} bins. Grey: not kept.",
        ),
    )


def _share(
    content: ReportContent, at: int, base: int, where: Bool[B8, " bin"]
) -> Float[F64, " bin"]:
    """Return the share of a component in the flux of its line; NaN where it was not kept."""
    part, rest = content.lines.flux[:, at], content.lines.flux[:, base]
    whole = part + np.nan_to_num(rest)
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=where & (whole > 0))


def _row(content: ReportContent, name: str, base: str, where: Bool[B8, " bin"]) -> tuple[str, ...]:
    fit, at, line = content.lines, content.lines.index(name), content.lines.index(base)
    apart = fit.velocity[where, at] - fit.velocity[where, line]
    share = median(_share(content, at, line, where))
    return (
        content.label(name),
        f"{int(where.sum()):,}",
        percent(float(where.mean())),
        percent(share),
        fixed(median(apart), 1),
        fixed(median(fit.sigma[where, at]), 1),
        fixed(median(fit.snr[where, at]), 1),
    )
