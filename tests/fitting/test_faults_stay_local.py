"""A block of rows whose fit fails costs these rows and no others, and the run says so."""

import numpy as np
import pytest

from betis import faults
from betis.errors import FitError
from betis.flags import Flag
from betis.io.row_products import read_continuum, read_lines
from betis.io.run_folder import RunFolder

from .conftest import BLOCK, assert_same_products, content, run

N_ROW = 52
PIECE = 3  # rows: a block of 20 is tried again in blocks of 3


def failed_rows(folder, stage):
    if stage == "lines":
        return np.flatnonzero(
            ((np.asarray(read_lines(folder / "lines.fits").flags) & Flag.FIT_FAILED) != 0).all(
                axis=1
            )
        )
    flags = read_continuum(folder / "continuum.fits").table.flags
    return np.flatnonzero((flags & Flag.FIT_FAILED) != 0)


def said(folder, stage):
    return " ".join(RunFolder(folder).provenance()["warnings"][stage])


@pytest.mark.parametrize("stage", ["continuum", "lines"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("raise", "FloatingPointError: a fault on purpose"),
        ("bug", "AssertionError: a fault on purpose"),
        ("nan", "the fit of 1 rows is not a number"),
        ("hang", "TimeoutError: it took longer than 1 s"),
    ],
)
def test_only_the_rows_of_a_small_block_are_lost(stage, kind, reason, cube, tmp_path, monkeypatch,
                                                 undisturbed):  # fmt: skip
    monkeypatch.setenv(faults.VARIABLE, f"{stage}:25 {kind}")
    run(cube, tmp_path / "run", stage, time_limit=1.0 if kind == "hang" else 0.0)
    struck = failed_rows(tmp_path / "run", stage)
    np.testing.assert_array_equal(struck, [23, 24, 25])
    assert reason in said(tmp_path / "run", stage)
    assert f"the fits of {PIECE} of 52 spectra failed" in said(tmp_path / "run", stage)
    assert f"rows {BLOCK} to {2 * BLOCK - 1}" in (tmp_path / "run" / "run.log").read_text()
    others = np.setdiff1d(np.arange(N_ROW), struck)
    for name, rows in (("continuum.fits", read_continuum), ("lines.fits", read_lines)):
        if stage in name:
            ours, theirs = (
                rows(folder / name).take(others) for folder in (tmp_path / "run", undisturbed)
            )
            np.testing.assert_array_equal(ours.flags, theirs.flags)
            np.testing.assert_allclose(ours.chi2, theirs.chi2, rtol=1e-9)


def test_what_lacks_memory_fits_in_smaller_blocks(cube, tmp_path, monkeypatch, undisturbed):
    monkeypatch.setattr(faults, "MOST_ROWS", 4)
    monkeypatch.setenv(faults.VARIABLE, "continuum:25 memory; lines:0 memory")
    run(cube, tmp_path / "run", "lines")
    assert not said(tmp_path / "run", "continuum")
    assert "could not be fitted" in (tmp_path / "run" / "run.log").read_text()
    ours, theirs = (read_lines(folder / "lines.fits") for folder in (tmp_path / "run", undisturbed))
    np.testing.assert_array_equal(ours.flags, theirs.flags)
    np.testing.assert_allclose(ours.flux, theirs.flux, rtol=1e-3)


def test_when_every_fit_fails_the_run_ends_and_can_be_repeated(cube, tmp_path, monkeypatch,
                                                               undisturbed):  # fmt: skip
    everywhere = "; ".join(f"lines:{row} raise" for row in range(N_ROW))
    with monkeypatch.context() as patched:
        patched.setenv(faults.VARIABLE, everywhere)
        with pytest.raises(
            FitError, match=r"all 52 spectra failed in the stage lines .*on purpose"
        ):
            run(cube, tmp_path / "run")
    run(cube, tmp_path / "run")
    assert_same_products(tmp_path / "run", undisturbed)


def test_what_failed_before_a_kill_is_still_told(cube, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setenv(faults.VARIABLE, "lines:5 raise; write:9999 full")
        run(cube, tmp_path / "straight", "lines")
    with monkeypatch.context() as patched:
        patched.setenv(faults.VARIABLE, "lines:5 raise; lines:45 unknown")
        stopped = pytest.raises(KeyboardInterrupt, match="stopped")
        patched.setattr(faults, "_happen", interrupting(faults._happen))
        with stopped:
            run(cube, tmp_path / "killed", "lines")
    run(cube, tmp_path / "killed", "lines")
    assert said(tmp_path / "killed", "lines") == said(tmp_path / "straight", "lines")


def test_what_is_removed_is_tried_again_and_reaches_the_maps(cube, tmp_path, monkeypatch,
                                                             undisturbed):  # fmt: skip
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setenv(faults.VARIABLE, "lines:5 raise")
        run(cube, folder)
    assert content(folder / "maps.fits") != content(undisturbed / "maps.fits")
    (folder / "lines.fits").unlink()
    run(cube, folder)
    assert_same_products(folder, undisturbed)


def test_what_is_made_anew_as_it_was_leaves_what_follows(cube, tmp_path):
    run(cube, tmp_path, "maps")
    (tmp_path / "spectra.fits").unlink()
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in ("lines.fits", "maps.fits")}
    run(cube, tmp_path, "maps")
    assert (tmp_path / "spectra.fits").exists()
    assert before == {name: (tmp_path / name).stat().st_mtime_ns for name in before}


def interrupting(happen):
    def happened(kind, count):
        if kind == "unknown":
            raise KeyboardInterrupt("stopped")
        happen(kind, count)

    return happened
