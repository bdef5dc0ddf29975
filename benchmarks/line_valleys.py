"""Where a faint line's fit should begin: at its spectrum's velocity, or where chi² is lowest.

Run with ``python benchmarks/line_valleys.py [n_spectrum]``. The mock of ``line_errors.py``, set
`standard`: as it is, and with every line looked for by itself within 20 Angstrom (``search``).
"""

import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
from line_errors import Mock, mock

from betis import compute
from betis.lines.fit import fit_lines
from betis.options import LineOptions
from betis.products import LineFit

BINS = (2, 3, 4, 5, 7, 10, 30)
LOST = 150.0
"""km/s from the truth."""


def fitted(made: Mock, search: float) -> LineFit:
    lines = tuple(replace(line, search=search) for line in made.lines.lines)
    return fit_lines(made.gas, replace(made.lines, lines=lines), LineOptions())


def compare(made: Mock, search: float) -> None:
    fit = fitted(made, search)
    print(f"search {search:g} Angstrom: mean chi² {np.nanmean(fit.chi2):.2f}")
    print("     true S/N     n  lost %  detected %  of these lost %  flux pull  velocity pull")
    off = fit.velocity - made.velocity[:, None]
    found = np.abs(fit.snr) > 3
    for low, high in pairwise(BINS):
        at = (made.snr >= low) & (made.snr < high)
        lost = np.abs(off) > LOST
        print(
            f"    {low:4d} -{high:4d} {at.sum():5d} {100 * lost[at].mean():7.1f} "
            f"{100 * found[at].mean():11.0f} {100 * lost[at & found].mean():16.2f} "
            f"{np.std(((fit.flux - made.flux) / fit.flux_err)[at]):10.2f} "
            f"{np.std((off / fit.velocity_err)[at & (np.abs(off) < 20 * fit.velocity_err)]):14.2f}"
        )


def noise(made: Mock, search: float) -> None:
    snr = fitted(made, search).snr
    print(
        f"noise alone, search {search:g}: S/N > 3 in {100 * np.mean(snr > 3):.2f} %, median "
        f"|S/N| {np.median(np.abs(snr)):.2f}"
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    compute.configure()
    for search in (0.0, 20.0):
        compare(mock("standard", count, seed=5), search)
        noise(mock("standard", count, seed=5, strength=0.0), search)


if __name__ == "__main__":
    main()
