"""The residuals of large bins tell how correlated the noise is."""

import numpy as np
import pytest

from betis.binning.quality import correlation_of_residuals
from betis.products import BinMap, noise_growth

COUNT = np.array([1, 1, 4, 12, 20, 40, 64, 100], dtype=np.int32)


def bins(correlation):
    flags = np.zeros(COUNT.size, np.int32)
    one = np.zeros((1, 1), np.int32)
    return BinMap(
        bin_id=one, n_spaxel=COUNT, snr=10.0 + flags, flags=flags, correlation=correlation
    )


@pytest.mark.parametrize("true", [0.0, 0.3, 1.07])
@pytest.mark.parametrize("assumed", [0.0, 0.3])
def test_the_law_behind_the_scatter_is_found(true, assumed):
    eta = noise_growth(COUNT, true) / noise_growth(COUNT, assumed)
    assert correlation_of_residuals(bins(assumed), eta) == pytest.approx(true, abs=1e-12)


def test_without_large_bins_it_is_not_known():
    few = np.where(COUNT > 20, np.nan, 1.0)
    assert np.isnan(correlation_of_residuals(bins(0.0), few))
