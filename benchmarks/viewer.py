"""How long `betis view` takes to open a run of 30,000 bins, and a click on it to be answered.

Run with ``python benchmarks/viewer.py [n_wave]``. The run is written without the pipeline, into a
temporary folder (2.9 GB at MUSE's 3681 pixels); the page is driven in headless Chromium, as its
tests are. A click is answered when the page says the bin and draws its spectrum.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.report.conftest import make_content, make_sky
from tests.viewer.conftest import Page, find_chromium
from tests.viewer.runs import served, write_run

from betis.io.row_products import write_continuum, write_spectra
from betis.products import RowStream

SIZE, N_CLICK, BLOCK = 178, 25, 1000


def write_spectra_of(folder: Path, content: Any, n_wave: int) -> None:
    """Write spectra and continua of that many pixels over the short ones of the mock."""
    wave = np.linspace(content.spectra.wave[0], content.spectra.wave[-1], n_wave)
    n_bin, rng = content.bins.n_bin, np.random.default_rng(2)

    def blocks(part: Any) -> Iterator[Any]:
        for start in range(0, n_bin, BLOCK):
            yield slice(start, min(start + BLOCK, n_bin)), part(min(BLOCK, n_bin - start))

    def spectra(n_row: int) -> Any:
        return replace(
            content.spectra.take(slice(0, 1)),
            wave=wave, edges=None, lsf=None, sky_window=None, n_spaxel=None, mask=None,
            flux=10 + rng.normal(size=(n_row, n_wave)), error=np.ones((n_row, n_wave)),
        )  # fmt: skip

    def stars(n_row: int) -> Any:
        fit = content.continuum.take(np.zeros(n_row, int))
        model = np.full((n_row, n_wave), 10.0)
        return replace(fit, model=model, used=np.ones((n_row, n_wave), bool))

    stream = RowStream(n_row=n_bin, pieces=blocks(spectra))
    write_spectra(folder / "spectra.fits", stream, {})
    stream = RowStream(n_row=n_bin, pieces=blocks(stars))
    write_continuum(folder / "continuum.fits", stream, make_sky((SIZE, SIZE)), {})


def time_clicks(page: Page, bin_id: Any) -> list[float]:
    """Return the seconds from a click to the drawing of the spectrum, for bins at random."""
    rng, took = np.random.default_rng(3), []
    inside = np.argwhere(bin_id >= 0)
    for y, x in inside[rng.choice(len(inside), N_CLICK, replace=False)]:
        before = page.first_flux()
        started = time.perf_counter()
        page.click(int(x), int(y))
        page.title(f"Bin {bin_id[y, x]}")
        page.until(lambda before=before: page.first_flux() != before, pause=5)
        took.append(time.perf_counter() - started)
        page.page.wait_for_timeout(500)
    return took


def main() -> None:
    n_wave = int(sys.argv[1]) if len(sys.argv) > 1 else 3681
    chromium = find_chromium()
    if chromium is None:
        print("no chromium on this machine: nothing measured")
        return
    content = make_content((SIZE, SIZE), step=60.0, spaxels=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "many"
        write_run(folder, content, without=["spectra.fits", "continuum.fits", "derived.fits"])
        write_spectra_of(folder, content, n_wave)
        started = time.perf_counter()
        with served(folder) as address, sync_playwright() as playwright:
            ready = time.perf_counter() - started
            flags = ["--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            started = time.perf_counter()
            page = Page(browser.new_page(viewport={"width": 1400, "height": 1000}), address)
            opened = time.perf_counter() - started
            took = time_clicks(page, content.bins.bin_id)
            browser.close()
    print(f"{content.bins.n_bin:,} bins of {n_wave} pixels")
    print(f"server ready after {ready:.1f} s, page drawn after {opened:.1f} s")
    worst = max(took)
    print(
        f"a click is answered in {np.median(took):.3f} s (median of {N_CLICK}; worst {worst:.3f})"
    )


if __name__ == "__main__":
    main()
