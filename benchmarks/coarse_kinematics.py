"""What the kinematics of neighbourhoods are worth: spaxels of low S/N with a velocity gradient.

    python benchmarks/coarse_kinematics.py [--side 16] [--snr 3 5]

Prints the rms errors of velocity and dispersion with ``continuum.kinematics`` "bin" and "coarse".
"""

import argparse
from dataclasses import replace

import numpy as np

from betis import compute
from betis.continuum.coarse import fit_held, neighbourhood_kinematics
from betis.continuum.fit import template_engine
from betis.continuum.on_pixels import Answer, make_pixel_base
from betis.extinction import extinction_curve
from betis.io.templates import load_templates
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, Templates
from betis.wavelength import C_KMS

_WAVE = 4700.0 + 1.25 * np.arange(1600)
_GRADIENT, _SIGMA, _AV = 6.0, 120.0, 0.4
"""km/s a spaxel, km/s, mag."""
_NO_LINES = np.empty(0)


def every_third(base: Templates) -> Templates:
    rows = ("flux", "age", "metallicity", "mass_fraction")
    return replace(base, **{name: getattr(base, name)[::3] for name in rows})


def clean_rows(base: Templates, velocity: np.ndarray) -> Spectra:
    blank = Spectra(_WAVE, np.ones((1, _WAVE.size)), np.ones((1, _WAVE.size)), lsf=2.6)
    level = np.median(base.flux[:, np.abs(base.wave - 5635) < 45], axis=1)
    span = (*np.log(_WAVE[[0, -1]]), 2e-5, 4000.0)
    dense = make_pixel_base(base, blank, level, extinction_curve("CCM89", _WAVE), span)
    light = np.zeros(base.n_template)
    light[[8, 20]] = 1.0
    flux = []
    for value in velocity:
        shift = C_KMS * np.log1p(value / C_KMS)
        answer = Answer(
            shift=shift,
            sigma=_SIGMA,
            hermite=_NO_LINES,
            av=_AV,
            weights=light,
            additive=_NO_LINES,
            multiplicative=_NO_LINES,
        )
        model = dense.model(answer)
        flux.append(model / np.median(model))
    return Spectra(_WAVE, np.array(flux), np.ones((len(flux), _WAVE.size)), lsf=2.6)


def show(name: str, fit: ContinuumFit, velocity: np.ndarray) -> tuple[float, float]:
    rms = [
        float(np.sqrt(np.nanmean(gap**2))) for gap in (fit.velocity - velocity, fit.sigma - _SIGMA)
    ]
    errors = [float(np.nanmedian(value)) for value in (fit.velocity_err, fit.sigma_err)]
    print(
        f"  {name:6} rms of v {rms[0]:.1f}, of sigma {rms[1]:.1f} km/s; stated errors (median) "
        f"{errors[0]:.1f}, {errors[1]:.1f}"
    )
    return rms[0], rms[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--snr", type=float, nargs="*", default=[3.0, 5.0])
    arguments = parser.parse_args()
    compute.configure()
    base = every_third(load_templates("bpass"))
    count = arguments.side**2
    velocity = _GRADIENT * (np.arange(count) % arguments.side - (arguments.side - 1) / 2)
    clean = clean_rows(base, velocity)
    bin_id = np.arange(count, dtype=np.int32).reshape(arguments.side, -1)
    options = ContinuumOptions(kinematics="coarse", coarse_snr=20.0)
    dust = extinction_curve(options.law, _WAVE)
    engine = template_engine(clean, base, options, dust=dust, line_waves=_NO_LINES)
    for snr in arguments.snr:
        noise = np.random.default_rng(1).normal(0, 1 / snr, clean.flux.shape)
        error = np.full(noise.shape, 1 / snr)
        mask = np.zeros(noise.shape, bool)
        spectra = replace(clean, flux=clean.flux + noise, error=error, mask=mask)
        held = neighbourhood_kinematics(spectra, bin_id, engine, options, line_waves=_NO_LINES)
        groups = np.unique(held.velocity[held.is_known]).size
        print(f"S/N {snr:g} a pixel, {count} spaxels in {groups} neighbourhoods of S/N 20:")
        before = show("bin", engine(spectra), velocity)
        after = show("coarse", fit_held(engine, spectra, held), velocity)
        print(f"  smaller by {before[0] / after[0]:.1f} (v) and {before[1] / after[1]:.1f} (sigma)")


if __name__ == "__main__":
    main()
