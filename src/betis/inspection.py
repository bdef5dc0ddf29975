"""What betis understood of a cube, in words, before anything is computed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from betis.errors import ConfigError
from betis.io.fits import open_fits
from betis.io.products import flux_unit
from betis.io.readers import read_cube, recognise
from betis.io.wcs import celestial_wcs
from betis.linelist import LineSet
from betis.options import PrepareOptions
from betis.products import Cube

Facts = dict[str, str]


def describe_cube(cube: Cube) -> Facts:
    """Return what a cube is: instrument, size, axis, medium, LSF, unit, field."""
    n_wave, n_y, n_x = cube.shape
    wave = cube.wave * (1 + cube.redshift)
    step = np.diff(wave)
    resolution = cube.lsf * (1 + cube.redshift)
    return {
        "file": Path(cube.path).name or "arrays in memory",
        "instrument": cube.instrument,
        "size": f"{n_x} x {n_y} spaxels, {n_wave} wavelengths",
        "wavelengths": (
            f"{wave[0]:.3f} to {wave[-1]:.3f} Å observed, in {cube.medium}, step "
            f"{step.min():.4g}" + (f" to {step.max():.4g} Å" if np.ptp(step) > 1e-6 else " Å")
        ),
        "resolution (FWHM)": f"{resolution.min():.2f} to {resolution.max():.2f} Å",
        "flux unit": flux_unit(cube.sky, density=True) or "unknown (BUNIT does not say)",
        "field": _describe_field(cube),
    }


def inspect_cube(
    path: str | Path, line_set: LineSet, instrument: str = "auto", redshift: float | None = None
) -> Facts:
    """Return what was understood of a file, and how its noise and its lines look.

    Raises
    ------
    InputError
        Where the file cannot be read as a cube.
    ConfigError
        Where the redshift makes no sense.
    """
    _require_redshift(redshift)
    with open_fits(path) as hdus:
        name, reason = recognise(path, hdus, instrument)
    cube = read_cube(path, instrument)
    facts = describe_cube(cube)
    facts["instrument"] = f"{name} ({reason})"
    facts |= _describe_noise(cube)
    if redshift is None:
        facts["lines in range"] = "give the redshift with -z to see them"
    else:
        facts["lines in range"] = ", ".join(_lines_inside(cube, line_set, redshift)) or "none"
    megabytes = 16 * np.prod(cube.shape) / 2**20
    facts["voxels"] = f"{np.prod(cube.shape):,} ({megabytes:,.0f} MiB as flux and variance)"
    return facts


def _require_redshift(redshift: float | None) -> None:
    bounds = next(item.metadata for item in fields(PrepareOptions) if item.name == "redshift")
    if redshift is not None and not bounds["low"] <= redshift <= bounds["high"]:
        raise ConfigError(
            f"the redshift is {redshift:g}, where a number from {bounds['low']:g} to "
            f"{bounds['high']:g} was expected"
        )


def _describe_field(cube: Cube) -> str:
    wcs = celestial_wcs(cube.sky.wcs)
    if wcs is None:
        return "no celestial WCS"
    n_y, n_x = cube.sky.shape
    center = wcs.pixel_to_world((n_x - 1) / 2, (n_y - 1) / 2)
    scale = wcs.proj_plane_pixel_area().to_value("arcsec2") ** 0.5
    return (
        f"centre {center.to_string('hmsdms', precision=1)}, {scale:.3f} arcsec a spaxel, "
        f"{n_x * scale:.1f} x {n_y * scale:.1f} arcsec"
    )


def _describe_noise(cube: Cube) -> Facts:
    """Compare the scatter between neighbouring wavelengths with the stated error."""
    middle = cube.sky.shape[0] // 2
    block = cube.read(slice(max(0, middle - 5), middle + 5))
    usable = ~block.mask
    share = f"{100 * usable.mean():.1f} % of the voxels of the central rows"
    both = usable[1:] & usable[:-1]
    if not both.any():
        return {"usable": share, "noise": "no usable voxel in the central rows"}
    difference = np.diff(block.flux, axis=0)[both]
    stated = np.sqrt(block.variance[1:] + block.variance[:-1])[both]
    ratio = 1.4826 * float(np.median(np.abs(difference / stated)))
    return {
        "usable": share,
        "noise": f"stored as variance; scatter of neighbouring wavelengths / stated = {ratio:.2f}",
    }


def _lines_inside(cube: Cube, line_set: LineSet, redshift: float) -> list[str]:
    observed = line_set.waves(cube.medium, redshift) * (1 + redshift)
    inside = (observed > cube.wave[0]) & (observed < cube.wave[-1])
    return [name for name, kept in zip(line_set.names, inside, strict=True) if kept]
