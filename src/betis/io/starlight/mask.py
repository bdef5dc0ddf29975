"""The mask file of STARLIGHT: windows, and the weight that pixels in them have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from betis.errors import InputError

__all__ = ["Window", "mask_text", "parse_mask"]


class Window(NamedTuple):
    """A window: Angstrom in the rest frame, the factor on the weights, and what is there."""

    low: float
    upp: float
    weight: float
    name: str


def mask_text(windows: Sequence[Window]) -> str:
    """Return the file; where windows overlap STARLIGHT takes the last."""
    rows = [f"{low:.1f}  {upp:.1f}  {weight:.1f}  {name}" for low, upp, weight, name in windows]
    return "\n".join([str(len(windows)), *rows, ""])


def parse_mask(text: str, name: str = "the mask") -> list[Window]:
    """Return the windows; what stands behind the announced number of them is ignored.

    Raises
    ------
    InputError
        Where the number is missing, or a window is not three numbers.
    """
    first, *rows = text.splitlines() or [""]
    try:
        count = int(first.split()[0])
        windows = [_window(row) for row in rows[:count]]
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{name} is no mask of STARLIGHT: its first line must be the number of windows, and "
            "each of the next ones low, high, weight and name; correct it"
        ) from error
    if len(windows) != count:
        raise InputError(
            f"{name} announces {count} windows and has {len(windows)}; correct its first line"
        )
    return windows


def _window(row: str) -> Window:
    low, upp, weight, *name = row.split(maxsplit=3)
    return Window(float(low), float(upp), float(weight), "".join(name).strip())
