"""The grid file that STARLIGHT v04 reads from its standard input: what to fit, where, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from betis.errors import InputError

__all__ = ["LONGEST", "Fit", "Grid", "grid_text", "parse_grid"]

LONGEST = 100
"""Characters that STARLIGHT keeps of a name or a folder."""

_VALUE_WIDTH = 38
_LABELS = (
    "[Number of fits to run]",
    "[base_dir]",
    "[obs_dir]",
    "[mask_dir]",
    "[out_dir]",
    "[your phone number]",
    "[llow_SN]   lower-lambda of S/N window",
    "[lupp_SN]   upper-lambda of S/N window",
    "[Olsyn_ini] lower-lambda for fit",
    "[Olsyn_fin] upper-lambda for fit",
    "[Odlsyn]    delta-lambda for fit",
    "[fscale_chi2] fudge-factor for chi2",
    "[FIT/FXK] Fit or Fix kinematics",
    "[IsErrSpecAvailable] 1/0 = Yes/No",
    "[IsFlagSpecAvailable] 1/0 = Yes/No",
)
_FIT_FIELDS = 8


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One fit: names of files in the folders of the grid, dust law, km/s."""

    spectrum: str
    config: str
    base: str
    mask: str
    law: str
    velocity: float
    sigma: float
    output: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A grid file.

    Attributes
    ----------
    base_dir, spectrum_dir, mask_dir, output_dir
        Folders, from the one that STARLIGHT is started in, which also holds configuration and base
        list. STARLIGHT joins names to them, so that each ends in "/".
    seed
        Negative; that of the n-th fit (from 1) is ``seed - n``.
    snr_window, fit_range, step : Angstrom
    chi2_scale
    kinematics
        "FIT", or "FXK": held at those of each fit.
    has_error, has_flag
        Whether the spectra have these columns.
    """

    base_dir: str
    spectrum_dir: str
    mask_dir: str
    output_dir: str
    seed: int
    snr_window: tuple[float, float]
    fit_range: tuple[float, float]
    step: float
    kinematics: Literal["FIT", "FXK"]
    fits: tuple[Fit, ...]
    chi2_scale: float = 1.0
    has_error: bool = True
    has_flag: bool = True


def grid_text(grid: Grid) -> str:
    """Return the file.

    Raises
    ------
    InputError
        Where a folder or a name is longer than STARLIGHT keeps, a folder does not end in "/", or
        a name has a blank.
    """
    folders = (grid.base_dir, grid.spectrum_dir, grid.mask_dir, grid.output_dir)
    _require_kept(folders, grid.fits)
    values = (
        *(str(len(grid.fits)), *folders, str(grid.seed)),
        *(_decimal(wave) for wave in (*grid.snr_window, *grid.fit_range, grid.step)),
        *(_decimal(grid.chi2_scale), grid.kinematics),
        *(str(int(flag)) for flag in (grid.has_error, grid.has_flag)),
    )
    head = [
        f"{value:<{_VALUE_WIDTH}} {label}" for value, label in zip(values, _LABELS, strict=True)
    ]
    return "\n".join([*head, *map(_fit_line, grid.fits), ""])


def parse_grid(text: str, name: str = "the grid file") -> Grid:
    """Return what a grid file says; lines behind its fits are ignored, as STARLIGHT does.

    It may announce more fits than it has: real ones do.

    Raises
    ------
    InputError
        Where a line is missing or is not what stands there.
    """
    lines = text.splitlines()
    try:
        values = [_value(line, label) for line, label in zip_longest(lines[:15], _LABELS)]
        low_snr, upp_snr, low, upp, step, scale = map(float, values[6:12])
        kinematics: Literal["FIT", "FXK"] = "FXK" if values[12] == "FXK" else "FIT"
        announced = lines[15 : 15 + int(values[0])]
        return Grid(
            base_dir=values[1],
            spectrum_dir=values[2],
            mask_dir=values[3],
            output_dir=values[4],
            seed=int(values[5]),
            snr_window=(low_snr, upp_snr),
            fit_range=(low, upp),
            step=step,
            chi2_scale=scale,
            kinematics=kinematics,
            has_error=bool(int(values[13])),
            has_flag=bool(int(values[14])),
            fits=tuple(_fit(line) for line in announced if line.strip()),
        )
    except ValueError as error:
        raise InputError(f"{name} is no grid file of STARLIGHT v04: {error}; correct it") from error


def _decimal(value: float) -> str:
    """Return a number as the real grids have it: 4580.0."""
    return repr(round(float(value), 4))


def _fit_line(fit: Fit) -> str:
    kinematics = f"{_decimal(fit.velocity)} {_decimal(fit.sigma)}"
    return f"{fit.spectrum} {fit.config} {fit.base} {fit.mask} {fit.law} {kinematics} {fit.output}"


def _value(line: str | None, label: str | None) -> str:
    """Return what stands before the label of a line; folders may have blanks."""
    if line is None or not line.strip():
        raise ValueError(f"the line {label} is missing")
    known = (label or "").partition(" ")[0]
    return line.partition("[")[0].strip() if known.endswith("_dir]") else line.split()[0]


def _fit(line: str) -> Fit:
    words = line.split()
    if len(words) != _FIT_FIELDS:
        raise ValueError(f"the line {line!r} has {len(words)} fields in place of {_FIT_FIELDS}")
    return Fit(
        spectrum=words[0],
        config=words[1],
        base=words[2],
        mask=words[3],
        law=words[4],
        velocity=float(words[5]),
        sigma=float(words[6]),
        output=words[7],
    )


def _require_kept(folders: Sequence[str], fits: Sequence[Fit]) -> None:
    """Refuse what STARLIGHT would cut or take for something else."""
    for folder in folders:
        if not folder.endswith("/"):
            raise InputError(f"the folder {folder!r} of a grid file does not end in '/'; add it")
    names = {name for fit in fits for name in (fit.config, fit.base, fit.mask, fit.law)}
    for name in (*folders, *names, *(name for fit in fits for name in (fit.spectrum, fit.output))):
        if len(name) > LONGEST:
            raise InputError(
                f"the name {name!r} has {len(name)} characters, where STARLIGHT keeps {LONGEST}; "
                "choose a shorter one"
            )
        if name not in folders and (not name or name.split() != [name]):
            raise InputError(f"the name {name!r} has blanks, which end a field; rename the file")
