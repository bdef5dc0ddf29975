"""A galaxy of known truth in the files of each layout, before anything is done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from tests.cubes import line
from tests.io.small_cubes import SAMPLES, Sample, Voxels, kcwi_primary

from betis.wavelength import vacuum_to_air

REDSHIFT = 0.01
SHAPE = (220, 4, 5)
LINES = ((6562.80, 1500.0), (6583.45, 500.0))
START, STEP = 6497.5, 1.25
BLUE_START = 6100.0
NOISE = 5.0
COSMIC_RAY = (slice(101, 104), 3, 1)
"""Where the mask, if there is one, marks voxels."""

TOML = """
[cube]
flux = "SCI"
error = "ERR"
error_kind = "sigma"
mask = "QUALITY"
mask_bits = 6
resolving_power = 3000
"""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What must be read: flux and 1-sigma error in the file's scale, bad voxels, the axis."""

    flux: np.ndarray
    sigma: np.ndarray
    bad: np.ndarray
    wave: np.ndarray
    medium: str
    scale: float
    has_sky: bool = True

    def marked(self, bad: np.ndarray) -> Truth:
        """Return the truth of a cube in which these voxels are bad too."""
        return replace(self, bad=self.bad | bad)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A layout: how its files are made, and how the command line is given them."""

    name: str
    sample: Sample
    truth: Truth
    files: Mapping[str, bytes]
    main: str = "cube.fits"
    mutated: str = "cube.fits"
    words: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    first: int = 0

    @property
    def part(self) -> slice:
        """Which wavelengths of the cube the file that is changed holds."""
        return slice(self.first, None)

    @property
    def sigma(self) -> np.ndarray:
        """1-sigma errors in the file that is changed."""
        return self.truth.sigma[self.part]

    def lay(self, folder: Path) -> File:
        """Write the files, as they should be."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        for name, text in self.extra.items():
            (folder / name).write_text(text)
        return File(setting=self, path=folder / self.mutated)

    def arguments(self, folder: Path) -> list[str]:
        """Return what follows `inspect` or `prepare`."""
        inside = [str(folder / word) if (folder / word).exists() else word for word in self.words]
        return [str(folder / self.main), *inside, "-z", str(REDSHIFT)]


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that may be changed, and what it is of."""

    setting: Setting
    path: Path

    @property
    def sample(self) -> Sample:
        return self.setting.sample

    @contextmanager
    def open(self) -> Iterator[fits.HDUList]:
        """Open it to be changed."""
        with fits.open(self.path, memmap=False) as hdus:
            yield hdus
            hdus.writeto(self.path, overwrite=True, output_verify="ignore")

    def of(self, role: str, hdus: fits.HDUList) -> Any:
        """Return the extension of the flux, the error or the mask; None where there is none."""
        name = self.name_of(role)
        return hdus[name] if name and name in hdus else None

    def name_of(self, role: str) -> str:
        known = {"flux": self.sample.flux, "error": self.sample.error}
        return known.get(role, MASKS.get(self.sample.reader, ""))


MASKS = {"muse": "DQ", "manga": "MASK", "califa": "BADPIX", "kcwi": "MASK", "generic": "QUALITY"}


def galaxy(wave: np.ndarray, medium: str, seed: int = 0, bad_bit: int = 0) -> Voxels:
    """Draw a galaxy with stars, two lines and known noise on an axis; some voxels are bad."""
    rng = np.random.default_rng(seed)
    air = wave if medium == "air" else vacuum_to_air(wave)
    spectrum = 200 + sum(line(air, rest, flux, redshift=REDSHIFT) for rest, flux in LINES)
    shape = (wave.size, *SHAPE[1:])
    bright = np.linspace(0.5, 1.5, SHAPE[1])[:, None] * np.ones(SHAPE[2])
    sigma = (NOISE * rng.uniform(0.8, 1.2, shape)).astype(np.float32)
    noisy = spectrum[:, None, None] * bright + sigma * rng.normal(0, 1, shape)
    bits = np.zeros(shape, np.int32)
    if bad_bit:
        noisy[COSMIC_RAY], bits[COSMIC_RAY] = 2e4, bad_bit
    return Voxels(flux=noisy.astype(np.float32), sigma=sigma, bits=bits)


def axis_of(name: str, start: float = START) -> np.ndarray:
    if name == "manga":
        return 6500.0 * np.exp(np.log(10) * 1e-4 * np.arange(SHAPE[0]))
    if name == "manga, linear":
        return 6500.0 + STEP * np.arange(SHAPE[0])
    return start + STEP * np.arange(SHAPE[0])


def truth_of(voxels: Voxels, wave: np.ndarray, sample: Sample) -> Truth:
    return Truth(
        flux=voxels.flux.astype(float),
        sigma=voxels.sigma.astype(float),
        bad=voxels.bits != 0,
        wave=wave,
        medium=sample.medium,
        scale=sample.scale,
    )


def content(folder: Path, make: Callable[[Path], object]) -> bytes:
    make(folder / "made.fits")
    made = (folder / "made.fits").read_bytes()
    (folder / "made.fits").unlink()
    return made


def plain(name: str, folder: Path) -> Setting:
    """One file."""
    sample = SAMPLES[name]
    wave = axis_of(name)
    voxels = galaxy(wave, sample.medium, bad_bit=sample.bad_bit)
    described = sample.reader == "generic"
    return Setting(
        name=name,
        sample=sample,
        truth=truth_of(voxels, wave, sample),
        files={"cube.fits": content(folder, lambda path: sample.write(path, voxels))},
        words=("--instrument", "layout.toml") if described else (),
        extra={"layout.toml": TOML} if described else {},
    )


def two_arms(folder: Path) -> Setting:
    """SAMI's blue and red; the red one, which holds the lines, is changed."""
    sample, red = SAMPLES["sami"], plain("sami", folder)
    wave = axis_of("sami", BLUE_START)
    voxels = galaxy(wave, "air", seed=1)
    start = BLUE_START + 2 * STEP
    blue = content(folder, lambda path: sample.write(path, voxels, CRVAL3=start))
    whole = truth_of(voxels, wave, sample)
    joint = np.zeros((2 * SHAPE[0], *SHAPE[1:]), bool)
    joint[SHAPE[0] - 1 : SHAPE[0] + 1] = True
    both = {
        key: np.concatenate([getattr(whole, key), getattr(red.truth, key)])
        for key in ("flux", "sigma", "wave")
    }
    return replace(
        red,
        name="sami, two arms",
        truth=replace(red.truth, **both, bad=joint),
        files={"cube.fits": blue, "red.fits": red.files["cube.fits"]},
        mutated="red.fits",
        first=SHAPE[0],
        words=("--arm", "red.fits"),
    )


def companions(folder: Path) -> Setting:
    """KCWI's three files of the old pipeline; that of the flux is changed."""
    one = plain("kcwi", folder)
    parts = {"i": one.truth.flux, "v": one.truth.sigma**2, "m": one.truth.bad.astype(np.uint8)}
    sample = replace(one.sample, error="", kind="variance")
    return replace(
        one,
        name="kcwi, three files",
        sample=sample,
        files={
            f"a_{letter}cubes.fits": content(
                folder, lambda path, v=values: kcwi_primary(v.astype(np.float32)).writeto(path)
            )
            for letter, values in parts.items()
        },
        main="a_icubes.fits",
        mutated="a_icubes.fits",
    )


@cache
def settings(folder: Path) -> dict[str, Setting]:
    made = [plain(name, folder) for name in SAMPLES]
    return {item.name: item for item in (*made, two_arms(folder), companions(folder))}
