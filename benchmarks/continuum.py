"""Time of the continuum fit, against pPXF where that is installed, and pulls of its errors.

    python benchmarks/continuum.py [--spectra 64] [--snr 30] [--peer 16] [--pulls]

MUSE's axis (3681 pixels, redshift 0.02), mixtures of four templates. The bases are 45 templates of
the shipped one, and 150: that with geometric means of neighbours in age between them. Prints
milliseconds of processor time a spectrum, summed over all threads and with the program already
compiled, of both codes; the ratio; and wall clock, which means nothing on a machine that others
use. Set OMP_NUM_THREADS=1: threads of the peer's libraries that wait for each other count as
busy. ``--pulls`` adds the pulls of velocity, dispersion and A_V at S/N 10, 30 and 100.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from betis import compute
from betis.continuum.fit import template_engine
from betis.continuum.model import Grid, evaluate
from betis.continuum.templates import Range, prepare_base
from betis.extinction import extinction_curve
from betis.flags import Flag
from betis.io.templates import load_templates
from betis.linelist import load_line_set
from betis.lsf import muse_fwhm
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, Templates
from betis.wavelength import C_KMS

REDSHIFT = 0.02
BOUNDS = Range(500.0, 400.0, 0.0, 4.0)


def thin(base: Templates, count: int) -> Templates:
    picked = np.linspace(0, base.n_template - 1, count).astype(int)
    return replace(
        base,
        flux=base.flux[picked],
        age=base.age[picked],
        metallicity=base.metallicity[picked],
        mass_fraction=base.mass_fraction[picked],
    )


def dense(base: Templates, count: int) -> Templates:
    order = np.lexsort([base.age, base.metallicity])
    pairs = [
        (one, other)
        for one, other in pairwise(order)
        if base.metallicity[one] == base.metallicity[other]
    ]
    index = np.linspace(0, len(pairs) - 1, count - base.n_template).astype(int)
    one, other = np.array(pairs)[index].T
    return replace(
        base,
        flux=np.concatenate([base.flux, np.sqrt(base.flux[one] * base.flux[other])]),
        age=np.concatenate([base.age, np.sqrt(base.age[one] * base.age[other])]),
        metallicity=np.concatenate([base.metallicity, base.metallicity[one]]),
        mass_fraction=np.concatenate(
            [base.mass_fraction, (base.mass_fraction[one] + base.mass_fraction[other]) / 2]
        ),
    )


def mocks(base: Templates, count: int, snr: float) -> tuple[Spectra, np.ndarray]:
    """Return spectra and their velocity, dispersion and A_V."""
    rng = np.random.default_rng(1)
    observed = 4750.0 + 1.25 * np.arange(3681)
    wave = observed / (1 + REDSHIFT)
    lsf = muse_fwhm(observed) / (1 + REDSHIFT)
    empty = Spectra(wave, np.ones((1, wave.size)), 1.0 + 0 * wave, lsf=lsf, redshift=REDSHIFT)
    grid = Grid(*prepare_base(base, empty, extinction_curve("CCM89", wave), BOUNDS).grid)
    low, high = np.array([[-150, 60, 0], [150, 200, 1]])
    truth = rng.uniform(low, high, (count, 3))
    flux = []
    for velocity, sigma, av in truth:
        light = np.zeros(base.n_template)
        light[rng.choice(base.n_template, 4, replace=False)] = rng.uniform(0.2, 1, 4)
        shift = C_KMS * np.log1p(velocity / C_KMS)
        clean = np.asarray(evaluate(grid, np.array([shift, sigma**2, av]), light))
        flux.append(clean / np.median(clean) + rng.normal(0, 1 / snr, wave.size))
    error = np.full((count, wave.size), 1 / snr)
    return Spectra(wave, np.array(flux), error, lsf=lsf, redshift=REDSHIFT), truth


def engine(base: Templates, spectra: Spectra) -> Callable[[Spectra], ContinuumFit]:
    dust = extinction_curve("CCM89", spectra.wave)
    lines = load_line_set().waves(spectra.medium, REDSHIFT)
    return template_engine(spectra, base, ContinuumOptions(), dust=dust, line_waves=lines)


def timed(fit: Callable[[], ContinuumFit], repeats: int) -> tuple[float, float, ContinuumFit]:
    """Return the least processor time and the least wall clock of some repeats, seconds."""
    spent, passed = [], []
    for _ in range(repeats):
        start, begin = time.process_time(), time.perf_counter()
        result = fit()
        spent.append(time.process_time() - start)
        passed.append(time.perf_counter() - begin)
    return min(spent), min(passed), result


def time_betis(base: Templates, spectra: Spectra, truth: np.ndarray) -> float:
    fit = engine(base, spectra)
    _, cold, _ = timed(lambda: fit(spectra), 1)
    spent, passed, result = timed(lambda: fit(spectra), 5)
    each = 1e3 / spectra.n_spectrum
    ended = np.mean((result.flags & Flag.NOT_CONVERGED) == 0)
    print(
        f"betis, {base.n_template} templates: {spent * each:.2f} ms of processor a spectrum (wall "
        f"{passed * each:.2f}, first call {cold:.1f} s); chi2 {np.mean(result.chi2):.2f}, "
        f"chi2/dof {np.mean(result.chi2 / result.dof):.4f}, converged {100 * ended:.1f} %, scatter "
        f"of velocity {np.std(result.velocity - truth[:, 0]):.2f} km/s, of sigma "
        f"{np.std(result.sigma - truth[:, 1]):.2f} km/s; load {os.getloadavg()[0]:.1f}"
    )
    return spent * each


def on_data_axis(base: Templates, spectra: Spectra) -> np.ndarray:
    """Return the templates ``[template, wave]`` in the data's medium, resolution and pixels."""
    prepared = prepare_base(base, spectra, extinction_curve("CCM89", spectra.wave), BOUNDS)
    grid = Grid(*prepared.grid)
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
    start, begin = time.process_time(), time.perf_counter()
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
    each = 1e3 / spectra.n_spectrum
    spent = (time.process_time() - start) * each
    scatter = np.std(np.array(found) - truth[:, :2], axis=0)
    print(
        f"pPXF, {base.n_template} templates: {spent:.1f} ms of processor a spectrum (wall "
        f"{(time.perf_counter() - begin) * each:.1f}); scatter of velocity {scatter[0]:.2f} km/s, "
        f"of sigma {scatter[1]:.2f} km/s"
    )
    return spent


def show_pulls(base: Templates, count: int) -> None:
    for snr in (10.0, 30.0, 100.0):
        spectra, truth = mocks(base, count, snr)
        fit = engine(base, spectra)(spectra)
        free = (fit.flags & Flag.AT_BOUND) == 0
        pairs = [(fit.velocity, fit.velocity_err), (fit.sigma, fit.sigma_err), (fit.av, fit.av_err)]
        widths = []
        for column, (value, error) in enumerate(pairs):
            pull = ((value - truth[:, column]) / error)[free]
            widths.append(f"{np.mean(pull):+.2f} {np.std(pull):.2f}")
        print(
            f"S/N {snr:.0f}, {free.sum()} rows off the bounds: mean and width of the pulls of "
            f"velocity {widths[0]}, sigma {widths[1]}, A_V {widths[2]}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=int, default=64)
    parser.add_argument("--snr", type=float, default=30.0)
    parser.add_argument("--peer", type=int, default=16, help="spectra that pPXF fits")
    parser.add_argument("--pulls", action="store_true")
    arguments = parser.parse_args()
    compute.configure()
    whole = load_templates("bpass")
    for base in (thin(whole, 45), dense(whole, 150)):
        spectra, truth = mocks(base, arguments.spectra, arguments.snr)
        mine = time_betis(base, spectra, truth)
        if importlib.util.find_spec("ppxf"):
            some = slice(0, arguments.peer)
            peer = time_ppxf(base, spectra.take(some), truth[some])
            print(f"pPXF over betis, processor time: {peer / mine:.1f}")
        if arguments.pulls:
            show_pulls(base, 4 * arguments.spectra)


if __name__ == "__main__":
    main()
