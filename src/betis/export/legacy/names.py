"""Where the BETIS scripts and their notebooks look for each file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from betis.io.starlight.files import make_folder

__all__ = ["MAPS", "LegacyFolder"]

MAPS = {
    1: "NII_6548.05",
    2: "Halpha_6562.77",
    3: "NII_6583.45",
    10: "Hbeta_4861.33",
    13: "OIII_5007",
    20: "HeI_5875",
    24: "OI_6300",
    27: "SII_6716",
    28: "SII_6731",
}
"""Planes that are painted as maps, and what their files are called."""

_FOLDERS = ("seg_maps", "sn_maps", "fit_outs", "line_maps", "vel_maps", "EW_maps", "starlight")


@dataclass(frozen=True, kw_only=True)
class LegacyFolder:
    """The folder that a notebook is started in.

    Attributes
    ----------
    path
        Of the folder.
    galaxy
        What the galaxy is called in the names of files.
    target
        S/N of the bins, as in the names of files.
    survey
        MUSE, MANGA or PMAS, as the scripts call it, or another.
    """

    path: Path
    galaxy: str
    target: str
    survey: str

    def make(self) -> None:
        """Make the folders.

        Raises
        ------
        RunFolderError
            Where they cannot be made.
        """
        for name in _FOLDERS:
            make_folder(self.path / name)

    @property
    def starlight(self) -> Path:
        """Of STARLIGHT's input."""
        return self.path / "starlight"

    @property
    def resampled(self) -> Path:
        """The cube on a linear axis."""
        return self.path / f"{self.galaxy}.resam.fits"

    @property
    def continuum_snr(self) -> Path:
        """The map of the S/N of the continuum."""
        return self.path / f"{self.galaxy}_SN.fits"

    @property
    def continuum_table(self) -> Path:
        """The same as a table."""
        return self.path / f"{self.galaxy}.sn"

    def line_snr(self, kind: str) -> Path:
        """Return the map of the S/N of the line ("SN"), its signal ("S") or its noise ("N")."""
        return self.path / "sn_maps" / f"{self.galaxy}_{kind}_SII_map.fits"

    @property
    def segmentation(self) -> Path:
        """The labels of the bins."""
        return self.path / "seg_maps" / f"seg_adabin_SNSII_{self.target}_{self.galaxy}.fits"

    def bin_table(self, *, regions: bool) -> Path:
        """Return the table of the spaxels of each bin or region."""
        name = f"reg_{self.galaxy}" if regions else f"bin_{self.galaxy}_SN_{self.target}"
        return self.starlight / f"{name}.map"

    @property
    def spaxel_table(self) -> Path:
        """The table of the spaxels that STARLIGHT fits one by one."""
        return self.starlight / f"{self.galaxy}_map"

    @property
    def nebular(self) -> Path:
        """The spectra without stars."""
        return self.path / "fit_outs" / f"ALT_binned_nebular_specs_{self.galaxy}.fits"

    def lines(self, *, spaxels: bool) -> Path:
        """Return the file of the lines."""
        stem = f"{self.galaxy}.starsub" if spaxels else f"ALT_binned_nebular_specs_{self.galaxy}"
        kind = "" if spaxels else ".binned"
        return self.path / "fit_outs" / f"{stem}_{self.survey}{kind}.lines.fits"

    @property
    def widths(self) -> tuple[Path, Path]:
        """The file of the equivalent widths, as the scripts name it and as the notebook does."""
        name = f"binned_stellar_specs_{self.galaxy}_{self.survey}.EWs.binned.fits"
        return self.path / "fit_outs" / name, self.path / "fit_outs" / f"ALT_{name}"

    def painted(self, kind: str, name: str) -> Path:
        """Return the map of a quantity ("flux", "vel") of a line, or of a width ("EW")."""
        folder = {"flux": "line_maps", "vel": "vel_maps", "EW": "EW_maps"}[kind]
        last = f"{name}_{self.galaxy}" if kind == "EW" else f"{self.galaxy}_{name}"
        return self.path / folder / f"binned_{kind}_{last}.fits"
