"""`betis compare` on run folders: the page, the table and what is said where it cannot."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.report.conftest import make_content
from tests.viewer.runs import write_run

from betis.cli import main
from betis.compare import STARS
from betis.comparing import compare_runs, comparison_of
from betis.errors import RunFolderError
from betis.finished import open_finished
from betis.report.compare_content import compared, console_rows, difference_table, verdict
from betis.report.compare_page import make_comparison


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a run, and one whose fluxes are 10 % higher, made with another option."""
    where = tmp_path_factory.mktemp("runs")
    content = make_content((12, 12), step=5.0)
    write_run(where / "first", content)
    brighter = replace(content.lines, flux=1.1 * content.lines.flux)
    write_run(where / "second", replace(content, lines=brighter))
    config = where / "second" / "config.toml"
    text = config.read_text()
    assert "target = 10.0" in text
    config.write_text(text.replace("target = 10.0", "target = 20.0"))
    return where / "first", where / "second"


@pytest.fixture(scope="module")
def content(runs):
    return comparison_of(*map(open_finished, runs))


def test_options_and_differences_are_those_put_in(content):
    assert content.options == {"binning.target": ("10.0", "20.0")}
    assert compared(content, "Ha6563", "flux").middle() == pytest.approx((1.1, 0.0))
    assert compared(content, "Ha6563", "velocity").middle() == (0.0, 0.0)
    assert compared(content, STARS, "velocity").middle() == (0.0, 0.0)
    assert content.pairs.same_bins
    assert "flux in the second run is 1.100 ± 0.000 of the first" in verdict(content)
    (alpha,) = (row for row in console_rows(content) if row["line"] == "Ha6563")
    assert alpha["flux ratio (pull)"].startswith("1.100 ± 0.000 (")
    assert [row[0] for row in difference_table(content, "ew") if row[0] == "Hα"] == ["Hα"]


def test_the_page_is_one_file_of_maps_tables_and_what_differs(runs, content, tmp_path):
    _, path = compare_runs(*runs, tmp_path / "page.html")
    html = path.read_text("utf-8")
    page = ET.fromstring(html.removeprefix("<!DOCTYPE html>"))
    names = [part.get("id") for part in page.iter("section")]
    assert names == ["runs", "options", "fluxes", "kinematics", "widths", "stars", "pulls"]
    texts = [image.get("alt") for image in page.iter("img")]
    assert "Map: Hα: ratio of flux, second / first" in texts
    assert "Map: Stars: difference of velocity, km/s, second − first" in texts
    assert len(texts) == len(set(texts))
    sources = [part.get("src") or part.get("href") for part in page.iter()]
    assert all(s.startswith(("data:image/png", "#")) for s in sources if s)
    assert "binning.target" in html


def test_runs_without_stars_or_common_detections_say_so(content):
    found = [replace(d, value=np.full_like(d.value, np.nan)) for d in content.differences]
    html = make_comparison(replace(content, differences=found, options={}))
    assert "no line that both runs detect" in html
    assert "no bin in which both runs have fitted them" in html
    assert "made with the same options" in html
    assert "None of the main lines is detected in both runs" in html


def test_the_command_prints_a_table_and_writes_the_page(runs, monkeypatch, capsys):
    monkeypatch.setattr("betis.report.compare_page.make_comparison", lambda _: "page")
    assert main(["compare", *map(str, runs)]) == 0
    said = capsys.readouterr().out
    assert "binning.target: 10.0 | 20.0" in said
    assert "1.100 ± 0.000" in said
    assert (runs[0] / "compare-second.html").read_text("utf-8") == "page"


def test_a_folder_that_is_no_run_and_fields_apart_end_in_a_sentence(runs, tmp_path, capsys):
    with pytest.raises(RunFolderError, match="no run folder"):
        compare_runs(runs[0], tmp_path / "absent")
    apart = make_content((12, 12), step=5.0)
    gone = replace(apart.bins, bin_id=np.where(apart.bins.bin_id >= 0, -1, -1).astype(np.int32))
    write_run(tmp_path / "gone", replace(apart, bins=gone))
    assert main(["compare", str(runs[0]), str(tmp_path / "gone")]) == 2
    assert "no spaxel in common" in capsys.readouterr().err
