"""What the documentation shows can be done as it stands there."""

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import typer
from astropy.io import fits
from tests.io.small_cubes import Voxels, generic

import betis
from betis.cli import app
from betis.config import options_from
from betis.linelist import load_line_set
from betis.options import Options
from betis.wavelength import pixel_edges

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BAD_BITS = 0b110


def blocks(page, language):
    """Return the fenced blocks of a page in some language."""
    text = page.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def examples(language):
    """Return page and text of each fenced block in some language, as parameters."""
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page, language))
    ]


def described(table):
    """Return the TOML block of the page of instruments that has this table, and its content."""
    found = [
        (block, tomllib.loads(block)) for block in blocks(ROOT / "docs/instruments.md", "toml")
    ]
    (one,) = (pair for pair in found if table in pair[1])
    return one


@pytest.fixture
def voxels():
    drawn = Voxels.drawn()
    drawn.bits[3, 1, 1], drawn.bits[4, 1, 1], drawn.bits[5, 1, 1] = 2, 4 | 8, 8
    return drawn


def require_the_cube(cube, voxels, fwhm):
    """Check that a cube is what was written, the bits 2 and 4 of its mask bad."""
    bad = voxels.bits & BAD_BITS != 0
    np.testing.assert_array_equal(cube.mask, bad)
    np.testing.assert_array_equal(cube.flux[~bad], voxels.flux[~bad])
    np.testing.assert_allclose(cube.error[~bad], voxels.sigma[~bad], rtol=1e-6)
    np.testing.assert_allclose(cube.edges, pixel_edges(cube.wave))
    np.testing.assert_allclose(cube.lsf, fwhm)
    assert (cube.medium, cube.sky.flux_scale) == ("air", 1e-18)


def test_the_description_of_a_cube_reads_one(voxels, tmp_path):
    text, _ = described("cube")
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    hdus = generic(voxels, CTYPE3="LINEAR")
    del hdus[1].header["BUNIT"]
    fits.HDUList(hdus).writeto(tmp_path / "cube.fits")
    cube = betis.read_cube(tmp_path / "cube.fits", tmp_path / "mine.toml")
    require_the_cube(cube, voxels, 2.5)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install the package of the page of instruments: its module, and its entry point."""
    (module,) = blocks(ROOT / "docs/instruments.md", "python")
    _, project = described("project")
    name, version = project["project"]["name"], project["project"]["version"]
    site = tmp_path / "site"
    facts = site / f"{name.replace('-', '_')}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = project["project"]["entry-points"]
    (facts / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
            for group, points in groups.items()
        )
    )
    for points in groups.values():
        for value in points.values():
            (site / f"{value}.py").write_text(module, "utf-8")
    monkeypatch.syspath_prepend(site)


def test_the_reader_of_another_package_reads_its_cubes(installed, voxels, tmp_path):
    path = tmp_path / "cube.fits"
    hdus = generic(voxels, CTYPE3="LINEAR")
    fits.HDUList(hdus).writeto(path)
    with pytest.raises(betis.InputError, match=r"no reader knows its layout; .* example"):
        betis.read_cube(path)
    fits.setval(path, "INSTRUME", value="EXAMPLE")
    for instrument in (None, "example"):
        cube = betis.read_cube(path, instrument)
        assert cube.instrument == "example"
        require_the_cube(cube, voxels, cube.wave / 3000)


def test_there_are_examples_to_test():
    assert len(examples("toml")) > 3
    assert len(examples("python")) > 5
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("text", examples("toml"))
def test_every_toml_example_is_taken(text, tmp_path):
    tables = tomllib.loads(text)
    if "line" in tables:
        (tmp_path / "set.toml").write_text(text, "utf-8")
        assert load_line_set(tmp_path / "set.toml").names
    elif "project" not in tables:
        assert options_from(tables) != Options()


@pytest.mark.parametrize("text", examples("python"))
def test_every_import_of_a_python_example_works(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("text", examples("python"))
def test_every_public_name_of_a_python_example_exists(text):
    for name in re.findall(r"\bbetis\.(\w+)\(", text):
        assert name in betis.__all__


COMMANDS = sorted(
    {
        line.strip().partition("#")[0].strip()
        for page in PAGES
        for line in re.findall(r"^ {4,}(betis .*)$", page.read_text("utf-8"), re.MULTILINE)
    }
)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_has_flags_that_exist(line):
    command, words = typer.main.get_command(app), line.partition(">")[0].split()[1:]
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    known = {flag for parameter in command.params for flag in parameter.opts}
    flags = {word for word in words if re.match(r"--?[a-z]", word)}
    assert flags <= known, f"{flags - known} of {line!r}"


WRITTEN = [*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "docs/adr").glob("*.md")]


@pytest.fixture(scope="module")
def defined():
    """Return the names of functions and classes in each file of tests."""
    return {
        path.relative_to(ROOT).as_posix(): set(
            re.findall(r"^ *(?:def|class) (\w+)", path.read_text("utf-8"), re.MULTILINE)
        )
        for path in (ROOT / "tests").rglob("test_*.py")
    }


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.stem)
def test_every_test_and_benchmark_that_a_page_names_exists(page, defined):
    text = page.read_text("utf-8")
    for path in re.findall(r"`((?:tests|benchmarks|tools)/[\w/]+\.(?:py|toml))", text):
        assert (ROOT / path).is_file(), path
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)", text):
        assert name in defined[path], f"{path}::{name}"
    for name in re.findall(r"[`:](test_\w+|Test\w+)`", text):
        assert any(name in names for names in defined.values()), name


ROOM = re.compile(r"`([a-z_]+)/?`")


def rooms(text):
    """Return the names in the first column of the tables in a text."""
    return [
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in ROOM.findall(line.split("|")[1])
    ]


def modules(folder):
    """Return the names of modules and packages in a folder."""
    return {
        path.stem for path in folder.iterdir() if re.fullmatch(r"[a-z][a-z_]*(\.py)?", path.name)
    }


def test_the_tables_of_rooms_are_those_of_the_tree():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    house, _, inside = text.partition("In `io/`:")
    for part, folder in ((house, "src/betis"), (inside, "src/betis/io")):
        listed = rooms(part)
        assert len(listed) == len(set(listed))
        assert set(listed) == modules(ROOT / folder)


def test_the_numeric_rooms_are_those_of_the_contract():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    listed = re.search(r"the numeric ones \((.*?)\)", text, re.DOTALL)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (numeric,) = (one for one in contracts["contracts"] if "source_modules" in one)
    expected = {name.removeprefix("betis.") for name in numeric["source_modules"]}
    assert set(ROOM.findall(listed[1])) == expected
