"""Line sets: the shipped one, and what a user's file may hold."""

import re
import tomllib
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.errors import ConfigError, InputError
from betis.linelist import Line, LineSet, load_line_set
from betis.wavelength import air_to_vacuum, rest_wave

STANDARD = load_line_set()
GREEK = {"Ha": "Hα", "Hb": "Hβ", "Hg": "Hγ", "Hd": "Hδ"}


@pytest.mark.parametrize("line", STANDARD.lines, ids=STANDARD.names)
def test_a_name_is_the_ion_and_the_rounded_air_wavelength(line):
    ion, number = re.fullmatch(r"([A-Z][a-z]?[IVX]*|H[a-d])(\d{4})", line.name).groups()
    assert int(number) == round(line.air)
    spoken = line.label.replace("[", "").replace("]", "").replace(" ", "")
    assert spoken.startswith(GREEK.get(ion, ion))
    assert ion in GREEK or spoken == line.name


@pytest.mark.parametrize(
    ("name", "vacuum"),
    # SDSS's list of vacuum wavelengths.
    [("Hb4861", 4862.69), ("OIII5007", 5008.24), ("Ha6563", 6564.61), ("SII6731", 6732.67)],
)
def test_the_vacuum_wavelengths_of_strong_lines_are_the_published_ones(name, vacuum):
    assert STANDARD[name].vacuum == pytest.approx(vacuum, abs=0.01)


@pytest.mark.parametrize(
    ("weak", "strong", "ratio"),
    [
        ("OIII4959", "OIII5007", 2.98),
        ("NII6548", "NII6583", 3.05),
        ("OI6364", "OI6300", 3.0),
    ],
)
def test_the_ratios_are_those_of_storey_and_zeippen(weak, strong, ratio):
    line = STANDARD[weak]
    assert line.ratio_of == strong
    assert 1 / line.ratio == pytest.approx(ratio, rel=1e-4)
    assert line.kinematics == STANDARD[strong].kinematics


def test_only_sodium_is_an_absorption_line():
    assert [line.name for line in STANDARD.lines if line.absorption] == ["NaI5890", "NaI5896"]


def test_the_lines_stand_in_the_order_of_their_wavelengths():
    air = [line.air for line in STANDARD.lines]
    assert air == sorted(air)


def test_ties_are_one_step_deep():
    tied = {line.name for line in STANDARD.lines if line.ratio_of}
    assert not tied & {line.ratio_of for line in STANDARD.lines}


@given(redshift=st.floats(0.0, 0.2))
def test_waves_are_the_lines_through_the_air_where_the_light_was(redshift):
    vacuum = [line.vacuum for line in STANDARD.lines]
    np.testing.assert_allclose(STANDARD.waves("vacuum", redshift), vacuum, rtol=1e-14)
    np.testing.assert_array_equal(
        STANDARD.waves("air", redshift), rest_wave(vacuum, "air", redshift)
    )


def test_at_rest_in_air_the_waves_are_the_file_s():
    air = [line["air"] for line in _shipped()["line"]]
    np.testing.assert_allclose(STANDARD.waves("air", 0.0), air, atol=1e-9)


@given(names=st.sets(st.sampled_from(STANDARD.names)))
def test_a_selection_keeps_its_lines_and_frees_ties_to_those_left_out(names):
    part = STANDARD.select(names)
    assert part.names == tuple(name for name in STANDARD.names if name in names)
    for line in part.lines:
        whole = STANDARD[line.name]
        if whole.ratio_of in names or not whole.ratio_of:
            assert line == whole
        else:
            assert (line.ratio_of, line.ratio) == ("", 1.0)
            assert (line.air, line.kinematics) == (whole.air, whole.kinematics)


def test_a_name_that_is_not_in_the_set_is_refused_and_its_names_are_given():
    with pytest.raises(ConfigError, match=r"line 'Ha' is not in the set 'standard'; it has .*Ha6"):
        STANDARD["Ha"]


def test_a_users_file_is_read_with_its_defaults(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[line]]\nname = "Ha6563"\nair = 6562.8\n'
        '[[line]]\nname = "X1"\nair = 6600\nratio = { of = "Ha6563", value = 0.5 }\n'
    )
    first, second = load_line_set(path).lines
    assert first == Line(name="Ha6563", air=6562.8, label="Ha6563", kinematics="Ha6563")
    assert (second.air, second.ratio_of, second.ratio) == (6600.0, "Ha6563", 0.5)
    assert load_line_set(path).name == "mine"
    assert first.vacuum == pytest.approx(float(air_to_vacuum(6562.8)))


def test_the_shipped_set_is_a_users_file_too(tmp_path):
    path = tmp_path / "copy.toml"
    path.write_text(resources.files("betis.data").joinpath("lines.toml").read_text("utf-8"))
    assert load_line_set(path) == STANDARD
    assert isinstance(STANDARD, LineSet)


HALPHA = '[[line]]\nname = "Ha6563"\nair = 6562.8\n'
TIED = 'ratio = {{ of = "{}", value = {} }}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"holds no \[\[line\]\] table; add at least one line"),
        ("[[line]\n", "is not valid TOML: "),
        ("line = 3\n", r"holds no \[\[line\]\] table; add at least one line"),
        (HALPHA + HALPHA, "names Ha6563 twice; keep one"),
        ('[[line]]\nname = "Ha6563"\n', r"keys \['name'\]; each needs name and air"),
        (HALPHA + "wide = 1\n", r"keys \['air', 'name', 'wide'\]; .* may have absorption, kin"),
        (HALPHA + TIED.format("Hb4861", 0.5), "a flux to Hb4861, which it does not hold"),
        (HALPHA + TIED.format("Ha6563", 0.5), "a flux to Ha6563, which is tied itself; tie both"),
        (HALPHA + TIED.format("Ha6563", -1), r"Ha6563 with a ratio whose value = -1; .* positive"),
        (HALPHA + "ratio = 0.3\n", r"line Ha6563 with ratio = 0\.3; expected a table such as"),
        (
            HALPHA + 'ratio = { of = "Hb4861" }\n',
            r"with ratio = \{'of': 'Hb4861'\}; expected a tab",
        ),
        (HALPHA.replace("6562.8", '"red"'), "line Ha6563 with air = 'red'; .* positive number"),
        (HALPHA.replace("6562.8", "-1.0"), r"line Ha6563 with air = -1\.0; .* positive number"),
    ],
)
def test_a_file_that_is_no_line_set_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_line_set(path)


def test_a_set_that_is_nowhere_is_refused():
    with pytest.raises(InputError, match=r"no line set 'betis42'; expected standard.* TOML file"):
        load_line_set("betis42")


def _shipped():
    return tomllib.loads(resources.files("betis.data").joinpath("lines.toml").read_text("utf-8"))
