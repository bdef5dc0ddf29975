"""Runs with each engine of the continuum, from a cube on."""

import sys

import numpy as np
import pytest
from tests.continuum import ppxf_stand_in

from betis import pipeline
from betis.errors import ConfigError
from betis.flags import Flag
from betis.mock import read_truth, truth_path


def run(cube, folder, continuum, stage="continuum", **binning):
    tables = {"prepare": {"redshift": 0.01}, "continuum": continuum, "binning": binning}
    made = pipeline.open_run(folder, cube, tables)
    pipeline.execute(made, stage)
    return made


def test_a_polynomial_leaves_the_lines_and_no_stars(mock_cube, tmp_path):
    made = run(mock_cube, tmp_path / "run", {"engine": "polynomial"}, "maps", target=40.0)
    stars, lines, maps = (made.obtain(name) for name in ("continuum", "lines", "maps"))
    assert np.isfinite(stars.take(slice(None)).model).all()
    assert np.median(lines.snr[:, lines.index("Ha6563")]) > 20
    assert "STELLAR_VELOCITY" not in maps


def test_spaxels_share_the_velocity_of_their_neighbourhood(mock_cube, tmp_path):
    options = {"kinematics": "coarse", "coarse_snr": 90.0}
    made = run(mock_cube, tmp_path / "run", options, method="spaxel")
    table = made.obtain("continuum").table
    coarse = (table.flags & Flag.COARSE_KINEMATICS) > 0
    assert coarse.mean() > 0.5
    assert np.unique(table.velocity[coarse]).size < 0.5 * coarse.sum()


@pytest.mark.parametrize("installed", ["stand-in", "ppxf"])
def test_ppxf_finds_the_velocities_of_the_stars(mock_cube, tmp_path, monkeypatch, installed):
    if installed == "ppxf":
        pytest.importorskip("ppxf", reason="the extra betis[ppxf] is not installed")
    else:
        monkeypatch.setitem(sys.modules, "ppxf", ppxf_stand_in.module())
        monkeypatch.setitem(sys.modules, "ppxf.ppxf", ppxf_stand_in.module())
    made = run(mock_cube, tmp_path / "run", {"engine": "ppxf"}, target=50.0, max_level=3)
    table = made.obtain("continuum").table
    good = table.flags == 0
    assert good.sum() >= 1
    truth = read_truth(truth_path(mock_cube)).velocity
    low, high = np.nanmin(truth) - 30, np.nanmax(truth) + 30
    assert np.all((table.velocity[good] > low) & (table.velocity[good] < high))


def test_a_wrong_pair_of_options_is_one_sentence(mock_cube, tmp_path):
    options = {"engine": "polynomial", "kinematics": "coarse"}
    with pytest.raises(ConfigError, match="which cannot hold a velocity; set it to 'bin'"):
        run(mock_cube, tmp_path / "run", options)
