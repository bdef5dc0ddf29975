"""The script that makes the shipped base, on a pair of tiny packages made here."""

import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from betis.io.templates import load_templates

SCRIPT = Path(__file__).parents[2] / "tools" / "build_base.py"
WAVE_RANGE = (11, 14)
WAVES = np.arange(1, 21)
GRID = {"002": (6.0, 7.8), "008": (6.3, 7.8), "020": (7.8, 10.1)}


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("build_base", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def luminosity(z, log_age):
    """Return what the tiny BPASS holds at each wavelength; unlike for any other age and Z."""
    return 1e6 * (float(f"0.{z}") + (log_age - 6) / 10) * np.sqrt(WAVES)


def write_hoki(path, columns=51, first_wave=1):
    """Write a source archive of BPASS tables: wavelength, then 51 ages from log t = 6.0."""
    with tarfile.open(path, "w:gz") as tar:
        for z in ("002", "008"):
            ages = 6 + 0.1 * np.arange(columns)
            table = np.column_stack([WAVES - 1 + first_wave, *(luminosity(z, a) for a in ages)])
            text = io.BytesIO()
            np.savetxt(text, table, fmt="%15.7E")
            member = tarfile.TarInfo(f"hoki-1.7.1/hoki/data/spectra-bin-imf135_300.z{z}.dat")
            member.size = text.tell()
            text.seek(0)
            tar.addfile(member, text)
    return path


def write_mangadap(path, scale=1.0, ages=(7.8, 10.1), start=5):
    """Write a wheel of single spectra that begin at a wavelength of their own."""
    with zipfile.ZipFile(path, "w") as wheel:
        for z in ("008", "020"):
            for log_age in ages:
                hdu = fits.PrimaryHDU(scale * luminosity(z, log_age)[start - 1 :])
                hdu.header.update({"CRPIX1": 1, "CRVAL1": float(start), "CDELT1": 1.0})
                content = io.BytesIO()
                hdu.writeto(content)
                name = f"bin-imf135_300-z{z}-T{log_age - 9:.2f}.fits"
                folder = "mangadap/data/spectral_templates/bpass"
                wheel.writestr(f"{folder}/{name}", content.getvalue())
    return path


@pytest.fixture
def packages(tmp_path):
    return write_hoki(tmp_path / "hoki.tar.gz"), write_mangadap(tmp_path / "mangadap.whl")


def test_packages_are_joined_per_solar_mass(tool, packages):
    base = tool.build_base(*packages, grid=GRID, wave_range=WAVE_RANGE)
    np.testing.assert_array_equal(base.wave, [11, 12, 13, 14])
    np.testing.assert_allclose(np.log10(base.age), [6.0, 7.8, 6.3, 7.8, 7.8, 10.1])
    np.testing.assert_array_equal(base.metallicity, [0.002, 0.002, 0.008, 0.008, 0.02, 0.02])
    expected = [luminosity(z, a)[10:14] / 1e6 for z, ages in GRID.items() for a in ages]
    np.testing.assert_allclose(base.flux, expected, rtol=4e-6)
    assert base.medium == "vacuum"


def test_flux_is_exact_in_single_precision(tool):
    values = np.random.default_rng(1).lognormal(-8, 4, 1000)
    rounded = tool.round_mantissa(values, tool.MANTISSA_BITS)
    np.testing.assert_array_equal(rounded.astype(np.float32), rounded)
    np.testing.assert_allclose(rounded, values, rtol=2.0**-tool.MANTISSA_BITS)
    np.testing.assert_array_equal(tool.round_mantissa(np.array([0.0, 3.0]), 18), [0.0, 3.0])


def test_remaining_mass_is_read_at_the_age(tool):
    mass = tool.remaining_mass([6.0, 10.0, 10.1])
    np.testing.assert_allclose(mass, [1.0, 0.5352320, 0.5307874], rtol=1e-6)


def test_one_metallicity_serves_for_the_remaining_mass_of_all(test_data):
    # BC03, Chabrier 2003 IMF, 6 metallicities x 25 ages: how much the same quantity depends on Z.
    path = test_data / "starlight" / "examples" / "v04_n150" / "Base.BC03.S"
    rows = [line.split() for line in path.read_text().splitlines() if line.startswith("bc2003")]
    mass = {(float(z), float(age)): float(mass) for _, age, z, _, mass, *_ in rows}
    for (z, age), value in mass.items():
        if z in (0.004, 0.008, 0.05) and age < 1.3e10:
            assert value == pytest.approx(mass[0.02, age], rel=0.03)


def test_command_writes_the_same_bytes_twice(tool, packages, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool.build_base, "__defaults__", (GRID, WAVE_RANGE))
    outputs = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for output in outputs:
        paths = ["--hoki", packages[0], "--mangadap", packages[1], "--output", output]
        tool.main([str(argument) for argument in paths])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert load_templates(outputs[0]).flux.shape == (6, 4)
    assert "6" in capsys.readouterr().out


def test_command_says_what_is_wrong(tool, packages, tmp_path):
    arguments = ["--hoki", packages[0], "--mangadap", packages[1], "--output", tmp_path / "no.npz"]
    with pytest.raises(SystemExit, match="build_base: a BPASS table has shape"):
        tool.main([str(argument) for argument in arguments])
    assert not (tmp_path / "no.npz").exists()


def test_packages_of_other_releases_are_refused(tool, packages, tmp_path):
    other = write_mangadap(tmp_path / "other.whl", scale=1.00001)
    with pytest.raises(tool.PackageError, match=r"differ at Z = 0.008 and log age 7.8"):
        tool.build_base(packages[0], other, grid=GRID, wave_range=WAVE_RANGE)


def test_other_layouts_are_refused(tool, packages, tmp_path):
    hoki, mangadap = packages
    cases = [
        (write_hoki(tmp_path / "a", columns=20), mangadap, "a BPASS table has shape"),
        (write_hoki(tmp_path / "b", first_wave=2), mangadap, "a BPASS table has shape"),
        (hoki, write_mangadap(tmp_path / "c", ages=(7.8,)), r"holds no .*z020-T1.10.fits"),
        (hoki, write_mangadap(tmp_path / "d", start=12), "does not cover"),
    ]
    for hoki_file, wheel, message in cases:
        with pytest.raises(tool.PackageError, match=message):
            tool.build_base(hoki_file, wheel, grid=GRID, wave_range=WAVE_RANGE)
    with tarfile.open(tmp_path / "empty", "w:gz"):
        pass
    with pytest.raises(tool.PackageError, match=r"holds no .*z002.dat; expected hoki==1.7.1"):
        tool.build_base(tmp_path / "empty", mangadap, grid=GRID, wave_range=WAVE_RANGE)


def test_shipped_base_is_what_the_script_describes(tool):
    base = load_templates("bpass")
    grid = [(float(f"0.{z}"), age) for z, ages in tool.GRID.items() for age in ages]
    np.testing.assert_allclose(np.column_stack([base.metallicity, np.log10(base.age)]), grid)
    assert (base.wave[0], base.wave[-1]) == tool.WAVE_RANGE
    assert base.source == tool.SOURCE
    assert np.all(base.fwhm == tool.FWHM)
    np.testing.assert_array_equal(base.mass_fraction, tool.remaining_mass([a for _, a in grid]))
    np.testing.assert_array_equal(base.flux, tool.round_mantissa(base.flux, tool.MANTISSA_BITS))
