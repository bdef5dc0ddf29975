"""Stellar bases: the shipped one obeys what is known of stars; the readers and their errors."""

import dataclasses
import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from betis.errors import InputError
from betis.io import templates as module
from betis.io.templates import describe_templates, list_templates, load_templates, save_templates
from betis.products import Templates
from betis.wavelength import vacuum_to_air

FIELDS = [field.name for field in dataclasses.fields(Templates)]


def make_base(n_template=3, n_wave=5, **changes):
    fields = {
        "wave": np.linspace(4000.0, 4010.0, n_wave),
        "flux": np.arange(1.0, 1 + n_template * n_wave).reshape(n_template, n_wave) / 7,
        "age": 1e9 * np.arange(1.0, 1 + n_template),
        "metallicity": np.full(n_template, 0.02),
        "mass_fraction": np.full(n_template, 0.7),
        "medium": "air",
        "fwhm": np.linspace(2.5, 2.6, n_wave),
        "name": "mine",
        "source": "made by hand",
    }
    return Templates(**(fields | changes))


def assert_same(left, right):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(left, field), getattr(right, field), err_msg=field)


def mean_flux(base, low, high):
    return base.flux[:, (base.wave >= low) & (base.wave < high)].mean(axis=1)


@pytest.fixture(scope="module")
def bpass():
    return load_templates()


def shipped_file():
    return Path(module.__file__).parents[1] / "data" / "bpass.npz"


class TestShippedBase:
    def test_is_listed_and_small(self):
        assert list_templates() == ("bpass",)
        assert shipped_file().stat().st_size < 2e6

    def test_covers_young_to_old_at_four_metallicities(self, bpass):
        for z, youngest in {0.002: 1e6, 0.008: 1e6, 0.020: 6.31e7, 0.030: 6.31e7}.items():
            ages = bpass.age[bpass.metallicity == z]
            assert ages.min() == pytest.approx(youngest, rel=1e-3)
            assert ages.max() == pytest.approx(1.259e10, rel=1e-3)
            assert np.diff(np.log10(ages)).max() < 0.21
            assert np.all(np.diff(ages) > 0)
        assert set(bpass.metallicity) == {0.002, 0.008, 0.020, 0.030}

    def test_axis_is_one_angstrom_in_vacuum_over_the_optical(self, bpass):
        assert bpass.medium == "vacuum"
        assert bpass.wave[0] <= 3602
        assert bpass.wave[-1] >= 9400
        np.testing.assert_array_equal(np.diff(bpass.wave), 1.0)

    def test_flux_is_positive_and_light_fades_with_age(self, bpass):
        assert np.all(bpass.flux > 0)
        for z in np.unique(bpass.metallicity):
            old = (bpass.metallicity == z) & (bpass.age >= 1e7)
            assert np.all(np.diff(mean_flux(bpass, 5450, 5550)[old]) < 0)

    def test_4000_break_grows_with_age(self, bpass):
        # Narrow definition of Balogh et al. 1999, ApJ 527 54; the oldest step is not monotonic
        # in BPASS, nor are those where red supergiants come and go.
        d4000 = mean_flux(bpass, 4000, 4100) / mean_flux(bpass, 3850, 3950)
        for z in np.unique(bpass.metallicity):
            middle = (bpass.metallicity == z) & (bpass.age > 2.4e7) & (bpass.age < 1.1e10)
            assert np.all(np.diff(d4000[middle]) > 0)
        assert d4000[bpass.age < 1.1e6].max() < 1.0
        assert d4000[bpass.age > 1e10].min() > 1.4

    @pytest.mark.parametrize(
        "line", [3934.78, 4102.89, 4862.68, 6564.61, 8500.35, 8544.44, 8664.52]
    )
    def test_absorption_lines_lie_at_their_vacuum_wavelengths(self, bpass, line):
        def depth(wavelength):
            at = np.abs(bpass.wave - wavelength) <= 0.8
            side = (np.abs(bpass.wave - wavelength) > 8) & (np.abs(bpass.wave - wavelength) < 14)
            return 1 - bpass.flux[:, at].min(axis=1) / bpass.flux[:, side].mean(axis=1)

        old = bpass.age > 1e8
        in_air = float(vacuum_to_air(line))
        assert np.all(depth(line)[old] > 0.2)
        assert np.mean(depth(line)[old] > depth(in_air)[old]) > 0.95

    def test_sharp_lines_have_the_stated_width(self, bpass):
        # Depth one pixel off the centre, over the depth at it, both against the level two pixels
        # off: exp(-4 ln 2 / FWHM^2) for a Gaussian, hence 0.06 for 1 A, 0.29 for 1.5 A.
        flux = bpass.flux[bpass.age > 1e8]
        level, beside = (
            (flux[:, 2 - k : flux.shape[1] - 2 - k] + flux[:, 2 + k : flux.shape[1] - 2 + k]) / 2
            for k in (2, 1)
        )
        centre = flux[:, 2:-2]
        lowest = (centre < flux[:, 1:-3]) & (centre < flux[:, 3:-1]) & (centre < 0.97 * level)
        ratio = np.median((level - beside)[lowest] / (level - centre)[lowest])
        fwhm = np.sqrt(-4 * np.log(2) / np.log(ratio))
        assert np.count_nonzero(lowest) > 10000
        assert fwhm == pytest.approx(bpass.fwhm[0], abs=0.1)

    def test_luminosity_is_that_of_one_solar_mass(self, bpass):
        # M/L in V of an old solar population is a few solar (Maraston 2005, MNRAS 362 799); the
        # Sun emits 4.8e-4 Lsun/A at 5500 A: 1.855 W/m2/nm there, of 1361 W/m2 (ASTM E490).
        old = (bpass.age > 9e9) & (bpass.metallicity == 0.020)
        light = mean_flux(bpass, 5450, 5550)[old] / (1.855 / 1361 / 10)
        assert np.all((1 / light > 2) & (1 / light < 12))

    def test_remaining_mass_falls_from_one_to_a_half(self, bpass):
        for z in np.unique(bpass.metallicity):
            mass = bpass.mass_fraction[bpass.metallicity == z]
            assert np.all(np.diff(mass) < 0)
            assert np.all((mass > 0.5) & (mass <= 1.0))

    def test_says_where_it_comes_from(self, bpass):
        for part in ("BPASS v2.2.1", "hoki", "mangadap", "BSD-3", "Eldridge", "Stanway"):
            assert part in bpass.source

    def test_holds_no_pickle(self):
        with np.load(shipped_file(), allow_pickle=False) as archive:
            assert all(archive[key].dtype.kind in "fU" for key in archive.files)

    def test_is_described(self, bpass):
        text = describe_templates(bpass)
        assert text["templates"] == "82"
        assert text["ages"] == "28, 1 Myr to 12.6 Gyr"
        assert text["metallicities"] == "0.002, 0.008, 0.02, 0.03"
        assert text["fwhm"] == "1.00 Angstrom"
        assert text["medium"] == "vacuum"
        assert text["remaining mass"] == "given"


class TestOwnFormat:
    def test_reading_what_was_written_is_the_identity(self, tmp_path, bpass):
        for number, base in enumerate([bpass, make_base()]):
            path = tmp_path / f"{number}.npz"
            save_templates(path, base)
            assert_same(load_templates(path), base)

    @settings(deadline=None, max_examples=20)
    @given(flux=hnp.arrays(float, (3, 5), elements=st.floats(-1e300, 1e300)))
    def test_no_bit_of_the_flux_is_lost(self, tmp_path_factory, flux):
        path = tmp_path_factory.mktemp("base") / "b.npz"
        save_templates(path, make_base(flux=flux))
        np.testing.assert_array_equal(load_templates(path).flux, flux)

    def test_same_base_gives_same_bytes(self, tmp_path):
        for name in ("a", "b"):
            save_templates(tmp_path / name, make_base())
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_file_is_known_by_its_content(self, tmp_path):
        save_templates(tmp_path / "base.fits", make_base())
        assert_same(load_templates(str(tmp_path / "base.fits")), make_base())

    def test_failed_writing_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch):
        save_templates(tmp_path / "b.npz", make_base())

        def fail(stream, **_):
            stream.write(b"half")
            raise OSError("disk full")

        monkeypatch.setattr(np, "savez_compressed", fail)
        with pytest.raises(OSError, match="disk full"):
            save_templates(tmp_path / "b.npz", make_base(name="new"))
        assert [path.name for path in tmp_path.iterdir()] == ["b.npz"]
        assert load_templates(tmp_path / "b.npz").name == "mine"

    def test_folder_must_exist(self, tmp_path):
        with pytest.raises(InputError, match=r"there is no folder .* to write b.npz in"):
            save_templates(tmp_path / "absent" / "b.npz", make_base())

    def test_resolution_can_be_set(self, tmp_path):
        save_templates(tmp_path / "b.npz", make_base())
        base = load_templates(tmp_path / "b.npz", fwhm=3.3)
        np.testing.assert_array_equal(base.fwhm, 3.3 * np.ones(5))
        assert "FWHM set to 3.3" in base.source
        with pytest.raises(InputError, match="fwhm of bpass must be > 0, but one is 0"):
            load_templates("bpass", fwhm=0)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"wave": np.array([1.0, 2, 2, 3, 4])}, "do not increase at 2 Angstrom"),
            ({"wave": np.array([4000.0])}, r"have shape \(1,\)"),
            ({"flux": np.ones((3, 4))}, r"flux of .* has shape \(3, 4\), where \(3, 5\)"),
            ({"flux": np.full((3, 5), np.nan)}, "15 values of flux that are not finite"),
            ({"age": np.ones(2)}, r"flux of .* has shape \(3, 5\), where \(2, 5\)"),
            ({"age": np.array([1.0, 0.0, 3.0])}, "age of .* must be > 0, but one is 0"),
            ({"metallicity": np.array([0.1, -1.0, 3.0])}, "metallicity of .* must be >= 0"),
            ({"mass_fraction": np.ones(4)}, r"mass_fraction of .* has shape \(4,\)"),
            ({"fwhm": np.ones(4)}, r"fwhm of .* has shape \(4,\), where \(5,\)"),
            ({"fwhm": np.full(5, np.nan)}, "fwhm of .* must be > 0, but one is nan"),
            ({"medium": np.array("ether")}, "medium of .* is 'ether'"),
            ({"format": np.array("betis templates 9")}, "it says betis templates 9"),
        ],
    )
    def test_bad_content_is_named(self, tmp_path, change, message):
        save_templates(tmp_path / "b.npz", make_base())
        with np.load(tmp_path / "b.npz") as archive:
            fields = dict(archive)
        np.savez(tmp_path / "b.npz", **(fields | change))
        with pytest.raises(InputError, match=message):
            load_templates(tmp_path / "b.npz")

    def test_other_archives_and_broken_ones_are_refused(self, tmp_path):
        np.savez(tmp_path / "other.npz", wave=np.ones(3))
        with pytest.raises(InputError, match="it lacks age, flux, format"):
            load_templates(tmp_path / "other.npz")
        np.savez(tmp_path / "text.npz", wave=np.array("blue"))
        with pytest.raises(InputError, match="cannot be read as a base"):
            load_templates(tmp_path / "text.npz")
        save_templates(tmp_path / "b.npz", make_base())
        whole = (tmp_path / "b.npz").read_bytes()
        (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="cannot be read as a base"):
            load_templates(tmp_path / "half.npz")


def test_missing_file_is_named_with_what_would_do(tmp_path):
    with pytest.raises(InputError, match=r"there is no stellar base .*absent; give one of bpass"):
        load_templates(tmp_path / "absent")


def test_unknown_format_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("a base that I like\n")
    with pytest.raises(InputError, match="is neither a base written by betis, nor a FITS"):
        load_templates(tmp_path / "notes.txt")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(InputError, match="is neither a base written by betis, nor a FITS"):
        load_templates(tmp_path / "empty")


MILES_AGES, MILES_MH = (0.1, 1.0, 10.0), (-0.4, 0.0, 0.22)


def miles_name(age, mh, prefix="M"):
    sign = "m" if mh < 0 else "p"
    return f"{prefix}un1.30Z{sign}{abs(mh):.2f}T{age:07.4f}_iPp0.00_baseFe.fits"


def write_miles(path, flux=None, comments=(), **cards):
    """Write a spectrum as the MILES web tool does: 0.9 A steps, no CTYPE, comments."""
    hdu = fits.PrimaryHDU(np.linspace(1, 2, 40, dtype=np.float32) if flux is None else flux)
    hdu.header.update({"CRVAL1": 3540.5, "CDELT1": 0.9, "CRPIX1": 1.0} | cards)
    for comment in comments:
        hdu.header.add_comment(comment)
    hdu.writeto(path)


@pytest.fixture
def miles_folder(tmp_path):
    folder = tmp_path / "miles"
    folder.mkdir()
    for age, mh in itertools.product(MILES_AGES, MILES_MH):
        flux = np.full(40, age * 10**mh, dtype=np.float32)
        write_miles(folder / miles_name(age, mh), flux)
    (folder / "README").write_text("terms of use")
    return folder


class TestFitsSpectra:
    def test_names_give_age_and_metallicity(self, miles_folder):
        base = load_templates(miles_folder)
        z = np.repeat(0.019 * 10 ** np.array(MILES_MH), 3)
        np.testing.assert_allclose(base.metallicity, z)
        np.testing.assert_allclose(base.age, np.tile(1e9 * np.array(MILES_AGES), 3))
        np.testing.assert_allclose(base.flux[:, 0], base.age / 1e9 * z / 0.019, rtol=1e-6)
        np.testing.assert_allclose(base.wave, 3540.5 + 0.9 * np.arange(40))

    def test_says_what_is_assumed(self, miles_folder):
        base = load_templates(miles_folder)
        assert base.medium == "air"
        assert np.all(base.fwhm == 2.51)
        assert np.all(base.mass_fraction == 1.0)
        assert base.name == "miles"
        assert "9 FITS spectra; FWHM taken as 2.51 Angstrom" in base.source
        assert describe_templates(base)["remaining mass"].startswith("unknown")

    def test_pattern_takes_its_part_and_one_file_is_one_template(self, miles_folder):
        assert load_templates(f"{miles_folder}/*Zp0.00*.fits").flux.shape == (3, 40)
        one = load_templates(miles_folder / miles_name(1.0, 0.0))
        assert one.age == pytest.approx(1e9)
        with pytest.raises(InputError, match=r"there is no FITS spectrum in .*Zp9"):
            load_templates(miles_folder / "*Zp9*")

    def test_pattern_may_be_relative(self, miles_folder, monkeypatch):
        monkeypatch.chdir(miles_folder)
        assert load_templates("*.fits").flux.shape == (9, 40)

    @pytest.mark.parametrize(
        "comments",
        [
            ["= '# Age, [M/H]:          01.5849, -0.71'"],
            ["= '# Age (Gyr):           01.5849'", "= '# [M/H]:               -0.71'"],
        ],
    )
    def test_header_wins_over_the_name(self, tmp_path, comments):
        write_miles(tmp_path / miles_name(10.0, 0.22), comments=comments)
        base = load_templates(tmp_path)
        assert base.age == pytest.approx(1.5849e9)
        assert base.metallicity == pytest.approx(0.019 * 10**-0.71)

    def test_axis_follows_the_header(self, tmp_path):
        write_miles(tmp_path / miles_name(1, 0), CRPIX1=3.0, CTYPE1="WAVE")
        base = load_templates(tmp_path)
        assert base.wave[2] == pytest.approx(3540.5)
        assert base.medium == "vacuum"

    def test_compressed_files_are_read(self, miles_folder):
        plain = load_templates(miles_folder)
        for path in miles_folder.glob("*.fits"):
            path.with_suffix(".fits.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        assert_same(load_templates(miles_folder), plain)

    def test_emiles_has_its_own_resolution(self, tmp_path):
        path = tmp_path / miles_name(1, 0, prefix="E")
        write_miles(path, np.ones(1000, np.float32), CRVAL1=1680.0, CDELT1=50.0)
        base = load_templates(path)
        fwhm = dict(zip(base.wave, base.fwhm, strict=True))
        assert fwhm[1680.0] == 3.0
        assert fwhm[3480.0] == 5.0
        assert fwhm[3580.0] == fwhm[8930.0] == 2.51
        assert base.fwhm[-1] == pytest.approx(23.57 * base.wave[-1] / 49999.4, rel=1e-3)

    def test_errors(self, tmp_path):
        write_miles(tmp_path / "spectrum.fits")
        with pytest.raises(InputError, match=r"neither the header nor the name .* gives age"):
            load_templates(tmp_path / "spectrum.fits")
        cube = tmp_path / miles_name(1, 0)
        write_miles(cube, np.ones((2, 3)))
        with pytest.raises(InputError, match=r"holds an image of shape \(2, 3\), where one"):
            load_templates(cube)
        table = tmp_path / miles_name(2, 0)
        columns = [fits.Column("flux", "D", array=np.ones(3))]
        fits.BinTableHDU.from_columns(columns).writeto(table)
        with pytest.raises(InputError, match="holds a table, where one spectrum"):
            load_templates(table)
        no_data = tmp_path / miles_name(3, 0)
        fits.PrimaryHDU().writeto(no_data)
        with pytest.raises(InputError, match="cannot be read as FITS"):
            load_templates(no_data)

    def test_axis_cards_are_needed(self, tmp_path):
        path = tmp_path / miles_name(1, 0)
        fits.PrimaryHDU(np.ones(5)).writeto(path)
        with pytest.raises(InputError, match=r"iPp0.00_baseFe.fits: .*no card CRVAL1"):
            load_templates(path)

    def test_nan_and_foreign_axis_are_named(self, miles_folder):
        write_miles(miles_folder / miles_name(5.0, 0.0), CRVAL1=3500.0)
        with pytest.raises(InputError, match="have different axes; bring a base to one axis"):
            load_templates(miles_folder)
        (miles_folder / miles_name(5.0, 0.0)).unlink()
        write_miles(miles_folder / miles_name(5.0, 0.0), np.full(40, np.nan, np.float32))
        with pytest.raises(
            InputError, match=r"T05.0000.* has 40 values of flux that are not finite"
        ):
            load_templates(miles_folder)

    def test_folder_without_spectra(self, tmp_path):
        with pytest.raises(InputError, match="there is no FITS spectrum in"):
            load_templates(tmp_path)


LIST_ROW = "{} {} {} code 0.9 0 0.0\n"


@pytest.fixture
def base_list(tmp_path):
    """A STARLIGHT list of two spectra, with a comment at the end, and the spectra beside it."""
    rows = [LIST_ROW.format("a.spec", "0.00100e9", 0.004), LIST_ROW.format("b.spec", "1e9", 0.02)]
    (tmp_path / "Base.mine").write_text(" 2   [N_base]\n" + "".join(rows) + "# spec age Z\n")
    for number, name in enumerate(["a.spec", "b.spec"]):
        rows = [f"{wave} {wave + number}" for wave in (3000.0, 3010, 3011, 3012, 3013)]
        (tmp_path / name).write_text("# wave flux\n" + "\n".join(rows) + "\n")
    return tmp_path / "Base.mine"


class TestStarlightList:
    def test_is_read_in_its_order(self, base_list):
        base = load_templates(base_list)
        np.testing.assert_array_equal(base.age, [1e6, 1e9])
        np.testing.assert_array_equal(base.metallicity, [0.004, 0.02])
        np.testing.assert_array_equal(base.mass_fraction, 0.9)
        np.testing.assert_array_equal(base.flux[1] - base.flux[0], 1.0)
        np.testing.assert_array_equal(base.wave, [3000, 3010, 3011, 3012, 3013])
        assert base.medium == "air"
        assert base.fwhm[0] == 10.0, "a pixel of 10 A resolves no less"
        assert base.fwhm[-1] == 3.0
        assert base.name == "Base.mine"

    def test_spectra_may_lie_elsewhere(self, base_list, tmp_path):
        folder = tmp_path / "spectra"
        folder.mkdir()
        for name in ("a.spec", "b.spec"):
            (tmp_path / name).rename(folder / name)
        with pytest.raises(InputError, match=r"names a.spec, which is not in .* spectra_dir"):
            load_templates(base_list)
        assert load_templates(base_list, spectra_dir=folder).flux.shape == (2, 5)

    def test_empty_and_short_lists(self, base_list):
        lines = base_list.read_text().splitlines(keepends=True)
        base_list.write_text("0 [N_base]\n" + "".join(lines[1:]))
        with pytest.raises(InputError, match="announces 0 spectra and names 2"):
            load_templates(base_list)
        base_list.write_text("3\n" + "".join(lines[1:]))
        with pytest.raises(InputError, match="announces 3 spectra and names 2"):
            load_templates(base_list)

    def test_bad_row(self, base_list):
        base_list.write_text("1 [N_base]\na.spec old 0.02 code 0.9 0 0.0\n")
        with pytest.raises(InputError, match="is not 'spectrum age Z code remaining_mass"):
            load_templates(base_list)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("3000 1\n3002 1\n3001 1\n", "b.spec do not increase at 3001 Angstrom"),
            ("3000 1\n3001 nan\n", "b.spec has 1 values of flux that are not finite"),
            ("3000 1\n3001 1\n", "have different axes"),
            ("3000\n3001\n", "b.spec cannot be read as two columns"),
            ("", "b.spec cannot be read as two columns"),
            ("3000 1\n", r"b.spec have shape \(1,\)"),
        ],
    )
    def test_bad_spectrum(self, base_list, content, message):
        (base_list.parent / "b.spec").write_text(content)
        with pytest.raises(InputError, match=message):
            load_templates(base_list)

    def test_real_base_of_66(self, test_data):
        starlight = test_data / "starlight"
        path = starlight / "kug0210-078" / "Base.CB07.vall.4m"
        base = load_templates(path, spectra_dir=starlight / "base_cb07")
        assert base.flux.shape == (66, 6900)
        assert set(base.metallicity) == {0.004, 0.008, 0.02, 0.05}
        assert (base.age.min(), base.age.max()) == (1e6, 1.8e10)
        assert (base.wave[0], base.wave[-1]) == (91.0, 1.6e6)
        assert base.mass_fraction[2] == 0.9488
        assert base.flux[0, base.wave == 3474.0] == pytest.approx(1.721e-2)
        optical = (base.wave > 3400) & (base.wave < 9300)
        assert np.all(base.fwhm[optical] == 2.51)
        d4000 = mean_flux(base, 4000, 4100) / mean_flux(base, 3850, 3950)
        for z in np.unique(base.metallicity):
            grown = (base.metallicity == z) & (base.age > 2e7) & (base.age < 1.1e10)
            assert np.all(np.diff(d4000[grown]) > 0)
