"""What is written for STARLIGHT: field by field as in real files, and read back the same."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.errors import InputError
from betis.io.starlight.base import Component, base_text, parse_base
from betis.io.starlight.config import Config, Limits, config_text, parse_config, with_value
from betis.io.starlight.grid import Fit, Grid, grid_text, parse_grid
from betis.io.starlight.mask import Window, mask_text, parse_mask

FIT = Fit(
    spectrum="G_bin_1.txt",
    config="StCv04.C11.config",
    base="Base.list",
    mask="Masks",
    law="CCM",
    velocity=0.0,
    sigma=150.0,
    output="G_bin_1.BN",
)
GRID = Grid(
    base_dir="./base/",
    spectrum_dir="./spectra/",
    mask_dir="./",
    output_dir="./out/",
    seed=-2007200,
    snr_window=(4580.0, 4640.0),
    fit_range=(3741.0, 7218.0),
    step=1.0,
    kinematics="FIT",
    fits=(FIT,),
)
ALTERED = {"i_FastBC03_FLAG", "i_SkipExistingOutFiles"}
"""Values of C11 that are not taken over."""
ENTRY = re.compile(r"^\s*([^\s#]\S*)\s+\[([^\s\]]+)")


@pytest.fixture(scope="module")
def starlight(test_data):
    return test_data / "starlight"


def text_of(path):
    return path.read_text("latin-1")


def test_a_grid_is_written_as_the_real_one_byte_by_byte(starlight):
    text = text_of(starlight / "kug0210-078/grid_KUG0210-078.in")
    grid = parse_grid(text)
    assert len(grid.fits) == 860  # it announces 865
    written, real = grid_text(grid).splitlines(), text.splitlines()
    by_hand = {0, 2, 4}  # the wrong number; and two folders that were edited without the blanks
    for number, (ours, theirs) in enumerate(zip(written, real, strict=False)):
        if number in by_hand:
            assert ours.split() == theirs.replace("865", "860").split()
        else:
            assert ours == theirs


@pytest.mark.parametrize(
    "name",
    ["v04_n150/XSHOO.in", "v04_n150/riffel.in", "jobmanager/grid_example1.in"],
)
def test_other_real_grids_are_understood(starlight, name):
    text = text_of(starlight / "examples" / name)
    grid = parse_grid(text)
    assert parse_grid(grid_text(grid)) == grid
    for ours, theirs in zip(grid_text(grid).splitlines()[1:], text.splitlines()[1:], strict=False):
        assert ours.split()[0] == theirs.split()[0]


def test_modes_and_switches_of_real_grids(starlight):
    xshooter = parse_grid(text_of(starlight / "examples/v04_n150/XSHOO.in"))
    assert (xshooter.kinematics, xshooter.has_error, xshooter.has_flag) == ("FXK", True, False)
    assert (xshooter.fits[0].velocity, xshooter.fits[0].sigma) == (31.0, 206.0)
    assert parse_grid(text_of(starlight / "examples/v04_n150/riffel.in")).has_error is False


numbers = st.floats(-500, 500).map(lambda value: round(value, 4))


@given(numbers, st.floats(0, 500), st.integers(-(10**9), -1), st.sampled_from(["FIT", "FXK"]))
def test_a_grid_comes_back(velocity, sigma, seed, kinematics):
    fit = replace(FIT, velocity=velocity, sigma=round(sigma, 4))
    grid = replace(GRID, seed=seed, kinematics=kinematics, fits=(fit, FIT))
    assert parse_grid(grid_text(grid)) == grid


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (replace(GRID, base_dir="./base"), "'./base' of a grid file does not end in '/'"),
        (
            replace(GRID, base_dir=f"./{'b' * 100}/"),
            "has 103 characters, where STARLIGHT keeps 100",
        ),
        (replace(GRID, fits=(replace(FIT, output="a b"),)), "'a b' has blanks"),
        (replace(GRID, fits=(replace(FIT, law="my law"),)), "'my law' has blanks"),
    ],
)
def test_what_starlight_cannot_read_is_refused(grid, message):
    with pytest.raises(InputError, match=message):
        grid_text(grid)


@pytest.mark.parametrize("n_line", [0, 1, 5, 14])
def test_a_grid_that_is_cut_is_refused(n_line):
    lines = grid_text(GRID).splitlines()[:n_line]
    with pytest.raises(
        InputError, match=r"is no grid file of STARLIGHT v04: the line .* is missing"
    ):
        parse_grid("\n".join(lines))


def entries(text):
    return {
        number: ENTRY.match(line).groups()
        for number, line in enumerate(text.splitlines(), 1)
        if ENTRY.match(line)
    }


def test_each_value_of_the_configuration_is_on_its_line(starlight):
    text = text_of(starlight / "kug0210-078/StCv04.C11.config")
    ours, theirs = entries(config_text(parse_config(text))), entries(text)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 60
    for number, (value, label) in theirs.items():
        assert ours[number][1] == label
        if label not in ALTERED:
            assert ours[number][0] == value, label


@pytest.mark.parametrize(
    ("name", "window", "has_header"),
    [
        ("kug0210-078/StCv04.C11.config", (4010.0, 4060.0), True),
        ("examples/jobmanager/StCv04.C11.config", (4010.0, 4060.0), False),
        ("examples/ifuanal/starlight.config", (5590.0, 5680.0), False),
        ("examples/v04_n150/StCv04.C11.config.slow", (6810.0, 6870.0), False),
    ],
)
def test_real_configurations_are_understood(starlight, name, window, has_header):
    config = parse_config(text_of(starlight / name))
    assert config.norm_window == window
    assert config.has_header is has_header
    assert config.limits == Limits((-1.0, 4.0), (-500.0, 500.0), (0.0, 500.0))
    assert parse_config(config_text(config)) == config


@given(st.floats(0, 9).map(lambda value: round(value, 3)), st.booleans(), st.floats(3000, 9000))
def test_a_configuration_comes_back(clip, has_header, wave):
    limits = Limits((0.0, 3.5), (-400.0, 400.0), (0.0, 350.0))
    config = Config(norm_wave=wave, norm_window=(wave - 1, wave + 1), limits=limits, clip=clip)
    config = replace(config, has_header=has_header)
    assert parse_config(config_text(config)) == config


def test_one_value_of_a_configuration_is_replaced_in_its_place(starlight):
    text = text_of(starlight / "kug0210-078/StCv04.C11.config")
    changed = with_value(text, "i_SkipExistingOutFiles", "0")
    different = [
        (old, new)
        for old, new in zip(text.splitlines(), changed.splitlines(), strict=True)
        if old != new
    ]
    assert len(different) == 1
    assert different[0][0].replace("1 ", "0 ", 1) == different[0][1]


def test_what_is_no_configuration_is_refused():
    with pytest.raises(InputError, match=r"mine has no number before \[l_norm\]"):
        parse_config("# nothing\n", "mine")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("kug0210-078/Masks.EmLines.NEW.gm", 14),
        ("examples/ifuanal/starlight.mask", 15),
        ("examples/jobmanager/Masks.EmLines.SDSS.gm", 11),
    ],
)
def test_real_masks_are_understood(starlight, name, count):
    windows = parse_mask(text_of(starlight / name))
    assert len(windows) == count
    assert parse_mask(mask_text(windows)) == windows
    assert any(window.low < 4861.33 < window.upp and window.weight == 0 for window in windows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its first line must be the number of windows"),
        ("2\n4000 4100 0 a\n", "announces 2 windows and has 1"),
        ("1\n4000 wide 0 a\n", "low, high, weight and name"),
    ],
)
def test_what_is_no_mask_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_mask(text)


@given(st.lists(st.tuples(st.floats(3000, 5000), st.floats(1, 90)), max_size=8))
def test_a_mask_comes_back(pairs):
    windows = [
        Window(round(low, 1), round(low + width, 1), 0.0, "Ha & [NII]") for low, width in pairs
    ]
    assert parse_mask(mask_text(windows)) == windows


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("kug0210-078/Base.CB07.vall.4m", 66),
        ("examples/jobmanager/Base.BC03.N", 45),
        ("examples/v04_n150/Base.BC03.S", 150),
    ],
)
def test_real_base_lists_are_understood(starlight, name, count):
    components = parse_base(text_of(starlight / name))
    assert len(components) == count
    assert parse_base(base_text(components)) == components


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list index out of range"),
        ("2\na.spec 1e9 0.02 a 1.0 0 0\n", "2 spectra are announced and 1 are named"),
        ("1\na.spec old 0.02 a 1.0 0 0\n", "could not convert string to float"),
    ],
)
def test_what_is_no_base_list_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_base(text)


def test_young_and_old_components_keep_their_ages():
    components = [
        Component("a.spec", 1e6, 0.004, "young", 1.0),
        Component("b.spec", 1.8e10, 0.05, "old", 0.4945),
    ]
    assert parse_base(base_text(components)) == components
