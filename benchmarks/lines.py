"""CPU time of the line fit, against scipy's least squares and lmfit on the same groups.

Run with ``python benchmarks/lines.py [n_spectrum] [line set]``. Mock rows on MUSE's axis at
redshift 0.02: lines of the `standard` set from strong to absent, white noise. Times are those of
the CPU, all threads together, which other programs on the machine change least. lmfit, in the
extra `bench`, is left out where it is not installed.
"""

import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import norm

from betis import compute
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.lsf import FWHM_PER_SIGMA, muse_fwhm
from betis.options import LineOptions
from betis.products import LineFit, Spectra
from betis.wavelength import C_KMS

REDSHIFT = 0.02
N_PEER = 4


def mock(n_spectrum: int) -> Spectra:
    rng = np.random.default_rng(1)
    observed = 4750.0 + 1.25 * np.arange(3680)
    wave, step = observed / (1 + REDSHIFT), 1.25 / (1 + REDSHIFT)
    fwhm = muse_fwhm(observed) / (1 + REDSHIFT)
    velocity = rng.normal(0, 100, (n_spectrum, 1))
    sigma = rng.uniform(10, 120, (n_spectrum, 1))
    bright = 10 ** rng.uniform(0.5, 2.5, (n_spectrum, 1))
    flux = rng.normal(0, 1, (n_spectrum, wave.size))
    line_set = load_line_set()
    for line, place in zip(line_set.lines, line_set.waves("air", REDSHIFT), strict=True):
        near = np.abs(wave - place) < 40
        center = place * (1 + velocity / C_KMS)
        width = np.hypot(center * sigma / C_KMS, np.interp(place, wave, fwhm) / FWHM_PER_SIGMA)
        edges = norm.cdf(np.append(wave[near], wave[near][-1:] + step) - step / 2, center, width)
        share = {"Ha6563": 1.0, "OIII5007": 0.4, "NII6583": 0.35, "Hb4861": 0.35}
        flux[:, near] += share.get(line.name, 0.05) * bright * np.diff(edges, axis=1) / step
    return Spectra(wave, flux, np.ones_like(flux), lsf=fwhm, redshift=REDSHIFT)


Residual = Callable[[NDArray[Any]], NDArray[Any]]


def peer(gas: Spectra, fit: LineFit, window: float, solve: Callable[..., Any]) -> float:
    """Seconds that a peer takes a spectrum: the same groups, ties left free, starts at the fit."""
    tick = time.process_time()
    for row in range(N_PEER):
        for group in range(fit.background_wave.size):
            lines = np.flatnonzero((fit.group == group) & np.isfinite(fit.flux[row]))
            if lines.size:
                solve(*_peer_group(gas, fit, row, lines, window))
    return (time.process_time() - tick) / N_PEER


def _peer_group(
    gas: Spectra, fit: LineFit, row: int, lines: NDArray[Any], window: float
) -> tuple[Residual, NDArray[Any], tuple[NDArray[Any], NDArray[Any]]]:
    """Return residual, start and bounds of one group of one spectrum."""
    center, width = fit.wave_obs[row, lines], fit.sigma_obs[row, lines]
    near = np.any(np.abs(gas.wave - center[:, None]) < window, axis=0)
    wave, step = gas.wave[near], gas.wave[1] - gas.wave[0]
    edges = np.append(wave - step / 2, wave[-1] + step / 2)

    def residual(x: NDArray[Any]) -> NDArray[Any]:
        flux, place, spread = x[:-2].reshape(3, -1, 1)
        profile = np.diff(norm.cdf(edges, place, spread), axis=1) / step
        model = np.sum(flux * profile, axis=0) + x[-2] + x[-1] * (wave - wave[0])
        return np.asarray((gas.flux[row, near] - model) / gas.error[row, near])

    start = np.concatenate([0.7 * fit.flux[row, lines], center + 0.3, 1.1 * width, [0.0, 0.0]])
    one = np.ones(lines.size)
    low = np.concatenate([-np.inf * one, center - 10, 0.3 * one, [-np.inf] * 2])
    high = np.concatenate([np.inf * one, center + 10, 12 * one, [np.inf] * 2])
    return residual, np.clip(start, low, high), (low, high)


def by_scipy(residual: Residual, start: NDArray[Any], bounds: tuple[Any, Any]) -> None:
    least_squares(residual, start, bounds=bounds, x_scale="jac")


def by_lmfit(residual: Residual, start: NDArray[Any], bounds: tuple[Any, Any]) -> None:
    import lmfit

    params = lmfit.Parameters()
    for i, (value, low, high) in enumerate(zip(start, *bounds, strict=True)):
        params.add(f"p{i}", value=value, min=low, max=high)
    lmfit.minimize(lambda now: residual(np.array(list(now.valuesdict().values()))), params)


def main() -> None:
    n_spectrum = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
    compute.configure()
    line_set = load_line_set(sys.argv[2] if len(sys.argv) > 2 else "standard")
    gas, options = mock(n_spectrum), LineOptions()
    tick, cpu = time.perf_counter(), time.process_time()
    fit_lines(gas.take(slice(0, 8)), line_set, options)
    wall, cpu = time.perf_counter() - tick, time.process_time() - cpu
    print(f"first fit, programs compiled or read: {wall:.1f} s, {cpu:.1f} s of CPU time")
    tick, cpu = time.perf_counter(), time.process_time()
    fit = fit_lines(gas, line_set, options)
    wall, ours = time.perf_counter() - tick, (time.process_time() - cpu) / n_spectrum
    print(f"betis: {1e3 * ours:.3f} ms of CPU time a spectrum; {n_spectrum / wall:.0f} spectra/s")
    print(f"steps: mean {fit.n_iter[:, fit.chi2[0] > 0].mean():.1f}, most {fit.n_iter.max()}")
    peers = {"scipy least_squares (trf)": by_scipy}
    if importlib.util.find_spec("lmfit"):
        peers["lmfit (leastsq)"] = by_lmfit
    for name, solve in peers.items():
        theirs = peer(gas, fit, 30.0, solve)
        print(f"{name}: {1e3 * theirs:.0f} ms a spectrum, ratio {theirs / ours:.0f}")


if __name__ == "__main__":
    main()
