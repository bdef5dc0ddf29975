"""Preparation moves the axis and the flux scale, and nothing else."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from tests.cubes import WAVE, WCS, line, noise_cube

import betis
from betis.errors import ConfigError, InputError
from betis.extinction import extinction_curve, law_names
from betis.io.dust_maps import field_center
from betis.options import PrepareOptions
from betis.preparation import extinction_warning, galactic_av, in_windows, prepare
from betis.wavelength import air_to_vacuum, pixel_edges, rest_wave

CUBE = noise_cube((3, 4))
PLACED = replace(CUBE, sky=replace(CUBE.sky, wcs=WCS))
CORRECTED = replace(CUBE, dereddened=True)
SAMI = ["41144_A_sectors_blue", "41144_A_sectors_red", "209807_A_sectors_red"]


@given(redshift=st.floats(0, 3))
def test_integrated_flux_is_the_same_in_both_frames(redshift):
    rest = prepare(CUBE, PrepareOptions(redshift=redshift))
    np.testing.assert_allclose(
        np.diff(rest.edges) @ rest.flux[:, 0, 0], np.diff(CUBE.edges) @ CUBE.flux[:, 0, 0]
    )
    np.testing.assert_allclose(rest.wave * (1 + redshift), CUBE.wave, rtol=1e-13)
    np.testing.assert_allclose(rest.flux / rest.error, CUBE.flux / CUBE.error, rtol=1e-12)


@given(redshift=st.floats(0, 0.03), air=st.floats(6420, 6600))
def test_a_line_is_found_where_its_rest_wavelength_says(redshift, air):
    wave = 6400 + 1.25 * np.arange(400)
    spectrum = line(wave, air, 100.0, redshift=redshift)
    centroid = (wave * spectrum).sum() / spectrum.sum() / (1 + redshift)
    assert rest_wave(air_to_vacuum(air), "air", redshift) == pytest.approx(centroid, abs=2e-3)


def test_dereddening_is_undone_by_the_law_itself():
    dusty = prepare(CUBE, PrepareOptions(redshift=0.0, av=1.5, law="CCM89"))
    curve = extinction_curve("CCM89", CUBE.wave)
    np.testing.assert_allclose(
        dusty.flux * 10 ** (-0.6 * curve)[:, None, None], CUBE.flux, rtol=1e-12
    )


def test_sky_windows_are_marked_at_observed_wavelengths_and_not_masked():
    rest = prepare(CUBE, PrepareOptions(redshift=0.05, sky_windows=((6500.0, 6520.0),)))
    inside = (CUBE.wave >= 6500) & (CUBE.wave <= 6520)
    assert np.array_equal(rest.sky_window, inside)
    assert not rest.mask.any()


def test_windows_may_overlap():
    assert in_windows(np.arange(5.0), ((0, 2), (1, 3))).tolist() == [True] * 4 + [False]


def test_a_missing_redshift_is_asked_for():
    with pytest.raises(ConfigError, match="redshift of the galaxy is not given; give it with -z"):
        prepare(CUBE, PrepareOptions())


def test_preparing_twice_is_refused():
    with pytest.raises(ConfigError, match="prepared already"):
        prepare(prepare(CUBE, PrepareOptions(redshift=0.1)), PrepareOptions(redshift=0.1))


def test_an_impossible_redshift_is_refused_by_the_public_face():
    with pytest.raises(ConfigError, match=r"'redshift' of \[prepare\] is -0\.5"):
        betis.prepare(CUBE, redshift=-0.5)


def test_the_edges_move_with_the_centres():
    rest = prepare(CUBE, PrepareOptions(redshift=0.02))
    np.testing.assert_allclose(rest.edges, pixel_edges(WAVE) / 1.02)


@pytest.fixture
def maps(monkeypatch):
    """The package dustmaps as it would answer: the positions asked, and E(B-V) there."""
    asked = []

    def query(ebv):
        return lambda: lambda position: asked.append(position) or ebv

    def absent():
        raise FileNotFoundError(2, "No such file or directory", "SFD_dust_4096_ngp.fits")

    def module(name, **classes):
        monkeypatch.setitem(sys.modules, f"dustmaps.{name}", SimpleNamespace(**classes))

    monkeypatch.setitem(sys.modules, "dustmaps", SimpleNamespace())
    module("sfd", SFDQuery=query(0.1))
    module("planck", PlanckQuery=query(0.1))
    module("lenz2017", Lenz2017Query=query(np.nan))
    return SimpleNamespace(asked=asked, module=module, absent=absent)


@given(ebv=st.floats(0, 1), r_v=st.floats(2.5, 5.5))
def test_e_b_v_is_a_v_over_r_v(ebv, r_v):
    stated = galactic_av(CUBE, PrepareOptions(ebv=ebv, r_v=r_v))
    assert stated == pytest.approx(ebv * r_v)
    assert galactic_av(CUBE, PrepareOptions(av=stated, r_v=r_v)) == stated


@pytest.mark.parametrize("law", law_names())
@pytest.mark.parametrize("r_v", [2.5, 3.1, 5.0])
def test_every_law_dereddens_by_itself(law, r_v):
    dusty = betis.prepare(CUBE, redshift=0.01, ebv=0.2, law=law, r_v=r_v)
    expected = 1.01 * 10 ** (0.4 * 0.2 * r_v * extinction_curve(law, CUBE.wave, r_v))
    np.testing.assert_allclose(dusty.factor, expected, rtol=1e-13)


@pytest.mark.parametrize("name", SAMI)
def test_the_correction_is_the_one_that_sami_gives_with_its_cubes(name, test_data):
    path = test_data / "sami" / f"{name}.fits.gz"
    with fits.open(path) as hdus:
        factor, ebv = hdus["DUST"].data, hdus["DUST"].header["EBVPLNCK"]
    cube = betis.prepare(betis.read_cube(path), redshift=0.0, ebv=ebv, law="CCM89")
    np.testing.assert_allclose(cube.factor, factor, rtol=1e-6)
    assert np.ptp(factor) > 1e-3


def test_a_dust_map_is_asked_for_the_middle_of_the_field(maps):
    galactic_av(PLACED, PrepareOptions(dust_map="planck"))
    (position,) = maps.asked
    assert position.ra.deg == pytest.approx(WCS["CRVAL1"] + (WCS["CRPIX1"] - 2.5) * 5.5e-5, 1e-7)
    assert position.dec.deg == pytest.approx(WCS["CRVAL2"] + (2.0 - WCS["CRPIX2"]) * 5.5e-5, 1e-7)
    assert field_center(PLACED.sky).separation(position).arcsec == 0


def test_planck_is_taken_as_it_is_and_sfd_recalibrated(maps):
    a_v = {
        (name, r_v): galactic_av(PLACED, PrepareOptions(dust_map=name, r_v=r_v))
        for name in ("sfd", "planck")
        for r_v in (3.1, 5.0)
    }
    assert a_v["sfd", 3.1] == pytest.approx(0.1 * 2.742)
    assert a_v["planck", 3.1] == pytest.approx(0.1 * 3.1)
    assert a_v["sfd", 5.0] / a_v["planck", 5.0] == pytest.approx(2.742 / 3.1)


def test_the_map_changes_the_factor_as_the_number_would(maps):
    by_map = betis.prepare(PLACED, redshift=0.0, dust_map="planck")
    by_number = betis.prepare(PLACED, redshift=0.0, ebv=0.1)
    np.testing.assert_array_equal(by_map.factor, by_number.factor)
    assert by_map.factor.min() > 1.0


def test_a_map_is_asked_once_and_the_cube_says_what_it_gave(maps):
    options = PrepareOptions(redshift=0.0, dust_map="sfd")
    cube = prepare(PLACED, options)
    assert len(maps.asked) == 1
    assert cube.galactic_av == galactic_av(PLACED, options) > 0


def test_a_cube_without_a_position_cannot_use_a_map(maps):
    with pytest.raises(InputError, match=r"no celestial WCS.*give --ebv or --av"):
        galactic_av(CUBE, PrepareOptions(dust_map="sfd"))


def test_a_field_outside_the_map_is_refused(maps):
    with pytest.raises(InputError, match=r"lenz2017 has no E\(B-V\) at 10h00m00s.*another map"):
        galactic_av(PLACED, PrepareOptions(dust_map="lenz2017"))


def test_an_unknown_map_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ConfigError, match="dust map 'bh' is unknown; expected one of sfd, planck"):
        galactic_av(PLACED, PrepareOptions(dust_map="bh"))


def test_without_the_package_the_user_is_told_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dustmaps", None)
    monkeypatch.delitem(sys.modules, "dustmaps.sfd", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'betis\[dustmaps\]'"):
        galactic_av(PLACED, PrepareOptions(dust_map="sfd"))


def test_without_the_files_of_the_map_the_user_is_told_how_to_get_them(maps, capsys):
    def query():
        sys.stdout.write("a page of advice")
        maps.absent()

    maps.module("sfd", SFDQuery=query)
    with pytest.raises(ConfigError, match=r"SFD_dust_4096_ngp.*import dustmaps\.sfd as m"):
        galactic_av(PLACED, PrepareOptions(dust_map="sfd"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "twice",
    [
        {"av": 0.1, "ebv": 0.0},
        {"ebv": 0.1, "dust_map": "sfd"},
        {"av": 0.1, "dust_map": "sfd"},
        {"av": 0.1, "ebv": 0.1, "dust_map": "sfd"},
    ],
)
def test_an_extinction_that_is_given_twice_is_refused(twice):
    with pytest.raises(ConfigError, match=r"extinction is given twice, as .* keep one of --av"):
        betis.prepare(PLACED, redshift=0.0, **twice)


@pytest.mark.parametrize("given", [{"av": 0.3}, {"ebv": 0.1}, {"dust_map": "sfd"}])
def test_what_the_survey_has_removed_is_not_removed_again(given):
    options = PrepareOptions(redshift=0.1, **given)
    cube = prepare(CORRECTED, options)
    np.testing.assert_array_equal(cube.factor, 1.1)
    assert cube.galactic_av == 0.0
    assert "already, so" in extinction_warning(CORRECTED, options)
    assert "not applied a second time" in extinction_warning(CORRECTED, options)


def test_the_public_face_warns_of_a_correction_that_is_not_applied():
    with pytest.warns(UserWarning, match=r"so A_V = 0\.3 mag is not applied a second time"):
        cube = betis.prepare(CORRECTED, redshift=0.0, av=0.3)
    np.testing.assert_array_equal(cube.factor, 1.0)


def test_there_is_nothing_to_tell_where_nothing_is_left_out():
    assert extinction_warning(CORRECTED, PrepareOptions()) == ""
    assert extinction_warning(CUBE, PrepareOptions(av=0.3)) == ""
