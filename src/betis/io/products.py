"""The products that are maps on disk, to FITS and back, exactly as the data model says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betis.arrays import F64
from betis.flags import header_cards
from betis.io.fits import image_hdu, open_fits, table_hdu, write_fits
from betis.noise import NoiseCheck
from betis.products import BinMap, Sky, SnrMap

Cards = Mapping[str, Any]

_KMS = "km/s"


def flux_unit(sky: Sky | None, *, density: bool) -> str:
    """Return the FITS unit string of a flux (density) in the cube's scale."""
    unit = "erg s-1 cm-2 Angstrom-1" if density else "erg s-1 cm-2"
    if sky is None or sky.flux_scale <= 0:
        return ""
    exponent = round(float(np.log10(sky.flux_scale)))
    power_of_ten = np.isclose(sky.flux_scale, 10.0**exponent, rtol=1e-6, atol=0.0)
    return f"10**({exponent}) {unit}" if power_of_ten else f"{sky.flux_scale:.9g} {unit}"


def write_snr(path: Path, snr: SnrMap, sky: Sky, cards: Cards) -> None:
    """Write ``snr.fits``: SIGNAL, NOISE, SNR, and where they were measured."""
    unit = flux_unit(sky, density=snr.method in ("betis", "continuum"))
    density = flux_unit(sky, density=True)
    images = [("SIGNAL", snr.signal, unit), ("NOISE", snr.noise, unit), ("SNR", snr.snr, "")]
    if snr.velocity is not None:
        images.append(("VELOCITY", snr.velocity, _KMS))
    images.append(("CONTINUUM", snr.continuum, density))
    hdus = [image_hdu(name, value, {"BUNIT": bunit, **sky.wcs}) for name, value, bunit in images]
    facts = {"SNRLINE": snr.line, "SNRMETH": snr.method, "SNRSIG": snr.sigma}
    write_fits(path, hdus, {**cards, **facts})


def read_snr(path: str | Path) -> SnrMap:
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


def write_noise(path: Path, check: NoiseCheck, _: object, cards: Cards) -> None:
    """Write ``noise.fits``: the table NOISE, scatter over stated error at each wavelength."""
    facts = {"CORRWAVE": _number(check.correlation)}
    write_fits(path, [table_hdu("NOISE", {"ratio": check.ratio})], {**cards, **facts})


def read_noise(path: Path) -> NoiseCheck:
    """Read ``noise.fits``."""
    with open_fits(path) as hdus:
        return NoiseCheck(
            ratio=native(hdus["NOISE"].data["ratio"]),
            correlation=hdus[0].header.get("CORRWAVE", np.nan),
        )


def write_bins(path: Path, bins: BinMap, sky: Sky, cards: Cards) -> None:
    """Write ``bins.fits``: BINID and the table BINS (area in arcsec² where the WCS gives it)."""
    y, x = bins.centers
    columns: dict[str, NDArray[Any]] = {
        "bin_id": np.arange(bins.n_bin, dtype=np.int32),
        "x": x,
        "y": y,
        "n_spaxel": bins.n_spaxel,
        "area": bins.n_spaxel * spaxel_area(sky),
        "snr": bins.snr,
        "flags": bins.flags,
        "growth": bins.growth,
    }
    if bins.snr_measured is not None:
        columns["snr_measured"] = bins.snr_measured
    if bins.is_region is not None:
        columns["region"] = bins.is_region
    facts = {
        "TARGET": _number(bins.target),
        "MARGIN": bins.margin,
        "NOISCORR": bins.correlation,
        "NOISMODL": bins.noise_model,
        **header_cards(),
    }
    hdus = [
        image_hdu("BINID", bins.bin_id, sky.wcs),
        table_hdu("BINS", columns, {"x": "pixel", "y": "pixel", "area": "arcsec2"}),
    ]
    write_fits(path, hdus, {**cards, **facts})


def read_bins(path: str | Path) -> BinMap:
    """Read ``bins.fits``; a column that it lacks is None."""
    with open_fits(path) as hdus:
        table, head = hdus["BINS"].data, hdus[0].header
        return BinMap(
            bin_id=np.array(hdus["BINID"].data, dtype=np.int32),
            n_spaxel=np.array(table["n_spaxel"], dtype=np.int32),
            snr=np.array(table["snr"], dtype=float),
            flags=np.array(table["flags"], dtype=np.int32),
            target=float(head.get("TARGET", np.nan)),
            correlation=float(head["NOISCORR"]),
            growth=_column(table, "growth"),
            noise_model=str(head.get("NOISMODL", "")),
            margin=float(head.get("MARGIN", 0.0)),
            is_region=_column(table, "region"),
            snr_measured=_column(table, "snr_measured"),
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


def read_checksums(path: Path) -> tuple[str, ...]:
    """Return the checksum of the data of each extension of a product.

    Raises
    ------
    InputError
        Where the file is absent or damaged.
    """
    with open_fits(path) as hdus:
        return tuple(str(hdu.header.get("DATASUM", "")) for hdu in hdus)


def _image(hdus: Any, name: str) -> F64:
    return np.array(hdus[name].data, dtype=float)


def _column(table: Any, name: str) -> Any:
    """Return a column of a table, None where it has no such column."""
    return native(table[name]) if name in table.names else None


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


def spaxel_area(sky: Sky) -> float:
    """Return the area of a spaxel in arcsec²; NaN without a WCS."""
    from betis.io.wcs import celestial_wcs

    wcs = celestial_wcs(sky.wcs)
    return float("nan") if wcs is None else float(wcs.proj_plane_pixel_area().to_value("arcsec2"))
