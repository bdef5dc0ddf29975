"""The tutorial does what it says: Python, catalogue, options and pictures of it."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from betis.batch.catalogue import read_catalogue
from betis.config import options_from, read_tables

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
MAX_BYTES = 150_000


def block(language):
    """Return the one fenced block of the tutorial in some language."""
    text = TUTORIAL.read_text("utf-8")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return found


def test_its_python_runs_and_knows_the_lines_that_are_not_detected(
    finished_run, tmp_path, monkeypatch, capsys
):
    (tmp_path / "demo").symlink_to(finished_run)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block("python"), "tutorial", "exec"), names)
    assert np.nansum(names["halpha"]) > 0
    assert 0 < names["seen"].sum() < len(names["oxygen"])
    assert (names["limits"] > 0).all()
    assert "[O I] 6300 in" in capsys.readouterr().out


def test_its_catalogue_is_one(tmp_path):
    (tmp_path / "sample.csv").write_text(block("text"), "utf-8")
    galaxies = read_catalogue(tmp_path / "sample.csv")
    assert [galaxy.name for galaxy in galaxies] == ["blocks", "cells"]
    assert galaxies[1].tables["binning"] == {"method": "voronoi"}
    assert galaxies[0].cube == tmp_path / "demo" / "galaxy.fits"


def test_its_options_ask_for_errors_from_the_residual(tmp_path):
    (tmp_path / "second.toml").write_text(block("toml"), "utf-8")
    assert options_from(read_tables(tmp_path / "second.toml")).lines.errors == "residual"


PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
PICTURES = [
    pytest.param(page.parent / path, id=f"{page.stem}-{Path(path).stem}")
    for page in PAGES
    for path in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text("utf-8"))
]


def test_readme_and_tutorial_have_pictures():
    shown = [picture.id for picture in PICTURES]
    assert "README-demo-maps" in shown
    assert "tutorial-demo-bin" in shown


@pytest.mark.parametrize("path", PICTURES)
def test_every_picture_of_a_page_is_there_and_small(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
    assert path.stat().st_size <= MAX_BYTES
