"""Completeness and purity of H II regions on mock galaxies, against the regions put in.

Run with ``python benchmarks/regions.py [n_seed]``. MUSE mocks of 40 x 40 and 80 x 80 spaxels, as
bright as by default and ten times fainter, seeds 1 to ``n_seed``; the H alpha map is that of
`betis.line_snr`.

A true region counts where its own peak on the smoothed map is over 5 sigma and its centre in the
field; one nearer to a brighter one than the resolution (FWHM of seeing and smoothing) counts as one
with it. It is found where its centre lies in a region whose peak is within 1.5 spaxels; a region is
real where its peak is that near to a true one. Alone is a true region to whose peak the others add
less than 3 %.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import betis
from betis.binning.regions import find_regions, smoothed
from betis.extinction import extinction_curve
from betis.lsf import FWHM_PER_SIGMA
from betis.mock import Galaxy, MockOptions, make_galaxy, write_cube
from betis.options import RegionOptions

SIZES, BRIGHTNESS = (40, 80), (1.0, 0.1)
DETECTION, NEAR, ALONE = 5.0, 1.5, 0.03
SEEING = 1.5
"""Sigma of the mocks' seeing, spaxels."""

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of one mock: found and alone ``[true region]``, real ``[region]``, and shares of light."""

    found: Array
    alone: Array
    real: Array
    captured: float
    own: float
    seconds: float


def observed(options: MockOptions) -> tuple[Galaxy, betis.SnrMap]:
    galaxy = make_galaxy(options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mock.fits"
        write_cube(galaxy, path)
        cube = betis.prepare(betis.read_cube(path), redshift=options.redshift)
        return galaxy, betis.line_snr(cube, "Ha6563")


def peaks_put_in(galaxy: Galaxy, options: RegionOptions) -> tuple[Array, Array, Array]:
    """Return y, x (nearest spaxel) and height of each true region alone on the smoothed map."""
    regions, av = galaxy.regions, galaxy.truth.gas_av
    y, x = (
        np.clip(np.rint(place).astype(int), 0, size - 1)
        for place, size in zip((regions.y, regions.x), av.shape, strict=True)
    )
    dust = 10 ** (-0.4 * extinction_curve("CCM89", np.array([6564.6]))[0] * av[y, x])
    light = galaxy.options.line_brightness * regions.luminosity * dust
    return y, x, light / (2 * np.pi * (regions.sigma**2 + options.smoothing**2))


def blends(galaxy: Galaxy, height: Array, counts: Array, resolution: float) -> list[list[int]]:
    """Return the true regions that count as one, the brightest of each first."""
    together: list[list[int]] = []
    for row in np.argsort(-height):
        near = [g for g in together if apart(galaxy, row, g[0]) < resolution]
        if counts[row] and near:
            near[0].append(row)
        elif counts[row]:
            together.append([row])
    return together


def apart(galaxy: Galaxy, one: int | Array, other: int | Array) -> Any:
    y, x = galaxy.regions.y, galaxy.regions.x
    return np.hypot(y[one] - y[other], x[one] - x[other])


def is_alone(galaxy: Galaxy, row: int, height: Array, smoothing: float) -> bool:
    others = np.flatnonzero(np.arange(height.size) != row)
    width = np.hypot(galaxy.regions.sigma[others], smoothing)
    wing = np.exp(-0.5 * (apart(galaxy, others, row) / width) ** 2)
    return bool(np.nansum(height[others] * wing) < ALONE * height[row])


def score(galaxy: Galaxy, line: betis.SnrMap, options: RegionOptions) -> Score:
    tick = time.perf_counter()
    label = find_regions(line.signal, line.noise, options)
    seconds = time.perf_counter() - tick
    valid = np.isfinite(line.signal) & (line.noise > 0)
    flux, noise = smoothed(
        valid,
        np.where(valid, line.signal, 0.0),
        np.where(valid, line.noise, 0.0),
        options.smoothing,
    )
    y, x, height = peaks_put_in(galaxy, options)
    places = np.column_stack([galaxy.regions.y, galaxy.regions.x])
    near_field = np.abs(places - np.column_stack([y, x])).max(axis=1) <= 0.5
    counts = near_field & valid[y, x] & (np.nan_to_num(height) > DETECTION * noise[y, x])
    peak = np.array(
        [
            np.unravel_index(np.argmax(np.where(label == row, flux, -np.inf)), label.shape)
            for row in range(1, label.max() + 1)
        ]
    ).reshape(-1, 2)

    def is_found(row: int) -> bool:
        own = label[y[row], x[row]]
        return bool(own > 0 and np.hypot(*(peak[own - 1] - places[row])) <= NEAR)

    together = blends(galaxy, height, counts, FWHM_PER_SIGMA * np.hypot(SEEING, options.smoothing))
    truth = galaxy.truth.flux[galaxy.truth.names.index("Ha6563")]
    of_regions, inside = truth * (1 - galaxy.diffuse_fraction), label > 0
    return Score(
        found=np.array([any(map(is_found, rows)) for rows in together]),
        alone=np.array([is_alone(galaxy, rows[0], height, options.smoothing) for rows in together]),
        real=np.array([np.hypot(*(places - place).T).min() <= NEAR for place in peak]),
        captured=float(np.nansum(of_regions[inside]) / np.nansum(of_regions)),
        own=float(np.nansum(of_regions[inside]) / np.nansum(truth[inside])),
        seconds=seconds,
    )


def mocks(n_seed: int) -> Iterator[tuple[str, list[tuple[Galaxy, betis.SnrMap]]]]:
    for brightness in BRIGHTNESS:
        for size in SIZES:
            options = [
                MockOptions(
                    n_y=size,
                    n_x=size,
                    line_brightness=brightness,
                    seed=seed,
                    wave_min=6500.0,
                    wave_max=6900.0,
                )
                for seed in range(1, n_seed + 1)
            ]
            yield f"{size} x {size}, lines x {brightness:g}", list(map(observed, options))


def share(values: Array) -> str:
    return f"{values.sum():4d} of {values.size:4d} ({100 * values.mean():3.0f} %)"


def main(n_seed: int = 4) -> None:
    print(
        f"{'mock':24}{'true regions found':>24}{'of those alone':>24}{'regions real':>24}"
        f"{'light in':>10}{'of theirs':>11}{'s':>7}"
    )
    for name, galaxies in mocks(n_seed):
        scores = [score(*item, RegionOptions()) for item in galaxies]
        found, alone, real = (
            np.concatenate([getattr(item, key) for item in scores])
            for key in ("found", "alone", "real")
        )
        captured, own, seconds = (
            np.mean([getattr(item, key) for item in scores])
            for key in ("captured", "own", "seconds")
        )
        print(
            f"{name:24}{share(found):>24}{share(found[alone]):>24}{share(real):>24}"
            f"{100 * captured:8.0f} %{100 * own:9.0f} %{seconds:7.2f}"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
