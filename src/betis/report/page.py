"""HTML: escaped text, tables, figures as data URIs, and the page round them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources


@dataclass(frozen=True)
class Picture:
    """A drawn figure: the bytes of its PNG, what it shows, and what to read below it."""

    png: bytes
    alt: str
    caption: str = ""


Panel = Picture | str
"""A figure, or the sentence that stands where it could not be drawn."""


def paragraph(text: str, css: str = "") -> str:
    """Return an escaped paragraph."""
    return f"<p{_css(css)}>{escape(text)}</p>"


def bullets(items: Iterable[str]) -> str:
    """Return an escaped list."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def heading(text: str) -> str:
    """Return a heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def table(rows: Sequence[Sequence[str]], *, head: bool = True) -> str:
    """Return a table of escaped cells; the first row is its header unless ``head`` is False."""
    body_rows = rows[1 if head else 0 :]
    numeric = [all(_is_number(cell) for cell in column) for column in zip(*body_rows, strict=False)]
    top = _row(rows[0], "th", numeric) if head else ""
    body = "".join(_row(row, "td", numeric) for row in body_rows)
    thead = f"<thead>{top}</thead>" if head else ""
    return f'<div class="scroll"><table>{thead}<tbody>{body}</tbody></table></div>'


def facts_list(facts: Mapping[str, str]) -> str:
    """Return names and values, in as many columns as fit."""
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="facts">{cells}</dl>'


def figure(panel: Panel) -> str:
    """Return a figure, or the sentence in its place."""
    if isinstance(panel, str):
        return f'<p class="absent">{escape(panel)}</p>'
    source = f"data:image/png;base64,{b64encode(panel.png).decode('ascii')}"
    caption = f"<figcaption>{escape(panel.caption)}</figcaption>" if panel.caption else ""
    return f'<figure><img src="{source}" alt="{escape(panel.alt)}"/>{caption}</figure>'


def grid(panels: Iterable[Panel], css: str = "maps") -> str:
    """Return figures side by side, as many in a row as fit."""
    cells = "".join(figure(panel) for panel in panels)
    return f'<div class="grid {escape(css)}">{cells}</div>'


def tiles(numbers: Mapping[str, str]) -> str:
    """Return the key numbers in large type, each with its name below."""
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in numbers.items()
    )
    return f'<dl class="tiles">{cells}</dl>'


def details(title: str, body: str) -> str:
    """Return a part that opens when it is clicked; ``body`` is HTML."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def section(name: str, title: str, body: str) -> str:
    """Return a section with an anchor; ``body`` is HTML."""
    return f'<section id="{escape(name)}"><h2>{escape(title)}</h2>{body}</section>'


def document(title: str, lead: str, sections: Mapping[str, tuple[str, str]]) -> str:
    """Return the whole page.

    Parameters
    ----------
    title
        Plain text, of the page and its first heading.
    lead
        HTML below the heading.
    sections
        ``{anchor: (title, HTML)}``.
    """
    style = resources.files("betis.report").joinpath("style.css").read_text("utf-8")
    links = "".join(
        f'<a href="#{escape(name)}">{escape(text)}</a>' for name, (text, _) in sections.items()
    )
    body = "\n".join(section(name, text, html) for name, (text, html) in sections.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{escape(title)} - betis report</title>
<style>{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{lead}<nav>{links}</nav></header>
<main>
{body}
</main>
</body>
</html>
"""


def _row(cells: Sequence[str], tag: str, numeric: Sequence[bool]) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    right = [*numeric, *[False] * (len(cells) - len(numeric))]
    parts = (
        f"<{tag}{scope}{_css('number' if is_number else '')}>{escape(cell)}</{tag}>"
        for cell, is_number in zip(cells, right, strict=False)
    )
    return f"<tr>{''.join(parts)}</tr>"


def _is_number(cell: str) -> bool:
    """Tell cells that stand at the right of their column."""
    return cell.lstrip("+-−<> ")[:1].isdigit() or cell == "–"


def _css(name: str) -> str:
    return f' class="{escape(name)}"' if name else ""
