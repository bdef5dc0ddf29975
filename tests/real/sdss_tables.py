"""SDSS spectra whose lines others have measured."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from betis.linelist import load_line_set
from betis.lsf import FWHM_PER_SIGMA
from betis.products import Spectra
from betis.wavelength import C_KMS

STARLIGHT = "0480.51989.341.7xt"
DOBBY = {
    "Ha6563": "Halpha",
    "OIII5007": "[OIII]5007",
    "OIII4959": "[OIII]4959",
    "OII3726": "[OII]3726",
    "OII3729": "[OII]3729",
    "SII6716": "[SII]6716",
    "SII6731": "[SII]6731",
    "NII6583": "[NII]6584",
    "Hb4861": "Hbeta",
    "Hg4340": "Hgamma",
}
"""Our name of each line, and that of the table."""


def starlight_residual(folder: Path) -> Spectra:
    """The residual of STARLIGHT's fit of an SDSS spectrum, in the input's flux unit."""
    lines = (folder / f"{STARLIGHT}.sc5.C11.im.BS").read_text().splitlines()
    norm = next(float(text.split()[0]) for text in lines if "[fobs_norm" in text)
    first = next(number for number, text in enumerate(lines) if "[Nl_obs" in text) + 1
    count = int(lines[first - 1].split()[0])
    wave, flux, model = np.loadtxt(lines[first : first + count], usecols=(0, 1, 2)).T
    observed = np.loadtxt(folder / STARLIGHT)
    error, flag = (np.interp(wave, observed[:, 0], observed[:, column]) for column in (2, 3))
    lsf = FWHM_PER_SIGMA * 58.0 / C_KMS * wave
    return Spectra(wave, (flux - model) * norm, error, flag >= 2, lsf=lsf)


def dobby_table(folder: Path) -> dict[str, tuple[float, float]]:
    """Flux and velocity (km/s) of each line of DOBBY's table of that residual."""
    rows = (text.split() for text in next(folder.glob("*.ElGAk1b1.txt")).read_text().splitlines())
    return {row[1]: (float(row[3]), float(row[5])) for row in list(rows)[2:] if len(row) > 5}


def sdss_paths(folder: Path) -> list[Path]:
    """The spectra of SDSS."""
    return sorted(folder.glob("spec-*.fits"))


def sdss_spectrum(path: Path) -> Spectra:
    """One spectrum of SDSS at rest: vacuum, a logarithmic axis, a resolution for each pixel."""
    with fits.open(path) as hdus:
        table, redshift = hdus[1].data, float(hdus[2].data["Z"][0])
        wave = 10 ** table["loglam"].astype(float)
        flux, ivar, width = (table[name].astype(float) for name in ("flux", "ivar", "wdisp"))
    stretch = 1 + redshift
    error = np.divide(1.0, np.sqrt(ivar), out=np.zeros_like(ivar), where=ivar > 0)
    lsf = FWHM_PER_SIGMA * width * np.log(10) * 1e-4 * wave
    return Spectra(
        wave / stretch,
        flux * stretch,
        error * stretch,
        ivar <= 0,
        medium="vacuum",
        lsf=lsf / stretch,
        redshift=redshift,
    )


def sdss_lines(path: Path) -> dict[str, tuple[float, float]]:
    """Flux and error of each line that SDSS's own fit (SPZLINE) has measured."""
    lines = load_line_set().lines
    vacuum = np.array([line.vacuum for line in lines])
    found = {}
    with fits.open(path) as hdus:
        for row in hdus[3].data:
            at = int(np.argmin(np.abs(vacuum - row["LINEWAVE"])))
            if abs(vacuum[at] - row["LINEWAVE"]) < 1.5 and row["LINEAREA_ERR"] > 0:
                found[lines[at].name] = (float(row["LINEAREA"]), float(row["LINEAREA_ERR"]))
    return found
