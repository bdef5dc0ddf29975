"""``betis export dap``: a MAPS file as the MaNGA DAP writes it."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from betis.export.dap import dap_name
from betis.export.dap_masks import line_mask, value_mask
from betis.flags import Flag
from betis.linelist import load_line_set
from betis.maps import make_maps

OF_DAP = {
    "OII3726": "OII-3727",
    "OII3729": "OII-3729",
    "NeIII3869": "NeIII-3869",
    "Hd4102": "Hdel-4102",
    "Hg4340": "Hgam-4341",
    "HeII4686": "HeII-4687",
    "Hb4861": "Hb-4862",
    "OIII4959": "OIII-4960",
    "OIII5007": "OIII-5008",
    "NI5198": "NI-5199",
    "NI5200": "NI-5201",
    "HeI5876": "HeI-5877",
    "OI6300": "OI-6302",
    "OI6364": "OI-6365",
    "NII6548": "NII-6549",
    "Ha6563": "Ha-6564",
    "NII6583": "NII-6585",
    "SII6716": "SII-6718",
    "SII6731": "SII-6732",
    "ArIII7136": "ArIII-7137",
    "SIII9069": "SIII-9071",
}
"""Names in the data model of mangadap 4 (MPL-11)."""
TRIPLETS = ("SFLUX", "SEW", "GFLUX", "GEW", "GVEL", "GSIGMA")
DONOTUSE = 1 << 30


@pytest.fixture(scope="module")
def dap(files):
    with fits.open(files["dap"]) as hdus:
        return {hdu.name: (hdu.header.copy(), hdu.data) for hdu in hdus}


@pytest.fixture(scope="module")
def maps(products):
    return make_maps(products.bins, products.lines, products.continuum.table)


def channel(dap, extension, name):
    header, values = dap[extension]
    (number,) = (i for i in range(len(values)) if header[f"C{i + 1:02d}"] == name)
    return values[number]


def test_the_channels_are_called_as_in_the_data_model():
    known = {line.name: line.vacuum for line in load_line_set("standard").lines}
    assert {name: dap_name(name, known[name]) for name in OF_DAP} == OF_DAP
    assert dap_name("Ha6563_2", 6564.6) == "Ha-6564_2"


def test_the_extensions_that_tools_ask_for_are_there(dap, products):
    shape = products.bins.bin_id.shape
    wanted = {
        *("SPX_SKYCOO", "SPX_MFLUX", "SPX_MFLUX_IVAR", "SPX_SNR", "BINID", "BIN_LWSKYCOO"),
        *("BIN_AREA", "BIN_SNR", "STELLAR_VEL", "STELLAR_SIGMA", "STELLAR_SIGMACORR"),
        *("EMLINE_INSTSIGMA", "EMLINE_GA", "EMLINE_GANR", "EMLINE_FOM"),
        *("EMLINE_GEW_CNT", "EMLINE_SEW_CNT"),
        *(f"EMLINE_{name}" for name in TRIPLETS),
    }
    assert wanted <= set(dap)
    assert dap["PRIMARY"][1] is None
    assert all(values.shape[-2:] == shape for _, values in list(dap.values())[1:])
    assert dap["BINID"][1].shape == (5, *shape)
    assert dap["EMLINE_FOM"][1].shape == (9, *shape)


def test_every_triplet_names_its_other_two(dap):
    names = [f"EMLINE_{name}" for name in TRIPLETS] + ["STELLAR_VEL", "STELLAR_SIGMA"]
    for name in names:
        value, ivar, mask = (dap[name + end][0] for end in ("", "_IVAR", "_MASK"))
        assert (value["ERRDATA"], value["QUALDATA"]) == (f"{name}_IVAR", f"{name}_MASK")
        assert ivar["SCIDATA"] == mask["SCIDATA"] == name
        assert dap[f"{name}_MASK"][1].dtype.kind == "i"
        assert np.isfinite(dap[f"{name}_IVAR"][1]).all()


def test_values_are_the_maps_of_the_run(dap, maps, products):
    names = {"GVEL": "VELOCITY", "GEW": "EW"}
    for theirs, ours in names.items():
        found = channel(dap, f"EMLINE_{theirs}", "Ha-6564")
        np.testing.assert_allclose(found, maps.line(ours, "Ha6563"))
        inside = products.bins.bin_id >= 0
        ivar = channel(dap, f"EMLINE_{theirs}_IVAR", "Ha-6564")
        error = maps.line(f"{ours}_ERR", "Ha6563")
        np.testing.assert_allclose(ivar[inside], error[inside] ** -2)
        assert (ivar[~inside] == 0).all()
    flux = channel(dap, "EMLINE_GFLUX", "Ha-6564")
    np.testing.assert_allclose(flux, 1e-3 * maps.line("FLUX", "Ha6563"))
    assert dap["EMLINE_GFLUX"][0]["BUNIT"] == "1E-17 erg/s/cm^2/spaxel"
    np.testing.assert_allclose(dap["STELLAR_VEL"][1], maps["STELLAR_VELOCITY"])
    assert dap["PRIMARY"][0]["SCINPVEL"] == pytest.approx(2997.92458)


def test_the_summed_and_the_fitted_flux_of_a_bright_line_agree(dap):
    direct, fitted = (channel(dap, f"EMLINE_{name}FLUX", "Ha-6564") for name in "SG")
    assert np.nanmedian(direct / fitted) == pytest.approx(1.0, abs=0.03)


def test_the_corrections_give_the_dispersions_of_the_run(dap, maps):
    observed, instrument = (
        channel(dap, f"EMLINE_{name}", "Ha-6564") for name in ("GSIGMA", "INSTSIGMA")
    )
    sigma = maps.line("SIGMA", "Ha6563")
    resolved = sigma > 10
    assert resolved.any()
    of_muse = np.nanmedian(instrument) / 299792.458 * 6628.4 * 2.3548
    assert of_muse == pytest.approx(2.53, abs=0.05)
    gas = np.sqrt(observed[resolved] ** 2 - instrument[resolved] ** 2)
    np.testing.assert_allclose(gas, sigma[resolved], rtol=1e-6)
    stars = dap["STELLAR_SIGMA"][1] ** 2 - dap["STELLAR_SIGMACORR"][1][0] ** 2
    np.testing.assert_allclose(np.sqrt(stars), maps["STELLAR_SIGMA"])


def test_the_flux_of_a_gaussian_follows_from_its_amplitude(dap, products):
    amplitude, sigma, flux = (
        channel(dap, f"EMLINE_{name}", "Ha-6564") for name in ("GA", "GSIGMA", "GFLUX")
    )
    spectra = products.spectra
    wave = products.line_set.select(["Ha6563"]).waves(spectra.medium, spectra.redshift)
    wide = sigma / 299792.458 * wave * (1 + spectra.redshift)
    np.testing.assert_allclose(np.sqrt(2 * np.pi) * amplitude * wide, flux, rtol=1e-6)


def test_bins_and_places(dap, products):
    bins, sky = products.bins, products.spectra.sky
    header, binid = dap["BINID"]
    for number in range(4):
        np.testing.assert_array_equal(binid[number], bins.bin_id)
    assert (binid[4] == -1).all()
    assert header["C04"] == "Em. line models"
    inside = bins.bin_id >= 0
    area = np.unique(dap["BIN_AREA"][1][inside] / bins.n_spaxel[bins.bin_id[inside]])
    np.testing.assert_allclose(area, 0.04, rtol=1e-6)
    east, north = dap["SPX_SKYCOO"][1]
    center = dap["SPX_SKYCOO"][0]
    wcs = WCS(fits.Header(dict(sky.wcs)))
    x, y = wcs.all_world2pix(center["OBJRA"], center["OBJDEC"], 0)
    assert np.hypot(east, north)[round(float(y)), round(float(x))] < 1e-3
    assert (np.diff(east, axis=1) < 0).all()
    assert (np.diff(north, axis=0) > 0).all()
    np.testing.assert_allclose(np.abs(np.diff(east, axis=1)), 0.2, rtol=1e-3)


def test_a_bin_lies_where_its_light_is(dap, products):
    bins = products.bins
    light, places = dap["SPX_MFLUX"][1], dap["SPX_SKYCOO"][1]
    row = int(np.argmax(bins.n_spaxel))
    inside = bins.bin_id == row
    for found, plane in zip(dap["BIN_LWSKYCOO"][1], places, strict=True):
        wanted = np.average(plane[inside], weights=np.maximum(light[inside], 0))
        np.testing.assert_allclose(found[inside], wanted, rtol=1e-6, atol=1e-9)


def test_the_light_of_a_spaxel_is_the_mean_of_the_cube_as_observed(dap, mock_cube):
    from betis.io.readers import read_cube

    cube = read_cube(mock_cube)
    inside = (cube.wave >= 4000) & (cube.wave <= 5500)
    block = cube.read(slice(None), slice(0, int(inside.sum())))
    good = ~block.mask.any(axis=0)
    mean = block.flux.mean(axis=0)
    np.testing.assert_allclose(dap["SPX_MFLUX"][1][good], 1e-3 * mean[good], rtol=1e-9)
    error = np.sqrt(block.variance.sum(axis=0)) / inside.sum()
    np.testing.assert_allclose(
        dap["SPX_MFLUX_IVAR"][1][good], (1e-3 * error[good]) ** -2, rtol=1e-9
    )


def test_the_figures_of_merit_are_those_of_a_good_fit(dap):
    figures = dap["EMLINE_FOM"][1]
    assert np.nanmedian(figures[2]) == pytest.approx(1.0, abs=0.2)
    assert np.nanmedian(figures[6]) == pytest.approx(1.0, abs=0.1)
    for low, middle, high in ((3, 4, 5), (6, 7, 8)):
        inside = np.isfinite(figures[low])
        assert (figures[low][inside] <= figures[middle][inside]).all()
        assert (figures[middle][inside] <= figures[high][inside]).all()


def test_what_is_not_to_be_used_is_masked_and_nothing_else(dap, maps):
    for name in ("Ha-6564", "ArIII-7137"):
        value, mask = (channel(dap, f"EMLINE_GFLUX{end}", name) for end in ("", "_MASK"))
        assert np.array_equal(np.isnan(value), mask & DONOTUSE != 0)
    halpha = channel(dap, "EMLINE_GFLUX_MASK", "Ha-6564")
    assert (halpha[maps["BINID"] >= 0] & DONOTUSE == 0).all()


def test_flags_become_bits():
    flags = np.array([[0, Flag.NO_DATA, Flag.AT_BOUND, Flag.NOT_DETECTED, Flag.FIT_FAILED]])
    bits = line_mask(flags.astype(np.int32))
    np.testing.assert_array_equal(bits, [[0, 16 | DONOTUSE, 256, 0, 128 | DONOTUSE]])
    known = value_mask(np.array([1.0, np.nan, 1.0]), np.array([1.0, 1.0, 0.0]))
    np.testing.assert_array_equal(known, [0, 64 | DONOTUSE, 64])


def test_a_run_without_stars_has_none_of_their_extensions(spaxel_run, tmp_path):
    from betis.cli import main

    assert main(["export", "dap", str(spaxel_run), "-o", str(tmp_path / "a.fits")]) == 0
    with fits.open(tmp_path / "a.fits") as hdus:
        assert not any(hdu.name.startswith("STELLAR") for hdu in hdus)
        assert (hdus["BINID"].data[1] == -1).all()
        assert (hdus["BINID"].data[3] >= 0).any()
