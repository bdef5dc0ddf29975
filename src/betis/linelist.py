"""Line sets: wavelengths, ties and fit groups, from the package's TOML or the user's."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jaxtyping import Float

from betis.arrays import F64
from betis.errors import ConfigError, InputError
from betis.wavelength import Medium, air_to_vacuum, rest_wave

_SHIPPED = {"standard": "lines.toml"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line.

    Attributes
    ----------
    name
        Ion and air wavelength rounded to the Angstrom: "OIII5007".
    air : Angstrom
        Air wavelength.
    label
        What a figure calls it.
    kinematics
        Lines of one name that are fitted together share velocity and dispersion.
    ratio_of, ratio
        The flux is ``ratio`` times that of the line ``ratio_of``; "" where it is free.
    absorption
        An absorption line: kept out of the mask of emission lines.
    """

    name: str
    air: float
    label: str
    kinematics: str
    ratio_of: str = ""
    ratio: float = 1.0
    absorption: bool = False

    @property
    def vacuum(self) -> float:
        """Vacuum wavelength, Angstrom."""
        return float(air_to_vacuum(self.air))


@dataclass(frozen=True, kw_only=True)
class LineSet:
    """Some lines that are measured together."""

    name: str
    lines: tuple[Line, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The lines' names, in order."""
        return tuple(line.name for line in self.lines)

    def __getitem__(self, name: str) -> Line:
        """Return the line of that name.

        Raises
        ------
        ConfigError
            Where the set has no such line.
        """
        for line in self.lines:
            if line.name == name:
                return line
        raise ConfigError(
            f"the line {name!r} is not in the set {self.name!r}; it has {', '.join(self.names)}"
        )

    def waves(self, medium: Medium, redshift: float) -> Float[F64, " line"]:
        """Return where the lines lie on an axis observed in ``medium`` and divided by 1+z."""
        return rest_wave([line.vacuum for line in self.lines], medium, redshift)

    def emission(self) -> LineSet:
        """Return the set without its absorption lines."""
        return self.select(line.name for line in self.lines if not line.absorption)

    def select(self, names: Iterable[str]) -> LineSet:
        """Return the set with only these lines; a ratio to a line left out becomes free."""
        kept = set(names)
        lines = tuple(
            line if line.ratio_of in kept or not line.ratio_of else _freed(line)
            for line in self.lines
            if line.name in kept
        )
        return LineSet(name=self.name, lines=lines)


def load_line_set(source: str | Path = "standard") -> LineSet:
    """Return a shipped line set by name, or one from a TOML file.

    Raises
    ------
    InputError
        Where there is no such set, or the file is no line set.
    """
    if str(source) in _SHIPPED:
        text = resources.files("betis.data").joinpath(_SHIPPED[str(source)]).read_text("utf-8")
    elif Path(source).is_file():
        text = Path(source).read_text("utf-8")
    else:
        raise InputError(
            f"there is no line set {str(source)!r}; expected {', '.join(_SHIPPED)} or a TOML file"
        )
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the line set {source} is not valid TOML: {error}") from error
    return _parse(table, str(source))


def _parse(table: dict[str, Any], source: str) -> LineSet:
    entries = table.get("line")
    if not entries or not isinstance(entries, list):
        raise InputError(f"the line set {source} holds no [[line]] table; add at least one line")
    lines = tuple(_parse_line(entry, source) for entry in entries)
    names = [line.name for line in lines]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"the line set {source} names {', '.join(repeated)} twice; keep one")
    unknown = sorted({line.ratio_of for line in lines if line.ratio_of} - set(names))
    if unknown:
        raise InputError(
            f"the line set {source} ties a flux to {', '.join(unknown)}, which it does not hold"
        )
    tied = {line.name for line in lines if line.ratio_of}
    chained = sorted(tied & {line.ratio_of for line in lines})
    if chained:
        raise InputError(
            f"the line set {source} ties a flux to {', '.join(chained)}, which is tied itself; "
            "tie both to the same free line"
        )
    return LineSet(name=str(table.get("set", {}).get("name", Path(source).stem)), lines=lines)


def _parse_line(entry: dict[str, Any], source: str) -> Line:
    known = {"name", "air", "label", "kinematics", "ratio", "absorption"}
    if "name" not in entry or "air" not in entry or set(entry) - known:
        raise InputError(
            f"the line set {source} has a line with the keys {sorted(entry)}; each needs name "
            f"and air, and may have {', '.join(sorted(known - {'name', 'air'}))}"
        )
    where = f"the line set {source} has the line {entry['name']}"
    ratio = entry.get("ratio", {"of": "", "value": 1.0})
    if not isinstance(ratio, dict) or set(ratio) != {"of", "value"}:
        raise InputError(
            f"{where} with ratio = {ratio!r}; expected a table such as "
            '{ of = "OIII5007", value = 0.33557 }'
        )
    return Line(
        name=str(entry["name"]),
        air=_positive(entry["air"], f"{where} with air"),
        label=str(entry.get("label", entry["name"])),
        kinematics=str(entry.get("kinematics", entry["name"])),
        ratio_of=str(ratio["of"]),
        ratio=_positive(ratio["value"], f"{where} with a ratio whose value"),
        absorption=bool(entry.get("absorption", False)),
    )


def _positive(value: object, where: str) -> float:
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InputError(f"{where} = {value!r}; expected a positive number")
    return float(value)


def _freed(line: Line) -> Line:
    return Line(
        name=line.name,
        air=line.air,
        label=line.label,
        kinematics=line.kinematics,
        absorption=line.absorption,
    )
