"""A whole MUSE cube from end to end: binned, and spaxel by spaxel on a part of it.

Run with ``python benchmarks/whole_cube.py [--side 320] [--part 100] [--folder DIR]``. The mock has
MUSE's nominal range, 3681 pixels. The binned run is the default one: quadtree to S/N 10 in
[S II] 6731, stars by the engine of betis, the lines of the set standard, maps and report. Programs
are compiled before (a run on a small mock), except for the cold start, which has a cache of its
own. Each run is a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from betis.io.products import read_bins
from betis.mock import MockOptions, make_galaxy, write_cube

_SEED = 5
_SMALL = 16


def mock(side: int, folder: Path) -> Path:
    """Return a mock MUSE cube of some spaxels a side, made where it is not there."""
    path = folder / f"mock{side}.fits"
    if not path.exists():
        write_cube(make_galaxy(MockOptions(n_y=side, n_x=side, seed=_SEED)), path)
    return path


def timed_run(cube: Path, output: Path, *more: str, cache: Path | None = None) -> dict[str, float]:
    """Return wall and processor time (s) and peak resident memory (MB) of a run."""
    command = [sys.executable, "-m", "betis.cli", "run", str(cube), "-z", "0.01"]
    environment = {**os.environ, **({"BETIS_CACHE": str(cache)} if cache else {})}
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, *more, "-o", str(output)], stdout=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run on {cube.name} failed")
    return {
        "wall": time.perf_counter() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss / 1e3,
    }


def stages(output: Path) -> str:
    """Return the seconds of each stage, from the provenance of a run."""
    known = json.loads((output / "provenance.json").read_text("utf-8"))["stages"]
    return ", ".join(f"{Path(name).stem} {fact['seconds']:.1f}" for name, fact in known.items())


def show(what: str, output: Path, found: dict[str, float]) -> int:
    """Print what a run took; return its number of rows."""
    rows = read_bins(output / "bins.fits").n_bin
    print(
        f"{what}: {rows} rows, {found['wall']:.0f} s wall, {found['cpu']:.0f} s processor, "
        f"peak {found['peak']:.0f} MB\n    {stages(output)}",
        flush=True,
    )
    return rows


def starts(folder: Path) -> None:
    """Print what a first run on a machine takes, and one after it."""
    cube = mock(_SMALL, folder)
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        for what in ("cold", "warm"):
            output = Path(scratch) / what
            found = timed_run(cube, output, cache=cache)
            show(f"{what} start, {_SMALL} x {_SMALL}", output, found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--part", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where mocks are kept for the next time")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        whole, part = mock(asked.side, folder), mock(asked.part, folder)
        starts(folder)
        timed_run(mock(_SMALL, folder), Path(scratch) / "warm")
        found = timed_run(whole, Path(scratch) / "binned")
        show(f"binned, {asked.side} x {asked.side}", Path(scratch) / "binned", found)
        spaxels = Path(scratch) / "spaxels"
        found = timed_run(part, spaxels, "--binning", "spaxel")
        n_row = show(f"spaxel by spaxel, {asked.part} x {asked.part}", spaxels, found)
        n_whole = n_row * (asked.side / asked.part) ** 2
        speed = n_row / found["wall"]
        print(
            f"    {speed:.1f} rows a second, start and report included: {n_whole:.0f} rows of "
            f"{asked.side} x {asked.side} would take {n_whole / speed / 60:.1f} minutes"
        )


if __name__ == "__main__":
    main()
