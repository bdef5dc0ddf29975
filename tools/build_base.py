"""Make the stellar base that betis ships, ``src/betis/data/bpass.npz``, from two public packages.

    python tools/build_base.py                                    # fetches both with pip
    python tools/build_base.py --hoki hoki-1.7.1.tar.gz --mangadap sdss_mangadap-4.5.0-*.whl

It needs betis itself installed (``pip install -e .``). The models are BPASS v2.2.1, binaries,
initial mass function imf135_300 (Eldridge et al. 2017, PASA 34 e058; Stanway & Eldridge 2018,
MNRAS 479 75). Neither package holds the whole of it:

=============  ===========  =======================================================  ============
package        Z            ages, log10 yr                                           wavelengths
=============  ===========  =======================================================  ============
hoki           0.002 0.008  6.0 to 11.0 step 0.1, column 1 + round((log t - 6)/0.1)  1-100000 A
sdss-mangadap  0.008 0.020  7.8 to 10.1 step 0.1, one FITS file each                 3601-10399 A
               0.030
=============  ===========  =======================================================  ============

Both are in solar luminosities per Angstrom for a burst of 10^6 solar masses, sampled at 1 Angstrom
in vacuum. That they are one set is checked at each build on Z = 0.008, which both hold and which
must agree to a part in a million. The same packages give the same arrays, and with the same zlib
the same bytes. See docs/stellar-base.md for what was measured on the result.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from betis.io.templates import describe_templates, save_templates
from betis.products import Templates

HOKI, MANGADAP = "hoki==1.7.1", "sdss-mangadap==4.5.0"
HOKI_MEMBER = "/hoki/data/spectra-bin-imf135_300.z{z}.dat"
MANGADAP_MEMBER = "mangadap/data/spectral_templates/bpass/bin-imf135_300-z{z}-T{gyr:.2f}.fits"
OUTPUT = Path(__file__).parents[1] / "src" / "betis" / "data" / "bpass.npz"

WAVE_RANGE = (3601, 10399)
"""First and last wavelength, Angstrom: the range of sdss-mangadap's files."""

OLD_AGES = (7.8, 8.0, 8.2, 8.4, 8.6, 8.8, 9.0, 9.2, 9.4, 9.6, 9.8, 10.0, 10.1)
"""log10 yr, both packages: every 0.2 dex and the oldest."""

YOUNG_AGES = (6.0, 6.2, 6.3, 6.4, 6.5, 6.6, 6.7, 6.8, 6.9, 7.0, 7.1, 7.2, 7.3, 7.4, 7.6)
"""log10 yr, hoki: every 0.1 dex where O, Wolf-Rayet and red supergiant stars come and go."""

GRID = {
    "002": YOUNG_AGES + OLD_AGES,
    "008": YOUNG_AGES + OLD_AGES,
    "020": OLD_AGES,
    "030": OLD_AGES,
}
"""Ages of each metallicity, the key being the three decimals of Z."""

BURST_MASS = 1e6
"""Solar masses of the burst that BPASS's luminosities are for."""

FWHM = 1.0
"""Angstrom: the pixel, see docs/stellar-base.md."""

MANTISSA_BITS = 18
"""Bits kept of the flux: rounding by less than 4e-6, so that the file is compressed by a fifth."""

# Mass in living stars and in remnants, of 10^6 at birth, from log t = 6.0 in steps of 0.1: BPASS
# v2.2, starmass-bin-imf135_300.z020.dat, from a public copy (neither package holds it). Taken for
# the other metallicities too, at a cost of about 3 per cent; see docs/stellar-base.md.
STARMASS_Z020 = (
    (1000000.0, 0.0),
    (999063.83, 0.0),
    (995590.64, 0.0),
    (989451.66, 0.0),
    (978838.94, 0.0),
    (965488.07, 1164.4),
    (948557.87, 3101.4),
    (930511.78, 4158.3),
    (913344.43, 5701.0),
    (897165.53, 7308.0),
    (881372.48, 8550.8),
    (866758.74, 9904.9),
    (852141.67, 11216.8),
    (840238.61, 12176.6),
    (832330.33, 14159.7),
    (819009.02, 15727.1),
    (808352.91, 17596.9),
    (796762.09, 19045.6),
    (786373.59, 19858.2),
    (774460.00, 20827.6),
    (764197.84, 21215.8),
    (754345.00, 21693.6),
    (741610.92, 22087.7),
    (731915.21, 22395.6),
    (717731.06, 22633.6),
    (708473.86, 22811.9),
    (698521.49, 23002.6),
    (689941.70, 23263.3),
    (679407.43, 23477.6),
    (668459.68, 23819.2),
    (656358.07, 24198.5),
    (645787.62, 25140.4),
    (632508.01, 26386.8),
    (609032.84, 26452.8),
    (594135.78, 26523.2),
    (578946.27, 26621.9),
    (563268.36, 26681.8),
    (547351.38, 26708.7),
    (532950.86, 26712.4),
    (521383.39, 26730.7),
    (508488.33, 26743.6),
    (504016.63, 26770.8),
)

SOURCE = (
    f"BPASS v2.2.1, binaries, imf135_300, from the packages {HOKI} (Z = 0.002, 0.008) and "
    f"{MANGADAP} (Z = 0.020, 0.030), both BSD-3-Clause. Remaining mass (stars and remnants): "
    "BPASS v2.2 at Z = 0.020, for all metallicities. Cite Eldridge et al. 2017, PASA 34 e058, and "
    "Stanway & Eldridge 2018, MNRAS 479 75."
)

Spectrum = NDArray[np.float64]


class PackageError(Exception):
    """A package that does not hold what this script expects of it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the base from the command line."""
    options = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        hoki = options.hoki or fetch_package(HOKI, Path(folder), "--no-binary=:all:")
        mangadap = options.mangadap or fetch_package(MANGADAP, Path(folder), "--only-binary=:all:")
        try:
            templates = build_base(hoki, mangadap)
        except PackageError as error:
            sys.exit(f"build_base: {error}")
    save_templates(options.output, templates)
    for label, text in describe_templates(templates).items():
        print(f"{label:15s} {text}")
    print(f"{'file':15s} {options.output}, {options.output.stat().st_size / 1e6:.2f} MB")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hoki", type=Path, help=f"source archive of {HOKI}; fetched if absent")
    parser.add_argument("--mangadap", type=Path, help=f"wheel of {MANGADAP}; fetched if absent")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file to write (%(default)s)")
    return parser.parse_args(arguments)


def fetch_package(requirement: str, folder: Path, kind: str) -> Path:
    """Download one package, without what it depends on, and return its file."""
    target = tempfile.mkdtemp(dir=folder)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind]
    subprocess.run([*command, "--dest", target, requirement], check=True)
    return next(Path(target).iterdir())


def build_base(
    hoki: Path,
    mangadap: Path,
    grid: dict[str, tuple[float, ...]] = GRID,
    wave_range: tuple[int, int] = WAVE_RANGE,
) -> Templates:
    """Join the two packages into one base.

    Parameters
    ----------
    hoki, mangadap
        Source archive (``.tar.gz``) and wheel.
    grid
        Ages (log10 yr) wanted of each metallicity.
    wave_range : Angstrom
        First and last wavelength.

    Returns
    -------
    Templates in Lsun / Angstrom / Msun at birth, by metallicity, then by age.

    Raises
    ------
    PackageError
        A member is missing or laid out otherwise, or the packages differ where both hold a
        spectrum.
    """
    tables = read_hoki(hoki, [z for z in grid if z in ("002", "008")], wave_range)
    spectra, ages, metallicities = [], [], []
    with zipfile.ZipFile(mangadap) as wheel:
        check_agreement(tables["008"], wheel, set(grid["008"]) & set(OLD_AGES), wave_range)
        for z, log_ages in grid.items():
            for log_age in log_ages:
                if z in tables:
                    spectra.append(tables[z][:, hoki_column(log_age)])
                else:
                    spectra.append(read_mangadap(wheel, z, log_age, wave_range))
                ages.append(log_age)
                metallicities.append(float(f"0.{z}"))
    wave = np.arange(wave_range[0], wave_range[1] + 1, dtype=float)
    return Templates(
        wave=wave,
        flux=round_mantissa(np.array(spectra) / BURST_MASS, MANTISSA_BITS),
        age=10.0 ** np.array(ages),
        metallicity=np.array(metallicities),
        mass_fraction=remaining_mass(ages),
        medium="vacuum",
        fwhm=np.full(wave.size, FWHM),
        name="bpass",
        source=SOURCE,
    )


def hoki_column(log_age: float) -> int:
    """Return the column of a BPASS spectra file that holds an age (log10 yr); 0 = wavelength."""
    return 1 + round((log_age - 6.0) / 0.1)


def read_hoki(
    archive: Path, metallicities: Iterable[str], wave_range: tuple[int, int]
) -> dict[str, Spectrum]:
    """Return, for each metallicity, the rows of BPASS's table within a wavelength range."""
    tables = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            for z in metallicities:
                if member.name.endswith(HOKI_MEMBER.format(z=z)):
                    tables[z] = read_rows(tar.extractfile(member) or (), wave_range)
    for z in metallicities:
        if z not in tables:
            raise PackageError(f"{archive} holds no {HOKI_MEMBER.format(z=z)}; expected {HOKI}")
    return tables


def read_rows(lines: Iterable[bytes], wave_range: tuple[int, int]) -> Spectrum:
    """Return rows of a BPASS table, of which line n is wavelength n Angstrom."""
    first, last = wave_range
    rows = list(islice(lines, first - 1, last))
    table = np.loadtxt(rows, ndmin=2) if rows else np.empty((0, 0))
    if table.shape[1] <= hoki_column(10.1) or not np.array_equal(
        table[:, 0], np.arange(first, last + 1)
    ):
        raise PackageError(
            f"a BPASS table has shape {table.shape} from {first} to {last} Angstrom; expected one "
            f"row an Angstrom and 52 columns, as in {HOKI}"
        )
    return table


def read_mangadap(
    wheel: zipfile.ZipFile, z: str, log_age: float, wave_range: tuple[int, int]
) -> Spectrum:
    """Return one spectrum of the wheel, as BPASS gave it (a burst of 10^6 solar masses)."""
    name = MANGADAP_MEMBER.format(z=z, gyr=log_age - 9.0)
    try:
        content = wheel.read(name)
    except KeyError as error:
        raise PackageError(f"{wheel.filename} holds no {name}; expected {MANGADAP}") from error
    flux, header = fits.getdata(io.BytesIO(content), header=True)
    start = wave_range[0] - round(header["CRVAL1"])
    stop = wave_range[1] - round(header["CRVAL1"]) + 1
    if header["CDELT1"] != 1.0 or header["CRPIX1"] != 1 or start < 0 or stop > flux.size:
        raise PackageError(
            f"{name} does not cover {wave_range} Angstrom in steps of 1; expected {MANGADAP}"
        )
    return np.asarray(flux[start:stop], dtype=float)


def check_agreement(
    table: Spectrum, wheel: zipfile.ZipFile, log_ages: Iterable[float], wave_range: tuple[int, int]
) -> None:
    """Raise unless the packages hold the same spectra of Z = 0.008."""
    for log_age in sorted(log_ages):
        theirs = read_mangadap(wheel, "008", log_age, wave_range)
        if not np.allclose(table[:, hoki_column(log_age)], theirs, rtol=1e-6, atol=0.0):
            raise PackageError(
                f"the packages differ at Z = 0.008 and log age {log_age}, so they are not of one "
                f"BPASS release; expected {HOKI} and {MANGADAP}"
            )


def remaining_mass(log_ages: Sequence[float]) -> Spectrum:
    """Return the mass in stars and remnants, per mass at birth, at each age (log10 yr)."""
    total = np.array(STARMASS_Z020).sum(axis=1) / BURST_MASS
    return total[[round((log_age - 6.0) / 0.1) for log_age in log_ages]]


def round_mantissa(values: Spectrum, bits: int) -> Spectrum:
    """Return values rounded to a number of bits, which single precision holds exactly."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)


if __name__ == "__main__":
    main()
