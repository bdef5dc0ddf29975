"""Lines of real galaxies beside those that others measured in the same spectra.

What these tolerances are, and what they cannot be, is told in ``docs/validation.md``.
"""

import numpy as np
import pytest
from tests.real import sami_maps, sdss_tables

import betis
from betis.flags import Flag
from betis.io.row_products import read_continuum, read_lines, read_spectra

_WITHIN = {"Ha6563": 0.03, "NII6583": 0.03, "SII6716": 0.03, "SII6731": 0.03, "Hb4861": 0.05}
_OBSERVATIONS = ("41144_A", "41144_B")
_STRONG = ("Ha6563", "OIII5007", "OIII4959", "OII3726", "OII3729", "SII6716", "SII6731")


@pytest.fixture(scope="module")
def spectra(sami_run):
    return read_spectra(sami_run[0] / "spectra.fits").take(slice(None))


@pytest.mark.parametrize("name", _OBSERVATIONS)
@pytest.mark.parametrize("line", _WITHIN)
def test_the_sectors_of_sami_have_the_fluxes_of_the_survey(name, line, sectors, test_data):
    found = sami_maps.compare_flux(test_data / "sami", name, line, sectors[name])
    assert found.count >= 28
    assert found.median == pytest.approx(1.0, abs=_WITHIN[line])
    assert 0.9 < found.claimed < 1.3


@pytest.mark.parametrize("name", _OBSERVATIONS)
@pytest.mark.parametrize("line", ["Ha6563", "NII6583", "SII6716"])
def test_the_sectors_of_sami_have_the_velocities_of_the_survey(name, line, sectors, test_data):
    """The survey's are c (1 + z) times ours, and one offset apart, which its files do not tell."""
    found = sami_maps.compare_velocity(test_data / "sami", name, sectors[name], line)
    assert found.left.size >= 28
    assert found.slope == pytest.approx(1 / (1 + sami_maps.REDSHIFT[name]), abs=0.01)
    assert np.abs(found.left).max() < 3.0


def test_with_one_velocity_for_all_lines_the_velocities_are_the_surveys(
    sami_run, spectra, test_data
):
    """As the survey fits them: only then is the same thing measured."""
    stars = read_continuum(sami_run[0] / "continuum.fits").take(slice(None))
    lines = betis.fit_lines(spectra.subtract(stars), continuum=stars, kinematics="one")
    one = sami_maps.sectors_of(sami_run[0], lines)
    found = sami_maps.compare_velocity(test_data / "sami", "41144_A", one)
    assert np.abs(found.left).max() < 0.6


def test_oiii_is_the_surveys_where_the_base_is_of_observed_stars(sami_run, spectra, test_data):
    """The shipped base is of theoretical spectra; round 5010 Angstrom they are not the stars'."""
    folder, shipped = sami_run[0], read_continuum(sami_run[0] / "continuum.fits").table
    starlight = test_data / "starlight"
    base = betis.load_templates(
        starlight / "kug0210-078" / "Base.CB07.vall.4m", spectra_dir=starlight / "base_cb07"
    )
    stars = betis.fit_continuum(spectra, base)
    assert np.nanmedian(stars.chi2) < 0.92 * np.nanmedian(shipped.chi2)
    lines = betis.fit_lines(spectra.subtract(stars), continuum=stars)
    found = {
        line: sami_maps.compare_flux(
            test_data / "sami", "41144_A", line, sami_maps.sectors_of(folder, lines)
        ).median
        for line in (*_WITHIN, "OIII5007")
    }
    assert found.pop("OIII5007") == pytest.approx(1.0, abs=0.05)
    assert found.pop("Hb4861") == pytest.approx(1.0, abs=0.06)
    for median in found.values():
        assert median == pytest.approx(1.0, abs=0.03)


def test_lines_over_halpha_repeat_within_their_errors(sectors):
    """In sectors that share half of their spaxels; the rest of the difference is the sky's."""
    one, other = (sectors[name] for name in _OBSERVATIONS)
    lines = (*_WITHIN, "OIII5007")
    found = [sami_maps.compare_repeats(one, other, line, least=0.5) for line in lines]
    assert min(repeat.count for repeat in found) >= 14
    pooled = np.sqrt(np.nanmean([repeat.relative**2 for repeat in found]))
    assert 0.8 < pooled < 1.2


def test_the_line_sets_agree_where_no_remnant_is_kept(sami_run, spectra):
    """The broad component of `betis41` takes of Halpha what it adds to it; all else is the same."""
    stars = read_continuum(sami_run[0] / "continuum.fits").take(slice(None))
    first = read_lines(sami_run[0] / "lines.fits")
    second = betis.fit_lines(spectra.subtract(stars), "betis41", continuum=stars)
    alone = np.isnan(second.flux[:, second.index("Ha6563_remnant")])
    for line in _WITHIN:
        i, j = first.index(line), second.index(line)
        free = (first.flags[:, i] | second.flags[:, j]) & Flag.AT_BOUND == 0
        good = free & (first.snr[:, i] > 10) & (alone | (line[:2] not in ("Ha", "NI")))
        assert good.sum() >= (4 if line[:2] in ("Ha", "NI") else 25)
        ratio = second.flux[good, j] / first.flux[good, i]
        assert np.median(ratio) == pytest.approx(1.0, abs=0.01)
        assert np.abs(second.velocity[good, j] - first.velocity[good, i]).max() < 1.5


@pytest.fixture(scope="module")
def dobby(test_data):
    lines = betis.fit_lines(sdss_tables.starlight_residual(test_data / "starlight" / "v05"))
    return lines, sdss_tables.dobby_table(test_data / "spectra" / "dobby")


def test_lines_of_an_sdss_spectrum_are_those_of_dobby(dobby):
    lines, table = dobby
    for ours in _STRONG:
        at, (flux, velocity) = lines.index(ours), table[sdss_tables.DOBBY[ours]]
        assert lines.flux[0, at] == pytest.approx(flux, rel=0.05)
        assert lines.velocity[0, at] == pytest.approx(velocity, abs=3.0)


def test_where_dobby_differs_the_sum_of_the_pixels_decides(dobby):
    """Its Hb and Hg are Halpha over 2.6 and 5.5: bounds of its fit, no measurements."""
    lines, table = dobby
    alpha = table["Halpha"][0]
    assert alpha / table["Hbeta"][0] == pytest.approx(2.6, abs=1e-5)
    assert alpha / table["Hgamma"][0] == pytest.approx(5.5, abs=1e-5)
    for ours in ("NII6583", "Hb4861", "Hg4340"):
        at = lines.index(ours)
        assert lines.flux[0, at] == pytest.approx(lines.flux_direct[0, at], rel=0.02)


def test_strong_lines_of_an_sdss_galaxy_are_those_of_the_survey(test_data):
    path = next(
        one for one in sdss_tables.sdss_paths(test_data / "spectra" / "sdss") if "0055" in one.name
    )
    spectra = sdss_tables.sdss_spectrum(path)
    stars = betis.fit_continuum(spectra)
    lines = betis.fit_lines(spectra.subtract(stars), continuum=stars)
    theirs = sdss_tables.sdss_lines(path)
    for line in ("Ha6563", "NII6583", "SII6716", "SII6731"):
        ratio = lines.flux[0, lines.index(line)] / theirs[line][0]
        assert ratio == pytest.approx(1.0, abs=0.04)
