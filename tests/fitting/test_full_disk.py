"""The disk may be full at any write: one sentence, and the next run goes on to the same end."""

from itertools import count

import pytest

from betis import faults
from betis.errors import RunFolderError
from betis.io import fits as files

from .conftest import assert_same_products, run


@pytest.fixture
def writes(monkeypatch):
    """Count the writes of each run from 1."""

    def anew():
        monkeypatch.setattr(files, "_WRITES", count(1))

    return anew


def sentence_of(cube, folder, until="report"):
    """Run; return what was said of a full disk, "" where it was not full."""
    try:
        run(cube, folder, until)
    except RunFolderError as error:
        return str(error)
    return ""


def test_a_full_disk_again_and_again(cube, tmp_path, monkeypatch, undisturbed, writes):  # fmt: skip
    said = []
    for number in count(1):
        writes()
        monkeypatch.setenv(faults.VARIABLE, f"write:{number} full")
        said.append(sentence_of(cube, tmp_path / "run"))
        if not said[-1]:
            break
    assert len(said) > 4
    assert all("free some space and run again" in text for text in said[:-1])
    assert_same_products(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("number", [*range(2, 32, 7)])
def test_a_full_disk_at_one_write_of_a_fresh_run(number, cube, tmp_path, monkeypatch, undisturbed,
                                                 writes):  # fmt: skip
    writes()
    with monkeypatch.context() as patched:
        patched.setenv(faults.VARIABLE, f"write:{number} full")
        said = sentence_of(cube, tmp_path / "run", "maps")
    assert "free some space and run again" in said
    run(cube, tmp_path / "run", "derived")
    assert_same_products(tmp_path / "run", undisturbed)
