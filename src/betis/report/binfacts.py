"""What the report says of the bins in words and numbers; no drawing."""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64
from betis.flags import MEANING, Flag
from betis.products import BinMap
from betis.report.canvas import finite
from betis.report.content import ReportContent
from betis.report.summary import counted, density_unit, flux_unit, median, number, percent

_REGIONS = "regions"
_INDEPENDENT = "independent"
_GAUSSIAN = "gaussian:"
_LIGHT_SNR = 3.0
"""S/N of the field's whole light below which shares of it mean nothing."""


class Promise(NamedTuple):
    """How the S/N measured on stacked spectra stands to the predicted one.

    ``ratio`` is the median of measured over predicted S/N of the ``n_bin`` bins that have no flag
    and both, NaN for none; ``n_short`` of them measure below the target.
    """

    ratio: float
    n_bin: int
    n_short: int


def promise(bins: BinMap) -> Promise:
    """Compare the measured with the predicted S/N of the bins without a flag."""
    both = measured_too(bins) & (bins.flags == 0)
    if bins.snr_measured is None or not both.any():
        return Promise(float("nan"), 0, 0)
    n_short = int((bins.snr_measured[both] < bins.target).sum())
    return Promise(bins.promise, int(both.sum()), n_short)


def measured_too(bins: BinMap) -> Bool[B8, " bin"]:
    """Return where both the predicted and the measured S/N of a bin are known."""
    if bins.snr_measured is None:
        return np.zeros(bins.n_bin, dtype=bool)
    return np.asarray(np.isfinite(bins.snr) & np.isfinite(bins.snr_measured))


def binning_facts(content: ReportContent) -> dict[str, str]:
    """Return method, target, margin, and what was taken for the noise of neighbours."""
    facts = {
        "method": _method(content),
        "target": _target(content),
        "margin": _margin(content.bins),
        "noise of a bin": _noise(content.bins),
    }
    return {name: text for name, text in facts.items() if text}


def share_table(content: ReportContent) -> list[tuple[str, ...]]:
    """Return the shares of light and area without a flag, of each flag and in no bin.

    The header comes first and all of the field last. Light is the sum of the signal over spaxels,
    of either sign: the noise of empty spaxels cancels, where a sum of the positive ones grows with
    every empty spaxel. A bin with several flags counts in the row of each.
    """
    bins, field = content.bins, light_of_field(content)
    rows = [_share_row(field, bins, bins.flags == 0, "none", "no flag")]
    rows += [
        _share_row(field, bins, bins.flags & flag != 0, str(flag.name), MEANING[flag])
        for flag in Flag
        if np.any(bins.flags & flag)
    ]
    header = ("flag of the bin", "bins", "spaxels", "share of area", "share of light", "meaning")
    out, every = field.usable & (bins.bin_id < 0), f"{bins.n_bin:,}"
    return [
        header,
        *rows,
        ("in no bin", "–", *_shares(field, out), "spaxels that were left out"),
        ("all", every, *_shares(field, field.usable), "spaxels with a signal and its noise"),
    ]


def share_note(content: ReportContent) -> str:
    """Return what the shares of light and area are of."""
    label, field = content.label(content.snr.line), light_of_field(content)
    light = (
        f"Light: the sum of the signal of {label} over spaxels, those with a negative one included "
        "so that noise cancels."
    )
    if np.isnan(field.total):
        light = f"The light of {label} in the field does not stand out of its noise: no shares."
    flags = content.bins.flags
    overlap = np.any(flags & (flags - 1))
    return light + (" A bin with several flags counts in each of their rows." if overlap else "")


def region_sentence(content: ReportContent) -> str:
    """Return how many regions there are and what they hold; "" where bins are not told apart."""
    bins = content.bins
    if bins.is_region is None:
        return ""
    count = int(bins.is_region.sum())
    if not count:
        return "No region is among them: all bins are of the field."
    field = light_of_field(content)
    _, area, light = _shares(field, bins.paint(bins.is_region, blank=False))
    share = "" if np.isnan(field.total) else f"{light} of the light and "
    return f"Orange: {counted(count, 'region')}, with {share}{area} of the area."


def signal_unit(content: ReportContent) -> str:
    """Return the unit of the signal that bins are made on: a flux, or a flux density."""
    density = content.snr.method in ("betis", "continuum")
    return density_unit(content) if density else flux_unit(content)


class FieldLight(NamedTuple):
    """The signal of the spaxels that count, 0 at the others; ``total`` is NaN without light."""

    usable: Bool[B8, "y x"]
    signal: Float[F64, "y x"]
    total: float


def light_of_field(content: ReportContent) -> FieldLight:
    """Return the signal of the spaxels that have one and its noise, or are in a bin."""
    usable = np.isfinite(content.snr.snr) | (content.bins.bin_id >= 0)
    signal = np.where(usable, np.nan_to_num(content.snr.signal, nan=0.0, posinf=0, neginf=0), 0.0)
    variance = np.where(usable, np.nan_to_num(content.snr.noise, nan=0.0, posinf=0) ** 2, 0.0)
    total = float(signal.sum())
    seen = total > _LIGHT_SNR * float(np.sqrt(variance.sum()))
    return FieldLight(usable, signal, total if seen else float("nan"))


def _shares(field: FieldLight, where: Bool[B8, "y x"]) -> tuple[str, str, str]:
    """Return number of spaxels, share of the area and share of the light."""
    n_field, n_spaxel = int(field.usable.sum()), int(np.count_nonzero(where))
    area = percent(n_spaxel / n_field) if n_field else "–"
    return f"{n_spaxel:,}", area, percent(float(field.signal[where].sum()) / field.total)


def _share_row(
    field: FieldLight, bins: BinMap, kept: Bool[B8, " bin"], name: str, meaning: str
) -> tuple[str, ...]:
    where = bins.paint(kept, blank=False)
    return (name, f"{int(kept.sum()):,}", *_shares(field, where), meaning)


def _method(content: ReportContent) -> str:
    """Return the method by the options of the run; "" where they are not known."""
    asked = content.settings.get
    method, drawn = asked("binning.method", ""), asked("regions.map", "")
    if method != _REGIONS:
        return f"labels of {PurePath(method).name}" if ".fit" in method else method
    line, rest = content.label(asked("regions.line", "")), asked("regions.diffuse", "none")
    found = f"regions of {PurePath(drawn).name}" if drawn else f"regions found in {line}"
    return f"{found}; the field round them {'in no bin' if rest == 'none' else f'by {rest}'}"


def _target(content: ReportContent) -> str:
    if not np.isfinite(content.bins.target):
        return "none"
    strict = content.settings.get("binning.strict") == str(True)
    held = ", held as measured on the stacked spectra" if strict else ""
    return f"S/N {number(content.bins.target)} in {content.label(content.snr.line)}{held}"


def _margin(bins: BinMap) -> str:
    if not np.isfinite(bins.target):
        return ""
    if not bins.margin:
        return "none"
    only = "" if bins.is_region is None else ", but for regions"
    return f"{number(bins.margin)}: grown to S/N {number(bins.target + bins.margin)}{only}"


def _noise(bins: BinMap) -> str:
    """Return what was taken for the noise of neighbours, and what it makes of that of bins."""
    growth = finite(bins.growth)
    if growth.size == 0:
        return _noise_model(bins)
    middle, largest = number(median(growth)), number(float(growth.max()))
    factors = f"× {middle} (median), × {largest} (largest) that of independent spaxels"
    return f"{_noise_model(bins)}: {factors if np.any(growth != 1) else '× 1 in every bin'}"


def _noise_model(bins: BinMap) -> str:
    model = bins.noise_model
    if not model:
        alpha = number(bins.correlation)
        model = f"1 + {alpha} log10(n)" if bins.correlation else _INDEPENDENT
    if model == _INDEPENDENT:
        return "spaxels taken as independent"
    if model.startswith(_GAUSSIAN):
        return f"spaxels correlated by a Gaussian, σ = {model.removeprefix(_GAUSSIAN)} spaxels"
    return f"{model}, n spaxels"
