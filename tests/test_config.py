"""Options are checked, and a flag wins over the file, the file over the default."""

import tomllib

import pytest

from betis.config import FLAGS, merged, options_from, read_tables, to_toml
from betis.errors import ConfigError, InputError
from betis.options import Options


def test_what_is_written_is_what_was_meant(tmp_path):
    options = options_from({"prepare": {"redshift": 0.02, "av": 0.3}, "binning": {"target": 7}})
    (tmp_path / "config.toml").write_text(to_toml(options))
    assert options_from(read_tables(tmp_path / "config.toml")) == options


@pytest.mark.parametrize("full", [True, False])
def test_the_template_is_toml_with_the_defaults(full):
    assert options_from(tomllib.loads(to_toml(Options(), full=full))) == Options()


def test_the_short_template_is_shorter():
    assert len(to_toml(Options(), full=False)) < 0.7 * len(to_toml(Options(), full=True))


def test_a_flag_wins_over_the_file_and_the_file_over_the_default():
    file = {"binning": {"target": 5.0}, "snr": {"line": "Ha6563"}}
    options = options_from(merged(file, {"target_snr": 30.0, "redshift": None}))
    assert options.binning.target == 30.0
    assert options.snr.line == "Ha6563"
    assert options.binning.max_level == Options().binning.max_level


def test_every_flag_sets_an_option_that_exists():
    for table, key in FLAGS.values():
        assert hasattr(getattr(Options(), table), key)


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"binnig": {}}, r"the table \[binnig\] is unknown; expected one of cube, prepare"),
        ({"snr": {"lin": "x"}}, r"the option 'lin' of \[snr\] is unknown; expected one of line"),
        ({"binning": {"target": "ten"}}, r"'target' of \[binning\] is 'ten'"),
        ({"snr": {"method": "hexagons"}}, r"'hexagons': input should be 'matched' or"),
        ({"prepare": {"av": -1}}, r"'av' of \[prepare\] is -1: input should be greater"),
    ],
)
def test_a_wrong_option_is_one_sentence(tables, sentence):
    with pytest.raises(ConfigError, match=sentence):
        options_from(tables)


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    (tmp_path / "bad.toml").write_text("[snr\nline=")
    with pytest.raises(InputError, match=r"bad\.toml is not valid TOML"):
        read_tables(tmp_path / "bad.toml")


def test_a_key_outside_any_table_is_refused(tmp_path):
    (tmp_path / "bad.toml").write_text("redshift = 1\n")
    with pytest.raises(ConfigError, match=r"'redshift' of .* stands in no table"):
        read_tables(tmp_path / "bad.toml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no configuration file .*gone\.toml"):
        read_tables(tmp_path / "gone.toml")
