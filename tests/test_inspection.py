"""What is said of a cube is what is in its file."""

import re

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from tests.cubes import noise_cube, write_muse_file
from tests.io.small_cubes import SAMPLES, Voxels

from betis.cli import main
from betis.errors import ConfigError
from betis.inspection import describe_cube, describe_lines, estimate_cost, inspect_cube
from betis.io.readers import read_cube
from betis.linelist import load_line_set
from betis.options import PrepareOptions

LINES = load_line_set()
WAVE = 6000.0 + 1.25 * np.arange(900)
VOXELS = Voxels.drawn()


def written(path, sigma=2.0, stated=4.0, level=5.0, shape=(12, 12), **cards):
    rng = np.random.default_rng(1)
    flux = level + rng.normal(0, sigma, (WAVE.size, *shape))
    return write_muse_file(path, flux, np.full(flux.shape, stated), WAVE, **cards)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return written(tmp_path_factory.mktemp("plain") / "cube.fits")


@pytest.fixture(scope="module")
def arms(test_data):
    folder = test_data / "sami"
    names = (f"209807_A_sectors_{arm}.fits.gz" for arm in ("blue", "red"))
    blue, red = (folder / name for name in names)
    return inspect_cube(blue, LINES, redshift=0.056, arm=red)


def named(text):
    return set(re.findall(r"[A-Z][A-Za-z]+\d{4}", text))


def test_a_mock_is_understood(mock_cube):
    facts = inspect_cube(mock_cube, LINES, redshift=0.01)
    assert facts["instrument"] == "muse (INSTRUME is MUSE)"
    assert facts["size"].startswith("12 x 12 spaxels")
    assert facts["wavelengths"].startswith("4800.000 to ")
    assert facts["wavelengths"].endswith("(step 1.25 Å), observed, in air")
    assert facts["noise"].startswith("stated as variance; scatter over stated error: median ")
    assert facts["errors"].startswith("agree with the scatter of the data")
    assert "0.200 arcsec a spaxel, 2.4 x 2.4 arcsec (RA---TAN, DEC--TAN)" in facts["field"]
    assert facts["Galactic extinction"].startswith("not removed yet")
    assert "contradictions" not in facts


@given(redshift=st.floats(0.0, 0.5))
def test_each_line_is_in_range_or_out_of_it(redshift):
    cube = noise_cube((1, 1))
    facts = _lines_of(cube, redshift)
    observed = LINES.waves("air", redshift) * (1 + redshift)
    inside = (observed > cube.edges[1]) & (observed < cube.edges[-2])
    expected = {name for name, kept in zip(LINES.names, inside, strict=True) if kept}
    assert named(facts["lines in range"]) == expected
    assert named(facts["lines out of range"]) == set(LINES.names) - expected


@given(redshift=st.floats(0.0, 0.06))
def test_lines_in_sky_windows_are_named_with_the_window(redshift):
    facts = _lines_of(noise_cube((1, 1)), redshift)
    struck = dict(re.findall(r"(\w+) \((\d+-\d+) Å\)", facts["lines in sky windows"]))
    expected = {
        name: f"{low:.0f}-{high:.0f}"
        for name in named(facts["lines in range"])
        for low, high in PrepareOptions().sky_windows
        if low <= _observed(name, redshift) <= high
    }
    assert struck == expected


def _lines_of(cube, redshift):
    return describe_lines(cube, LINES, redshift)


def _observed(name, redshift):
    return LINES.select([name]).waves("air", redshift)[0] * (1 + redshift)


def test_two_arms_are_one_cube_with_a_gap(arms):
    assert arms["arm"] == "209807_A_sectors_red.fits.gz (INSTRUME is AAOMEGA-SAMI)"
    assert " Å (step 1.05 Å) and 6240" in arms["wavelengths"]
    assert {"Hb4861", "OIII5007", "Ha6563"} <= named(arms["lines in range"])
    assert {"NII5755", "NaI5890", "SIII9069"} <= named(arms["lines out of range"])
    assert "Ha6563 (6864-6950 Å)" in arms["lines in sky windows"]


def test_a_binned_cube_is_counted_by_its_spectra(arms):
    assert "binned already: 39 spectra of their own" in arms["usable"]
    assert "for 39 bins" in arms["time of a run"]


def test_the_reddening_that_the_header_states_is_shown(arms):
    assert "EBVPLNCK = 0.0410, EBVSFD98 = 0.0302" in arms["Galactic extinction"]


def test_correlated_wavelengths_are_told_from_wrong_errors(arms):
    found = re.fullmatch(
        r"too large by a factor (.*) at single wavelengths; agree with .* in sums .* by (.*)",
        arms["errors"],
    )
    assert found, arms["errors"]
    assert float(found[1]) > 1.1
    assert 0.1 < float(found[2]) < 0.5


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        (4.0, r"agree with the scatter of the data \((0\.9[89]|1\.0\d)\)"),
        (4.0 / 2.25, r"too small by a factor 1\.(4[89]|5\d); --rescale-noise brings them"),
        (4.0 * 2.25, r"too large by a factor 1\.(4[89]|5\d); --rescale-noise brings them"),
        (1 / 4.0, r"too small by a factor (3\.9|4|4\.1): check that the file states a variance"),
    ],
)
def test_whether_the_errors_are_right_is_said(stated, sentence, tmp_path):
    path = written(tmp_path / "cube.fits", stated=stated)
    assert re.match(sentence, inspect_cube(path, LINES)["errors"])


def test_without_a_redshift_lines_are_not_looked_for(plain):
    facts = inspect_cube(plain, LINES)
    assert facts["lines in range"] == "give the redshift with -z to see them"
    assert facts["noise"].endswith("as their redshift is not given")


def test_the_share_of_usable_spaxels_is_that_of_the_whole_field(tmp_path):
    path = written(tmp_path / "cube.fits", shape=(12, 10))
    with fits.open(path, mode="update") as hdus:
        hdus["DATA"].data[:, 9:, :] = np.nan
        hdus["DATA"].data[:450, 0, :] = np.nan
    facts = inspect_cube(path, LINES)
    assert facts["usable"] == (
        "90 of 120 spaxels (75.0 %), 71.3 % of the voxels (at 9 wavelengths)"
    )


def test_a_field_without_data_says_so(tmp_path):
    path = written(tmp_path / "cube.fits", level=np.nan)
    facts = inspect_cube(path, LINES)
    assert facts["usable"].startswith("0 of 144 spaxels (0.0 %), 0.0 % of the voxels")
    assert "no spaxel that was looked at has enough usable wavelengths" in facts["noise"]
    assert "errors" not in facts


def test_units_that_contradict_each_other_are_shown(tmp_path):
    path = written(tmp_path / "cube.fits")
    _mark(path, -16)
    assert inspect_cube(path, LINES)["contradictions"] == (
        "cube.fits: DATA is in '10**(-20)*erg/s/cm**2/Angstrom', "
        "STAT is in '(10**(-16)*erg/s/cm**2/Angstrom)**2'"
    )
    _mark(path, -20)
    assert "contradictions" not in inspect_cube(path, LINES)


def _mark(path, exponent):
    unit = f"(10**({exponent})*erg/s/cm**2/Angstrom)**2"
    fits.setval(path, "BUNIT", value=unit, extname="STAT")


def test_a_survey_that_dereddened_its_cubes_is_named_so(tmp_path):
    path = SAMPLES["califa"].write(tmp_path / "cube.fits", VOXELS)
    facts = inspect_cube(path, LINES)
    assert facts["Galactic extinction"].startswith("removed by the survey")


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_layout_can_be_inspected(name, tmp_path):
    sample = SAMPLES[name]
    path = sample.write(tmp_path / "cube.fits", VOXELS)
    facts = inspect_cube(path, LINES, redshift=0.01, layout=sample.options)
    cube = read_cube(path, layout=sample.options)
    assert facts["instrument"].startswith(f"{sample.reader} (")
    assert facts["noise"].startswith(f"stated as {cube.noise_kind}")
    assert facts["resolution (FWHM)"] == describe_cube(cube)["resolution (FWHM)"]


def test_a_layout_in_a_toml_file_is_inspected_from_the_command_line(tmp_path, capsys):
    cube = written(tmp_path / "cube.fits", INSTRUME="SELFMADE")
    layout = tmp_path / "mine.toml"
    layout.write_text('[cube]\nflux = "DATA"\nerror = "STAT"\nfwhm = 2.6\n')
    assert main(["inspect", str(cube), "--instrument", str(layout), "-z", "0.01"]) == 0
    said = capsys.readouterr().out
    assert "generic" in said
    assert "2.60 Å" in said


def test_two_arms_of_one_range_are_refused_on_the_command_line(plain, capsys):
    assert main(["inspect", str(plain), "--arm", str(plain)]) == 2
    assert capsys.readouterr().err.startswith("betis: ")


def test_a_redshift_that_no_galaxy_has_is_refused(plain):
    with pytest.raises(ConfigError, match=r"redshift is 1e\+06, where a number from -0.01 to 10"):
        inspect_cube(plain, LINES, redshift=1e6)


def test_the_cost_follows_from_spaxels_and_bytes():
    assert "for 20 to 500 bins (1 s of it" in estimate_cost(1000, 0)["time of a run"]
    assert "(60 s of it to read" in estimate_cost(1000, 3_000_000_000)["time of a run"]
    assert estimate_cost(10, 0)["time of a run"].startswith("15 s to 40 s on two cores, for 1 to 5")
    assert " min to 2.1 h on" in estimate_cost(300_000, 0)["time of a run"]
    assert estimate_cost(10, 0)["memory of a run"].startswith("about 1 GB")
