"""Each instrument's files against what astropy alone reads in them, by the instrument's own rules.

See `tests/mock/observed.py` for those rules.
"""

import dataclasses
import tomllib
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from astropy.io import fits
from tests.mock.observed import CASES, SHORT, WAYS, read_plainly

from betis.config import validated
from betis.errors import RunFolderError
from betis.lsf import FWHM_PER_SIGMA
from betis.mock import INSTRUMENTS, MockOptions, cube_paths, make_galaxy, truth_path, write_cube
from betis.mock.spectra import make_renderer
from betis.options import CubeOptions
from betis.wavelength import read_axis


@dataclasses.dataclass(frozen=True)
class Written:
    """A galaxy, its files, and the setup of each cube."""

    galaxy: object
    files: tuple
    instrument: str

    @property
    def cubes(self):
        return list(zip(self.galaxy.options.setups, self.files, strict=False))


@pytest.fixture(scope="module", params=CASES)
def written(request, tmp_path_factory):
    options = CASES[request.param]
    galaxy = make_galaxy(options)
    path = tmp_path_factory.mktemp("mock") / "galaxy.fits"
    return Written(galaxy, write_cube(galaxy, path), options.instrument)


def test_every_instrument_is_tested():
    assert {options.instrument for options in CASES.values()} == set(INSTRUMENTS) == set(WAYS)


def test_astropy_reads_the_axis_of_the_setup(written):
    for setup, path in written.cubes:
        wave = read_plainly(path, written.instrument)[3]
        np.testing.assert_allclose(wave, setup.wave, rtol=0, atol=1e-6)
        assert wave.size > 100


def test_betis_reads_pixels_and_medium_of_the_setup(written):
    for setup, path in written.cubes:
        axis = read_axis(fits.getheader(path, WAYS[written.instrument].flux))
        np.testing.assert_allclose(axis.edges, setup.edges, rtol=0, atol=1e-6)
        assert axis.medium in {setup.medium, None}


def test_spaxels_have_their_size_on_the_sky(written):
    for setup, path in written.cubes:
        header = fits.getheader(path, WAYS[written.instrument].flux)
        steps = [header.get(f"CD{n}_{n}", header.get(f"CDELT{n}")) * 3600 for n in (1, 2)]
        assert steps == pytest.approx([-setup.spaxel, setup.spaxel])
        assert (header["CRPIX1"], header["CRPIX2"]) == (5.0, 5.5)


def test_noise_is_as_the_file_says(written):
    field = written.galaxy.field
    for setup, path in written.cubes:
        flux, sigma, _, _ = read_plainly(path, written.instrument)
        model = make_renderer(written.galaxy, setup).flux()
        assert np.all(sigma[:, field] > 0)
        pull = (flux - model)[:, field] / sigma[:, field]
        assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
        assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * pull.size))


def test_only_spaxels_outside_the_field_are_bad(written):
    for _, path in written.cubes:
        mask = read_plainly(path, written.instrument)[2]
        np.testing.assert_array_equal(mask, np.broadcast_to(~written.galaxy.field, mask.shape))


def test_bad_voxels_are_as_the_survey_marks_them(written):
    way, outside = WAYS[written.instrument], ~written.galaxy.field
    for _, path in written.cubes:
        flux, error = (
            np.unique(fits.getdata(path, name)[:, outside]) for name in (way.flux, way.error)
        )
        marks = {
            "muse": ([np.nan], [np.nan]),
            "sami": ([np.nan], [np.nan]),
            "manga": ([0.0], [0.0]),
            "manga-lin": ([0.0], [0.0]),
            "califa": ([0.0], [1e10]),
            "kcwi": ([0.0], [0.0]),
            "generic": ([0.0], [1.0]),
        }[written.instrument]
        np.testing.assert_array_equal(flux, marks[0])
        np.testing.assert_array_equal(error, np.float32(marks[1]))


def test_flux_without_noise_integrates_to_the_truth(written, tmp_path, monkeypatch):
    monkeypatch.setattr("betis.mock.files.draw_noise", lambda *_: 0.0)
    galaxy = written.galaxy
    dark = dataclasses.replace(galaxy, weights=np.zeros_like(galaxy.weights))
    dark = dataclasses.replace(dark, options=dataclasses.replace(galaxy.options, av=0.0))
    total = 0.0
    for setup, path in zip(
        galaxy.options.setups, write_cube(dark, tmp_path / "dark.fits"), strict=False
    ):
        flux = read_plainly(path, written.instrument)[0]
        total = total + np.tensordot(np.diff(setup.edges), flux, axes=1)
    expected = galaxy.truth.flux.sum(axis=0)[galaxy.field]
    assert total[galaxy.field] == pytest.approx(expected, rel=1e-5)


def test_tiles_change_nothing(written, tmp_path):
    again = write_cube(written.galaxy, tmp_path / "rows.fits", tile_voxels=1)
    for path, other in zip(written.files, again, strict=True):
        if path.suffix == ".fits":
            assert_same_voxels(path, other)


def assert_same_voxels(path, other):
    with fits.open(path) as one, fits.open(other) as two:
        assert [hdu.name for hdu in one] == [hdu.name for hdu in two]
        for first, second in zip(one, two, strict=True):
            if first.data is not None:
                np.testing.assert_allclose(first.data, second.data, rtol=1e-6)


def test_files_are_whole_blocks_and_the_only_ones(written):
    for path in written.files:
        if path.suffix == ".fits":
            assert path.stat().st_size % 2880 == 0
    folder = written.files[0].parent
    expected = {*written.files, truth_path(folder / "galaxy.fits")}
    assert set(folder.iterdir()) == expected
    assert written.files == cube_paths(written.galaxy.options, folder / "galaxy.fits")


def test_extensions_are_those_of_the_instrument(written):
    names = {
        "muse": "PRIMARY DATA STAT",
        "manga": "PRIMARY FLUX IVAR MASK LSFPOST LSFPRE WAVE SPECRES SPECRESD PRESPECRES "
        "PRESPECRESD",
        "califa": "PRIMARY ERROR ERRWEIGHT BADPIX FIBCOVER",
        "sami": "PRIMARY VARIANCE WEIGHT DUST",
        "kcwi": "PRIMARY UNCERT MASK FLAGS",
        "generic": "PRIMARY SCI ERR DQ",
    }[written.instrument.removesuffix("-lin")]
    for _, path in written.cubes:
        with fits.open(path) as hdus:
            assert [hdu.name for hdu in hdus] == names.split()


def test_sami_has_two_arms_side_by_side(tmp_path):
    galaxy = make_galaxy(CASES["sami"])
    files = write_cube(galaxy, tmp_path / "pair.fits")
    assert [file.name for file in files] == ["pair_blue.fits", "pair_red.fits"]
    assert [fits.getval(file, "SPECTID") for file in files] == ["BL", "RD"]
    assert {fits.getval(file, "CRVAL1") for file in files} == {34.55}


def test_nominal_axes_are_those_of_the_instruments():
    found = {
        (setup.name, setup.mode): (setup.wave[0], setup.wave[-1], setup.wave.size)
        for options in (
            *(MockOptions(instrument=name) for name in INSTRUMENTS),
            *(MockOptions(instrument="califa", mode=mode) for mode in ("V1200", "COMB")),
            MockOptions(instrument="kcwi", mode="BL+RL"),
        )
        for setup in options.setups
    }
    assert found["manga", "LOGCUBE"] == pytest.approx((3621.59598, 10353.80505, 4563), abs=1e-3)
    assert found["manga-lin", "LINCUBE"] == (3622.0, 10353.0, 6732)
    assert found["califa", "V500"] == (3749.0, 7501.0, 1877)
    assert found["califa", "V1200"] == pytest.approx((3650.0, 4840.0, 1701), abs=1e-6)
    assert found["califa", "COMB"] == (3701.0, 7501.0, 1901)
    assert found["sami", "BL"] == pytest.approx((3650.0, 5799.99, 2048), abs=0.02)
    assert found["sami", "RD"] == pytest.approx((6240.0, 7459.99, 2048), abs=0.02)
    assert found["kcwi", "BL"] == (3500.0, 5600.0, 2101)
    assert found["kcwi", "RL"] == (5610.0, 9000.0, 3391)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_range_of_ones_own_stays_on_the_instruments_kind_of_axis(instrument):
    nominal = MockOptions(instrument=instrument).setups
    cut = MockOptions(instrument=instrument, wave_min=4990.0, wave_max=7010.0).setups
    same = MockOptions(
        instrument=instrument,
        wave_min=nominal[0].wave[0],
        wave_max=nominal[-1].wave[-1],
    ).setups
    assert (cut[0].wave[0], nominal[-1].axis.logarithmic) == (4990.0, cut[-1].axis.logarithmic)
    assert 7010.0 - np.diff(cut[-1].wave)[-1] < cut[-1].wave[-1] <= 7010.0 + 1e-6
    for setup, other in zip(nominal, same, strict=True):
        np.testing.assert_allclose(setup.wave, other.wave, rtol=0, atol=1e-6)
        assert setup.axis.reference == other.axis.reference
    for setup, other in pairwise(cut):
        assert setup.wave[-1] < other.wave[0]


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_step_of_ones_own_is_that_of_the_first_pixel(instrument):
    for setup in MockOptions(instrument=instrument, wave_step=1.7).setups:
        assert np.diff(setup.edges)[0] == pytest.approx(1.7, rel=1e-7)


def test_manga_states_its_resolution_before_and_after_the_pixel(tmp_path):
    galaxy = make_galaxy(CASES["manga"])
    (path,) = write_cube(galaxy, tmp_path / "manga.fits")
    (setup,) = galaxy.options.setups
    with fits.open(path) as hdus:
        wave, before, after = (hdus[name].data for name in ("WAVE", "PRESPECRES", "SPECRES"))
        np.testing.assert_allclose(wave, setup.wave, rtol=0, atol=1e-9)
        np.testing.assert_allclose(wave / before, setup.lsf(wave))
        pixel = (wave / after) ** 2 - (wave / before) ** 2
        box = np.diff(setup.edges) ** 2 / 12
        np.testing.assert_allclose(pixel, FWHM_PER_SIGMA**2 * box, rtol=1e-9)
        for name, power in (("LSFPRE", before), ("LSFPOST", after)):
            sigma = hdus[name].data[:, 5, 5] * FWHM_PER_SIGMA
            np.testing.assert_allclose(sigma, wave / power, rtol=1e-6)


def test_the_description_of_a_generic_cube_is_one_that_betis_takes(tmp_path):
    cube, description = write_cube(make_galaxy(CASES["generic"]), tmp_path / "mine.fits")
    tables = tomllib.loads(description.read_text("utf-8"))
    options = validated(CubeOptions, tables["cube"])
    assert (cube.name, description.name) == ("mine.fits", "mine.toml")
    assert (options.flux, options.error, options.error_kind) == ("SCI", "ERR", "sigma")
    assert (options.scale, options.medium, options.fwhm) == (1e-18, "air", 3.0)
    assert set(np.unique(fits.getdata(cube, "DQ"))) == {1, options.mask_bits}


def test_what_cannot_be_written_leaves_no_truth_of_another_cube(tmp_path):
    galaxy = make_galaxy(CASES["muse"])
    (tmp_path / "cube.fits").mkdir()
    truth_path(tmp_path / "cube.fits").write_text("of before")
    with pytest.raises(RunFolderError, match=r"cube\.fits could not be written"):
        write_cube(galaxy, tmp_path / "cube.fits")
    assert [file.name for file in tmp_path.iterdir()] == ["cube.fits"]


def peak_of_writing(instrument, n_y, folder):
    galaxy = make_galaxy(
        MockOptions(
            **{**SHORT, "n_y": n_y, "n_x": 16},
            instrument=instrument,
            wave_min=6400.0,
            wave_max=6900.0,
        )
    )
    n_wave = galaxy.options.setups[0].axis.count
    tracemalloc.start()
    write_cube(galaxy, folder / "cube.fits", tile_voxels=8 * 16 * n_wave)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("instrument", ["manga", "califa"])
def test_memory_does_not_grow_with_the_cube(instrument, tmp_path):
    peak_of_writing(instrument, 16, tmp_path)  # what is imported and cached once
    few, many = (peak_of_writing(instrument, n_y, tmp_path) for n_y in (24, 96))
    assert many < 1.2 * few
