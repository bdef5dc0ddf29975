"""What the comparison of two runs is made from, and its words and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from betis.compare import STARS, Difference, Pairs
from betis.products import Sky
from betis.report.summary import MAIN_LINES, counted, fixed, number

__all__ = ["TITLES", "ComparedRuns", "compared", "console_rows", "difference_table", "verdict"]

TITLES = {
    "flux": "Flux, second over first",
    "velocity": "Velocity, second minus first (km/s)",
    "sigma": "σ, second minus first (km/s)",
    "ew": "Equivalent width, second minus first (Å)",
    "av": "A_V of the stars, second minus first (mag)",
}
"""Quantities in the order to be shown."""

_DECIMALS = {"flux": 3, "velocity": 1, "sigma": 1, "ew": 2, "av": 2}
_GRADIENTS = (
    "The runs have different bins: what changes within a bin of one of them is in the differences, "
    "and makes pulls wide where the S/N is high. "
)
_MAIN = tuple(name for names in MAIN_LINES for name in names)


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedRuns:
    """All that the comparison of two runs shows.

    Attributes
    ----------
    first, second
        Their names.
    facts
        Of each run, in the same order: name, and what it is in either.
    options
        Those that differ: name, and what they are in either.
    same_cube
        Whether both were made from the same file.
    pairs, differences
        What was compared.
    sky
        Field of the first run, on which maps are drawn.
    labels
        What figures call a line, by its name.
    """

    first: str
    second: str
    facts: Mapping[str, tuple[str, str]]
    options: Mapping[str, tuple[str, str]]
    same_cube: bool
    pairs: Pairs
    differences: Sequence[Difference]
    sky: Sky
    labels: Mapping[str, str]

    @property
    def unit(self) -> str:
        """What differences are counted in."""
        return "bin" if self.pairs.same_bins else "spaxel"

    def label(self, what: str) -> str:
        """Return what figures call a line, or the stars."""
        return "Stars" if what == STARS else self.labels.get(what, what)


def compared(content: ComparedRuns, what: str, quantity: str) -> Difference | None:
    """Return a difference that both runs have somewhere; None for none."""
    return next(
        (
            item
            for item in content.differences
            if (item.what, item.quantity) == (what, quantity) and item.n_both
        ),
        None,
    )


def verdict(content: ComparedRuns) -> str:
    """Return what the brightest common line says of the two runs, in a sentence or two."""
    shared = counted(int(content.pairs.weight.sum()), content.unit)
    how = "the same in both" if content.pairs.same_bins else "in a bin of both"
    said = f"{shared}, {how}."
    main = next((d for name in _MAIN if (d := compared(content, name, "flux"))), None)
    if main is None:
        return f"{said} None of the main lines is detected in both runs."
    middle, scatter = main.middle()
    text = (
        f"{said} {content.label(main.what)} is detected in both in {main.n_both:,} of them: "
        f"its flux in the second run is {fixed(middle, 3)} ± {fixed(scatter, 3)} of the first"
    )
    moved = compared(content, main.what, "velocity")
    if moved is None:
        return f"{text}."
    middle, scatter = moved.middle()
    return f"{text}, its velocity {fixed(middle, 1)} ± {fixed(scatter, 1)} km/s more."


def pull_note(content: ComparedRuns) -> str:
    """Return what the pulls of these runs can tell."""
    more = "" if content.pairs.same_bins else _GRADIENTS
    if content.same_cube:
        return more + (
            "Both runs were made from the same cube: they share its noise, so that their errors "
            "are not independent. Pulls well below 1 are expected, and say how far the choices "
            "move a result compared with its error; they do not test the errors."
        )
    return more + (
        "The runs were made from different files. If these are independent observations, pulls "
        "should have a median of 0 and a width of 1; what they have in common (the same exposures, "
        "stellar base, flux calibration) changes that."
    )


def difference_table(content: ComparedRuns, quantity: str) -> list[tuple[str, ...]]:
    """Return a table of one quantity, a row a line, its header first."""
    head = (
        *("line", f"{content.unit}s in both", "only first", "only second"),
        *("median", "scatter", "median pull", "width of pulls"),
    )
    decimals = _DECIMALS[quantity]
    rows = []
    for item in content.differences:
        if item.quantity != quantity or not item.n_both + item.only_first + item.only_second:
            continue
        values = (*(fixed(v, decimals) for v in item.middle()), *_pulls(item))
        counts = (item.n_both, item.only_first, item.only_second)
        rows.append((content.label(item.what), *(f"{n:,}" for n in counts), *values))
    return [head, *rows]


def console_rows(content: ComparedRuns) -> list[dict[str, str]]:
    """Return a row a line and one of the stars, for the terminal: median ± scatter (pulls)."""
    known = [item for item in content.differences if item.n_both]
    rows = []
    for what in dict.fromkeys(item.what for item in known):
        mine = {item.quantity: item for item in known if item.what == what}
        cells = {short: _short(mine.get(quantity)) for quantity, short in _SHORT.items()}
        most = max(item.n_both for item in mine.values())
        rows.append({"line": what, "in both": f"{most:,}", **cells})
    return rows


_SHORT = {
    "flux": "flux ratio (pull)",
    "velocity": "Δv km/s (pull)",
    "sigma": "Δσ km/s (pull)",
    "ew": "ΔEW Å (pull)",
    "av": "ΔA_V mag (pull)",
}


def _short(item: Difference | None) -> str:
    if item is None:
        return ""
    middle, scatter = (fixed(value, _DECIMALS[item.quantity]) for value in item.middle())
    return f"{middle} ± {scatter} ({_pulls(item)[1]})"


def _pulls(item: Difference) -> tuple[str, str]:
    middle, width = item.middle_pull()
    return fixed(middle, 2), number(width, 3)
