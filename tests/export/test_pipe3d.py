"""``betis export pipe3d``: a flux_elines cube."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from betis.export.pipe3d import pipe3d_name
from betis.maps import make_maps
from betis.wavelength import C_KMS

FWHM = 2.3548200450309493


@pytest.fixture(scope="module")
def elines(files):
    with fits.open(files["pipe3d"]) as hdus:
        assert len(hdus) == 1
        return hdus[0].header.copy(), hdus[0].data.astype(float)


@pytest.fixture(scope="module")
def maps(products):
    return make_maps(products.bins, products.lines)


def plane(elines, name):
    header, values = elines
    (number,) = (i for i in range(len(values)) if header[f"NAME{i}"] == name)
    return values[number], header[f"UNIT{number}"], header[f"WAVE{number}"]


def test_the_planes_are_eight_blocks_of_lines_counted_from_zero(elines, products):
    header, values = elines
    n_line = len(products.lines.names)
    assert values.shape == (8 * n_line, *products.bins.bin_id.shape)
    names = [header[f"NAME{i}"] for i in range(8 * n_line)]
    assert len(set(names)) == len(names)
    first = [names[i].split()[0] for i in range(0, 8 * n_line, n_line)]
    assert first == ["flux", "vel", "disp", "EW", "e_flux", "e_vel", "e_disp", "e_EW"]
    assert all(len(name.split()) == 2 for name in names)
    assert f"NAME{8 * n_line}" not in header
    celestial = WCS(header).celestial
    assert celestial.wcs.compare(WCS(fits.Header(dict(products.spectra.sky.wcs))).wcs)


def test_the_planes_are_the_maps_of_the_run_in_pipe3ds_units(elines, maps, products):
    z = products.spectra.redshift
    for name, theirs in (("Ha6563", "Halpha"), ("NII6583", "[NII]6583")):
        line = products.lines.index(name)
        wide = products.bins.paint(products.lines.sigma_obs[:, line])
        velocity = C_KMS * z + (1 + z) * maps.line("VELOCITY", name)
        for prefix, err in (("", ""), ("e_", "_ERR")):
            flux, unit, wave = plane(elines, f"{prefix}flux {theirs}")
            np.testing.assert_allclose(flux, 1e-4 * maps.line(f"FLUX{err}", name), rtol=1e-5)
            assert unit == "10^-16 erg/s/cm^2"
            assert wave == pytest.approx(products.line_set[name].air, abs=1e-3)
        np.testing.assert_allclose(plane(elines, f"vel {theirs}")[0], velocity, rtol=1e-6)
        np.testing.assert_allclose(
            plane(elines, f"e_vel {theirs}")[0],
            (1 + z) * maps.line("VELOCITY_ERR", name),
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            plane(elines, f"disp {theirs}")[0], FWHM * (1 + z) * wide, rtol=1e-5
        )
        np.testing.assert_allclose(
            plane(elines, f"EW {theirs}")[0], -maps.line("EW", name), rtol=1e-5
        )
        np.testing.assert_allclose(
            plane(elines, f"e_EW {theirs}")[0], maps.line("EW_ERR", name), rtol=1e-5
        )


def test_equivalent_widths_are_negative_in_emission(elines):
    width = plane(elines, "EW Halpha")[0]
    assert np.nanmax(width) < 0


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("Ha6563", "Halpha"),
        ("Hd4102", "Hdelta"),
        ("OIII5007", "[OIII]5007"),
        ("HeI5876", "HeI5876"),
        ("Ha6563_2", "Halpha_2"),
        ("NII6583_2", "[NII]6583_2"),
        ("mine", "mine"),
    ],
)
def test_names_of_lines(name, theirs):
    assert pipe3d_name(name) == theirs
