"""SAMI's own maps of lines (LZIFU, one component), beside what betis finds in the same sectors."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from betis import pipeline
from betis.io.products import read_bins
from betis.io.row_products import read_lines
from betis.products import BinMap, LineFit

REDSHIFT = {"41144_A": 0.02964, "41144_B": 0.02964, "209807_A": 0.05386}
SURVEY = {
    "Ha6563": "Halpha",
    "NII6583": "NII6583",
    "SII6716": "SII6716",
    "SII6731": "SII6731",
    "Hb4861": "Hbeta",
    "OIII5007": "OIII5007",
    "OI6300": "OI6300",
}
"""Our name of each line, and what the survey's file of it is called."""
DETECTED = 5.0
"""S/N from which a sector's line is compared."""


@dataclass(frozen=True)
class Sectors:
    """The lines of each sector as betis measures them, and a spaxel of each."""

    bins: BinMap
    lines: LineFit
    place: tuple[np.ndarray, np.ndarray]

    def flux(self, line: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean flux a spaxel and its error, as the survey states it, ``[bin]``."""
        at = self.lines.index(line)
        share = 1 / self.bins.n_spaxel
        return self.lines.flux[:, at] * share, self.lines.flux_err[:, at] * share


def run_sectors(folder: Path, name: str, output: Path, **tables) -> Path:
    """Run both arms of a galaxy in the survey's sectors, as far as the lines."""
    blue, red = (folder / f"{name}_sectors_{arm}.fits.gz" for arm in ("blue", "red"))
    given = {
        "prepare": {"redshift": REDSHIFT[name], "arm": str(red)},
        "binning": {"method": f"{blue}[BIN_MASK]"},
        "snr": {"line": "NII6583"},
    }
    pipeline.execute(pipeline.open_run(output, blue, {**given, **tables}), "lines")
    return output


def sectors_of(run: Path, lines: LineFit | None = None) -> Sectors:
    """Return the sectors of a finished run, with its lines or others of the same spectra."""
    bins = read_bins(run / "bins.fits")
    first = np.array([np.argwhere(bins.bin_id == one)[0] for one in range(bins.n_bin)])
    found = read_lines(run / "lines.fits") if lines is None else lines
    return Sectors(bins, found, (first[:, 0], first[:, 1]))


def survey_values(path: Path, place) -> tuple[np.ndarray, np.ndarray]:
    """Return a map of the survey (its plane 0 is the total) and its error, ``[bin]``."""
    with fits.open(path) as hdus:
        planes = [np.asarray(one.data, float) for one in hdus[:2]]
    value, error = ((one[0] if one.ndim == 3 else one)[place] for one in planes)
    return value, error


def survey_flux(folder: Path, name: str, line: str, sectors: Sectors):
    """Return the survey's flux a spaxel and its error, ``[bin]``."""
    return survey_values(folder / f"{name}_{SURVEY[line]}_sectors_1-comp.fits", sectors.place)


@dataclass(frozen=True)
class Comparison:
    """Ours over theirs in the sectors where they detect the line."""

    count: int
    median: float
    low: float
    high: float
    shift: float
    claimed: float

    def __str__(self) -> str:
        return (
            f"{self.count:3d} {self.median:7.3f} {self.low:7.3f} {self.high:6.3f} "
            f"{self.shift:+7.2f} {self.claimed:6.2f}"
        )


def compare_flux(folder: Path, name: str, line: str, sectors: Sectors) -> Comparison:
    """Return the ratio of fluxes, the shift in their errors, and our error over theirs."""
    flux, error = sectors.flux(line)
    theirs, their_error = survey_flux(folder, name, line, sectors)
    with np.errstate(invalid="ignore"):
        good = np.isfinite(flux) & (theirs > DETECTED * their_error)
    flux, error, theirs, their_error = (v[good] for v in (flux, error, theirs, their_error))
    low, median, high = np.percentile(flux / theirs, [16, 50, 84])
    shift = float(np.median((flux - theirs) / their_error))
    claimed = float(np.median(error / their_error))
    return Comparison(int(good.sum()), float(median), float(low), float(high), shift, claimed)


@dataclass(frozen=True)
class Velocities:
    """Ours against theirs, km/s: the slope, and what is left after one offset."""

    slope: float
    offset: float
    left: np.ndarray


def compare_velocity(folder: Path, name: str, sectors: Sectors, line: str = "Ha6563") -> Velocities:
    """Return what is left of the difference to the survey's velocities, theirs over 1 + z."""
    path = folder / f"{name}_gas-velocity_sectors_1-comp.fits"
    theirs, error = survey_values(path, sectors.place)
    at = sectors.lines.index(line)
    ours = sectors.lines.velocity[:, at]
    with np.errstate(invalid="ignore"):
        good = np.isfinite(ours) & (error < 5) & (sectors.lines.snr[:, at] > 15)
    difference = ours[good] - theirs[good] / (1 + REDSHIFT[name])
    offset = float(np.median(difference))
    slope = float(np.polyfit(theirs[good], ours[good], 1)[0])
    return Velocities(slope, offset, difference - offset)


def shared_sectors(one: Sectors, other: Sectors, least: float):
    """Return the rows of sectors of two observations whose spaxels overlap, shared over all."""
    first, second = one.bins.bin_id, other.bins.bin_id
    pairs = []
    for row in range(one.bins.n_bin):
        labels, count = np.unique(second[first == row], return_counts=True)
        best = int(np.argmax(np.where(labels >= 0, count, 0)))
        union = np.count_nonzero((first == row) | (second == labels[best]))
        if labels[best] >= 0 and count[best] >= least * union:
            pairs.append((row, int(labels[best])))
    return tuple(np.array(pairs).T)


@dataclass(frozen=True)
class Repeat:
    """Pulls of one line between two observations: as they are, one factor, each sector's own."""

    count: int
    factor: float
    raw: float
    scaled: float
    relative: float

    def __str__(self) -> str:
        return (
            f"{self.count:3d} {self.factor:7.3f} {self.raw:7.2f} {self.scaled:7.2f} "
            f"{self.relative:7.2f}"
        )


def compare_repeats(one: Sectors, other: Sectors, line: str, least: float = 0.4) -> Repeat:
    """Return how wide the pulls of a line are, of 1 where the errors tell all of the difference.

    ``relative`` is that of the line over Halpha: what aperture, pointing, PSF and flux calibration
    do to a whole spectrum is not in it, what the error of the line does is.
    """
    rows = shared_sectors(one, other, least)
    both = list(zip((one, other), rows, strict=True))
    (flux, error), (flux2, error2) = (_of(part, at, line) for part, at in both)
    good = (flux > DETECTED * error) & (flux2 > DETECTED * error2)
    factor = float(np.median(flux[good] / flux2[good]))
    raw = (flux - flux2) / np.hypot(error, error2)
    scaled = (flux - factor * flux2) / np.hypot(error, factor * error2)
    relative = np.full(flux.size, np.nan)
    if line != "Ha6563":
        (ratio, err), (ratio2, err2) = (_over_halpha(part, at, line) for part, at in both)
        relative = (ratio - ratio2) / np.hypot(err, err2)
    widths = (float(np.sqrt(np.mean(pull[good] ** 2))) for pull in (raw, scaled, relative))
    return Repeat(int(good.sum()), factor, *widths)


def _of(part: Sectors, rows, line: str):
    flux, error = part.flux(line)
    return np.nan_to_num(flux[rows]), np.nan_to_num(error[rows], nan=np.inf)


def _over_halpha(part: Sectors, rows, line: str):
    (flux, error), (alpha, alpha_error) = (_of(part, rows, name) for name in (line, "Ha6563"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = flux / alpha
        return ratio, np.abs(ratio) * np.hypot(error / flux, alpha_error / alpha)
