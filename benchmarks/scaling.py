"""How time and memory grow: with rows, pixels, templates, lines and workers.

Run with ``python benchmarks/scaling.py [rows pixels templates lines workers]``; all where none is
named. Exponents are slopes of straight lines through the logarithms. Rows: whole runs, spaxel by
spaxel, of mocks of MUSE's nominal range, a process each; what a run takes whatever its rows (start,
programs, figures of the report) is in the smallest one, and what the others have more than it, in
processor time and rows, is compared. The rest: the fits alone, processor time.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from betis import compute
from betis.continuum.fit import fit_all, template_engine
from betis.extinction import extinction_curve
from betis.io.products import read_bins
from betis.io.templates import load_templates
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.mock import MockOptions, make_galaxy, write_cube
from betis.options import ContinuumOptions, LineOptions
from betis.products import Spectra, Templates
from continuum import REDSHIFT, dense, mocks, thin
from lines import mock

_SIDES = (20, 32, 45, 64, 90)
_N_ROW = 256


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the power with which values grow."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def cube_of(side: int, folder: str) -> Path:
    path = Path(folder) / f"mock{side}.fits"
    if not path.exists():
        write_cube(make_galaxy(MockOptions(n_y=side, n_x=side, seed=5)), path)
    return path


def run_of(cube: Path, output: Path, *more: str) -> tuple[float, float, float]:
    """Return processor time and wall time (s) and peak memory (MB) of a whole run."""
    arguments = ["run", str(cube), "-z", "0.01", "--binning", "spaxel", *more, "-o", str(output)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "betis.cli", *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run on {cube.name} failed")
    wall = time.perf_counter() - started
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1e3


def rows() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = []
        print("side   rows   processor s   peak MB")
        run_of(cube_of(_SIDES[0], folder), Path(folder) / "warm")
        for side in _SIDES:
            output = Path(folder) / f"run{side}"
            cpu, _, peak = run_of(cube_of(side, folder), output)
            found.append((read_bins(output / "bins.fits").n_bin, cpu, peak))
            print(f"{side:4d} {found[-1][0]:6d} {cpu:13.1f} {peak:9.0f}", flush=True)
    size, cpu, peak = np.array(found).T
    more = exponent(size[1:] - size[0], cpu[1:] - cpu[0])
    print(f"time grows as rows^{more:.2f}, beyond {cpu[0]:.1f} s and {size[0]:.0f} rows")
    print(f"memory grows as rows^{exponent(size, peak):.2f}")


def stars(spectra: Spectra, base: Templates) -> float:
    """Return the seconds of processor time of the fit of the stars, programs compiled before."""
    options, waves = ContinuumOptions(), load_line_set().emission().waves("air", REDSHIFT)
    dust = extinction_curve(options.law, spectra.wave, options.r_v)
    engine = template_engine(spectra, base, options, dust=dust, line_waves=waves)
    fit_all(engine, spectra)
    started = time.process_time()
    fit_all(engine, spectra)
    return time.process_time() - started


def pixels() -> None:
    base = thin(load_templates("bpass"), 45)
    whole, _ = mocks(base, _N_ROW, 30.0)
    sizes = [920, 1840, 3681]
    seconds = [stars(cut(whole, size), base) for size in sizes]
    tell("pixels", sizes, seconds, "stars, 45 templates")


def cut(spectra: Spectra, count: int) -> Spectra:
    """Return the pixels in the middle, where the bands of the stars are."""
    first = (spectra.wave.size - count) // 2
    kept = slice(first, first + count)
    return replace(
        spectra,
        wave=spectra.wave[kept],
        flux=spectra.flux[:, kept],
        error=spectra.error[:, kept],
        mask=spectra.mask[:, kept],
        lsf=spectra.lsf[kept],
        edges=spectra.edges[first : first + count + 1],
        sky_window=spectra.sky_window[kept],
    )


def templates() -> None:
    base = load_templates("bpass")
    whole, _ = mocks(thin(base, 45), _N_ROW, 30.0)
    sizes = [20, 40, 80, 150]
    bases = [thin(base, size) if size < base.n_template else dense(base, size) for size in sizes]
    tell("templates", sizes, [stars(whole, one) for one in bases], "stars, 3681 pixels")


def lines() -> None:
    spectra, line_set = mock(4 * _N_ROW), load_line_set("standard")
    places = line_set.waves("air", REDSHIFT)
    inside = (places > spectra.wave[0]) & (places < spectra.wave[-1])
    seen = [line for line, is_seen in zip(line_set.lines, inside, strict=True) if is_seen]
    sizes, seconds = [], []
    for count in (len(seen) // 4, len(seen) // 2, len(seen)):
        tied = {line.ratio_of for line in seen[:count]}
        names = [line.name for line in seen if line in seen[:count] or line.name in tied]
        picked = line_set.select(names)
        fit_lines(spectra, picked, LineOptions())
        started = time.process_time()
        fit_lines(spectra, picked, LineOptions())
        seconds.append((time.process_time() - started) / 4)
        sizes.append(len(names))
    tell("lines", sizes, seconds, "parts of the set standard")


def tell(what: str, sizes: list[int], seconds: list[float], which: str) -> None:
    print(f"{what} ({which}), ms of processor time a row:")
    for size, second in zip(sizes, seconds, strict=True):
        print(f"{size:6d} {1e3 * second / _N_ROW:9.2f}")
    print(f"time grows as {what}^{exponent(sizes, seconds):.2f}", flush=True)


def workers() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cube = cube_of(_SIDES[2], folder)
        for number, where in enumerate(["", "local:1", "local:2"]):
            run_of(cube_of(_SIDES[0], folder), Path(folder) / f"warm{number}", "--dask", where)
            _, wall, _ = run_of(cube, Path(folder) / f"run{number}", "--dask", where)
            print(f"{where or 'in one process':16s} {wall:6.1f} s wall", flush=True)


def main() -> None:
    compute.configure()
    known = {f.__name__: f for f in (rows, pixels, templates, lines, workers)}
    for name in sys.argv[1:] or known:
        known[name]()


if __name__ == "__main__":
    main()
