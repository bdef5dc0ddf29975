"""Line sets: the shipped ones, and what a user's file may hold."""

import re
import tomllib
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.errors import ConfigError, InputError
from betis.linelist import Bounds, Line, LineSet, describe_line, load_line_set, set_names
from betis.wavelength import air_to_vacuum, rest_wave

STANDARD = load_line_set()
BETIS41 = load_line_set("betis41")
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
        ('[[line]]\nname = "Ha6563"\n', r"keys \['name'\]; each needs name and one of air, vac"),
        (HALPHA + "wide = 1\n", r"keys \['air', 'name', 'wide'\]; .* may have absorption, after"),
        (HALPHA + "vacuum = 6564.6\n", r"keys .*; each needs name and one of air, vacuum and"),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sets]\n", "has the table 'sets'; expected one of line, set"),
        ("[set]\nwidth = 3\n", r"has in \[set\] the key 'width'; expected one of bounds, fwhm"),
        ("[set]\nkinematics = 'tied'\n", "has kinematics = 'tied'; expected one of doublet, fre"),
        ("[set]\nwindow = 0\n", "with window = 0; expected a positive number"),
        ("[set]\nfwhm = true\n", "with fwhm = True; expected a positive number"),
    ],
)
def test_a_set_with_a_wrong_head_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text + HALPHA)
    with pytest.raises(InputError, match=message):
        load_line_set(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sign = 'up'", "with sign = 'up'; expected one of any, emission, absorption"),
        ("sign = 'emission'\nabsorption = true", "'emission' and absorption = true, which contr"),
        ("sign = 'absorption'\nabsorption = false", "absorption = false, which contradict each"),
        ("absorption = 1", "with absorption = 1; expected true or false"),
        ("window = -3", "with window = -3; expected a positive number"),
        ("plane = 'one'", "with plane = 'one'; expected a whole number from 1"),
        ("bounds = 300", "with bounds = 300; expected a table such as"),
        ("bounds = { fwhm = [1, 2] }", "in its bounds, the key 'fwhm'; expected one of shift, sig"),
        ("bounds = { sigma = 300 }", "the bound sigma = 300; expected two numbers, the smaller"),
        ("bounds = { sigma = [0, '9'] }", "the bound sigma = .*; expected two numbers, the small"),
        ("bounds = { velocity = [9, -9] }", r"bound velocity = \[9, -9\]; expected two numbers"),
        ("bounds = { sigma = [-9, 9] }", r"sigma = \[-9, 9\]; a dispersion is not negative"),
        ("bounds = { shift = 0 }", "with the bound shift = 0; expected a positive number"),
        ("bounds = { width = [0.5, 2] }", r"a multiple of fwhm; add it to \[set\]"),
    ],
)
def test_a_line_with_wrong_limits_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(HALPHA + text + "\n")
    with pytest.raises(InputError, match=message):
        load_line_set(path)


def test_a_tie_to_a_line_of_another_sign_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        HALPHA + "sign = 'emission'\n" + '[[line]]\nname = "X"\nair = 6600\n'
        'ratio = { of = "Ha6563", value = 0.5 }\n'
    )
    with pytest.raises(InputError, match="ties the flux of X to a line of another sign"):
        load_line_set(path)


def test_a_wavelength_in_vacuum_is_the_one_in_air(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[[line]]\nname = "Ha6563"\nvacuum = 6564.614\n')
    line = load_line_set(path).lines[0]
    assert line.vacuum == pytest.approx(6564.614, abs=1e-9)
    assert line.air == pytest.approx(6562.80, abs=0.01)


def test_the_limits_of_a_line_go_before_those_of_its_set(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[set]\nwindow = 20\nmax_velocity = 300\nmax_sigma = 200\nfwhm = 3\nsign = 'emission'\n"
        "search = 4\nsource = 'a table'\nbounds = { shift = 5, width = [0.5, 2] }\n"
        + HALPHA
        + '[[line]]\nname = "NaI5890"\nair = 5889.951\nsign = "absorption"\nwindow = 15\n'
        'search = 10\nsource = "another"\n'
        "bounds = { velocity = [-900, 100], sigma = [10, 90], width = [1, 2] }\n"
    )
    found = load_line_set(path)
    common, own = found.lines
    assert (found.window, found.max_velocity, found.max_sigma, found.fwhm) == (20, 300, 200, 3)
    assert (common.sign, common.search, common.source) == ("emission", 4, "a table")
    assert common.bounds == Bounds(shift=5.0, width=(0.5, 2.0))
    assert (common.window, own.window, own.search, own.source) == (None, 15, 10, "another")
    assert (own.sign, own.absorption, common.absorption) == ("absorption", True, False)
    assert own.bounds == Bounds(
        velocity=(-900, 100), sigma=(10.0, 90.0), shift=5.0, width=(1.0, 2.0)
    )


@pytest.mark.parametrize("line_set", [STANDARD, BETIS41], ids=["standard", "betis41"])
def test_each_kinematics_joins_the_lines_that_it_names(line_set):
    free, one, gas = (line_set.tied(mode) for mode in ("free", "one", "ionisation"))
    for line, alone, together, of_gas in zip(
        line_set.lines, free.lines, one.lines, gas.lines, strict=True
    ):
        assert alone.kinematics == (line.ratio_of or line.name)
        own = line.absorption or line.is_extra
        assert together.kinematics == (line.kinematics if own else "gas")
        assert of_gas.kinematics == (line.ionisation or line.kinematics)
    assert line_set.tied() == line_set.tied("doublet") == line_set
    for mode in (free, one, gas):
        assert mode.tied() == mode


def test_kinds_of_gas_that_no_line_says_are_refused():
    bare = LineSet(
        name="bare", lines=(Line(name="Ha6563", air=6562.8, label="Ha", kinematics="Ha"),)
    )
    with pytest.raises(ConfigError, match="no line of the set 'bare' says its ionisation"):
        bare.tied("ionisation")


def test_every_kind_of_gas_is_one_of_three_and_only_absorption_has_none():
    for line in (*STANDARD.lines, *BETIS41.lines):
        if line.name != "unidentified6825" and not line.is_extra:
            assert (line.ionisation == "") == line.absorption
        assert line.ionisation in {"", "balmer", "low", "high"}


def test_betis41_has_each_plane_once_but_doublets_that_are_summed():
    planes = [line.plane for line in BETIS41.lines]
    assert set(planes) == set(range(1, 42))
    twice = {line.name for line in BETIS41.lines if planes.count(line.plane) == 2}
    assert twice == {"OII3726", "OII3729", "NI5198", "NI5200"}
    cards = {line.plane: line.card for line in BETIS41.lines}
    assert len(set(cards.values())) == 41
    for line in BETIS41.lines:
        assert line.card == cards[line.plane]
        if line.name != "Ha6563_remnant":
            assert abs(float(line.card.split()[-1]) - line.air) < 3.5


def test_betis41_has_the_wavelengths_names_and_kinds_of_the_standard_set():
    for line in BETIS41.lines:
        assert line.name.removesuffix("_remnant").endswith(str(round(line.air)))
        assert line.source
        if line.name in STANDARD.names:
            other = STANDARD[line.name]
            assert (line.air, line.label) == (other.air, other.label)
            assert (line.ionisation, line.absorption) == (other.ionisation, other.absorption)


def test_betis41_has_ten_absorption_lines_and_every_line_one_sign():
    absorbed = {line.name for line in BETIS41.lines if line.absorption}
    assert len(absorbed) == 10
    for line in BETIS41.lines:
        assert line.sign == ("absorption" if line.name in absorbed else "emission")
    for line in BETIS41.primary().lines:
        assert line.search == (10.0 if line.name in absorbed else 5.0)
        assert (line.bounds.shift, line.bounds.width) == (5.0, (0.5, 2.0))


def test_the_halpha_window_of_betis41_is_that_of_the_scripts():
    held = [BETIS41[name] for name in ("NII6548", "Ha6563", "NII6583")]
    peak = BETIS41["Ha6563"].air
    assert min(line.air - line.window for line in held) == pytest.approx(peak - 43.0)
    assert max(line.air + line.window for line in held) == pytest.approx(peak + 47.0)


def test_betis41_has_what_remnants_add_where_the_scripts_had_it():
    """Bounds of G1's fourth Gaussian and of G8, in observed dispersions of the guess."""
    extra = {line.plane: line for line in BETIS41.lines if line.is_extra}
    assert {plane: line.name for plane, line in extra.items()} == {
        38: "blend5007", 39: "blend6300", 40: "blend7323", 41: "Ha6563_remnant"
    }  # fmt: skip
    remnant = extra.pop(41)
    assert (remnant.component_of, remnant.air) == ("Ha6563", BETIS41["Ha6563"].air)
    assert remnant.window == BETIS41["Ha6563"].window
    assert remnant.bounds.shift == 25.0
    assert remnant.bounds.width == pytest.approx((0.8 * 3, 3.5 * 3))
    assert [line.window for line in extra.values()] == [100.0, 200.0, 200.0]
    for line in extra.values():
        assert (line.after, line.component_of, line.bounds.shift) == (True, "", 5.0)
        assert line.bounds.width == pytest.approx((0.5 * 6, 15 * 6))


def test_components_are_no_lines_of_their_own():
    """A mask of emission lines, or a mean velocity, does not count them twice."""
    assert BETIS41.primary().names == BETIS41.names[:39]
    assert not any(line.is_extra for line in BETIS41.emission().lines)
    assert STANDARD.primary() == STANDARD


COMPONENT = '[[line]]\nname = "Ha6563_b"\ncomponent_of = "{}"\n'


def test_a_component_is_at_the_place_of_its_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(HALPHA + "window = 40\n" + COMPONENT.format("Ha6563") + "sign = 'emission'\n")
    line = load_line_set(path)["Ha6563_b"]
    assert (line.air, line.window, line.sign, line.search) == (6562.8, 40.0, "emission", 0.0)
    assert line.is_extra
    assert describe_line(line)["kind"] == "component of Ha6563"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (COMPONENT.format("Hb4861"), "component_of = 'Hb4861'; expected an emission line of the s"),
        (COMPONENT.format("Ha6563_b"), "component_of = 'Ha6563_b'; expected an emission line"),
        (
            COMPONENT.format("Ha6563") + "after = true",
            "Ha6563_b, a component that is in absorption",
        ),
        (COMPONENT.format("Ha6563") + "sign = 'absorption'", "a component that is in absorption"),
        (COMPONENT.format("Ha6563") + "air = 6562.8", "each needs name and one of air, vacuum and"),
        ("after = 1", "with after = 1; expected true or false"),
    ],
)
def test_a_component_of_nothing_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(HALPHA + text + "\n")
    with pytest.raises(InputError, match=message):
        load_line_set(path)


@pytest.mark.parametrize("name", set_names())
def test_what_a_set_says_of_its_lines_can_be_shown(name):
    for line in load_line_set(name).lines:
        said = describe_line(line)
        assert said["name"] == line.name
        assert float(said["vacuum [Å]"]) == pytest.approx(line.vacuum, abs=1e-3)
        assert (said["sign"] == "") == (line.sign == "any")
        assert ("of the guess" in said["bounds"]) == (line.bounds.width is not None)


def test_a_set_that_is_nowhere_is_refused():
    with pytest.raises(InputError, match=r"no line set 'betis42'; expected standard.* TOML file"):
        load_line_set("betis42")


def _shipped():
    return tomllib.loads(resources.files("betis.data").joinpath("lines.toml").read_text("utf-8"))
