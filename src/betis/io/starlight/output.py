"""Reads what STARLIGHT writes: the header by its labels, so that v04, v05 and v06 are one.

The formats of the versions differ in where their blocks begin, in the columns that follow those of
v04, and in how numbers are printed. What a number is, is told by the label behind it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64, Brief
from betis.errors import InputError

__all__ = ["StarlightOutput", "is_unfinished", "read_output"]

_LABELLED = re.compile(r"^\s*(?P<value>\S[^\[]*?)\s+\[\s*(?P<label>[^\s\]]+)")
_VERSION = re.compile(r"## OUTPUT of (?:StarlightChains_|Starlight version )(v\d+\w*)")
_POPULATION, _SPECTRUM = re.compile(r"#\s*j\s+x_j\(%\)\s+Mini_j"), re.compile(r"##.*##\s*l_obs")
_SHORT_EXPONENT = re.compile(r"(?<=\d)([+-]\d{3})$")
_PLACEHOLDER, _ABORTED = "This file will be overwritten", "Run aborted"
_COLUMNS = {"light": 1, "initial_mass": 2, "mass": 3, "age": 4, "metallicity": 5}
_MIN_COLUMNS = 4


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StarlightOutput(Brief):
    """One output of STARLIGHT.

    Attributes
    ----------
    version
        "v04", "v05", "v06r01" ...
    header : str
        Text of each labelled value, by the first word of its label, such as ``"chi2/Nl_eff"``.
        Names of files are cut at 40 characters by STARLIGHT.
    light, initial_mass, mass : percent [component]
        x_j, Mini_j and Mcor_j. They need not add up to 100.
    age : yr [component]
    metallicity : [component]
        Mass fraction Z.
    wave : Angstrom [wave]
        Rest frame, air.
    flux, model : [wave]
        f_obs and f_syn, over ``norm_flux``; NaN where a number did not fit its columns.
    weight : [wave]
        wei: positive where fitted (infinite where it did not fit its columns), 0 where masked, -1
        where clipped, below -1 where flagged in the input.
    """

    version: str
    header: dict[str, str]
    light: Float[F64, " component"]
    initial_mass: Float[F64, " component"]
    mass: Float[F64, " component"]
    age: Float[F64, " component"]
    metallicity: Float[F64, " component"]
    wave: Float[F64, " wave"]
    flux: Float[F64, " wave"]
    model: Float[F64, " wave"]
    weight: Float[F64, " wave"]

    def value(self, label: str) -> float:
        """Return the (first) number that bears a label; NaN where it did not fit its columns."""
        return _number(self.header[label].split()[0])

    def text(self, label: str) -> str:
        """Return the first word that bears a label."""
        return self.header[label].split()[0]

    @property
    def norm_flux(self) -> float:
        """fobs_norm, what flux and model were divided by, in the unit of the input."""
        return self.value("fobs_norm")

    @property
    def n_clipped(self) -> int:
        """Ntot_cliped, which is how many weights are -1."""
        spelled = next(name for name in self.header if name.startswith("Ntot_clip"))
        return int(self.value(spelled))

    @property
    def used(self) -> Bool[B8, " wave"]:
        """The pixels that were fitted."""
        return np.asarray(self.weight > 0)

    @property
    def clipped(self) -> Bool[B8, " wave"]:
        """The pixels that were left out because they deviate."""
        return np.asarray(self.weight == -1)

    @property
    def flagged(self) -> Bool[B8, " wave"]:
        """The pixels that were bad in the input, or beyond its ends."""
        return np.asarray(self.weight < -1)


_NEEDED = (
    *("arq_obs", "arq_base", "arq_masks", "arq_config", "N_base", "red_law_option", "q_norm"),
    *("fobs_norm", "Nl_eff", "NOl_eff", "chi2/Nl_eff", "v0_min", "vd_min", "AV_min"),
)


def read_output(path: str | Path) -> StarlightOutput:
    """Read one output.

    Raises
    ------
    InputError
        Where there is no such file, the fit was not finished or was given up, or it is no output
        of STARLIGHT.
    """
    where = Path(path)
    text = _text_of(where)
    if _PLACEHOLDER in text:
        raise InputError(f"{where} is the placeholder of a fit that was not finished; run it again")
    if _ABORTED in text:
        raise InputError(f"{where} says that STARLIGHT gave this fit up; look at its spectrum")
    lines = text.splitlines()
    header = _header(lines)
    version = _VERSION.search(text)
    missing = [name for name in _NEEDED if name not in header]
    if version is None or missing:
        lacks = ", ".join(missing) or "the line that names its version"
        raise InputError(
            f"{where} is no whole output of STARLIGHT v04, v05 or v06: it lacks {lacks}; run the "
            "fit again"
        )
    table = _population(where, lines, int(_number(header["N_base"].split()[0])))
    pixels = _pixels(where, lines)
    return StarlightOutput(
        version=version[1],
        header=header,
        **{name: table[:, column] for name, column in _COLUMNS.items()},
        wave=pixels[:, 0],
        flux=pixels[:, 1],
        model=pixels[:, 2],
        weight=np.where(np.isnan(pixels[:, 3]), np.inf, pixels[:, 3]),
    )


def is_unfinished(path: str | Path) -> bool:
    """Tell whether a fit has still to be made: no file, a placeholder, or a part of an output.

    What STARLIGHT gave up is finished: it would be given up again.
    """
    where = Path(path)
    try:
        text = _text_of(where)
    except InputError:
        return True
    if _ABORTED in text:
        return False
    try:
        read_output(where)
    except InputError:
        return True
    return False


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(
            f"the output {path} of STARLIGHT cannot be read: {error.strerror}; run the fit"
        ) from error


def _header(lines: Sequence[str]) -> dict[str, str]:
    """Return the labelled values that stand before the spectrum; the first of each label.

    The kinematics come a second time, as they were before the last of the fits.
    """
    found: dict[str, str] = {}
    for line in lines:
        if _SPECTRUM.match(line):
            break
        labelled = _LABELLED.match(line)
        if labelled:
            found.setdefault(labelled["label"], labelled["value"])
    return found


def _population(path: Path, lines: Sequence[str], count: int) -> Float[F64, "component column"]:
    """Return the table of the components of the base, its first columns."""
    start = _place(path, lines, _POPULATION, "the table of populations") + 1
    rows = [line.split()[: max(_COLUMNS.values()) + 1] for line in lines[start : start + count]]
    if len(rows) != count or any(len(row) <= max(_COLUMNS.values()) for row in rows):
        raise InputError(
            f"{path} is cut short: its table of populations lacks some of {count} rows; run the "
            "fit again"
        )
    return np.array([[_number(word) for word in row] for row in rows])


def _pixels(path: Path, lines: Sequence[str]) -> Float[F64, "wave column"]:
    """Return the synthetic spectrum; other blocks may follow it."""
    start = _place(path, lines, _SPECTRUM, "the synthetic spectrum") + 1
    stated = lines[start].split()[:1] if start < len(lines) else []
    count = int(stated[0]) if stated and stated[0].isdecimal() else 0
    block = lines[start + 1 : start + 1 + count]
    words = re.sub(r"\*+", "nan", " ".join(block)).split()
    width = len(words) // count if count else 0
    if len(block) != count or width < _MIN_COLUMNS or width * count != len(words):
        raise InputError(
            f"{path} is cut short: its spectrum should have {count or 'some'} rows of wavelength, "
            f"flux, model and weight, and has {len(block)}; run the fit again"
        )
    try:
        values = np.array(words, dtype=float)
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); run the fit again") from error
    return values.reshape(count, width)


def _place(path: Path, lines: Sequence[str], pattern: re.Pattern[str], what: str) -> int:
    for number, line in enumerate(lines):
        if pattern.match(line):
            return number
    raise InputError(f"{path} is cut short: it lacks {what}; run the fit again")


def _number(word: str) -> float:
    """Return a number that Fortran printed: stars for too long ones, no E before 3 digits."""
    try:
        return float(_SHORT_EXPONENT.sub(r"E\1", word))
    except ValueError:
        return float("nan")
