"""The config.toml that a run leaves is a configuration file like any other."""

from betis.config import read_tables
from betis.mock import MockOptions, make_galaxy, write_cube
from betis.pipeline import execute, open_run


def test_the_configuration_of_a_run_starts_another_run_alike(tmp_path):
    cube = tmp_path / "cube.fits"
    write_cube(make_galaxy(MockOptions(n_y=8, n_x=8, wave_min=6500, wave_max=6700)), cube)
    first = open_run(
        tmp_path / "first", cube, {"prepare": {"redshift": 0.01}, "binning": {"target": 17.0}}
    )
    execute(first, "prepare")
    tables = read_tables(tmp_path / "first" / "config.toml")
    assert tables["input"]["cube"] == str(cube.resolve())
    second = open_run(tmp_path / "second", cube, tables)
    assert second.options == first.options
    assert second.options.binning.target == 17.0
