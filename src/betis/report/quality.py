"""Figures of the quality of the fits."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.report.canvas import BLUE, GREEN, INK, finite, new_figure, robust_range, to_png
from betis.report.content import ReportContent
from betis.report.page import Panel, Picture
from betis.report.summary import continuum_chi2, number, reduced


def draw_chi2(content: ReportContent) -> list[Panel]:
    """Return the distributions of reduced chi-square of the continuum and of the line groups."""
    lines = reduced(content.lines.chi2, content.lines.dof)
    return [
        _draw_histogram(continuum_chi2(content), "continuum", "spectra", BLUE),
        _draw_histogram(lines, "line groups", "fits", GREEN),
    ]


def draw_residuals(content: ReportContent) -> Panel:
    """Return the residuals of the continuum fits over their errors, against a unit Gaussian."""
    pull = _continuum_pulls(content)
    if pull.size < 2:
        return "Residuals of the continuum: no fitted pixel to show."
    edges, x = np.linspace(-6, 6, 97), np.linspace(-6, 6, 400)
    figure = new_figure(4.47, 3.4)
    axes = figure.add_subplot()
    axes.hist(np.clip(pull, -6, 6), edges.tolist(), density=True, color=BLUE, alpha=0.85)
    axes.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color=INK, linewidth=1, label="N(0, 1)")
    axes.legend()
    axes.set(xlabel="(data − continuum) / error", ylabel="density", title="Residuals, continuum")
    low, high = np.percentile(pull, [15.865, 84.135])
    width = number(float((high - low) / 2))
    caption = f"Pixels that the fit used; half the width of their central 68 % is {width}."
    return Picture(to_png(figure), "Histogram of the residuals of the continuum fits", caption)


def _continuum_pulls(content: ReportContent, max_row: int = 256) -> Float[F64, " pixel"]:
    """Return residuals over errors at the fitted pixels of at most ``max_row`` spectra."""
    step = max(1, -(-content.spectra.n_spectrum // max_row))
    rows = slice(None, None, step)
    spectra, fit = content.spectra.take(rows), content.continuum.take(rows)
    used = fit.used & ~spectra.mask
    return finite((spectra.flux - fit.model)[used] / spectra.error[used])


def _draw_histogram(values: F64, what: str, unit: str, color: str) -> Panel:
    good = finite(values)
    if good.size == 0:
        return f"χ² of the {what}: there is no fit to show."
    high = max(2.0, 1.1 * robust_range(good, 0, 99)[1])
    figure = new_figure(4.47, 3.4)
    axes = figure.add_subplot()
    axes.hist(np.clip(good, 0, high), np.linspace(0, high, 51).tolist(), color=color, alpha=0.85)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set(xlabel="reduced χ²", ylabel=unit, title=f"Reduced χ², {what}")
    beyond = int((good > high).sum())
    more = f" The last column holds {beyond:,} beyond it." if beyond else ""
    caption = f"Median {number(float(np.median(good)))} of {good.size:,} {unit}.{more}"
    return Picture(to_png(figure), f"Histogram of reduced chi-square of the {what}", caption)
