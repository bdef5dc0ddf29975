"""The native engine against STARLIGHT: same spectra, base, pixels, weights, range and law.

    python benchmarks/starlight_parity.py [--data ../shared/data]

The spectra are 48 spaxels of KUG 0210-078 with their outputs of STARLIGHT v04. Both fit exactly the
pixels that STARLIGHT kept, with the weights it printed. Its errors are some 90 times too large, so
that they are scaled to a reduced chi2 of 1; the solution does not depend on that.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from betis import compute
from betis.continuum.fit import fit_all, template_engine
from betis.errors import InputError
from betis.extinction import extinction_curve
from betis.flags import Flag
from betis.io.starlight.output import StarlightOutput, read_output
from betis.io.templates import load_templates
from betis.options import ContinuumOptions
from betis.products import ContinuumFit, Spectra, Templates

_OPTIONS = ContinuumOptions(
    mask_lines=False, clip=0.0, max_velocity=500.0, max_sigma=500.0, min_av=-1.0, max_av=4.0
)
_BRIGHT = 8.0
"""S/N a pixel from which a spectrum says something of its stars."""
_KNOWN_ERROR = 0.01
"""Of a synthetic spectrum without noise, over its level; the solution does not depend on it."""
_NORM_WAVE = 5635.0
_VALUES = {
    "velocity": ("v0_min", "km/s"),
    "sigma": ("vd_min", "km/s"),
    "av": ("AV_min", "mag"),
}


def outputs(folder: Path) -> list[StarlightOutput]:
    """Return the whole ones."""
    found = []
    for path in sorted(folder.glob("*.BN")):
        try:
            found.append(read_output(path))
        except InputError:
            continue
    return [one for one in found if np.isfinite(one.weight).all() and np.isfinite(one.flux).all()]


def fit(
    flux: np.ndarray, error: np.ndarray, found: list[StarlightOutput], base: Templates
) -> tuple[Spectra, ContinuumFit]:
    """Fit rows on STARLIGHT's pixels, at the resolution of the base, as it takes theirs to be."""
    wave = found[0].wave
    used = np.array([one.used for one in found])
    lsf = np.interp(wave, base.wave, base.fwhm)
    spectra = Spectra(wave, flux, np.where(used, error, 0.0), ~used, medium="air", lsf=lsf)
    dust = extinction_curve("CCM89", wave)
    engine = template_engine(spectra, base, _OPTIONS, dust=dust, line_waves=np.empty(0))
    return spectra, fit_all(engine, spectra)


def mean_log_ages(found: list[StarlightOutput], base: Templates) -> np.ndarray:
    """Return STARLIGHT's means by light, its light taken from its wavelength to betis's."""
    light = np.array([one.light for one in found])
    red, blue = (level(base, wave) for wave in (_NORM_WAVE, found[0].value("l_norm")))
    share = light * (red / blue)
    return np.asarray(share @ np.log10(base.age) / share.sum(axis=1))


def level(base: Templates, wave: float) -> np.ndarray:
    near = np.abs(base.wave - wave) < 45.0 if wave == _NORM_WAVE else np.abs(base.wave - wave) < 1
    return np.median(base.flux[:, near], axis=1)


def said(found: list[StarlightOutput], label: str) -> np.ndarray:
    return np.array([one.value(label) for one in found])


def compare_quality(spectra: Spectra, model: np.ndarray, found: list[StarlightOutput]) -> None:
    """Print how near both models come to the data."""
    peer = np.array([one.model for one in found])
    used = ~spectra.mask
    plain = [np.where(used, spectra.flux - one, 0.0) for one in (model, peer)]
    rms = [np.sqrt(np.sum(one**2, axis=1) / used.sum(axis=1)) for one in plain]
    chi2 = [np.sum((one / spectra.error) ** 2, axis=1) for one in plain]
    for name, (mine, theirs) in (("rms of f_obs - f_syn", rms), ("chi2", chi2)):
        ratio = mine / theirs
        print(
            f"{name}: native over STARLIGHT median {np.median(ratio):.3f}, up to {ratio.max():.3f};"
            f" not larger in {np.mean(ratio <= 1):.0%} of {ratio.size} spectra"
        )


def compare_values(result: ContinuumFit, found: list[StarlightOutput], ages: np.ndarray) -> None:
    """Print native minus STARLIGHT: median, and half of what holds 68 %."""
    gaps = {
        f"{name} ({unit})": getattr(result, name) - said(found, label)
        for name, (label, unit) in _VALUES.items()
    }
    gaps["mean log age (dex)"] = result.mean_log_age_light - ages
    for name, gap in gaps.items():
        low, middle, high = np.percentile(gap, [16, 50, 84])
        print(f"  {name:20} {middle:+8.3f} ({(high - low) / 2:.3f})")
    at_bound = int(((result.flags & Flag.AT_BOUND) > 0).sum())
    print(f"  {at_bound} of {len(found)} native fits end on a bound")


def select(
    result: ContinuumFit, rows: np.ndarray, found: list[StarlightOutput]
) -> tuple[ContinuumFit, list[StarlightOutput]]:
    return result.take(rows), [one for one, keep in zip(found, rows, strict=True) if keep]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("BETIS_TEST_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    folder = parser.parse_args().data / "starlight"
    compute.configure()
    base = load_templates(
        folder / "kug0210-078" / "Base.CB07.vall.4m", spectra_dir=folder / "base_cb07"
    )
    found = outputs(folder / "kug0210-078")
    flux = np.array([one.flux for one in found])
    weight = np.array([np.where(one.used, one.weight, 1.0) for one in found])
    unit = np.sqrt(said(found, "chi2/Nl_eff"))[:, None]
    spectra, result = fit(flux, unit / weight, found, base)
    compare_quality(spectra, result.model, found)
    ages = mean_log_ages(found, base)
    scatter = [np.std((one.flux - one.model)[one.used]) for one in found]
    bright = 1 / np.array(scatter) >= _BRIGHT
    for name, rows in (("above", bright), ("below", ~bright)):
        print(f"\nS/N a pixel {name} {_BRIGHT:g}, native - STARLIGHT: median (half of 68 %)")
        compare_values(*select(result, rows, found), ages[rows])
    synthetic = np.array([one.model for one in found])
    _, again = fit(synthetic, np.full_like(synthetic, _KNOWN_ERROR), found, base)
    print("\nSTARLIGHT's own synthetic spectra, fitted by betis; betis - STARLIGHT, S/N above")
    compare_values(*select(again, bright, found), ages[bright])


if __name__ == "__main__":
    main()
