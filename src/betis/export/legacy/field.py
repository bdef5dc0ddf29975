"""Maps of labels and S/N, the tables of the spaxels, and the resampled cube."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from betis.arrays import B8, F64
from betis.compute import Progress
from betis.export.files import (
    Image,
    cd_cards,
    primary_layout,
    put_tile,
    write_images,
    write_with_primary,
)
from betis.export.legacy.names import LegacyFolder
from betis.export.resampled import CTYPE, resampled_tiles
from betis.io.products import flux_unit
from betis.io.row_files import Layout, RowWriter, image_layout
from betis.io.starlight.files import write_text_plainly
from betis.products import BinMap, Cube, Sky, SnrMap
from betis.resampling import Resampled, linear_axis

__all__ = [
    "ContinuumSnr",
    "write_labels",
    "write_line_snr",
    "write_resampled_cube",
    "write_spaxel_table",
]

NORM_WINDOWS = {"MUSE": (5120.0, 5180.0), "MANGA": (4580.0, 4640.0), "PMAS": (4580.0, 4640.0)}
"""Rest Angstrom: where the scripts measure the S/N of the continuum."""
_HALF_WIDTH = 30.0
_MIN_PIXELS = 10
_ENOUGH = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class ContinuumSnr:
    """The S/N of the continuum of each spaxel, ``[y, x]``; NaN without data.

    Attributes
    ----------
    signal
        Mean of the fit, in the cube's scale.
    snr
        1 / the scatter of the flux over a cubic fit.
    whole
        True where over 95 % of the pixels have data.
    """

    signal: Float[F64, "y x"]
    snr: Float[F64, "y x"]
    whole: B8


def write_labels(folder: LegacyFolder, bins: BinMap, sky: Sky, *, regions: bool) -> None:
    """Write the map of labels, 1 to N and 0 for none, and the table of each label's spaxels."""
    cards = {**sky.wcs, "SNRTARG": bins.target if np.isfinite(bins.target) else None}
    write_images(folder.segmentation, [Image("PRIMARY", bins.bin_id + 1, cards)])
    y, x = np.nonzero(bins.bin_id >= 0)
    label = bins.bin_id[y, x] + 1
    order = np.argsort(label, kind="stable")
    rows = zip(label[order].tolist(), y[order].tolist(), x[order].tolist(), strict=True)
    text = "bin x y\n" + "".join(f"{n} {i} {j}\n" for n, i, j in rows)
    write_text_plainly(folder.bin_table(regions=regions), text)


def write_line_snr(folder: LegacyFolder, measured: SnrMap, sky: Sky) -> None:
    """Write the maps of the S/N of the bins' line, its signal and its noise.

    They are called SII whatever the line is; the card SNRLINE says it.
    """
    unit = flux_unit(sky, density=measured.method in ("betis", "continuum"))
    for kind, values, bunit in (
        ("SN", measured.snr, ""),
        ("S", measured.signal, unit),
        ("N", measured.noise, unit),
    ):
        cards = {"BUNIT": bunit, "SNRLINE": measured.line, "SNRMETH": measured.method, **sky.wcs}
        write_images(folder.line_snr(kind), [Image("PRIMARY", values, cards)])


def write_resampled_cube(
    folder: LegacyFolder, cube: Cube, progress: Progress | None = None
) -> ContinuumSnr:
    """Write the resampled cube, the map ``_SN`` and the table ``.sn`` of its continuum's S/N.

    Flux in the primary HDU and its 1-sigma error behind, in the cube's scale, in the rest frame,
    dereddened, on 1 Angstrom; NaN where bad. Tile by tile of image rows.

    Parameters
    ----------
    folder
        Where to.
    cube
        Prepared.
    progress
        Told how many image rows each tile held.
    """
    axis = linear_axis(cube.wave, cube.edges)
    window = norm_window(folder.survey, axis.wave)
    found = ContinuumSnr(
        signal=np.full(cube.sky.shape, np.nan),
        snr=np.full(cube.sky.shape, np.nan),
        whole=np.zeros(cube.sky.shape, dtype=bool),
    )

    def fill(writer: RowWriter) -> None:
        for rows, tile in resampled_tiles(cube):
            bad = np.where(tile.mask, np.nan, 0.0)
            images = {"PRIMARY": tile.flux + bad, "ERROR": tile.error + bad}
            put_tile(writer, images, rows, cube.sky.shape)
            _measure(found, tile, rows, window)
            if progress:
                progress(rows.stop - rows.start)

    write_with_primary(folder.resampled, _cube_layouts(cube, axis.wave), fill)
    _write_snr(folder, found, cube.sky, window)
    return found


def norm_window(survey: str, wave: Float[F64, " wave"]) -> tuple[float, float]:
    """Return where the continuum's S/N is measured: the survey's place, or the middle of all."""
    low, upp = NORM_WINDOWS.get(survey, (0.0, 0.0))
    if wave[0] <= low and upp <= wave[-1]:
        return low, upp
    middle = 0.5 * float(wave[0] + wave[-1])
    return middle - _HALF_WIDTH, middle + _HALF_WIDTH


def write_spaxel_table(
    folder: LegacyFolder, files: dict[tuple[int, int], str], found: ContinuumSnr
) -> None:
    """Write the table of the spaxels that STARLIGHT is to fit: ``i j file sn``."""
    text = "".join(f"{i} {j} {name} {found.snr[i, j]:.6g}\n" for (i, j), name in files.items())
    write_text_plainly(folder.spaxel_table, text)


def _cube_layouts(cube: Cube, wave: Float[F64, " wave"]) -> list[Layout]:
    shape = (wave.size * cube.sky.shape[0], cube.sky.shape[1])
    cards: dict[str, Any] = {
        "BUNIT": flux_unit(cube.sky, density=True),
        **cd_cards(cube.sky),
        **linear_cards(wave, CTYPE[cube.medium]),
        "REDSHIFT": (cube.redshift, "axis divided by 1 + this, flux multiplied"),
    }
    whole = (wave.size, *cube.sky.shape)
    return [
        as_rows(primary_layout(whole, "f4", cards), shape),
        as_rows(image_layout("ERROR", whole, "f4", cards), shape),
    ]


def linear_cards(wave: Float[F64, " wave"], ctype: str) -> dict[str, Any]:
    """Return the cards of a linear third axis, CDELT3 and CD3_3 the same."""
    step = float((wave[-1] - wave[0]) / (wave.size - 1))
    return {
        "WCSAXES": 3,
        "CTYPE3": ctype,
        "CUNIT3": "Angstrom",
        "CRPIX3": 1.0,
        "CRVAL3": float(wave[0]),
        "CDELT3": step,
        "CD3_3": step,
    }


def as_rows(layout: Layout, shape: tuple[int, ...]) -> Layout:
    """Return the layout of a cube in other rows: ``[row, ...]``."""
    row = np.dtype((layout.dtype.base, shape[1:]))
    return Layout(name=layout.name, header=layout.header, n_row=shape[0], dtype=row)


def _measure(
    found: ContinuumSnr, tile: Resampled, rows: slice, window: tuple[float, float]
) -> None:
    """Put the S/N of the continuum of a tile into place."""
    inside = (tile.wave >= window[0]) & (tile.wave < window[1])
    signal, snr = _cubic_snr(tile.wave[inside], tile.flux[:, inside], ~tile.mask[:, inside])
    shape = found.snr[rows].shape
    found.signal[rows], found.snr[rows] = signal.reshape(shape), snr.reshape(shape)
    found.whole[rows] = ((~tile.mask).mean(axis=1) > _ENOUGH).reshape(shape)


def _cubic_snr(
    wave: Float[F64, " wave"], flux: Float[F64, "spaxel wave"], good: B8
) -> tuple[Float[F64, " spaxel"], Float[F64, " spaxel"]]:
    """Return the mean of a cubic fit, and 1 / the scatter of the flux over it."""
    signal, snr = (np.full(len(flux), np.nan) for _ in range(2))
    count = good.sum(axis=1)
    known = count >= _MIN_PIXELS
    if not known.any():
        return signal, snr
    terms = np.polynomial.legendre.legvander(np.linspace(-1, 1, wave.size), 3)
    weight, data = good[known].astype(float), np.where(good[known], flux[known], 0.0)
    normal = np.einsum("pw,wi,wj->pij", weight, terms, terms)
    coefficients = np.linalg.solve(normal, (data @ terms)[..., None])[..., 0]
    fit = coefficients @ terms.T
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(good[known], data / fit, np.nan)
        scatter = np.nanstd(ratio, axis=1, ddof=1)
        snr[known] = np.where(scatter > 0, 1 / scatter, np.nan)
    signal[known] = (weight * fit).sum(axis=1) / count[known]
    return signal, snr


def _write_snr(
    folder: LegacyFolder, found: ContinuumSnr, sky: Sky, window: tuple[float, float]
) -> None:
    cards = {"BUNIT": "", "SNRLOW": window[0], "SNRUPP": window[1], **sky.wcs}
    image = Image("PRIMARY", found.snr.astype(np.float32), cards)
    write_images(folder.continuum_snr, [image])
    lines = []
    for i, j in zip(*np.nonzero(np.isfinite(found.snr)), strict=True):
        signal, snr = found.signal[i, j], found.snr[i, j]
        told = f"{signal:.6g} {snr:.6g}" if found.whole[i, j] else "0.0 0.0"
        lines.append(f"{i} {j} {told} {folder.galaxy}_{i}_{j}\n")
    write_text_plainly(folder.continuum_table, "".join(lines))
