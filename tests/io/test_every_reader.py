"""What every reader promises, on a small cube in each layout."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from tests.io.small_cubes import SAMPLES, SHAPE, Voxels

from betis.errors import InputError
from betis.io.layout import BRIGHTEST
from betis.io.readers import read_cube, recognise

NO_ERROR = (0.0, -1.0, np.nan, np.inf)


@pytest.fixture(params=SAMPLES)
def sample(request):
    return SAMPLES[request.param]


@pytest.fixture
def voxels():
    return Voxels.drawn()


def opened(sample, path):
    return read_cube(path, layout=sample.options)


class TestEveryReader:
    """The contract."""

    def test_the_axis_is_that_of_the_header(self, sample, voxels, tmp_path):
        path = sample.write(tmp_path / "cube.fits", voxels)
        wcs = WCS(fits.getheader(path, sample.flux)).sub([3])
        in_angstrom = u.Unit(wcs.wcs.cunit[0]).to(u.AA)
        cube = opened(sample, path)
        for found, first in ((cube.wave, 0.0), (cube.edges, -0.5)):
            expected = wcs.wcs_pix2world(np.arange(found.size) + first, 0)[0] * in_angstrom
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)

    def test_a_known_noise_comes_back(self, sample, voxels, tmp_path):
        cube = opened(sample, sample.write(tmp_path / "cube.fits", voxels))
        np.testing.assert_array_equal(cube.flux, voxels.flux)
        np.testing.assert_allclose(cube.error, voxels.sigma, rtol=1e-6)
        scatter = np.std((cube.flux - 10) / cube.error)
        assert scatter == pytest.approx(1, abs=4 / np.sqrt(2 * voxels.flux.size))
        assert cube.noise_kind == sample.kind

    def test_what_is_bad_is_masked_and_nothing_else(self, sample, voxels, tmp_path):
        bad = {(7, 2, 3), (8, 0, 0), (9, 1, 1)}
        voxels.flux[7, 2, 3], voxels.flux[8, 0, 0], voxels.flux[9, 1, 1] = np.nan, np.inf, -np.inf
        voxels.bits[11, 1, 2] = sample.bad_bit
        voxels.bits[12, 1, 2] = sample.bad_bit | sample.good_bit
        voxels.bits[13, 1, 2] = sample.good_bit
        if sample.bad_bit:
            bad |= {(11, 1, 2), (12, 1, 2)}
        block = opened(sample, sample.write(tmp_path / "cube.fits", voxels)).read()
        assert set(map(tuple, np.argwhere(block.mask).tolist())) == bad
        assert not block.flux[block.mask].any()
        assert not block.variance[block.mask].any()

    @pytest.mark.parametrize("value", NO_ERROR)
    def test_an_error_that_is_none_masks_its_voxel(self, sample, voxels, tmp_path, value):
        path = sample.write(tmp_path / "cube.fits", voxels)
        with fits.open(path, mode="update") as hdus:
            hdus[sample.error].data[20, 3, 4] = value
        block = opened(sample, path).read()
        assert np.argwhere(block.mask).tolist() == [[20, 3, 4]]

    def test_an_error_as_bright_as_vega_masks_its_voxel(self, sample, voxels, tmp_path):
        limit = BRIGHTEST / sample.scale
        voxels.sigma[5, 0, 0], voxels.sigma[6, 0, 0] = 1.1 * limit, 0.9 * limit
        block = opened(sample, sample.write(tmp_path / "cube.fits", voxels)).read()
        assert np.argwhere(block.mask).tolist() == [[5, 0, 0]]

    def test_a_tile_is_that_part_of_the_whole(self, sample, voxels, tmp_path):
        cube = opened(sample, sample.write(tmp_path / "cube.fits", voxels))
        whole, tile = cube.read(), cube.read(slice(1, 3), slice(20, 33))
        for part, all_of_it in zip(tile, whole, strict=True):
            np.testing.assert_array_equal(part, all_of_it[20:33, 1:3])

    def test_voxels_are_read_when_they_are_asked_for(self, sample, voxels, tmp_path):
        path = sample.write(tmp_path / "cube.fits", voxels)
        cube = opened(sample, path)
        path.unlink()
        assert cube.shape == SHAPE
        with pytest.raises(InputError, match="can no longer be read"):
            cube.read()

    def test_scale_medium_and_resolution_are_the_instruments(self, sample, voxels, tmp_path):
        cube = opened(sample, sample.write(tmp_path / "cube.fits", voxels))
        assert cube.sky.flux_scale == pytest.approx(sample.scale)
        assert cube.medium == sample.medium
        assert cube.lsf.shape == cube.wave.shape
        low, high = sample.fwhm
        assert low <= cube.lsf.min() <= cube.lsf.max() <= high
        assert cube.dereddened == sample.facts.get("dereddened", False)
        assert cube.copies is None

    def test_the_field_keeps_its_place_on_the_sky(self, sample, voxels, tmp_path):
        cube = opened(sample, sample.write(tmp_path / "cube.fits", voxels))
        assert cube.sky.shape == SHAPE[1:]
        assert (cube.sky.wcs["CRVAL1"], cube.sky.wcs["CRPIX2"]) == (150.0, 4.0)

    def test_found_by_content_or_asked_for_it_is_the_same(self, sample, voxels, tmp_path):
        path = sample.write(tmp_path / "any name.dat", voxels)
        found = opened(sample, path)
        forced = read_cube(path, sample.reader, layout=sample.options)
        assert found.instrument == forced.instrument == sample.reader
        assert found.source == forced.source
        with fits.open(path) as hdus:
            name, reason = recognise(path, hdus, layout=sample.options)
        assert (name, bool(reason)) == (sample.reader, True)

    def test_a_file_without_its_error_is_refused(self, sample, voxels, tmp_path):
        hdus = [hdu for hdu in sample.hdus(voxels) if hdu.name != sample.error]
        fits.HDUList(hdus).writeto(tmp_path / "cube.fits")
        with pytest.raises(InputError, match=f"no extension {sample.error}"):
            opened(sample, tmp_path / "cube.fits")

    def test_an_error_of_another_shape_is_refused(self, sample, voxels, tmp_path):
        hdus = sample.hdus(voxels)
        for hdu in hdus:
            if hdu.name == sample.error:
                hdu.data = hdu.data[:, :3]
        fits.HDUList(hdus).writeto(tmp_path / "cube.fits")
        sentence = rf"{sample.flux} has the shape .* and {sample.error} \(60, 3, 5\)"
        with pytest.raises(InputError, match=sentence):
            opened(sample, tmp_path / "cube.fits")

    def test_wavelengths_of_no_such_instrument_are_refused(self, sample, voxels, tmp_path):
        path = sample.write(tmp_path / "cube.fits", voxels, CRVAL3=65.0)
        with pytest.raises(InputError, match=r"cube lies within|differ by up to"):
            opened(sample, path)


@pytest.mark.parametrize("name", ["muse", "manga", "generic"])
def test_an_error_on_another_axis_is_refused(name, voxels, tmp_path):
    sample = SAMPLES[name]
    path = sample.write(tmp_path / "cube.fits", voxels)
    fits.setval(path, "CRVAL3", value=6501.0, extname=sample.error)
    with pytest.raises(InputError, match=rf"the header of {sample.error} gives wavelengths that"):
        opened(sample, path)
    fits.setval(path, "CRVAL3", value=6500.0 + 1e-5, extname=sample.error)
    assert opened(sample, path).shape == SHAPE
    medium = "WAVE-LOG" if name == "manga" else "WAVE"
    fits.setval(path, "CTYPE3", value=medium.replace("WAVE", "AWAV"), extname=sample.flux)
    fits.setval(path, "CTYPE3", value=medium, extname=sample.error)
    with pytest.raises(InputError, match=r"wavelengths in vacuum, where .* in air"):
        opened(sample, path)


def test_an_axis_without_a_name_is_an_axis(voxels, tmp_path):
    path = SAMPLES["muse"].write(tmp_path / "cube.fits", voxels, CTYPE3="")
    fits.setval(path, "CRVAL3", value=6501.0, extname="STAT")
    with pytest.raises(InputError, match="the header of STAT gives wavelengths that"):
        read_cube(path)


@pytest.mark.parametrize("cards", [{"CRVAL3": 0.0, "CDELT3": 1.0}, {"CRVAL3": 1, "CD3_3": 1}])
def test_an_error_whose_header_counts_pixels_says_nothing_of_the_axis(cards, voxels, tmp_path):
    hdus = SAMPLES["kcwi"].hdus(voxels)
    hdus[2] = fits.ImageHDU(hdus[2].data, fits.Header(cards), name="UNCERT")
    fits.HDUList(hdus).writeto(tmp_path / "cube.fits")
    assert read_cube(tmp_path / "cube.fits").shape == SHAPE


@pytest.mark.parametrize("name", ["kcwi", "generic"])
@pytest.mark.parametrize("ctype", ["LINEAR", "", "WAVELENGTH"])
def test_a_medium_that_nothing_tells_is_asked_for(name, ctype, voxels, tmp_path):
    sample = SAMPLES[name]
    path = sample.write(tmp_path / "cube.fits", voxels, CTYPE3=ctype)
    with pytest.raises(InputError, match=r"does not say whether .* medium = \"air\" or \"vacuum\""):
        opened(sample, path)


@pytest.mark.parametrize("name", ["muse", "manga, linear", "califa", "sami"])
@pytest.mark.parametrize("ctype", ["LINEAR", "", "WAVELENGTH"])
def test_a_medium_that_the_header_leaves_unsaid_is_the_instruments(name, ctype, voxels, tmp_path):
    sample = SAMPLES[name]
    cube = opened(sample, sample.write(tmp_path / "cube.fits", voxels, CTYPE3=ctype))
    assert cube.medium == sample.medium


def test_the_options_settle_the_medium_whatever_the_header_says(voxels, tmp_path):
    path = SAMPLES["generic"].write(tmp_path / "cube.fits", voxels)
    chosen = replace(SAMPLES["generic"].options, medium="vacuum")
    assert read_cube(path, layout=chosen).medium == "vacuum"
