"""A run as it lies in its folder: its products are read, never made, and the folder stays as it is.

For what looks at results after the fact. A stage that is missing is an error that names the
command which makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64, Index
from betis.compute import blocks
from betis.config import options_from, read_tables
from betis.errors import RunFolderError
from betis.io.products import read_bins, read_noise
from betis.io.row_products import read_continuum, read_lines, read_spectra
from betis.io.run_folder import CONFIG
from betis.linelist import LineSet, load_line_set
from betis.lines.limits import line_limits
from betis.lines.model import line_model
from betis.options import Options
from betis.products import BinMap, ContinuumFit, ContinuumRows, LineFit, Spectra, SpectraRows
from betis.report.bin_view import BinView

__all__ = ["FinishedRun", "open_finished", "options_of"]

_STAGE = {
    "bins.fits": "bin",
    "spectra.fits": "stack",
    "continuum.fits": "continuum",
    "lines.fits": "lines",
}
_READ: dict[str, Callable[[Path], Any]] = {
    "bins.fits": read_bins,
    "spectra.fits": read_spectra,
    "continuum.fits": read_continuum,
    "lines.fits": read_lines,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedRun:
    """The products of a run, a row a bin.

    Attributes
    ----------
    path
        Of the run folder.
    options, line_set
        Of its ``config.toml``.
    bins, spectra
        Where the bins are, and their spectra.
    continuum
        None where no engine took the stars away.
    lines
        None where the run has none.
    """

    path: Path
    options: Options
    line_set: LineSet
    bins: BinMap
    spectra: SpectraRows
    continuum: ContinuumRows | None
    lines: LineFit | None

    @property
    def line_fit(self) -> LineFit:
        """The line fits.

        Raises
        ------
        RunFolderError
            Where the run has none.
        """
        if self.lines is None:
            raise _missing(self.path, "lines.fits")
        return self.lines

    @property
    def title(self) -> str:
        """The name of the run: that of its folder."""
        return self.path.resolve().name

    def nebular(self, rows: slice | Index) -> tuple[Spectra, ContinuumFit | None]:
        """Return some spectra without stars, and the stars; None where no engine ran."""
        spectra = self.spectra.take(rows)
        if self.continuum is None:
            return spectra, None
        stars = self.continuum.take(rows)
        return spectra.subtract(stars), stars

    def gas(self, *, lines: bool = True) -> Iterator[Spectra]:
        """Yield the spectra without stars, some rows at a time; without the fitted lines if asked.

        Raises
        ------
        RunFolderError
            Where the lines are to be taken away, and the run has no line fits.
        """
        for rows in blocks(self.spectra.n_spectrum):
            part = self.nebular(rows)[0]
            if not lines:
                fitted = line_model(self.line_fit.take(rows), part, background=False)
                part = part.subtract(fitted)
            yield part

    def noise_correlation(self) -> float:
        """Return the correlation of the noise of neighbouring wavelengths; 0 where not measured."""
        file = self.path / "noise.fits"
        measured = read_noise(file).correlation if file.is_file() else 0.0
        return float(np.nan_to_num(measured))

    def view(self, row: int) -> BinView:
        """Return all that is known of a bin, each line of its model apart.

        Raises
        ------
        RunFolderError
            Where the run has no line fits.
        """
        only = slice(row, row + 1)
        gas, stars = self.nebular(only)
        fit = self.line_fit.take(only)
        window, place, label, absorbed = zip(*map(self._facts, fit.names), strict=True)
        return BinView(
            title=self.title,
            row=row,
            bins=self.bins,
            spectrum=self.spectra.take(only),
            stars=stars,
            lines=fit,
            profiles=_profiles(fit, gas),
            places=np.array(place, dtype=float),
            window=np.array(window, dtype=float),
            labels=label,
            absorbed=np.array(absorbed, dtype=bool),
        )

    def _facts(self, name: str) -> tuple[float, float, str, bool]:
        """Return window, place (Angstrom), label and kind of a line, or of one of its components.

        A further component is called after its line, ``Ha6563_2``, where the set itself does not
        hold it.
        """
        known = {line.name: i for i, line in enumerate(self.line_set.lines)}
        base, _, number = (name, "", "") if name in known else name.rpartition("_")
        if base not in known:
            raise RunFolderError(
                f"lines.fits of {self.path} holds the line {name}, which is not in the line set "
                f"{self.line_set.name!r} of its config.toml; run `betis lines {self.path}` again"
            )
        i = known[base]
        window = line_limits(self.line_set, self.options.lines).window[i]
        place = self.line_set.waves(self.spectra.medium, self.spectra.redshift)[i]
        line = self.line_set.lines[i]
        label = f"{line.label} ({number})" if number else line.label
        return float(window), float(place), label, line.absorption


def open_finished(path: str | Path) -> FinishedRun:
    """Read the products of a run, as they are.

    Raises
    ------
    RunFolderError
        Where the folder is missing or holds no run, a stage before that of the lines was not run,
        or products are of different runs.
    InputError
        Where a file is damaged.
    """
    folder = Path(path)
    options = options_of(folder)
    left_out = {"continuum.fits"} if options.continuum.engine == "none" else set()
    if not (folder / "lines.fits").is_file():
        left_out.add("lines.fits")
    found = {name: _product(folder, name) for name in _STAGE if name not in left_out}
    _require_one_run(folder, found)
    return FinishedRun(
        path=folder,
        options=options,
        line_set=load_line_set(options.lines.line_set),
        bins=found["bins.fits"],
        spectra=found["spectra.fits"],
        continuum=found.get("continuum.fits"),
        lines=found.get("lines.fits"),
    )


def options_of(folder: Path) -> Options:
    """Return the options that a run was made with.

    Raises
    ------
    RunFolderError
        Where the folder is missing or holds no run.
    """
    if not folder.is_dir():
        raise RunFolderError(f"there is no run folder {folder}; check the path")
    if not (folder / CONFIG).is_file():
        raise RunFolderError(
            f"{folder} holds no run (it has no {CONFIG}); give the folder that `betis run` made"
        )
    tables = read_tables(folder / CONFIG)
    return options_from({name: table for name, table in tables.items() if name != "input"})


def _product(folder: Path, name: str) -> Any:
    if not (folder / name).is_file():
        raise _missing(folder, name)
    return _READ[name](folder / name)


def _missing(folder: Path, name: str) -> RunFolderError:
    return RunFolderError(
        f"{folder} has no {name}, which this needs; make it with `betis {_STAGE[name]} {folder}`"
    )


def _require_one_run(folder: Path, found: dict[str, Any]) -> None:
    """Check that the products have as many rows: a stage may have been run again without others."""
    rows = {name: _n_row(name, product) for name, product in found.items()}
    if len(set(rows.values())) != 1:
        said = ", ".join(f"{count} rows in {name}" for name, count in rows.items())
        raise RunFolderError(
            f"{folder} has {said}, where their numbers must be the same; `betis lines {folder}` "
            "makes again what is out of date"
        )


def _n_row(name: str, product: Any) -> int:
    if name == "bins.fits":
        return int(product.n_bin)
    if name == "spectra.fits":
        return int(product.n_spectrum)
    return len(product.table.flags if name == "continuum.fits" else product.flux)


def _profiles(fit: LineFit, gas: Spectra) -> Float[F64, "line wave"]:
    """Return each line of one row by itself: a row a line, with the fluxes of the others out."""
    n_line = len(fit.names)
    every = np.zeros(n_line, dtype=np.intp)
    apart = replace(fit.take(every), flux=np.where(np.eye(n_line, dtype=bool), fit.flux, np.nan))
    return line_model(apart, gas.take(every), background=False)
