"""Everything that the fits of a run have in common: base, configuration, mask, law, ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.errors import ConfigError
from betis.io.run_folder import digest_file, digest_of
from betis.io.starlight.config import Config, Limits, config_text, parse_config, with_value
from betis.io.starlight.files import read_text
from betis.io.starlight.mask import Window, mask_text, parse_mask
from betis.linelist import LineSet
from betis.lsf import FWHM_PER_SIGMA
from betis.options import ContinuumOptions, Options, StarlightOptions
from betis.products import SpectraRows
from betis.starlight import windows as places
from betis.starlight.axis import Rows, on_linear_axis
from betis.starlight.base import BaseFiles, base_files
from betis.starlight.names import plain
from betis.wavelength import C_KMS

__all__ = ["Setup", "make_setup"]

_SAMPLE = 64
"""Rows that tell which pixels are bad in most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """What all fits share.

    Attributes
    ----------
    step : Angstrom
        Of the linear axis.
    scale : erg/s/cm2/Angstrom
        What 1 in the spectra of the run stands for; 1 where that is unknown.
    fitted : Angstrom
        First and last wavelength of the fit.
    config, config_name, config_text
    mask_name, mask_text
    base
    law
        Dust law, as STARLIGHT calls it.
    kinematics
        "FIT" or "FXK".
    excess : (km/s)^2
        Variance of the line-spread function of the data less that of the base: what the dispersion
        that STARLIGHT finds has over that of the stars.
    digest
        Of all of it, and of the executable: outputs made under another one are not these.
    """

    step: float
    scale: float
    fitted: tuple[float, float]
    config: Config
    config_name: str
    config_text: str
    mask_name: str
    mask_text: str
    base: BaseFiles
    law: str
    kinematics: Literal["FIT", "FXK"]
    excess: float
    digest: str


def make_setup(spectra: SpectraRows, line_set: LineSet, options: Options) -> Setup:
    """Settle what all fits of some spectra have in common.

    Parameters
    ----------
    spectra
        The rows; of their values only which are bad in most counts here.
    line_set
        Whose emission lines are masked, where no mask is given.
    options
        Those of the continuum (bounds, limits, masks) hold where no file of STARLIGHT's says else.

    Raises
    ------
    InputError
        Where a file is missing or is not what it should be.
    ConfigError
        Where the configuration normalises outside of the data.
    FitError
        Where base and spectra have hardly a pixel in common.
    """
    chosen = options.starlight
    scale = spectra.sky.flux_scale if spectra.sky else 0.0
    sample = on_linear_axis(spectra.take(slice(0, _SAMPLE)), chosen.step, scale or 1.0)
    base = base_files(chosen, options.continuum, sample.wave)
    own = parse_config(_read(chosen.config), _told(chosen.config)) if chosen.config else None
    cushion = own.cushion if own else Config.cushion
    fitted = places.fit_range(sample.wave, base.range, cushion)
    mask = _mask(chosen, options.continuum, line_set, sample, fitted)
    config = own or _config(sample, fitted, mask, options.continuum)
    _require_normalised(config, fitted, chosen.config)
    text = with_value(_read(chosen.config), "i_SkipExistingOutFiles", "0") if own else None
    made = {
        "config_text": text or config_text(config),
        "mask_text": _read(chosen.mask) if chosen.mask else mask_text(mask),
        "law": chosen.law,
        "kinematics": chosen.kinematics,
    }
    return Setup(
        step=chosen.step,
        scale=scale or 1.0,
        fitted=fitted,
        config=config,
        config_name=_name(chosen.config, "StCv04.betis.config"),
        mask_name=_name(chosen.mask, "Masks.EmLines.betis"),
        base=base,
        excess=_excess(sample, base, fitted),
        digest=_digest(made, base, chosen, fitted),
        **made,  # type: ignore[arg-type]  # each of its own type
    )


def _read(path: str) -> str:
    return read_text(Path(path), "STARLIGHT's file")


def _told(path: str) -> str:
    return f"the configuration {path}"


def _name(path: str, default: str) -> str:
    return plain(Path(path).name) if path else default


def _mask(
    chosen: StarlightOptions,
    continuum: ContinuumOptions,
    line_set: LineSet,
    sample: Rows,
    fitted: tuple[float, float],
) -> list[Window]:
    """Return the windows of the mask: those of the file, or of lines, sky and limits."""
    if chosen.mask:
        return parse_mask(_read(chosen.mask), f"the mask {chosen.mask}")
    return places.merged(
        [
            *places.line_windows(line_set, continuum),
            *places.sky_windows(sample.wave, sample.sky_window),
            *places.outside_windows(fitted, continuum),
        ],
        fitted,
    )


def _config(
    sample: Rows,
    fitted: tuple[float, float],
    mask: Sequence[Window],
    continuum: ContinuumOptions,
) -> Config:
    """Return a configuration for the range of the data, with the bounds of the options."""
    inside, usable = _usable(sample, fitted, mask)
    norm_wave, norm_window = places.normalisation(sample.wave[inside], usable[inside])
    return Config(
        norm_wave=norm_wave,
        norm_window=norm_window,
        limits=Limits(
            (continuum.min_av, continuum.max_av),
            (-continuum.max_velocity, continuum.max_velocity),
            (0.0, continuum.max_sigma),
        ),
        clip=continuum.clip,
    )


def _usable(
    sample: Rows, fitted: tuple[float, float], mask: Sequence[Window]
) -> tuple[Bool[B8, " wave"], Bool[B8, " wave"]]:
    """Tell the pixels in the fitted range, and those that are not masked nor bad in most rows."""
    inside = (sample.wave >= fitted[0]) & (sample.wave <= fitted[1])
    has_data = sample.good.any(axis=1)
    rows = sample.good[has_data] if has_data.any() else np.ones((1, sample.wave.size), bool)
    return inside, rows.mean(axis=0) * ~places.masked(sample.wave, mask) >= 0.5


def _require_normalised(config: Config, fitted: tuple[float, float], path: str) -> None:
    low, upp = config.norm_window
    if not fitted[0] <= low < upp <= fitted[1]:
        raise ConfigError(
            f"the configuration {path} normalises at {low:g} to {upp:g} Angstrom, where the fit "
            f"runs from {fitted[0]:g} to {fitted[1]:g} Angstrom at rest; change its first three "
            "values, or leave starlight.config out for one that fits these data"
        )


def _excess(sample: Rows, base: BaseFiles, fitted: tuple[float, float]) -> float:
    inside = (sample.wave >= fitted[0]) & (sample.wave <= fitted[1])
    wave: Float[F64, " wave"] = sample.wave[inside]
    fwhm = np.interp(wave, base.templates.wave, base.templates.fwhm)
    variance = (sample.lsf[inside] ** 2 - fwhm**2) / FWHM_PER_SIGMA**2
    return float(np.median(variance * (C_KMS / wave) ** 2))


def _digest(
    made: dict[str, str], base: BaseFiles, chosen: StarlightOptions, fitted: tuple[float, float]
) -> str:
    program = digest_file(Path(chosen.executable)) if chosen.executable else ""
    return digest_of(made, base.digest, program, chosen.step, fitted)[:8]
