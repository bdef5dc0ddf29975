"""False and missed components of the line fit: the tables of ``docs/line-set.md``.

Run with ``python benchmarks/components.py [n_spectrum]``. Mock rows on MUSE's axis at redshift
0.02, with its line-spread function and white noise: without any component (false ones, and the
time that looking for them takes), then with one of a given flux, shift and width (completeness).
"""

import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from betis import compute
from betis.flags import Flag
from betis.linelist import LineSet, load_line_set
from betis.lines.fit import fit_lines
from betis.lsf import FWHM_PER_SIGMA, muse_fwhm
from betis.options import LineOptions
from betis.products import LineFit, Spectra
from betis.wavelength import C_KMS

REDSHIFT = 0.02
ABSENT = Flag.NO_COMPONENT | Flag.NO_DATA
BOTH = ((1.0, -60, 120), (1.0, -200, 50), (1.0, -150, 150), (0.5, -100, 200), (0.3, 0, 250))
REMNANTS = ((1.0, -150, 200), (0.5, -200, 350), (0.3, 0, 250), (2.0, 300, 300))
STRENGTHS = (10, 20, 40, 80, 160)


class Rows:
    """Mock spectra of random velocities and widths, and what their lines are."""

    def __init__(self, n_spectrum: int, widest: float, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        observed = 4750.0 + 1.25 * np.arange(3680)
        self.wave, self.step = observed / (1 + REDSHIFT), 1.25 / (1 + REDSHIFT)
        self.fwhm = muse_fwhm(observed) / (1 + REDSHIFT)
        self.velocity = self.rng.uniform(-150, 150, (n_spectrum, 1))
        self.sigma = self.rng.uniform(5, widest, (n_spectrum, 1))
        self.flux = self.rng.normal(0, 1, (n_spectrum, self.wave.size))

    def profile(self, place: float, shift: float, sigma: Any) -> NDArray[Any]:
        """Return a line of unit flux at a velocity relative to that of each row."""
        center = place * (1 + (self.velocity + shift) / C_KMS)
        sharp = np.interp(place, self.wave, self.fwhm) / FWHM_PER_SIGMA
        width = np.hypot(center * sigma / C_KMS, sharp)
        edges = np.append(self.wave, self.wave[-1] + self.step) - self.step / 2
        return np.asarray(np.diff(norm.cdf(edges, center, width), axis=1) / self.step)

    def add_lines(self, line_set: LineSet, snr: tuple[float, float]) -> dict[str, NDArray[Any]]:
        """Add every line with a S/N from a range, those of a fixed ratio in that; their fluxes."""
        fluxes: dict[str, NDArray[Any]] = {}
        places = dict(zip(line_set.names, line_set.waves("air", REDSHIFT), strict=True))
        for line in sorted(line_set.lines, key=lambda line: bool(line.ratio_of)):
            profile = self.profile(places[line.name], 0.0, self.sigma)
            error = 1 / np.sqrt(np.sum(profile**2, axis=1, keepdims=True) + 1e-30)
            drawn = 10 ** self.rng.uniform(*np.log10(snr), error.shape)
            flux = drawn * error * (-1 if line.absorption else 1) * (error < 1e3)
            if line.ratio_of in fluxes:
                flux = line.ratio * fluxes[line.ratio_of]
            fluxes[line.name] = flux
            self.flux += flux * profile
        return fluxes

    def spectra(self) -> Spectra:
        """Return the rows as they are fitted."""
        return Spectra(
            self.wave, self.flux, np.ones_like(self.flux), lsf=self.fwhm, redshift=REDSHIFT
        )


def kept(fit: LineFit, name: str) -> NDArray[Any]:
    return np.asarray(fit.flags[:, fit.index(name)] & ABSENT == 0)


def false_components(name: str, options: LineOptions, n_spectrum: int) -> None:
    """Print the rate of false components a group, and the time over that without any."""
    line_set = load_line_set(name)
    widest = 60.0 if name == "betis41" else 100.0
    for kind, snr in (("noise alone", (1e-6, 1.1e-6)), ("lines of S/N 5-300", (5.0, 300.0))):
        rows = Rows(n_spectrum, widest, 11)
        rows.add_lines(line_set.primary(), snr)
        fit, taken = _timed(rows.spectra(), line_set, options)
        _, plain = _timed(rows.spectra(), line_set.primary(), LineOptions())
        print(f"\n{name}, {kind}: CPU {1e3 * taken:.2f} ms a spectrum, {taken / plain:.2f} times "
              "that without components")  # fmt: skip
        extra = [n for n in fit.names if n not in line_set.primary().names]
        for group in np.unique(fit.group[[fit.index(n) for n in extra]]):
            names = [n for n in extra if fit.group[fit.index(n)] == group]
            if np.any(fit.flags[:, fit.index(names[0])] & Flag.NO_DATA == 0):
                rate = np.mean(np.any([kept(fit, n) for n in names], axis=0))
                print(f"  {', '.join(names):45s} {100 * rate:6.2f} %")


def _timed(gas: Spectra, line_set: LineSet, options: LineOptions) -> tuple[LineFit, float]:
    fit_lines(gas, line_set, options)
    tick = time.process_time()
    fit = fit_lines(gas, line_set, options)
    return fit, (time.process_time() - tick) / gas.n_spectrum


def completeness(
    line_set: LineSet,
    options: LineOptions,
    shapes: tuple[tuple[float, float, float], ...],
    names: dict[str, str],
    n_spectrum: int,
) -> None:
    """Print the share of components kept, their median S/N, and the pulls of their fluxes."""
    places = dict(zip(line_set.names, line_set.waves("air", REDSHIFT), strict=True))
    print(f"\n{line_set.name}: flux and velocity of the component over the line's, its dispersion")
    for share, shift, sigma in shapes:
        for snr in STRENGTHS:
            rows = Rows(n_spectrum, 60.0, 3)
            fluxes = rows.add_lines(line_set.primary(), (snr * 0.999, snr * 1.001))
            with_it = names.values() if options.components == 1 else fluxes
            for name in with_it:
                rows.flux += share * fluxes[name] * rows.profile(places[name], shift, sigma)
            fit = fit_lines(rows.spectra(), line_set, options)
            told = [_told(fit, own, share * fluxes[name][:, 0]) for own, name in names.items()]
            print(f"  {share:3g} {shift:5g} km/s {sigma:4g} km/s, S/N {snr:3d}: {'; '.join(told)}")


def _told(fit: LineFit, name: str, flux: NDArray[Any]) -> str:
    i, is_kept = fit.index(name), kept(fit, name)
    if is_kept.sum() < 5:
        return f"{name} {100 * is_kept.mean():3.0f} %"
    pull = ((fit.flux[:, i] - flux) / fit.flux_err[:, i])[is_kept]
    return (
        f"{name} {100 * is_kept.mean():3.0f} % (S/N {np.median(fit.snr[is_kept, i]):.0f}, pull "
        f"{np.median(pull):+.1f} ± {0.7413 * np.subtract(*np.percentile(pull, [75, 25])):.1f})"
    )


def main() -> None:
    n_spectrum = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    compute.configure()
    one, two = LineOptions(), LineOptions(components=2)
    false_components("betis41", one, n_spectrum)
    false_components("standard", two, n_spectrum)
    halpha = ["NII6548", "Ha6563", "NII6583"]
    remnant = load_line_set("betis41").select([*halpha, "Ha6563_remnant"])
    few = max(n_spectrum // 5, 20)
    completeness(remnant, one, REMNANTS, {"Ha6563_remnant": "Ha6563"}, few)
    pair = load_line_set().select(["Hb4861", *halpha])
    completeness(pair, two, BOTH, {"Hb4861_2": "Hb4861", "Ha6563_2": "Ha6563"}, few)


if __name__ == "__main__":
    main()
