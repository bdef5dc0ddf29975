"""The folder that STARLIGHT works in: inputs, grid files, outputs; all names relative to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from betis.arrays import F64, Index
from betis.io.starlight.files import make_folder, write_text_plainly
from betis.io.starlight.grid import Fit, Grid, grid_text
from betis.io.starlight.spectrum import spectrum_text
from betis.starlight.axis import Rows
from betis.starlight.names import Names
from betis.starlight.setup import Setup

__all__ = ["START_SIGMA", "Workspace"]

_BASE, _SPECTRA = "base", "spectra"
_SEED = -2007200
START_SIGMA = 150.0
"""km/s at which a fit starts, as in the grids of the BETIS scripts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Workspace:
    """A folder with everything for some fits.

    Attributes
    ----------
    folder
        Which STARLIGHT is started in.
    setup, names
    velocity, sigma : km/s [spectrum]
        Where each fit starts, or what it holds.
    """

    folder: Path
    setup: Setup
    names: Names
    velocity: Float[F64, " spectrum"]
    sigma: Float[F64, " spectrum"]

    @property
    def output_dir(self) -> str:
        """The folder of outputs: another one wherever anything that all fits share is another."""
        return f"out-{self.setup.digest}"

    def output(self, row: int) -> Path:
        """Return where the output of a row lies, once it is made."""
        return self.folder / self.output_dir / self.names.output(row)

    def spectrum(self, row: int) -> Path:
        """Return where the spectrum of a row lies."""
        return self.folder / _SPECTRA / self.names.spectrum(row)

    def write_common(self) -> None:
        """Write what all fits share.

        Raises
        ------
        RunFolderError
            Where the folder cannot be written.
        """
        for name in (_BASE, _SPECTRA, self.output_dir):
            make_folder(self.folder / name)
        write_text_plainly(self.folder / self.setup.config_name, self.setup.config_text)
        write_text_plainly(self.folder / self.setup.mask_name, self.setup.mask_text)
        self.setup.base.write(self.folder / _BASE, self.folder)

    def write_spectrum(self, row: int, rows: Rows, index: int) -> None:
        """Write the spectrum of a row, which is the ``index``-th of some."""
        text = spectrum_text(
            rows.wave,
            rows.flux[index],
            rows.error[index],
            rows.flag[index],
            has_header=self.setup.config.has_header,
        )
        write_text_plainly(self.spectrum(row), text)

    def grid(self, rows: Sequence[int] | Index, output_dir: str) -> str:
        """Return the grid file of some rows.

        STARLIGHT takes the seed of the n-th fit to be n less than that of the file, so that a row
        has its seed in whichever file of consecutive rows it stands.
        """
        setup = self.setup
        first = int(rows[0]) if len(rows) else 0
        return grid_text(
            Grid(
                base_dir=f"./{_BASE}/",
                spectrum_dir=f"./{_SPECTRA}/",
                mask_dir="./",
                output_dir=f"./{output_dir}/",
                seed=_SEED - first,
                snr_window=setup.config.norm_window,
                fit_range=setup.fitted,
                step=setup.step,
                kinematics=setup.kinematics,
                fits=tuple(self._fit(int(row)) for row in rows),
            )
        )

    def write_grids(self, rows: Index, processes: int) -> list[Path]:
        """Write as many grid files as processes, of about equal length, and return them.

        Those of an earlier run are removed: what they list may be done.
        """
        ours = re.compile(re.escape(self.names.grid) + r"(_\d+)?\.in")
        for old in self.folder.glob("*.in"):
            if ours.fullmatch(old.name):
                old.unlink(missing_ok=True)
        parts = [part for part in np.array_split(rows, max(1, processes)) if part.size]
        paths = [self.folder / self._grid_name(number, len(parts)) for number in range(len(parts))]
        for path, part in zip(paths, parts, strict=True):
            write_text_plainly(path, self.grid(part, self.output_dir))
        return paths

    def _grid_name(self, number: int, count: int) -> str:
        return f"{self.names.grid}.in" if count == 1 else f"{self.names.grid}_{number + 1}.in"

    def _fit(self, row: int) -> Fit:
        return Fit(
            spectrum=self.names.spectrum(row),
            config=self.setup.config_name,
            base=self.setup.base.name,
            mask=self.setup.mask_name,
            law=self.setup.law,
            velocity=round(float(self.velocity[row]), 2),
            sigma=round(float(self.sigma[row]), 2),
            output=self.names.output(row),
        )
