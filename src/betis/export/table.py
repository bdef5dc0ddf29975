"""The table of lines as text or Parquet, for TOPCAT, pandas and others."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from betis.errors import ConfigError
from betis.io.fits import open_fits, write_atomically
from betis.products import BinMap

__all__ = ["write_line_table"]

_FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".parquet": "parquet"}


def write_line_table(path: Path, lines: Path, bins: BinMap) -> None:
    """Write the table LINES of ``lines.fits``, with the place of each bin, units and all.

    Parameters
    ----------
    path
        ``.ecsv`` (text that says its units), ``.csv`` or, where pyarrow is installed,
        ``.parquet``.
    lines
        ``lines.fits``.
    bins
        Where the bins are: mean x and y of their spaxels, pixels from 0, and how many.

    Raises
    ------
    ConfigError
        Where the end of the name says no such format, or its package is missing.
    InputError, RunFolderError
        Where the fits cannot be read, or the table not be written.
    """
    if path.suffix not in _FORMATS:
        raise ConfigError(
            f"{path} does not say what to write; end its name in one of {', '.join(_FORMATS)}"
        )
    from astropy.table import Table

    with open_fits(lines) as hdus:
        table = Table.read(hdus["LINES"])
    y, x = bins.centers
    row = np.asarray(table["bin_id"])
    table.add_columns([x[row], y[row], bins.n_spaxel[row]], [1, 1, 1], ["x", "y", "n_spaxel"])
    try:
        write_atomically(path, lambda part: table.write(part, format=_FORMATS[path.suffix]))
    except ImportError as error:
        raise ConfigError(
            f"{path.suffix} needs another package: {error}; install it, or write .ecsv"
        ) from error
