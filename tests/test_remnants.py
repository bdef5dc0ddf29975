"""Spectra against templates of remnants: bounds, invariances, and what noise alone gives."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, pearsonr

from betis.cli import main
from betis.errors import ConfigError, InputError
from betis.flags import Flag
from betis.io.remnants import read_remnant
from betis.products import Spectra
from betis.remnants import (
    REGIONS,
    Matching,
    RemnantTemplate,
    best_bins,
    legacy_coefficient,
    match_remnants,
    match_template,
    null_distribution,
    on_axis,
    regions_from,
)
from betis.wavelength import C_KMS, air_to_vacuum, vacuum_to_air

WAVE = np.arange(4650.0, 7700.0, 1.25)
FINE = np.arange(4500.0, 7800.0, 0.5)
LINES = (
    (4959.0, 3.0),
    (5007.0, 9.0),
    (6300.0, 5.0),
    (6563.0, 4.0),
    (6725.0, 3.0),
    (7150.0, 1.0),
    (7320.0, 4.0),
)
ONE = Matching()


def remnant_flux(wave, width=25.0):
    """Broad lines on a falling continuum."""
    lines = [height * np.exp(-0.5 * ((wave - at) / width) ** 2) for at, height in LINES]
    return 3.0 - 4e-4 * (wave - 6000) + np.sum(lines, axis=0)


TEMPLATE = RemnantTemplate(name="BROAD", wave=FINE, flux=remnant_flux(FINE))


def within(low, high):
    """Tell the pixels of a region."""
    return np.array([low <= wave <= high for wave in WAVE])


def spectra_of(flux, error=1.0, **kwargs):
    rows = np.atleast_2d(flux)
    return Spectra(WAVE, rows, np.broadcast_to(error, rows.shape), **kwargs)


def noise_of(n_row, seed, error=1.0):
    return np.random.default_rng(seed).normal(size=(n_row, WAVE.size)) * error


def itself(medium="air", redshift=0.0):
    """Return the template on the pixels of the spectra."""
    blank = spectra_of(np.ones(WAVE.size), medium=medium, redshift=redshift)
    return on_axis(TEMPLATE, blank, ONE)[0]


def test_the_template_itself_has_a_coefficient_of_one_and_the_highest_significance():
    match = match_template(spectra_of(itself()), TEMPLATE, ONE)
    np.testing.assert_allclose(match.coefficient, 1.0, rtol=1e-12)
    assert (match.significance > 30).all()
    np.testing.assert_array_equal(match.legacy, match.legacy_self)
    assert (match.flags == 0).all()


@given(
    scale=st.floats(1e-3, 1e3),
    offset=st.floats(-100, 100),
    slope=st.floats(-1, 1),
    units=st.floats(1e-20, 1e20),
    seed=st.integers(0, 2**16),
)
def test_scale_offset_polynomial_and_units_change_nothing(scale, offset, slope, units, seed):
    error = 1.0 + 0.5 * np.sin(WAVE / 40)
    first = 0.2 * itself() + noise_of(3, seed, error)
    position = (WAVE - 6000) / 1000
    second = units * (scale * first + offset + slope * (position + position**2))
    one = match_template(spectra_of(first, error), TEMPLATE, ONE)
    other = match_template(spectra_of(second, 7 * units * error), TEMPLATE, ONE)
    for name in ("coefficient", "p_value", "significance"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-6, atol=1e-6)


@given(seed=st.integers(0, 2**16), share=st.floats(-5, 5), degree=st.integers(0, 4))
def test_coefficients_are_bounded_and_turn_with_the_sign(seed, share, degree):
    how, flux = Matching(degree=degree), share * itself() + noise_of(4, seed)
    match = match_template(spectra_of(flux), TEMPLATE, how)
    turned = match_template(spectra_of(-flux), TEMPLATE, how)
    assert (np.abs(match.coefficient) <= 1).all()
    assert ((match.p_value >= 0) & (match.p_value <= 1)).all()
    np.testing.assert_allclose(turned.coefficient, -match.coefficient, atol=1e-9)
    np.testing.assert_allclose(turned.p_value, 1 - match.p_value, atol=1e-9)
    np.testing.assert_allclose(turned.significance, -match.significance, atol=1e-6)


def test_with_equal_errors_and_no_slope_it_is_the_coefficient_of_everybody():
    flux, how = 0.1 * itself() + noise_of(5, 3), Matching(degree=0)
    match = match_template(spectra_of(flux), TEMPLATE, how)
    for i, (low, high) in enumerate(REGIONS):
        inside = within(low, high)
        for row in range(5):
            known = pearsonr(flux[row, inside], itself()[inside], alternative="greater")
            assert match.coefficient[row, i] == pytest.approx(known.statistic, rel=1e-10)
            assert match.p_value[row, i] == pytest.approx(known.pvalue, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("degree", [0, 2, 5])
def test_on_noise_the_p_values_are_flat_and_the_significance_is_normal(degree):
    error = np.exp(np.sin(WAVE / 30)) * (1 + (WAVE > 6563))
    gas = spectra_of(noise_of(1500, 11, error), 0.3 * error)
    match = match_template(gas, TEMPLATE, Matching(degree=degree))
    for region in range(len(REGIONS)):
        assert kstest(match.p_value[:, region], "uniform").pvalue > 1e-3
        assert kstest(match.significance[:, region], "norm").pvalue > 1e-3


def test_noise_of_correlated_neighbours_has_flat_p_values_where_its_correlation_is_known():
    white = noise_of(1500, 5)
    rows = white + 0.5 * np.roll(white, 1, axis=1)
    told = Matching(noise_correlation=0.5 / 1.25)
    match = match_template(spectra_of(rows), TEMPLATE, told)
    assert np.std(match.significance) == pytest.approx(1.0, abs=0.05)
    assert np.std(match_template(spectra_of(rows), TEMPLATE, ONE).significance) > 1.25


def test_the_old_coefficient_is_the_sum_of_the_normalised_products():
    rng = np.random.default_rng(2)
    flux, other = rng.normal(size=(2, 4, 60))
    good = rng.random((4, 60)) > 0.2
    found = legacy_coefficient(flux, other, good)
    for row in range(4):
        pair = [values[row, good[row]] for values in (flux, other)]
        a, b = ((values - values.min()) / (values - values.min()).sum() for values in pair)
        assert found[row] == pytest.approx((a * b).sum(), rel=1e-12)


def test_by_the_old_coefficient_a_single_spike_is_more_like_the_template_than_itself():
    inside = within(6100, 6500)
    spike = np.zeros(WAVE.size)
    spike[np.argmax(np.where(inside, itself(), 0.0))] = 1.0
    match = match_template(spectra_of(spike), TEMPLATE, ONE)
    assert match.legacy[0, 1] > 1.1 * match.legacy_self[0, 1]
    assert match.coefficient[0, 1] < 0.5


@given(seed=st.integers(0, 2**16), share=st.floats(0.05, 0.4))
def test_masked_pixels_and_windows_of_the_sky_do_not_count(seed, share):
    rng = np.random.default_rng(seed)
    mask = rng.random((2, WAVE.size)) < share
    sky = rng.random(WAVE.size) < 0.1
    flux = itself() + noise_of(2, seed)
    gas = spectra_of(flux, mask=mask, sky_window=sky)
    spoilt = spectra_of(np.where(mask | sky, 1e9, flux), mask=mask, sky_window=sky)
    one, other = (match_template(each, TEMPLATE, ONE) for each in (gas, spoilt))
    np.testing.assert_array_equal(
        one.n_pixel[:, 0], (~mask & ~sky & within(*REGIONS[0])).sum(axis=1)
    )
    for name in ("coefficient", "p_value", "legacy"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_what_cannot_be_compared_is_nan_with_a_flag_and_spoils_no_other_row():
    flux = itself() + noise_of(3, 1)
    mask = np.zeros(flux.shape, bool)
    mask[0] = True
    mask[1, (WAVE > 6100) & (WAVE < 6400)] = True
    match = match_template(spectra_of(flux, mask=mask), TEMPLATE, ONE)
    alone = match_template(spectra_of(flux[2]), TEMPLATE, ONE)
    assert (match.flags[0] == Flag.NO_DATA).all()
    assert np.isnan(match.coefficient[0]).all()
    assert np.isnan(match.p_value[0]).all()
    assert match.flags[1].tolist() == [0, Flag.FEW_PIXELS, 0, 0, 0]
    np.testing.assert_allclose(match.coefficient[2], alone.coefficient[0], rtol=1e-12)


def test_a_template_without_features_says_nothing():
    flat = replace(TEMPLATE, flux=2.0 + 1e-3 * FINE)
    match = match_template(spectra_of(noise_of(2, 1)), flat, ONE)
    assert (match.flags == Flag.NO_DATA).all()


@pytest.mark.parametrize("medium", ["air", "vacuum"])
@pytest.mark.parametrize("redshift", [0.0, 0.05])
def test_the_template_lies_where_its_light_does(medium, redshift):
    """A line of the remnant at rest in vacuum, whatever medium each of the two was observed in."""
    velocity, own = 800.0, 0.002
    rest = 6300.0
    there = rest * (1 + own)
    place = vacuum_to_air(there) if medium == "air" else there
    line = np.exp(-0.5 * ((FINE - place) / 8.0) ** 2)
    template = RemnantTemplate(name="LINE", wave=FINE, flux=line, medium=medium)
    how = Matching(velocity=velocity, redshift=own)
    for observed in ("air", "vacuum"):
        blank = spectra_of(np.ones(WAVE.size), medium=observed, redshift=redshift)
        flux, known = on_axis(template, blank, how)
        moved = rest * (1 + velocity / C_KMS) * (1 + redshift)
        expected = (vacuum_to_air(moved) if observed == "air" else moved) / (1 + redshift)
        assert known.all()
        assert np.average(WAVE, weights=flux) == pytest.approx(expected, abs=1e-3)


def test_the_template_is_integrated_over_pixels():
    flux = itself()
    assert flux.sum() * 1.25 == pytest.approx(
        np.interp(WAVE, FINE, TEMPLATE.flux).sum() * 1.25, rel=1e-4
    )
    sharp = RemnantTemplate(name="S", wave=FINE, flux=np.where(FINE == 6000.0, 1.0, 0.0))
    spread = on_axis(sharp, spectra_of(np.ones(WAVE.size)), ONE)[0]
    assert spread.sum() * 1.25 == pytest.approx(0.5, rel=1e-12)


def test_pieces_of_any_size_give_the_same():
    gas = spectra_of(itself() + noise_of(7, 2))
    whole = match_remnants([gas], [TEMPLATE], ONE)["BROAD"]
    pieces = (gas.take(slice(i, i + 2)) for i in range(0, 7, 2))
    parts = match_remnants(pieces, [TEMPLATE], ONE)["BROAD"]
    np.testing.assert_allclose(parts.coefficient, whole.coefficient, rtol=1e-12)
    np.testing.assert_array_equal(parts.n_pixel, whole.n_pixel)


def test_the_distribution_is_known_into_its_tails():
    p_value, sigma = null_distribution(np.array([0.0, 1.0, -1.0, np.nan]), np.full(4, 50.0))
    np.testing.assert_allclose(p_value, [0.5, 0.0, 1.0, np.nan], atol=1e-250)
    np.testing.assert_allclose(sigma, [0.0, 37.0, -37.0, np.nan], atol=0.1)


def test_the_best_bin_of_each_region_is_told():
    gas = spectra_of(np.stack([noise_of(1, 4)[0], itself()]))
    rows = best_bins(match_remnants([gas], [TEMPLATE], ONE))
    assert [row["region [Å]"] for row in rows] == [f"{low:g}-{high:g}" for low, high in REGIONS]
    assert {(row["bin"], row["coefficient"], row["bins"]) for row in rows} == {("1", "1.000", "2")}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Matching(regions=((5300.0, 4700.0),)), r"5300-4700 A is empty"),
        (lambda: Matching(degree=7), r"degree of the polynomial is 7, .* from 0 to 6"),
        (lambda: Matching(velocity=4e5), r"velocity is 400000 km/s"),
        (lambda: Matching(redshift=-1.0), r"redshift of the template -1"),
        (lambda: regions_from(["4700"]), r"the region '4700' is no range"),
        (lambda: match_remnants([], [TEMPLATE, TEMPLATE], ONE), r"two templates are called BROAD"),
    ],
)
def test_what_makes_no_sense_is_refused(made, said):
    with pytest.raises(ConfigError, match=said):
        made()


def test_a_template_elsewhere_is_refused():
    there = replace(TEMPLATE, wave=FINE / 2)
    with pytest.raises(InputError, match=r"BROAD runs from 2250 to 3900 A and has no pixel"):
        match_template(spectra_of(itself()), there, ONE)


def test_regions_are_those_asked_for():
    assert regions_from([]) == REGIONS
    assert regions_from(["4900-5100", "6200.5-6400"]) == ((4900.0, 5100.0), (6200.5, 6400.0))


@pytest.mark.parametrize("separator", [" ", "\t", ",", " , "])
def test_two_columns_are_read_however_they_are_separated(separator, tmp_path):
    path = tmp_path / "snr 4449-1.txt"
    rows = [f"{w}{separator}{f}{separator}0.1" for w, f in zip(FINE, TEMPLATE.flux, strict=True)]
    path.write_text("# wave, flux\n\n" + "\n".join(rows) + "\n", "utf-8")
    template = read_remnant(path, "vacuum")
    assert (template.name, template.medium) == ("SNR_4449_1", "vacuum")
    np.testing.assert_array_equal(template.wave, FINE)
    np.testing.assert_array_equal(template.flux, TEMPLATE.flux)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"has 0 columns, where two columns"),
        ("5000\n5001\n", r"has 1 columns, where two columns"),
        ("5000 a\n", r"cannot be read as a spectrum"),
        (
            "5000 1\n4999 2\n",
            r"has 2 wavelengths, where at least 10 that are positive and increase",
        ),
        ("\n".join(f"{5000 - i} 1" for i in range(20)), r"positive and increase were expected"),
        ("\n".join(f"{5000 + i} nan" for i in range(20)), r"values that are not finite"),
    ],
)
def test_what_is_no_spectrum_is_refused(text, said, tmp_path):
    (tmp_path / "template.txt").write_text(text, "utf-8")
    with pytest.raises(InputError, match=said):
        read_remnant(tmp_path / "template.txt")


def test_a_remnant_is_found_in_a_run_and_painted_where_it_is(finished_run, tmp_path, capsys):
    for name in ("one.txt", "two.txt"):
        np.savetxt(tmp_path / name, np.stack([air_to_vacuum(FINE), TEMPLATE.flux], axis=1))
    output = tmp_path / "remnants.fits"
    templates = [str(tmp_path / "one.txt"), str(tmp_path / "two.txt")]
    flags = ["--medium", "vacuum", "--region", "4900-5100", "--region", "8000-8200"]
    status = main(["remnants", str(finished_run), *templates, *flags, "-o", str(output)])
    assert status == 0
    assert f"done: {output}" in capsys.readouterr().out
    with fits.open(output, checksum=True) as hdus, fits.open(finished_run / "bins.fits") as bins:
        bin_id, table = bins["BINID"].data, hdus["REMNANTS"].data
        n_bin = bin_id.max() + 1
        assert len(table) == 2 * 2 * n_bin
        for name in ("ONE", "TWO"):
            rows = table[table["template"] == name]
            for suffix, column in (("", "coefficient"), ("_P", "p_value"), ("_LEGACY", "legacy")):
                image = hdus[name + suffix]
                assert image.data.shape == (2, *bin_id.shape)
                assert (image.header["REGION1"], image.header["REGION2"]) == (
                    "4900-5100",
                    "8000-8200",
                )
                painted = np.where(bin_id >= 0, rows[column][::2][bin_id], np.nan)
                np.testing.assert_array_equal(image.data[0], painted)
                assert np.isnan(image.data[1]).all()
            assert (rows["flags"][1::2] == Flag.NO_DATA).all()
        sky = WCS(hdus["ONE"].header).celestial
        assert sky.wcs.compare(WCS(bins["BINID"].header).wcs, tolerance=1e-12)


def test_without_its_lines_a_galaxy_resembles_no_remnant(finished_run, tmp_path, capsys):
    """The galaxy's own [S II] is like that of any remnant; what its fit leaves is noise."""
    path, output = tmp_path / "broad.txt", tmp_path / "out.fits"
    np.savetxt(path, np.stack([FINE, TEMPLATE.flux], axis=1))
    median = {}
    for flags in ((), ("--without-lines",)):
        command = ["remnants", str(finished_run), str(path), "-o", str(output), *flags]
        assert main(command) == 0
        with fits.open(output) as hdus:
            table = hdus["REMNANTS"].data
            median[flags] = np.nanmedian(table["significance"][table["low"] == 6620.0])
    assert median[()] > 1.5
    assert abs(median[("--without-lines",)]) < 1.0


def test_templates_that_cannot_be_used_are_one_sentence(finished_run, tmp_path, capsys):
    assert main(["remnants", str(finished_run), str(tmp_path / "no.txt")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main(["remnants", str(finished_run), str(tmp_path), "--medium", "water"]) == 2
    assert "the medium is 'water', where air or vacuum" in capsys.readouterr().err
