"""Neighbourhoods of bins, and the kinematics that their bins take from them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label as labelled

from betis import compute
from betis.continuum.coarse import (
    continuum_levels,
    fit_held,
    neighbourhood_kinematics,
    neighbourhoods,
)
from betis.continuum.fit import template_engine
from betis.continuum.polynomial import polynomial_engine
from betis.errors import FitError
from betis.extinction import extinction_curve
from betis.flags import Flag
from betis.options import ContinuumOptions

TARGET = 10.0
SIDE = 10
SNR = 4.0
NO_LINES = np.empty(0)


@st.composite
def fields(draw):
    """A map of bins of a few spaxels, with gaps; and signal and noise of each bin."""
    coarse = draw(arrays(np.int32, (6, 7), elements=st.integers(-1, 20)))
    pieces = np.zeros(coarse.shape, np.int32)
    for value in np.unique(coarse[coarse >= 0]):
        found, count = labelled(coarse == value)
        pieces += np.where(found > 0, found + pieces.max(), 0).astype(np.int32)
        assert count
    bin_id = pieces - 1
    n_bin = int(bin_id.max()) + 1
    signal = draw(arrays(float, n_bin, elements=st.floats(-1, 15) | st.just(np.nan)))
    return bin_id, signal


def touches(bin_id, one, other):
    a = np.isin(bin_id, one)
    b = np.isin(bin_id, other)
    return bool((a[1:] & b[:-1]).any() or (a[:-1] & b[1:]).any()) or bool(
        (a[:, 1:] & b[:, :-1]).any() or (a[:, :-1] & b[:, 1:]).any()
    )


@given(fields())
def test_groups_are_whole_reach_the_target_or_have_nowhere_to_go(field):
    bin_id, signal = field
    noise = np.ones(signal.size)
    label = neighbourhoods(bin_id, signal, noise, TARGET)
    alone = ~np.isfinite(signal) | (np.nan_to_num(signal) >= TARGET)
    assert np.array_equal(label == -1, alone)
    groups = np.unique(label[label >= 0])
    assert np.array_equal(groups, np.arange(groups.size))
    members = [np.flatnonzero(label == number) for number in groups]
    total = [signal[rows].sum() / np.sqrt(rows.size) for rows in members]
    for rows, snr in zip(members, total, strict=True):
        # Joining what fell short may bring a group below what it had, never leave two that touch.
        assert labelled(np.isin(bin_id, rows))[1] == 1
        others = [other for other in members if other is not rows]
        if snr < TARGET and others:
            near = [other for other in others if touches(bin_id, rows, other)]
            grown = any(_reaches(signal, rows, size) for size in range(1, rows.size + 1))
            assert grown or not near


def _reaches(signal, rows, size):
    """Whether the brightest of some bins reach the target."""
    best = np.sort(signal[rows])[::-1][:size]
    return best.sum() / np.sqrt(size) >= TARGET


def test_groups_are_round():
    bin_id = np.arange(400, dtype=np.int32).reshape(20, 20)
    label = neighbourhoods(bin_id, np.full(400, 2.0), np.ones(400), TARGET)
    sizes = np.bincount(label)
    assert np.median(sizes) == 25
    y, x = np.divmod(np.arange(400), 20)
    for number in np.flatnonzero(sizes == 25):
        rows = label == number
        spread = np.hypot(np.std(y[rows]), np.std(x[rows]))
        # A square of 25 has 2.0, a row of 25 would have 7.2.
        assert spread < 3.6


def test_nothing_to_gather_is_no_group():
    bin_id = np.array([[0, 1, -1]], np.int32)
    assert np.all(neighbourhoods(bin_id, np.array([20.0, np.nan]), np.ones(2), TARGET) == -1)
    lonely = neighbourhoods(np.array([[0, -1, 1]], np.int32), np.ones(2), np.ones(2), TARGET)
    assert sorted(lonely) == [0, 1]


@dataclass(frozen=True)
class Field:
    """A map of single spaxels at a low S/N with a velocity gradient, and its truth."""

    spectra: object
    bin_id: np.ndarray
    velocity: np.ndarray
    engine: object
    options: ContinuumOptions


@pytest.fixture(scope="module")
def field(templates, tools):
    column = np.arange(SIDE**2) % SIDE
    velocity = 12.0 * (column - (SIDE - 1) / 2)
    clean = {v: tools["mock_flux"](templates, {5: 1, 12: 1}, v, 120.0, 0.4) for v in set(velocity)}
    rng = np.random.default_rng(8)
    flux = np.array([clean[v] for v in velocity])
    spectra = tools["as_spectra"](flux + rng.normal(0, 1 / SNR, flux.shape), 1 / SNR)
    options = ContinuumOptions(kinematics="coarse", coarse_snr=20.0)
    engine = template_engine(
        spectra,
        templates,
        options,
        dust=extinction_curve("CCM89", spectra.wave),
        line_waves=NO_LINES,
    )
    bin_id = np.arange(SIDE**2, dtype=np.int32).reshape(SIDE, SIDE)
    return Field(spectra, bin_id, velocity, engine, options)


@pytest.fixture(scope="module")
def kinematics(field):
    return neighbourhood_kinematics(
        field.spectra, field.bin_id, field.engine, field.options, line_waves=NO_LINES
    )


def test_spaxels_of_low_snr_lose_their_noise(field, kinematics):
    free = field.engine(field.spectra)
    held = fit_held(field.engine, field.spectra, kinematics)
    before, after = (np.sqrt(np.mean((one.velocity - field.velocity) ** 2)) for one in (free, held))
    assert before > 25.0
    # The gradient within a neighbourhood alone is 17 km/s rms.
    assert after < 0.6 * before
    assert np.std(held.sigma - 120.0) < 0.35 * np.std(free.sigma - 120.0)
    assert np.all(held.flags & Flag.COARSE_KINEMATICS)
    np.testing.assert_array_equal(held.velocity_err, kinematics.velocity_err)
    assert np.median(held.velocity_err) < 0.4 * np.median(free.velocity_err)
    assert np.isfinite(held.model).all()


def test_bins_that_reach_it_alone_are_fitted_by_themselves(field):
    spectra = field.spectra.take(slice(0, 4))
    bright = replace(spectra, error=spectra.error / np.array([[1.0], [1.0], [8.0], [1.0]]))
    flux = bright.flux.copy()
    flux[3] = np.nan
    bright = replace(bright, flux=flux)
    given = neighbourhood_kinematics(
        bright, field.bin_id[:1, :4], field.engine, field.options, line_waves=NO_LINES
    )
    assert given.is_known.tolist() == [True, True, False, False]
    assert given.velocity[0] == given.velocity[1]
    fit = fit_held(field.engine, bright, given)
    coarse = (fit.flags & Flag.COARSE_KINEMATICS) > 0
    assert coarse.tolist() == [True, True, False, False]
    assert fit.flags[3] & Flag.NO_DATA
    assert fit.velocity[2] == pytest.approx(field.engine(bright).velocity[2], abs=1e-6)


class Counted:
    """Rows that are taken a few at a time, as from a file, and how many at most."""

    def __init__(self, spectra):
        self._spectra = spectra
        self.most = 0

    def __getattr__(self, name):
        return getattr(self._spectra, name)

    def take(self, rows):
        part = self._spectra.take(rows)
        self.most = max(self.most, part.n_spectrum)
        return part


def test_blocks_change_nothing_and_bound_what_is_in_memory(field, kinematics, monkeypatch):
    monkeypatch.setattr(compute, "BLOCK", 7)
    monkeypatch.setattr(compute, "blocks", _blocks_of_seven)
    counted = Counted(field.spectra)
    again = neighbourhood_kinematics(
        counted, field.bin_id, field.engine, field.options, line_waves=NO_LINES
    )
    assert counted.most <= 7
    for one, other in zip(again, kinematics, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def _blocks_of_seven(count):
    for first in range(0, count, 7):
        yield slice(first, min(first + 7, count))


def test_a_bad_pixel_of_one_bin_is_made_up_by_the_others(field):
    """The sum keeps its shape, since what is missing is scaled up."""
    spectra = field.spectra
    mask = spectra.mask.copy()
    mask[::3, 200:400] = True
    mask[:, 600:610] = True
    wild = replace(spectra, mask=mask)
    given = neighbourhood_kinematics(
        wild, field.bin_id, field.engine, field.options, line_waves=NO_LINES
    )
    error = np.sqrt(np.mean((given.velocity - field.velocity) ** 2))
    assert error < 30.0


def test_levels_are_medians_of_usable_pixels(field):
    usable = np.zeros(field.spectra.wave.size, bool)
    usable[100:300] = True
    signal, noise = continuum_levels(field.spectra, usable)
    assert np.median(signal) == pytest.approx(np.median(field.spectra.flux[:, 100:300]), rel=0.05)
    np.testing.assert_allclose(noise, 1 / SNR)
    few = np.zeros_like(usable)
    few[:49] = True
    assert np.isnan(continuum_levels(field.spectra, few)[0]).all()


def test_without_pixels_it_says_so(field):
    options = replace(field.options, min_wave=9000.0)
    with pytest.raises(FitError, match="only 0 pixels are left for the continuum fit"):
        neighbourhood_kinematics(
            field.spectra, field.bin_id, field.engine, options, line_waves=NO_LINES
        )


def test_an_engine_without_stars_holds_nothing(field):
    engine = polynomial_engine(field.spectra, ContinuumOptions(), line_waves=NO_LINES)
    given = neighbourhood_kinematics(
        field.spectra, field.bin_id, engine, field.options, line_waves=NO_LINES
    )
    assert not given.is_known.any()
    assert not np.any(fit_held(engine, field.spectra, given).flags & Flag.COARSE_KINEMATICS)
