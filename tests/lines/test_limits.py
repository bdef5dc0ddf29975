"""Laws of limits: who decides, and that the fit keeps to them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.flags import Flag
from betis.linelist import Bounds, Line, LineSet, load_line_set
from betis.lines.fit import fit_lines
from betis.lines.groups import fit_groups
from betis.lines.limits import line_limits
from betis.lsf import FWHM_PER_SIGMA
from betis.options import LineOptions

OPTIONS = LineOptions()


def _line(name, **values):
    return Line(name=name, air=5000.0, label=name, kinematics=name, **values)


def test_a_lines_word_goes_before_options_these_before_the_set_this_before_defaults():
    own = _line("A", window=12.0, bounds=Bounds(velocity=(-90.0, 40.0), sigma=(5.0, 70.0)))
    bare = LineSet(name="x", lines=(own, _line("B")))
    full = replace(bare, window=20.0, max_velocity=200.0, max_sigma=150.0, fwhm=3.0)
    chosen = LineOptions(window=25.0, max_velocity=300.0, max_sigma=250.0, fwhm=5.0)
    expected = {
        "default": ((bare, OPTIONS), (30.0, 500.0, 400.0, 0.0)),
        "set": ((full, OPTIONS), (20.0, 200.0, 150.0, 3.0)),
        "options": ((full, chosen), (25.0, 300.0, 250.0, 5.0)),
    }
    for (line_set, options), (window, velocity, sigma, fwhm) in expected.values():
        limits = line_limits(line_set, options)
        np.testing.assert_array_equal(limits.window, [12.0, window])
        np.testing.assert_array_equal(limits.velocity, [[-90, 40], [-velocity, velocity]])
        np.testing.assert_array_equal(limits.sigma, [[5, 70], [0, sigma]])
        assert limits.max_velocity == velocity
        assert limits.start_width == pytest.approx(fwhm / FWHM_PER_SIGMA)


def test_a_width_is_bounded_in_that_of_the_first_guess():
    lines = (_line("A", bounds=Bounds(width=(0.5, 2.0))), _line("B"))
    limits = line_limits(LineSet(name="x", lines=lines, fwhm=FWHM_PER_SIGMA), OPTIONS)
    np.testing.assert_allclose(limits.width, [[0.5, 2.0], [0.0, np.inf]])


@given(
    wave=st.lists(st.floats(4000, 6000), min_size=1, max_size=12, unique=True),
    seed=st.integers(0, 100),
)
def test_groups_are_what_overlapping_windows_join(wave, seed):
    """Windows of any widths: two lines are together where a chain of overlaps joins them."""
    places = np.array(wave)
    half = np.random.default_rng(seed).uniform(1.0, 80.0, places.size)
    lines = LineSet(name="x", lines=tuple(_line(str(i)) for i in range(places.size)))
    group = fit_groups(lines, places, half)
    joined = np.abs(places[:, None] - places) <= half[:, None] + half
    for _ in wave:
        joined = (joined.astype(int) @ joined.astype(int)) > 0
    np.testing.assert_array_equal(group[:, None] == group, joined)
    first = [places[group == number].min() for number in range(group.max() + 1)]
    assert first == sorted(first)


@pytest.fixture(scope="module")
def truth(simulate):
    return simulate(60, strength=(60.0, 200.0), sigma=(60.0, 160.0), seed=61)


def _with(lines, **values):
    return replace(lines, lines=tuple(replace(line, **values) for line in lines.lines))


def test_velocities_keep_to_bounds_that_are_not_symmetric(truth):
    held = _with(truth.lines, bounds=Bounds(velocity=(-30.0, 120.0)))
    fit = fit_lines(truth.spectra, held, OPTIONS)
    assert np.all((fit.velocity >= -30) & (fit.velocity <= 120))
    at_edge = (fit.velocity == -30) | (fit.velocity == 120)
    assert 0.2 < at_edge.mean() < 0.9
    assert np.all((fit.flags & Flag.AT_BOUND > 0)[at_edge])


def test_dispersions_keep_to_their_bounds_at_any_line_spread_function(truth):
    held = _with(truth.lines, bounds=Bounds(sigma=(80.0, 120.0)))
    fit = fit_lines(truth.spectra, held, OPTIONS)
    sigma = fit.sigma * (1 + fit.velocity / 299792.458)
    assert np.all((sigma > 80 - 1e-6) & (sigma < 120 + 1e-6))
    i = fit.index("OIII5007")
    outside = (truth.sigma < 65) | (truth.sigma > 140)
    assert np.mean(fit.flags[outside, i] & Flag.AT_BOUND > 0) > 0.9


def test_a_tied_pair_keeps_to_the_tighter_bound_of_its_lines(truth):
    lines = tuple(
        replace(line, bounds=Bounds(velocity=(-20.0, 20.0))) if line.name == "SII6716" else line
        for line in truth.lines.lines
    )
    fit = fit_lines(truth.spectra, replace(truth.lines, lines=lines), OPTIONS)
    assert np.all(np.abs(fit.velocity[:, fit.index("SII6731")]) <= 20)
    assert np.any(np.abs(fit.velocity[:, fit.index("Ha6563")]) > 20)


def test_bounds_and_signs_that_do_not_bite_change_nothing(truth):
    plain = fit_lines(truth.spectra, truth.lines, OPTIONS)
    wide = Bounds(velocity=(-500.0, 500.0), sigma=(0.0, 400.0))
    signed = replace(
        truth.lines,
        lines=tuple(
            replace(line, bounds=wide, sign="absorption" if line.absorption else "emission")
            for line in truth.lines.lines
        ),
    )
    fit = fit_lines(truth.spectra, signed, OPTIONS)
    right = np.array([line.absorption for line in signed.lines]) == (plain.flux < 0)
    whole = np.array([np.all(right[:, plain.group == g], axis=1) for g in plain.group]).T
    assert whole.mean() > 0.9
    np.testing.assert_allclose(fit.flux[whole], plain.flux[whole], rtol=1e-4)


def test_windows_of_the_lines_make_the_degrees_of_freedom(truth):
    lines = _with(truth.lines.select(["Hb4861"]), window=20.0)
    narrow = fit_lines(truth.spectra, lines, OPTIONS)
    wide = fit_lines(truth.spectra, lines.select(["Hb4861"]), replace(OPTIONS, window=60.0))
    free = fit_lines(truth.spectra, truth.lines.select(["Hb4861"]), replace(OPTIONS, window=60.0))
    assert np.all(narrow.dof == wide.dof)
    assert np.all(free.dof > 2.5 * narrow.dof)


def test_the_standard_set_has_no_limits_of_its_own():
    limits = line_limits(load_line_set(), OPTIONS)
    assert np.all(limits.window == 30.0)
    assert np.isinf(limits.flux).all()
    assert np.isinf(limits.shift).all()
    assert np.all(limits.search == 0)
