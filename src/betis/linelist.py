"""Line sets: wavelengths, ties, limits and fit windows, from the package's TOML or the user's."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float

from betis.arrays import F64
from betis.errors import ConfigError, InputError
from betis.wavelength import Medium, air_to_vacuum, rest_wave, vacuum_to_air

Sign = Literal["any", "emission", "absorption"]
Range = tuple[float, float]

_SHIPPED = {"standard": "lines.toml", "betis41": "betis41.toml"}
_SIGNS = ("any", "emission", "absorption")
_KINEMATICS = ("doublet", "free", "one", "ionisation")
_SET_NUMBERS = ("window", "max_velocity", "max_sigma", "fwhm")
_PUSHED_DOWN = ("sign", "bounds", "search", "source")
"""Keys of [set] that are defaults of its lines."""
_SET_KEYS = {"name", "kinematics", *_SET_NUMBERS, *_PUSHED_DOWN}
_LINE_KEYS = {
    "name", "air", "vacuum", "label", "kinematics", "ionisation", "ratio", "absorption", "sign",
    "window", "bounds", "search", "source", "plane", "card", "component_of", "after",
}  # fmt: skip
_ALL_GAS = "gas"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How far a line may move and how broad it may be; None where the options say it.

    Attributes
    ----------
    velocity : km/s
        Least and most, relative to the rest frame of the spectra.
    sigma : km/s
        Least and most dispersion, without the line-spread function.
    shift : Angstrom
        How far the line may move from its first guess, either way.
    width
        Least and most observed dispersion, over that of the set's ``fwhm``.
    """

    velocity: Range | None = None
    sigma: Range | None = None
    shift: float | None = None
    width: Range | None = None


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
    ionisation
        The kind of gas, whose lines share velocity and dispersion where kinematics are
        "ionisation"; "" for a line that shares them with none.
    ratio_of, ratio
        The flux is ``ratio`` times that of the line ``ratio_of``; "" where it is free.
    absorption
        An absorption line: kept out of the mask of emission lines.
    sign
        "any", or which sign alone its flux may have.
    window : Angstrom
        Half-width of its fit window; None where the options or the set say it.
    bounds
        Of its velocity and its dispersion.
    search : Angstrom
        How far from the velocity of the spectrum its own first guess may lie; 0 for that velocity.
    source
        Where wavelength and ratio come from.
    plane, card
        Its plane in the BETIS scripts' files, from 1 (0 for none), and what they call it.
    component_of
        The line whose further component this is, at the same place and in the same fit window;
        "" for a line by itself. It is kept only where the data ask for it.
    after
        Fitted after all others, on what their profiles leave; kept as a component is.
    """

    name: str
    air: float
    label: str
    kinematics: str
    ionisation: str = ""
    ratio_of: str = ""
    ratio: float = 1.0
    absorption: bool = False
    sign: Sign = "any"
    window: float | None = None
    bounds: Bounds = field(default_factory=Bounds)
    search: float = 0.0
    source: str = ""
    plane: int = 0
    card: str = ""
    component_of: str = ""
    after: bool = False

    @property
    def is_extra(self) -> bool:
        """Whether it stays only where the data ask for it."""
        return bool(self.component_of) or self.after

    @property
    def vacuum(self) -> float:
        """Vacuum wavelength, Angstrom."""
        return float(air_to_vacuum(self.air))


@dataclass(frozen=True, kw_only=True)
class LineSet:
    """Some lines that are measured together.

    Attributes
    ----------
    name, lines
    kinematics
        Which lines share velocity and dispersion: "doublet", those of one ``Line.kinematics``
        that are fitted together; "free", none but lines of a fixed ratio; "ionisation" and "one",
        all emission lines of one kind of gas, or all.
    window, max_velocity, max_sigma : Angstrom, km/s, km/s
        What the set has in place of the defaults of `LineOptions`; None for those.
    fwhm : Angstrom
        Observed full width of the first guess, of which ``Bounds.width`` is a multiple; None for
        one from the line-spread function.
    """

    name: str
    lines: tuple[Line, ...]
    kinematics: str = "doublet"
    window: float | None = None
    max_velocity: float | None = None
    max_sigma: float | None = None
    fwhm: float | None = None

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

    def primary(self) -> LineSet:
        """Return the set without components and lines that are fitted after all others."""
        return self.select(line.name for line in self.lines if not line.is_extra)

    def emission(self) -> LineSet:
        """Return the set without absorption lines and further components."""
        return self.primary().select(line.name for line in self.lines if not line.absorption)

    def select(self, names: Iterable[str]) -> LineSet:
        """Return the set with only these lines; a ratio to a line left out becomes free."""
        kept = set(names)
        lines = tuple(
            line if line.ratio_of in kept or not line.ratio_of else _freed(line)
            for line in self.lines
            if line.name in kept
        )
        return replace(self, lines=lines)

    def tied(self, kinematics: str = "set") -> LineSet:
        """Return the set with the kinematics that this says; "set" for its own.

        Raises
        ------
        ConfigError
            Where lines are to share those of their kind of gas, and none says its kind.
        """
        chosen = self.kinematics if kinematics == "set" else kinematics
        if chosen == "ionisation" and not any(line.ionisation for line in self.lines):
            raise ConfigError(
                f"no line of the set {self.name!r} says its ionisation, where kinematics = "
                "'ionisation' needs it; give its lines the key ionisation, or choose another"
            )
        lines = tuple(replace(line, kinematics=self._sharing(line, chosen)) for line in self.lines)
        return replace(self, lines=lines, kinematics=chosen)

    def _sharing(self, line: Line, chosen: str) -> str:
        """Return the name that the lines which share this one's kinematics have in common."""
        own = line.is_extra or (line.absorption and chosen != "free")
        if chosen == "doublet" or own:
            return line.kinematics
        if chosen == "free":
            return line.ratio_of or line.name
        return _ALL_GAS if chosen == "one" else line.ionisation or line.kinematics


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


def set_names() -> tuple[str, ...]:
    """Return the names of the sets that ship with betis."""
    return tuple(_SHIPPED)


def describe_set(line_set: LineSet) -> str:
    """Return in words how many lines a set has, and what holds for all of them."""
    absorbed = sum(line.absorption for line in line_set.lines)
    numbers = {
        "window ± {:g} Å": line_set.window,
        "velocities within {:g} km/s": line_set.max_velocity,
        "dispersions up to {:g} km/s": line_set.max_sigma,
        "first guess of {:g} Å FWHM": line_set.fwhm,
    }
    said = [text.format(value) for text, value in numbers.items() if value is not None]
    extra = sum(line.is_extra for line in line_set.lines)
    count = f"{len(line_set.lines)} lines, {absorbed} in absorption"
    count += f", {extra} only where the data ask for them" if extra else ""
    return "; ".join([count, f"kinematics {line_set.kinematics}", *said])


def describe_line(line: Line) -> dict[str, str]:
    """Return what a set says of a line, in words: a column of a table each."""
    return {
        "name": line.name,
        "line": line.label,
        "air [Å]": f"{line.air:.3f}",
        "vacuum [Å]": f"{line.vacuum:.3f}",
        "kinematics": line.kinematics,
        "gas": line.ionisation,
        "flux tied to": f"{line.ratio:.5g} × {line.ratio_of}" if line.ratio_of else "",
        "kind": _describe_kind(line),
        "sign": "" if line.sign == "any" else "≥ 0" if line.sign == "emission" else "≤ 0",
        "window [Å]": "" if line.window is None else f"± {line.window:g}",
        "bounds": _describe_bounds(line),
        "source": line.source,
    }


def _describe_kind(line: Line) -> str:
    if line.component_of:
        return f"component of {line.component_of}"
    kind = "absorption" if line.absorption else "emission"
    return f"{kind}, after all others" if line.after else kind


def _describe_bounds(line: Line) -> str:
    held = line.bounds
    parts = [
        held.velocity and f"{held.velocity[0]:g} ≤ v ≤ {held.velocity[1]:g} km/s",
        held.sigma and f"{held.sigma[0]:g} ≤ σ ≤ {held.sigma[1]:g} km/s",
        held.width and f"width {held.width[0]:g} to {held.width[1]:g} of the guess",
        held.shift and f"within {held.shift:g} Å of the guess",
        line.search and f"guess within {line.search:g} Å",
    ]
    return ", ".join(part for part in parts if part)


def _parse(table: dict[str, Any], source: str) -> LineSet:
    where = f"the line set {source}"
    entries, common = table.get("line"), table.get("set", {})
    if not entries or not isinstance(entries, list):
        raise InputError(f"{where} holds no [[line]] table; add at least one line")
    _require_known(table, {"set", "line"}, f"{where} has the table")
    if not isinstance(common, dict):
        raise InputError(f"{where} has set = {common!r}, where a table [set] was expected")
    _require_known(common, _SET_KEYS, f"{where} has in [set] the key")
    shared = {key: common[key] for key in _PUSHED_DOWN if key in common}
    lines = tuple(_parse_line(entry, shared, source) for entry in entries)
    _require_ties(lines, source)
    lines = tuple(_at_parent(line, lines, source) for line in lines)
    chosen = _one_of(common.get("kinematics", "doublet"), _KINEMATICS, f"{where} has kinematics")
    numbers = {
        key: _positive(common[key], f"{where} with {key}") for key in _SET_NUMBERS if key in common
    }
    if "fwhm" not in numbers and any(line.bounds.width for line in lines):
        raise InputError(f"{where} bounds a width, which is a multiple of fwhm; add it to [set]")
    name = str(common.get("name", Path(source).stem))
    return LineSet(name=name, lines=lines, kinematics=chosen, **numbers)


def _require_known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise InputError(f"{where} {unknown[0]!r}; expected one of {', '.join(sorted(known))}")


def _require_ties(lines: tuple[Line, ...], source: str) -> None:
    """Refuse names that are given twice, and ties that lead nowhere or to another sign."""
    names = [line.name for line in lines]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"the line set {source} names {', '.join(repeated)} twice; keep one")
    unknown = sorted({line.ratio_of for line in lines if line.ratio_of} - set(names))
    if unknown:
        raise InputError(
            f"the line set {source} ties a flux to {', '.join(unknown)}, which it does not hold"
        )
    tied = {line.name: line for line in lines if line.ratio_of}
    chained = sorted(set(tied) & {line.ratio_of for line in lines})
    if chained:
        raise InputError(
            f"the line set {source} ties a flux to {', '.join(chained)}, which is tied itself; "
            "tie both to the same free line"
        )
    sign = {line.name: line.sign for line in lines}
    turned = sorted(name for name, line in tied.items() if sign[name] != sign[line.ratio_of])
    if turned:
        raise InputError(
            f"the line set {source} ties the flux of {', '.join(turned)} to a line of another "
            "sign; give both the same"
        )


def _at_parent(line: Line, lines: tuple[Line, ...], source: str) -> Line:
    """Return a component at the place and in the window of its line; any other line as it is."""
    if not line.component_of:
        return line
    where = f"the line set {source} has the line {line.name}"
    parent = next((other for other in lines if other.name == line.component_of), None)
    if parent is None or parent.is_extra or parent.absorption:
        raise InputError(
            f"{where} with component_of = {line.component_of!r}; expected an emission line of the "
            "set that is no component itself"
        )
    if line.after or line.absorption:
        raise InputError(
            f"{where}, a component that is in absorption or fitted after all others; leave out "
            "component_of, or sign, absorption and after"
        )
    return replace(line, air=parent.air, window=parent.window)


def _parse_line(entry: dict[str, Any], shared: dict[str, Any], source: str) -> Line:
    places = {"air", "vacuum", "component_of"} & set(entry)
    if "name" not in entry or len(places) != 1 or set(entry) - _LINE_KEYS:
        raise InputError(
            f"the line set {source} has a line with the keys {sorted(entry)}; each needs name "
            "and one of air, vacuum and component_of, and may have "
            f"{', '.join(sorted(_LINE_KEYS - {'name', 'air', 'vacuum', 'component_of'}))}"
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
        air=_air(entry, where),
        label=str(entry.get("label", entry["name"])),
        kinematics=str(entry.get("kinematics", entry["name"])),
        ionisation=str(entry.get("ionisation", "")),
        ratio_of=str(ratio["of"]),
        ratio=_positive(ratio["value"], f"{where} with a ratio whose value"),
        plane=_plane(entry.get("plane", 0), where),
        card=str(entry.get("card", "")),
        component_of=str(entry.get("component_of", "")),
        **_limits(_with_defaults(entry, shared), where),
    )


def _with_defaults(entry: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a line over those of its set; bounds one by one."""
    if "component_of" in entry or "after" in entry:
        shared = {key: value for key, value in shared.items() if key != "search"}
    whole = {**shared, **entry}
    parts = [table["bounds"] for table in (shared, entry) if "bounds" in table]
    if all(isinstance(part, dict) for part in parts) and parts:
        whole["bounds"] = {key: value for part in parts for key, value in part.items()}
    return whole


def _air(entry: Mapping[str, Any], where: str) -> float:
    if "component_of" in entry:
        return 0.0
    if "air" in entry:
        return _positive(entry["air"], f"{where} with air")
    return float(vacuum_to_air(_positive(entry["vacuum"], f"{where} with vacuum")))


def _plane(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{where} with plane = {value!r}; expected a whole number from 1")
    return value


def _limits(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the fields of a line that limit its fit, from its own keys and those of the set."""
    sign = _one_of(entry.get("sign", "any"), _SIGNS, f"{where} with sign")
    absorption = entry.get("absorption", sign == "absorption")
    if not isinstance(absorption, bool):
        raise InputError(f"{where} with absorption = {absorption!r}; expected true or false")
    if sign != "any" and absorption != (sign == "absorption"):
        raise InputError(
            f"{where} with sign = {sign!r} and absorption = {str(absorption).lower()}, which "
            "contradict each other; change one"
        )
    limits = {"sign": sign, "absorption": absorption, "source": str(entry.get("source", ""))}
    limits["after"] = entry.get("after", False)
    if not isinstance(limits["after"], bool):
        raise InputError(f"{where} with after = {limits['after']!r}; expected true or false")
    for key in {"window", "search"} & set(entry):
        limits[key] = _positive(entry[key], f"{where} with {key}")
    return {**limits, "bounds": _bounds(entry.get("bounds", {}), where)}


def _bounds(table: object, where: str) -> Bounds:
    known = {item.name for item in fields(Bounds)}
    if not isinstance(table, dict):
        raise InputError(
            f"{where} with bounds = {table!r}; expected a table such as {{ sigma = [0, 300] }}"
        )
    _require_known(table, known, f"{where} with, in its bounds, the key")
    held: dict[str, Any] = {
        key: _range(table[key], f"{where} with the bound {key}")
        for key in ("velocity", "sigma", "width")
        if key in table
    }
    for key in ("sigma", "width"):
        if key in held and held[key][0] < 0:
            raise InputError(
                f"{where} with the bound {key} = {table[key]!r}; a dispersion is not negative"
            )
    if "shift" in table:
        held["shift"] = _positive(table["shift"], f"{where} with the bound shift")
    return Bounds(**held)


def _one_of(value: object, known: tuple[str, ...], where: str) -> Any:
    if value not in known:
        raise InputError(f"{where} = {value!r}; expected one of {', '.join(known)}")
    return value


def _range(value: object, where: str) -> Range:
    expected = f"{where} = {value!r}; expected two numbers, the smaller first"
    if not isinstance(value, list) or len(value) != len(("least", "most")):
        raise InputError(expected)
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in value):
        raise InputError(expected)
    least, most = float(value[0]), float(value[1])
    if not -float("inf") < least < most < float("inf"):
        raise InputError(expected)
    return least, most


def _positive(value: object, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < float("inf"):  # type: ignore[operator]  # a number
        raise InputError(f"{where} = {value!r}; expected a positive number")
    return float(value)  # type: ignore[arg-type]  # a number


def _freed(line: Line) -> Line:
    return replace(line, ratio_of="", ratio=1.0)
