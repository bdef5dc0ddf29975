"""What the report says in words and numbers; no drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32
from betis.flags import MEANING, Flag
from betis.report.canvas import finite
from betis.report.content import ReportContent

DETECTION = 3.0
"""S/N from which the report calls a line detected."""

MAIN_LINES: tuple[tuple[str, ...], ...] = (
    ("Ha6563",),
    ("Hb4861",),
    ("OIII5007",),
    ("NII6583",),
    ("SII6716", "SII6731"),
)
"""Lines that every report shows where they were fitted; doublets are summed."""

_MAX_OTHER = 4
"""Most lines shown in place of the main ones where none of those is detected."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """One line, or the sum of a doublet, in every bin.

    ``flux`` and ``snr`` are of the sum; ``velocity`` and ``sigma`` (km/s) of its strongest line.
    ``position`` is that line's place on the line axis.
    """

    label: str
    position: int
    flux: Float[F64, " bin"]
    snr: Float[F64, " bin"]
    velocity: Float[F64, " bin"]
    sigma: Float[F64, " bin"]

    @property
    def detected(self) -> Bool[B8, " bin"]:
        """True where the S/N is at least `DETECTION`."""
        return np.nan_to_num(self.snr, nan=0.0) >= DETECTION


def measure(content: ReportContent, names: Sequence[str]) -> Measured | None:
    """Return a line, or the sum of several, as far as they were fitted; None for none.

    The errors of a doublet are added in quadrature: the covariance of its fluxes is ignored.
    """
    fitted = [name for name in names if name in content.lines.names]
    if not fitted:
        return None
    columns = [content.lines.index(name) for name in fitted]
    flux = content.lines.flux[:, columns].sum(axis=1)
    error = np.sqrt(np.square(content.lines.flux_err[:, columns]).sum(axis=1))
    strongest = max(columns, key=lambda column: _total(content.lines.snr[:, column]))
    snr = np.divide(flux, error, out=np.full_like(flux, np.nan), where=error > 0)
    return Measured(
        label=doublet_label([content.label(name) for name in fitted]),
        position=strongest,
        flux=flux,
        snr=snr,
        velocity=content.lines.velocity[:, strongest],
        sigma=content.lines.sigma[:, strongest],
    )


def doublet_label(labels: Sequence[str]) -> str:
    """Return ``[S II] 6716+6731`` of ``[S II] 6716`` and ``[S II] 6731``."""
    ion = labels[0].rpartition(" ")[0]
    same_ion = all(label.rpartition(" ")[0] == ion for label in labels)
    if not ion or not same_ion:
        return "+".join(labels)
    return f"{ion} {'+'.join(label.rpartition(' ')[2] for label in labels)}"


def shown_lines(content: ReportContent) -> list[Measured]:
    """Return the main lines that were fitted; where none is detected, the most detected others."""
    main = [line for names in MAIN_LINES if (line := measure(content, names)) is not None]
    if any(line.detected.any() for line in main):
        return main
    every = [line for name in content.lines.names if (line := measure(content, [name]))]
    others = sorted(every, key=lambda line: -int(line.detected.sum()))
    return [line for line in others[:_MAX_OTHER] if line.detected.any()] or main


def detected(content: ReportContent) -> Bool[B8, "bin line"]:
    """Return where the S/N is at least `DETECTION`, of either sign for absorption lines."""
    return content.reaches(DETECTION)


def reached(content: ReportContent) -> Bool[B8, " bin"]:
    """Return True for the bins that reach the target S/N."""
    return np.asarray((content.bins.flags & (Flag.LOW_SNR | Flag.NO_DATA)) == 0)


def reached_share(content: ReportContent) -> float:
    """Return the share of binned spaxels that are in bins which reach the target; NaN for none."""
    count = content.bins.n_spaxel
    return float(count[reached(content)].sum() / count.sum()) if count.sum() else float("nan")


def verdict(content: ReportContent) -> str:
    """Return the one line that says how the run went."""
    return f"{_binning_verdict(content)} {_line_verdict(content)}"


def key_numbers(content: ReportContent) -> dict[str, str]:
    """Return the numbers that stand at the top."""
    bins, seen = content.bins, detected(content).any(axis=0)
    numbers = {
        "bins": f"{bins.n_bin:,}",
        "spaxels in bins": f"{int(bins.n_spaxel.sum()):,}",
        "median S/N of the bins": number(median(bins.snr)),
        "lines detected in at least one bin": f"{int(seen.sum())} of {seen.size}",
        "median reduced χ² of the continuum": number(median(continuum_chi2(content))),
    }
    if np.isfinite(bins.target):
        share = {"of the spaxels reach the target": percent(reached_share(content))}
        numbers = share | numbers
    if content.timings:
        numbers["computing time"] = duration(sum(content.timings.values()))
    return numbers


def line_table(content: ReportContent) -> list[tuple[str, ...]]:
    """Return a table of the detected lines, the header first; medians are over detected bins."""
    header = ("line", "bins with S/N ≥ 3", "median S/N", f"total flux ({flux_unit(content)})")
    kinematics = ("velocity (km/s)", "σ (km/s)", "EW (Å)")
    return [
        (*header, *kinematics),
        *(_line_row(content, int(i)) for i in np.flatnonzero(detected(content).any(axis=0))),
    ]


def undetected_sentence(content: ReportContent) -> str:
    """Return which lines are detected nowhere, and which could not be measured; "" for none."""
    nowhere = ~detected(content).any(axis=0)
    measured = np.isfinite(content.lines.snr).any(axis=0)
    parts = (
        ("Detected in no bin", nowhere & measured),
        ("Not measured, outside the spectra or masked", ~measured),
    )
    lists = [
        f"{text}: {', '.join(content.label(content.lines.names[i]) for i in np.flatnonzero(kept))}."
        for text, kept in parts
        if kept.any()
    ]
    return " ".join(lists)


def flag_table(flags: Int[I32, " ..."], what: str) -> list[tuple[str, ...]]:
    """Return a table of the flags that are set: name, count, share, meaning; the header first."""
    counts = [(flag, int(np.count_nonzero(flags & flag))) for flag in Flag]
    rows = [
        (flag.name or "", f"{count:,}", percent(count / flags.size), MEANING[flag])
        for flag, count in counts
        if count
    ]
    clean = int(np.count_nonzero(flags == 0))
    share = percent(clean / flags.size) if flags.size else "–"
    return [("flag", what, "share", "meaning"), ("none", f"{clean:,}", share, "no flag"), *rows]


def timing_table(timings: dict[str, float]) -> list[tuple[str, ...]]:
    """Return a table of stages and how long they took, with the sum; the header first."""
    total = sum(timings.values())
    rows = [
        (name, duration(value), percent(value / total) if total > 0 else "–")
        for name, value in timings.items()
    ]
    return [("stage", "time", "share"), *rows, ("all", duration(total), "100 %")]


def continuum_chi2(content: ReportContent) -> Float[F64, " spectrum"]:
    """Return the reduced chi-square of each continuum fit."""
    return reduced(content.continuum.table.chi2, content.continuum.table.dof)


def reduced(chi2: Float[F64, " ..."], dof: Float[F64, " ..."]) -> Float[F64, " ..."]:
    """Return ``chi2 / dof``; NaN where there is no degree of freedom."""
    empty = np.full(np.shape(chi2), np.nan)
    return np.asarray(np.divide(chi2, dof, out=empty, where=np.asarray(dof) > 0))


def median(values: F64) -> float:
    """Return the median of the finite values; NaN for none."""
    good = finite(values)
    return float(np.median(good)) if good.size else float("nan")


def flux_unit(content: ReportContent) -> str:
    """Return the unit of integrated flux."""
    return f"{scale_text(content.sky.flux_scale)}erg/s/cm²" if content.sky.flux_scale else "file's"


def density_unit(content: ReportContent) -> str:
    """Return the unit of flux density."""
    return f"{flux_unit(content)}/Å" if content.sky.flux_scale else "file's unit"


def scale_text(scale: float) -> str:
    """Return ``10⁻²⁰ `` for 1e-20, with a factor where it is no power of ten; "" for 1."""
    mantissa, _, exponent = f"{scale:.3g}".partition("e")
    if not exponent:
        exponent = f"{np.log10(scale):.0f}"
        mantissa = f"{scale / 10 ** float(exponent):.3g}"
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)} " if int(exponent) else ""
    return power if mantissa == "1" else f"{mantissa}×{power}"


def counted(count: int, what: str) -> str:
    """Return ``1 bin`` or ``2 bins``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def number(value: float, digits: int = 3) -> str:
    """Return a number as people write it; a dash for NaN."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
    return _plain_power(text).replace("-", "−")


def fixed(value: float, decimals: int) -> str:
    """Return a number with this many decimals; a dash for NaN."""
    if not np.isfinite(value):
        return "–"
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")


def percent(share: float) -> str:
    """Return a share as a percentage that is never rounded to 0 or to 100."""
    if not np.isfinite(share):
        return "–"
    if share < 0:
        return f"−{percent(-share)}" if share <= -0.001 else "> −0.1 %"
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.3g} %"


def duration(seconds: float) -> str:
    """Return a time in the unit in which it is easily read."""
    if not np.isfinite(seconds):
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _plain_power(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}" if exponent else text


def _total(values: F64) -> float:
    return float(finite(values).sum())


def _binning_verdict(content: ReportContent) -> str:
    bins = content.bins
    if bins.n_bin == 0:
        return "No spaxel is in any bin."
    if not np.isfinite(bins.target):
        return f"{bins.n_bin:,} bins were measured; no target S/N was asked of them."
    line = content.label(content.snr.line)
    return (
        f"{percent(reached_share(content))} of the binned spaxels are in bins that reach S/N "
        f"{number(bins.target)} in {line} ({int(reached(content).sum()):,} of {bins.n_bin:,} bins)."
    )


def _line_verdict(content: ReportContent) -> str:
    n_bin = content.bins.n_bin
    seen = [(line.label, int(line.detected.sum())) for line in shown_lines(content)]
    parts = [f"{label} in {count:,}" for label, count in seen if count]
    if not parts:
        return f"No emission line is detected at S/N {DETECTION:.0f} in any bin."
    return f"Detected at S/N ≥ {DETECTION:.0f}: {', '.join(parts)} of {n_bin:,} bins."


def _line_row(content: ReportContent, column: int) -> tuple[str, ...]:
    fit = content.lines
    seen = detected(content)[:, column]
    count, total = int(seen.sum()), len(seen)
    flux = number(_total(fit.flux[seen, column]), 4)
    values = ((fit.velocity, 1), (fit.sigma, 1), (fit.ew, 2))
    medians = (fixed(median(value[seen, column]), digits) for value, digits in values)
    name, snr = content.label(fit.names[column]), fixed(median(fit.snr[:, column]), 1)
    return (name, f"{count:,} of {total:,}", snr, flux, *medians)
