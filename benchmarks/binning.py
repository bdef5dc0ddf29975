"""Binnings on the same maps: evenness of the S/N, number of bins, time and its growth.

    python benchmarks/binning.py [--largest 1000]

An inclined exponential disc whose light falls off over 0.12 of the field, S/N 5 in the brightest
spaxels, target 10 without a margin, noise independent. PowerBin and VorBin run where they are
installed (`pip install 'betis[powerbin]'`, `'betis[vorbin]'`: for non-commercial use), VorBin up to
320 spaxels a side; both call back for the true S/N of each trial bin, as correlated noise demands,
which is slower than their shortcuts for additive S/N². Mean, scatter and area are those of bins
of several spaxels with S/N above 0.8 of the target, as PowerBin brings bins to it on average.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from betis.binning.extras import powerbin, vorbin
from betis.binning.quadtree import quadtree
from betis.binning.voronoi import voronoi
from betis.errors import ConfigError, InputError
from betis.options import BinningOptions
from betis.products import BinMap

Binning = Callable[[np.ndarray, np.ndarray, BinningOptions], BinMap]

BINNINGS: dict[str, tuple[Binning, int]] = {
    "quadtree": (quadtree, 10_000),
    "voronoi": (voronoi, 10_000),
    "PowerBin": (powerbin, 10_000),
    "VorBin": (vorbin, 320),
}
SIZES = (125, 320, 500, 1000)
OPTIONS = BinningOptions(target=10.0, margin=0.0)
NEARLY = 0.8


def field(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.indices((size, size))
    radius = np.hypot((y - size / 2) / 0.7, x - size / 2)
    inside = radius < 0.36 * size
    light = np.where(inside, 5.0 * np.exp(-radius / (0.12 * size)), np.nan)
    return light + np.random.default_rng(0).normal(size=light.shape), np.ones_like(light)


def row(name: str, size: int, binning: Binning) -> tuple[str, float]:
    signal, noise = field(size)
    tick = time.perf_counter()
    bins = binning(signal, noise, OPTIONS)
    seconds = time.perf_counter() - tick
    shared = (bins.n_spaxel > 1) & (bins.snr > NEARLY * bins.target)
    snr = bins.snr[shared]
    below = bins.n_spaxel[bins.flags != 0].sum() / bins.n_spaxel.sum()
    said = (
        f"{name:>9} {size:>5} {bins.n_bin:>7} {snr.mean():>8.2f} {snr.std() / snr.mean():>9.3f} "
        f"{np.median(bins.n_spaxel[shared]):>7.0f} {below:>9.2f} {seconds:>9.2f}"
    )
    return said, seconds


def run(name: str, sizes: list[int]) -> None:
    binning, largest = BINNINGS[name]
    spent = {}
    for size in sizes:
        if size > largest:
            print(f"{name:>9} {size:>5}  skipped: too slow")
            continue
        try:
            said, spent[size] = row(name, size, binning)
        except ConfigError:
            print(f"{name:>9}  skipped: the package is not installed")
            return
        except InputError as error:
            print(f"{name:>9} {size:>5}  failed: {error}")
            continue
        print(said)
    if len(spent) > 1:
        first, last = min(spent), max(spent)
        power = np.log(spent[last] / spent[first]) / np.log((last / first) ** 2)
        print(f"{name:>9}  time grows as (number of spaxels)^{power:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=1000)
    largest = parser.parse_args().largest
    print("  binning  side    bins  mean S/N  scatter  median  below the  seconds")
    print("                                               area     target")
    for name in BINNINGS:
        run(name, [size for size in SIZES if size <= largest])


if __name__ == "__main__":
    main()
