"""Every knob of betis in one place: a frozen dataclass a stage, with defaults and units.

The command line, the TOML file and the public functions all take their defaults from here.
"""

from dataclasses import dataclass, field
from typing import Any, Literal


def _option(
    default: Any,
    doc: str,
    unit: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    texts: tuple[str, ...] = (),
) -> Any:
    """Return a field with its meaning; ``texts`` may stand in place of a number."""
    facts = {"doc": doc, "unit": unit, "low": low, "high": high, "texts": texts}
    return field(default=default, metadata=facts)


@dataclass(frozen=True, kw_only=True)
class CubeOptions:
    """The layout of a cube that no reader knows (instrument "generic")."""

    flux: str = _option("", "name or number of the extension of the flux density (wave, y, x)")
    error: str = _option("", "name or number of the extension of its error")
    error_kind: Literal["variance", "ivar", "sigma"] = _option(
        "variance", "variance, ivar (inverse variance) or sigma (1-sigma error)"
    )
    mask: str = _option("", "name or number of the extension that marks bad voxels, if any")
    mask_bits: int = _option(-1, "bits of the mask that make a voxel bad; -1 for any bit")
    scale: float = _option(
        0.0, "what 1 stands for; 0 where BUNIT says it", "erg/s/cm²/Angstrom", low=0.0, high=1.0
    )
    wave: str = _option("", "extension with the wavelengths; the header's WCS if empty")
    medium: Literal["", "air", "vacuum"] = _option("", "air or vacuum; empty where CTYPE3 says it")
    fwhm: float = _option(
        0.0, "line-spread function, FWHM, the same at every wavelength", "Angstrom", low=0.0
    )
    resolving_power: float = _option(0.0, "wavelength / FWHM, in place of fwhm", low=0.0)
    lsf: str = _option("", "extension with the FWHM (Angstrom) of each pixel, in place of fwhm")


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How the cube becomes a rest-frame, dereddened one."""

    instrument: str = _option(
        "auto", "auto, the reader to force (muse, manga ...), or a TOML file with a table [cube]"
    )
    arm: str = _option("", "cube of the other arm of the same instrument (SAMI red, KCWI red)")
    redshift: float | None = _option(None, "redshift of the galaxy", low=-0.01, high=10.0)
    av: float = _option(0.0, "Galactic extinction A_V towards it", "mag", low=0.0, high=50.0)
    ebv: float | None = _option(None, "E(B-V) in place of av", "mag", low=0.0, high=20.0)
    dust_map: str = _option(
        "", "map of the package dustmaps that gives E(B-V) in place of av: sfd, planck ..."
    )
    law: str = _option("F99", "Galactic extinction law, a name of dust_extinction")
    r_v: float = _option(3.1, "A_V / E(B-V) of that law", low=2.0, high=6.0)
    rescale_noise: bool = _option(
        False, "multiply the errors by the measured scatter over them, at each wavelength"
    )
    sky_windows: tuple[tuple[float, float], ...] = _option(
        (
            (5565.0, 5589.0),
            (5883.0, 5903.0),
            (6294.0, 6306.0),
            (6360.0, 6368.0),
            (6864.0, 6950.0),
            (7162.0, 7333.0),
            (7590.0, 7720.0),
            (8120.0, 8370.0),
            (8760.0, 11000.0),
        ),
        "observed windows of sky lines and telluric bands, left out of the continuum fit only",
        "Angstrom",
    )


@dataclass(frozen=True, kw_only=True)
class SnrOptions:
    """How the signal and noise of each spaxel are measured."""

    line: str = _option(
        "SII6731",
        "whose S/N the bins must reach: a line, a sum SII6716+SII6731, the worst of several "
        "min(Ha6563,SII6731), continuum, or continuum:5500-5600 (rest Angstrom)",
    )
    method: Literal["matched", "betis"] = _option(
        "matched", "matched filter, or the maximum in a window as the BETIS scripts had it"
    )
    noise: Literal["variance", "scatter"] = _option(
        "variance",
        "of the matched filter and the continuum: from the stated errors, or these times the "
        "scatter of the data about the pseudo-continuum",
    )
    peak_window: float = _option(
        5.0,
        "half-width of the window in which method betis takes the maximum",
        "Angstrom",
        low=0.5,
        high=100.0,
    )
    side_windows: tuple[tuple[float, float], ...] = _option(
        ((-60.0, -30.0), (30.0, 60.0)),
        "windows of its pseudo-continuum and noise, from the line, rest frame",
        "Angstrom",
    )
    tracer: str = _option("Ha6563", "bright line that gives the velocity field")
    max_velocity: float = _option(
        500.0, "largest velocity looked for", "km/s", low=10.0, high=3000.0
    )


@dataclass(frozen=True, kw_only=True)
class BinningOptions:
    """How spaxels become bins."""

    method: str = _option(
        "quadtree",
        "quadtree, voronoi, spaxel, regions, powerbin or vorbin (both extras), or a map of labels "
        "as FILE.fits or FILE.fits[EXTNAME]",
    )
    target: float = _option(10.0, "S/N that each bin must reach", low=0.1, high=1e6)
    margin: float = _option(
        1.0,
        "what bins are grown to have over the target, so that noise alone lifts few over it",
        "S/N",
        low=0.0,
        high=100.0,
    )
    correlation: float | str = _option(
        0.0,
        "alpha of the noise law 1 + alpha log10(n spaxels), or that of califa, manga or muse, or "
        "measured, or gaussian:SIGMA (spaxels)",
        low=0.0,
        high=10.0,
        texts=("califa", "manga", "muse", "measured", "gaussian:SIGMA"),
    )
    correlation_cap: int = _option(
        0,
        "spaxels beyond which that law grows no more; 0 for the published (manga: 100), or none",
        "spaxels",
        low=0,
    )
    min_level: int = _option(
        0, "smallest block is 2^min_level spaxels wide (quadtree)", low=0, high=16
    )
    max_level: int = _option(
        5, "largest block is 2^max_level spaxels wide, largest cell its area", low=0, high=16
    )
    anchor: Literal["corner", "center", "brightest"] = _option(
        "corner",
        "where blocks of all levels meet: first spaxel of the map, middle of the field, or "
        "brightest spaxel (quadtree)",
    )
    leftover: Literal["keep", "merge", "drop"] = _option(
        "keep",
        "what stays below the target: keep it as flagged bins, merge it into bins that can bear "
        "it, or drop it",
    )

    strict: bool = _option(
        False, "merge bins until the S/N measured on their spectra reaches the target"
    )

    @property
    def goal(self) -> float:
        """S/N that a bin must reach; one with just the margin does, whatever the rounding."""
        return self.target + self.margin * (1 - 1e-5)


@dataclass(frozen=True, kw_only=True)
class RegionOptions:
    """How H II regions are found, and what becomes of the field round them and round labels."""

    map: str = _option(
        "", "segmentation in place of regions that are found: FILE.fits or FILE.fits[EXTNAME]"
    )
    line: str = _option("Ha6563", "the line on whose map regions are found")
    smoothing: float = _option(
        1.0, "sigma of the Gaussian that smooths that map; 0 for none", "spaxel", low=0.0, high=20.0
    )
    background: int = _option(
        21, "width of the windows from which the diffuse level comes", "spaxel", low=3, high=500
    )
    peak_snr: float = _option(
        5.0, "S/N of a region's peak over the diffuse level", low=0.1, high=1e6
    )
    prominence: float = _option(
        3.0, "noises that a peak stands over the saddle to a higher one", low=0.0, high=1e6
    )
    min_distance: int = _option(
        1, "a peak is the highest within so many spaxels along y and x", "spaxel", low=1, high=100
    )
    edge: float = _option(
        0.1,
        "share of its peak, over the diffuse level, down to which a region reaches",
        low=0.0,
        high=1.0,
    )
    edge_snr: float = _option(
        2.0, "S/N over the diffuse level down to which a region reaches", low=0.0, high=1e6
    )
    max_radius: float = _option(
        8.0, "distance from its peak to which a region reaches", "spaxel", low=0.5, high=500.0
    )
    min_area: int = _option(5, "spaxels that a region has at least", "spaxel", low=1, high=10000)
    diffuse: Literal["quadtree", "voronoi", "spaxel", "none"] = _option(
        "quadtree", "how the rest of the field is binned: quadtree, voronoi, spaxel, or none"
    )


@dataclass(frozen=True, kw_only=True)
class ContinuumOptions:
    """How the stellar continuum is fitted."""

    engine: Literal["templates", "starlight", "ppxf", "polynomial", "none"] = _option(
        "templates",
        "templates (betis's own engine), starlight (see [starlight]), ppxf (an optional package), "
        "polynomial (for a quick look) or none",
    )
    templates: str = _option("bpass", "name of a shipped base, or a path")
    law: str = _option("CCM89", "dust law of the galaxy, a name of dust_extinction")
    r_v: float = _option(3.1, "A_V / E(B-V) of that law", low=2.0, high=6.0)
    mask_lines: bool = _option(True, "leave out the pixels of emission lines")
    mask_width: float = _option(600.0, "half-width of that mask", "km/s", low=0.0, high=5000.0)
    min_wave: float = _option(0.0, "shortest rest wavelength fitted", "Angstrom")
    max_wave: float = _option(1e5, "longest rest wavelength fitted", "Angstrom")
    max_velocity: float = _option(
        500.0, "bound of the velocity, either way", "km/s", low=10.0, high=3000.0
    )
    max_sigma: float = _option(400.0, "bound of the dispersion", "km/s", low=20.0, high=1000.0)
    min_av: float = _option(0.0, "lower bound of the extinction", "mag")
    max_av: float = _option(4.0, "upper bound of the extinction", "mag")
    clip: float = _option(4.0, "residuals beyond this many sigma are clipped; 0 for none", low=0.0)
    moments: Literal[2, 4] = _option(
        2, "2: velocity and dispersion; 4: Gauss-Hermite h3 and h4 too"
    )
    additive: int = _option(
        -1, "degree of additive Legendre polynomials; -1 for none", low=-1, high=40
    )
    multiplicative: int = _option(
        0, "degree of multiplicative Legendre polynomials; 0 for none", low=0, high=40
    )
    degree: int = _option(4, "degree of the engine polynomial", low=0, high=40)
    kinematics: Literal["bin", "coarse"] = _option(
        "bin",
        "velocity and dispersion of each bin by itself, or those of a neighbourhood that reaches "
        "coarse_snr",
    )
    coarse_snr: float = _option(
        20.0, "S/N of the continuum, a pixel, that a neighbourhood must reach", low=1.0
    )
    regularisation: float = _option(
        0.0, "weight of a smooth distribution over age and metallicity; 0 for none", low=0.0
    )
    realisations: int = _option(
        0, "noise realisations for the errors of ages and metallicities; 0 for none", low=0
    )
    seed: int = _option(1, "of those realisations", low=0)


@dataclass(frozen=True, kw_only=True)
class StarlightOptions:
    """How the STARLIGHT code is run (``continuum.engine = "starlight"``)."""

    executable: str = _option(
        "", "STARLIGHT itself, a path or a command; its files are written and not run if empty"
    )
    base: str = _option("", "its base list; continuum.templates is written as one if empty")
    base_dir: str = _option("", "folder of the spectra of the base; that of the list if empty")
    config: str = _option("", "its configuration file; one for the range of the data if empty")
    mask: str = _option("", "its mask file; one for the line set and the sky if empty")
    law: str = _option("CCM", "its dust law: CCM, CAL, HZ5 ...")
    kinematics: Literal["FIT", "FXK"] = _option(
        "FIT", "fit the kinematics, or hold those that betis's own engine finds"
    )
    step: float = _option(1.0, "step of the resampled spectra", "Angstrom", low=0.1, high=20.0)
    processes: int = _option(0, "how many run at once; 0 for one a core", low=0)
    time_limit: float = _option(600.0, "after which a fit is given up", "s", low=1.0)
    missing: Literal["wait", "flag"] = _option(
        "wait",
        "where nothing is run: wait until every output is there, or flag the spectra without one",
    )


@dataclass(frozen=True, kw_only=True)
class LineOptions:
    """How the emission lines are fitted."""

    line_set: str = _option("standard", "name of a shipped line set, or a TOML file")
    kinematics: Literal["set", "free", "one", "ionisation"] = _option(
        "set",
        "lines that share velocity and dispersion: as the set says, none but those of a fixed "
        "ratio, or, of those fitted together, all emission lines or those of one kind of gas",
    )
    window: float | None = _option(
        None,
        "half-width of the fit window round each line that has none of its own; none for that of "
        "the set, or 30",
        "Angstrom",
        low=10.0,
        high=300.0,
    )
    max_velocity: float | None = _option(
        None,
        "bound of the velocity, either way; none for that of the set, or 500",
        "km/s",
        low=10.0,
        high=3000.0,
    )
    max_sigma: float | None = _option(
        None,
        "bound of the intrinsic dispersion; none for that of the set, or 400",
        "km/s",
        low=20.0,
        high=3000.0,
    )
    fwhm: float | None = _option(
        None,
        "observed full width of a line's first guess, and the unit of a set's bounds of widths; "
        "none for that of the set, or 1.2 times the line-spread function",
        "Angstrom",
        low=0.1,
        high=100.0,
    )
    detection: float = _option(3.0, "S/N below which a line is flagged NOT_DETECTED", low=0.0)
    components: int = _option(
        1, "how many components the emission lines of a fit group may have", low=1, high=2
    )
    keep: Literal["bic", "always"] = _option(
        "bic", "keep a component where the data ask for it (BIC, its own S/N), or always"
    )
    component_snr: float = _option(5.0, "S/N that a component must have to be kept", low=0.0)
    errors: Literal["covariance", "residual", "realisations"] = _option(
        "covariance",
        "errors from the errors of the data, multiplied by the scatter of the residual over them, "
        "or from fits to noise realisations",
    )
    realisations: int = _option(100, "how many of those", low=10, high=10000)
    seed: int = _option(1, "of those", low=0)
    flux_covariance: bool = _option(False, "keep the covariance of the fluxes of each spectrum")


@dataclass(frozen=True, kw_only=True)
class DerivedOptions:
    """What is derived from the lines: ratios, extinction, classes."""

    min_snr: float = _option(3.0, "S/N from which a line is used, each line of a ratio", low=0.0)
    law: str = _option("CCM89", "dust law of the galaxy's gas, a name of dust_extinction")
    r_v: float = _option(3.1, "A_V / E(B-V) of that law", low=2.0, high=6.0)
    balmer_ratio: float = _option(
        2.86, "Halpha / Hbeta without dust (case B, 10^4 K)", low=1.0, high=10.0
    )


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """What the fits run on; changes nothing in the results."""

    device: Literal["auto", "cpu", "gpu"] = _option("auto", "cpu, gpu, or auto")
    cores: int = _option(0, "host cores to use; 0 for all", low=0)
    dask: str = _option(
        "",
        "local:N for N processes here, or the address of a Dask scheduler (tcp://HOST:PORT) or its "
        "file; in this process if empty",
    )
    time_limit: float = _option(
        0.0,
        "after which the fit of a block of spectra is given up and tried in smaller ones; 0 for "
        "50 times the slowest so far, half an hour at least",
        "s",
        low=0.0,
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """All stages' options."""

    cube: CubeOptions = field(default_factory=CubeOptions)
    prepare: PrepareOptions = field(default_factory=PrepareOptions)
    snr: SnrOptions = field(default_factory=SnrOptions)
    binning: BinningOptions = field(default_factory=BinningOptions)
    regions: RegionOptions = field(default_factory=RegionOptions)
    continuum: ContinuumOptions = field(default_factory=ContinuumOptions)
    starlight: StarlightOptions = field(default_factory=StarlightOptions)
    lines: LineOptions = field(default_factory=LineOptions)
    derived: DerivedOptions = field(default_factory=DerivedOptions)
    compute: ComputeOptions = field(default_factory=ComputeOptions)
