"""``betis export cube``: the model at each spaxel."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from betis.export import cube as model_cube
from betis.export.cube import Modelled, wave_cards, write_model_cube
from betis.lines.model import line_model
from betis.products import BinMap, Spectra


@pytest.fixture(scope="module")
def cube(files):
    with fits.open(files["cube"]) as hdus:
        return {hdu.name: (hdu.header.copy(), hdu.data) for hdu in hdus}


def in_bins(products, image):
    """Sum ``[wave, y, x]`` over the spaxels of each bin: ``[bin, wave]``."""
    inside = products.bins.bin_id >= 0
    rows = image[:, inside].astype(float)
    sums = np.zeros((products.bins.n_bin, len(image)))
    np.add.at(sums, products.bins.bin_id[inside], rows.T)
    return sums


def test_the_sum_over_a_bin_is_its_spectrum_and_its_models(cube, products):
    every = slice(None)
    spectra, stars = products.spectra.take(every), products.continuum.take(every).model
    lines = line_model(products.lines, spectra, background=False)
    good = ~spectra.mask
    scale = np.abs(spectra.flux[good]).mean()
    for name, wanted in (("FLUX", spectra.flux), ("CONTINUUM", stars), ("LINES", lines)):
        sums = in_bins(products, cube[name][1])
        np.testing.assert_allclose(sums[good], wanted[good], rtol=1e-5, atol=1e-5 * scale)


def test_flux_is_the_sum_of_continuum_lines_and_residual(cube):
    parts = sum(cube[name][1].astype(float) for name in ("CONTINUUM", "LINES", "RESIDUAL"))
    flux = cube["FLUX"][1]
    bad = cube["MASK"][1] == 1
    assert 0 < bad.mean() < 1
    assert np.array_equal(np.isnan(flux), bad)
    np.testing.assert_allclose(parts[~bad], flux[~bad], rtol=1e-5, atol=1e-5 * np.nanmax(flux))


def test_the_residual_scatters_as_err_says(cube):
    pull = cube["RESIDUAL"][1] / cube["ERR"][1]
    middle = np.nanpercentile(pull, [16, 84])
    assert middle[1] - middle[0] == pytest.approx(2.0, abs=0.25)


def test_the_axes_are_those_of_the_run(cube, products):
    for name in ("FLUX", "ERR", "MASK", "CONTINUUM", "LINES", "RESIDUAL"):
        header, values = cube[name]
        wcs = WCS(header)
        assert values.shape == (products.spectra.wave.size, *products.bins.bin_id.shape)
        wave = wcs.spectral.all_pix2world(np.arange(len(values)), 0)[0] * 1e10
        np.testing.assert_allclose(wave, products.spectra.wave, atol=1e-4)
        assert wcs.celestial.wcs.compare(WCS(fits.Header(dict(products.spectra.sky.wcs))).wcs)
    assert cube["FLUX"][0]["BUNIT"] == "10**(-20) erg s-1 cm-2 Angstrom-1"
    np.testing.assert_array_equal(cube["WAVE"][1], products.spectra.wave)


def test_without_a_continuum_there_is_no_continuum(spaxel_run, tmp_path):
    from betis.cli import main

    assert main(["export", "cube", str(spaxel_run), "-o", str(tmp_path / "a.fits")]) == 0
    with fits.open(tmp_path / "a.fits") as hdus:
        assert "CONTINUUM" not in hdus
        rest = hdus["FLUX"].data.astype(float) - hdus["LINES"].data
        np.testing.assert_allclose(hdus["RESIDUAL"].data, rest, rtol=1e-4, atol=1e-3)


def two_arms():
    """Two spectra on an axis with a gap, and their model."""
    wave = np.concatenate([4000 + 1.05 * np.arange(40), 6300 + 0.6 * np.arange(50)])
    flux = np.random.default_rng(1).normal(10, 1, (2, wave.size))
    return Spectra(wave, flux, np.ones(flux.shape), medium="vacuum")


def bins_of(labels):
    bin_id = np.array(labels, dtype=np.int32)
    count = np.bincount(bin_id[bin_id >= 0]).astype(np.int32)
    return BinMap(bin_id=bin_id, n_spaxel=count, snr=1.0 * count, flags=0 * count)


def write(path, spectra, bins, **more):
    class Rows:
        wave, redshift, sky = spectra.wave, 0.0, None
        take = staticmethod(spectra.take)

    def models(rows):
        return Modelled(spectra=spectra.take(rows), stars=None, lines=0 * spectra.flux[rows])

    write_model_cube(path, bins, Rows(), models, has_stars=False, **more)


@pytest.mark.parametrize(
    ("wave", "ctype"),
    [
        (4000 + 1.25 * np.arange(60), "AWAV"),
        (4000 * np.exp(2.3e-4 * np.arange(60)), "AWAV-LOG"),
        (np.append(4000 + 1.25 * np.arange(30), 6000.0 + np.arange(30)), "AWAV-TAB"),
    ],
)
def test_every_axis_can_be_read_back(wave, ctype, tmp_path):
    spectra = Spectra(wave, np.ones((1, 60)), np.ones((1, 60)))
    assert wave_cards(spectra)["CTYPE3"] == ctype
    write(tmp_path / "a.fits", spectra, bins_of([[0, 0], [0, -1]]))
    with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
        found = WCS(hdus["FLUX"].header, hdus).spectral.pixel_to_world(np.arange(60))
        np.testing.assert_allclose(found.to_value("Angstrom"), wave, atol=1e-5)


def test_tiles_change_nothing(tmp_path, monkeypatch):
    spectra, bins = two_arms(), bins_of([[0, 0], [-1, -1], [1, 0], [1, -1]])
    rows = []
    write(tmp_path / "whole.fits", spectra, bins, progress=rows.append)
    assert rows == [4]
    monkeypatch.setattr(model_cube, "_TILE_VOXELS", 1)
    write(tmp_path / "tiles.fits", spectra, bins, progress=rows.append)
    assert rows == [4, 1, 1, 1, 1]
    assert (tmp_path / "whole.fits").read_bytes() == (tmp_path / "tiles.fits").read_bytes()


def test_specutils_reads_flux_err_and_mask(files, cube, products):
    specutils = pytest.importorskip("specutils", reason="specutils is not installed")
    read = specutils.Spectrum.read(
        files["cube"], format="wcs1d-fits", uncertainty_type="std", mask_hdu="MASK"
    )
    wave = read.spectral_axis.to_value("Angstrom")
    np.testing.assert_allclose(wave, products.spectra.wave, atol=1e-4)
    assert "spectral flux density wav" in read.flux.unit.physical_type
    assert np.array_equal(read.flux.value, cube["FLUX"][1], equal_nan=True)
    assert np.array_equal(read.uncertainty.array, cube["ERR"][1], equal_nan=True)
    assert np.array_equal(read.mask, cube["MASK"][1] == 1)
