"""What is particular to each instrument's files."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from tests.io.small_cubes import (
    GENERIC,
    SAMPLES,
    SHAPE,
    Voxels,
    bare,
    generic,
    kcwi_primary,
    manga,
    muse,
    primary,
    sami,
)

from betis.errors import ConfigError, InputError
from betis.io.flux_units import flux_density_scale
from betis.io.manga import BAD_BITS
from betis.io.readers import read_cube
from betis.lsf import FWHM_PER_SIGMA


@pytest.fixture
def voxels():
    return Voxels.drawn()


def write(path, hdus):
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize("bit", range(32))
def test_the_bits_of_manga_are_bad_or_only_told(bit, voxels, tmp_path):
    voxels.bits.view(np.uint32)[7, 2, 3] = 1 << bit
    mask = read_cube(write(tmp_path / "cube.fits", manga(voxels))).mask
    assert mask[7, 2, 3] == (bit in {0, 2, 3, 10}) == bool(BAD_BITS & 1 << bit)
    assert mask.sum() == mask[7, 2, 3]


def test_mangas_wave_must_be_the_axis_of_the_header(voxels, tmp_path):
    path = write(tmp_path / "cube.fits", manga(voxels))
    with fits.open(path, mode="update") as hdus:
        hdus["WAVE"].data[30] += 5e-4
    assert read_cube(path).shape == SHAPE
    with fits.open(path, mode="update") as hdus:
        hdus["WAVE"].data[30] += 1e-3
    with pytest.raises(InputError, match=r"extension WAVE gives wavelengths .* up to 0\.0015 A"):
        read_cube(path)
    with fits.open(path, mode="update") as hdus:
        hdus["WAVE"].data = hdus["WAVE"].data[1:]
    with pytest.raises(InputError, match="extension WAVE gives 59 wavelengths"):
        read_cube(path)


def test_mangas_resolution_is_that_before_the_pixel(voxels, tmp_path):
    cube = read_cube(write(tmp_path / "both.fits", manga(voxels)))
    np.testing.assert_allclose(cube.lsf, cube.wave / 2000.0)
    only = read_cube(write(tmp_path / "old.fits", manga(voxels, widths=["SPECRES"])))
    boxcar = np.diff(only.edges) * FWHM_PER_SIGMA / np.sqrt(12)
    np.testing.assert_allclose(np.hypot(only.lsf, boxcar), only.wave / 1900.0, rtol=1e-3)


@pytest.mark.parametrize("unknown", [0.0, -1.0, np.nan, np.inf])
def test_mangas_resolution_is_filled_in_where_it_was_not_measured(unknown, voxels, tmp_path):
    path = write(tmp_path / "cube.fits", manga(voxels))
    with fits.open(path, mode="update") as hdus:
        hdus["PRESPECRES"].data[[0, 1, 30, 59]] = unknown
    np.testing.assert_allclose(read_cube(path).lsf, read_cube(path).wave / 2000.0)


def test_a_manga_cube_without_resolution_or_mask_is_refused(voxels, tmp_path):
    path = write(tmp_path / "cube.fits", manga(voxels, widths=[]))
    with pytest.raises(InputError, match="no extension SPECRES"):
        read_cube(path)
    hdus = [hdu for hdu in manga(voxels) if hdu.name != "MASK"]
    with pytest.raises(InputError, match="no extension MASK"):
        read_cube(write(tmp_path / "bare.fits", hdus))


@pytest.mark.parametrize("instrument", ["auto", "manga"])
def test_mangas_row_stacked_spectra_are_refused_by_name(instrument, voxels, tmp_path):
    hdus = [primary(INSTRUME="MaNGA")]
    hdus += [fits.ImageHDU(np.ones((9, 60), np.float32), name=name) for name in ("FLUX", "IVAR")]
    with pytest.raises(InputError, match=r"row-stacked spectra \(RSS\); give the LOGCUBE"):
        read_cube(write(tmp_path / "rss.fits", hdus), instrument)


def test_the_bins_of_a_sami_cube_are_copies(voxels, tmp_path):
    labels = np.array([[0, 1, 1, 2, 2]] * 2 + [[0, 0, 0, 0, 35]] * 2, dtype=np.int32)
    cube = read_cube(write(tmp_path / "cube.fits", sami(voxels, labels=labels)))
    assert cube.copies.dtype == np.int32
    np.testing.assert_array_equal(cube.copies, np.where(labels == 0, -1, labels))
    with pytest.raises(InputError, match=r"BIN_MASK has the shape \(2, 5\), where the field"):
        read_cube(write(tmp_path / "wrong.fits", sami(voxels, labels=labels[:2])))


@pytest.mark.parametrize(("start", "fwhm"), [(3650.0, 2.66), (6240.0, 1.59)])
def test_the_arm_of_sami_gives_the_resolution(start, fwhm, voxels, tmp_path):
    cube = read_cube(write(tmp_path / "cube.fits", sami(voxels, CRVAL3=start)))
    assert set(cube.lsf) == {fwhm}


@pytest.mark.parametrize(("step", "fwhm"), [(0.7, 2.3), (2.0, 6.0)])
def test_the_step_of_califa_gives_the_resolution(step, fwhm, voxels, tmp_path):
    path = SAMPLES["califa"].write(tmp_path / "cube.fits", voxels, CRVAL3=4000.0, CD3_3=step)
    assert set(read_cube(path).lsf) == {fwhm}


@pytest.mark.parametrize("name", ["califa", "sami", "kcwi"])
def test_the_primary_is_the_first_whatever_it_is_called(name, voxels, tmp_path):
    path = SAMPLES[name].write(tmp_path / "cube.fits", voxels)
    fits.setval(path, "EXTNAME", value="FLUX")
    np.testing.assert_array_equal(read_cube(path).flux, voxels.flux)


def test_the_huge_error_of_an_unmeasured_voxel_of_califa_masks_it(voxels, tmp_path):
    voxels.sigma[3, 1, 1] = 1e10
    mask = read_cube(SAMPLES["califa"].write(tmp_path / "cube.fits", voxels)).mask
    assert np.argwhere(mask).tolist() == [[3, 1, 1]]


class TestKcwi:
    """Grating, slicer, unit, and the three files of the old pipeline."""

    @pytest.mark.parametrize(
        ("camera", "grating", "slicer", "power"),
        [
            ("BLUE", "BL", "Large", 900),
            ("BLUE", "BL", "Small", 3600),
            ("BLUE", "BM", "Medium", 4000),
            ("BLUE", "BH3", "Small", 18000),
            ("RED", "RL", "Medium", 1800),
        ],
    )
    def test_grating_and_slicer_give_the_resolution(
        self, camera, grating, slicer, power, voxels, tmp_path
    ):
        facts = {"CAMERA": camera, f"{camera[0]}GRATNAM": grating, "IFUNAM": slicer}
        path = SAMPLES["kcwi"].write(tmp_path / "cube.fits", voxels)
        with fits.open(path, mode="update") as hdus:
            hdus[0].header.update(facts)
        cube = read_cube(path)
        assert np.ptp(cube.lsf) == 0
        assert np.median(cube.wave / cube.lsf) == pytest.approx(power, rel=1e-3)
        fits.setval(path, f"{camera[0]}CWAVE", value=6501.0)
        assert read_cube(path).lsf[0] == pytest.approx(6501.0 / power)
        fits.setval(path, f"{camera[0]}CWAVE", value="unknown")
        np.testing.assert_array_equal(read_cube(path).lsf, cube.lsf)

    def test_an_unknown_grating_is_refused(self, voxels, tmp_path):
        path = SAMPLES["kcwi"].write(tmp_path / "cube.fits", voxels)
        fits.setval(path, "RGRATNAM", value="none")
        with pytest.raises(InputError, match=r"RGRATNAM = 'none' and IFUNAM = 'Medium'"):
            read_cube(path)

    @pytest.mark.parametrize("unit", ["electrons", "electron / pix", "e-/px", "counts", "ADU"])
    def test_a_cube_before_its_flux_calibration_is_refused(self, unit, voxels, tmp_path):
        path = SAMPLES["kcwi"].write(tmp_path / "cube.fits", voxels)
        fits.setval(path, "BUNIT", value=unit)
        with pytest.raises(InputError, match="not calibrated in flux"):
            read_cube(path)

    @pytest.mark.parametrize("unit", ["FLAM16", "1e+16 erg / (Angstrom cm2 s)", ""])
    def test_the_units_of_its_pipelines_are_understood(self, unit, voxels, tmp_path):
        path = SAMPLES["kcwi"].write(tmp_path / "cube.fits", voxels)
        fits.setval(path, "BUNIT", value=unit)
        assert read_cube(path).sky.flux_scale == 1e-16

    def three_files(self, folder, voxels, mask=True):
        voxels.bits[9, 1, 1] = 1
        parts = {"i": voxels.flux, "v": voxels.sigma**2, "m": voxels.bits.astype(np.uint8)}
        for letter, values in parts.items():
            if mask or letter != "m":
                kcwi_primary(values).writeto(folder / f"kb200101_00042_{letter}cubes.fits")
        return folder / "kb200101_00042_icubes.fits"

    def test_the_three_files_of_the_old_pipeline_are_one_cube(self, voxels, tmp_path):
        cube = read_cube(self.three_files(tmp_path, voxels))
        assert cube.noise_kind == "variance"
        assert np.argwhere(cube.mask).tolist() == [[9, 1, 1]]
        expected = np.where(cube.mask, np.nan, voxels.sigma)
        np.testing.assert_allclose(cube.error, expected, rtol=1e-6)

    def test_the_mask_of_the_old_pipeline_may_be_absent_but_not_the_variance(
        self, voxels, tmp_path
    ):
        path = self.three_files(tmp_path, voxels, mask=False)
        assert not read_cube(path).mask.any()
        (tmp_path / "kb200101_00042_vcubes.fits").unlink()
        with pytest.raises(InputError, match=r"no file kb200101_00042_vcubes\.fits beside it"):
            read_cube(path)

    def test_a_variance_on_another_axis_is_refused(self, voxels, tmp_path):
        path = self.three_files(tmp_path, voxels)
        fits.setval(tmp_path / "kb200101_00042_vcubes.fits", "CRVAL3", value=6400.0)
        with pytest.raises(InputError, match="header of PRIMARY gives wavelengths that differ"):
            read_cube(path)


class TestGeneric:
    """Whatever the table [cube] says."""

    @pytest.mark.parametrize("kind", ["variance", "ivar", "sigma"])
    def test_the_error_is_what_it_is_said_to_be(self, kind, voxels, tmp_path):
        stored = {"variance": 2, "ivar": -2, "sigma": 1}[kind]
        hdus = generic(voxels)
        hdus[2].data = voxels.sigma**stored
        path = write(tmp_path / "cube.fits", hdus)
        cube = read_cube(path, layout=replace(GENERIC, error_kind=kind))
        np.testing.assert_allclose(cube.error, voxels.sigma, rtol=1e-6)
        assert cube.noise_kind == kind

    def test_extensions_may_be_given_by_number(self, voxels, tmp_path):
        path = write(tmp_path / "cube.fits", generic(voxels))
        numbers = replace(GENERIC, flux="1", error="2", mask="3")
        assert read_cube(path, layout=numbers).source == read_cube(path, layout=GENERIC).source
        with pytest.raises(InputError, match="no extension 9"):
            read_cube(path, layout=replace(GENERIC, flux="9"))

    def test_wavelengths_and_widths_may_be_lists(self, voxels, tmp_path):
        wave = 5000 + np.cumsum(np.linspace(1, 2, SHAPE[0]))
        hdus = [*generic(voxels), bare(wave, "LAMBDA"), bare(wave / 1000, "WIDTH")]
        path = write(tmp_path / "cube.fits", hdus)
        chosen = replace(GENERIC, wave="LAMBDA", lsf="WIDTH", medium="vacuum")
        cube = read_cube(path, layout=chosen)
        np.testing.assert_array_equal(cube.wave, wave)
        np.testing.assert_array_equal(cube.lsf, wave / 1000)
        assert cube.medium == "vacuum"
        with pytest.raises(InputError, match="must have a positive FWHM for each of 60"):
            read_cube(write(tmp_path / "b.fits", [*hdus[:-1], bare(-wave, "WIDTH")]), layout=chosen)
        hdus[4] = bare(wave[1:], "LAMBDA")
        short = write(tmp_path / "c.fits", hdus)
        with pytest.raises(InputError, match="LAMBDA has 59 wavelengths, where the flux has 60"):
            read_cube(short, layout=chosen)
        with pytest.raises(InputError, match=r"SCI .* has 3 axes, where a list"):
            read_cube(path, layout=replace(chosen, wave="SCI"))

    def test_the_scale_given_wins_over_the_unit(self, voxels, tmp_path):
        path = write(tmp_path / "cube.fits", generic(voxels))
        assert read_cube(path, layout=replace(GENERIC, scale=1e-15)).sky.flux_scale == 1e-15

    def test_one_width_is_that_of_every_pixel(self, voxels, tmp_path):
        path = write(tmp_path / "cube.fits", generic(voxels))
        cube = read_cube(path, layout=replace(GENERIC, resolving_power=0.0, fwhm=2.5))
        assert set(cube.lsf) == {2.5}

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"error": ""}, r"set error in the table \[cube\]"),
            ({"resolving_power": 0.0}, "does not say how wide a line is; set fwhm"),
        ],
    )
    def test_what_is_not_described_is_asked_for(self, changed, sentence, voxels, tmp_path):
        path = write(tmp_path / "cube.fits", generic(voxels))
        with pytest.raises(ConfigError, match=sentence):
            read_cube(path, layout=replace(GENERIC, **changed))

    def test_a_mask_that_was_promised_must_be_there(self, voxels, tmp_path):
        path = write(tmp_path / "cube.fits", generic(voxels)[:-1])
        with pytest.raises(InputError, match="no extension QUALITY"):
            read_cube(path, layout=GENERIC)

    @pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.uint32, np.int64, float])
    def test_bits_are_bits_however_they_are_stored(self, kind, voxels, tmp_path):
        hdus = generic(voxels)
        bits = np.zeros(SHAPE, kind)
        bits[1, 0, 0], bits[2, 0, 0], bits[3, 0, 0] = 2, 4 | 8, 1 | 8 | 64
        hdus[3] = fits.ImageHDU(bits, name="QUALITY")
        mask = read_cube(write(tmp_path / "cube.fits", hdus), layout=GENERIC).mask
        assert np.argwhere(mask).tolist() == [[1, 0, 0], [2, 0, 0]]

    def test_a_high_bit_of_a_long_mask_is_seen_beside_a_low_one(self, voxels, tmp_path):
        hdus = generic(voxels)
        bits = np.zeros(SHAPE, np.uint64)
        bits[1, 0, 0], bits[2, 0, 0] = (1 << 63) | 2, (1 << 63) | 1
        hdus[3] = fits.ImageHDU(bits, name="QUALITY")
        mask = read_cube(write(tmp_path / "cube.fits", hdus), layout=GENERIC).mask
        assert np.argwhere(mask).tolist() == [[1, 0, 0]]

    @pytest.mark.parametrize("kind", [np.uint16, np.uint32, np.uint64])
    def test_the_highest_bit_of_an_unsigned_mask_is_a_bit(self, kind, voxels, tmp_path):
        hdus = generic(voxels)
        highest = 8 * np.dtype(kind).itemsize - 1
        bits = np.zeros(SHAPE, kind)
        bits[1, 0, 0], bits[2, 0, 0] = 1 << highest, 1
        hdus[3] = fits.ImageHDU(bits, name="QUALITY")
        chosen = replace(GENERIC, mask_bits=1 << highest)
        mask = read_cube(write(tmp_path / "cube.fits", hdus), layout=chosen).mask
        assert np.argwhere(mask).tolist() == [[1, 0, 0]]

    def test_a_float_mask_marks_what_is_no_number(self, voxels, tmp_path):
        hdus = generic(voxels)
        marks = np.zeros(SHAPE)
        marks[1, 0, 0] = np.nan
        hdus[3] = fits.ImageHDU(marks, name="QUALITY")
        path = write(tmp_path / "cube.fits", hdus)
        for bits in (6, -1):
            mask = read_cube(path, layout=replace(GENERIC, mask_bits=bits)).mask
            assert np.argwhere(mask).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        ("1E-17 erg/s/cm^2/Ang/spaxel", 1e-17),
        ("1E-17 erg/s/cm^2/Angstrom/spaxel", 1e-17),
        ("10**(-16) erg /s /cm**2 /angstrom /pixel", 1e-16),
        ("10^-16 erg/s/cm^2/A", 1e-16),
        ("1e-16 erg/s/cm2/AA spaxel-1", 1e-16),
        ("1e-17 erg s-1 cm-2 Angstrom-1 pix^-1", 1e-17),
        ("1E-17 erg/s/cm^2/Ang/fiber", 1e-17),
        ("10**-20 Angstrom-1 cm-2 erg s-1", 1e-20),
        ("FLAM16", 1e-16),
        ("FLAM", 1.0),
        ("FLAM16/arcsec2", 0.0),
        ("FLAM16 / spaxel", 1e-16),
        ("electron", 0.0),
        ("pixel", 0.0),
        ("", 0.0),
    ],
)
def test_the_units_of_all_pipelines_are_understood(unit, scale):
    assert flux_density_scale(unit) == pytest.approx(scale)


def test_muse_errors_are_not_masked_where_the_unit_is_unknown(voxels, tmp_path):
    huge = replace(
        voxels, flux=np.full(SHAPE, 1e14, np.float32), sigma=np.full(SHAPE, 1e15, np.float32)
    )
    path = write(tmp_path / "cube.fits", muse(huge))
    assert read_cube(path).mask.all()
    fits.setval(path, "BUNIT", value="banana", extname="DATA")
    assert not read_cube(path).mask.any()
