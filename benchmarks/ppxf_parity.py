"""The native engine against pPXF: same base, masks, law of dust, two moments, no polynomials.

    python benchmarks/ppxf_parity.py [--mocks 64] [--templates 45] [--data ../shared/data]

pPXF runs behind betis's engine "ppxf", so that both see the same spectra, and chi2 is that of the
pixels of the data for both. Mocks are mixtures of four templates on MUSE's axis, made without
either engine's arithmetic; real spectra are those of SDSS and MaNGA in the folder of test data.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from betis import compute
from betis.continuum.fit import template_engine
from betis.continuum.kinematics import Engine
from betis.continuum.on_pixels import Answer, make_pixel_base
from betis.continuum.ppxf import ppxf_engine
from betis.extinction import extinction_curve
from betis.flags import describe
from betis.io.templates import load_templates
from betis.linelist import load_line_set
from betis.lsf import FWHM_PER_SIGMA, muse_fwhm
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, Templates
from betis.wavelength import C_KMS

REDSHIFT = 0.02
_NAMES = ("native", "pPXF")


def thin(base: Templates, count: int) -> Templates:
    picked = np.linspace(0, base.n_template - 1, count).astype(int)
    rows = ("flux", "age", "metallicity", "mass_fraction")
    return replace(base, **{name: getattr(base, name)[picked] for name in rows})


def mocks(base: Templates, count: int, snr: float) -> tuple[Spectra, np.ndarray]:
    """Return spectra of unit median, and their velocity, dispersion and A(V)."""
    rng = np.random.default_rng(int(snr))
    observed = 4750.0 + 1.25 * np.arange(3681)
    wave, lsf = observed / (1 + REDSHIFT), muse_fwhm(observed) / (1 + REDSHIFT)
    blank = Spectra(wave, np.ones((1, wave.size)), np.ones((1, wave.size)), lsf=lsf)
    blank = replace(blank, redshift=REDSHIFT)
    near = np.abs(base.wave - 5635) < 45
    level = np.median(base.flux[:, near], axis=1)
    ends = np.log(wave[[0, -1]])
    dense = make_pixel_base(
        base, blank, level, extinction_curve("CCM89", wave), (*ends, 2e-5, 4000.0)
    )
    truth = np.column_stack(
        [rng.uniform(-150, 150, count), rng.uniform(60, 200, count), rng.uniform(0.2, 1, count)]
    )
    flux = []
    for velocity, sigma, av in truth:
        light = np.zeros(base.n_template)
        light[rng.choice(base.n_template, 4, replace=False)] = rng.uniform(0.2, 1, 4)
        none = np.empty(0)
        shift = C_KMS * np.log1p(velocity / C_KMS)
        answer = Answer(
            shift=shift,
            sigma=sigma,
            hermite=none,
            av=av,
            weights=light,
            additive=none,
            multiplicative=none,
        )
        clean = dense.model(answer)
        flux.append(clean / np.median(clean) + rng.normal(0, 1 / snr, wave.size))
    return replace(blank, flux=np.array(flux), **_like(np.full((count, wave.size), 1 / snr))), truth


def _like(error: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "error": error,
        "mask": np.zeros(error.shape, bool),
        "n_spaxel": np.ones(len(error), np.int32),
    }


def manga(folder: Path) -> dict[str, Spectra]:
    found = {}
    for path in sorted((folder / "spectra" / "manga").glob("*.fits.gz")):
        with fits.open(path) as hdus:
            for row, redshift in enumerate(hdus["Z"].data):
                flux, ivar, mask, power = (
                    hdus[name].data[row].astype(float) for name in ("FLUX", "IVAR", "MASK", "SRES")
                )
                known = power > 100
                good = (ivar > 0) & (mask.astype(int) & 1 == 0) & known & (flux != 0)
                if good.any():
                    wave = hdus["WAVE"].data
                    lsf = np.interp(wave, wave[known], wave[known] / power[known])
                    name = f"{path.name.split('_')[1]} {row}".replace("test", "MaNGA")
                    found[name] = at_rest((wave, flux, ivar, ~good, lsf), float(redshift))
    return found


def sdss(folder: Path) -> dict[str, Spectra]:
    found = {}
    for path in sorted((folder / "spectra" / "sdss").glob("spec-*.fits")):
        with fits.open(path) as hdus:
            table, redshift = hdus[1].data, float(hdus[2].data["Z"][0])
            wave = 10.0 ** table["loglam"].astype(float)
            lsf = np.maximum(table["wdisp"], 0.5) * FWHM_PER_SIGMA * 1e-4 * np.log(10) * wave
            ivar = table["ivar"].astype(float)
            data = (wave, table["flux"].astype(float), ivar, ivar <= 0, lsf)
            found[f"SDSS {path.stem[-4:]}"] = at_rest(data, redshift)
    return found


def at_rest(data: tuple[np.ndarray, ...], redshift: float) -> Spectra:
    wave, flux, ivar, mask, lsf = data
    stretch = 1 + redshift
    error = np.divide(1.0, np.sqrt(ivar), out=np.zeros_like(ivar), where=ivar > 0)
    return Spectra(
        wave / stretch,
        flux * stretch,
        error * stretch,
        mask,
        medium="vacuum",
        lsf=lsf / stretch,
        redshift=redshift,
    )


def engines(spectra: Spectra, base: Templates, clip: float = 4.0) -> tuple[Engine, Engine]:
    options = ContinuumOptions(clip=clip)
    facts = {
        "dust": extinction_curve(options.law, np.clip(spectra.wave, 3003.0, 30000.0)),
        "line_waves": load_line_set().emission().waves(spectra.medium, spectra.redshift),
    }
    return (
        template_engine(spectra, base, options, **facts),
        ppxf_engine(spectra, base, options, **facts),
    )


def timed(engine: Engine, spectra: Spectra) -> tuple[ContinuumFit, float]:
    start = time.process_time()
    fit = engine(spectra)
    return fit, 1e3 * (time.process_time() - start) / spectra.n_spectrum


def pulls(fit: ContinuumFit, truth: np.ndarray) -> list[float]:
    """Return the standard deviations of (found - true) / error of rows away from bounds."""
    free = fit.flags == 0
    pairs = zip(("velocity", "sigma", "av"), truth.T, strict=True)
    return [
        float(np.std((getattr(fit, name) - value)[free] / getattr(fit, f"{name}_err")[free]))
        for name, value in pairs
    ]


def difference(mine: ContinuumFit, peer: ContinuumFit) -> str:
    """Return the largest differences of native minus pPXF, over all rows."""
    ratio = 100 * ((mine.chi2 / mine.dof) / (peer.chi2 / peer.dof) - 1)
    parts = [f"chi2/dof {ratio[np.argmax(np.abs(ratio))]:+.3f} %"]
    for name, unit in (("velocity", "km/s"), ("sigma", "km/s"), ("av", "mag")):
        gap = getattr(mine, name) - getattr(peer, name)
        parts.append(f"{name} {gap[np.argmax(np.abs(gap))]:+.2f} {unit}")
    return ", ".join(parts)


def compare_mocks(base: Templates, count: int, snr: float) -> None:
    spectra, truth = mocks(base, count, snr)
    made = engines(spectra, base)
    made[0](spectra.take(slice(0, 1)))
    fits_of = [timed(engine, spectra) for engine in made]
    print(
        f"\nS/N {snr:g}, {count} mocks: largest native - pPXF: "
        f"{difference(fits_of[0][0], fits_of[1][0])}"
    )
    for name, (fit, cost) in zip(_NAMES, fits_of, strict=True):
        width = ", ".join(f"{value:.2f}" for value in pulls(fit, truth))
        flagged = int((fit.flags != 0).sum())
        print(
            f"  {name:6} {np.mean(fit.chi2 / fit.dof):.4f} mean chi2/dof; pulls of v, sigma, A_V "
            f"{width} ({count - flagged} rows without flag); {cost:.1f} ms CPU a spectrum"
        )


def pulls_of_many(base: Templates, count: int, snr: float) -> None:
    """Print the pulls of the native engine alone, on more mocks."""
    spectra, truth = mocks(base, count, snr)
    fit = engines(spectra, base)[0](spectra)
    width = ", ".join(f"{value:.2f}" for value in pulls(fit, truth))
    print(f"  native pulls of v, sigma, A_V on {count} mocks: {width}")


def compare_real(base: Templates, spectra: dict[str, Spectra]) -> None:
    print("\n| | chi2/dof | over pPXF's | v | - pPXF's | sigma | - | A_V | - | flags |")
    for name, one in spectra.items():
        # What is clipped depends on the residuals of each: both get what the native one keeps.
        kept = replace(one, mask=~engines(one, base)[0](one).used)
        mine, peer = (engine(kept) for engine in engines(kept, base, clip=0.0))
        reduced = mine.chi2[0] / mine.dof[0]
        ratio = reduced / (peer.chi2[0] / peer.dof[0])
        cells = [name, f"{reduced:.3f}", f"{ratio:.4f}"]
        for key in ("velocity", "sigma", "av"):
            value = getattr(mine, key)[0]
            cells += [f"{value:.2f}", f"{value - getattr(peer, key)[0]:+.2f}"]
        cells.append(" ".join(describe(int(mine.flags[0] | peer.flags[0]))))
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocks", type=int, default=64)
    parser.add_argument("--templates", type=int, default=45)
    parser.add_argument("--snr", type=float, nargs="*", default=[10.0, 30.0, 100.0])
    parser.add_argument("--data", type=Path, default=os.environ.get("BETIS_TEST_DATA"))
    arguments = parser.parse_args()
    compute.configure()
    base = thin(load_templates("bpass"), arguments.templates)
    for snr in arguments.snr:
        compare_mocks(base, arguments.mocks, snr)
        pulls_of_many(base, 8 * arguments.mocks, snr)
    if arguments.data:
        compare_real(base, {**sdss(arguments.data), **manga(arguments.data)})


if __name__ == "__main__":
    main()
