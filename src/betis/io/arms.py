"""Two arms of one instrument, blue and red, as one cube whose axis has a gap or a step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from betis.arrays import I32
from betis.errors import InputError
from betis.io.wcs import celestial_wcs
from betis.products import Cube, CubeBlock, CubeSource

LARGEST_OFFSET = 0.1
"""Spaxels by which the celestial WCS of two arms may differ anywhere in the field."""


@dataclass(frozen=True, kw_only=True)
class JoinedSource:
    """The voxels of two arms on one axis, each read from its own file.

    Attributes
    ----------
    blue, red
        The arms.
    n_blue
        How many pixels of the blue arm are kept: its first ones.
    first_red, n_red
        Which pixels of the red arm are kept: from ``first_red`` on.
    factors
        What the fluxes of blue and red are multiplied by, to be in one scale.
    """

    blue: CubeSource
    red: CubeSource
    n_blue: int
    first_red: int
    n_red: int
    factors: tuple[float, float] = (1.0, 1.0)

    def read(self, rows: slice, waves: slice) -> CubeBlock:
        """Return a block; see `betis.products.CubeSource`.

        The pixels on either side of the joint are masked: one edge cannot be that of both.
        """
        wanted = range(self.n_blue + self.n_red)[waves]
        n_first = len(range(wanted.start, min(wanted.stop, self.n_blue), wanted.step))
        parts = [
            _scaled(self.blue.read(rows, _slice(wanted[:n_first], 0)), self.factors[0]),
            _scaled(
                self.red.read(rows, _slice(wanted[n_first:], self.first_red - self.n_blue)),
                self.factors[1],
            ),
        ]
        block = CubeBlock(*(np.concatenate(pair) for pair in zip(*parts, strict=True)))
        beside = [at for at, pixel in enumerate(wanted) if pixel in (self.n_blue - 1, self.n_blue)]
        block.flux[beside] = block.variance[beside] = 0.0
        block.mask[beside] = True
        return block


def join(first: Cube, second: Cube) -> Cube:
    """Return two arms, in either order, as one cube in the flux scale of the first.

    Where the arms overlap, both are cut at the middle of the overlap.

    Raises
    ------
    InputError
        Where they are not arms of one instrument on one field, or one lies inside the other.
    """
    _require_alike(first, second)
    _require_same_field(first, second)
    blue, red = sorted((first, second), key=lambda cube: float(cube.wave[0]))
    n_blue, first_red = _kept(blue, red)
    low, high = blue.edges[: n_blue + 1], red.edges[first_red:]
    scale = first.sky.flux_scale or 1.0
    return replace(
        first,
        source=JoinedSource(
            blue=blue.source,
            red=red.source,
            n_blue=n_blue,
            first_red=first_red,
            n_red=red.wave.size - first_red,
            factors=(_factor(blue, scale), _factor(red, scale)),
        ),
        wave=np.concatenate([blue.wave[:n_blue], red.wave[first_red:]]),
        edges=np.concatenate([low[:-1], [0.5 * (low[-1] + high[0])], high[1:]]),
        lsf=np.concatenate([blue.lsf[:n_blue], red.lsf[first_red:]]),
        sky=first.sky if first.sky.wcs else replace(first.sky, wcs=second.sky.wcs),
        copies=_common_copies(first.copies, second.copies),
    )


def _slice(pixels: range, shift: int) -> slice:
    if not pixels:
        return slice(0, 0)
    return slice(pixels[0] + shift, pixels[-1] + 1 + shift, pixels.step)


def _scaled(block: CubeBlock, factor: float) -> CubeBlock:
    if factor == 1.0:
        return block
    return CubeBlock(block.flux * factor, block.variance * factor**2, block.mask)


def _factor(cube: Cube, scale: float) -> float:
    return (cube.sky.flux_scale or 1.0) / scale


def _kept(blue: Cube, red: Cube) -> tuple[int, int]:
    """Return how many blue pixels are kept, and from which red pixel on."""
    if red.edges[-1] <= blue.edges[-1]:
        raise InputError(
            f"the arm {red.path} ({red.wave[0]:.6g} to {red.wave[-1]:.6g} A) lies inside "
            f"{blue.path} ({blue.wave[0]:.6g} to {blue.wave[-1]:.6g} A), where two arms side by "
            "side were expected; give the blue and the red cube"
        )
    middle = 0.5 * (blue.edges[-1] + red.edges[0])
    if red.edges[0] >= blue.edges[-1]:
        return blue.wave.size, 0
    return int(np.sum(blue.wave < middle)), int(np.sum(red.wave < middle))


def _require_alike(first: Cube, second: Cube) -> None:
    facts = {
        "instruments": (first.instrument, second.instrument),
        "media of the wavelengths": (first.medium, second.medium),
        "kinds of error": (first.noise_kind, second.noise_kind),
        "fields (y, x)": (first.sky.shape, second.sky.shape),
        "states of the Galactic extinction, removed or not,": (
            first.dereddened,
            second.dereddened,
        ),
        "knowledge of the flux unit": (first.sky.flux_scale > 0, second.sky.flux_scale > 0),
    }
    for what, (one, other) in facts.items():
        if one != other:
            raise InputError(
                f"{first.path} and {second.path} have different {what} ({one} and {other}), where "
                "two arms of one instrument on one galaxy were expected; check --arm"
            )


def _require_same_field(first: Cube, second: Cube) -> None:
    """Check that each corner of the field lies at the same place on the sky in both."""
    one, other = celestial_wcs(first.sky.wcs), celestial_wcs(second.sky.wcs)
    if one is None or other is None:
        return
    n_y, n_x = first.sky.shape
    x, y = (axis.ravel() for axis in np.meshgrid([0.0, n_x - 1.0], [0.0, n_y - 1.0]))
    found = np.array(other.world_to_pixel(one.pixel_to_world(x, y)))
    apart = float(np.hypot(found[0] - x, found[1] - y).max())
    if not apart <= LARGEST_OFFSET:
        raise InputError(
            f"the fields of {first.path} and {second.path} are {apart:.3g} spaxels apart by their "
            f"celestial WCS, where at most {LARGEST_OFFSET:g} was expected; give the two arms of "
            "one galaxy, resampled to one grid"
        )


def _common_copies(
    first: Int[I32, "y x"] | None, second: Int[I32, "y x"] | None
) -> Int[I32, "y x"] | None:
    """Return labels of the spaxels that hold copies of one spectrum in both arms."""
    if first is None or second is None:
        return None
    if np.array_equal(first, second):
        return first
    pairs = np.stack([first.ravel(), second.ravel()])
    labels = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(first.shape)
    return np.where((first < 0) | (second < 0), -1, labels).astype(np.int32)
