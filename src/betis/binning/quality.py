"""What every binning shares: which spaxels count, and what a bin reaches."""

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32, Index
from betis.errors import InputError
from betis.flags import Flag
from betis.options import BinningOptions
from betis.products import BinMap, NoiseCorrelation

LARGE_BIN = 10
"""Spaxels from which a bin tells how the noise of neighbours is correlated."""

_FEWEST = 3


def usable_spaxels(signal: Float[F64, "y x"], noise: Float[F64, "y x"]) -> Bool[B8, "y x"]:
    """Tell which spaxels have a finite signal and a positive, finite noise.

    Raises
    ------
    InputError
        Where the maps are not 2-D and of one shape, or no spaxel is usable.
    """
    if signal.ndim != 2 or signal.shape != noise.shape:
        raise InputError(
            f"signal and noise have shapes {signal.shape} and {noise.shape}, where two maps "
            "(y, x) of one shape were expected"
        )
    valid = np.isfinite(signal) & np.isfinite(noise) & (noise > 0)
    if not valid.any():
        raise InputError(
            "no spaxel has a finite signal and a positive noise, so there is nothing to bin; "
            "check the S/N maps"
        )
    return np.asarray(valid)


def noise_model(options: BinningOptions) -> NoiseCorrelation:
    """Return the model of the noise correlation that the options name.

    Raises
    ------
    ConfigError
        Where they name none, or one that has to be measured on a cube first.
    """
    return NoiseCorrelation.of(options.correlation, options.correlation_cap)


def bin_map(
    bin_id: Int[I32, "y x"],
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: BinningOptions,
) -> BinMap:
    """Return the bins with the S/N of exactly the spaxels that are in them.

    Those below the target have `Flag.LOW_SNR`.
    """
    model = noise_model(options)
    inside = bin_id >= 0
    row = bin_id[inside]
    n_spaxel = np.bincount(row).astype(np.int32)
    growth = model.growth(bin_id, noise)
    snr = np.bincount(row, signal[inside]) / (
        np.sqrt(np.bincount(row, noise[inside] ** 2)) * growth
    )
    return BinMap(
        bin_id=bin_id,
        n_spaxel=n_spaxel,
        snr=snr,
        flags=np.where(snr >= options.target, 0, Flag.LOW_SNR).astype(np.int32),
        target=options.target,
        correlation=model.alpha_of(n_spaxel, growth),
        growth=growth,
        noise_model=model.text,
        margin=options.margin,
    )


def numbered(label: Int[Index, " spaxel"]) -> Int[Index, " spaxel"]:
    """Return the labels numbered 0, 1 and so on in the order in which they first appear."""
    _, start, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(start.size, dtype=np.intp)
    rank[np.argsort(start)] = np.arange(start.size)
    return np.asarray(rank[inverse])


def correlation_of_residuals(bins: BinMap, scatter: Float[F64, " bin"]) -> float:
    """Return the alpha of the noise law that brings the residuals of large bins to their errors.

    The median over bins of `LARGE_BIN` and more spaxels of ``(eta - 1) / log10(n)``, where eta is
    the scatter times the growth that the errors contain already. What the model cannot describe
    counts as noise. NaN where fewer than 3 such bins were fitted.

    Parameters
    ----------
    bins
    scatter : [bin]
        Of the residuals in units of their errors: the square root of the reduced chi-square.
    """
    large = (bins.n_spaxel >= LARGE_BIN) & np.isfinite(scatter)
    if large.sum() < _FEWEST:
        return float("nan")
    count = bins.n_spaxel[large]
    eta = scatter[large] * bins.growth[large]
    return float(np.median((eta - 1) / np.log10(count)))
