"""The page about samples shows a catalogue that runs, and names the columns that there are."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.batch.samples import write_mock

from betis.batch.catalogue import read_catalogue
from betis.batch.sample import check_batch
from betis.batch.summary import LINES, Result, numbers_of, write_summary

PAGE = (Path(__file__).parents[2] / "docs/batch.md").read_text("utf-8")


def block(language):
    """Return the one fenced block of the page in some language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found


def test_its_catalogue_can_be_run(tmp_path):
    (tmp_path / "sample.csv").write_text(block("text"), "utf-8")
    galaxies = read_catalogue(tmp_path / "sample.csv")
    assert [galaxy.name for galaxy in galaxies] == ["NGC863", "8138-6101", "GAMA41144", "NGC863-in"]
    for folder in ("muse", "manga", "sami"):
        (tmp_path / folder).mkdir()
    for name, instrument in (
        ("muse/ADP.NGC863", "muse"), ("manga/8138-6101-LIN", "manga-lin"), ("sami/41144", "sami"),
    ):  # fmt: skip
        write_mock(tmp_path, name, instrument)
    results = check_batch(read_catalogue(tmp_path / "sample.csv"), None, lambda _: None)
    assert [(result.status, result.said) for result in results] == [("ready", "")] * 4


@pytest.fixture(scope="module")
def folder(finished_run, tmp_path_factory):
    """A folder with the summary of a finished run, twice, and of one that failed."""
    path = tmp_path_factory.mktemp("summary")
    (path / "sample").mkdir()
    numbers = numbers_of(finished_run)
    good = Result(name="good", cube="a", status="done", numbers=numbers)
    bad = replace(good, name="bad", numbers={**numbers, "continuum chi2": 9.0})
    lost = Result(name="lost", cube="c", status="failed", said="there is no file c, none")
    write_summary(path / "sample/summary.csv", [good, bad, lost])
    return path


def test_its_python_finds_what_is_suspect(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    exec(compile(block("python"), "batch", "exec"), {})
    said = capsys.readouterr().out
    assert "bad" in said
    assert "lost" not in said


def test_it_names_the_columns_that_there_are(folder):
    columns = (folder / "sample/summary.csv").read_text().splitlines()[0].split(",")
    table = PAGE.partition("## The summary")[2].partition("The same for")[0]
    told = [
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    ]
    shown = [name for name in columns if name.split()[0] not in set(LINES) - {"Ha6563"}]
    assert sorted(told) == sorted(shown)
    same = PAGE.partition("The same for")[2].partition(";")[0]
    assert {"Ha6563", *re.findall(r"`(\w+)`", same)} == set(LINES)
