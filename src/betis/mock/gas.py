"""Ionised gas of a mock galaxy: H II regions, and the diffuse gas between them.

References
----------
Case B (10^4 K, 100 cm^-3): Osterbrock & Ferland 2006, Astrophysics of Gaseous Nebulae and Active
Galactic Nuclei, table 4.4. Luminosity function of H II regions: Kennicutt, Edgar & Hodge 1989,
ApJ 337 761 (power law, index -2 +- 0.5). Enhanced low ions in the diffuse gas: Haffner et al.
2009, RvMP 81 969, section III.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import erf

from betis.arrays import F64
from betis.linelist import LineSet

LUMINOSITY_INDEX = -1.9
LUMINOSITY_RANGE = (8e3, 8e5)
"""Faintest and brightest H II region: H alpha without dust, 1e-20 erg/s/cm²."""

_PSF_SIGMA = 1.5
"""Spaxels: a seeing of 0.7 arcsec FWHM on MUSE's spaxels of 0.2 arcsec."""

_DOUBLET, _DOUBLET_LIMIT = 1.40, 1.44
"""[S II] 6716/6731: of typical H II regions, and at low density."""

_RATIOS = {
    "Ha6563": (1.0, 1.0),
    "Hb4861": (1 / 2.86, 1 / 2.86),
    "Hg4340": (0.468 / 2.86, 0.468 / 2.86),
    "Hd4102": (0.259 / 2.86, 0.259 / 2.86),
    "OII3726": (0.40, 0.80),
    "OII3729": (0.50, 1.00),
    "NeIII3869": (0.02, 0.03),
    "OIII4363": (0.001, 0.002),
    "HeII4686": (0.002, 0.004),
    "OIII5007": (0.15, 0.22),
    "NI5198": (0.004, 0.015),
    "NI5200": (0.003, 0.012),
    "NII5755": (0.003, 0.006),
    "HeI5876": (0.040, 0.035),
    "OI6300": (0.015, 0.070),
    "SIII6312": (0.003, 0.003),
    "NII6583": (0.35, 0.58),
    "HeI6678": (0.011, 0.010),
    "SII6716": (0.128, 0.290),
    "SII6731": (0.092, 0.205),
    "ArIII7136": (0.025, 0.020),
    "SIII9069": (0.080, 0.050),
}
"""Flux over that of H alpha, without dust: in H II regions and in diffuse gas."""

_FAINT = (0.003, 0.003)
"""The same, of a line that is not in the table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """H II regions.

    Attributes
    ----------
    y, x : pixels from 0 [region]
    sigma : pixels [region]
        Of the Gaussian on the sky, seeing included.
    luminosity : 1e-20 erg/s/cm² [region]
        H alpha without dust.
    ratios : [region, line]
        Flux of each line over that of H alpha, without dust.
    """

    y: Float[F64, " region"]
    x: Float[F64, " region"]
    sigma: Float[F64, " region"]
    luminosity: Float[F64, " region"]
    ratios: Float[F64, "region line"]


def draw_luminosities(
    rng: np.random.Generator,
    count: int,
    index: float = LUMINOSITY_INDEX,
    limits: tuple[float, float] = LUMINOSITY_RANGE,
) -> Float[F64, " region"]:
    """Draw from ``dN/dL ~ L^index`` between two limits; ``index`` is not -1."""
    low, high = (limit ** (index + 1) for limit in limits)
    return np.asarray((low + (high - low) * rng.random(count)) ** (1 / (index + 1)))


def draw_regions(
    rng: np.random.Generator,
    density: Float[F64, "y x"],
    radius: Float[F64, "y x"],
    line_set: LineSet,
) -> Regions:
    """Draw H II regions.

    Parameters
    ----------
    rng
        Source of randomness.
    density
        Expected number of regions in each spaxel.
    radius
        Galactocentric radius in scale lengths: metals decrease with it.
    line_set
        The lines; only H alpha need not be there.
    """
    count = max(1, round(float(density.sum())))
    place = rng.choice(density.size, size=count, p=density.ravel() / density.sum())
    y, x = np.unravel_index(place, density.shape)
    luminosity = draw_luminosities(rng, count)
    core = 0.5 * (luminosity / LUMINOSITY_RANGE[0]) ** (1 / 6)
    return Regions(
        y=y + rng.uniform(-0.5, 0.5, count),
        x=x + rng.uniform(-0.5, 0.5, count),
        sigma=np.hypot(_PSF_SIGMA, core),
        luminosity=luminosity,
        ratios=_region_ratios(rng, radius.ravel()[place], line_set),
    )


def paint_regions(regions: Regions, shape: tuple[int, int]) -> Float[F64, "line y x"]:
    """Return the dust-free flux of each line in each spaxel, summed over regions."""
    image = np.zeros((regions.ratios.shape[1], *shape))
    for row, ratios in enumerate(regions.ratios):
        reach = 6 * regions.sigma[row]
        rows, profile_y = _profile(regions.y[row], regions.sigma[row], reach, shape[0])
        columns, profile_x = _profile(regions.x[row], regions.sigma[row], reach, shape[1])
        stamp = regions.luminosity[row] * np.outer(profile_y, profile_x)
        image[:, rows, columns] += ratios[:, None, None] * stamp
    return image


def diffuse_ratios(line_set: LineSet) -> Float[F64, " line"]:
    """Return the flux of each line over that of H alpha in the diffuse gas, without dust."""
    return np.asarray(_typical_ratios(line_set)[1])


def tie(flux: Float[F64, "line y x"], line_set: LineSet) -> Float[F64, "line y x"]:
    """Return the fluxes with those that atomic physics ties set to their ratio."""
    tied = flux.copy()
    for row, line in enumerate(line_set.lines):
        if line.ratio_of in line_set.names:
            tied[row] = line.ratio * flux[line_set.names.index(line.ratio_of)]
    return tied


def _profile(
    center: float, sigma: float, reach: float, size: int
) -> tuple[slice, Float[F64, " pixel"]]:
    """Return where a Gaussian reaches, and its integral over each of those pixels."""
    first = min(max(int(np.floor(center - reach)), 0), size)
    last = min(max(int(np.ceil(center + reach)) + 1, first), size)
    edges = np.arange(first, last + 1) - 0.5
    return slice(first, last), 0.5 * np.diff(erf((edges - center) / (np.sqrt(2) * sigma)))


def _typical_ratios(line_set: LineSet) -> Float[F64, "kind line"]:
    """Return the ratios of typical H II regions, and of diffuse gas."""
    return np.array([_typical_ratio(line_set, name) for name in line_set.names]).T


def _typical_ratio(line_set: LineSet, name: str) -> tuple[float, float]:
    line = line_set[name]
    region, diffuse = _RATIOS.get(line.ratio_of or name, _FAINT)
    factor = line.ratio if line.ratio_of else 1.0
    return region * factor, diffuse * factor


def _region_ratios(
    rng: np.random.Generator, radius: Float[F64, " region"], line_set: LineSet
) -> Float[F64, "region line"]:
    """Scatter the ratios of typical H II regions; [O III] rises outwards and [N II] falls."""
    typical = _typical_ratios(line_set)[0]
    of_ion = _column_of_ion(line_set.names)
    scatter = rng.normal(0.0, 0.06, (radius.size, max(of_ion) + 1))[:, of_ion]
    gradient = np.array([_gradient(name) for name in line_set.names])
    exponent = scatter + gradient * (np.clip(radius, 0, 3)[:, None] - 1)
    is_balmer = np.array([name[:2] in {"Ha", "Hb", "Hg", "Hd"} for name in line_set.names])
    ratios = typical * 10 ** np.where(is_balmer, 0.0, exponent)
    return _with_doublet(rng, ratios, line_set.names)


def _column_of_ion(names: Sequence[str]) -> list[int]:
    """Return the number of each line's ion: the lines of one ion scatter together."""
    ions = [name.rstrip("0123456789") for name in names]
    return [sorted(set(ions)).index(ion) for ion in ions]


def _gradient(name: str) -> float:
    """Return dex per scale length."""
    ion = name.rstrip("0123456789")
    return {"OIII": 0.25, "NeIII": 0.25, "NII": -0.10}.get(ion, 0.0)


def _with_doublet(
    rng: np.random.Generator, ratios: Float[F64, "region line"], names: Sequence[str]
) -> Float[F64, "region line"]:
    """Share the flux of [S II] between its lines by a density of each region's own."""
    if not {"SII6716", "SII6731"} <= set(names):
        return ratios
    blue, red = names.index("SII6716"), names.index("SII6731")
    doublet = np.clip(rng.normal(_DOUBLET, 0.04, len(ratios)), 1.0, _DOUBLET_LIMIT)
    total = ratios[:, blue] + ratios[:, red]
    shared = ratios.copy()
    shared[:, blue], shared[:, red] = total * doublet / (1 + doublet), total / (1 + doublet)
    return shared
