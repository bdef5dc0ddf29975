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

import numpy as np

from betis.demonstration import CUBE, demo
from betis.derived import derive
from betis.finished import open_finished
from betis.mock import MockOptions, read_truth, truth_path
from betis.options import DerivedOptions

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.derived import recovery  # noqa: E402

LIMITS = (3.0, 5.0, 10.0)
QUANTITIES = (
    "LOG_NII_HA", "LOG_SII_HA", "LOG_OI_HA", "LOG_OIII_HB", "BALMER_DECREMENT", "GAS_AV",
    "FLUX_DEREDDENED", "SIGMA_HA", "SII_DENSITY",
)  # fmt: skip
SPAXEL = 0.04


def derived_of(folder, min_snr):
    """Return the derived quantities of a run, found and true, its fit, and the true A_V."""
    run, truth = open_finished(folder), read_truth(truth_path(folder / CUBE))
    options = replace(DerivedOptions(), min_snr=min_snr)
    fit, bins = run.line_fit, run.bins
    found = derive(
        fit,
        options,
        dust=recovery.dust_of(fit.names, options),
        area=SPAXEL * bins.n_spaxel,
        redshift=truth.redshift,
    )
    return found, recovery.true_quantities(truth, bins.bin_id, options), fit


def print_pulls(runs, min_snr):
    print(f"\nS/N of each line >= {min_snr:g}\n| quantity | bins | median | width | in 1 |")
    print("|---|---|---|---|---|")
    for name in QUANTITIES:
        values = np.concatenate([recovery.pulls(found, true, name) for found, true, _ in runs])
        if not values.size:
            continue
        low, middle, high = np.percentile(values, [15.865, 50, 84.135])
        share = 100 * np.mean(np.abs(values) < 1)
        print(
            f"| `{name}` | {values.size} | {middle:+.2f} | {(high - low) / 2:.2f} | {share:.0f} % |"
        )


def print_confusion(runs, name):
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
        for limit in LIMITS:
            print_pulls([derived_of(folder, limit) for folder in folders], limit)
        runs = [derived_of(folder, DerivedOptions().min_snr) for folder in folders]
        for name in runs[0][0].classes:
            print_confusion(runs, name)


if __name__ == "__main__":
    main()
