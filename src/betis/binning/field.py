"""The usable spaxels of a field as rows, in units in which a common factor changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import median_filter

from betis.arrays import B8, F64, Index
from betis.binning.quality import noise_model
from betis.options import BinningOptions
from betis.products import NoiseCorrelation

_DIGITS = 2.0**24
"""To how much of its own size a value is rounded, so that a common factor changes no decision."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """Usable spaxels, row by row of the smallest frame that holds them all.

    Attributes
    ----------
    place : [spaxel]
        Index into the flattened frame, which has a border of one empty spaxel.
    y, x : [spaxel]
        Pixels in that frame.
    flux, variance : [spaxel]
        In units of the median noise.
    shape
        ``(y, x)`` of the frame, its border counted.
    target
        S/N that bins must reach, the margin included.
    noise_model
        How correlated noise adds up; while bins grow, by their number of spaxels only.
    """

    place: Int[Index, " spaxel"]
    y: Float[F64, " spaxel"]
    x: Float[F64, " spaxel"]
    flux: Float[F64, " spaxel"]
    variance: Float[F64, " spaxel"]
    shape: tuple[int, int]
    target: float
    noise_model: NoiseCorrelation

    @property
    def steps(self) -> tuple[int, int, int, int]:
        """From a place to the four spaxels that touch it."""
        return (-self.shape[1], -1, 1, self.shape[1])

    @property
    def frame_size(self) -> int:
        """How many places the frame has."""
        return self.shape[0] * self.shape[1]

    def take(self, rows: Bool[B8, " spaxel"] | Int[Index, " spaxel"]) -> Field:
        """Return some of the spaxels, in the same frame."""
        return Field(
            place=self.place[rows],
            y=self.y[rows],
            x=self.x[rows],
            flux=self.flux[rows],
            variance=self.variance[rows],
            shape=self.shape,
            target=self.target,
            noise_model=self.noise_model,
        )

    def image(self, values: F64) -> Float[F64, "y x"]:
        """Return a map of the frame; 0 where there is no spaxel."""
        frame = np.zeros(self.frame_size)
        frame[self.place] = values
        return frame.reshape(self.shape)

    def bin_snr(self, label: Int[Index, " spaxel"], n_bin: int) -> Float[F64, " bin"]:
        """Return the S/N of the spaxels of each label; 0 where there are none."""
        count = np.bincount(label, minlength=n_bin)
        quadratic = np.sqrt(np.bincount(label, self.variance, n_bin))
        noise = quadratic * self.noise_model.of_count(count)
        signal = np.bincount(label, self.flux, n_bin)
        return np.divide(signal, noise, out=np.zeros(n_bin), where=noise > 0)


def make_field(
    valid: Bool[B8, "y x"],
    signal: Float[F64, "y x"],
    noise: Float[F64, "y x"],
    options: BinningOptions,
) -> Field:
    """Return the usable spaxels of two maps; what lies around them leaves no trace."""
    row, column = np.nonzero(valid)
    y, x = row - row.min() + 1, column - column.min() + 1
    shape = (int(y.max()) + 2, int(x.max()) + 2)
    unit = np.median(noise[valid])
    return Field(
        place=y * shape[1] + x,
        y=y.astype(float),
        x=x.astype(float),
        flux=_rounded(signal[valid] / unit),
        variance=_rounded(noise[valid] / unit) ** 2,
        shape=shape,
        target=options.goal,
        noise_model=noise_model(options),
    )


def outliers(field: Field) -> Bool[B8, " spaxel"]:
    """Tell which spaxels are far noisier than those round them, so that they would spoil a bin."""
    noise = np.sqrt(field.variance)
    frame = np.full(field.frame_size, np.median(noise))
    frame[field.place] = noise
    usual = median_filter(frame.reshape(field.shape), _AROUND).ravel()[field.place]
    return np.asarray(noise > _FAR_NOISIER * usual)


_AROUND, _FAR_NOISIER = 5, 10.0


def _rounded(values: F64) -> F64:
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.round(mantissa * _DIGITS) / _DIGITS, exponent))
