"""The configuration of STARLIGHT v04: a value a line, and which line it is on is what counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from betis.errors import InputError

__all__ = ["Config", "Limits", "config_text", "parse_config", "with_value"]

_VALUE_WIDTH = 13
_ENTRY = re.compile(r"^\s*(?P<value>[^\s#]\S*)\s+\[\s*(?P<label>[^\s\]]+)")
_NO_CLIPPING, _CLIPPING = "NOCLIP", "NSIGMA"


class Limits(NamedTuple):
    """Bounds of the parameters: mag, km/s, km/s."""

    av: tuple[float, float]
    velocity: tuple[float, float]
    sigma: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the rest of betis must know of a configuration.

    Attributes
    ----------
    norm_wave, norm_window : Angstrom
        Where the base is normalised, and the window whose median flux is fobs_norm.
    limits
    clip : sigma
        0 for no clipping.
    cushion : Angstrom
        By which the base must reach beyond the fitted range.
    has_header
        Whether STARLIGHT passes over the first line of each spectrum.
    """

    norm_wave: float
    norm_window: tuple[float, float]
    limits: Limits
    clip: float = 3.0
    cushion: float = 50.0
    has_header: bool = False


# Values of the configuration C11 that comes with STARLIGHT, but for those filled in; and the
# general way of rebinning the base, as the fast one takes every base for BC03's.
_LAYOUT = """\
# Configuration of STARLIGHT v04, written by betis
#
#
# Normalisation
#
{norm_wave} [l_norm (A)]
{norm_low} [llow_norm (A)]
{norm_upp} [lupp_norm (A)]
#
#
# Limits of parameters
#
{av_low} [AV_low (mag)]
{av_upp} [AV_upp (mag)]
-0.0001 [YAV_low (mag)]
0.0001 [YAV_upp (mag)]
0.7 [fn_low]
1.3 [fn_upp]
{v0_low} [v0_low (km/s)]
{v0_upp} [v0_upp (km/s)]
{vd_low} [vd_low (km/s)]
{vd_upp} [vd_upp (km/s)]
#
#
# Clipping and control of weights
#
{method} [clip_method_option]
{clip} [sig_clip_threshold]
2.0 [wei_nsig_threshold]
#
#
# Miscellaneous
#
{cushion} [dl_cushion (A)]
0.001 [f_cut (units of f_norm)]
31 [N_int_Gauss]
1 [i_verbose]
0 [i_verbose_anneal]
{header} [Is1stLineHeader]
0 [i_FastBC03_FLAG]
0 [i_FitPowerLaw]
-0.5 [alpha_PowerLaw]
0 [i_SkipExistingOutFiles]
#
#
# Markov chains
#
7 [N_chains]
0.50 [xinit_max]
0 [i_UpdateEps]
2 [i_UpdateAlpha]
2.0 [Falpha]
1 [i_MoveOneParOnly]
1 [i_UpdateAVYAVStepSeparately]
1 [i_HelpParWithMaxR]
0.2 [prob_jRmax]
1 [i_HelpPopVectorMove2Average]
0.4 [prob_HelpPopVectorMove2Average]
1 [i_HelpAVYAVMove2Average]
0.4 [prob_HelpAVYAVMove2Average]
10 [NRC_AV_Default]
#
#
# First fits
#
1.0e2 [Temp_ini_FF]
1.0 [Temp_fin_FF]
1.0e1 [fini_eps_FF]
1.0e2 [ffin_eps_FF]
1.3 [R_ini_FF]
1.3 [R_fin_FF]
0 [IsGRTestHard_FF]
3 [N_loops_FF]
1 [i_RestartChains_FF]
1.0e1 [fN_sim_FF]
1.0e4 [fNmax_steps_FF]
0.23 [eff_IDEAL_FF]
#
#
# Burn-in
#
1.2 [R_Burn_in]
0 [IsGRTestHard_BurnIn]
#
#
# Fits with the condensed base
#
MIN [EXOs_PopVector_option]
CUMUL [EXOs_method_option]
0.02 [EXOs_Threshold]
1.0 [Temp_ini_EX0s]
1.0e-3 [Temp_fin_EX0s]
1.0e2 [fini_eps_EX0s]
1.0e3 [ffin_eps_EX0s]
1.2 [R_ini_EX0s]
1.0 [R_fin_EX0s]
1 [IsGRTestHard_EX0s]
5 [N_loops_EX0s]
1 [i_RestartChains_EX0s]
1.0e2 [fN_sim_EX0s]
1.0e3 [fNmax_steps_EX0s]
0.50 [eff_IDEAL_EX0s]
1 [IsScaleNstepsInEX0sFits]
1 [IsNoKin4LargeBaseInEX0sFits]
0.0 [frac_NoKin4LargeBaseInEX0sFits]
0.1 [fEX0_MinBaseSize]
"""


def config_text(config: Config) -> str:
    """Return a configuration: that of `Config`, and C11 for everything else."""
    limits = config.limits
    filled = _LAYOUT.format(
        norm_wave=config.norm_wave,
        norm_low=config.norm_window[0],
        norm_upp=config.norm_window[1],
        av_low=limits.av[0],
        av_upp=limits.av[1],
        v0_low=limits.velocity[0],
        v0_upp=limits.velocity[1],
        vd_low=limits.sigma[0],
        vd_upp=limits.sigma[1],
        method=_CLIPPING if config.clip > 0 else _NO_CLIPPING,
        clip=config.clip if config.clip > 0 else 3.0,
        cushion=config.cushion,
        header=int(config.has_header),
    )
    return "".join(f"{_aligned(line)}\n" for line in filled.splitlines())


def parse_config(text: str, name: str = "the configuration") -> Config:
    """Return what a configuration says.

    Raises
    ------
    InputError
        Where a value is missing or is no number.
    """
    found = {
        entry["label"]: entry["value"] for entry in map(_ENTRY.match, text.splitlines()) if entry
    }

    def number(label: str) -> float:
        try:
            return float(found[label])
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{name} has no number before [{label}], as a configuration of STARLIGHT v04 "
                "does; correct it"
            ) from error

    clips = found.get("clip_method_option") != _NO_CLIPPING
    return Config(
        norm_wave=number("l_norm"),
        norm_window=(number("llow_norm"), number("lupp_norm")),
        limits=Limits(
            (number("AV_low"), number("AV_upp")),
            (number("v0_low"), number("v0_upp")),
            (number("vd_low"), number("vd_upp")),
        ),
        clip=number("sig_clip_threshold") if clips else 0.0,
        cushion=number("dl_cushion"),
        has_header=number("Is1stLineHeader") == 1,
    )


def with_value(text: str, label: str, value: str) -> str:
    """Return a configuration with another value at one label, each line where it was."""
    lines = text.splitlines(keepends=True)
    return "".join(_replaced(line, label, value) for line in lines)


def _replaced(line: str, label: str, value: str) -> str:
    entry = _ENTRY.match(line)
    if entry is None or entry["label"] != label:
        return line
    start, end = entry.span("value")
    return f"{line[:start]}{value}{line[end:]}"


def _aligned(line: str) -> str:
    value, separator, label = line.partition(" [")
    return f"{value:<{_VALUE_WIDTH}}{separator}{label}" if separator else line
