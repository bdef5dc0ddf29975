"""Chi² of the line fit against scipy's least squares (trf): same model and bounds.

Run with ``python benchmarks/line_parity.py [n_spectrum] [line set] [guess|valley]``; a line for
each fit group tells the share of fits whose chi² agrees within 0.1, where ours is lower by more,
and where higher; then the same of the fits in which some line has a S/N above 3. The reference is
written in numpy and runs in two processes. It starts from the first guess, or from where our own
steps begin, with the fluxes and the background that fit best there. Groups with a component are
fitted with it in every row, from where the filter places it.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr
from scipy.stats import norm

from betis import compute
from betis.linelist import LineSet, load_line_set
from betis.lines.candidates import Plan, line_plan
from betis.lines.components import kept_after, kept_components, without_lines
from betis.lines.descent import Solved, is_short, prepared, solve_groups
from betis.lines.fit import fit_lines
from betis.lines.groups import GroupClass
from betis.lines.measure import measure
from betis.lines.model import Problem
from betis.lines.sharing import SharedFit
from betis.lines.start import start_velocity
from betis.lsf import FWHM_PER_SIGMA
from betis.options import LineOptions
from betis.products import Spectra
from betis.wavelength import C_KMS

Floats = NDArray[Any]
NEAR, SEEN, N_PROCESS = 0.1, 3.0, 2
SHARE = {
    "Ha6563": 1.0, "OIII5007": 0.4, "NII6583": 0.35, "Hb4861": 0.35, "SII6716": 0.2,
    "SII6731": 0.15, "NaI5890": -0.2, "NaI5896": -0.1, "OII3726": 0.3, "OII3729": 0.4,
}  # fmt: skip


def mock(n_spectrum: int, line_set: LineSet, wave: Floats | None = None) -> Spectra:
    """Return rows with every line of a set, Halpha of flux 3 to 300, in white noise."""
    rng = np.random.default_rng(1)
    wave = np.linspace(3650.0, 9140.0, 3600) if wave is None else wave
    step, fwhm = float(np.median(np.diff(wave))), 2.6
    velocity = rng.normal(0, 100, (n_spectrum, 1))
    sigma = rng.uniform(10, 120, (n_spectrum, 1))
    bright = 10 ** rng.uniform(0.5, 2.5, (n_spectrum, 1))
    flux = rng.normal(0, 1, (n_spectrum, wave.size))
    for line, place in zip(line_set.lines, line_set.waves("air", 0.0), strict=True):
        near = np.abs(wave - place) < 40
        if not near.any():
            continue
        center = place * (1 + velocity / C_KMS)
        width = np.hypot(center * sigma / C_KMS, fwhm / FWHM_PER_SIGMA)
        edges = np.append(wave[near] - step / 2, wave[near][-1] + step / 2)
        share = SHARE.get(line.name, -0.05 if line.absorption else 0.05)
        flux[:, near] += share * bright * np.diff(norm.cdf(edges, center, width), axis=1) / step
    return Spectra(wave, flux, np.ones_like(flux), lsf=np.full(wave.size, fwhm))


def model(params: Floats, row: Problem) -> tuple[Floats, Floats]:
    """Return the model of one row and its derivatives ``[pixel, param]``."""
    n_flux, n_kin = row.ratio.shape[1], row.kinematics.shape[1]
    flux, velocity = params[:n_flux], row.kinematics @ params[n_flux : n_flux + n_kin]
    width = params[n_flux + n_kin : -2]
    sigma = np.sqrt(row.kinematics @ width**2 + row.excess)
    z = (row.edges * (C_KMS / row.line_wave)[:, None] - C_KMS - velocity[:, None]) / sigma[:, None]
    bell = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) / sigma[:, None]
    share, by_center, by_sigma = (
        np.diff(value, axis=1) / np.diff(row.edges) for value in (ndtr(z), -bell, -bell * z)
    )
    strength = row.ratio @ flux
    moved, turned = row.kinematics.T * strength, (row.kinematics * width / sigma[:, None]).T
    slopes = [row.ratio.T @ share, moved @ by_center, (turned * strength) @ by_sigma]
    ground = [np.ones_like(row.position)[None], row.position[None]]
    value = strength @ share + params[-2] + params[-1] * row.position
    return value, np.concatenate([*slopes, *ground]).T


def reference(task: tuple[Floats, Problem]) -> float:
    """Return chi² of trf for one row from one start."""
    start, row = task
    free = row.upper > row.lower
    linear = free.copy()
    linear[row.ratio.shape[1] : -2] = False
    first = start.copy()
    design = (model(start, row)[1] * row.weight[:, None])[:, linear]
    first[linear] = np.linalg.lstsq(design, row.flux * row.weight, rcond=None)[0]
    span = 1e-9 * np.maximum(1.0, np.abs(first))
    inside = np.clip(first, row.lower + span, row.upper - span)

    def whole(x: Floats) -> Floats:
        params = start.copy()
        params[free] = x
        return params

    def residual(x: Floats) -> Floats:
        return np.asarray((model(whole(x), row)[0] - row.flux) * row.weight)

    def slope(x: Floats) -> Floats:
        return np.asarray((model(whole(x), row)[1] * row.weight[:, None])[:, free])

    bounds = (row.lower[free], row.upper[free])
    found = least_squares(residual, inside[free], slope, bounds, x_scale="jac", max_nfev=300)
    return float(2 * found.cost)


def tasks(fit: Solved) -> list[tuple[Floats, Problem]]:
    """Return start and problem of each row."""
    return [(start, Problem(*row)) for start, *row in zip(fit.start, *fit.rows, strict=True)]


def is_seen(kind: GroupClass, fit: Solved) -> NDArray[np.bool_]:
    """Tell the fits in which some line has a S/N above 3."""
    values = measure(kind, fit.rows, fit.scale, fit.solution)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.any(np.abs(values.flux / values.flux_err) > SEEN, axis=1)


def report(name: str, more: Floats, seen: NDArray[np.bool_]) -> None:
    """Print how our chi² compares with the reference."""
    print(f"{name:40s} {shares(more)} | S/N > {SEEN:.0f}: {shares(more[seen])}", flush=True)


def shares(more: Floats) -> str:
    """Return the shares of fits within 0.1, lower and higher, in percent."""
    if not more.size:
        return f"{0:6d} fits"
    near, lower = np.mean(np.abs(more) <= NEAR), np.mean(more < -NEAR)
    each = (100 * value for value in (near, lower, np.mean(more > NEAR)))
    return f"{more.size:6d} fits: {{:6.2f}} {{:6.2f}} {{:6.2f}} %".format(*each)


def fits(
    plan: Plan, gas: Spectra, line_set: LineSet, start: str
) -> Iterator[tuple[GroupClass, Solved]]:
    """Yield the fits of all groups; ``start`` says where those of the reference start."""
    options = LineOptions(keep="always")
    velocity = start_velocity(line_set, plan.primary, gas, options)
    bare = []
    for kind in plan.kinds:
        fit = solve_groups(kind, gas, velocity)
        bare.append(SharedFit(fit, None))
        begin = prepared(kind, gas, velocity).valley if start == "valley" else fit.start
        yield kind, fit._replace(start=begin)
    snr = np.full((gas.n_spectrum, len(line_set.names)), np.inf)
    for kind, _, extra in kept_components(plan, gas, bare, snr, options):
        yield kind, extra.solved
    if plan.after:
        table = fit_lines(gas, line_set.primary(), LineOptions())
        rest = without_lines(gas, table.flux, table.wave_obs, table.sigma_obs)
        for kind, _, extra in kept_after(plan, rest, velocity, options):
            yield kind, extra.solved


def main() -> None:
    n_spectrum = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    line_set = load_line_set(sys.argv[2] if len(sys.argv) > 2 else "betis41")
    start = sys.argv[3] if len(sys.argv) > 3 else "guess"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    compute.configure()
    gas = mock(n_spectrum, line_set)
    places = line_set.waves("air", 0.0)
    wave = np.where((places > gas.edges[0]) & (places < gas.edges[-1]), places, np.nan)
    plan = line_plan(line_set, wave, gas, LineOptions())
    every, seen, tick = [], [], time.process_time()
    print("shares of fits within 0.1, lower, higher")
    with multiprocessing.get_context("spawn").Pool(N_PROCESS) as pool:
        for kind, fit in fits(plan, gas, line_set, start):
            theirs = np.array(pool.map(reference, tasks(fit), chunksize=50))
            every.append(np.where(is_short(fit.rows), 0.0, fit.solution.chi2 - theirs))
            seen.append(is_seen(kind, fit))
            n_group = kind.group.size
            split = [values.reshape(n_group, -1) for values in (every[-1], seen[-1])]
            for lines, more, bright in zip(kind.line, *split, strict=True):
                report(" ".join(line_set.names[i] for i in lines[lines >= 0]), more, bright)
    report("all", np.concatenate(every), np.concatenate(seen))
    print(f"our own process: {time.process_time() - tick:.0f} s of CPU time")


if __name__ == "__main__":
    main()
