"""The MUSE file of a mock galaxy, and the truth beside it."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from betis.errors import ConfigError, InputError
from betis.mock import MockOptions, make_galaxy, read_truth, truth_path, write_cube
from betis.mock.spectra import make_renderer
from betis.wavelength import read_axis

SMALL = MockOptions(n_y=14, n_x=12, wave_min=6450.0, wave_max=7000.0, av=0.2)


@pytest.fixture(scope="module")
def galaxy():
    return make_galaxy(SMALL)


@pytest.fixture(scope="module")
def path(galaxy, tmp_path_factory):
    path = tmp_path_factory.mktemp("mock") / "galaxy.fits"
    write_cube(galaxy, path)
    return path


def test_the_file_is_valid_fits_with_muse_extensions(path):
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DATA", "STAT"]
        primary = hdus[0].header
        assert (primary["ORIGIN"], primary["TELESCOP"]) == ("ESO-PARANAL", "ESO-VLT-U4")
        assert primary["INSTRUME"] == "MUSE"
        assert hdus["DATA"].header["BUNIT"] == "10**(-20)*erg/s/cm**2/Angstrom"
        assert hdus["STAT"].header["BUNIT"] == "(10**(-20)*erg/s/cm**2/Angstrom)**2"
        assert hdus["DATA"].header["ERRDATA"] == "STAT"
        assert hdus["STAT"].header["SCIDATA"] == "DATA"
        for name in ("DATA", "STAT"):
            assert hdus[name].data.shape == (441, 14, 12)
            assert hdus[name].data.dtype == np.dtype(">f4")
    assert path.stat().st_size % 2880 == 0


@pytest.mark.parametrize("name", ["DATA", "STAT"])
def test_astropy_reads_the_axes(path, name):
    wcs = WCS(fits.getheader(path, name))
    middle = [[5.5, 6.5, 0], [6.5, 6.5, 440], [5.5, 7.5, 440]]
    (ra, dec, first), (ra_x, _, last), (_, dec_y, _) = wcs.wcs_pix2world(middle, 0)
    assert list(wcs.wcs.ctype) == ["RA---TAN", "DEC--TAN", "AWAV"]
    assert (first * 1e10, last * 1e10) == pytest.approx((6450.0, 7000.0), abs=1e-6)
    assert (ra, dec) == pytest.approx((34.55, -8.0), abs=1e-9)
    assert (ra_x - ra) * np.cos(np.deg2rad(dec)) * 3600 == pytest.approx(-0.2, rel=1e-4)
    assert (dec_y - dec) * 3600 == pytest.approx(0.2, rel=1e-4)


def test_betis_reads_the_axis(path):
    axis = read_axis(fits.getheader(path, "DATA"))
    assert axis.medium == "air"
    np.testing.assert_allclose(axis.wave, SMALL.setups[0].wave, atol=1e-9)
    np.testing.assert_allclose(axis.edges, SMALL.setups[0].edges, atol=1e-9)


def test_noise_is_as_stat_says(galaxy, path):
    flux, variance = fits.getdata(path, "DATA"), fits.getdata(path, "STAT")
    model = make_renderer(galaxy).flux()
    pull = ((flux - model) / np.sqrt(variance))[:, galaxy.field]
    assert np.all(variance[:, galaxy.field] > 0)
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * pull.size))
    assert np.mean(np.abs(pull) < 1) == pytest.approx(0.6827, abs=0.01)


def test_spaxels_outside_the_field_are_nan_in_both(galaxy, path):
    for name in ("DATA", "STAT"):
        bad = ~np.isfinite(fits.getdata(path, name))
        np.testing.assert_array_equal(bad, np.broadcast_to(~galaxy.field, bad.shape))


def test_tiles_and_reruns_change_no_byte(tmp_path):
    galaxy = make_galaxy(dataclasses.replace(SMALL, noise_correlation=0.7, wave_max=6700.0))
    write_cube(galaxy, tmp_path / "whole.fits")
    write_cube(galaxy, tmp_path / "again.fits")
    write_cube(galaxy, tmp_path / "rows.fits", tile_voxels=1)
    whole = (tmp_path / "whole.fits").read_bytes()
    assert (tmp_path / "again.fits").read_bytes() == whole
    with fits.open(tmp_path / "whole.fits") as one, fits.open(tmp_path / "rows.fits") as other:
        for name in ("DATA", "STAT"):
            np.testing.assert_allclose(one[name].data, other[name].data, rtol=3e-7)


def test_another_seed_has_other_noise(galaxy, path, tmp_path):
    options = dataclasses.replace(SMALL, seed=2)
    write_cube(dataclasses.replace(galaxy, options=options), tmp_path / "other.fits")
    other, first = fits.getdata(tmp_path / "other.fits", "DATA"), fits.getdata(path, "DATA")
    assert not np.any(other[:, galaxy.field] == first[:, galaxy.field])


def test_no_partial_file_is_left(path):
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "galaxy.fits",
        "galaxy_truth.fits",
    ]


def test_a_cube_that_cannot_be_made_leaves_what_was_there(galaxy, tmp_path):
    (tmp_path / "old.fits").write_text("old")
    components = dataclasses.replace(galaxy.components, wave=galaxy.components.wave + 3900)
    with pytest.raises(ConfigError, match="the mock galaxy needs stars"):
        write_cube(dataclasses.replace(galaxy, components=components), tmp_path / "old.fits")
    assert [file.name for file in tmp_path.iterdir()] == ["old.fits"]
    assert (tmp_path / "old.fits").read_text() == "old"
    with pytest.raises(InputError, match=r"there is no folder .*absent"):
        write_cube(galaxy, tmp_path / "absent" / "cube.fits")


def peak_of_writing(n_y, folder):
    galaxy = make_galaxy(dataclasses.replace(SMALL, n_y=n_y, n_x=16))
    tracemalloc.start()
    write_cube(galaxy, folder / "cube.fits", tile_voxels=8 * 16 * 441)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_cube(tmp_path):
    peak_of_writing(16, tmp_path)  # what is imported and cached once
    assert peak_of_writing(96, tmp_path) < 1.2 * peak_of_writing(24, tmp_path)


def test_truth_comes_back_as_it_was(galaxy, path):
    found = read_truth(truth_path(path))
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(galaxy.truth, field.name))


def test_truth_names_its_planes(galaxy, path):
    header = fits.getheader(truth_path(path), "FLUX")
    assert [header[f"LINE{i + 1}"] for i in range(header["NAXIS3"])] == list(galaxy.truth.names)


def test_a_file_that_is_no_truth_is_refused(path, tmp_path):
    with pytest.raises(InputError, match="cannot be read as the truth of a mock galaxy"):
        read_truth(path)
    with pytest.raises(InputError, match=r"absent\.fits cannot be read as the truth"):
        read_truth(tmp_path / "absent.fits")
