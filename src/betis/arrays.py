"""Short names of the array types in annotations, and how a container of arrays prints."""

from dataclasses import fields
from typing import Any

import numpy as np

# numpy.typing.NDArray is a TypeAliasType in newer numpy, which jaxtyping does not take.
F64 = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]
F32 = np.ndarray[tuple[Any, ...], np.dtype[np.float32]]
C128 = np.ndarray[tuple[Any, ...], np.dtype[np.complex128]]
U8 = np.ndarray[tuple[Any, ...], np.dtype[np.uint8]]
I32 = np.ndarray[tuple[Any, ...], np.dtype[np.int32]]
B8 = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]
Index = np.ndarray[tuple[Any, ...], np.dtype[np.intp]]


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
