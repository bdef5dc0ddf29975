"""Draw the pictures of the README and the tutorial from the run of ``betis demo``.

Run with ``python tools/draw_demo.py RUN``; they are written into ``docs/images``. Without ``RUN``
the demo is made first, in a folder that is removed again.
"""

import argparse
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from betis.demonstration import demo
from betis.finished import open_finished
from betis.report.bin_choice import bin_of_spaxel
from betis.report.bin_figure import save_bin
from betis.report.bin_view import shown_groups

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MAX_BYTES = 150_000
_WIDTH = 1100
"""Pixels of the pictures that the README and the tutorial show."""

Plane = NDArray[Any]


@dataclass(frozen=True)
class Panel:
    """One map: its title, its values, its colours and what they go from and to."""

    title: str
    values: Plane
    colors: Any
    norm: Normalize | None = None


def plane(run: Path, file: str, name: str, line: str = "") -> Plane:
    """Return a map of a run; that of a line where the extension has one for each."""
    with fits.open(run / file) as hdus:
        hdu = hdus[name]
        if not line:
            return np.array(hdu.data, dtype=float)
        names = [hdu.header[f"LINE{k + 1}"] for k in range(len(hdu.data))]
        return np.array(hdu.data[names.index(line)], dtype=float)


def about_median(values: Plane) -> Normalize:
    """Return a range that is symmetric about the median and leaves out 2 % on either side."""
    center = float(np.nanmedian(values))
    half = float(np.nanpercentile(np.abs(values - center), 96))
    return Normalize(center - half, center + half)


def most_of(values: Plane) -> Normalize:
    """Return the range that leaves out 2 % on either side."""
    return Normalize(*np.nanpercentile(values, [2, 98]))


def logarithmic(values: Plane) -> LogNorm:
    """Return the range of the positive values, but for 1 % on either side."""
    return LogNorm(*np.nanpercentile(values[values > 0], [1, 99]))


def binned(run: Path) -> list[Panel]:
    """Return the S/N of each spaxel, and the bins."""
    snr = plane(run, "snr.fits", "SNR")
    bins = plane(run, "bins.fits", "BINID")
    count = int(bins.max()) + 1
    colors = colormaps["Spectral"](np.random.default_rng(1).permutation(count) / count)
    shown = np.where(bins < 0, np.nan, bins)
    return [
        Panel("S/N of [S II] 6731, each spaxel", snr, "viridis", most_of(snr)),
        Panel(f"{count} bins of S/N 10", shown, ListedColormap(colors)),
    ]


def lines(run: Path) -> list[Panel]:
    """Return what was measured of the gas and of the stars."""
    alpha = plane(run, "maps.fits", "FLUX", "Ha6563")
    gas = plane(run, "maps.fits", "VELOCITY", "Ha6563")
    stars = plane(run, "maps.fits", "STELLAR_VELOCITY")
    ratio = plane(run, "derived.fits", "LOG_NII_HA")
    return [
        Panel("Hα, surface brightness", alpha, "magma", logarithmic(alpha)),
        Panel("Velocity of Hα [km/s]", gas, "RdBu_r", about_median(gas)),
        Panel("log [N II] 6583 / Hα", ratio, "cividis", most_of(ratio)),
        Panel("Velocity of the stars [km/s]", stars, "RdBu_r", about_median(gas)),
    ]


def draw(axes: Axes, panel: Panel) -> None:
    """Draw one map, with a colour bar where its colours have a meaning."""
    artist = axes.imshow(panel.values, cmap=panel.colors, norm=panel.norm, origin="lower")
    axes.set_title(panel.title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    if panel.norm is not None:
        bar = axes.figure.colorbar(artist, ax=axes, shrink=0.85)
        bar.ax.tick_params(labelsize=8)


def figure_of(panels: list[Panel], columns: int) -> Figure:
    """Return a figure of maps in so many columns."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.55 * columns, 3.0 * rows), layout="constrained")
    for axes, panel in zip(np.ravel(figure.subplots(rows, columns)), panels, strict=True):
        draw(axes, panel)
    return figure


def draw_maps(run: Path) -> Image.Image:
    """Return S/N, bins and what was measured in them."""
    return as_image(figure_of([*binned(run), *lines(run)], 3))


def draw_bins(run: Path) -> Image.Image:
    """Return the S/N of each spaxel and the bins."""
    return as_image(figure_of(binned(run), 2))


def draw_bin(run: Path) -> Image.Image:
    """Return the figure of ``betis show RUN --spaxel X Y --line Ha6563``, the middle spaxel."""
    finished = open_finished(run)
    y, x = (side // 2 for side in finished.bins.bin_id.shape)
    view = finished.view(bin_of_spaxel(finished.bins, x, y))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bin.png"
        save_bin(path, view, shown_groups(view, lines=["Ha6563"], only=True))
        with Image.open(path) as image:
            return image.convert("RGB")


def as_image(figure: Figure) -> Image.Image:
    """Return a figure as pixels."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    return Image.open(stream).convert("RGB")


def save(image: Image.Image, path: Path) -> None:
    """Write a picture in 160 colours, no wider than the pages, and hold it to its size."""
    height = round(image.height * _WIDTH / image.width)
    small = image.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(160).save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, where {MAX_BYTES} were allowed")
    print(path.name, path.stat().st_size)


PICTURES: dict[str, Callable[[Path], Image.Image]] = {
    "demo-maps.png": draw_maps,
    "demo-bins.png": draw_bins,
    "demo-bin.png": draw_bin,
}


def draw_all(run: Path, folder: Path = IMAGES) -> None:
    """Draw every picture from a run of the demo."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in PICTURES.items():
        save(drawn(run), folder / name)


def main() -> None:
    """Read the command line, make the demo where there is none, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="folder of betis demo")
    given = parser.parse_args().run
    if given is not None:
        draw_all(given)
        return
    with tempfile.TemporaryDirectory() as made:
        demo(made)
        draw_all(Path(made))


if __name__ == "__main__":
    main()
