"""The products on disk: each container to FITS and back, exactly as the data model says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from betis.arrays import F64
from betis.flags import header_cards
from betis.io.fits import image_hdu, open_fits, table_hdu, write_fits
from betis.linelist import LineSet
from betis.products import BinMap, ContinuumFit, LineFit, Sky, SnrMap, Spectra
from betis.wavelength import Medium

Cards = Mapping[str, Any]

_KMS = "km/s"
_STELLAR_UNITS = {
    "velocity": _KMS,
    "velocity_err": _KMS,
    "sigma": _KMS,
    "sigma_err": _KMS,
    "av": "mag",
    "av_err": "mag",
}
_LINE_UNITS = {
    "velocity": _KMS,
    "velocity_err": _KMS,
    "sigma": _KMS,
    "sigma_err": _KMS,
    "sigma_obs": "Angstrom",
    "wave_obs": "Angstrom",
    "ew": "Angstrom",
    "ew_err": "Angstrom",
}
_PER_LINE = tuple(
    item.name
    for item in fields(LineFit)
    if item.name
    not in {"names", "group", "chi2", "dof", "bic", "n_iter", "background", "background_wave"}
    and item.name not in {"sky", "flux_cov"}
)
_PER_GROUP = ("chi2", "dof", "bic", "n_iter")


def flux_unit(sky: Sky | None, *, density: bool) -> str:
    """Return the FITS unit string of a flux (density) in the cube's scale."""
    unit = "erg s-1 cm-2 Angstrom-1" if density else "erg s-1 cm-2"
    if sky is None or sky.flux_scale <= 0:
        return ""
    exponent = round(float(np.log10(sky.flux_scale)))
    return f"10**({exponent}) {unit}"


def write_snr(path: Path, snr: SnrMap, sky: Sky, cards: Cards) -> None:
    """Write ``snr.fits``: SIGNAL, NOISE, SNR, and where they were measured."""
    unit = flux_unit(sky, density=snr.method == "betis")
    density = flux_unit(sky, density=True)
    images = [("SIGNAL", snr.signal, unit), ("NOISE", snr.noise, unit), ("SNR", snr.snr, "")]
    if snr.velocity is not None:
        images.append(("VELOCITY", snr.velocity, _KMS))
    images.append(("CONTINUUM", snr.continuum, density))
    hdus = [image_hdu(name, value, {"BUNIT": bunit, **sky.wcs}) for name, value, bunit in images]
    facts = {"SNRLINE": snr.line, "SNRMETH": snr.method, "SNRSIG": snr.sigma}
    write_fits(path, hdus, {**cards, **facts})


def read_snr(path: Path) -> SnrMap:
    """Read ``snr.fits``."""
    with open_fits(path) as hdus:
        head = hdus[0].header
        return SnrMap(
            signal=_image(hdus, "SIGNAL"),
            noise=_image(hdus, "NOISE"),
            line=head["SNRLINE"],
            method=head["SNRMETH"],
            velocity=_image(hdus, "VELOCITY") if "VELOCITY" in hdus else None,
            continuum=_image(hdus, "CONTINUUM"),
            sigma=head["SNRSIG"],
        )


def write_bins(path: Path, bins: BinMap, sky: Sky, cards: Cards) -> None:
    """Write ``bins.fits``: BINID and the table BINS (area in arcsec² where the WCS gives it)."""
    y, x = bins.centers
    columns: dict[str, NDArray[Any]] = {
        "bin_id": np.arange(bins.n_bin, dtype=np.int32),
        "x": x,
        "y": y,
        "n_spaxel": bins.n_spaxel,
        "area": bins.n_spaxel * _spaxel_area(sky),
        "snr": bins.snr,
        "flags": bins.flags,
    }
    facts = {"TARGET": _number(bins.target), "NOISCORR": bins.correlation, **header_cards()}
    hdus = [
        image_hdu("BINID", bins.bin_id, sky.wcs),
        table_hdu("BINS", columns, {"x": "pixel", "y": "pixel", "area": "arcsec2"}),
    ]
    write_fits(path, hdus, {**cards, **facts})


def read_bins(path: Path) -> BinMap:
    """Read ``bins.fits``."""
    with open_fits(path) as hdus:
        table, head = hdus["BINS"].data, hdus[0].header
        return BinMap(
            bin_id=np.array(hdus["BINID"].data, dtype=np.int32),
            n_spaxel=np.array(table["n_spaxel"], dtype=np.int32),
            snr=np.array(table["snr"], dtype=float),
            flags=np.array(table["flags"], dtype=np.int32),
            target=float(head.get("TARGET", np.nan)),
            correlation=float(head["NOISCORR"]),
        )


def write_spectra(path: Path, spectra: Spectra, cards: Cards) -> None:
    """Write ``spectra.fits``: FLUX, ERROR, MASK ``(bin, wave)``, WAVE, and the table PIXELS."""
    sky = spectra.sky or Sky(shape=(0, 0))
    unit = flux_unit(sky, density=True)
    pixels = {
        "low": spectra.edges[:-1],
        "high": spectra.edges[1:],
        "lsf": spectra.lsf,
        "sky_window": spectra.sky_window,
    }
    hdus = [
        image_hdu("FLUX", spectra.flux, {"BUNIT": unit}),
        image_hdu("ERROR", spectra.error, {"BUNIT": unit}),
        image_hdu("MASK", spectra.mask),
        image_hdu("WAVE", spectra.wave, {"BUNIT": "Angstrom"}),
        table_hdu("PIXELS", pixels, dict.fromkeys(("low", "high", "lsf"), "Angstrom")),
        table_hdu("ROWS", {"n_spaxel": spectra.n_spaxel}),
        image_hdu("FIELD", np.zeros(sky.shape, np.uint8), {**sky.wcs, "FLUXSCAL": sky.flux_scale}),
    ]
    write_fits(path, hdus, {**cards, "MEDIUM": spectra.medium, "REDSHIFT": spectra.redshift})


def read_spectra(path: Path) -> Spectra:
    """Read ``spectra.fits``."""
    with open_fits(path) as hdus:
        pixels, head = hdus["PIXELS"].data, hdus[0].header
        edges = np.append(pixels["low"], pixels["high"][-1:])
        return Spectra(
            _image(hdus, "WAVE"),
            _image(hdus, "FLUX"),
            _image(hdus, "ERROR"),
            np.array(hdus["MASK"].data, dtype=bool),
            medium=cast("Medium", head["MEDIUM"]),
            lsf=np.array(pixels["lsf"], dtype=float),
            edges=np.array(edges, dtype=float),
            redshift=float(head["REDSHIFT"]),
            sky_window=np.array(pixels["sky_window"], dtype=bool),
            n_spaxel=np.array(hdus["ROWS"].data["n_spaxel"], dtype=np.int32),
            sky=read_sky(hdus["FIELD"].header),
        )


def write_continuum(path: Path, fit: ContinuumFit, sky: Sky | None, cards: Cards) -> None:
    """Write ``continuum.fits``: MODEL, USED ``(bin, wave)``, tables STELLAR and CORES, WEIGHTS."""
    images = {"model", "weights", "used", "core_wave", "core_err"}
    names = [item.name for item in fields(ContinuumFit) if item.name not in images]
    unit = flux_unit(sky, density=True)
    columns = {"bin_id": np.arange(len(fit.model), dtype=np.int32)}
    columns.update({name: getattr(fit, name) for name in names})
    hdus = [
        image_hdu("MODEL", fit.model, {"BUNIT": unit}),
        image_hdu("USED", fit.used),
        table_hdu("STELLAR", columns, _STELLAR_UNITS),
        table_hdu(
            "CORES",
            {"core_wave": fit.core_wave, "core_err": fit.core_err.T},
            {"core_wave": "Angstrom", "core_err": unit},
        ),
    ]
    if fit.weights.shape[1]:
        hdus.append(image_hdu("WEIGHTS", fit.weights, {"BUNIT": unit}))
    write_fits(path, hdus, {**cards, **header_cards()})


def read_continuum(path: Path) -> ContinuumFit:
    """Read ``continuum.fits``."""
    with open_fits(path) as hdus:
        model, table, cores = _image(hdus, "MODEL"), hdus["STELLAR"].data, hdus["CORES"].data
        weights = _image(hdus, "WEIGHTS") if "WEIGHTS" in hdus else np.zeros((len(model), 0))
        return ContinuumFit(
            model=model,
            weights=weights,
            used=np.array(hdus["USED"].data, dtype=bool),
            core_wave=native(cores["core_wave"]),
            core_err=native(cores["core_err"]).reshape(-1, len(model)).T.copy(),
            **{name: native(table[name]) for name in table.names if name != "bin_id"},
        )


def write_lines(path: Path, fit: LineFit, line_set: LineSet, cards: Cards) -> None:
    """Write ``lines.fits``: table LINES (a row a bin and line), LINELIST, GROUPS, BACKGROUND."""
    lines = line_set.lines
    line_list = {
        "line": np.array(fit.names),
        "group": fit.group,
        "air": np.array([line.air for line in lines]),
        "vacuum": np.array([line.vacuum for line in lines]),
        "kinematics": np.array([line.kinematics for line in lines]),
        "ratio_of": np.array([line.ratio_of for line in lines]),
        "ratio": np.array([line.ratio for line in lines]),
    }
    n_row, n_line = fit.flux.shape
    columns: dict[str, NDArray[Any]] = {
        "bin_id": np.repeat(np.arange(n_row, dtype=np.int32), n_line),
        "line": np.tile(np.array(fit.names), n_row),
    }
    columns.update({name: getattr(fit, name).ravel() for name in _PER_LINE})
    columns.update({name: getattr(fit, name)[:, fit.group].ravel() for name in _PER_GROUP})
    flux, density = flux_unit(fit.sky, density=False), flux_unit(fit.sky, density=True)
    units = {**_LINE_UNITS, "amplitude": density}
    units.update(dict.fromkeys(("flux", "flux_err", "flux_direct", "upper_limit"), flux))
    hdus = [
        table_hdu("LINES", columns, units),
        table_hdu("LINELIST", line_list, dict.fromkeys(("air", "vacuum"), "Angstrom")),
        table_hdu("GROUPS", {"background_wave": fit.background_wave}),
        image_hdu("BACKGROUND", fit.background, {"BUNIT": density}),
    ]
    hdus += [image_hdu(name.upper(), getattr(fit, name)) for name in _PER_GROUP]
    sky = fit.sky or Sky(shape=(0, 0))
    place = {**sky.wcs, "FLUXSCAL": sky.flux_scale}
    hdus.append(image_hdu("FIELD", np.zeros(sky.shape, np.uint8), place))
    write_fits(path, hdus, {**cards, **header_cards()})


def read_lines(path: Path) -> LineFit:
    """Read ``lines.fits``."""
    with open_fits(path) as hdus:
        table, linelist = hdus["LINES"].data, hdus["LINELIST"].data
        names = tuple(str(name) for name in linelist["line"])
        per_line = {name: native(table[name]).reshape(-1, len(names)) for name in _PER_LINE}
        return LineFit(
            names=names,
            group=native(linelist["group"]),
            background=_image(hdus, "BACKGROUND"),
            background_wave=native(hdus["GROUPS"].data["background_wave"]),
            sky=read_sky(hdus["FIELD"].header),
            **per_line,
            **{name: native(hdus[name.upper()].data) for name in _PER_GROUP},
        )


def read_key(path: Path) -> str:
    """Return the key that a product was written under; "" where there is none.

    Raises
    ------
    RunFolderError
        Where the file is there but is damaged.
    """
    if not path.exists():
        return ""
    with open_fits(path) as hdus:
        return str(hdus[0].header.get("BETISKEY", ""))


def _image(hdus: Any, name: str) -> F64:
    return np.array(hdus[name].data, dtype=float)


def native(values: NDArray[Any]) -> NDArray[Any]:
    """Return values of a FITS file in the machine's own byte order and betis's own types."""
    kind = {"f": np.float64, "i": np.int32}.get(values.dtype.kind, values.dtype)
    return np.array(values, dtype=kind)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def read_sky(header: Any) -> Sky:
    """Return the field that a 2-D image's header describes."""
    from betis.io.wcs import celestial_cards

    shape = (int(header["NAXIS2"]), int(header["NAXIS1"])) if header["NAXIS"] == 2 else (0, 0)
    return Sky(shape=shape, wcs=celestial_cards(header), flux_scale=float(header["FLUXSCAL"]))


def _spaxel_area(sky: Sky) -> float:
    """Return the area of a spaxel in arcsec²; NaN without a WCS."""
    from betis.io.wcs import celestial_wcs

    wcs = celestial_wcs(sky.wcs)
    return float("nan") if wcs is None else float(wcs.proj_plane_pixel_area().to_value("arcsec2"))
