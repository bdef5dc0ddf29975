"""A finished run is read as it lies there, and shown."""

import shutil

import numpy as np
import pytest

from betis.cli import main
from betis.errors import RunFolderError
from betis.finished import open_finished
from betis.lines.model import line_model


@pytest.fixture
def copied(finished_run, tmp_path):
    """A run folder that may be spoilt."""
    return shutil.copytree(finished_run, tmp_path / "galaxy")


def test_the_lines_of_a_view_add_up_to_the_model(finished_run):
    run = open_finished(finished_run)
    for row in (0, run.bins.n_bin - 1):
        gas, stars = run.nebular(slice(row, row + 1))
        expected = line_model(run.lines.take(slice(row, row + 1)), gas, background=False)[0]
        view = run.view(row)
        np.testing.assert_allclose(view.profiles.sum(axis=0), expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(view.stars.model, stars.model)
        strongest = view.lines.index("Ha6563")
        peak = view.wave[np.argmax(view.profiles[strongest])]
        assert abs(peak - view.centers[strongest]) < 1.25


def test_the_gas_comes_whole_and_without_its_lines_if_asked(finished_run):
    run = open_finished(finished_run)
    whole = np.concatenate([part.flux for part in run.gas()])
    bare = np.concatenate([part.flux for part in run.gas(lines=False)])
    assert whole.shape == (run.bins.n_bin, run.spectra.wave.size)
    every = run.nebular(slice(None))[0]
    fitted = line_model(run.lines, every, background=False)
    good = ~every.mask
    np.testing.assert_allclose((whole - bare)[good], fitted[good], rtol=1e-9, atol=1e-9)


def test_show_draws_and_leaves_the_run_as_it_was(copied, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in copied.iterdir()}
    assert main(["show", str(copied), "--bin", "0", "--line", "Ha6563"]) == 0
    said = capsys.readouterr().out
    assert f"done: {copied / 'figures' / 'bin-0.png'}" in said
    assert "NII6583" in said
    assert (copied / "figures" / "bin-0.png").stat().st_size > 20_000
    shutil.rmtree(copied / "figures")
    assert before == {path.name: path.stat().st_mtime_ns for path in copied.iterdir()}


def test_a_stage_that_is_missing_is_named_with_its_command(copied, capsys):
    (copied / "lines.fits").unlink()
    assert main(["show", str(copied), "--bin", "0"]) == 2
    assert f"has no lines.fits, which this needs; make it with `betis lines {copied}`" in (
        capsys.readouterr().err
    )
    (copied / "continuum.fits").unlink()
    with pytest.raises(RunFolderError, match=r"has no continuum\.fits.*`betis continuum "):
        open_finished(copied)


def test_folders_without_a_run_are_refused(tmp_path):
    with pytest.raises(RunFolderError, match="there is no run folder"):
        open_finished(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"holds no run \(it has no config\.toml\)"):
        open_finished(tmp_path)


def test_products_of_different_runs_are_refused(copied):
    from betis.io.products import read_bins, write_bins
    from betis.products import BinMap, Sky

    bins = read_bins(copied / "bins.fits")
    one = BinMap(
        bin_id=np.where(bins.bin_id >= 0, 0, -1).astype(np.int32),
        n_spaxel=np.array([bins.n_spaxel.sum()], np.int32),
        snr=np.array([10.0]),
        target=10.0,
        flags=np.zeros(1, np.int32),
    )
    write_bins(copied / "bins.fits", one, Sky(shape=bins.bin_id.shape), {})
    with pytest.raises(RunFolderError, match=r"1 rows in bins\.fits, .* must be the same"):
        open_finished(copied)


def test_a_line_that_is_not_in_the_set_of_the_run_is_refused(copied):
    text = (copied / "config.toml").read_text("utf-8")
    mine = copied / "mine.toml"
    mine.write_text('[[line]]\nname = "Ha6563"\nair = 6562.8\n', "utf-8")
    assert 'line_set = "standard"' in text
    changed = text.replace('line_set = "standard"', f'line_set = "{mine}"')
    (copied / "config.toml").write_text(changed, "utf-8")
    with pytest.raises(RunFolderError, match=r"which is not in the line set 'mine'"):
        open_finished(copied).view(0)
