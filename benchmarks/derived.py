"""Derived quantities of mock galaxies against their truth: pulls and confusion matrices.

Run with ``python benchmarks/derived.py [seed ...] [--size N] [--keep FOLDER]`` in the checkout;
seeds 1 to 4 where none is given. A demo (`betis demo`) is run for each, bins of S/N 10 in [S II]
6731, and not made again where FOLDER has it. The figures are explained in ``docs/derived.md``.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from betis.demonstration import CUBE, demo
from betis.derived import derive
from betis.finished import open_finished
from betis.mock import MockOptions, Truth, read_truth, truth_path
from betis.options import DerivedOptions
from betis.products import BinMap, LineFit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.derived import recovery  # noqa: E402

LIMITS = (3.0, 5.0, 10.0)
QUANTITIES = (
    "LOG_NII_HA", "LOG_SII_HA", "LOG_OI_HA", "LOG_OIII_HB", "BALMER_DECREMENT", "GAS_AV",
    "FLUX_DEREDDENED", "SIGMA_HA", "SII_DENSITY",
)  # fmt: skip
CLASSES = ("BPT_NII", "BPT_SII", "BPT_OI", "EW_CLASS")
SPAXEL = 0.04
"""arcsec²: MUSE."""
FAINT = 1e-3
"""S/N from which everything is derived where the true S/N chooses."""
FEWEST = 10


class Galaxy(NamedTuple):
    """A run on a mock galaxy, and its truth."""

    fit: LineFit
    bins: BinMap
    truth: Truth

    def derived(self, min_snr):
        """Return what is derived from its lines, found and true."""
        options = replace(DerivedOptions(), min_snr=min_snr)
        found = derive(
            self.fit,
            options,
            dust=recovery.dust_of(self.fit.names, options),
            area=SPAXEL * self.bins.n_spaxel,
            redshift=self.truth.redshift,
        )
        return found, recovery.true_quantities(self.truth, self.bins.bin_id, options)

    def pulls(self, name, min_snr, *, by_truth):
        """Return the pulls where the lines have this S/N, as measured or by their true fluxes."""
        found, true = self.derived(FAINT if by_truth else min_snr)
        if not by_truth:
            return recovery.pulls(found, true, name)
        lines = found.quantities[name].lines
        kept = recovery.truly_bright(self.truth, self.bins.bin_id, self.fit, lines, min_snr)
        return recovery.pulls(found, true, name, kept)


def open_galaxy(folder):
    """Return a run of `demo`."""
    run = open_finished(folder)
    return Galaxy(run.line_fit, run.bins, read_truth(truth_path(folder / CUBE)))


def print_pulls(galaxies, min_snr):
    print(f"\nS/N of each line >= {min_snr:g}: as measured, and by the true flux")
    print("| quantity | bins | median | width | bins | median | width |")
    print("|---|---|---|---|---|---|---|")
    for name in QUANTITIES:
        cells = []
        for by_truth in (False, True):
            parts = [galaxy.pulls(name, min_snr, by_truth=by_truth) for galaxy in galaxies]
            cells += summary(np.concatenate(parts))
        print(f"| `{name}` | {' | '.join(cells)} |")


def summary(values):
    """Return number, median, and half the central 68 %."""
    if values.size < FEWEST:
        return [str(values.size), "", ""]
    low, middle, high = np.percentile(values, [15.865, 50, 84.135])
    return [str(values.size), f"{middle:+.2f}", f"{(high - low) / 2:.2f}"]


def print_confusion(galaxies, name):
    runs = [(*galaxy.derived(DerivedOptions().min_snr), galaxy.fit) for galaxy in galaxies]
    table = sum(recovery.confusion(found, true, name) for found, true, _ in runs)
    names = runs[0][0].classes[name].names
    least = np.concatenate(
        [recovery.faintest_classified(fit, found, name) for found, _, fit in runs]
    )
    said = f"{least.min():.2f}" if least.size else "-"
    print(f"\n{name}: least S/N of a line of a classified bin {said}")
    print(f"| true | {' | '.join(names)} | none |\n|{'---|' * (len(names) + 2)}")
    for text, row in zip(names, table, strict=True):
        print(f"| {text} | {' | '.join(str(n) for n in (*row[1:], row[0]))} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        keep = given.keep or Path(scratch)
        folders = [keep / f"seed{seed}" for seed in given.seeds]
        for seed, folder in zip(given.seeds, folders, strict=True):
            demo(folder, MockOptions(seed=seed, n_y=given.size, n_x=given.size))
        galaxies = [open_galaxy(folder) for folder in folders]
        for limit in LIMITS:
            print_pulls(galaxies, limit)
        for name in CLASSES:
            print_confusion(galaxies, name)


if __name__ == "__main__":
    main()
