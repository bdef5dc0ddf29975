"""``true`` and ``"0.1"`` are no numbers, and a redshift means the same to every command."""

import pytest

from betis.cli import main
from betis.config import options_from
from betis.errors import ConfigError


@pytest.mark.parametrize("value", [True, "0.1", "nan", [1.0]])
@pytest.mark.parametrize(
    ("table", "key"), [("prepare", "av"), ("prepare", "redshift"), ("binning", "max_level")]
)
def test_what_only_looks_like_a_number_is_refused(table, key, value):
    with pytest.raises(
        ConfigError, match=rf"the option '{key}' of \[{table}\] is .*number|integer"
    ):
        options_from({table: {key: value}})


@pytest.mark.parametrize("redshift", ["-0.5", "nan", "inf", "11"])
def test_inspect_refuses_the_redshifts_that_run_refuses(redshift, mock_cube, tmp_path, capsys):
    assert main(["inspect", str(mock_cube), "-z", redshift]) == 2
    assert "redshift" in capsys.readouterr().err
    assert main(["prepare", str(mock_cube), "-z", redshift, "-o", str(tmp_path)]) == 2
