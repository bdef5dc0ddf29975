"""The figure of a stellar base: spectra by age, ages and metallicities, resolution."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError
from betis.lsf import FWHM_PER_SIGMA
from betis.products import Templates
from betis.report.canvas import (
    BLUE,
    GREY,
    INK,
    house_style,
    new_figure,
    plain,
    robust_range,
    set_log_ticks,
    to_png,
)
from betis.wavelength import C_KMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

__all__ = ["default_path", "draw_base", "write_base_figure"]

_NORM_WAVE, _NORM_HALF_WIDTH = 5635.0, 45.0
"""Where spectra are brought to 1: the window of Cid Fernandes et al. 2005, section 2.1."""
_OPTICAL = (3500.0, 9500.0)
"""What is drawn of a base that reaches beyond, Angstrom."""
_MOST_POINTS = 1200
"""Of a spectrum that are drawn."""
_UNKNOWN_AGE = 9.0


def default_path(templates: Templates) -> Path:
    """Return ``betis-NAME.png`` in the current folder, for a base of any name."""
    return Path(f"betis-{re.sub(r'[^A-Za-z0-9._-]+', '_', templates.name) or 'base'}.png")


def write_base_figure(path: Path, templates: Templates) -> None:
    """Draw a base into a PNG file.

    Raises
    ------
    InputError
        Where the file cannot be written.
    """
    picture = draw_base(templates)
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise InputError(
            f"the figure cannot be written to {path}: {error.strerror}; choose another file"
        ) from error


def draw_base(templates: Templates) -> bytes:
    """Return a PNG of a base.

    Above, its spectra over their own level near 5635 Angstrom, coloured by age, in the optical;
    below, which ages and metallicities there are, and the resolution as FWHM and as dispersion.
    """
    with house_style():
        figure = new_figure(9.0, 6.6)
        grid = figure.add_gridspec(3, 2, height_ratios=[3.2, 1, 1])
        colours, norm = _colours(templates)
        _draw_spectra(figure, figure.add_subplot(grid[0, :]), templates, (colours, norm))
        _draw_grid(figure.add_subplot(grid[1:, 0]), templates, (colours, norm))
        wide = figure.add_subplot(grid[1, 1])
        _draw_resolution(wide, figure.add_subplot(grid[2, 1], sharex=wide), templates)
        return to_png(figure)


def _colours(templates: Templates) -> tuple[Colormap, Normalize]:
    """Return the colours of ages, blue for the young as they are."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    age = _log_age(templates)
    low, high = float(age.min()), float(age.max())
    pad = 0.5 if high - low < 1e-6 else 0.0
    return colormaps["turbo"], Normalize(low - pad, high + pad)


def _log_age(templates: Templates) -> Float[F64, " template"]:
    known = templates.age > 0
    return np.where(known, np.log10(np.where(known, templates.age, 1.0)), _UNKNOWN_AGE)


def _draw_spectra(
    figure: Figure, axes: Axes, templates: Templates, paint: tuple[Colormap, Normalize]
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection

    colours, norm = paint
    wave, flux, middle = _thinned(templates)
    age = _log_age(templates)
    order = np.argsort(age)
    lines = LineCollection(
        [np.column_stack([wave, flux[number]]) for number in order],
        colors=colours(norm(age[order])),
        linewidths=0.6,
        alpha=0.85,
    )
    axes.add_collection(lines)
    axes.set_xlim(wave[0], wave[-1])
    low, high = robust_range(flux[flux > 0], 0.5, 99.9)
    low = max(low, 1e-3 * high)
    axes.set_ylim(0.7 * low, 1.4 * high)
    axes.set_yscale("log")
    set_log_ticks(axes.yaxis, 0.7 * low, 1.4 * high)
    axes.set_xlabel(f"wavelength (Å, {templates.medium})")
    axes.set_ylabel(f"flux / flux near {middle:.0f} Å")
    axes.set_title(plain(f"{templates.name or 'base'}: {templates.n_template} templates"))
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.01)
    bar.set_label("log age (yr)")


def _thinned(
    templates: Templates,
) -> tuple[Float[F64, " point"], Float[F64, "template point"], float]:
    """Return the optical part of the spectra, in means of neighbouring pixels; where they are 1."""
    wave = templates.wave
    inside = (wave >= _OPTICAL[0]) & (wave <= _OPTICAL[1])
    inside = inside if inside.sum() > 1 else np.ones(wave.size, bool)
    wave, flux = wave[inside], templates.flux[:, inside]
    middle = _NORM_WAVE if wave[0] < _NORM_WAVE < wave[-1] else 0.5 * (wave[0] + wave[-1])
    distance = np.abs(wave - middle)
    window = distance <= max(_NORM_HALF_WIDTH, float(distance.min()))
    level = np.median(flux[:, window], axis=1)
    flux = flux / np.where(level > 0, level, 1.0)[:, None]
    size = -(-wave.size // _MOST_POINTS)
    count = wave.size // size
    shape = (count, size)
    return (
        wave[: count * size].reshape(shape).mean(axis=1),
        flux[:, : count * size].reshape(-1, *shape).mean(axis=2),
        float(middle),
    )


def _draw_grid(axes: Axes, templates: Templates, paint: tuple[Colormap, Normalize]) -> None:
    """Draw a point a template; metallicities are as far apart as their number, not their value."""
    colours, norm = paint
    names, row = np.unique(templates.metallicity, return_inverse=True)
    age = _log_age(templates)
    axes.scatter(age, row, c=colours(norm(age)), s=22, edgecolors=INK, linewidths=0.3)
    axes.set_yticks(range(names.size), [f"{value:.4g}" if value > 0 else "?" for value in names])
    axes.set_ylim(-0.6, names.size - 0.4)
    axes.set_xlabel("log age (yr)")
    axes.set_ylabel("metallicity Z")
    axes.grid(color=GREY, alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)


def _draw_resolution(wide: Axes, moving: Axes, templates: Templates) -> None:
    """Draw the width of the templates in Angstrom and in km/s."""
    wave, fwhm = templates.wave, templates.fwhm
    inside = (wave >= _OPTICAL[0]) & (wave <= _OPTICAL[1])
    inside = inside if inside.sum() > 1 else np.ones(wave.size, bool)
    sigma = fwhm / FWHM_PER_SIGMA / wave * C_KMS
    for axes, values, label in ((wide, fwhm, "FWHM (Å)"), (moving, sigma, "σ (km/s)")):
        axes.plot(wave[inside], values[inside], color=BLUE, linewidth=1.2)
        axes.set_ylim(0.0, 1.25 * float(values[inside].max()) or 1.0)
        axes.set_ylabel(label)
    wide.set_title("resolution")
    wide.tick_params(labelbottom=False)
    moving.set_xlabel("wavelength (Å)")
