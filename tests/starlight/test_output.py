"""The reader of STARLIGHT's outputs: every real one, by its own text and its own input."""

import re

import numpy as np
import pytest

from betis.errors import InputError
from betis.io.starlight.output import is_unfinished, read_output

LINES_OF_V04 = {
    "arq_obs": 6,
    "arq_base": 7,
    "arq_masks": 8,
    "arq_config": 9,
    "N_base": 10,
    "red_law_option": 14,
    "q_norm": 15,
    "l_ini": 18,
    "l_fin": 19,
    "dl": 20,
    "l_norm": 23,
    "fobs_norm": 26,
    "idum_orig": 38,
    "NOl_eff": 39,
    "Nl_eff": 40,
    "Ntot_cliped": 41,
    "chi2/Nl_eff": 50,
    "adev": 51,
    "sum-of-x": 53,
    "Mcor_tot": 56,
    "v0_min": 58,
    "vd_min": 59,
    "AV_min": 60,
}
"""Lines of the header of v04 and v05, from 1, as the Fortran prints them."""
PLACEHOLDERS = {"KUG0210-078._0_29", "KUG0210-078._21_36"}
PRINTED_ZERO = {"KUG0210-078._59_49", "KUG0210-078._50_38"}
"""Fits whose weights are so small that they are printed as 0.000."""


def outputs(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in {".BN", ".BS", ".out"})


def normal(folder):
    return [path for path in outputs(folder) if path.name.partition(".C11")[0] not in PLACEHOLDERS]


@pytest.fixture(scope="module")
def real(test_data):
    return {path: read_output(path) for path in normal(test_data / "starlight")}


def test_there_are_outputs_of_each_version(real):
    versions = [output.version[:3] for output in real.values()]
    assert {version: versions.count(version) for version in set(versions)} == {
        "v04": 54,
        "v05": 1,
        "v06": 2,
    }
    assert {output.light.size for output in real.values()} == {45, 66, 112, 150}


def test_header_values_are_those_of_the_text(real):
    checked = 0
    for path, output in real.items():
        lines = path.read_text("latin-1").splitlines()
        if output.version[:3] != "v06":
            for label, number in LINES_OF_V04.items():
                assert output.text(label) == lines[number - 1].split()[0], (path, label)
                checked += 1
    assert checked == 55 * len(LINES_OF_V04)


def test_header_of_v06_is_that_of_the_text(real):
    (output,) = (output for path, output in real.items() if path.name == "NGC_0855.out")
    expected = {"fobs_norm": 3.5405e-14, "Nl_eff": 2710, "chi2/Nl_eff": 0.727236, "v0_min": 165.54}
    expected |= {"vd_min": 289.51, "AV_min": 0.4476, "N_base": 112, "q_norm": 0.973623}
    assert {label: output.value(label) for label in expected} == expected
    assert output.text("red_law_option") == "CCC"
    assert output.light.sum() == pytest.approx(output.value("sum-of-x"), abs=0.02)


def test_populations_are_those_of_the_table(real):
    for path, output in real.items():
        rows = re.findall(
            r"^ *1 +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) ", path.read_text("latin-1"), re.M
        )
        assert tuple(map(float, rows[0])) == (
            output.light[0],
            output.initial_mass[0],
            output.mass[0],
            output.age[0],
            output.metallicity[0],
        )
        assert output.light.sum() == pytest.approx(output.value("sum-of-x"), abs=0.02), path
        assert np.all((output.age >= 1e5) & (output.age < 3e10) & (output.metallicity > 0))


def test_counts_of_pixels_are_those_of_the_header(real):
    for path, output in real.items():
        assert output.clipped.sum() == output.n_clipped, path
        if path.name.partition(".C11")[0] in PRINTED_ZERO:
            assert output.used.sum() < output.value("Nl_eff")
            continue
        assert output.used.sum() == output.value("Nl_eff"), path
        assert (output.used | output.clipped).sum() == output.value("NOl_eff"), path


def test_the_axis_is_that_of_the_header(real):
    for path, output in real.items():
        low, upp, step = (output.value(label) for label in ("l_ini", "l_fin", "dl"))
        np.testing.assert_allclose(np.diff(output.wave), step, atol=1e-6, err_msg=str(path))
        assert (output.wave[0], output.wave[-1]) == (low, upp)


@pytest.mark.parametrize("folder", ["kug0210-078", "v05", "examples"])
def test_flux_times_norm_is_the_input(real, folder):
    checked = 0
    for path, output in real.items():
        source = path.parent / output.text("arq_obs")
        if path.parent.name != folder or not source.exists():
            continue
        header = source.read_text().startswith("wave")
        wave, flux, error, flag = np.loadtxt(source, skiprows=int(header)).T
        place = np.searchsorted(wave, output.wave - 1e-3)
        inside = place < wave.size
        inside[inside] = np.abs(wave[place[inside]] - output.wave[inside]) < 1e-3
        good = inside.copy()
        # A negative error, too, makes STARLIGHT take a pixel as bad.
        good[inside] = (flag[place[inside]] <= 1) & (error[place[inside]] > 0)
        got = output.flux[good] * output.norm_flux
        expected = flux[place[good]]
        room = 1e-5 * (np.abs(expected) + output.norm_flux)
        assert np.mean(np.abs(got - expected) <= room) > 0.995, path
        assert np.all(output.flagged[~good]), path
        assert not np.any(output.flagged[good]), path
        checked += 1
    assert checked == {"kug0210-078": 51, "v05": 1, "examples": 2}[folder]


def test_stars_of_overflow_are_no_numbers_and_change_no_other_pixel(real):
    found = 0
    for path, output in real.items():
        text = path.read_text("latin-1")
        overflown = len(re.findall(r"\*{8,}", text))
        if "****" not in text.partition("## Synthetic")[2]:
            continue
        n_flux, n_weight = np.isnan(output.flux).sum(), np.isinf(output.weight).sum()
        assert n_flux + n_weight == overflown, path
        assert np.all(np.isfinite(output.model))
        assert np.all(output.used[np.isinf(output.weight)])
        found += 1
    assert found == 5


def test_a_placeholder_is_told_and_unfinished(test_data):
    for stem in PLACEHOLDERS:
        path = test_data / "starlight/kug0210-078" / f"{stem}.C11.gm.CCM.BN"
        with pytest.raises(InputError, match="placeholder of a fit that was not finished"):
            read_output(path)
        assert is_unfinished(path)


def test_every_cut_is_noticed(test_data, tmp_path):
    whole = next(iter(normal(test_data / "starlight/kug0210-078"))).read_bytes()
    path = tmp_path / "cut.BN"
    lines = whole.splitlines(keepends=True)
    for n_line in [*range(0, 290, 7), 1000, len(lines) - 1]:
        path.write_bytes(b"".join(lines[:n_line]))
        with pytest.raises(InputError, match=r"no whole output|is cut short"):
            read_output(path)
        assert is_unfinished(path)


def test_a_damaged_number_is_noticed(test_data, tmp_path):
    whole = next(iter(normal(test_data / "starlight/kug0210-078"))).read_text("latin-1")
    head, label, block = whole.partition("[Nl_obs]")
    path = tmp_path / "damaged.BN"
    path.write_text(head + label + block.replace("0.", "0?", 1), "latin-1")
    with pytest.raises(InputError, match=r"is damaged \(could not convert"):
        read_output(path)


def test_what_starlight_gave_up_is_finished_and_refused(tmp_path):
    path = tmp_path / "aborted.BN"
    path.write_text("Run aborted:(\n")
    with pytest.raises(InputError, match="STARLIGHT gave this fit up"):
        read_output(path)
    assert not is_unfinished(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "notes.BN"
    path.write_text("## some notes [of mine]\n")
    with pytest.raises(InputError, match="no whole output of STARLIGHT v04, v05 or v06"):
        read_output(path)
    with pytest.raises(InputError, match=r"absent.BN of STARLIGHT cannot be read: No such file"):
        read_output(tmp_path / "absent.BN")
    assert is_unfinished(tmp_path / "absent.BN")


def test_exponents_of_three_digits_are_read(test_data, tmp_path):
    whole = next(iter(normal(test_data / "starlight/kug0210-078"))).read_text("latin-1")
    path = tmp_path / "tiny.BN"
    path.write_text(whole.replace("0.0000E+00    0.0000E+00 ", "1.2500-101    1.2500-102 ", 1))
    output = read_output(path)
    first = int(np.flatnonzero(output.initial_mass == 1.25e-101)[0])
    assert output.mass[first] == 1.25e-102
