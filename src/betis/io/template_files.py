"""What a stellar base may be on disk: betis's own npz, FITS spectra, a STARLIGHT base list.

What a file is, is told by its first bytes, not by its name.
"""

import re
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from betis.arrays import F64
from betis.errors import InputError
from betis.products import Templates
from betis.wavelength import C_KMS, Medium, read_axis

__all__ = ["FORMAT", "SHIPPED", "base_list_spectra", "check_sign", "read_base", "read_npz"]

SHIPPED = ("bpass",)
FORMAT = "betis templates 1"
_STRINGS = ("medium", "name", "source")
_ARRAYS = ("wave", "flux", "age", "metallicity", "mass_fraction", "fwhm")

_FITS_MAGIC, _GZIP_MAGIC, _ZIP_MAGIC = b"SIMPLE  =", b"\x1f\x8b", b"PK"
_LIST_ROW = "spectrum age Z code remaining_mass YAV a/Fe"

_SOLAR_Z = 0.019
"""Z of [M/H] = 0 in the MILES models: Padova isochrones, Girardi et al. 2000, A&AS 141 371."""
_MILES_FWHM = 2.51
"""Angstrom; Falcon-Barroso et al. 2011, A&A 532 A95."""
_STELIB_FWHM = 3.0
"""Angstrom; the library of BC03: Bruzual & Charlot 2003, MNRAS 344 1000, section 2.2."""

_EMILES_NAME = re.compile(r"E[a-z]{2}\d")
_IN_NAME = re.compile(r"Z(?P<sign>[mp])(?P<mh>\d+\.\d+)T(?P<gyr>\d+\.\d+)")
_IN_COMMENT = (
    re.compile(r"Age, \[M/H\]:\s*(?P<gyr>[\d.]+)\s*,\s*(?P<mh>[-+\d.]+)"),
    re.compile(r"Age \(Gyr\):\s*(?P<gyr>[\d.]+).*?\[M/H\]:\s*(?P<mh>[-+\d.]+)", re.DOTALL),
)

_Vector = Float[F64, " wave"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ssp:
    """One spectrum of a base: age in yr, metallicity as mass fraction, 1 = mass unknown."""

    file: str
    wave: _Vector
    flux: _Vector
    age: float
    metallicity: float
    mass_fraction: float = 1.0
    medium: Medium = "air"

    def __post_init__(self) -> None:
        _check_axis(self.file, self.wave)
        _check_finite(self.file, "flux", self.flux)


def read_base(path: Path, spectra_dir: Path) -> Templates:
    """Read whatever is at a path that is not the name of a shipped base."""
    if path.is_dir():
        return _read_fits([file for file in sorted(path.iterdir()) if _is_fits(file)], path)
    if not path.is_file():
        return _read_fits(_files_of_pattern(path), path)
    if _is_fits(path):
        return _read_fits([path], path)
    if _first_bytes(path, len(_ZIP_MAGIC)) == _ZIP_MAGIC:
        return read_npz(path)
    if _is_base_list(path):
        return _read_starlight(path, spectra_dir)
    raise InputError(
        f"{path} is neither a base written by betis, nor a FITS spectrum, nor a STARLIGHT base "
        "list; convert it to one of these"
    )


def _files_of_pattern(path: Path) -> list[Path]:
    """Return the files that a path with wildcards stands for, in order."""
    if not any(wildcard in str(path) for wildcard in "*?["):
        raise InputError(
            f"there is no stellar base {path}; give one of {', '.join(SHIPPED)}, or the path of "
            "an .npz or FITS file, of a folder of FITS spectra, or of a STARLIGHT base list"
        )
    root = Path(path.anchor or ".")
    return sorted(file for file in root.glob(str(path.relative_to(path.anchor))) if _is_fits(file))


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(count)


def _is_fits(path: Path) -> bool:
    if not path.is_file():
        return False
    first = _first_bytes(path, len(_FITS_MAGIC))
    return first == _FITS_MAGIC or (first.startswith(_GZIP_MAGIC) and ".fit" in path.name.lower())


def base_list_spectra(path: Path, *folders: str | Path) -> list[Path]:
    """Return the spectra that a STARLIGHT base list names; none for what is no such list.

    Parameters
    ----------
    path
        Of what may be one.
    folders
        Where the spectra may lie, beside the list.
    """
    try:
        is_list = path.is_file() and _is_base_list(path)
    except OSError:  # who reads the file itself will say why it cannot be read
        is_list = False
    if not is_list:
        return []
    names = [line.split()[0] for line in path.read_text("latin-1").splitlines()[1:] if line.split()]
    places = [path.parent, *map(Path, folders)]
    return [place / name for name in names for place in places if (place / name).is_file()]


def _is_base_list(path: Path) -> bool:
    """Tell a STARLIGHT list by its first line: the number of spectra, then perhaps a comment."""
    first_line, _, rest = _first_bytes(path, 4096).partition(b"\n")
    is_count = re.fullmatch(rb"\s*\d+\s*(\[.*)?", first_line)
    return bool(is_count and len(rest.split(None, 5)) > 4)


def read_npz(path: Path) -> Templates:
    """Read a base that `save_templates` wrote."""
    expected = {"format", *_ARRAYS, *_STRINGS}
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            stored = {key: archive[key] for key in expected & set(archive.files)}
        arrays = {key: np.asarray(stored[key], dtype=float) for key in _ARRAYS if key in stored}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read as a base ({error}); write it again with save_templates"
        ) from error
    missing = sorted(expected - stored.keys())
    if missing or str(stored["format"]) != FORMAT:
        found = f"it lacks {', '.join(missing)}" if missing else f"it says {stored['format']}"
        raise InputError(f"{path} is not a base in the format {FORMAT!r}: {found}; convert it")
    return _checked(str(path), arrays | {key: str(stored[key]) for key in _STRINGS})


def _read_fits(files: Sequence[Path], origin: Path) -> Templates:
    """Read a set of FITS spectra of the MILES family."""
    if not files:
        raise InputError(f"there is no FITS spectrum in {origin}; expected one file a template")
    spectra = sorted((_read_ssp(file) for file in files), key=lambda s: (s.metallicity, s.age))
    wave = spectra[0].wave
    is_emiles = bool(_EMILES_NAME.match(Path(spectra[0].file).name))
    fwhm = _emiles_fwhm(wave) if is_emiles else np.full(wave.size, _MILES_FWHM)
    resolution = "that of E-MILES" if is_emiles else f"{_MILES_FWHM} Angstrom"
    return _join(
        spectra,
        fwhm=fwhm,
        name=files[0].stem if len(files) == 1 else files[0].resolve().parent.name,
        source=f"{len(files)} FITS spectra; FWHM taken as {resolution}, remaining mass unknown",
    )


def _read_ssp(path: Path) -> _Ssp:
    """Read one FITS spectrum: the first image, its linear or logarithmic axis, its age and Z."""
    from astropy.io import fits

    try:
        flux, header = fits.getdata(path, header=True)
    except (OSError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as FITS ({error}); fetch it again") from error
    if flux.ndim != 1 or flux.dtype.names:
        found = "a table" if flux.dtype.names else f"an image of shape {flux.shape}"
        raise InputError(
            f"{path} holds {found}, where one spectrum (an image of one axis) is needed"
        )
    try:
        axis = read_axis(header, axis=1)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    age, metallicity = _age_and_metallicity(path, "\n".join(map(str, header.get("COMMENT", []))))
    return _Ssp(
        file=str(path),
        wave=axis.wave,
        flux=np.asarray(flux, dtype=float),
        age=age,
        metallicity=metallicity,
        medium=axis.medium or "air",
    )


def _age_and_metallicity(path: Path, comments: str) -> tuple[float, float]:
    """Return age (yr) and Z, from the MILES comments in the header or from the file's name."""
    for pattern in _IN_COMMENT:
        if found := pattern.search(comments):
            return 1e9 * float(found["gyr"]), _SOLAR_Z * 10.0 ** float(found["mh"])
    if found := _IN_NAME.search(path.name):
        sign = -1.0 if found["sign"] == "m" else 1.0
        return 1e9 * float(found["gyr"]), _SOLAR_Z * 10.0 ** (sign * float(found["mh"]))
    raise InputError(
        f"neither the header nor the name of {path} gives age and metallicity; expected MILES "
        "comments or a name such as Mun1.30Zp0.00T01.0000_iPp0.00_baseFe.fits"
    )


def _emiles_fwhm(wave: _Vector) -> _Vector:
    """Return the FWHM (Angstrom) of E-MILES; see `load_templates` for the source."""
    infrared = 2.0 * np.sqrt(2.0 * np.log(2.0)) * 60.0 / C_KMS * wave
    steps = [wave < 3060.8, wave < 3541.4, wave < 8950.4]
    return np.asarray(np.select(steps, [3.0, 5.0, _MILES_FWHM], infrared))


def _read_starlight(path: Path, folder: Path) -> Templates:
    """Read a STARLIGHT base list and its spectra."""
    first, *others = path.read_text(encoding="latin-1").splitlines()
    count = int(first.split()[0])
    rows = [fields for fields in map(str.split, others) if fields and not fields[0].startswith("#")]
    if count < 1 or len(rows) < count:
        raise InputError(
            f"the base list {path} announces {count} spectra and names {len(rows)}; expected at "
            "least one, and a line for each"
        )
    spectra = [_read_list_row(row, path, folder) for row in rows[:count]]
    is_miles = all("miles" in spectrum.file.lower() for spectrum in spectra)
    fwhm = _MILES_FWHM if is_miles else _STELIB_FWHM
    return _join(
        spectra,
        fwhm=np.maximum(fwhm, np.gradient(spectra[0].wave)),
        name=path.name,
        source=f"STARLIGHT base list {path.name}; FWHM taken as {fwhm} Angstrom",
    )


def _read_list_row(row: Sequence[str], path: Path, folder: Path) -> _Ssp:
    """Read the spectrum of one row of a base list: name, age, Z, code, remaining mass."""
    try:
        age, metallicity, mass = float(row[1]), float(row[2]), float(row[4])
    except (IndexError, ValueError) as error:
        raise InputError(
            f"the line {' '.join(row)!r} of the base list {path} is not '{_LIST_ROW}'; correct it"
        ) from error
    spectrum = folder / row[0]
    if not spectrum.is_file():
        raise InputError(
            f"the base list {path} names {row[0]}, which is not in {folder}; put the spectra "
            "there or give their folder as spectra_dir"
        )
    wave, flux = _read_columns(spectrum)
    return _Ssp(
        file=row[0],
        wave=wave,
        flux=flux,
        age=age,
        metallicity=metallicity,
        mass_fraction=mass,
    )


def _read_columns(path: Path) -> tuple[_Vector, _Vector]:
    """Return the first two columns of a text file: wavelength (Angstrom) and flux."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # how numpy tells that a file is empty
            wave, flux = np.loadtxt(path, usecols=(0, 1), unpack=True, ndmin=2)
    except (ValueError, IndexError, UserWarning) as error:
        raise InputError(
            f"{path} cannot be read as two columns, wavelength and flux ({error}); correct it"
        ) from error
    return wave, flux


# From spectra to a checked container


def _join(spectra: Sequence[_Ssp], *, fwhm: _Vector, name: str, source: str) -> Templates:
    """Stack spectra that share one axis."""
    first = spectra[0]
    for other in spectra[1:]:
        if other.medium != first.medium or not np.array_equal(other.wave, first.wave):
            raise InputError(
                f"the spectra {first.file} ({_axis_text(first)}) and {other.file} "
                f"({_axis_text(other)}) have different axes; bring a base to one axis first"
            )
    fields = {
        "wave": first.wave,
        "flux": np.array([spectrum.flux for spectrum in spectra]),
        "age": np.array([spectrum.age for spectrum in spectra]),
        "metallicity": np.array([spectrum.metallicity for spectrum in spectra]),
        "mass_fraction": np.array([spectrum.mass_fraction for spectrum in spectra]),
        "medium": first.medium,
        "fwhm": fwhm,
        "name": name,
        "source": source,
    }
    return _checked(name, fields)


def _axis_text(spectrum: _Ssp) -> str:
    wave = spectrum.wave
    return f"{wave.size} pixels, {wave[0]:.2f}-{wave[-1]:.2f} Angstrom, {spectrum.medium}"


def _checked(where: str, fields: dict[str, Any]) -> Templates:
    """Build the container from its fields, or say what is wrong with one of them."""
    _check_axis(where, fields["wave"])
    n_template, n_wave = fields["age"].size, fields["wave"].size
    _check_shape(where, "flux", fields["flux"], (n_template, n_wave))
    for key in ("age", "metallicity", "mass_fraction"):
        _check_shape(where, key, fields[key], (n_template,))
    _check_shape(where, "fwhm", fields["fwhm"], (n_wave,))
    _check_finite(where, "flux", fields["flux"])
    for key, sign in (("age", ">"), ("metallicity", ">="), ("mass_fraction", ">"), ("fwhm", ">")):
        check_sign(where, key, fields[key], sign)
    if fields["medium"] not in ("air", "vacuum"):
        raise InputError(f"the medium of {where} is {fields['medium']!r}, not 'air' or 'vacuum'")
    return Templates(**fields)


def _check_axis(where: str, wave: _Vector) -> None:
    if wave.ndim != 1 or wave.size < 2:
        raise InputError(
            f"the wavelengths of {where} have shape {wave.shape}, where a list of 2 or more is "
            "expected"
        )
    _check_finite(where, "wavelength", wave)
    if not np.all(np.diff(wave) > 0):
        place = wave[1:][np.diff(wave) <= 0][0]
        raise InputError(
            f"the wavelengths of {where} do not increase at {place:g} Angstrom; sort them and drop "
            "repeated ones"
        )


def _check_finite(where: str, what: str, values: F64) -> None:
    n_bad = int(np.count_nonzero(~np.isfinite(values)))
    if n_bad:
        raise InputError(
            f"{where} has {n_bad} values of {what} that are not finite; cut or fill them first"
        )


def _check_shape(where: str, what: str, values: NDArray[Any], expected: tuple[int, ...]) -> None:
    if values.shape != expected or 0 in expected:
        raise InputError(
            f"{what} of {where} has shape {values.shape}, where {expected} is expected and no "
            "length may be 0"
        )


def check_sign(where: str, what: str, values: F64, sign: str) -> None:
    """Refuse values that are not positive (">"), or negative (">="); NaN is neither.

    Raises
    ------
    InputError
        Where there are such values.
    """
    good = values >= 0 if sign == ">=" else values > 0
    if not np.all(good):  # NaN is not good either
        raise InputError(f"{what} of {where} must be {sign} 0, but one is {values[~good].flat[0]}")
