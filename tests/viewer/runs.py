"""Run folders written without the pipeline, and the server of one."""

import re
import subprocess
import sys
from contextlib import contextmanager

from tests.report.conftest import make_content, make_sky

from betis.config import to_toml
from betis.io.derived import write_derived
from betis.io.products import write_bins, write_snr
from betis.io.row_products import write_continuum, write_lines, write_spectra
from betis.options import Options
from betis.products import RowStream


def write_run(folder, content=None, *, without=()):
    """Write a synthetic run into a folder, but for some of its files; return the content."""
    content = content or make_content((16, 16), step=5.0)
    folder.mkdir(parents=True)
    sky, n_bin = make_sky(content.bins.bin_id.shape), content.bins.n_bin

    def whole(product):
        return RowStream(n_row=n_bin, pieces=iter([(slice(None), product)]))

    write = {
        "snr.fits": lambda path: write_snr(path, content.snr, sky, {}),
        "bins.fits": lambda path: write_bins(path, content.bins, sky, {}),
        "spectra.fits": lambda path: write_spectra(path, whole(content.spectra), {}),
        "continuum.fits": lambda path: write_continuum(path, whole(content.continuum), sky, {}),
        "lines.fits": lambda path: write_lines(path, whole(content.lines), content.line_set, {}),
        "derived.fits": lambda path: write_derived(path, content.derived, content.bins, sky, {}),
    }
    for name, make in write.items():
        if name not in without:
            make(folder / name)
    (folder / "config.toml").write_text(to_toml(Options()), "utf-8")
    return content


@contextmanager
def served(folder):
    """Run `betis view` on a folder; yield the address of its page."""
    command = [sys.executable, "-m", "betis.cli", "view", str(folder), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            yield re.search(r"http://127\.0\.0\.1:\d+/", said)[0]
        finally:
            process.terminate()
