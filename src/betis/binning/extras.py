"""Cappellari's binnings, where they are installed: PowerBin and VorBin.

Both may be used for non-commercial purposes only, so they are extras that no other part of betis
needs. Their bins are cut where they are in several pieces, and measured as those of any binning:
PowerBin brings bins to the S/N asked for on average, so that many fall short and are flagged.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, Index
from betis.binning.field import Field, make_field
from betis.binning.leftover import finished
from betis.binning.quality import numbered, usable_spaxels
from betis.binning.settle import connected
from betis.errors import ConfigError, InputError
from betis.options import BinningOptions
from betis.products import BinMap

_Method = Callable[[ModuleType, Field], Int[Index, " spaxel"]]


def powerbin(
    signal: Float[F64, "y x"], noise: Float[F64, "y x"], options: BinningOptions
) -> BinMap:
    """Bin a field with PowerBin to the target and the margin over it.

    Parameters
    ----------
    signal, noise : [y, x]
        Additive signal and its 1-sigma noise; spaxels that are NaN, or whose noise is not
        positive, are in no bin.
    options
        Target, margin, correlation of the noise, what becomes of bins below.

    Returns
    -------
    Bins numbered from the upper left; connected; each with the S/N of exactly its own spaxels.

    Raises
    ------
    ConfigError
        Where the package is not installed.
    InputError
        Where shapes differ, no spaxel is usable, or the package cannot bin the field.

    References
    ----------
    Cappellari 2025, MNRAS 544, 1432.
    """
    return _binned("powerbin", "powerbin", _power_bins, (signal, noise), options)


def vorbin(signal: Float[F64, "y x"], noise: Float[F64, "y x"], options: BinningOptions) -> BinMap:
    """Bin a field with VorBin to the target and the margin over it; see `powerbin`.

    References
    ----------
    Cappellari & Copin 2003, MNRAS 342, 345; Diehl & Statler 2006, MNRAS 368, 497 (its last step).
    """
    module = "vorbin.voronoi_2d_binning"
    return _binned("vorbin", module, _voronoi_bins, (signal, noise), options)


def _binned(
    package: str, module: str, method: _Method, maps: tuple[F64, F64], options: BinningOptions
) -> BinMap:
    valid = usable_spaxels(*maps)
    tool = _imported(package, module)
    bin_id = np.full(valid.shape, -1, dtype=np.int32)
    bin_id[valid] = _labelled(package, lambda field: method(tool, field), valid, maps, options)
    # What the package has made is left as it is: the margin was in what it was asked for.
    return finished(bin_id, *maps, replace(options, margin=0.0))


def _imported(package: str, module: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            # VorBin announces its successor when it is imported.
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"the binning {package!r} was asked for and its package is not installed; install it "
            f"with pip install 'betis[{package}]' (for non-commercial use), or choose voronoi"
        ) from error


def _labelled(
    package: str,
    method: Callable[[Field], Int[Index, " spaxel"]],
    valid: Bool[B8, "y x"],
    maps: tuple[F64, F64],
    options: BinningOptions,
) -> Int[Index, " spaxel"]:
    field = make_field(valid, *maps, options)
    try:
        label = method(field)
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{package} cannot bin this field to S/N {field.target:g}: {error}; lower the target, "
            "or choose voronoi"
        ) from error
    return numbered(connected(field, np.unique(label, return_inverse=True)[1].reshape(-1)))


def _snr_of(field: Field) -> Callable[[Index], float]:
    """Return a function that gives the S/N of some spaxels together."""
    growth = field.noise_model.of_count(np.arange(field.flux.size + 1))

    def snr(rows: Index) -> float:
        noise = np.sqrt(field.variance[rows].sum()) * growth[np.size(rows)]
        return float(field.flux[rows].sum() / noise)

    return snr


def _power_bins(tool: ModuleType, field: Field) -> Int[Index, " spaxel"]:
    snr = _snr_of(field)
    bins = tool.PowerBin(
        np.column_stack([field.x, field.y]),
        lambda rows: max(snr(rows), 0.0) ** 2,
        field.target**2,
        pixelsize=1.0,
        verbose=0,
    )
    return np.asarray(bins.bin_num, dtype=np.intp)


def _voronoi_bins(tool: ModuleType, field: Field) -> Int[Index, " spaxel"]:
    snr = _snr_of(field)

    def snr_of(rows: Index, *_: F64) -> float:
        return snr(rows)

    values = field.x, field.y, field.flux, np.sqrt(field.variance), field.target
    with warnings.catch_warnings():
        # VorBin announces its successor whenever it is called.
        warnings.simplefilter("ignore", UserWarning)
        result = tool.voronoi_2d_binning(
            *values, pixelsize=1.0, plot=False, quiet=True, sn_func=snr_of
        )
    return np.asarray(result[0], dtype=np.intp)
