"""Cubes that others made, read with the values that are known of them."""

import numpy as np
import pytest
from astropy.io import fits
from tests.cubes import WCS

import betis
from betis.errors import InputError
from betis.extinction import extinction_curve

GALAXIES = ("41144_A", "41144_B", "209807_A")


@pytest.fixture(scope="module", params=GALAXIES)
def arms(request, test_data):
    return [
        test_data / "sami" / f"{request.param}_sectors_{arm}.fits.gz" for arm in ("blue", "red")
    ]


def test_sami_as_it_was_observed(arms):
    for path, first, last, step, fwhm in zip(
        arms, (3640, 6230), (5810, 7470), (1.0503, 0.5960), (2.66, 1.59), strict=True
    ):
        cube = betis.read_cube(path)
        assert cube.shape == (2048, 50, 50)
        assert (cube.instrument, cube.medium, cube.sky.flux_scale) == ("sami", "air", 1e-16)
        assert first < cube.wave[0] < cube.wave[-1] < last
        np.testing.assert_allclose(np.diff(cube.wave), step, atol=1e-4)
        assert set(cube.lsf) == {fwhm}
        assert not cube.dereddened


def test_the_labels_of_sami_are_copies_of_one_spectrum(arms):
    for path in arms:
        cube = betis.read_cube(path)
        block = cube.read(waves=slice(900, 920))
        assert cube.copies.max() > 10
        for label in range(1, cube.copies.max() + 1):
            inside = block.flux[:, cube.copies == label]
            np.testing.assert_array_equal(inside, np.broadcast_to(inside[:, :1], inside.shape))
        assert block.mask[:, cube.copies < 0].all()
        assert not block.mask[:, cube.copies >= 0].all()


def test_the_two_arms_of_sami_are_one_cube(arms):
    blue, red = (betis.read_cube(path) for path in arms)
    cube = betis.read_cube(arms[0], arm=arms[1])
    np.testing.assert_array_equal(cube.wave, np.concatenate([blue.wave, red.wave]))
    np.testing.assert_array_equal(cube.copies, blue.copies)
    rows, waves = slice(20, 30), slice(1700, 2400)
    joined, own = cube.read(rows, waves), red.read(rows, slice(0, 352))
    np.testing.assert_array_equal(joined.flux[:347], blue.read(rows, slice(1700, 2047)).flux)
    np.testing.assert_array_equal(joined.flux[349:], own.flux[1:])
    np.testing.assert_array_equal(joined.mask[349:], own.mask[1:])
    assert joined.mask[347:349].all()
    assert not joined.mask[:300].all(axis=(1, 2)).any()


def test_samis_dust_is_not_removed_and_is_what_the_law_gives(arms):
    with fits.open(arms[0]) as hdus:
        factor, ebv = hdus["DUST"].data, hdus["DUST"].header["EBVPLNCK"]
    wave = betis.read_cube(arms[0]).wave
    expected = 10 ** (0.4 * 3.1 * ebv * extinction_curve("CCM89", wave))
    np.testing.assert_allclose(factor, expected, rtol=1e-6)


def test_arms_of_two_galaxies_are_refused(test_data):
    folder = test_data / "sami"
    blue, red = folder / "41144_A_sectors_blue.fits.gz", folder / "209807_A_sectors_red.fits.gz"
    with pytest.raises(InputError, match="spaxels apart by their celestial WCS"):
        betis.read_cube(blue, arm=red)


def test_row_stacked_spectra_of_califa_are_refused(test_data):
    with pytest.raises(InputError, match=r"3 row-stacked spectra \(RSS\) of CALIFA; give the rscu"):
        betis.read_cube(test_data / "califa" / "NGC2691.COMB.RSS.fits")


def test_real_spectra_of_manga_in_the_layout_of_its_cubes(test_data, tmp_path):
    """The spectra are real, from eight galaxies; the cube of 2 x 4 spaxels is packed here."""
    with fits.open(test_data / "spectra" / "manga" / "MaNGA_test_spectra.fits.gz") as hdus:
        real = {name: hdus[name].data for name in ("WAVE", "FLUX", "IVAR", "MASK", "SRES")}
    path = pack(tmp_path / "logcube.fits", real)
    cube = betis.read_cube(path)
    assert (cube.instrument, cube.medium, cube.sky.flux_scale) == ("manga", "vacuum", 1e-17)
    np.testing.assert_allclose(cube.wave, real["WAVE"], rtol=0, atol=1e-6)
    bad = (real["IVAR"] <= 0) | (real["MASK"] & 0b10000001101 != 0)
    np.testing.assert_array_equal(cube.mask, cubed(bad))
    np.testing.assert_array_equal(cube.flux[~cubed(bad)], cubed(real["FLUX"])[~cubed(bad)])
    with np.errstate(divide="ignore"):
        sigma = cubed(1 / np.sqrt(real["IVAR"].astype(float)))
    np.testing.assert_allclose(cube.error[~cubed(bad)], sigma[~cubed(bad)])
    assert 2.0 < cube.lsf.min() < cube.lsf.max() < 5.5


def cubed(spectra):
    """``[spectrum, wave]`` as a cube of 2 x 4 spaxels."""
    return np.moveaxis(np.asarray(spectra).reshape(2, 4, -1), 2, 0)


def pack(path, real):
    start = real["WAVE"][0]
    axis = {"CTYPE3": "WAVE-LOG", "CRPIX3": 1, "CRVAL3": start, "CUNIT3": "Angstrom"}
    header = fits.Header({**WCS, **axis, "CD3_3": start * np.log(10) * 1e-4})
    header["BUNIT"] = "1E-17 erg/s/cm^2/Ang/spaxel"
    images = [
        fits.ImageHDU(cubed(real[name]), header, name=name) for name in ("FLUX", "IVAR", "MASK")
    ]
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "MaNGA", "PLATEIFU": "0000-0000"})
    lists = [
        fits.ImageHDU(real["WAVE"], name="WAVE"),
        fits.ImageHDU(np.median(real["SRES"], axis=0), name="SPECRES"),
    ]
    fits.HDUList([primary, *images, *lists]).writeto(path)
    return path
