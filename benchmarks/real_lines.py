"""Lines of real galaxies beside those that others measured, and what is left of a real cube.

Run with ``python benchmarks/real_lines.py [section ...] [--keep FOLDER]`` in the checkout; sections
are sami, repeats, sdss, sets and residuals, all where none is given. The runs go to FOLDER, and are
not made again there. Real data are read from ``BETIS_TEST_DATA`` or ``../shared/data``; without
them nothing is printed but that. The figures are explained in ``docs/validation.md``.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import betis
from betis import compute, pipeline
from betis.flags import Flag
from betis.io.row_products import read_lines, read_spectra
from betis.products import ContinuumFit, LineFit, Spectra, Templates

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.real import residual_maps, sami_maps, sdss_tables  # noqa: E402

DATA = Path(os.environ.get("BETIS_TEST_DATA", ROOT.parent / "shared" / "data"))
SAMI, MUSE = DATA / "sami", DATA / "muse" / "a478_bcg.fits"
CB07 = DATA / "starlight" / "kug0210-078" / "Base.CB07.vall.4m"
A478 = {"prepare": {"redshift": 0.0858, "av": 1.5}, "snr": {"line": "SII6716"}}


def bases() -> dict[str, Templates]:
    """Return the shipped base, of theoretical spectra, and one of observed stars (MILES)."""
    folder = DATA / "starlight" / "base_cb07"
    return {
        "bpass": betis.load_templates("bpass"),
        "cb07": betis.load_templates(CB07, spectra_dir=folder),
    }


def run_of(name: str, keep: Path) -> Path:
    """Return the folder of a run of SAMI, made where it is not there."""
    return sami_maps.run_sectors(SAMI, name, keep / name)


def fit_of(run: Path, base: Templates, **options: str) -> tuple[ContinuumFit, LineFit]:
    """Fit stars and lines of the spectra of a run."""
    spectra = read_spectra(run / "spectra.fits").take(slice(None))
    stars = betis.fit_continuum(spectra, base)
    return stars, betis.fit_lines(spectra.subtract(stars), continuum=stars, **options)


def sami(keep: Path) -> None:
    print("galaxy    base  kinematics     line        n  median     p16    p84   shift  error")
    for name in sami_maps.REDSHIFT:
        run = run_of(name, keep)
        for base, templates in bases().items():
            for kinematics in ("set", "one"):
                stars, lines = fit_of(run, templates, kinematics=kinematics)
                _print_galaxy(f"{name:9s} {base:6s} {kinematics:4s}", name, run, lines)
                chi2 = np.nanmedian(stars.chi2 / stars.dof)
                print(f"{name:9s} {base:6s} chi2/dof of the continuum {chi2:.2f}")


def _print_galaxy(head: str, name: str, run: Path, lines: LineFit) -> None:
    sectors = sami_maps.sectors_of(run, lines)
    for line in sami_maps.SURVEY:
        print(head, f"{line:9s}", sami_maps.compare_flux(SAMI, name, line, sectors))
    for line in ("Ha6563", "NII6583"):
        found = sami_maps.compare_velocity(SAMI, name, sectors, line)
        far = np.abs(found.left)
        print(
            head,
            f"{line} velocity: slope {found.slope:.3f} offset {found.offset:+.2f} km/s, then rms "
            f"{np.std(found.left):.2f}, largest {far.max():.2f}, {np.mean(far < 3):.0%} within 3",
        )


def repeats(keep: Path) -> None:
    one, other = (sami_maps.sectors_of(run_of(name, keep)) for name in ("41144_A", "41144_B"))
    print("overlap  line       n  factor     raw  scaled  relative")
    for least in (0.3, 0.4, 0.5, 0.6):
        found = {line: sami_maps.compare_repeats(one, other, line, least) for line in _compared()}
        for line, repeat in found.items():
            print(f"{least:5.1f}    {line:9s}", repeat)
        pooled = np.sqrt(np.nanmean([repeat.relative**2 for repeat in found.values()]))
        print(f"{least:5.1f}    all relative {pooled:.2f}")


def _compared() -> tuple[str, ...]:
    return tuple(line for line in sami_maps.SURVEY if line != "OI6300")


def sdss(_: Path) -> None:
    _print_dobby()
    ratios: dict[tuple[str, str], list[float]] = {}
    for name, templates in bases().items():
        for path in sdss_tables.sdss_paths(DATA / "spectra" / "sdss"):
            spectra = sdss_tables.sdss_spectrum(path)
            lines = _lines_of(spectra, templates)
            for line, (flux, error) in sdss_tables.sdss_lines(path).items():
                if flux > 10 * error:
                    ratio = float(lines.flux[0, lines.index(line)] / flux)
                    ratios.setdefault((name, line), []).append(ratio)
    for (name, line), found in ratios.items():
        print(f"SDSS {name:6s} {line:9s} {np.median(found):.3f}", np.round(found, 3))


def _lines_of(spectra: Spectra, templates: Templates) -> LineFit:
    stars = betis.fit_continuum(spectra, templates)
    return betis.fit_lines(spectra.subtract(stars), continuum=stars)


def _print_dobby() -> None:
    gas = sdss_tables.starlight_residual(DATA / "starlight" / "v05")
    table = sdss_tables.dobby_table(DATA / "spectra" / "dobby")
    lines = betis.fit_lines(gas)
    print("DOBBY line       ratio  error  summed  velocity")
    for ours, theirs in sdss_tables.DOBBY.items():
        at, (flux, velocity) = lines.index(ours), table[theirs]
        print(
            f"DOBBY {ours:9s} {lines.flux[0, at] / flux:6.3f} {lines.flux_err[0, at] / flux:6.3f} "
            f"{lines.flux_direct[0, at] / flux:6.3f} {lines.velocity[0, at] - velocity:+8.1f}"
        )
    alpha = table["Halpha"][0]
    for name in ("Hbeta", "Hgamma"):
        print(f"DOBBY's table: Halpha / {name} = {alpha / table[name][0]:.5f}")


def sets(keep: Path) -> None:
    print("run      line                   n  betis41/standard (p5 p95)  in errors  velocity km/s")
    for name, run in (("41144_A", run_of("41144_A", keep)), ("a478", _a478(keep))):
        first = read_lines(run / "lines.fits")
        residuals = residual_maps.residuals_of(run)
        second = betis.fit_lines(residuals.gas, "betis41", continuum=residuals.stars)
        for line in first.names:
            _print_line(name, line, first, second)


def _print_line(name: str, line: str, first: LineFit, second: LineFit) -> None:
    if line not in second.names:
        return
    i, j = first.index(line), second.index(line)
    free = (first.flags[:, i] | second.flags[:, j]) & Flag.AT_BOUND == 0
    alone = np.isnan(second.flux[:, second.index("Ha6563_remnant")])
    for text, kept in (("", alone), (" + remnant", ~alone)):
        good = free & kept & (first.snr[:, i] > 10)
        if good.sum() < 4:
            continue
        speed = second.velocity[good, j] - first.velocity[good, i]
        low, middle, high = np.percentile(second.flux[good, j] / first.flux[good, i], [5, 50, 95])
        shift = (second.flux[good, j] - first.flux[good, i]) / first.flux_err[good, i]
        print(
            f"{name:8s} {line + text:19s} {good.sum():4d}  {middle:.4f} ({low:.3f} {high:.3f})  "
            f"{np.median(shift):+.2f} +- {np.std(shift):.2f}  "
            f"{np.median(speed):+.2f} +- {np.std(speed):.2f}"
        )


def _a478(keep: Path) -> Path:
    output = keep / "a478"
    pipeline.execute(pipeline.open_run(output, MUSE, A478), "lines")
    return output


def residuals(keep: Path) -> None:
    one = residual_maps.residuals_of(_a478(keep))
    places = {
        name: residual_maps.core_of(one, lines) for name, lines in residual_maps.GROUPS.items()
    }
    controls = residual_maps.CONTROLS.items()
    places |= {name: residual_maps.control_of(one, wave) for name, wave in controls}
    print("A478         components  chi2/n bright   mean spread  Moran  sigma  rank with flux")
    for name, pixels in places.items():
        print(f"{name:14s} {1:8d}", residual_maps.structure(one, pixels))
    lines = betis.fit_lines(one.gas, continuum=one.stars, components=2)
    two = residual_maps.with_lines(one, lines)
    kept = np.isfinite(lines.flux[:, lines.index("Ha6563_2")])
    for name in residual_maps.GROUPS:
        print(f"{name:14s} {2:8d}", residual_maps.structure(two, places[name]))
    squares = [
        np.median(residual_maps.scatter_and_mean(left, places["Ha + [N II]"])[0][kept])
        for left in (one, two)
    ]
    print(f"{kept.sum()} of {kept.size} bins have two components; there {np.round(squares, 2)}")


SECTIONS = {"sami": sami, "repeats": repeats, "sdss": sdss, "sets": sets, "residuals": residuals}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", nargs="*", choices=[*SECTIONS, []])
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    if not SAMI.is_dir():
        print(f"the real data are not in {DATA}: nothing to compare with")
        return
    compute.configure()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.section or SECTIONS:
            print(f"\n# {name}", flush=True)
            SECTIONS[name](given.keep or Path(folder))


if __name__ == "__main__":
    main()
