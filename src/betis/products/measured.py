"""What the S/N of bins turned out to be, measured on their stacked spectra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from betis.arrays import F64, Brief


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MeasuredSnr(Brief):
    """Signal and noise of each bin's stacked spectrum; NaN where nothing could be measured.

    Attributes
    ----------
    names : [term]
        What was measured: lines, or sums of lines as ``SII6716+SII6731``.
    signals, noises : [term, bin]
        In the units of `SnrMap`.
    """

    names: tuple[str, ...]
    signals: Float[F64, "term bin"]
    noises: Float[F64, "term bin"]

    @property
    def snr(self) -> Float[F64, " bin"]:
        """Of the worst term; NaN where one is not known."""
        return np.asarray((self.signals / self.noises).min(axis=0))

    @property
    def signal(self) -> Float[F64, " bin"]:
        """Of the worst term."""
        return self._of_worst(self.signals)

    @property
    def noise(self) -> Float[F64, " bin"]:
        """Of the worst term."""
        return self._of_worst(self.noises)

    def _of_worst(self, values: Float[F64, "term bin"]) -> Float[F64, " bin"]:
        worst = np.argmin(self.signals / self.noises, axis=0)
        return np.asarray(np.take_along_axis(values, worst[None], axis=0)[0])
