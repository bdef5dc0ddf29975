"""What a report is made from."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, Index
from betis.derived import Derived
from betis.errors import InputError
from betis.linelist import LineSet
from betis.products import BinMap, ContinuumRows, LineFit, Sky, SnrMap, SpectraRows

LineModel = Callable[[Int[Index, " row"]], Float[F64, "row wave"]]
"""Given row numbers, what the line fit adds to the continuum on the pixels of those spectra."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """Everything that a report shows; the rows of spectra, continuum and lines are the bins.

    Attributes
    ----------
    title
        Object or file.
    facts
        What went in, in the order to be shown: file, instrument, size, redshift, A_V, unit.
    settings
        Options of the run, in the order to be shown.
    cube_image : [y, x]
        Flux density of the continuum of each spaxel (the mean over wavelength, or beside a line),
        the cube's scale; NaN outside the field.
    snr, bins, spectra, continuum, lines, derived, line_set, sky
        The products of the run. `spectra` are those that the continuum was fitted to; of them and
        of the continuum's models only some rows are ever taken into memory.
    model_lines
        ``rows -> [row, wave]``: lines and their local background, in the scale of the spectra.
        It is only asked for the few spectra that are drawn; NaN counts as 0.
    timings : s
        Wall-clock time of each stage.
    warnings
        What the run warned of, a sentence each.
    recovery
        Rows of a table that compares results with a known truth, its header first; may be empty.

    Raises
    ------
    InputError
        Where the bins, spectra and fits do not have the same number of rows, or the images do not
        have the field's shape.
    """

    title: str
    facts: dict[str, str]
    settings: dict[str, str]
    cube_image: Float[F64, "y x"]
    snr: SnrMap
    bins: BinMap
    spectra: SpectraRows
    continuum: ContinuumRows
    lines: LineFit
    derived: Derived
    line_set: LineSet
    sky: Sky
    model_lines: LineModel
    timings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    recovery: tuple[tuple[str, ...], ...] = ()
    _reaching: dict[float, Bool[B8, "bin line"]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Check that the products belong together."""
        rows = {
            "bins": self.bins.n_bin,
            "spectra": self.spectra.n_spectrum,
            "continuum fits": self.continuum.table.flags.size,
            "line fits": self.lines.n_spectrum,
        }
        if len(set(rows.values())) != 1:
            found = ", ".join(f"{count} {name}" for name, count in rows.items())
            raise InputError(
                f"the report was given {found}, where their numbers must be the same; "
                "give it the products of one run"
            )
        shapes = {np.shape(self.cube_image), self.snr.signal.shape, self.bins.bin_id.shape}
        if shapes != {tuple(self.sky.shape)}:
            raise InputError(
                f"the report was given images of the shapes {sorted(shapes)}, where the field has "
                f"{tuple(self.sky.shape)}; give it the products of one run"
            )

    def reaches(self, snr: float) -> Bool[B8, "bin line"]:
        """Tell which lines have this S/N, of either sign for those in absorption.

        Remembered, since many figures ask for it.
        """
        if snr not in self._reaching:
            absorbed = {line.name for line in self.line_set.lines if line.absorption}
            either = np.array([name in absorbed for name in self.lines.names], dtype=bool)
            found = self.lines.snr >= snr
            found[:, either] |= self.lines.snr[:, either] <= -snr
            self._reaching[snr] = found
        return self._reaching[snr]

    def label(self, name: str) -> str:
        """Return what figures call a line, or each line of a sum or a list of several.

        Names that the line set does not hold stay as they are.
        """
        known = {line.name: line.label for line in self.line_set.lines}
        return re.sub(r"\w+", lambda word: known.get(word[0], word[0]), name).replace(",", ", ")
