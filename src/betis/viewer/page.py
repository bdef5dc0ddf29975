"""The page round the figures: its places, its style, and what it hands to the reader's disk."""

from __future__ import annotations

from json import dumps
from typing import Any

from bokeh.models import Button, CustomJS, Div
from bokeh.themes import Theme
from jinja2 import Template

from betis.report.canvas import INK

__all__ = ["TABLE_STYLE", "Download", "image_button", "page_template", "theme"]

_PAGE = """
{% extends base %}
{% from macros import embed %}
{% block title %}{{ run_title | e }} · betis{% endblock %}
{% block postamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  :root { --ink: #1d2530; --soft: #667080; --edge: #dfe3e8; --ground: #f4f6f8; }
  body { margin: 0; background: var(--ground); color: var(--ink);
         font: 14px/1.45 Helvetica, Arial, sans-serif; }
  header { padding: 10px 18px 8px; background: #fff; border-bottom: 1px solid var(--edge);
           display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: baseline; }
  header h1 { font-size: 18px; margin: 0; }
  header span { color: var(--soft); }
  .missing { margin: 10px 14px 0; padding: 7px 12px; background: #fff6dd;
             border: 1px solid #ecd9a0; border-radius: 6px; font-size: 13px; }
  .missing p { margin: 1px 0; }
  main { display: grid; grid-template-columns: minmax(0, 545px) minmax(0, 1fr); gap: 12px;
         padding: 12px 14px; align-items: start; }
  section { background: #fff; border: 1px solid var(--edge); border-radius: 8px; padding: 12px;
            min-width: 0; }
  .controls { display: grid; grid-template-columns: repeat(12, minmax(0, 1fr)); gap: 8px 10px;
              align-items: end; margin-bottom: 8px; }
  .w2 { grid-column: span 2; } .w3 { grid-column: span 3; } .w4 { grid-column: span 4; }
  .w5 { grid-column: span 5; } .w6 { grid-column: span 6; } .w7 { grid-column: span 7; }
  .w8 { grid-column: span 8; } .w12 { grid-column: span 12; }
  .map { display: flex; justify-content: center; overflow-x: auto; }
  .files { display: flex; gap: 8px; align-items: center; flex-wrap: wrap; margin-top: 8px; }
  .files > span { color: var(--soft); font-size: 12px; }
  .strips { margin: 2px 0 0; font-size: 12px; color: var(--soft); }
  .strips i { display: inline-block; width: 11px; height: 11px; border-radius: 2px;
              margin: 0 5px 0 10px; }
  .strips span { float: right; }
  .missing code { background: #f6e7b8; padding: 0 4px; border-radius: 3px; }
  .hint { color: var(--soft); font-size: 12px; text-align: center; margin: 2px 0; }
  @media (max-width: 1150px) { main { grid-template-columns: minmax(0, 1fr); } }
</style>
{% endblock %}
{% block contents %}
<header><h1>{{ run_title | e }}</h1>{% for fact in run_facts %}<span>{{ fact | e }}</span>
{% endfor %}</header>
{% if run_missing %}<div class="missing">{% for said in run_missing %}<p>{{ said }}</p>
{% endfor %}</div>{% endif %}
<main>
<section>
  <div class="controls">
    <div class="w7">{{ embed(roots.quantity) }}</div><div class="w5">{{ embed(roots.line) }}</div>
    <div class="w3">{{ embed(roots.stretch) }}</div><div class="w3">{{ embed(roots.share) }}</div>
    <div class="w3">{{ embed(roots.low) }}</div><div class="w3">{{ embed(roots.high) }}</div>
    <div class="w4">{{ embed(roots.colors) }}</div><div class="w8">{{ embed(roots.flags) }}</div>
    <div class="w12">{{ embed(roots.filter) }}</div>
  </div>
  {{ embed(roots.said) }}
  <div class="map">{{ embed(roots.map) }}</div>
  <p class="hint">Click a bin to see its spectrum; shift-click to add one, or take it away.</p>
  {{ embed(roots.key) }}
  <div class="files"><span>this map:</span>{{ embed(roots.map_png) }}{{ embed(roots.map_csv) }}
  </div>
</section>
<section>
  <div class="controls">
    <div class="w2">{{ embed(roots.bin) }}</div><div class="w4">{{ embed(roots.order) }}</div>
    <div class="w2">{{ embed(roots.back) }}</div><div class="w2">{{ embed(roots.on) }}</div>
    <div class="w2">{{ embed(roots.place) }}</div>
    <div class="w6">{{ embed(roots.zoom) }}</div><div class="w6">{{ embed(roots.several) }}</div>
  </div>
  {{ embed(roots.facts) }}
  {{ embed(roots.spectrum) }}
  <p class="strips"><i style="background:#d9bddd"></i>masked
  <i style="background:#f8d890"></i>left out of the fit of the stars (residual)
  <span>drag to move, wheel to zoom in wavelength</span></p>
  <div class="files"><span>these spectra:</span>{{ embed(roots.spectrum_png) }}
  {{ embed(roots.spectrum_csv) }}<span>their lines:</span>{{ embed(roots.lines_csv) }}
  {{ embed(roots.every) }}</div>
  {{ embed(roots.table) }}
</section>
</main>
{{ embed(roots.download) }}
{% endblock %}
"""

TABLE_STYLE = """
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12.5px; width: 100%; margin-top: 6px;
        font-variant-numeric: tabular-nums; }
th { text-align: right; color: #667080; font-weight: 600; border-bottom: 1px solid #c7ced6;
     padding: 3px 8px; white-space: nowrap; }
td { text-align: right; padding: 2px 8px; border-bottom: 1px solid #eef1f4; white-space: nowrap; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
tr.faint td { color: #98a1ac; }
tr:hover td { background: #f6f8fa; }
td.flags { white-space: normal; }
td span { display: inline-block; padding: 0 5px; margin: 1px 0; border-radius: 3px;
          font-size: 10.5px; cursor: help; }
.calm { background: #eceff2; color: #55606d; }
.alarm { background: #fde3d6; color: #a03a00; }
.note { color: #667080; font-size: 12px; margin: 4px 0; }
h2 { font-size: 15px; margin: 2px 0; }
p { margin: 1px 0; font-size: 12.5px; }
.error { background: #fde3d6; color: #8a2f00; padding: 5px 9px; border-radius: 5px; }
"""

_SAVE = """
const { name, text } = JSON.parse(this.text);
const link = document.createElement("a");
link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
link.download = name;
link.click();
URL.revokeObjectURL(link.href);
"""

_EXPORT = """
const view = Bokeh.index.get_one(shown);
const blob = await view.export("png", true).to_blob();
const link = document.createElement("a");
link.href = URL.createObjectURL(blob);
link.download = stem + ".png";
link.click();
URL.revokeObjectURL(link.href);
"""


def page_template() -> Template:
    """Return the page into which bokeh puts the figures and widgets."""
    template: Template = Template(_PAGE)
    return template


def theme() -> Theme:
    """Return the look of all figures: that of the report."""
    font = "Helvetica, Arial, sans-serif"
    text = {"text_font": font, "text_color": INK}
    axis = {f"axis_label_{name}": value for name, value in text.items()}
    axis |= {f"major_label_{name}": value for name, value in text.items()}
    sizes = {"axis_label_text_font_size": "12px", "major_label_text_font_size": "11px"}
    plain = {"axis_label_text_font_style": "normal", "axis_line_color": INK}
    return Theme(
        json={
            "attrs": {
                "Axis": {**axis, **sizes, **plain, "minor_tick_line_color": None},
                "Grid": {"grid_line_color": "#eef1f4"},
                "Title": {**text, "text_font_size": "13px"},
                "Text": {"text_font": {"value": font}},
                "ColorBar": {
                    "title_text_font_style": "normal",
                    "title_text_font_size": "11px",
                    "major_label_text_font_size": "11px",
                },
                "Plot": {"outline_line_color": "#c7ced6"},
            }
        }
    )


class Download:
    """Hands text to the browser as a file: nothing is served but the page itself."""

    def __init__(self) -> None:
        self._count = 0
        self.model: Any = Div(text="", visible=False, name="download")
        self.model.js_on_change("text", CustomJS(code=_SAVE))

    def send(self, name: str, text: str) -> None:
        """Make the browser save a file of this name."""
        self._count += 1  # what is the same as before would be no change
        self.model.text = dumps({"name": name, "text": text, "count": self._count})


def image_button(shown: Any, stem: str, name: str) -> Any:
    """Return a button that saves a figure, or a column of them, as a PNG."""
    button = Button(label="PNG", name=name, width=70)
    code = f"export default async ({{ shown, stem }}) => {{ {_EXPORT} }}"
    button.js_on_click(CustomJS(args={"shown": shown, "stem": stem}, code=code))
    return button
