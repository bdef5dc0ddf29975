"""A sample of twelve galaxies of four surveys, three of them broken, with the native continuum.

Run with ``python benchmarks/sample.py [galaxies at once]``; 2 where none is given. Prints how
each ended, the main columns of the summary, what the sample took, and what it takes again.
"""

import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from astropy.io import fits

from betis.mock import MockOptions, make_galaxy, write_cube

SURVEYS = ("muse", "manga", "califa", "sami")
SHOWN = ("name", "status", "bins", "warnings", "time [s]", "continuum chi2", "Ha6563 bins")
FLUX = "Ha6563 flux [erg/s/cm2]"


def write_sample(folder: Path) -> None:
    """Write three mocks of each survey, break three of them, and write the catalogue."""
    rows = ["name,cube,arm,redshift,target_snr"]
    for seed in range(3):
        for survey in SURVEYS:
            name = f"{survey}-{seed}"
            options = MockOptions(n_y=10, n_x=10, instrument=survey, seed=seed)
            write_cube(make_galaxy(options), folder / f"{name}.fits")
            arms = (f"{name}_blue.fits", f"{name}_red.fits")
            cube, arm = arms if survey == "sami" else (f"{name}.fits", "")
            rows.append(f"{name},{cube},{arm},0.01,5")
    (folder / "sample.csv").write_text("\n".join(rows) + "\n")
    cut, alien, empty = (folder / f"{name}.fits" for name in ("muse-1", "manga-2", "califa-0"))
    cut.write_bytes(cut.read_bytes()[:40000])
    alien.write_text("a letter to the archive\n")
    with fits.open(empty) as hdus:
        hdus[0].data[:] = float("nan")
        hdus.writeto(empty, overwrite=True)


def run_sample(folder: Path, at_once: str) -> tuple[float, float]:
    """Return wall and CPU time (s) of the sample."""
    command = [sys.executable, "-m", "betis.cli", "batch", "sample.csv", "-o", "out"]
    before, started = _cpu(), time.perf_counter()
    subprocess.run([*command, "--at-once", at_once], cwd=folder, check=False)
    return time.perf_counter() - started, _cpu() - before


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    at_once = sys.argv[1] if len(sys.argv) > 1 else "2"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_sample(folder)
        times = [run_sample(folder, at_once) for _ in range(2)]
        with (folder / "out/summary.csv").open() as stream:
            for row in csv.DictReader(stream):
                cells = [f"{row[name][:10]:>10}" for name in SHOWN]
                print(*cells, f"{row[FLUX]:>14} {row['said'][:60]}")
    print("columns:", ", ".join((*SHOWN, FLUX)))
    for what, (wall, cpu) in zip(("first", "again"), times, strict=True):
        print(
            f"{what}: {wall:.0f} s wall, {cpu:.0f} s CPU, {at_once} at once, {os.cpu_count()} cores"
        )


if __name__ == "__main__":
    main()
