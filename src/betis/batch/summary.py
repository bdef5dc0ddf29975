"""One table of a sample: how each galaxy ended, and the numbers of those that are done."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32
from betis.finished import FinishedRun, open_finished
from betis.flags import Flag
from betis.io.fits import write_text
from betis.io.run_folder import RunFolder
from betis.products import BinMap, ContinuumFit, LineFit

__all__ = ["LINES", "Result", "numbers_of", "write_summary"]

LINES = (
    *("OII3726", "OII3729", "Hb4861", "OIII5007", "OI6300"),
    *("Ha6563", "NII6583", "SII6716", "SII6731"),
)
"""Lines of the summary; where a line set has none of them, all of its lines are."""

_FLUX = "erg/s/cm2"
_ABSENT = Flag.NOT_DETECTED | Flag.NO_DATA | Flag.NO_COMPONENT
_FAILED = Flag.FIT_FAILED | Flag.NOT_CONVERGED


@dataclass(frozen=True, kw_only=True)
class Result:
    """How the run of a galaxy ended.

    Attributes
    ----------
    name, cube
    status
        "done"; "waiting" for another program; "failed"; "to do"; or, of a check, "ready".
    said
        Why it failed, or what it waits for, in a sentence.
    kept
        Whether all was there before.
    numbers
        Of a run that is done: bins, spaxels, lines ...; NaN for what is not known.
    """

    name: str
    cube: str
    status: str
    said: str = ""
    kept: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)


def numbers_of(folder: Path) -> dict[str, float]:
    """Return what the summary tells of a finished run, by name and unit.

    A total flux is that of the bins in which the line is found; its error is the root of the
    summed squares of theirs. Velocities and widths are medians over these bins.

    Raises
    ------
    BetisError
        Where its products cannot be read.
    """
    run, made = open_finished(folder), RunFolder(folder).provenance()
    times = [stage.get("seconds", 0.0) for stage in made.get("stages", {}).values()]
    redshift = run.options.prepare.redshift
    return {
        "warnings": float(sum(len(texts) for texts in made.get("warnings", {}).values())),
        "time [s]": float(sum(times)),
        "redshift": float("nan") if redshift is None else redshift,
        **_bin_numbers(run.bins),
        **(_star_numbers(run.continuum.table) if run.continuum else {}),
        **_line_numbers(run),
    }


def _bin_numbers(bins: BinMap) -> dict[str, float]:
    reached = (bins.flags & (Flag.LOW_SNR | Flag.NO_DATA)) == 0
    is_asked = np.isfinite(bins.target)
    return {
        "spaxels": float(bins.n_spaxel.sum()),
        "bins": float(bins.n_bin),
        "bins below target": float((~reached).sum()) if is_asked else np.nan,
        "spaxels that reach target": _share(reached, bins.n_spaxel) if is_asked else np.nan,
        "bin S/N": _percentile(bins.snr),
    }


def _star_numbers(fit: ContinuumFit) -> dict[str, float]:
    chi2 = np.divide(fit.chi2, fit.dof, out=np.full(fit.chi2.shape, np.nan), where=fit.dof > 0)
    return {
        "continuum chi2": _percentile(chi2),
        "continuum chi2 90 %": _percentile(chi2, 90.0),
        "continuum failed": _failed(fit.flags),
        "stars velocity [km/s]": _percentile(fit.velocity),
        "stars sigma [km/s]": _percentile(fit.sigma),
    }


def _line_numbers(run: FinishedRun) -> dict[str, float]:
    fit = run.line_fit
    scale = fit.sky.flux_scale if fit.sky else 0.0
    names = LINES if set(LINES) & set(fit.names) else fit.names
    numbers = {"lines failed": _failed(fit.flags)}
    for name in names:
        numbers |= _of_line(fit, name, scale or float("nan"))
    return numbers


def _of_line(fit: LineFit, name: str, scale: float) -> dict[str, float]:
    """Return what is told of a line; NaN where the cube does not cover it."""
    i = fit.names.index(name) if name in fit.names else None
    if i is None or not np.isfinite(fit.flux[:, i]).any():
        flux = error = velocity = sigma = np.empty(0)
        count = float("nan")
    else:
        found = ((fit.flags[:, i] & _ABSENT) == 0) & np.isfinite(fit.flux[:, i])
        flux, error = fit.flux[found, i] * scale, fit.flux_err[found, i] * scale
        velocity, sigma = fit.velocity[found, i], fit.sigma[found, i]
        count = float(found.sum())
    total, wrong = (flux.sum(), np.sqrt(np.sum(error**2))) if flux.size else (np.nan, np.nan)
    return {
        f"{name} bins": count,
        f"{name} flux [{_FLUX}]": float(total),
        f"{name} flux error [{_FLUX}]": float(wrong),
        f"{name} velocity [km/s]": _percentile(velocity),
        f"{name} sigma [km/s]": _percentile(sigma),
    }


def _failed(flags: Int[I32, " ..."]) -> float:
    """Return the share of the fits with data that failed or did not converge."""
    has_data = (flags & Flag.NO_DATA) == 0
    return _share((flags & _FAILED) != 0, has_data.astype(np.int32))


def _share(chosen: Bool[B8, " ..."], weight: Int[I32, " ..."]) -> float:
    whole = float(weight.sum())
    return float(weight[chosen].sum()) / whole if whole else float("nan")


def _percentile(values: Float[F64, " row"], percent: float = 50.0) -> float:
    """Return a percentile of the finite values; NaN for none."""
    good = values[np.isfinite(values)]
    return float(np.percentile(good, percent)) if good.size else float("nan")


def write_summary(path: Path, results: Sequence[Result]) -> None:
    """Write one table of all results, CSV; what is not known is an empty cell.

    Raises
    ------
    RunFolderError
        Where it cannot be written.
    """
    measured = list(dict.fromkeys(name for result in results for name in result.numbers))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "cube", "status", "said", *measured])
    for result in results:
        cells = [_cell(result.numbers.get(name, float("nan"))) for name in measured]
        table.writerow([result.name, result.cube, result.status, result.said, *cells])
    write_text(path, text.getvalue())


def _cell(number: float) -> str:
    return f"{number:.7g}" if np.isfinite(number) else ""
