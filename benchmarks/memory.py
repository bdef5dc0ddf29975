"""Peak memory of a whole run against the size of the cube.

Run with ``python benchmarks/memory.py [side ...]``; 160 and 320 spaxels a side where none is
given, MUSE's nominal range: 0.8 and 3 GB on disk. Each run is a process of its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from betis.mock import MockOptions, make_galaxy, write_cube

_RUN = "import sys; from betis.cli import main; sys.exit(main(sys.argv[1:]))"


def peak_of_run(cube: Path, output: Path) -> tuple[float, float]:
    """Return the peak resident memory (MB) and the time (s) of a run without a continuum."""
    arguments = ["run", str(cube), "-z", "0.01", "--continuum", "none", "-o", str(output)]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", _RUN, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run on {cube.name} failed")
    return usage.ru_maxrss / 1e3, time.perf_counter() - started


def main() -> None:
    sides = [int(text) for text in sys.argv[1:]] or [160, 320]
    peaks = []
    print("spaxels        file     peak    time")
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            cube = Path(folder) / "mock.fits"
            write_cube(make_galaxy(MockOptions(n_y=side, n_x=side, seed=5)), cube)
            peak, seconds = peak_of_run(cube, Path(folder) / "run")
            size = cube.stat().st_size / 1e6
        peaks.append(peak)
        print(f"{side:3d} x {side:3d} {size:6.0f} MB {peak:5.0f} MB {seconds:5.0f} s", flush=True)
    print(f"largest peak / smallest: {max(peaks) / min(peaks):.2f}")


if __name__ == "__main__":
    main()
