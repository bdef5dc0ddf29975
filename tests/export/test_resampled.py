"""``betis export resampled``: the cube of a run on a linear axis."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from tests.cubes import ArraySource, cube

from betis.cli import main
from betis.errors import ConfigError, RunFolderError
from betis.export import resampled
from betis.export.resampled import write_resampled
from betis.io.readers import read_cube
from betis.mock import MockOptions, make_galaxy
from betis.mock.spectra import make_renderer
from betis.options import PrepareOptions
from betis.preparation import prepare
from betis.resampling import resample

OPTIONS = PrepareOptions(redshift=0.01, av=0.3)
WIDTH = 20


@pytest.fixture(scope="module")
def prepared(mock_cube):
    return prepare(read_cube(mock_cube), OPTIONS)


@pytest.fixture(scope="module", params=["conserving", "linear"])
def method(request):
    return request.param


@pytest.fixture(scope="module")
def exported(prepared, method, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "resampled.fits"
    write_resampled(prepared, path, OPTIONS, method=method)
    with fits.open(path, checksum=True) as hdus:
        return {hdu.name: (hdu.header.copy(), hdu.data) for hdu in hdus}


@pytest.fixture(scope="module")
def run_copy(finished_run, tmp_path_factory):
    return shutil.copytree(finished_run, tmp_path_factory.mktemp("copy") / "galaxy")


def test_the_command_writes_the_cube_of_a_run(run_copy, mock_cube, capsys):
    assert main(["export", "resampled", str(run_copy)]) == 0
    assert "resampled.fits" in capsys.readouterr().out
    direct = run_copy / "direct.fits"
    options = PrepareOptions(redshift=0.01)
    write_resampled(prepare(read_cube(mock_cube), options), direct, options)
    with fits.open(run_copy / "resampled.fits", checksum=True) as hdus, fits.open(direct) as own:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "FLUX", "ERROR", "MASK", "COVAR"]
        assert len(hdus[0].header["CUBEHASH"]) == 32
        for name in ("FLUX", "ERROR", "MASK", "COVAR"):
            assert np.array_equal(hdus[name].data, own[name].data, equal_nan=name != "MASK")


def test_the_options_of_the_command_are_those_of_the_function(run_copy, tmp_path):
    path = tmp_path / "coarse.fits"
    arguments = ["export", "resampled", str(run_copy), "-o", str(path)]
    assert main([*arguments, "--step", "2.5", "--method", "linear"]) == 0
    head = fits.getheader(path)
    assert (head["RESAMPLE"], head["RESTEP"]) == ("linear", 2.5)
    assert fits.getheader(path, "FLUX")["CDELT3"] == pytest.approx(2.5)


def test_the_axis_is_round_in_the_rest_frame_and_the_sky_is_the_cubes(exported, prepared):
    for name in ("FLUX", "ERROR", "MASK"):
        header, values = exported[name]
        wcs = WCS(header)
        wave = wcs.spectral.all_pix2world(np.arange(len(values)), 0)[0] * 1e10
        np.testing.assert_allclose(wave, np.round(wave), atol=1e-6)
        assert (header["CTYPE3"], header["WCSAXES"]) == ("AWAV", 3)
        assert prepared.edges[0] <= wave[0] - 0.5 < prepared.edges[0] + 2.5
        assert prepared.edges[-1] - 2.5 < wave[-1] + 0.5 <= prepared.edges[-1]
        assert wcs.celestial.wcs.compare(WCS(fits.Header(dict(prepared.sky.wcs))).wcs)


def test_the_header_says_what_was_done(exported, method):
    head = exported["PRIMARY"][0]
    assert (head["CREATOR"], head["RESAMPLE"], head["REDSHIFT"]) == ("betis", method, 0.01)
    assert head["A_V"] == pytest.approx(0.3, abs=1e-6)
    assert (head["EXTLAW"], head["R_V"], head["FLUXSCAL"]) == ("F99", 3.1, 1e-20)
    assert exported["FLUX"][0]["BUNIT"] == "10**(-20) erg s-1 cm-2 Angstrom-1"


def test_every_voxel_is_what_resampling_its_spectrum_gives(exported, prepared, method):
    block = prepared.read()
    for y, x in ((6, 6), (3, 8)):
        spectrum = resampled._spectra(
            prepared, type(block)(*(part[:, y : y + 1, x : x + 1] for part in block))
        )
        made = resample(spectrum, method=method)
        good = ~made.mask[0]
        assert np.array_equal(exported["MASK"][1][:, y, x], made.mask[0])
        np.testing.assert_allclose(exported["FLUX"][1][good, y, x], made.flux[0, good], rtol=1e-6)
        np.testing.assert_allclose(exported["ERROR"][1][good, y, x], made.error[0, good], rtol=1e-6)


def test_bad_voxels_are_nan_and_masked(exported):
    bad = exported["MASK"][1] == 1
    assert 0 < bad.mean() < 1
    for name in ("FLUX", "ERROR"):
        assert np.array_equal(np.isnan(exported[name][1]), bad)


def test_the_flux_of_a_line_is_the_cubes(exported, prepared, method):
    block = prepared.read()
    flux, header = exported["FLUX"][1], exported["FLUX"][0]
    good = ~block.mask.any(axis=0)
    wave = header["CRVAL3"] + header["CDELT3"] * np.arange(len(flux))
    start, stop = np.searchsorted(wave, [6540.0, 6590.0])
    low, high = wave[start] - 0.5, wave[stop] - 0.5
    inside = np.minimum(prepared.edges[1:], high) - np.maximum(prepared.edges[:-1], low)
    wanted = np.tensordot(np.maximum(inside, 0.0), block.flux, axes=(0, 0))[good]
    found = flux[start:stop].sum(axis=0, dtype=float)[good]
    if method == "conserving":
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.sum() == pytest.approx(wanted.sum(), rel=5e-3)


def in_blocks(values):
    """Cut ``[wave, spaxel]`` into blocks of 20 Angstrom: ``[block, wave, spaxel]``."""
    n_block = len(values) // WIDTH
    return values[: n_block * WIDTH].reshape(n_block, WIDTH, -1)


def test_pulls_from_the_truth_are_one_for_pixels_and_with_covar_for_sums(
    exported, prepared, method
):
    options = MockOptions(n_y=12, n_x=12, snr=40.0, wave_min=4800.0, wave_max=7000.0, seed=3)
    galaxy = make_galaxy(options)
    clean = make_renderer(galaxy).flux(slice(0, 12)) * prepared.factor[:, None, None]
    field = galaxy.field
    spectra = resampled._spectra(
        prepared, type(prepared.read())(clean, np.ones(clean.shape), np.zeros(clean.shape, bool))
    )
    truth = resample(spectra, method=method).flux.T.reshape(-1, 12, 12)[:, field]
    flux, error = (exported[name][1][:, field].astype(float) for name in ("FLUX", "ERROR"))
    difference, covariance = flux - truth, exported["COVAR"][1]
    sums, own = in_blocks(difference).sum(axis=1), in_blocks(error)
    variance = sum(
        (2 if lag else 1) * share * np.sum(own[:, : WIDTH - lag] * own[:, lag:], axis=1)
        for lag, share in enumerate(covariance)
    )
    assert np.std(difference / error) == pytest.approx(np.sqrt(covariance[0]), abs=0.01)
    assert np.std(sums / np.sqrt(variance)) == pytest.approx(1.0, abs=0.02)
    alone = np.std(sums / np.sqrt(np.sum(own**2, axis=1)))
    assert alone > (1.05 if method == "linear" else 1.2)


def test_covar_of_the_flux_conserving_operator_begins_with_one(exported, method):
    covariance = exported["COVAR"][1]
    assert covariance.shape == (3,)
    if method == "conserving":
        assert covariance[0] == pytest.approx(1.0, abs=1e-9)
    else:
        assert 0.5 < covariance[0] < 0.8
    assert 0 < covariance[2] < covariance[1] < covariance[0]


def test_tiles_change_nothing(prepared, tmp_path, monkeypatch):
    rows = []
    write_resampled(prepared, tmp_path / "whole.fits", OPTIONS, progress=rows.append)
    assert rows == [12]
    monkeypatch.setattr(resampled, "_TILE_VOXELS", 5 * 12 * prepared.wave.size * 2)
    rows.clear()
    write_resampled(prepared, tmp_path / "tiles.fits", OPTIONS, progress=rows.append)
    assert len(rows) > 1
    assert sum(rows) == 12
    with fits.open(tmp_path / "whole.fits") as whole, fits.open(tmp_path / "tiles.fits") as tiles:
        for first, second in zip(whole[1:4], tiles[1:4], strict=True):
            np.testing.assert_array_equal(first.data, second.data)
        np.testing.assert_allclose(whole["COVAR"].data, tiles["COVAR"].data, rtol=1e-12)


def test_a_cube_in_vacuum_without_a_wcs_or_a_unit_is_written_too(tmp_path):
    flux = np.ones((60, 2, 3))
    bare = cube(flux, flux, wave=5000.0 + 0.9 * np.arange(60))
    bare = replace(bare, medium="vacuum", sky=replace(bare.sky, flux_scale=0.0), redshift=0.0)
    bare = replace(bare, source=ArraySource(flux=flux, variance=flux, mask=flux > 2))
    write_resampled(bare, tmp_path / "bare.fits", PrepareOptions(redshift=0.0), step=1.5)
    with fits.open(tmp_path / "bare.fits", checksum=True) as hdus:
        assert hdus["FLUX"].header["CTYPE3"] == "WAVE"
        assert hdus["FLUX"].header["BUNIT"] == ""
        assert (hdus[0].header["A_V"], hdus[0].header["FLUXSCAL"]) == (0.0, 0.0)
        np.testing.assert_allclose(hdus["FLUX"].data, 1.0)


def test_what_cannot_be_done_is_said_in_one_sentence(prepared, mock_cube, tmp_path, capsys):
    before = mock_cube.read_bytes()
    with pytest.raises(ConfigError, match="is the cube itself"):
        write_resampled(prepared, mock_cube, OPTIONS)
    assert mock_cube.read_bytes() == before
    with pytest.raises(ConfigError, match="the method of resampling is 'cubic'"):
        write_resampled(prepared, tmp_path / "a.fits", OPTIONS, method="cubic")
    with pytest.raises(ConfigError, match="the step is -1 A"):
        write_resampled(prepared, tmp_path / "a.fits", OPTIONS, step=-1.0)
    with pytest.raises(RunFolderError, match="could not be written: No such file"):
        write_resampled(prepared, tmp_path / "none" / "a.fits", OPTIONS)
    assert not list(tmp_path.iterdir())
    assert main(["export", "resampled", str(tmp_path / "nothing")]) == 2
    said = capsys.readouterr().err
    assert "holds no run yet" in said
    assert len(said.splitlines()) == 1
