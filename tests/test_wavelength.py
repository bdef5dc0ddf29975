"""The wavelength axis: from headers, its edges, air and vacuum."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from betis.errors import InputError
from betis.wavelength import (
    C_KMS,
    air_to_vacuum,
    pixel_edges,
    read_axis,
    refractive_index,
    rest_wave,
    vacuum_to_air,
)

WAVES = st.floats(2500.0, 25000.0)
REDSHIFTS = st.floats(0.0, 0.2)
MEDIA = st.sampled_from(["air", "vacuum"])
UNITS = {"Angstrom": 1.0, "nm": 10.0, "um": 1e4, "m": 1e10}


@given(wave=WAVES)
def test_air_and_vacuum_are_inverse(wave):
    assert vacuum_to_air(air_to_vacuum(wave)) == pytest.approx(wave, abs=1e-9)
    assert air_to_vacuum(vacuum_to_air(wave)) == pytest.approx(wave, abs=1e-9)


@pytest.mark.parametrize(
    ("air", "vacuum"),
    # SDSS's line list, made by the formula of Morton.
    [
        (3726.03, 3727.09),
        (4861.33, 4862.69),
        (4958.911, 4960.295),
        (5006.843, 5008.240),
        (6562.80, 6564.61),
        (6583.45, 6585.27),
        (6716.44, 6718.29),
        (6730.815, 6732.674),
        (9068.61, 9071.10),
    ],
)
def test_vacuum_wavelengths_are_the_published_ones(air, vacuum):
    assert air_to_vacuum(air) == pytest.approx(vacuum, abs=0.006)
    assert vacuum_to_air(vacuum) == pytest.approx(air, abs=0.006)


@given(wave=st.floats(3000.0, 25000.0))
def test_the_refractive_index_is_that_of_an_independent_measurement(wave):
    # Ciddor 1996, Applied Optics 35 1566, eq. 1; 2e-8 is 6 m/s.
    s2 = (1e4 / wave) ** 2
    other = 1 + 0.05792105 / (238.0185 - s2) + 0.00167917 / (57.362 - s2)
    assert refractive_index(wave) == pytest.approx(other, abs=2e-8)


def vacuum_at_rest(on_axis, medium, redshift):
    """Undo `rest_wave` step by step."""
    observed = np.asarray(on_axis) * (1 + redshift)
    return (air_to_vacuum(observed) if medium == "air" else observed) / (1 + redshift)


@given(wave=WAVES, medium=MEDIA, redshift=REDSHIFTS)
def test_rest_wave_has_its_inverse(wave, medium, redshift):
    on_axis = rest_wave(wave, medium, redshift)
    assert vacuum_at_rest(on_axis, medium, redshift) == pytest.approx(wave, abs=1e-9)


@given(wave=WAVES, redshift=REDSHIFTS)
def test_a_line_is_where_the_divided_axis_says_its_observed_wavelength_is(wave, redshift):
    observed = vacuum_to_air(wave * (1 + redshift))
    assert rest_wave(wave, "air", redshift) == pytest.approx(observed / (1 + redshift), abs=1e-9)
    assert rest_wave(wave, "vacuum", redshift) == pytest.approx(wave, abs=1e-9)


def test_the_air_axis_of_the_rest_frame_is_not_quite_the_divided_air_axis():
    wave = air_to_vacuum(5006.843)
    shift = (rest_wave(wave, "air", 0.1) / vacuum_to_air(wave) - 1) * C_KMS
    assert 0.1 < shift < 0.4


def test_air_read_as_vacuum_is_a_large_velocity():
    shift = (air_to_vacuum(np.array([4861.33, 6562.80])) / [4861.33, 6562.80] - 1) * C_KMS
    np.testing.assert_allclose(shift, 83.0, atol=1.0)


@st.composite
def headers(draw):
    """Draw the spectral axis of a header, alone, in one of the ways that files write it."""
    unit = draw(st.sampled_from(sorted(UNITS)))
    start = draw(st.floats(3500.0, 9000.0)) / UNITS[unit]
    step = draw(st.floats(0.3, 3.0)) / UNITS[unit]
    header = {
        "NAXIS": 1,
        "NAXIS1": draw(st.integers(2, 4000)),
        "CTYPE1": draw(st.sampled_from(["AWAV", "WAVE", "AWAV-LOG", "WAVE-LOG", "LINEAR"])),
        "CUNIT1": unit,
        "CRVAL1": start,
        "CRPIX1": draw(st.floats(-100.0, 2000.0)),
    }
    way = draw(st.sampled_from(["CD", "CDELT", "PC"]))
    if way == "CD":
        return header | {"CD1_1": step}
    if way == "CDELT":
        return header | {"CDELT1": step}
    scale = draw(st.floats(0.5, 2.0))
    return header | {"PC1_1": scale, "CDELT1": step / scale}


@given(header=headers())
def test_an_axis_is_what_astropy_reads_from_the_same_header(header):
    axis = read_axis(header, axis=1)
    wcs = WCS(fits.Header(header))
    in_angstrom = u.Unit(wcs.wcs.cunit[0]).to(u.AA)
    pixel = np.arange(header["NAXIS1"])
    corner = np.arange(header["NAXIS1"] + 1) - 0.5
    np.testing.assert_allclose(axis.wave, wcs.wcs_pix2world(pixel, 0)[0] * in_angstrom, atol=1e-6)
    np.testing.assert_allclose(axis.edges, wcs.wcs_pix2world(corner, 0)[0] * in_angstrom, atol=1e-6)


@pytest.mark.parametrize(
    ("ctype", "medium"),
    [
        ("AWAV", "air"),
        ("WAVE", "vacuum"),
        ("AWAV-LOG", "air"),
        ("LINEAR", None),
        ("WAVELENGTH", None),
        ("", None),
    ],
)
def test_the_medium_is_what_ctype_states_and_is_not_guessed(ctype, medium):
    header = {"NAXIS3": 5, "CRVAL3": 5000.0, "CD3_3": 1.25, "CTYPE3": ctype}
    assert read_axis(header).medium == medium


@pytest.mark.parametrize("ctype", ["WAVE-LOG10", "LINEAR", ""])
def test_an_old_log10_axis_of_sdss_is_known_by_its_start(ctype):
    header = {"NAXIS1": 4000, "CRVAL1": 3.5796, "CDELT1": 1e-4, "CTYPE1": ctype}
    axis = read_axis(header, axis=1)
    np.testing.assert_allclose(axis.wave, 10 ** (3.5796 + 1e-4 * np.arange(4000)), rtol=1e-13)
    np.testing.assert_allclose(np.diff(np.log10(axis.edges)), 1e-4, rtol=1e-8)


def test_micrometres_are_no_logarithms():
    header = {"NAXIS3": 5, "CRVAL3": 3.5, "CD3_3": 1e-4, "CTYPE3": "LINEAR", "CUNIT3": "um"}
    np.testing.assert_allclose(read_axis(header).wave, 35000.0 + np.arange(5), rtol=1e-12)


@given(count=st.integers(2, 4000), reference=st.floats(-50, 50))
def test_the_step_is_not_stretched_over_the_axis(count, reference):
    header = {"NAXIS3": count, "CRVAL3": 4750.0, "CD3_3": 1.25, "CRPIX3": reference}
    wave = read_axis(header).wave
    assert wave[0] == pytest.approx(4750.0 + 1.25 * (1 - reference), abs=1e-9)
    assert wave[-1] - wave[0] == pytest.approx(1.25 * (count - 1), abs=1e-9)


def test_the_velocity_of_a_galaxy_is_the_same_in_the_blue_and_in_the_red():
    header = {"NAXIS3": 3681, "CRVAL3": 4750.0, "CD3_3": 1.25, "CRPIX3": 1.0, "CTYPE3": "AWAV"}
    wave, lines = read_axis(header).wave, air_to_vacuum(np.array([4861.33, 9068.61]))
    observed = vacuum_to_air(lines * 1.02)
    pixel = (observed - 4750.0) / 1.25
    found = vacuum_at_rest(np.interp(pixel, np.arange(3681), wave) / 1.02, "air", 0.02)
    np.testing.assert_allclose((found / lines - 1) * C_KMS, 0.0, atol=1e-6)


@pytest.mark.parametrize("missing", ["CRVAL3", "NAXIS3"])
def test_a_missing_card_is_named(missing):
    header = {"NAXIS3": 10, "CRVAL3": 4750.0, "CD3_3": 1.25}
    del header[missing]
    with pytest.raises(InputError, match=f"no card {missing}, which the wavelength axis needs"):
        read_axis(header)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"CD3_3": None}, "neither CD3_3 nor CDELT3, so the wavelength step is unknown"),
        ({"CD3_3": 0.0}, r"step in the header is 0\.0, where it must be positive"),
        ({"CD3_3": -1.25}, r"step in the header is -1\.25, where it must be positive"),
        ({"CD3_3": np.nan}, "CD3_3 is nan, where a number is needed"),
        ({"CRVAL3": np.inf}, "CRVAL3 is inf, where a number is needed"),
        ({"CRVAL3": "blue"}, "CRVAL3 is 'blue', where a number is needed"),
        ({"CD3_3": "fine"}, "CD3_3 is 'fine', where a number is needed"),
        ({"CRPIX3": "first"}, "CRPIX3 is 'first', where a number is needed"),
        ({"CUNIT3": "km/s"}, r"CUNIT3 = 'km/s' .* is not a length; expected Angstrom, nm, um or m"),
    ],
)
def test_a_card_without_meaning_is_refused(cards, message):
    header = {"NAXIS3": 10, "CRVAL3": 4750.0, "CD3_3": 1.25} | cards
    header = {card: value for card, value in header.items() if value is not None}
    with pytest.raises(InputError, match=message):
        read_axis(header)


INCREASING = st.lists(st.floats(0.1, 10.0), min_size=1, max_size=40).map(
    lambda steps: 3000.0 + np.concatenate([[0.0], np.cumsum(steps)])
)


@given(wave=INCREASING)
def test_edges_enclose_each_centre_and_leave_no_gap(wave):
    edges = pixel_edges(wave)
    assert edges.size == wave.size + 1
    assert np.all((edges[:-1] < wave) & (wave < edges[1:]))
    np.testing.assert_allclose(edges[1:-1], (wave[1:] + wave[:-1]) / 2, rtol=1e-14)


@given(start=st.floats(1000, 9000), step=st.floats(0.01, 10), count=st.integers(2, 100))
def test_edges_of_a_linear_axis_are_exact(start, step, count):
    edges = pixel_edges(start + step * np.arange(count))
    np.testing.assert_allclose(edges, start + step * (np.arange(count + 1) - 0.5), rtol=1e-12)


@pytest.mark.parametrize(
    "wave", [[5000.0], [5000.0, 5000.0], [5001.0, 5000.0], [5000.0, np.nan], [[5000.0, 5001.0]], []]
)
def test_an_axis_that_does_not_increase_is_refused(wave):
    with pytest.raises(InputError, match=r"strictly increasing .* sort it and drop repeated"):
        pixel_edges(wave)


def test_a_real_muse_cube_is_read_right(test_data):
    header = fits.getheader(test_data / "muse" / "a478_bcg.fits", "DATA")
    axis = read_axis(header)
    np.testing.assert_allclose(axis.wave, 4749.890625 + 1.25 * np.arange(3681), atol=1e-9)
    assert axis.medium == "air"


def test_a_real_cube_with_a_linear_axis_is_read_right(test_data):
    header = fits.getheader(test_data / "muse" / "edge_linear_cdelt3.fits", "DATA")
    axis = read_axis(header)
    np.testing.assert_allclose(axis.wave, 7300.0 + 1.25 * np.arange(1595), atol=1e-9)
    assert axis.medium is None


def test_a_real_axis_is_counted_from_its_reference_pixel(test_data):
    header = fits.getheader(test_data / "sami" / "41144_A_sectors_blue.fits.gz")
    axis = read_axis(header)
    assert header["CRPIX3"] == 1024
    assert axis.wave[1023] == pytest.approx(header["CRVAL3"], abs=1e-9)
    wcs = WCS(header).sub([3])
    expected = wcs.wcs_pix2world(np.arange(2048), 0)[0] * 1e10
    np.testing.assert_allclose(axis.wave, expected, atol=1e-6)
