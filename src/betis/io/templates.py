"""Stellar bases: the one that betis ships, and readers of those that others make.

What a file is, is told by its first bytes, not by its name:

=====================  ==========================================================
the package's own      ``.npz`` written by `save_templates`
MILES, E-MILES, ...    FITS, one spectrum a file: a file, a folder, or a pattern
STARLIGHT              a base list (``Base.*``) whose spectra lie beside it or in
                       ``spectra_dir``
=====================  ==========================================================
"""

import os
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from betis.arrays import F64
from betis.errors import InputError
from betis.io.template_files import FORMAT, SHIPPED, check_sign, read_base, read_npz
from betis.products import Templates

__all__ = [
    "describe_templates",
    "list_templates",
    "load_templates",
    "save_templates",
]

_Vector = Float[F64, " wave"]


def list_templates() -> tuple[str, ...]:
    """Return the names of the bases that the package ships."""
    return SHIPPED


def load_templates(
    source: str | Path = "bpass",
    *,
    spectra_dir: str | Path | None = None,
    fwhm: float | None = None,
) -> Templates:
    """Read a stellar base.

    Parameters
    ----------
    source
        The name of a shipped base (`list_templates`); or the path of a base that `save_templates`
        wrote, of a FITS spectrum, of a folder of FITS spectra or a pattern such as
        ``miles/*.fits``, or of a STARLIGHT base list. A file that bears the name of a shipped
        base is reached as ``./bpass``.
    spectra_dir
        Folder of the spectra that a STARLIGHT list names; beside the list if not given.
    fwhm : Angstrom
        Resolution of the base, in place of the one that the reader assumes.

    Returns
    -------
    Templates, in the order of the file or the list; FITS spectra by metallicity, then by age.

    Raises
    ------
    InputError
        No such file, a format that is none of these, no spectrum, a spectrum that is missing or
        has another axis than the first, an axis that does not increase, a value that is not finite.

    Notes
    -----
    What the files do not say is assumed, and `Templates.source` repeats it. MILES, MIUSCAT and
    E-MILES: air; FWHM 2.51 Angstrom, for E-MILES between 3541.4 and 8950.4 only (3 below 3060.8,
    5 up to 3541.4, 60 km/s in dispersion above 8950.4: Vazdekis et al. 2016, MNRAS 463 3409);
    Z = 0.019 x 10^[M/H]; remaining mass unknown, hence 1. STARLIGHT: air; FWHM 2.51 Angstrom
    where the names of the spectra say MILES, else the 3 of STELIB, and never less than a pixel.
    """
    if str(source) in SHIPPED:
        with resources.as_file(resources.files("betis") / "data" / f"{source}.npz") as shipped:
            templates = read_npz(shipped)
    else:
        path = Path(source).expanduser()
        templates = read_base(path, Path(spectra_dir).expanduser() if spectra_dir else path.parent)
    if fwhm is None:
        return templates
    resolution = np.full(templates.wave.size, float(fwhm))
    check_sign(str(source), "fwhm", resolution, ">")
    note = f"{templates.source}; FWHM set to {fwhm} Angstrom"
    return replace(templates, fwhm=resolution, source=note)


def save_templates(path: str | Path, templates: Templates) -> None:
    """Write a base as the package's own ``.npz``; reading it back gives the same numbers.

    The flux is kept in single precision where that loses nothing. The same base gives the same
    bytes, and a file of that name is replaced only by a complete one.

    Raises
    ------
    InputError
        The folder does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent} to write {target.name} in; create it")
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as stream:
            np.savez_compressed(
                stream,
                format=np.array(FORMAT),
                wave=templates.wave,
                flux=_as_single_if_exact(templates.flux),
                age=templates.age,
                metallicity=templates.metallicity,
                mass_fraction=templates.mass_fraction,
                fwhm=templates.fwhm,
                medium=np.array(templates.medium),
                name=np.array(templates.name),
                source=np.array(templates.source),
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def describe_templates(templates: Templates) -> dict[str, str]:
    """Return what a base holds, as label and text, in the order to be printed."""
    wave, ages = templates.wave, np.unique(templates.age)
    known_mass = bool(np.any(templates.mass_fraction != 1.0))
    return {
        "name": templates.name,
        "templates": str(templates.flux.shape[0]),
        "ages": f"{ages.size}, {_age_text(ages[0])} to {_age_text(ages[-1])}",
        "metallicities": ", ".join(f"{z:.4g}" for z in np.unique(templates.metallicity)),
        "wavelengths": f"{wave[0]:.1f} to {wave[-1]:.1f} Angstrom, {wave.size} pixels",
        "medium": templates.medium,
        "fwhm": _fwhm_text(templates.fwhm),
        "remaining mass": "given" if known_mass else "unknown (1 for every template)",
        "source": templates.source,
    }


def _age_text(age: float) -> str:
    return f"{age / 1e6:.4g} Myr" if age < 1e9 else f"{age / 1e9:.3g} Gyr"


def _fwhm_text(fwhm: _Vector) -> str:
    low, middle, high = np.percentile(fwhm, [0, 50, 100])
    extent = "" if low == high else f" (median; {low:.2f} to {high:.5g})"
    return f"{middle:.2f} Angstrom{extent}"


def _as_single_if_exact(flux: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    with np.errstate(over="ignore"):
        single = np.asarray(flux).astype(np.float32)
    return single if np.array_equal(single, flux) else np.asarray(flux)
