"""What betis understood of a cube, in words, before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import ConfigError, InputError
from betis.io.dust_maps import field_center
from betis.io.flux_units import flux_density_scale
from betis.io.products import flux_unit
from betis.io.readers import read_cube, recognise
from betis.io.unpack import open_cube, unpacked
from betis.io.wcs import celestial_wcs
from betis.linelist import LineSet
from betis.noise import NoiseCheck, describe_noise, measure_noise
from betis.options import CubeOptions, PrepareOptions
from betis.products import Cube
from betis.wavelength import GAP, pixel_widths

Facts = dict[str, str]

READ_SPEED = 150e6
"""Bytes a second in which a cube is read and worked on.

Measured on two cores with a file in memory: 754 MB of mock MUSE cube in 4.1 s for the sums of the
bins (184 MB/s) and in 3.1 s for the windows of the S/N map.
"""

PASSES = 3.0
"""Times that the file is read: its digest, the S/N map and the noise, the sums of the bins."""

FIT_SECONDS = (0.02, 0.05)
"""Stars and lines of one bin, on two cores.

Measured on bins of 3681 pixels: 33 ms for 522 bins of the demo, 43 ms for 728 bins of a real MUSE
cube. The range leaves room for other line sets and machines.
"""

BIN_SHARES = (1 / 50, 1 / 2)
"""Bins a usable spaxel: 1/3.2 and 1/2.2 in these cubes; faint lines make fewer and larger bins."""

OVERHEAD_SECONDS = (15.0, 40.0)
"""Compiling kernels, maps and report: with and without the kernels of an earlier run."""

MEMORY = "about 1 GB, whatever the size of the cube"
"""Spectra walk through a run in chunks, and voxels in tiles of a few million."""

AGREES = (0.9, 1.1)
"""Scatter over stated error within which the stated errors are called right."""

ANOTHER_KIND = 3.0
"""Factor by which errors of another kind than was taken for granted are wrong, at least."""

CORRELATED = 0.1
"""Correlation of neighbouring wavelengths from which the errors of sums are told apart."""

_RESCALE = "--rescale-noise brings them to the scatter of the data"
_PLANES = 9
_SQUARE = re.compile(r"\((.*)\)\s*(?:\*\*|\^)\s*\(?-?2\)?")
_NO_REDSHIFT = "give the redshift with -z to see them"


class _File(NamedTuple):
    """What the headers of one file say."""

    path: Path
    instrument: str
    reason: str
    units: Facts
    reddening: Facts


def describe_cube(cube: Cube) -> Facts:
    """Return what a cube is: instrument, size, axis, medium, LSF, unit, errors, field."""
    n_wave, n_y, n_x = cube.shape
    wave = cube.wave * (1 + cube.redshift)
    fwhm = cube.lsf * (1 + cube.redshift)
    power = wave / fwhm
    return {
        "file": Path(cube.path).name or "arrays in memory",
        "instrument": cube.instrument,
        "size": f"{n_x} x {n_y} spaxels, {n_wave} wavelengths",
        "wavelengths": f"{_describe_axis(wave)}, observed, in {cube.medium}",
        "resolution (FWHM)": f"{_range(fwhm, '.2f')} Å",
        "resolving power": _range(power, ".0f"),
        "flux unit": flux_unit(cube.sky, density=True) or "unknown (BUNIT does not say)",
        "errors stated as": cube.noise_kind,
        "field": _describe_field(cube),
    }


def inspect_cube(
    path: str | Path,
    line_set: LineSet,
    instrument: str = "auto",
    redshift: float | None = None,
    *,
    layout: CubeOptions | None = None,
    arm: str | Path | None = None,
) -> Facts:
    """Return what was understood of a file, how its noise and lines look, and what a run costs.

    Parameters
    ----------
    path
        The cube.
    line_set
        The lines that are looked for.
    instrument, layout, arm
        As for `betis.io.readers.read_cube`.
    redshift
        Of the galaxy; None where it is not known.

    Raises
    ------
    InputError
        Where a file cannot be read as a cube, or is ambiguous.
    ConfigError
        Where the redshift makes no sense, or a generic cube is not described.
    """
    _require_redshift(redshift)
    files = [_read_headers(Path(name), instrument, layout) for name in (path, arm) if name]
    cube = read_cube(path, instrument, layout=layout, arm=arm)
    facts = describe_cube(cube) | _describe_files(files)
    del facts["errors stated as"]
    usable = _usable(cube)
    return {
        **facts,
        **_describe_noise(cube, line_set, redshift),
        "usable": _describe_usable(cube, usable),
        "Galactic extinction": _describe_extinction(cube, files),
        **describe_lines(cube, line_set, redshift),
        "voxels": f"{np.prod(cube.shape):,}",
        **estimate_cost(
            _n_spectrum(cube, usable),
            sum(unpacked(item.path).stat().st_size for item in files),
            BIN_SHARES if cube.copies is None else (1.0, 1.0),
        ),
        **_contradictions(cube, files),
    }


def estimate_cost(n_spaxel: int, n_byte: int, shares: tuple[float, float] = BIN_SHARES) -> Facts:
    """Return what a run will need, as a range: from few bins in a warm start to many in a cold one.

    Parameters
    ----------
    n_spaxel
        Usable spaxels, or spectra where the cube is binned already.
    n_byte
        Size of the files.
    shares
        Bins a spaxel, at least and at most.
    """
    reading = PASSES * n_byte / READ_SPEED
    bins = [max(1, round(share * n_spaxel)) for share in shares]
    low, high = (
        overhead + reading + fit * count
        for overhead, fit, count in zip(OVERHEAD_SECONDS, FIT_SECONDS, bins, strict=True)
    )
    return {
        "memory of a run": MEMORY,
        "time of a run": (
            f"{_duration(low)} to {_duration(high)} on two cores, for {_counts(bins)} "
            f"{'bins' if bins[-1] > 1 else 'bin'} ({_duration(reading)} of it to read the file)"
        ),
    }


def _counts(bins: list[int]) -> str:
    return " to ".join(f"{count:,}" for count in sorted(set(bins)))


def _require_redshift(redshift: float | None) -> None:
    bounds = next(item.metadata for item in fields(PrepareOptions) if item.name == "redshift")
    if redshift is not None and not bounds["low"] <= redshift <= bounds["high"]:
        raise ConfigError(
            f"the redshift is {redshift:g}, where a number from {bounds['low']:g} to "
            f"{bounds['high']:g} was expected"
        )


def _read_headers(path: Path, instrument: str, layout: CubeOptions | None) -> _File:
    with open_cube(path) as hdus:
        name, reason = recognise(path, hdus, instrument, layout=layout)
        units = {
            str(hdu.name or "PRIMARY"): str(hdu.header["BUNIT"]).strip()
            for hdu in hdus
            if hdu.header.get("NAXIS") == 3 and str(hdu.header.get("BUNIT") or "").strip()
        }
        return _File(path, name, reason, units, dict(_stated_reddening(hdus)))


def _stated_reddening(hdus: Any) -> Iterator[tuple[str, str]]:
    for hdu in hdus:
        for card in hdu.header.cards:
            if "EBV" in card.keyword.upper() and isinstance(card.value, float):
                yield card.keyword, f"{card.value:.4f}"


def _describe_files(files: Sequence[_File]) -> Facts:
    facts = {"instrument": f"{files[0].instrument} ({files[0].reason})"}
    if len(files) > 1:
        facts["arm"] = f"{files[1].path.name} ({files[1].reason})"
    return facts


def _describe_axis(wave: Float[F64, " wave"]) -> str:
    """Return the range and step of each stretch of the axis."""
    step = np.diff(wave)
    ends = np.flatnonzero(step > GAP * np.median(step)) + 1
    return " and ".join(
        f"{arm[0]:.3f} to {arm[-1]:.3f} Å (step {_range(np.diff(arm), '.4g')} Å)"
        for arm in np.split(wave, ends)
        if arm.size > 1
    )


def _range(values: Float[F64, " wave"], form: str) -> str:
    low, high = f"{values.min():{form}}", f"{values.max():{form}}"
    return low if low == high else f"{low} to {high}"


def _describe_field(cube: Cube) -> str:
    wcs = celestial_wcs(cube.sky.wcs)
    if wcs is None:
        return "no celestial WCS: the position and the size of a spaxel are unknown"
    n_y, n_x = cube.sky.shape
    x, y = (scale.to_value("arcsec") for scale in wcs.proj_plane_pixel_scales())
    spaxel = f"{x:.3f}" if abs(x / y - 1) < 1e-2 else f"{x:.3f} x {y:.3f}"
    return (
        f"centre {field_center(cube.sky).to_string('hmsdms', precision=1)}, {spaxel} arcsec a "
        f"spaxel, {n_x * x:.1f} x {n_y * y:.1f} arcsec ({', '.join(wcs.wcs.ctype)})"
    )


def _describe_noise(cube: Cube, line_set: LineSet, redshift: float | None) -> Facts:
    chosen = line_set.emission() if redshift is not None else line_set.select(())
    try:
        check = measure_noise(cube, _observed(cube, chosen, redshift or 0.0))
    except InputError as error:
        return {"noise": f"stated as {cube.noise_kind}; {error}"}
    said = describe_noise(cube, check.ratio)
    if redshift is None:
        said += "; emission lines count as scatter, as their redshift is not given"
    return {"noise": said, "errors": _judge(check, cube.noise_kind)}


def _judge(check: NoiseCheck, kind: str) -> str:
    """Return whether the stated errors can be believed; correlated neighbours are told apart."""
    ratio = float(np.median(check.ratio))
    if not 1 / ANOTHER_KIND < ratio < ANOTHER_KIND:
        return (
            f"too {'small' if ratio > 1 else 'large'} by a factor {max(ratio, 1 / ratio):.2g}: "
            f"check that the file states a {kind}, and in the unit of the flux"
        )
    if check.correlation < CORRELATED:
        return _verdict(ratio) + ("" if _agrees(ratio) else f"; {_RESCALE}")
    of_sums = _verdict(float(np.median(check.of_sums)))
    return (
        f"{_verdict(ratio)} at single wavelengths; {of_sums} in sums over a line, as neighbouring "
        f"wavelengths are correlated by {check.correlation:.2f}"
    )


def _verdict(ratio: float) -> str:
    if _agrees(ratio):
        return f"agree with the scatter of the data ({ratio:.2f})"
    return f"too {'small' if ratio > 1 else 'large'} by a factor {max(ratio, 1 / ratio):.2f}"


def _agrees(ratio: float) -> bool:
    return AGREES[0] <= ratio <= AGREES[1]


def _usable(cube: Cube) -> Float[F64, "y x"]:
    """Return the share of some wavelengths at which each spaxel of the field can be used."""
    n_wave, n_y, n_x = cube.shape
    planes = np.unique(((np.arange(_PLANES) + 0.5) * n_wave / _PLANES).astype(int)).tolist()
    good = np.zeros((n_y, n_x))
    for plane in planes:
        for rows in cube.tiles(1):
            good[rows] += ~cube.read(rows, slice(plane, plane + 1)).mask[0]
    return np.asarray(good / len(planes))


def _describe_usable(cube: Cube, usable: Float[F64, "y x"]) -> str:
    n_spaxel = int(np.count_nonzero(usable >= 0.5))
    said = (
        f"{n_spaxel:,} of {usable.size:,} spaxels ({100 * n_spaxel / usable.size:.1f} %), "
        f"{100 * usable.mean():.1f} % of the voxels (at {_PLANES} wavelengths)"
    )
    if cube.copies is None:
        return said
    return f"{said}; binned already: {_n_spectrum(cube, usable):,} spectra of their own"


def _n_spectrum(cube: Cube, usable: Float[F64, "y x"]) -> int:
    wanted = usable >= 0.5
    if cube.copies is None:
        return int(np.count_nonzero(wanted))
    labels = cube.copies[wanted]
    return int(np.count_nonzero(labels < 0) + np.unique(labels[labels >= 0]).size)


def _describe_extinction(cube: Cube, files: Sequence[_File]) -> str:
    state = "removed by the survey" if cube.dereddened else "not removed yet"
    stated = files[0].reddening
    if not stated:
        return f"{state}; the headers state no E(B-V)"
    values = ", ".join(f"{card} = {value}" for card, value in stated.items())
    return f"{state}; the headers state E(B-V): {values}"


def _observed(cube: Cube, line_set: LineSet, redshift: float) -> Float[F64, " line"]:
    return np.asarray(line_set.waves(cube.medium, redshift) * (1 + redshift))


def describe_lines(cube: Cube, line_set: LineSet, redshift: float | None) -> Facts:
    """Return which lines lie on a pixel of a cube as read, which do not, which in sky windows."""
    if redshift is None:
        return {"lines in range": _NO_REDSHIFT}
    observed = _observed(cube, line_set, redshift)
    inside = _covered(cube, observed)
    names = np.array(line_set.names)
    struck = [
        f"{name} ({low:.0f}-{high:.0f} Å)"
        for name, wave, kept in zip(names, observed, inside, strict=True)
        for low, high in PrepareOptions().sky_windows
        if kept and low <= wave <= high
    ]
    return {
        "lines in range": ", ".join(names[inside]) or "none",
        "lines out of range": ", ".join(names[~inside]) or "none",
        "lines in sky windows": ", ".join(struck) or "none",
    }


def _covered(cube: Cube, observed: Float[F64, " line"]) -> Any:
    """Tell which wavelengths lie on a pixel: not beyond the ends, nor in a gap between arms."""
    nearest = np.abs(cube.wave[:, None] - observed).argmin(axis=0)
    away = np.abs(cube.wave[nearest] - observed)
    inside = (nearest > 0) & (nearest < cube.wave.size - 1)
    return inside & (away <= pixel_widths(cube.edges)[nearest])


def _contradictions(cube: Cube, files: Sequence[_File]) -> Facts:
    """Return what the files say against each other, or against what was made of them."""
    said = []
    for item in files:
        scales = {name: _scale(unit) for name, unit in item.units.items()}
        known = {name: scale for name, scale in scales.items() if scale}
        if len(set(known.values())) > 1:
            said.append(
                f"{item.path.name}: "
                + ", ".join(f"{name} is in {item.units[name]!r}" for name in known)
            )
    first, *others = (next(iter(item.units.values()), "") for item in files)
    said += [
        f"the arms are in {first!r} and {other!r}; both are brought to the first"
        for other in others
        if _scale(other) != _scale(first)
    ]
    stated = _scale(first)
    if stated and cube.sky.flux_scale and stated != cube.sky.flux_scale:
        said.append(f"BUNIT is {first!r}, but 1 is taken as {cube.sky.flux_scale:g}")
    return {"contradictions": "; ".join(said)} if said else {}


def _scale(unit: str) -> float:
    """Return the scale of a flux density, or of that whose (inverse) square the unit is."""
    square = _SQUARE.fullmatch(unit)
    try:
        return flux_density_scale(square.group(1) if square else unit)
    except InputError:
        return 0.0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
