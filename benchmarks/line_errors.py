"""Bias, width of pulls and coverage of what is measured of lines, against their S/N.

Run with ``python benchmarks/line_errors.py [n_spectrum] [errors] [set ...]``; add ``--lines`` for a
table a line. Mock rows on an axis of 1.25 Angstrom: each line of a set by itself has a S/N of 1 to
300 (of its flux at a known place), but lines of one kinematics similar ones; rows have a flat
continuum of 3 to 300 errors, still in the spectra, and lines a dispersion of 0.4 to 3 pixels at
Halpha (`standard`), or within the bounds of the set (`betis41`).
"""

import sys
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from betis import compute
from betis.flags import Flag
from betis.linelist import LineSet, load_line_set
from betis.lines.fit import fit_lines
from betis.lsf import FWHM_PER_SIGMA
from betis.options import LineOptions
from betis.products import LineFit, Spectra
from betis.wavelength import C_KMS

Array = NDArray[Any]

BINS = (1.0, 3.0, 5.0, 10.0, 30.0, 100.0, 300.0)
STEP, FWHM = 1.25, 1.2
DISPERSION = {"standard": (0.5, 3.75), "betis41": (0.95, 1.7)}
"""Observed, Angstrom, least and most."""
W80 = 2.5631


class Mock(NamedTuple):
    """Spectra, and the truth: ``[spectrum, line]``, velocities and dispersions ``[spectrum]``."""

    gas: Spectra
    lines: LineSet
    flux: Array
    snr: Array
    velocity: Array
    sigma: Array
    level: Array


def mock(name: str, n_spectrum: int, seed: int = 1, strength: float = 1.0) -> Mock:
    rng = np.random.default_rng(seed)
    wave = np.arange(4750.0, 9300.0, STEP)
    line_set = load_line_set(name)
    line_set = line_set.primary()
    line_set = line_set.select(line.name for line in line_set.lines if 4800 < line.air < 9250)
    velocity = rng.uniform(-200, 200, n_spectrum)
    low, high = DISPERSION[name]
    observed = np.exp(rng.uniform(np.log(low), np.log(high), n_spectrum))
    sigma = np.sqrt(np.maximum(observed**2 - (FWHM / FWHM_PER_SIGMA) ** 2, 0.0)) / 6563.0 * C_KMS
    level = 10 ** rng.uniform(0.5, 2.5, n_spectrum)
    flux = rng.normal(0, 1, (n_spectrum, wave.size)) + level[:, None]
    found: dict[str, Array] = {}
    common: dict[str, Array] = {}
    snrs = []
    places = dict(zip(line_set.names, line_set.waves("air", 0.0), strict=True))
    for line in sorted(line_set.lines, key=lambda item: bool(item.ratio_of)):
        width = np.hypot(places[line.name] * sigma / C_KMS, FWHM / FWHM_PER_SIGMA)
        ideal = np.sqrt(2 * np.sqrt(np.pi) * width * STEP)
        drawn = rng.uniform(0.7, 1.4, n_spectrum) * common.setdefault(
            line.kinematics, 10 ** rng.uniform(-0.1, np.log10(BINS[-1]), n_spectrum) * strength
        )
        sign = -1.0 if line.absorption else 1.0
        own = line.ratio * found[line.ratio_of] if line.ratio_of in found else sign * drawn * ideal
        found[line.name] = own
        near = np.flatnonzero(np.abs(wave - places[line.name]) < 60)
        center = (places[line.name] * (1 + velocity / C_KMS))[:, None]
        ends = np.append(wave[near] - STEP / 2, wave[near][-1] + STEP / 2)
        flux[:, near] += (
            own[:, None] * np.diff(norm.cdf(ends, center, width[:, None]), axis=1) / STEP
        )
        snrs.append((line.name, np.abs(own) / ideal))
    snr = dict(snrs)
    gas = Spectra(wave, flux, np.ones_like(flux), lsf=np.full(wave.size, FWHM))
    names = line_set.names
    return Mock(
        gas,
        line_set,
        np.stack([found[name] for name in names], axis=1),
        np.stack([snr[name] for name in names], axis=1),
        velocity,
        sigma,
        level,
    )


def deviations(made: Mock, fit: LineFit) -> dict[str, tuple[Array, Array]]:
    """Return found minus true, and its error, by quantity."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fixed_err = fit.upper_limit / 3
    sigma = made.sigma[:, None]
    return {
        "flux": (fit.flux - made.flux, fit.flux_err),
        "velocity": (fit.velocity - made.velocity[:, None], fit.velocity_err),
        "sigma": (fit.sigma - sigma, fit.sigma_err),
        "ew": (fit.ew - made.flux / made.level[:, None], fit.ew_err),
        "flux_fixed": (fit.flux_fixed - made.flux, fixed_err),
        "flux_direct": (fit.flux_direct - made.flux, fit.flux_direct_err),
        "velocity_direct": (fit.velocity_direct - made.velocity[:, None], fit.velocity_direct_err),
        "sigma_direct": (fit.sigma_direct - sigma, fit.sigma_direct_err),
        "w80": (fit.w80 - W80 * sigma, fit.w80_err),
    }


def usable(fit: LineFit) -> Array:
    bad = Flag.FIT_FAILED | Flag.NOT_CONVERGED | Flag.NO_DATA | Flag.FEW_PIXELS
    return (fit.flags & bad) == 0


def row(change: Array, error: Array, use: Array) -> str:
    """Return number, bias in errors with its own error, width of the pulls, coverage."""
    pull = (change / error)[use & np.isfinite(change) & (error > 0)]
    if pull.size < 10:
        return f"| {pull.size} | | | |"
    return (
        f"| {pull.size} | {np.median(pull):+.2f} | {np.std(np.clip(pull, -9, 9)):.2f} | "
        f"{100 * np.mean(np.abs(pull) <= 1):.0f} % |"
    )


def tables(made: Mock, fit: LineFit, *, by_line: bool) -> None:
    good = usable(fit)
    free = good & ((fit.flags & Flag.AT_BOUND) == 0)
    for name, (change, error) in deviations(made, fit).items():
        print(f"\n{name}\n")
        print("| S/N | lines | bias / error | pull std | within 1 error | not at a bound: | | | |")
        print("|---|---|---|---|---|---|---|---|---|")
        for low, high in pairwise(BINS):
            inside = (made.snr >= low) & (made.snr < high)
            both = [row(change, error, inside & some) for some in (good, free)]
            print(f"| {low:g}-{high:g} {both[0]}{both[1][1:]}")
        if by_line:
            _by_line(made, (change, error), good)


def _by_line(made: Mock, what: tuple[Array, Array], good: Array) -> None:
    print("\n| line | S/N | lines | bias / error | pull std | within 1 error |")
    print("|---|---|---|---|---|---|")
    for i, name in enumerate(made.lines.names):
        for low, high in pairwise(BINS):
            inside = (made.snr[:, i] >= low) & (made.snr[:, i] < high) & good[:, i]
            print(f"| {name} | {low:g}-{high:g} {row(what[0][:, i], what[1][:, i], inside)}")


def noise_only(name: str, n_spectrum: int, options: LineOptions) -> None:
    made = mock(name, n_spectrum, seed=2, strength=0.0)
    fit = fit_lines(made.gas, made.lines, options)
    ok = np.isfinite(fit.snr_fixed)
    snr = fit.snr_fixed[ok]
    print(f"\nnoise only: snr_fixed has mean {snr.mean():+.3f} and width {snr.std():.3f}, ", end="")
    print(f"snr has mean {np.nanmean(fit.snr):+.3f} and width {np.nanstd(fit.snr):.3f}; ", end="")
    above = np.mean(np.abs(fit.flux_fixed[ok]) > fit.upper_limit[ok])
    print(f"{100 * above:.2f} % above the limit ({snr.size} lines)")


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    n_spectrum = int(words[0]) if words else 1000
    options = LineOptions(errors=words[1] if len(words) > 1 else "covariance")  # type: ignore[arg-type]
    compute.configure()
    for name in words[2:] or ("standard", "betis41"):
        made = mock(name, n_spectrum)
        fit = fit_lines(made.gas, made.lines, options)
        print(f"\n{name}, {options.errors}, {n_spectrum} spectra")
        tables(made, fit, by_line="--lines" in sys.argv)
        noise_only(name, n_spectrum // 2, options)


if __name__ == "__main__":
    main()
