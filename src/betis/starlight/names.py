"""What the files of each spectrum are called: as the BETIS scripts call them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from betis.arrays import I32
from betis.products import BinMap

__all__ = ["Names", "plain", "row_names"]

_LONGEST_GALAXY = 16
_LONGEST = 40
"""Characters of a name that STARLIGHT repeats in its outputs."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of files.

    Attributes
    ----------
    stem
        Of each row: G_bin_1, G_reg_1, or G_30_41 (y and x of the spaxel, from 0).
    suffix
        Of outputs.
    grid
        Of the grid files, without number and suffix.
    """

    stem: tuple[str, ...]
    suffix: str
    grid: str

    def spectrum(self, row: int) -> str:
        """Return the name of the spectrum of a row."""
        return f"{self.stem[row]}.txt"

    def output(self, row: int) -> str:
        """Return the name of the output of a row."""
        return f"{self.stem[row]}{self.suffix}"


def row_names(galaxy: str, bins: BinMap, method: str, law: str) -> Names:
    """Return the names of the rows of a run.

    Parameters
    ----------
    galaxy
        What to call it; cut, and freed of what STARLIGHT cannot read.
    bins
        The bins that the rows are of. Rows count from 0, and the labels of bins and regions in the
        names from 1.
    method
        That of the binning: "spaxel", "regions" or another.
    law
        Dust law, which names of spaxels' outputs tell.
    """
    name = plain(galaxy)[:_LONGEST_GALAXY]
    if method == "spaxel":
        y, x = _places(bins.bin_id)
        stem = tuple(f"{name}_{i}_{j}" for i, j in zip(y, x, strict=True))
        return Names(stem=stem, suffix=f".C11.gm.{law}.BN", grid=name)
    kind = "reg" if method == "regions" or bins.is_region is not None else "bin"
    stem = tuple(f"{name}_{kind}_{row + 1}" for row in range(bins.n_bin))
    target = "" if kind == "reg" or np.isnan(bins.target) else f"{bins.target:g}"
    return Names(stem=stem, suffix=".BN", grid=f"{name}_{kind}{target}")


def plain(name: str) -> str:
    """Return a name without blanks and signs, short enough for STARLIGHT to repeat it whole."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", name)[:_LONGEST] or "galaxy"


def _places(bin_id: I32) -> tuple[list[int], list[int]]:
    """Return y and x of the spaxel of each row, in the order of rows."""
    y, x = np.nonzero(bin_id >= 0)
    order = np.argsort(bin_id[y, x], kind="stable")
    return y[order].tolist(), x[order].tolist()
