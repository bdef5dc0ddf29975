"""The files of a mock galaxy as its instrument writes them, tile by tile, and the truth beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError
from betis.io.fits import write_atomically
from betis.mock import califa, generic, kcwi, manga, muse, sami
from betis.mock.galaxy import Galaxy
from betis.mock.instruments import MOCK_SCALE, Setup
from betis.mock.layout import Extension, Voxels
from betis.mock.noise import draw_noise, variance
from betis.mock.options import MockOptions
from betis.mock.spectra import Renderer, make_renderer
from betis.mock.truth import write_truth

_TILE_VOXELS = 3_000_000
"""Voxels in memory at once: some 250 MB with everything that is made on the way."""
_BLOCK = 2880
"""Bytes of a FITS block."""

_LAYOUTS: dict[str, Callable[[Galaxy, Setup], Sequence[Extension]]] = {
    "muse": muse.extensions,
    "manga": manga.extensions,
    "manga-lin": manga.extensions,
    "califa": califa.extensions,
    "sami": sami.extensions,
    "kcwi": kcwi.extensions,
    "generic": generic.extensions,
}


def write_cube(
    galaxy: Galaxy, path: str | Path, *, tile_voxels: int = _TILE_VOXELS
) -> tuple[Path, ...]:
    """Observe a mock galaxy: write its cubes, and its truth beside them (`truth_path`).

    Parameters
    ----------
    galaxy
        Its options say which instrument observes it.
    path
        Of the FITS file; one that is there is replaced, by a complete one only. Of an instrument
        with two arms ``<stem>_blue.fits`` and ``<stem>_red.fits`` are written.
    tile_voxels
        How many voxels to make at once; changes nothing in the files.

    Returns
    -------
    The files, in the order in which betis takes them: the cube (the bluest), then that of the
    other arm, or the TOML file that describes the layout of a cube that no reader knows.

    Raises
    ------
    InputError
        Where the folder does not exist.
    ConfigError
        Where the stellar base does not cover the cube's wavelengths.
    RunFolderError
        Where the disk is full or the folder cannot be written.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent} to write {target.name} in; create it")
    renderers = [make_renderer(galaxy, setup) for setup in galaxy.options.setups]
    truth_path(target).unlink(missing_ok=True)
    files = cube_paths(galaxy.options, target)
    for renderer, file in zip(renderers, files, strict=False):
        _write_one(renderer, file, tile_voxels)
    if galaxy.options.instrument == "generic":
        generic.write_description(galaxy, files[-1])
    write_atomically(truth_path(target), lambda part: write_truth(part, galaxy.truth))
    return files


def cube_paths(options: MockOptions, path: str | Path) -> tuple[Path, ...]:
    """Return the files that `write_cube` writes, its truth aside."""
    target = Path(path)
    cubes = (target.with_name(f"{target.stem}{s.suffix}{target.suffix}") for s in options.setups)
    described = (target.with_suffix(".toml"),) if options.instrument == "generic" else ()
    return (*cubes, *described)


def truth_path(path: str | Path) -> Path:
    """Return where the truth of a cube is: ``<stem>_truth.fits`` beside it."""
    return Path(path).with_name(f"{Path(path).stem}_truth.fits")


def observe(
    renderer: Renderer, rows: slice
) -> tuple[Float[F64, "wave y x"], Float[F64, "wave y x"]]:
    """Return flux density with noise, and variance, of some image rows; units of `MOCK_SCALE`."""
    galaxy, setup = renderer.galaxy, renderer.setup
    first, last, _ = rows.indices(galaxy.options.n_y)
    flux = renderer.flux(rows)
    true_variance = variance(galaxy, setup, flux)
    flux += draw_noise(galaxy, setup, first, last) * np.sqrt(true_variance)
    return flux, true_variance


def _write_one(renderer: Renderer, path: Path, tile_voxels: int) -> None:
    """Write the cube of one setup."""
    extensions = _LAYOUTS[renderer.setup.name](renderer.galaxy, renderer.setup)
    write_atomically(path, lambda part: _fill(renderer, extensions, part, tile_voxels))


def _fill(
    renderer: Renderer, extensions: Sequence[Extension], path: Path, tile_voxels: int
) -> None:
    shape = (renderer.setup.axis.count, *renderer.galaxy.options.shape)
    offsets = _allocate(extensions, shape, path)
    for rows in _tiles(shape, tile_voxels):
        voxels = _in_file_units(renderer, rows)
        for extension, offset in zip(extensions, offsets, strict=True):
            if extension.fill is None:
                continue
            # mapped anew for each tile, so that no written page stays in memory
            stored = np.memmap(path, extension.dtype, mode="r+", offset=offset, shape=shape)
            stored[:, rows] = extension.fill(voxels)
            del stored


def _in_file_units(renderer: Renderer, rows: slice) -> Voxels:
    unit = renderer.setup.scale / MOCK_SCALE
    flux, true_variance = observe(renderer, rows)
    return Voxels(flux / unit, true_variance / unit**2, ~renderer.galaxy.field[rows])


def _tiles(shape: tuple[int, int, int], tile_voxels: int) -> Iterator[slice]:
    n_wave, n_y, n_x = shape
    step = max(1, tile_voxels // (n_wave * n_x))
    for start in range(0, n_y, step):
        yield slice(start, min(start + step, n_y))


def _allocate(
    extensions: Sequence[Extension], shape: tuple[int, int, int], path: Path
) -> list[int]:
    """Write the headers and what is small, leave room for the voxels; return where that begins."""
    offsets = []
    with path.open("wb") as stream:
        for extension in extensions:
            stream.write(extension.header.tostring().encode("ascii"))
            offsets.append(stream.tell())
            if extension.values is not None:
                stream.write(extension.values.tobytes())
            end = offsets[-1] + _size(extension, shape)
            stream.seek(-(-end // _BLOCK) * _BLOCK)
        stream.truncate(stream.tell())
    return offsets


def _size(extension: Extension, shape: tuple[int, int, int]) -> int:
    """Return the bytes of an extension without its header."""
    if extension.values is not None:
        return extension.values.nbytes
    return int(np.prod(shape)) * np.dtype(extension.dtype).itemsize if extension.fill else 0
