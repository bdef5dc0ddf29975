"""The containers that walk through betis: Cube, SnrMap, BinMap, Spectra, Templates, fits.

All are frozen. Axis names: ``y, x`` (FITS axes 2 and 1, from 0), ``wave``, ``spectrum`` (a row:
a bin, a spaxel or a region), ``template``, ``line``, ``group`` (lines fitted together).
Mask True means bad.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike, NDArray

from betis.errors import InputError
from betis.wavelength import Medium, pixel_edges

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
B8 = NDArray[np.bool_]


class CubeBlock(NamedTuple):
    """A part of a cube in memory; each ``[wave, y, x]``; bad voxels have flux 0, variance 0."""

    flux: Float[F64, "wave y x"]
    variance: Float[F64, "wave y x"]
    mask: Bool[B8, "wave y x"]


class CubeSource(Protocol):
    """Whatever can give a part of a cube: a file, or arrays in memory."""

    def read(self, rows: slice, waves: slice) -> CubeBlock:
        """Return the block of these image rows (y) and wavelength pixels, in the cube's scale."""


@dataclass(frozen=True, kw_only=True)
class Sky:
    """Where the pixels of a map lie on the sky, and the unit of flux they are measured in.

    Attributes
    ----------
    shape
        ``(y, x)``.
    wcs
        Celestial WCS cards of FITS axes 1 and 2; empty where the cube has none.
    flux_scale
        What 1 in the file means, erg/s/cm²(/Å): 1e-20 for MUSE. 0 where unknown.
    """

    shape: tuple[int, int]
    wcs: Mapping[str, Any] = field(default_factory=dict)
    flux_scale: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Cube:
    """A datacube whose voxels are read when they are asked for.

    Attributes
    ----------
    source
        Gives blocks of voxels.
    wave, edges : Angstrom
        Pixel centres and edges; rest frame once ``redshift`` is not 0.
    medium
        "air" or "vacuum", of the wavelengths as observed.
    lsf : Angstrom
        FWHM of the line-spread function at each pixel, in the frame of ``wave``.
    sky
        Shape of the field, celestial WCS, flux scale.
    instrument, path
        Where it came from.
    redshift
        What the axis has been divided by, minus one.
    factor
        What each wavelength pixel's flux is multiplied by when it is read (dereddening, 1+z).
    sky_window
        True at pixels in windows of strong telluric absorption or sky emission: kept for lines,
        left out of the continuum fit.
    """

    source: CubeSource
    wave: Float[F64, " wave"]
    edges: Float[F64, " wave+1"]
    medium: Medium
    lsf: Float[F64, " wave"]
    sky: Sky
    instrument: str = "unknown"
    path: str = ""
    redshift: float = 0.0
    factor: Float[F64, " wave"] | None = None
    sky_window: Bool[B8, " wave"] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(wave, y, x)``."""
        return (self.wave.size, *self.sky.shape)

    def read(self, rows: slice = slice(None), waves: slice = slice(None)) -> CubeBlock:
        """Return a block of the cube, ``factor`` applied; all of it by default."""
        block = self.source.read(rows, waves)
        if self.factor is None:
            return block
        factor = self.factor[waves, None, None]
        return CubeBlock(block.flux * factor, block.variance * factor**2, block.mask)

    def tiles(self, n_wave: int, max_voxel: int = 4_000_000) -> Iterator[slice]:
        """Yield image rows, as many at a time as ``n_wave`` pixels deep make ``max_voxel``."""
        n_y, n_x = self.sky.shape
        height = max(1, max_voxel // max(1, n_wave * n_x))
        for start in range(0, n_y, height):
            yield slice(start, min(start + height, n_y))

    @property
    def flux(self) -> Float[F64, "wave y x"]:
        """All of the flux density, in memory; NaN where bad."""
        block = self.read()
        return np.where(block.mask, np.nan, block.flux)

    @property
    def error(self) -> Float[F64, "wave y x"]:
        """All of the 1-sigma errors, in memory; NaN where bad."""
        block = self.read()
        return np.where(block.mask, np.nan, np.sqrt(block.variance))

    @property
    def mask(self) -> Bool[B8, "wave y x"]:
        """All of the mask, in memory; True where bad."""
        return self.read().mask


@dataclass(frozen=True, kw_only=True, eq=False)
class SnrMap:
    """Signal and noise of one line (or the continuum) at each spaxel; NaN outside the field.

    ``signal`` is additive (a flux, in the cube's scale): the signal of a bin is the sum over its
    spaxels. ``velocity`` (km/s) is where the line was measured, ``sigma`` (km/s) the width assumed,
    ``continuum`` the flux density under the line.
    """

    signal: Float[F64, "y x"]
    noise: Float[F64, "y x"]
    line: str
    method: str
    velocity: Float[F64, "y x"] | None = None
    continuum: Float[F64, "y x"] | None = None
    sigma: float = 0.0

    @property
    def snr(self) -> Float[F64, "y x"]:
        """``signal / noise``."""
        return np.divide(
            self.signal,
            self.noise,
            out=np.full_like(self.signal, np.nan),
            where=np.isfinite(self.noise) & (self.noise > 0),
        )


def noise_growth(n_spaxel: ArrayLike, correlation: float) -> F64:
    """Return by how much correlated noise exceeds the quadratic sum: ``1 + alpha log10(n)``.

    References
    ----------
    Garcia-Benito et al. 2015, A&A 576 A135, eq. 1 (with beta = 1).
    """
    return np.asarray(1.0 + correlation * np.log10(np.maximum(n_spaxel, 1)))


@dataclass(frozen=True, kw_only=True, eq=False)
class BinMap:
    """Which bin each spaxel is in, and what each bin reaches.

    Attributes
    ----------
    bin_id : int32 [y, x]
        0 ... n_bin - 1; -1 for spaxels in no bin.
    n_spaxel, snr, flags : [bin]
        ``snr`` is that of the bin's own spaxels, noise correlation included; flags 0 means that
        the target is reached.
    target
        The S/N asked for; NaN where the bins were given.
    correlation
        alpha of the noise correlation law ``1 + alpha log10(n_spaxel)``.
    """

    bin_id: Int[I32, "y x"]
    n_spaxel: Int[I32, " bin"]
    snr: Float[F64, " bin"]
    flags: Int[I32, " bin"]
    target: float = float("nan")
    correlation: float = 0.0

    @property
    def n_bin(self) -> int:
        """How many bins there are."""
        return int(self.n_spaxel.size)

    @property
    def centers(self) -> tuple[Float[F64, " bin"], Float[F64, " bin"]]:
        """Mean y and x of the spaxels of each bin, pixels from 0."""
        y, x = np.nonzero(self.bin_id >= 0)
        row = self.bin_id[y, x]
        return (
            np.bincount(row, y, self.n_bin) / self.n_spaxel,
            np.bincount(row, x, self.n_bin) / self.n_spaxel,
        )

    def paint(self, values: NDArray[Any], blank: float = np.nan) -> NDArray[Any]:
        """Return a ``(..., y, x)`` map of values ``[bin, ...]``; ``blank`` outside every bin."""
        moved = np.moveaxis(np.asarray(values), 0, -1)
        empty = np.full((*moved.shape[:-1], 1), blank, dtype=np.result_type(moved, type(blank)))
        return np.asarray(np.concatenate([moved, empty], axis=-1)[..., self.bin_id])


@dataclass(frozen=True, eq=False)
class Spectra:
    """A stack of spectra on one wavelength axis: bins, spaxels or anything else, a row each.

    Parameters
    ----------
    wave : Angstrom [wave]
        Rest frame, strictly increasing; may have gaps and change its step.
    flux, error : [spectrum, wave]
        Flux density and its 1-sigma error. A 1-D spectrum becomes one row.
    mask : bool [spectrum, wave]
        True where bad. Non-finite flux and non-positive or non-finite error are added to it, and
        get flux 0 and error infinity.
    medium
        "air" or "vacuum", of the wavelengths as observed.
    lsf : Angstrom
        FWHM of the line-spread function, a number or ``[wave]``; None means infinitely sharp.
    edges : Angstrom [wave+1]
        Pixel edges; halfway between the centres where not given.
    redshift
        What the axis has been divided by, minus one.
    sky_window : bool [wave]
        True at pixels that the continuum fit leaves out.
    n_spaxel : [spectrum]
        Spaxels that were summed.
    sky
        Shape of the field, WCS and flux scale, where there is a field.

    Raises
    ------
    InputError
        Where shapes disagree or the wavelengths are not increasing.
    """

    wave: Float[F64, " wave"]
    flux: Float[F64, "spectrum wave"]
    error: Float[F64, "spectrum wave"]
    mask: Bool[B8, "spectrum wave"] = None  # type: ignore[assignment]  # filled below
    medium: Medium = "air"
    lsf: Float[F64, " wave"] = None  # type: ignore[assignment]  # filled below
    edges: Float[F64, " wave+1"] = None  # type: ignore[assignment]  # filled below
    redshift: float = 0.0
    sky_window: Bool[B8, " wave"] = None  # type: ignore[assignment]  # filled below
    n_spaxel: Int[I32, " spectrum"] = None  # type: ignore[assignment]  # filled below
    sky: Sky | None = None

    def __post_init__(self) -> None:
        """Bring every array to its shape and type, and bad pixels to one form."""
        wave = np.asarray(self.wave, dtype=float)
        halfway = pixel_edges(wave)
        flux, error = _rows(self.flux, wave, "flux"), _rows(self.error, wave, "error")
        given = np.zeros(flux.shape, bool) if self.mask is None else _rows(self.mask, wave, "mask")
        if not flux.shape == error.shape == given.shape:
            raise InputError(
                f"flux, error and mask have shapes {flux.shape}, {error.shape} and {given.shape}, "
                "where they must be the same"
            )
        if self.medium not in ("air", "vacuum"):
            raise InputError(f"the medium is {self.medium!r}, where it must be 'air' or 'vacuum'")
        mask = given.astype(bool) | ~np.isfinite(flux) | ~np.isfinite(error) | (error <= 0)
        lsf = np.full(wave.size, self.lsf or 0.0) if np.ndim(self.lsf) == 0 else self.lsf
        values = {
            "wave": wave,
            "edges": _sized(self.edges, halfway, "edges"),
            "flux": np.where(mask, 0.0, flux),
            "error": np.where(mask, np.inf, error),
            "mask": mask,
            "lsf": _sized(lsf, wave, "lsf"),
            "sky_window": _sized(self.sky_window, np.zeros(wave.size, bool), "sky_window"),
            "n_spaxel": _sized(self.n_spaxel, np.ones(len(flux), np.int32), "n_spaxel"),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def n_spectrum(self) -> int:
        """How many rows there are."""
        return int(self.flux.shape[0])

    def subtract(self, continuum: ContinuumFit | ArrayLike) -> Spectra:
        """Return the nebular spectra: these minus a continuum ``[spectrum, wave]``.

        Rows whose continuum is not finite are masked as a whole.
        """
        model = continuum.model if isinstance(continuum, ContinuumFit) else np.asarray(continuum)
        if np.shape(model) != self.flux.shape:
            raise InputError(
                f"the continuum has shape {np.shape(model)}, where these spectra have "
                f"{self.flux.shape}; fit the continuum of these spectra"
            )
        return replace(self, flux=self.flux - model)

    def take(self, rows: slice | NDArray[Any]) -> Spectra:
        """Return some of the rows."""
        return replace(
            self,
            flux=self.flux[rows],
            error=self.error[rows],
            mask=self.mask[rows],
            n_spaxel=self.n_spaxel[rows],
        )


def _sized(values: ArrayLike | None, default: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the values in the type and the shape of their default, or that where they are None."""
    if values is not None and np.shape(values) != default.shape:
        raise InputError(
            f"{name} has shape {np.shape(values)}, where {default.shape} was expected; "
            "give one value for each"
        )
    return default if values is None else np.asarray(values, dtype=default.dtype)


def _rows(values: ArrayLike, wave: F64, name: str) -> NDArray[Any]:
    rows = np.atleast_2d(np.asarray(values))
    if rows.ndim != 2 or rows.shape[1] != wave.size:
        raise InputError(
            f"{name} has shape {np.shape(values)}, where (spectrum, {wave.size}) was expected, "
            "the last axis as long as wave"
        )
    return rows if rows.dtype == bool else rows.astype(float)


@dataclass(frozen=True, kw_only=True, eq=False)
class Templates:
    """A base of stellar populations.

    Attributes
    ----------
    wave : Angstrom [wave]
    flux : [template, wave]
        Lsun/Angstrom per Msun of initial mass where the base gives it.
    age : yr [template]
    metallicity : [template]
        Mass fraction Z.
    mass_fraction : [template]
        Stellar mass that remains, per initial mass; 1 where unknown.
    medium
        "air" or "vacuum".
    fwhm : Angstrom [wave]
        Resolution of the templates.
    name, source
        What to call it and whom to cite.
    """

    wave: Float[F64, " wave"]
    flux: Float[F64, "template wave"]
    age: Float[F64, " template"]
    metallicity: Float[F64, " template"]
    mass_fraction: Float[F64, " template"]
    medium: Medium
    fwhm: Float[F64, " wave"]
    name: str = ""
    source: str = ""

    @property
    def n_template(self) -> int:
        """How many templates there are."""
        return int(self.flux.shape[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class ContinuumFit:
    """The stellar continuum of each spectrum.

    Attributes
    ----------
    model : [spectrum, wave]
        On the pixels of the spectra, in their flux scale, at every pixel (also masked ones).
    velocity, velocity_err, sigma, sigma_err : km/s [spectrum]
        Relative to the rest frame of the spectra; sigma without the line-spread function.
    av, av_err : mag [spectrum]
    weights : [spectrum, template]
        Share of the light of each template at the normalisation wavelength, in the flux scale.
    chi2, dof, flags : [spectrum]
    mean_log_age_light, mean_log_age_mass : log10 yr [spectrum]
    mean_metallicity_light, mean_metallicity_mass : log10 Z [spectrum]
    used : bool [spectrum, wave]
        Pixels that the fit was made on.
    core_wave : Angstrom [core]
        Lines whose pixels were left out of the fit.
    core_err : [spectrum, core]
        1-sigma error of the depth of the model there, relative to its surroundings, flux
        density: what the stars add to the error of that line's flux. Empty where not known.
    """

    model: Float[F64, "spectrum wave"]
    velocity: Float[F64, " spectrum"]
    velocity_err: Float[F64, " spectrum"]
    sigma: Float[F64, " spectrum"]
    sigma_err: Float[F64, " spectrum"]
    av: Float[F64, " spectrum"]
    av_err: Float[F64, " spectrum"]
    weights: Float[F64, "spectrum template"]
    chi2: Float[F64, " spectrum"]
    dof: Float[F64, " spectrum"]
    flags: Int[I32, " spectrum"]
    mean_log_age_light: Float[F64, " spectrum"]
    mean_log_age_mass: Float[F64, " spectrum"]
    mean_metallicity_light: Float[F64, " spectrum"]
    mean_metallicity_mass: Float[F64, " spectrum"]
    used: Bool[B8, "spectrum wave"]
    core_wave: Float[F64, " core"] = field(default_factory=lambda: np.empty(0))
    core_err: Float[F64, "spectrum core"] = field(default_factory=lambda: np.empty((0, 0)))


@dataclass(frozen=True, kw_only=True, eq=False)
class LineFit:
    """What was measured of each emission line in each spectrum; NaN where it could not be.

    Attributes
    ----------
    names : [line]
    flux, flux_err : flux scale x Angstrom [spectrum, line]
        Integrated.
    velocity, velocity_err, sigma, sigma_err : km/s [spectrum, line]
        Relative to the rest frame of the spectra; sigma without the line-spread function.
    sigma_obs : Angstrom [spectrum, line]
        Dispersion as observed, line-spread function included.
    amplitude : [spectrum, line]
        Peak of the profile, flux density.
    wave_obs : Angstrom [spectrum, line]
        Centre on the axis of the spectra.
    ew, ew_err : Angstrom [spectrum, line]
        Rest frame, positive in emission.
    flux_direct : [spectrum, line]
        Sum of the data minus the local background within 3 sigma of the centre.
    snr : [spectrum, line]
        ``flux / flux_err``.
    upper_limit : [spectrum, line]
        3 times the error of the flux of a line at the fitted place and width.
    flags : [spectrum, line]
    group : [line]
        Which fit group a line is in.
    chi2, dof, bic, n_iter : [spectrum, group]
    background : flux density [spectrum, group, 2]
        Local linear background: value and slope (per Angstrom) at ``background_wave``.
    background_wave : Angstrom [group]
    sky
        That of the spectra.
    flux_cov : [spectrum, line, line]
        Covariance of the fluxes, on request.
    """

    names: tuple[str, ...]
    flux: Float[F64, "spectrum line"]
    flux_err: Float[F64, "spectrum line"]
    velocity: Float[F64, "spectrum line"]
    velocity_err: Float[F64, "spectrum line"]
    sigma: Float[F64, "spectrum line"]
    sigma_err: Float[F64, "spectrum line"]
    sigma_obs: Float[F64, "spectrum line"]
    amplitude: Float[F64, "spectrum line"]
    wave_obs: Float[F64, "spectrum line"]
    ew: Float[F64, "spectrum line"]
    ew_err: Float[F64, "spectrum line"]
    flux_direct: Float[F64, "spectrum line"]
    snr: Float[F64, "spectrum line"]
    upper_limit: Float[F64, "spectrum line"]
    flags: Int[I32, "spectrum line"]
    group: Int[I32, " line"]
    chi2: Float[F64, "spectrum group"]
    dof: Float[F64, "spectrum group"]
    bic: Float[F64, "spectrum group"]
    n_iter: Int[I32, "spectrum group"]
    background: Float[F64, "spectrum group 2"]
    background_wave: Float[F64, " group"]
    sky: Sky | None = None
    flux_cov: Float[F64, "spectrum line line"] | None = None

    def index(self, name: str) -> int:
        """Return the position of a line on the line axis.

        Raises
        ------
        InputError
            Where the line was not fitted.
        """
        if name not in self.names:
            raise InputError(f"the line {name} was not fitted; these were: {', '.join(self.names)}")
        return self.names.index(name)

    def take(self, rows: slice | NDArray[Any]) -> LineFit:
        """Return some of the rows."""
        whole = {"names", "group", "background_wave", "sky"}
        arrays = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(
            self,
            **{
                name: values[rows]
                for name, values in arrays.items()
                if name not in whole and values is not None
            },
        )
