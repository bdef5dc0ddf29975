"""Maps of the emission lines and of the stellar continuum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.report.canvas import finite, robust_range
from betis.report.content import ReportContent
from betis.report.field import FieldImage, draw_image
from betis.report.page import Panel
from betis.report.summary import Measured, flux_unit

_SMALLEST_HALF_RANGE = 10.0
"""km/s of velocity maps: smaller ones would show noise only."""


def draw_fluxes(content: ReportContent, lines: Sequence[Measured]) -> list[Panel]:
    """Return the surface brightness of each line, in a logarithmic stretch."""
    return [_draw_flux(content, line) for line in lines]


def draw_velocities(content: ReportContent, lines: Sequence[Measured]) -> list[Panel]:
    """Return the velocity of each line, all in one range that is symmetric about the median."""
    seen = [content.bins.paint(np.where(line.detected, line.velocity, np.nan)) for line in lines]
    if not seen or finite(seen).size == 0:
        return ["Gas velocity: no line is detected, so there is no velocity to show."]
    center, half = velocity_range(np.stack(seen))
    pairs = [line for line in lines if finite(line.velocity[line.detected]).size]
    return [_draw_velocity(content, line, center, half) for line in pairs]


def draw_dispersion(content: ReportContent, line: Measured) -> Panel:
    """Return the velocity dispersion of a line."""
    label = content.label(content.lines.names[line.position])
    return _draw_detected(content, line, line.sigma, title=f"σ of {label}", unit="km/s")


def draw_equivalent_width(content: ReportContent, line: Measured) -> Panel:
    """Return the equivalent width of a line, in a logarithmic stretch where it can be."""
    width = content.lines.ew[:, line.position]
    label = content.label(content.lines.names[line.position])
    return _draw_detected(
        content, line, width, title=f"EW of {label}", unit="Å, rest frame", logarithmic=True
    )


def draw_stars(content: ReportContent) -> list[Panel]:
    """Return stellar velocity, dispersion and extinction; the flagged fits set no range."""
    fit = content.continuum.table
    if finite([fit.velocity, fit.sigma, fit.av]).size == 0:
        return ["Stellar kinematics: no stellar continuum was fitted, so there is none to show."]
    paint, sure = content.bins.paint, fit.flags == 0
    center, half = velocity_range(paint(np.where(sure, fit.velocity, np.nan)))
    images = [
        _velocity_image("Stellar velocity", paint(fit.velocity), center, half),
        _plain_image("Stellar σ", "km/s", paint(fit.sigma), fit.sigma[sure]),
        _plain_image("Stellar A_V", "mag", paint(fit.av), fit.av[sure]),
    ]
    return [draw_image(content.sky, image) for image in images]


def velocity_range(values: Float[F64, " ..."]) -> tuple[float, float]:
    """Return centre (the median) and half-range (98 % of the values) of a velocity map, km/s."""
    good = finite(values)
    if good.size == 0:
        return 0.0, _SMALLEST_HALF_RANGE
    center = float(np.median(good))
    half = float(np.percentile(np.abs(good - center), 98))
    return center, max(half, _SMALLEST_HALF_RANGE)


def log_range(values: Float[F64, " ..."]) -> tuple[float, float] | None:
    """Return a robust range of the positive values, at least 20 % wide; None for none."""
    good = finite(values)
    positive = good[good > 0]
    if positive.size == 0:
        return None
    low, high = (float(value) for value in np.percentile(positive, [1, 99.5]))
    return (low, high) if high > 1.2 * low else (low / 1.1, high * 1.1)


def _draw_flux(content: ReportContent, line: Measured) -> Panel:
    if not line.detected.any():
        return f"{line.label} is not detected at S/N 3 in any bin."
    return _draw_detected(
        content,
        line,
        line.flux / content.bins.n_spaxel,
        title=f"Flux of {line.label}",
        unit=f"{flux_unit(content)} per spaxel",
        logarithmic=True,
    )


def _draw_velocity(content: ReportContent, line: Measured, center: float, half: float) -> Panel:
    values, faint = _painted(content, line, line.velocity)
    title = f"Velocity of {content.label(content.lines.names[line.position])}"
    return draw_image(content.sky, _velocity_image(title, values, center, half, faint))


def _velocity_image(
    title: str,
    values: Float[F64, "y x"],
    center: float,
    half: float,
    faint: Bool[B8, "y x"] | None = None,
) -> FieldImage:
    from matplotlib.colors import Normalize

    return FieldImage(
        title=title,
        unit="km/s",
        values=values,
        norm=Normalize(center - half, center + half),
        color_map="RdBu_r",
        faint=faint,
        mark=center,
    )


def _plain_image(
    title: str, unit: str, values: Float[F64, "y x"], sure: Float[F64, " bin"]
) -> FieldImage:
    from matplotlib.colors import Normalize

    return FieldImage(
        title=title,
        unit=unit,
        values=values,
        norm=Normalize(*robust_range(sure if finite(sure).size else values, 1, 99)),
        color_map="cividis",
    )


def _draw_detected(
    content: ReportContent,
    line: Measured,
    values: Float[F64, " bin"],
    *,
    title: str,
    unit: str,
    logarithmic: bool = False,
) -> Panel:
    """Draw values where the line is detected, grey elsewhere."""
    from matplotlib.colors import LogNorm, Normalize

    image, faint = _painted(content, line, values)
    shown = np.where(faint, np.nan, image)
    limits = log_range(shown) if logarithmic else None
    norm = LogNorm(*limits) if limits else Normalize(*robust_range(shown, 1, 99))
    return draw_image(
        content.sky,
        FieldImage(
            title=title,
            unit=unit,
            values=np.where(image > 0, image, np.nan) if limits else image,
            norm=norm,
            color_map="viridis" if logarithmic else "cividis",
            faint=faint,
            caption=f"S/N ≥ 3 in {int(line.detected.sum()):,} of {content.bins.n_bin:,} bins.",
        ),
    )


def _painted(
    content: ReportContent, line: Measured, values: Float[F64, " bin"]
) -> tuple[Float[F64, "y x"], Bool[B8, "y x"]]:
    paint = content.bins.paint
    return paint(values), paint(~line.detected, blank=False)
