"""Short names of the array types in annotations, and how a container of arrays prints."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
B8 = NDArray[np.bool_]
Index = NDArray[np.intp]


class Brief:
    """A dataclass that prints the shapes of its arrays, not their values."""

    def __repr__(self) -> str:
        """Return the fields on one line."""
        shown = ", ".join(
            f"{item.name}={_brief(getattr(self, item.name))}"
            for item in fields(self)  # type: ignore[arg-type]  # a dataclass by its own promise
        )
        return f"{type(self).__name__}({shown})"


def _brief(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_LONGEST = 60
