"""Sphinx configuration; the tables of flags, options and lines are made from the package itself."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

import betis
from betis.config import FLAGS
from betis.flags import MEANING
from betis.linelist import describe_line, load_line_set
from betis.options import Options

project = "betis"
author = "The betis developers"
project_copyright = author
release = betis.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"betis {release}"
default_role = "code"
autodoc_typehints = "none"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
myst_enable_extensions = ["dollarmath", "amsmath", "substitution", "deflist"]
myst_heading_anchors = 3

_HERE = Path(__file__).parent


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _flag_rows() -> list[list[Any]]:
    return [[flag.value, f"`{flag.name}`", meaning] for flag, meaning in MEANING.items()]


def _option_tables() -> str:
    parts = []
    for stage in dataclasses.fields(Options):
        options = getattr(Options(), stage.name)
        rows = [_option_row(stage.name, options, f) for f in dataclasses.fields(options)]
        head = ["key", "default", "unit", "allowed", "meaning"]
        parts += [f"## `[{stage.name}]`", type(options).__doc__, _table(head, rows)]
    return "\n\n".join(parts)


def _option_row(table: str, options: object, field: dataclasses.Field[Any]) -> list[str]:
    value, extra = getattr(options, field.name), field.metadata
    flags = [
        f"`--{flag}`".replace("_", "-") for flag, at in FLAGS.items() if at == (table, field.name)
    ]
    return [
        f"`{field.name}`",
        "none" if value is None else f"`{_toml(value)}`",
        extra.get("unit", ""),
        _allowed(extra.get("low"), extra.get("high")),
        "; ".join([extra["doc"], *flags]),
    ]


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _allowed(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"at least {low:g}"
    return f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


_LINE_HEAD = ["name", "line", "air [Å]", "vacuum [Å]", "kinematics", "gas", "flux tied to", "kind"]
_LIMIT_HEAD = ["plane", "card", "name", "line", "air [Å]", "kinematics", "sign", "window [Å]"]


def _line_table(name: str, head: list[str]) -> str:
    """Return what a shipped set says of its lines; the set's window where a line has none."""
    chosen = load_line_set(name)
    rows = []
    for line in chosen.lines:
        said = describe_line(replace(line, window=line.window or chosen.window))
        said |= {"name": f"`{line.name}`", "plane": str(line.plane), "card": line.card}
        rows.append([said[key] for key in head])
    if "plane" in head:
        rows.sort(key=lambda row: int(row[0]))
    return _table(head, rows)


myst_substitutions = {
    "flag_table": _table(["bit", "name", "meaning"], _flag_rows()),
    "option_tables": _option_tables(),
    "line_table": _line_table("standard", _LINE_HEAD),
    "betis41_table": _line_table("betis41", _LIMIT_HEAD),
}


def _public_names() -> dict[str, list[str]]:
    names = sorted(name for name in betis.__all__ if not name.startswith("__"))
    classes = [name for name in names if isinstance(getattr(betis, name), type)]
    return {"Functions": [name for name in names if name not in classes], "Classes": classes}


def _write_api_page() -> None:
    """Write the list of the public face, which autosummary turns into a page a name."""
    parts = ["API", "===", "", "The public face: the names in ``betis.__all__``.", ""]
    for title, names in _public_names().items():
        parts += [title, "-" * len(title), "", ".. autosummary::", "   :toctree: generated", ""]
        parts += [*(f"   betis.{name}" for name in names), ""]
    page = _HERE / "api" / "index.rst"
    page.parent.mkdir(exist_ok=True)
    text = "\n".join(parts)
    if not page.is_file() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")


_write_api_page()


def _visit_math(translator: Any, node: nodes.math | nodes.math_block) -> None:
    """Write an equation as MathML, which browsers show without a script from elsewhere."""
    translator.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the renderer of equations."""
    renderers = (_visit_math, None)
    app.add_html_math_renderer("mathml", renderers, renderers)
