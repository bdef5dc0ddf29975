import base64
import io
import re
import subprocess
import sys

import matplotlib as mpl
import pytest
from PIL import Image

from betis.errors import RunFolderError
from betis.report import write_report
from betis.report.canvas import house_style
from betis.report.promise import draw_snr_histogram
from betis.report.write import make_html

SECTIONS = [
    "input",
    "binning",
    "lines",
    "stars",
    "diagnostics",
    "spectra",
    "quality",
    "recovery",
    "timings",
    "warnings",
    "settings",
]


def images(html):
    return [
        base64.b64decode(code) for code in re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    ]


def test_every_section_is_there_in_order_and_linked(html, parse):
    page = parse(html)
    assert [part.get("id") for part in page.iter("section")] == SECTIONS
    assert [link.get("href") for link in page.iter("a")] == [f"#{name}" for name in SECTIONS]


def test_the_page_has_title_charset_and_one_first_heading(html, parse, content):
    page = parse(html)
    assert page.findtext(".//title").startswith(content.title)
    assert [h.text for h in page.iter("h1")] == [content.title]
    assert page.find(".//meta[@charset]").get("charset") == "utf-8"


def test_every_image_is_a_png_with_its_own_text(html, parse):
    shown = list(parse(html).iter("img"))
    assert len(shown) == len(images(html)) >= 28
    for png in images(html):
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            assert image.format == "PNG"
            assert min(image.size) > 200
    texts = [image.get("alt") for image in shown]
    assert all(texts)
    assert len(set(texts)) == len(texts)


def test_nothing_outside_the_page_is_referred_to(html, parse):
    page = parse(html)
    sources = [part.get(key) for part in page.iter() for key in ("src", "href") if part.get(key)]
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    tags = {part.tag for part in page.iter()}
    assert not tags & {"script", "link", "iframe", "object", "embed"}
    assert not re.search(r"@import|url\(", page.findtext(".//style"))


def test_text_is_escaped(html, parse, content):
    assert "<unit>" not in html
    assert content.warnings[0] in "".join(parse(html).itertext())


def test_maps_name_lines_and_units(html, parse):
    texts = {image.get("alt") for image in parse(html).iter("img")}
    assert "Map: Flux of Hα, 10⁻²⁰ erg/s/cm² per spaxel" in texts
    assert "Map: Flux of [S II] 6716+6731, 10⁻²⁰ erg/s/cm² per spaxel" in texts
    assert {"Map: Velocity of Hβ, km/s", "Map: σ of Hα, km/s", "Map: EW of Hα, Å, rest frame"} <= (
        texts
    )
    assert {"Map: Stellar velocity, km/s", "Map: Stellar A_V, mag"} <= texts


def test_the_section_on_binning_tells_what_was_asked_promised_and_reached(html, parse):
    (section,) = (part for part in parse(html).iter("section") if part.get("id") == "binning")
    texts = {image.get("alt") for image in section.iter("img")}
    assert "S/N of the bins, measured on their spectra against predicted from the maps" in texts
    assert "Map: [S II] 6716 and the bins, 10⁻²⁰ erg/s/cm² per spaxel" in texts
    assert [name.text for name in section.iter("dt")] == ["target", "margin", "noise of a bin"]
    assert [row[0].text for row in section.iter("tr")][1:] == [
        "none",
        "LOW_SNR",
        "in no bin",
        "all",
    ]


def test_size_is_bounded_and_does_not_grow_with_bins(html, make):
    many = make_html(make((40, 40), step=10.0, spaxels=True))
    assert len(html) < 8e6
    assert len(images(many)) <= len(images(html)) + 1
    assert len(many) < 1.5 * len(html)


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr("betis.report.write.make_html", lambda _: "new ″")


def test_the_report_is_written_whole(tmp_path, small, undrawn):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, small)
    assert [part.read_text("utf-8") for part in tmp_path.iterdir()] == ["new ″"]


def test_a_failure_leaves_the_old_report(tmp_path, small, undrawn, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(RunFolderError, match="No space left"):
        write_report(path, small)
    assert {part.name: part.read_text() for part in tmp_path.iterdir()} == {"report.html": "old"}


def test_a_figure_that_fails_leaves_the_old_report(tmp_path, small, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("betis.report.write.draw_cube_image", fail)
    with pytest.raises(ZeroDivisionError):
        write_report(path, small)
    assert {part.name: part.read_text() for part in tmp_path.iterdir()} == {"report.html": "old"}


def test_a_missing_folder_is_named(tmp_path, small, undrawn):
    with pytest.raises(RunFolderError, match=r"absent.report\.html"):
        write_report(tmp_path / "absent" / "report.html", small)


def test_the_users_matplotlib_settings_neither_matter_nor_change(small):
    with house_style():
        plain = draw_snr_histogram(small)
    with mpl.rc_context({"font.size": 30, "image.cmap": "jet", "figure.dpi": 30}):
        before = dict(mpl.rcParams)
        with house_style():
            again = draw_snr_histogram(small)
        assert dict(mpl.rcParams) == before
    assert again == plain


def test_only_drawing_loads_matplotlib_and_never_pyplot():
    code = (
        "import sys, betis.report.write\n"
        "assert not {'matplotlib', 'astropy'} & set(sys.modules)\n"
        "from betis.report.canvas import house_style, new_figure, to_png\n"
        "with house_style(): to_png(new_figure(1, 1))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
