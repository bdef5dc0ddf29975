"""Options from a TOML file, from flags and from Python, checked; and a TOML file to start from."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from betis.errors import ConfigError, InputError
from betis.options import CubeOptions, Options

T = TypeVar("T")

FLAGS: dict[str, tuple[str, str]] = {
    "instrument": ("prepare", "instrument"),
    "arm": ("prepare", "arm"),
    "redshift": ("prepare", "redshift"),
    "av": ("prepare", "av"),
    "ebv": ("prepare", "ebv"),
    "dust_map": ("prepare", "dust_map"),
    "rescale_noise": ("prepare", "rescale_noise"),
    "snr_line": ("snr", "line"),
    "snr_method": ("snr", "method"),
    "target_snr": ("binning", "target"),
    "binning": ("binning", "method"),
    "correlation": ("binning", "correlation"),
    "strict_snr": ("binning", "strict"),
    "regions_map": ("regions", "map"),
    "continuum": ("continuum", "engine"),
    "templates": ("continuum", "templates"),
    "line_set": ("lines", "line_set"),
    "components": ("lines", "components"),
    "device": ("compute", "device"),
    "cores": ("compute", "cores"),
    "dask": ("compute", "dask"),
}
"""Flags of the command line and keywords of `betis.run`: which table and key each one sets."""


def validated(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return an options dataclass made from checked values.

    Raises
    ------
    ConfigError
        Where a name is unknown, a type is wrong or a value is out of its range.
    """
    try:
        dataclass: Any = kind
        model = _model(dataclass)(**values)
    except ValidationError as error:
        raise ConfigError(_first_problem(kind, error)) from error
    return kind(**{item.name: getattr(model, item.name) for item in fields(dataclass)})


def options_from(tables: Mapping[str, Mapping[str, Any]]) -> Options:
    """Return all stages' options from tables such as ``{"snr": {"line": "Ha6563"}}``.

    Raises
    ------
    ConfigError
        Where a table or a key is unknown, or a value does not fit.
    """
    sections = {item.name: type(getattr(Options(), item.name)) for item in fields(Options)}
    unknown = sorted(set(tables) - set(sections))
    if unknown:
        raise ConfigError(
            f"the table [{unknown[0]}] is unknown; expected one of {', '.join(sections)}"
        )
    return Options(
        **{name: validated(kind, tables.get(name, {})) for name, kind in sections.items()}
    )


def read_tables(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read the tables of a TOML file.

    Raises
    ------
    InputError
        Where there is no such file or it is not TOML.
    """
    where = Path(path)
    try:
        tables = tomllib.loads(where.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no configuration file {where}; check the path") from error
    except OSError as error:
        raise InputError(
            f"the configuration {where} cannot be read: {error.strerror}; check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the configuration {where} is not valid TOML: {error}") from error
    loose = [key for key, value in tables.items() if not isinstance(value, dict)]
    if loose:
        raise ConfigError(
            f"the key {loose[0]!r} of {where} stands in no table; put it under one, for example "
            "[prepare]"
        )
    return tables


def cube_layout(instrument: str, described: CubeOptions) -> tuple[str, CubeOptions]:
    """Return the reader's name and the layout of the cube, where a TOML file may stand for both.

    Parameters
    ----------
    instrument
        "auto", the name of a reader, or a TOML file whose table [cube] describes a cube.
    described
        The layout where it is no such file.

    Raises
    ------
    InputError
        Where there is no such file or it is not TOML.
    ConfigError
        Where it has no table [cube], or a value of it does not fit.
    """
    if not instrument.endswith(".toml"):
        return instrument, described
    tables = read_tables(instrument)
    if "cube" not in tables:
        raise ConfigError(
            f"{instrument} has no table [cube], where the layout of the cube was expected; "
            "`betis config --full` shows its keys"
        )
    return "generic", validated(CubeOptions, tables["cube"])


def merged(
    base: Mapping[str, Mapping[str, Any]], flags: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the tables with every flag that is not None put over them."""
    result = {name: dict(table) for name, table in base.items()}
    for flag, value in flags.items():
        if value is not None:
            table, key = FLAGS[flag]
            result.setdefault(table, {})[key] = str(value) if isinstance(value, Path) else value
    return result


def overlaid(
    base: Mapping[str, Mapping[str, Any]], tables: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the tables of the base with the keys of other tables put over them."""
    names = dict.fromkeys([*base, *tables])
    return {name: {**base.get(name, {}), **tables.get(name, {})} for name in names}


def without_input(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the options of a run folder's configuration, which may serve for another run."""
    return {name: dict(table) for name, table in tables.items() if name != "input"}


def to_toml(options: Options, *, full: bool = True, comments: bool = True) -> str:
    """Return the options as TOML.

    Parameters
    ----------
    options
        What to write.
    full
        Every key; otherwise only the ones that a first run needs.
    comments
        Say what each key means, with its unit.
    """
    first = set(FLAGS.values())
    blocks = []
    for section in fields(options):
        table = getattr(options, section.name)
        lines = [f"[{section.name}]"]
        for item in fields(table):
            if full or (section.name, item.name) in first:
                lines += _entry(item, getattr(table, item.name), comments=comments)
        if len(lines) > 1:
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _entry(item: Any, value: Any, *, comments: bool) -> list[str]:
    unit = f" [{item.metadata['unit']}]" if item.metadata["unit"] else ""
    said = [f"# {item.metadata['doc']}{unit}"] if comments else []
    if value is None:
        return [*said, f"# {item.name} = "]
    return [*said, f"{item.name} = {json.dumps(value, ensure_ascii=False)}"]


@lru_cache(maxsize=32)
def _model(kind: Any) -> type[BaseModel]:
    """Return the pydantic model of an options dataclass, with its ranges."""
    hints = get_type_hints(kind)
    entries: dict[str, Any] = {
        item.name: _entry_of(item, hints[item.name]) for item in fields(kind)
    }
    settings = ConfigDict(extra="forbid", allow_inf_nan=False)
    return create_model(kind.__name__, __config__=settings, **entries)


def _entry_of(item: Any, hint: Any) -> tuple[Any, Any]:
    """Return the type and the limits of an option in the model."""
    low, high = item.metadata.get("low"), item.metadata.get("high")
    if item.metadata.get("texts"):
        check = _number_or(item.metadata["texts"], low, high)
        return Annotated[Any, BeforeValidator(check)], Field(item.default)
    return _strictly(hint), Field(item.default, ge=low, le=high)


_POSITIVE = r"(\d(\.\d*)?|\.\d+)"
"""What SIGMA stands for: a number below 10 without a sign."""


def _number_or(texts: tuple[str, ...], low: float, high: float) -> Callable[[Any], Any]:
    """Return a check that takes a number within limits, or one of some texts."""
    pattern = "|".join(texts).replace("SIGMA", _POSITIVE)

    def check(value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        if isinstance(value, bool | str) or not low <= value <= high:
            raise ValueError(
                f"input should be a number from {low:g} to {high:g}, or one of {', '.join(texts)}"
            )
        return float(value)

    return check


def _strictly(hint: Any) -> Any:
    """Return the type, without pydantic's habit of taking ``true`` and ``"1"`` for numbers."""
    number = hint in (int, float, float | None)
    return Annotated[hint, BeforeValidator(_no_disguise)] if number else hint


def _no_disguise(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("input should be a number")
    return value


def _first_problem(kind: type[Any], error: ValidationError) -> str:
    problem = error.errors()[0]
    name = ".".join(str(part) for part in problem["loc"])
    table = kind.__name__.removesuffix("Options").lower()
    if problem["type"] == "extra_forbidden":
        known = ", ".join(item.name for item in fields(kind))
        return f"the option {name!r} of [{table}] is unknown; expected one of {known}"
    said = problem["msg"].removeprefix("Value error, ")
    reason = said[:1].lower() + said[1:]
    return f"the option {name!r} of [{table}] is {problem['input']!r}: {reason}"
