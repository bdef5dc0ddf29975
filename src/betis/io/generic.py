"""Reader of any cube that the table [cube] of a TOML file describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import ConfigError, InputError
from betis.io.layout import Layout, LineSpread, length_vector, read_layout
from betis.options import CubeOptions
from betis.products import Cube

NAME = "generic"
_LABEL = "described"


def read(path: Path, hdus: Any, options: CubeOptions) -> Cube:
    """Return the cube of an open file that the options describe.

    Raises
    ------
    ConfigError
        Where the options do not say where the flux and its error are, or how wide a line is.
    InputError
        As `betis.io.layout.read_layout`.
    """
    _require_complete(options)
    layout = Layout(
        name=NAME,
        label=_LABEL,
        flux=options.flux,
        error=options.error,
        error_kind=options.error_kind,
        mask=options.mask,
        mask_bits=options.mask_bits,
        mask_required=bool(options.mask),
        wave=options.wave,
        scale=options.scale,
        medium=options.medium or None,
        lsf=_line_spread(path, hdus, options),
    )
    return read_layout(path, hdus, layout)


def _require_complete(options: CubeOptions) -> None:
    for key, meaning in (("flux", "the flux density"), ("error", "its error")):
        if not getattr(options, key):
            raise ConfigError(
                f"the layout of the cube is not described: set {key} in the table [cube] of a "
                f"TOML file to the extension of {meaning}, and give that file as --instrument"
            )
    if not (options.lsf or options.resolving_power or options.fwhm):
        raise ConfigError(
            "the table [cube] does not say how wide a line is; set fwhm (Angstrom), "
            "resolving_power or lsf (an extension)"
        )


def _line_spread(path: Path, hdus: Any, options: CubeOptions) -> LineSpread:
    def fwhm(wave: Float[F64, " wave"]) -> Float[F64, " wave"]:
        if options.lsf:
            return _listed(path, hdus, options.lsf, wave.size)
        if options.resolving_power:
            return wave / options.resolving_power
        return np.full_like(wave, options.fwhm)

    return fwhm


def _listed(path: Path, hdus: Any, name: str, n_wave: int) -> Float[F64, " wave"]:
    width = length_vector(path, hdus, name, "line-spread function", _LABEL)
    if width.size != n_wave or not np.all(np.isfinite(width) & (width > 0)):
        raise InputError(
            f"{path}: the extension {name} must have a positive FWHM for each of {n_wave} "
            f"wavelengths, but it has {np.sum(width > 0)} of them"
        )
    return width
