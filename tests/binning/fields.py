"""Fields to bin, and what their bins should say of themselves."""

import numpy as np
from scipy.ndimage import label


def field(seed, shape=(37, 53), holes=0.05, peak=30.0):
    """A round galaxy off the middle, in noise that varies, with holes."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    bright = peak * np.exp(-np.hypot(y - shape[0] / 2, x - shape[1] / 3) / 6)
    noise = rng.uniform(0.5, 2.0, shape)
    signal = bright + noise * rng.normal(size=shape)
    signal[rng.uniform(size=shape) < holes] = np.nan
    return signal, noise


def disc(size, peak, seed=0):
    """An inclined exponential disc in noise 1, with nothing outside the field; and its truth."""
    y, x = np.indices((size, size))
    radius = np.hypot((y - size / 2) / 0.7, x - size / 2)
    truth = np.where(radius > 0.6 * size, np.nan, peak * np.exp(-radius / (0.12 * size)))
    noise = np.ones_like(truth)
    return truth + np.random.default_rng(seed).normal(size=truth.shape), noise, truth


def own_snr(bins, signal, noise, correlation=0.0):
    """S/N of each bin recomputed spaxel by spaxel."""
    result = []
    for bin_id in range(bins.n_bin):
        inside = bins.bin_id == bin_id
        growth = 1 + correlation * np.log10(inside.sum())
        result.append(signal[inside].sum() / np.sqrt((noise[inside] ** 2).sum()) / growth)
    return np.array(result)


def pieces(bins):
    """In how many pieces each bin is."""
    return [label(bins.bin_id == number)[1] for number in range(bins.n_bin)]
