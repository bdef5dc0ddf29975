"""Copies of one spectrum in a bin have its S/N, however many they are."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tests.cubes import WAVE, cube

from betis.bin_stage import _with_copies
from betis.binning.labels import labels
from betis.flags import Flag
from betis.options import BinningOptions
from betis.products import SnrMap
from betis.stacking import stack


def field(copies, correlation=0.0):
    """A bin a row, of which each column holds the spectrum that ``copies`` says; S/N 8 each."""
    flux = np.full((WAVE.size, *copies.shape), 8.0)
    observed = replace(cube(flux, np.ones_like(flux)), copies=copies)
    signal, noise = np.full(copies.shape, 8.0), np.ones(copies.shape)
    snr = SnrMap(signal=signal, noise=noise, line="", method="matched", continuum=signal)
    options = BinningOptions(target=10.0, correlation=correlation)
    drawn = np.repeat(np.arange(len(copies)) + 1, copies.shape[1]).reshape(copies.shape)
    bins = labels(drawn, signal, noise, options)
    run = SimpleNamespace(obtain=lambda _: observed)
    return observed, _with_copies(run, bins, snr, options)[0]


def test_only_spectra_of_their_own_beat_the_noise_down():
    copies = np.array([[0, 0, 0, 0], [1, 1, 2, 2], [-1, -1, -1, -1]], dtype=np.int32)
    _, bins = field(copies)
    np.testing.assert_allclose(bins.snr, 8.0 * np.sqrt([1, 2, 4]))
    np.testing.assert_array_equal(bins.flags, [Flag.LOW_SNR, 0, 0])


@pytest.mark.parametrize("correlation", [0.0, 0.5, "gaussian:0.8"])
def test_the_prediction_is_the_error_of_the_stacked_spectrum(correlation):
    copies = np.array([[0, 0, 0, 0], [1, 1, 2, 2], [-1, -1, 3, 3]], dtype=np.int32)
    observed, bins = field(copies, correlation)
    spectra = stack(observed, bins)
    np.testing.assert_allclose(bins.snr, spectra.flux[:, 9] / spectra.error[:, 9])
