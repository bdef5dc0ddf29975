"""Masks and normalisation: inside the data, off the lines and the sky."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.errors import FitError
from betis.io.starlight.mask import Window
from betis.linelist import load_line_set
from betis.options import ContinuumOptions
from betis.products import BinMap
from betis.starlight.names import plain, row_names
from betis.starlight.windows import (
    fit_range,
    line_windows,
    masked,
    merged,
    normalisation,
    outside_windows,
    sky_windows,
)
from betis.wavelength import C_KMS


def test_each_emission_line_is_in_a_window_of_the_width_asked_for():
    lines = load_line_set()
    windows = line_windows(lines, ContinuumOptions(mask_width=300.0))
    assert len(windows) == len(lines.emission().lines)
    for line, window in zip(lines.emission().lines, windows, strict=True):
        assert (window.low + window.upp) / 2 == pytest.approx(line.air)
        assert (window.upp / line.air - 1) * C_KMS == pytest.approx(300.0)
    assert line_windows(lines, ContinuumOptions(mask_lines=False)) == []


@given(st.lists(st.booleans(), min_size=60, max_size=60))
def test_sky_windows_hold_the_pixels_of_the_sky_and_no_other(pixels):
    wave, in_sky = 5000.0 + np.arange(60), np.array(pixels)
    np.testing.assert_array_equal(masked(wave, sky_windows(wave, in_sky)), in_sky)


intervals = st.lists(st.tuples(st.integers(4000, 6000), st.integers(1, 60)), max_size=12)


@given(intervals)
def test_merged_windows_mask_the_same_pixels_and_do_not_overlap(pairs):
    windows = [Window(float(low), float(low + width), 0.0, f"n{low}") for low, width in pairs]
    wave = np.arange(4500.0, 5500.0)
    together = merged(windows, (4500.0, 5499.0))
    np.testing.assert_array_equal(masked(wave, together), masked(wave, windows))
    assert all(one.upp < other.low for one, other in pairwise(together))


def test_the_last_of_overlapping_windows_counts():
    windows = [Window(4000, 4100, 0.0, "masked"), Window(4050, 4060, 2.0, "more weight")]
    is_masked = masked(np.array([4040.0, 4055.0, 4070.0]), windows)
    assert is_masked.tolist() == [True, False, True]


def test_limits_of_the_options_are_masked():
    options = ContinuumOptions(min_wave=5000.0, max_wave=6000.0)
    wave = np.arange(4800.0, 6200.0)
    is_masked = masked(wave, outside_windows((4800.0, 6199.0), options))
    np.testing.assert_array_equal(~is_masked, (wave > 5000) & (wave < 6000))
    assert outside_windows((4800.0, 6199.0), ContinuumOptions()) == []


@pytest.mark.parametrize(
    ("low", "upp", "center"),
    [(4700, 9000, 5635.0), (3700, 5500, 4020.0), (4700, 5400, 5150.0), (6200, 9400, 6840.0)],
)
def test_the_usual_window_inside_the_data_is_taken(low, upp, center):
    wave = np.arange(float(low), float(upp))
    found, window = normalisation(wave, np.ones(wave.size, bool))
    assert found == center
    assert low <= window[0] < found < window[1] < upp


@given(st.integers(0, 400), st.integers(0, 400))
def test_another_window_lies_in_the_data_and_can_be_used(start, length):
    wave = np.arange(8600.0, 9300.0)
    usable = np.ones(wave.size, bool)
    usable[start : start + length] = False
    center, (low, upp) = normalisation(wave, usable)
    inside = (wave >= low) & (wave <= upp)
    assert wave[0] <= low <= center <= upp <= wave[-1]
    assert usable[inside].mean() == 1.0


def test_a_window_that_is_masked_is_not_taken():
    wave = np.arange(4700.0, 7000.0)
    usable = (wave < 5580) | (wave > 5640)
    center, _ = normalisation(wave, usable)
    assert center == 5150.0
    with pytest.raises(FitError, match="only 40 pixels are left for STARLIGHT, where 50"):
        normalisation(wave, wave < 4740)


def test_the_fit_stays_a_cushion_within_the_base():
    wave = np.arange(4000.0, 7000.0)
    assert fit_range(wave, (3000.0, 9000.0), 50.0) == (4000.0, 6999.0)
    assert fit_range(wave, (4100.0, 6500.0), 50.0) == (4150.0, 6450.0)
    with pytest.raises(FitError, match="the base spans 7000 to 9000 Angstrom"):
        fit_range(wave, (7000.0, 9000.0), 50.0)


def bins(bin_id, target=10.0, is_region=None):
    n_spaxel = np.bincount(bin_id[bin_id >= 0])
    blank = np.zeros(n_spaxel.size)
    return BinMap(
        bin_id=bin_id,
        n_spaxel=n_spaxel.astype(np.int32),
        snr=blank,
        flags=blank.astype(np.int32),
        target=target,
        is_region=is_region,
    )


def test_names_are_those_of_the_scripts():
    bin_id = np.array([[-1, 1], [0, 2]], np.int32)
    names = row_names("NGC863", bins(bin_id), "quadtree", "CCM")
    assert (names.spectrum(0), names.output(2)) == ("NGC863_bin_1.txt", "NGC863_bin_3.BN")
    assert names.grid == "NGC863_bin10"
    names = row_names("NGC863", bins(bin_id), "spaxel", "CAL")
    assert [names.spectrum(row) for row in range(3)] == [
        "NGC863_1_0.txt",
        "NGC863_0_1.txt",
        "NGC863_1_1.txt",
    ]
    assert (names.output(0), names.grid) == ("NGC863_1_0.C11.gm.CAL.BN", "NGC863")
    names = row_names("NGC863", bins(bin_id, is_region=np.ones(3, bool)), "regions", "CCM")
    assert (names.spectrum(1), names.grid) == ("NGC863_reg_2.txt", "NGC863_reg")


@given(st.text(max_size=80))
def test_names_are_short_and_have_no_blanks(text):
    assert plain(text).isascii()
    assert plain(text).split() == [plain(text)]
    assert len(plain(text)) <= 40
