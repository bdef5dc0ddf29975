"""The run that is looked at, as far as it has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from betis.derived import Derived
from betis.errors import RunFolderError
from betis.finished import FinishedRun, options_of
from betis.io.derived import read_derived
from betis.io.products import read_bins, read_snr
from betis.io.row_products import read_continuum, read_lines, read_spectra
from betis.linelist import load_line_set
from betis.products import BinMap, LineFit, SnrMap
from betis.report.bin_view import BinView

__all__ = ["OpenedRun", "open_run"]

T = TypeVar("T")
_FILES = ("snr.fits", "bins.fits", "spectra.fits", "continuum.fits", "lines.fits", "derived.fits")
_STAGE = {name: name.removesuffix(".fits") for name in _FILES} | {
    "bins.fits": "bin",
    "spectra.fits": "stack",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedRun:
    """What there is of a run; its spectra stay in their files until one is asked for.

    Attributes
    ----------
    path
        Of the run folder.
    bins
        Which bin each spaxel is in.
    snr, derived
        None where they were not made.
    rows
        Spectra, stars and lines, a row a bin; None where not even the spectra were made.
    missing
        A sentence on each product that is not there, with the command that makes it.
    stamp
        What changes when a product is written.
    """

    path: Path
    bins: BinMap
    snr: SnrMap | None
    derived: Derived | None
    rows: FinishedRun | None
    missing: tuple[str, ...]
    stamp: tuple[int, ...]

    @property
    def title(self) -> str:
        """The name of the run: that of its folder."""
        return self.path.resolve().name

    @property
    def lines(self) -> LineFit | None:
        """The line fits, if any."""
        return None if self.rows is None else self.rows.lines

    @property
    def changed(self) -> bool:
        """True where products were written since the run was opened."""
        return stamp_of(self.path) != self.stamp

    def view(self, row: int) -> BinView:
        """Return all that is known of a bin; a fit of no lines where the run has none.

        Raises
        ------
        RunFolderError
            Where there are no spectra, or they are no longer those that were opened.
        """
        if self.rows is None:
            raise RunFolderError(f"{self.path} has no spectra yet; `betis stack` makes them")
        if self.changed:
            raise RunFolderError(f"{self.path} has changed since it was opened; reload the page")
        return self.rows.view(row) if self.rows.lines else _without_lines(self.rows, row)


def open_run(path: str | Path) -> OpenedRun:
    """Read what there is of a run.

    Raises
    ------
    RunFolderError
        Where the folder is missing, holds no run, or the field is not binned yet.
    InputError
        Where a file is damaged.
    """
    folder = Path(path)
    options = options_of(folder)
    stamp = stamp_of(folder)
    if not (folder / "bins.fits").is_file():
        raise RunFolderError(
            f"{folder} has no bins.fits, without which there is nothing to choose from; make it "
            f"with `betis bin {folder}`"
        )
    bins, missing = read_bins(folder / "bins.fits"), []

    def product(name: str, read: Callable[[Path], T], count: Callable[[T], int]) -> T | None:
        found = read(folder / name) if (folder / name).is_file() else None
        said = _complaint(folder, name, None if found is None else count(found), bins.n_bin)
        missing.extend([said] if said else [])
        return None if said else found

    has_stars = options.continuum.engine != "none"
    spectra = product("spectra.fits", read_spectra, lambda found: found.n_spectrum)
    stars = product("continuum.fits", read_continuum, _n_star) if has_stars else None
    lines = product("lines.fits", read_lines, lambda found: len(found.flux))
    derived = product("derived.fits", read_derived, lambda found: _n_derived(found, bins.n_bin))
    rows = None
    if spectra is not None:
        rows = FinishedRun(
            path=folder,
            options=options,
            line_set=load_line_set(options.lines.line_set),
            bins=bins,
            spectra=spectra,
            continuum=stars,
            lines=lines,
        )
    return OpenedRun(
        path=folder,
        bins=bins,
        snr=_snr(folder, bins),
        derived=derived,
        rows=rows,
        missing=tuple(missing),
        stamp=stamp,
    )


def stamp_of(folder: Path) -> tuple[int, ...]:
    """Return what changes when a product of a run is written: the times of that."""
    files = [folder / name for name in _FILES]
    return tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)


def _complaint(folder: Path, name: str, n_row: int | None, n_bin: int) -> str:
    """Return why a product cannot be shown; "" where it can."""
    make = f"`betis {_STAGE[name]} {folder}`"
    if n_row is None:
        return f"There is no {name} yet; {make} makes it."
    if n_row != n_bin:
        return f"{name} is of {n_row} other bins, not of these {n_bin}; {make} makes it anew."
    return ""


def _n_star(found: Any) -> int:
    return len(found.table.flags)


def _n_derived(found: Derived, default: int) -> int:
    counts = [len(quantity.value) for quantity in found.quantities.values()]
    counts += [len(classes.value) for classes in found.classes.values()]
    return counts[0] if counts else default


def _snr(folder: Path, bins: BinMap) -> SnrMap | None:
    """Return the map of the S/N where it is of this field: given bins need none."""
    file = folder / "snr.fits"
    found = read_snr(file) if file.is_file() else None
    return found if found is not None and found.signal.shape == bins.bin_id.shape else None


def _without_lines(run: FinishedRun, row: int) -> BinView:
    only = slice(row, row + 1)
    return BinView(
        title=run.title,
        row=row,
        bins=run.bins,
        spectrum=run.spectra.take(only),
        stars=None if run.continuum is None else run.continuum.take(only),
        lines=_no_lines(),
        profiles=np.zeros((0, run.spectra.wave.size)),
        places=np.empty(0),
        window=np.empty(0),
        labels=(),
        absorbed=np.empty(0, bool),
    )


def _no_lines() -> LineFit:
    none: Any = np.empty((1, 0))
    number = np.empty((1, 0), np.int32)
    per_line = ("flux", "velocity", "sigma", "ew")
    errors = {f"{name}_err": none for name in per_line}
    values = dict.fromkeys((*per_line, "sigma_obs", "amplitude", "wave_obs", "flux_direct"), none)
    return LineFit(
        names=(),
        **values,
        **errors,
        snr=none,
        upper_limit=none,
        flags=number,
        group=np.empty(0, np.int32),
        chi2=none,
        dof=none,
        bic=none,
        n_iter=number,
        background=np.empty((1, 0, 2)),
        background_wave=np.empty(0),
    )
