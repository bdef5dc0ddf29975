"""Whether flux and error can be what they are taken for, from a few planes of the cube."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from betis.arrays import F64
from betis.errors import InputError
from betis.io.contradictions import KINDS
from betis.io.cube_source import FileSource

N_PLANE = 5
"""Planes that are looked at, spread evenly over the wavelengths."""

_MAX_VOXEL = 200_000
"""Voxels of a plane that are looked at."""

NEGATIVE = 0.01
"""Share of negative values above which an extension is no error; some pipelines make a few."""

_FEWEST_VALUES = 4
"""Fewer different negative values are marks of voxels without an error."""

RANGE = (1e-2, 1e6)
"""Flux over error of the typical voxel: noise alone gives 0.7, no spectrograph reaches 1e6."""

POWERS = (20.0, 1e6)
"""Resolving powers between which every spectrograph of this kind lies, by far."""

_ENOUGH = 20


def require_plausible(path: Path, source: FileSource) -> None:
    """Check a sample of the voxels: no error is negative, or far from all that is measured.

    What is checked is what gives a wrong map without a word: extensions that are swapped, and an
    error of another kind or unit where numbers are far from 1. An error that is wrong by less is
    for `betis.noise` to find.

    Raises
    ------
    InputError
        Where they cannot be what they are taken for, or the file ends early.
    """
    n_wave, n_y, n_x = source.flux.shape
    planes = np.unique(((np.arange(N_PLANE) + 0.5) * n_wave / N_PLANE).astype(int)).tolist()
    n_row = max(1, min(n_y, _MAX_VOXEL // n_x))
    rows = slice((n_y - n_row) // 2, (n_y - n_row) // 2 + n_row)
    stated = np.stack([source.error.read(rows, slice(at, at + 1)) for at in planes])
    _require_error(path, source, stated)
    blocks = [source.read(rows, slice(at, at + 1)) for at in planes]
    good = np.stack([~block.mask & (block.flux != 0) for block in blocks])
    if np.count_nonzero(good) < _ENOUGH:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.stack([np.abs(block.flux) / np.sqrt(block.variance) for block in blocks])
    _require_snr(path, source, float(np.median(snr[good])))


def require_resolution(path: Path, wave: F64, fwhm: F64) -> None:
    """Check that the line-spread function is that of a spectrograph.

    Raises
    ------
    InputError
        Where its FWHM (Angstrom) is none at some wavelength.
    """
    low, high = POWERS
    with np.errstate(divide="ignore", invalid="ignore"):
        power = wave / fwhm
    wrong = ~((low < power) & (power < high))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"{path}: the line-spread function has a FWHM of {fwhm[at]:.3g} A at {wave[at]:.6g} "
            f"A, where a resolving power from {low:g} to {high:g} was expected; mend it, or "
            "describe the cube in the table [cube] of a TOML file"
        )


def _require_error(path: Path, source: FileSource, stated: F64) -> None:
    values = stated[np.isfinite(stated)]
    negative = values[values < 0]
    if negative.size <= NEGATIVE * values.size or np.unique(negative).size < _FEWEST_VALUES:
        return
    raise InputError(
        f"{path}: the extension {source.error.name} has negative values in "
        f"{100 * negative.size / values.size:.2g} % of its voxels, where a "
        f"{KINDS[source.error_kind]} has none; check that the extensions of the flux and of its "
        "error are not swapped"
    )


def _require_snr(path: Path, source: FileSource, typical: float) -> None:
    low, high = RANGE
    if not low < typical < high:
        raise InputError(
            f"{path}: the flux is typically {typical:.2g} times its error, where 0.1 to 1000 is "
            f"usual; check that the extension {source.error.name} holds a "
            f"{KINDS[source.error_kind]}, and in the unit of the flux"
        )
