"""A source of one spaxel in the dark is not lost for want of a margin; a peak of noise is none."""

import numpy as np
import pytest

from betis.binning.quadtree import quadtree
from betis.options import BinningOptions


@pytest.mark.parametrize("bright", [10.1, 10.5, 11.0, 40.0])
@pytest.mark.parametrize("place", [(0, 0), (20, 21), (39, 39)])
def test_a_spaxel_at_the_target_stays_a_bin_of_one(bright, place):
    signal = np.random.default_rng(0).normal(size=(40, 40))
    signal[place] = bright
    bins = quadtree(signal, np.ones_like(signal), BinningOptions(target=10.0))
    assert bins.n_spaxel[bins.flags == 0].tolist() == [1]
    assert bins.flags[bins.bin_id[place]] == 0


def test_a_peak_of_noise_is_no_bin_at_a_low_target():
    signal = np.random.default_rng(0).normal(size=(128, 128))
    signal[60, 70] = 5.1
    bins = quadtree(signal, np.ones_like(signal), BinningOptions(target=5.0))
    assert np.all(bins.flags != 0)
