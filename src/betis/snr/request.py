"""What the S/N is asked of: a line, a sum of lines, the worst of several, or the continuum."""

from __future__ import annotations

import re
from dataclasses import dataclass

from betis.errors import ConfigError

CONTINUUM = "continuum"

CONTINUUM_WINDOW = (5500.0, 5600.0)
"""Rest wavelengths at which the continuum is measured where none are given, Angstrom."""

_SYNTAX = (
    "a line (SII6731), a sum of lines (SII6716+SII6731), the worst of several "
    "(min(Ha6563,SII6731)), continuum, or continuum:5500-5600"
)
_NUMBER = r"(\d+(?:\.\d*)?)"
_WINDOW = re.compile(rf"{CONTINUUM}(?::{_NUMBER}-{_NUMBER})?")
_WORST = re.compile(r"min\((.*)\)")
_NAME = re.compile(r"[^\s+,()]+")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is measured.

    Attributes
    ----------
    text
        As it was asked.
    terms
        Names of lines: the fluxes in a term are added, and the term of the lowest S/N counts.
        Empty for the continuum.
    window : Angstrom
        Rest wavelengths at which the continuum is measured; None for lines.
    """

    text: str
    terms: tuple[tuple[str, ...], ...] = ()
    window: tuple[float, float] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every line in it, once."""
        return tuple(dict.fromkeys(name for term in self.terms for name in term))

    @property
    def labels(self) -> tuple[str, ...]:
        """What each term is called: its lines with ``+`` between, or the whole text."""
        return tuple("+".join(term) for term in self.terms) or (self.text,)


def parse_request(text: str) -> Request:
    """Return what a text asks for; spaces mean nothing.

    ===============================  ==========================================================
    ``SII6731``                      one line
    ``SII6716+SII6731``              the sum of lines, fitted together where they are near
    ``min(Ha6563,SII6731)``          the smallest S/N of several lines, or sums of lines
    ``continuum``                    the stellar continuum in `CONTINUUM_WINDOW`
    ``continuum:5100-5200``          or between these rest wavelengths, Angstrom
    ===============================  ==========================================================

    Raises
    ------
    ConfigError
        Where the text is none of these.
    """
    plain = "".join(text.split())
    window = _WINDOW.fullmatch(plain)
    if window:
        return Request(text=plain, window=_continuum_window(text, window.groups()))
    worst = _WORST.fullmatch(plain)
    parts = worst[1].split(",") if worst else [plain]
    terms = tuple(dict.fromkeys(tuple(part.split("+")) for part in parts))
    if not all(_is_sum(term) for term in terms):
        raise _misread(text)
    return Request(text=plain, terms=terms)


def line_names(text: str) -> tuple[str, ...]:
    """Return the names of the lines in a text; none for the continuum.

    Raises
    ------
    ConfigError
        As `parse_request`.
    """
    return parse_request(text).names


def _continuum_window(text: str, given: tuple[str | None, ...]) -> tuple[float, float]:
    low, high = given
    if low is None or high is None:
        return CONTINUUM_WINDOW
    if not float(low) < float(high):
        raise _misread(text)
    return float(low), float(high)


def _is_sum(term: tuple[str, ...]) -> bool:
    named = all(_NAME.fullmatch(name) and not name.startswith(CONTINUUM) for name in term)
    return named and len(set(term)) == len(term)


def _misread(text: str) -> ConfigError:
    return ConfigError(f"the S/N cannot be measured of {text!r}; expected {_SYNTAX}")
