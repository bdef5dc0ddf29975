"""Which bins are to be shown: by number, by a spaxel of theirs, or at random among the flagged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from betis.arrays import I32
from betis.errors import ConfigError, InputError
from betis.flags import Flag
from betis.products import BinMap, LineFit

__all__ = ["Choice", "bin_of_spaxel", "choose_bins", "random_bin", "require_bin"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was asked for.

    Attributes
    ----------
    bins
        Numbers of bins.
    spaxel
        x and y of a spaxel, FITS axes 1 and 2, from 0.
    flag, seed
        One bin at random that has this flag.
    line
        The line to look at, and the one that must have the flag; "" for any.
    """

    bins: tuple[int, ...] = ()
    spaxel: tuple[int, int] | None = None
    flag: str = ""
    seed: int = 1
    line: str = ""


def choose_bins(
    choice: Choice, bins: BinMap, stars: Int[I32, " bin"] | None, lines: LineFit
) -> dict[int, tuple[str, ...]]:
    """Return the bins asked for, each once, and the lines to be shown of each in any case.

    Parameters
    ----------
    choice
        What was asked for.
    bins, lines
        Of the run.
    stars
        Flags of the fits of the stars, if any.

    Raises
    ------
    ConfigError
        Where nothing was asked for, or there is no such flag.
    InputError
        Where there is no such bin, spaxel or line, or nothing has the flag.
    """
    asked: tuple[str, ...] = (choice.line,) if choice.line else ()
    for name in asked:
        lines.index(name)
    chosen: dict[int, tuple[str, ...]] = {require_bin(bins, row): asked for row in choice.bins}
    if choice.spaxel is not None:
        chosen[bin_of_spaxel(bins, *choice.spaxel)] = asked
    if choice.flag:
        row, name = random_bin(
            bins.flags, stars, lines, choice.flag, line=choice.line, seed=choice.seed
        )
        chosen[row] = (name,) if name else ()
    if not chosen:
        raise ConfigError(
            "no bin was asked for, where at least one was expected; give --bin N, --spaxel X Y or "
            "--flag NAME"
        )
    return chosen


def require_bin(bins: BinMap, row: int) -> int:
    """Return the number of a bin that there is.

    Raises
    ------
    InputError
        Where there is none of that number.
    """
    if not 0 <= row < bins.n_bin:
        raise InputError(
            f"there is no bin {row}: the bins of this run are numbered from 0 to {bins.n_bin - 1}; "
            "choose one of them"
        )
    return row


def bin_of_spaxel(bins: BinMap, x: int, y: int) -> int:
    """Return the bin of a spaxel; x is FITS axis 1, y axis 2, from 0.

    Raises
    ------
    InputError
        Where it is outside the field, or in no bin.
    """
    n_y, n_x = bins.bin_id.shape
    if not (0 <= x < n_x and 0 <= y < n_y):
        raise InputError(
            f"there is no spaxel x = {x}, y = {y}: counted from 0, x runs to {n_x - 1} and y to "
            f"{n_y - 1}; choose one of them"
        )
    row = int(bins.bin_id[y, x])
    if row < 0:
        raise InputError(f"the spaxel x = {x}, y = {y} is in no bin; choose another")
    return row


def random_bin(
    bins: Int[I32, " bin"],
    stars: Int[I32, " bin"] | None,
    lines: LineFit,
    flag: str,
    *,
    line: str = "",
    seed: int = 1,
) -> tuple[int, str]:
    """Return a bin with a flag, drawn at random, and a line that has it; "" for the bin's own.

    Parameters
    ----------
    bins, stars
        Flags of the bins and of the fits of their stars, if any.
    lines
        The fits of the lines.
    flag
        A name of `betis.flags.Flag`.
    line
        Only where this line has it.
    seed
        Of the draw.

    Raises
    ------
    ConfigError
        Where there is no such flag.
    InputError
        Where nothing has it.
    """
    if flag not in Flag.__members__:
        raise ConfigError(
            f"there is no flag {flag!r}; expected one of {', '.join(Flag.__members__)}"
        )
    bit = Flag[flag]
    generator = np.random.default_rng(seed)
    own = bins if stars is None else bins | stars
    of_bins = np.zeros(len(bins), bool) if line else (own & bit) != 0
    of_lines = (lines.flags & bit) != 0
    if line:
        of_lines = of_lines & (np.arange(len(lines.names)) == lines.index(line))
    flagged = np.flatnonzero(of_bins | of_lines.any(axis=1))
    if flagged.size == 0:
        where = f"the line {line} of no bin" if line else "no bin of this run"
        raise InputError(f"{where} has the flag {flag}; choose another flag")
    row = int(generator.choice(flagged))
    names = np.flatnonzero(of_lines[row])
    return row, lines.names[int(generator.choice(names))] if names.size else ""
