"""Time of the continuum fit, against pPXF where that is installed.

    python benchmarks/continuum.py [--spectra 64] [--snr 30]

MUSE's axis (3681 pixels, redshift 0.02), mixtures of four templates of the shipped base. Prints
milliseconds of wall clock a spectrum, the program already compiled, and the load of the machine.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from betis import compute
from betis.continuum.fit import fit_continuum
from betis.continuum.kernel import Grid, evaluate
from betis.continuum.templates import Range, prepare_base
from betis.extinction import extinction_curve
from betis.io.templates import load_templates
from betis.linelist import load_line_set
from betis.lsf import muse_fwhm
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, Templates
from betis.wavelength import C_KMS

REDSHIFT = 0.02


def thin(base: Templates, count: int) -> Templates:
    picked = np.linspace(0, base.n_template - 1, count).astype(int)
    return replace(
        base,
        flux=base.flux[picked],
        age=base.age[picked],
        metallicity=base.metallicity[picked],
        mass_fraction=base.mass_fraction[picked],
    )


def mocks(base: Templates, count: int, snr: float) -> tuple[Spectra, np.ndarray]:
    rng = np.random.default_rng(1)
    observed = 4750.0 + 1.25 * np.arange(3681)
    wave = observed / (1 + REDSHIFT)
    lsf = muse_fwhm(observed) / (1 + REDSHIFT)
    empty = Spectra(wave, np.ones((1, wave.size)), 1.0 + 0 * wave, lsf=lsf, redshift=REDSHIFT)
    prepared = prepare_base(
        base, empty, extinction_curve("CCM89", wave), Range(500.0, 400.0, 0.0, 4.0)
    )
    truth = np.column_stack([rng.uniform(-150, 150, count), rng.uniform(60, 200, count)])
    flux = []
    for velocity, sigma in truth:
        light = np.zeros(base.n_template)
        light[rng.choice(base.n_template, 4, replace=False)] = rng.uniform(0.2, 1, 4)
        params = np.array([velocity, sigma**2, rng.uniform(0, 1)])
        clean = np.asarray(evaluate(Grid(*prepared.grid), params, light))
        flux.append(clean / np.median(clean) + rng.normal(0, 1 / snr, wave.size))
    error = np.full((count, wave.size), 1 / snr)
    return Spectra(wave, np.array(flux), error, lsf=lsf, redshift=REDSHIFT), truth


def fastest(fit: Callable[[], ContinuumFit], repeats: int) -> tuple[float, ContinuumFit]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = fit()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def time_betis(base: Templates, spectra: Spectra, truth: np.ndarray) -> float:
    dust = extinction_curve("CCM89", spectra.wave)
    lines = load_line_set().waves(spectra.medium, REDSHIFT)

    def fit() -> ContinuumFit:
        return fit_continuum(spectra, base, ContinuumOptions(), dust=dust, line_waves=lines)

    cold, _ = fastest(fit, 1)
    warm, result = fastest(fit, 3)
    per_spectrum = 1e3 * warm / spectra.n_spectrum
    print(
        f"betis, {base.n_template} templates: {per_spectrum:.2f} ms a spectrum "
        f"(first call {cold:.1f} s); chi2/dof {np.mean(result.chi2 / result.dof):.4f}, scatter "
        f"of velocity {np.std(result.velocity - truth[:, 0]):.2f} km/s, of sigma "
        f"{np.std(result.sigma - truth[:, 1]):.2f} km/s; load {os.getloadavg()[0]:.1f}"
    )
    return per_spectrum


def on_data_axis(base: Templates, spectra: Spectra) -> np.ndarray:
    """Return the templates ``[template, wave]`` in the data's medium, resolution and pixels."""
    dust = extinction_curve("CCM89", spectra.wave)
    grid = Grid(*prepare_base(base, spectra, dust, Range(500.0, 400.0, 0.0, 4.0)).grid)
    return np.array([evaluate(grid, np.zeros(3), one) for one in np.eye(base.n_template)])


def time_ppxf(base: Templates, spectra: Spectra, truth: np.ndarray) -> float:
    from ppxf.ppxf import ppxf
    from ppxf.ppxf_util import log_rebin

    wave, inner = spectra.wave, slice(100, -100)
    lines = load_line_set().waves(spectra.medium, REDSHIFT)
    step = 1.25 / wave[-1] * C_KMS
    rebinned = [
        log_rebin(wave[[0, -1]], row, velscale=step)[:2] for row in on_data_axis(base, spectra)
    ]
    stars = np.array([row for row, _ in rebinned]).T
    found, every = [], np.ones(base.n_template, dtype=bool)
    start = time.perf_counter()
    for row in spectra.flux:
        galaxy, log_wave, _ = log_rebin(wave[inner][[0, -1]], row[inner], velscale=step)
        fit = ppxf(
            stars,
            galaxy,
            np.full_like(galaxy, spectra.error[0, 0]),
            step,
            [0.0, 120.0],
            moments=2,
            degree=-1,
            dust=[{"start": [0.3], "bounds": [[0, 4]], "component": every}],
            mask=np.all(np.abs(np.exp(log_wave)[:, None] / lines - 1) * C_KMS > 600, axis=1),
            lam=np.exp(log_wave),
            lam_temp=np.exp(rebinned[0][1]),
            quiet=True,
        )
        found.append(fit.sol)
    per_spectrum = 1e3 * (time.perf_counter() - start) / spectra.n_spectrum
    scatter = np.std(np.array(found) - truth, axis=0)
    print(
        f"pPXF, {base.n_template} templates: {per_spectrum:.1f} ms a spectrum; scatter of velocity "
        f"{scatter[0]:.2f} km/s, of sigma {scatter[1]:.2f} km/s"
    )
    return per_spectrum


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=int, default=64)
    parser.add_argument("--snr", type=float, default=30.0)
    arguments = parser.parse_args()
    compute.configure()
    whole = load_templates("bpass")
    for count in (45, 68):
        base = thin(whole, count)
        spectra, truth = mocks(base, arguments.spectra, arguments.snr)
        mine = time_betis(base, spectra, truth)
        if importlib.util.find_spec("ppxf"):
            peer = time_ppxf(base, spectra, truth)
            print(f"pPXF over betis, time: {peer / mine:.1f}")


if __name__ == "__main__":
    main()
