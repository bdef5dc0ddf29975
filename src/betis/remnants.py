"""Spectra against templates of supernova remnants: a correlation with a known null distribution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.polynomial.legendre import legvander
from scipy.stats import norm, t

from betis.arrays import B8, F64, I32, Brief
from betis.errors import ConfigError, InputError
from betis.flags import Flag
from betis.products import Spectra
from betis.resampling import flux_conserving, pixel_bounds
from betis.wavelength import C_KMS, Medium, air_to_vacuum, pixel_edges, rest_wave

__all__ = [
    "REGIONS",
    "Match",
    "Matching",
    "RemnantTemplate",
    "best_bins",
    "legacy_coefficient",
    "match_remnants",
    "match_template",
    "null_distribution",
    "on_axis",
    "regions_from",
]

Region = tuple[float, float]

REGIONS: tuple[Region, ...] = (
    (4700.0, 5300.0),
    (6100.0, 6500.0),
    (6500.0, 6620.0),
    (6620.0, 6900.0),
    (7000.0, 7600.0),
)
"""Angstrom, rest frame: round [O III], [O I], H-alpha, [S II], and [Ca II] with [O II]."""

_HIGHEST_DEGREE = 6
_LEAST_SHARE = 0.5
"""Share of a region's pixels below which a coefficient is flagged FEW_PIXELS."""
_WHOLE = 1 - 1e-6
"""Share of a pixel that the template must cover."""
_ROUNDING = 1e-18
"""Share of the sum of squares below which nothing but a polynomial was there."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RemnantTemplate(Brief):
    """The spectrum of a supernova remnant.

    Attributes
    ----------
    name
        What its extensions are called.
    wave : Angstrom [pixel]
        As observed, strictly increasing.
    flux : flux density, any scale [pixel]
    medium
        Of the wavelengths.
    """

    name: str
    wave: Float[F64, " pixel"]
    flux: Float[F64, " pixel"]
    medium: Medium = "air"


@dataclass(frozen=True, kw_only=True)
class Matching:
    """How spectra and templates are compared.

    Attributes
    ----------
    regions : Angstrom
        Low and high end of each, on the rest-frame axis of the spectra.
    degree
        Of the polynomial that is taken out of spectrum and template in each region.
    velocity : km/s
        Of the remnants looked for, relative to the rest frame of the spectra.
    redshift
        What the wavelengths of the templates are to be divided by, minus one.
    noise_correlation
        Correlation of the noise of neighbouring wavelength pixels.

    Raises
    ------
    ConfigError
        Where a value makes no sense.
    """

    regions: tuple[Region, ...] = REGIONS
    degree: int = 2
    velocity: float = 0.0
    redshift: float = 0.0
    noise_correlation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        for low, high in self.regions:
            if not 0 < low < high < np.inf:
                raise ConfigError(
                    f"the region {low:g}-{high:g} A is empty, where the smaller wavelength was "
                    "expected first; turn it round"
                )
        if not 0 <= self.degree <= _HIGHEST_DEGREE:
            raise ConfigError(
                f"the degree of the polynomial is {self.degree}, where a number from 0 to "
                f"{_HIGHEST_DEGREE} was expected"
            )
        if not (abs(self.velocity) < C_KMS and -1 < self.redshift < np.inf):
            raise ConfigError(
                f"the velocity is {self.velocity:g} km/s and the redshift of the template "
                f"{self.redshift:g}, where less than that of light and more than -1 were expected"
            )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Match(Brief):
    """How spectra resemble one template; NaN where it cannot be said.

    Attributes
    ----------
    regions : Angstrom
        Low and high end of each.
    coefficient : [spectrum, region]
        Pearson's, weighted by the inverse variance, of what is left of spectrum and template
        without a polynomial: 1 for the template itself.
    p_value : [spectrum, region]
        Probability that noise alone gives this coefficient or a larger one.
    significance : sigma [spectrum, region]
        The same in words of a Gaussian; negative where the coefficient is.
    legacy, legacy_self : [spectrum, region]
        The coefficient of the BETIS scripts, and that of the template with itself.
    n_pixel : [spectrum, region]
        Pixels that were compared.
    flags : [spectrum, region]
        NO_DATA where there is no value, FEW_PIXELS where less than half a region was seen.
    """

    regions: tuple[Region, ...]
    coefficient: Float[F64, "spectrum region"]
    p_value: Float[F64, "spectrum region"]
    significance: Float[F64, "spectrum region"]
    legacy: Float[F64, "spectrum region"]
    legacy_self: Float[F64, "spectrum region"]
    n_pixel: Int[I32, "spectrum region"]
    flags: Int[I32, "spectrum region"]


def regions_from(texts: Sequence[str]) -> tuple[Region, ...]:
    """Return the regions of texts such as ``4700-5300``; those of `REGIONS` for none.

    Raises
    ------
    ConfigError
        Where a text is none of that kind.
    """
    regions = []
    for text in texts:
        low, _, high = text.partition("-")
        try:
            regions.append((float(low), float(high)))
        except ValueError as error:
            raise ConfigError(
                f"the region {text!r} is no range of wavelengths; give it as 4700-5300"
            ) from error
    return tuple(regions) or REGIONS


MEASURED = tuple(item.name for item in fields(Match) if item.name != "regions")
"""What `Match` holds of each spectrum and region."""


def match_remnants(
    pieces: Iterable[Spectra], templates: Sequence[RemnantTemplate], how: Matching
) -> Mapping[str, Match]:
    """Compare spectra, which come a few at a time, with templates.

    Parameters
    ----------
    pieces
        Nebular spectra, all on one axis: without the stellar continuum.
    templates
        Of different names.
    how
        Regions, polynomial, velocities.

    Returns
    -------
    By the name of the template; rows in the order in which they came.

    Raises
    ------
    ConfigError
        Where two templates have the same name.
    InputError
        Where a template has no pixel in common with any region of the spectra.

    See Also
    --------
    match_template : The method.
    """
    names = [template.name for template in templates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two templates are called {twice[0]}, where each needs a name of its own; rename a "
            "file"
        )
    found: dict[str, list[Match]] = {name: [] for name in names}
    for gas in pieces:
        for template in templates:
            found[template.name].append(match_template(gas, template, how))
    return {name: _joined(parts) for name, parts in found.items()}


def match_template(gas: Spectra, template: RemnantTemplate, how: Matching) -> Match:
    """Compare spectra with one template, region by region.

    The template is integrated over the pixels of the spectra. In each region a polynomial is
    fitted to both, weighted by the inverse variance of the spectrum, and taken out; masked pixels
    and those in windows of the sky are left out. Of what is left, ``d`` and ``s``,

        r = sum(d s / v) / sqrt(sum(d² / v) sum(s² / v)).

    Where the spectrum is Gaussian noise of variance ``v``, up to a factor, ``d / sqrt(v)`` points
    anywhere in the ``m = n - degree - 1`` dimensions that the polynomial leaves with equal
    probability. ``r sqrt((m - 1) / (1 - r²))`` then follows Student's distribution of ``m - 1``
    degrees of freedom exactly, whatever the template. Correlated noise of neighbouring pixels
    widens it by ``sqrt(1 + 2 rho a)``, with ``a`` the autocorrelation of the template at a lag of
    one pixel.

    Raises
    ------
    InputError
        Where the template has no pixel in common with any region of the spectra.

    References
    ----------
    Fisher 1915, Biometrika 10 507 (null distribution of the correlation coefficient).
    """
    flux, known = on_axis(template, gas, how)
    if not any(known[_inside(gas.wave, region)].any() for region in how.regions):
        raise InputError(
            f"the template {template.name} runs from {template.wave[0]:.0f} to "
            f"{template.wave[-1]:.0f} A and has no pixel in common with a region of the spectra; "
            "check its wavelengths, --redshift and --region"
        )
    parts = [_match_region(gas, flux, known, region, how) for region in how.regions]
    values = {name: np.stack([part[name] for part in parts], axis=1) for name in MEASURED}
    return Match(regions=how.regions, **values)


def on_axis(
    template: RemnantTemplate, gas: Spectra, how: Matching
) -> tuple[Float[F64, " wave"], Bool[B8, " wave"]]:
    """Return a template integrated over the pixels of spectra, and where it covers them whole.

    Its wavelengths go to vacuum, are divided by ``1 + redshift``, moved by ``velocity``, and
    brought to the axis of the spectra, through air where that was observed in air.
    """
    vacuum = air_to_vacuum(template.wave) if template.medium == "air" else template.wave
    rest = vacuum / (1 + how.redshift) * (1 + how.velocity / C_KMS)
    wave = rest_wave(rest, gas.medium, gas.redshift)
    operator = flux_conserving(
        pixel_bounds(wave, pixel_edges(wave)), pixel_bounds(gas.wave, gas.edges)
    )
    covered = np.asarray(operator.sum(axis=1)).ravel()
    known = covered >= _WHOLE
    return np.where(known, operator @ template.flux, 0.0), known


def _match_region(
    gas: Spectra, template: F64, known: B8, region: Region, how: Matching
) -> dict[str, Any]:
    inside = _inside(gas.wave, region)
    rows = gas.flux.shape[0]
    good = ~gas.mask[:, inside] & (known & ~gas.sky_window)[inside]
    count = good.sum(axis=1).astype(np.int32)
    enough = count >= how.degree + _LEAST_FREE
    values = {name: np.full(rows, np.nan) for name in _VALUES}
    if enough.any():
        flux, error = (part[:, inside][enough] for part in (gas.flux, gas.error))
        powers = _powers(gas.wave[inside], how.degree)
        found = _compared(flux, error, good[enough], template[inside], powers, how)
        for name, value in found.items():
            values[name][enough] = value
    flags = np.where(np.isfinite(values["coefficient"]), 0, Flag.NO_DATA)
    few = (flags == 0) & (count < _LEAST_SHARE * inside.sum())
    flags = flags | np.where(few, Flag.FEW_PIXELS, 0)
    return {**values, "n_pixel": count, "flags": flags.astype(np.int32)}


_VALUES = ("coefficient", "p_value", "significance", "legacy", "legacy_self")
_LEAST_FREE = 4
"""Pixels beyond the degree of the polynomial that a distribution takes."""


def _inside(wave: F64, region: Region) -> Bool[B8, " wave"]:
    return np.asarray((wave >= region[0]) & (wave <= region[1]))


def _powers(wave: F64, degree: int) -> Float[F64, "pixel k"]:
    """Return the polynomials of a region, at wavelengths brought to -1 ... 1."""
    middle, half = (wave[-1] + wave[0]) / 2, (wave[-1] - wave[0]) / 2
    return np.asarray(legvander((wave - middle) / half, degree))


def _compared(
    flux: Float[F64, "row pixel"],
    error: Float[F64, "row pixel"],
    good: Bool[B8, "row pixel"],
    template: Float[F64, " pixel"],
    powers: Float[F64, "pixel k"],
    how: Matching,
) -> dict[str, F64]:
    """Return the coefficients of spectra and template on the pixels of one region."""
    weight = np.where(good, 1 / np.where(good, error, 1.0), 0.0)
    basis, _ = np.linalg.qr(weight[..., None] * powers)
    data = _without(basis, weight * flux)
    shape = _without(basis, weight * template)
    coefficient = _cosine(data, shape)
    free = good.sum(axis=1) - how.degree - 1.0
    widening = _widening(shape, how.noise_correlation)
    p_value, significance = null_distribution(coefficient, free, widening)
    rows = np.broadcast_to(template, flux.shape)
    return {
        "coefficient": coefficient,
        "p_value": p_value,
        "significance": significance,
        "legacy": legacy_coefficient(flux, rows, good),
        "legacy_self": legacy_coefficient(rows, rows, good),
    }


def _without(basis: Float[F64, "row pixel k"], rows: Float[F64, "row pixel"]) -> F64:
    """Return rows without what the orthonormal basis describes; zeros where nothing is left."""
    share = np.einsum("rpk,rp->rk", basis, rows)
    left = rows - np.einsum("rpk,rk->rp", basis, share)
    nothing = (left**2).sum(axis=1) <= _ROUNDING * (rows**2).sum(axis=1)
    return np.asarray(np.where(nothing[:, None], 0.0, left))


def _cosine(one: Float[F64, "row pixel"], other: Float[F64, "row pixel"]) -> Float[F64, " row"]:
    """Return the cosine of the angle between rows; NaN where one is zero."""
    product = (one * other).sum(axis=1)
    length = np.sqrt((one**2).sum(axis=1)) * np.sqrt((other**2).sum(axis=1))
    cosine = np.divide(product, length, out=np.full(len(product), np.nan), where=length > 0)
    return np.asarray(np.clip(cosine, -1.0, 1.0))


def _widening(shape: Float[F64, "row pixel"], correlation: float) -> Float[F64, " row"]:
    """Return by how much noise of correlated neighbours widens the null distribution."""
    square, lagged = (shape**2).sum(axis=1), (shape[:, 1:] * shape[:, :-1]).sum(axis=1)
    alike = np.divide(lagged, square, out=np.zeros(len(square)), where=square > 0)
    return np.asarray(np.sqrt(np.maximum(1 + 2 * correlation * alike, _NARROWEST)))


_NARROWEST = 0.1
"""A jagged template on correlated noise: the law is for smooth ones, so no less than this."""


def null_distribution(
    coefficient: Float[F64, " row"],
    free: Float[F64, " row"],
    widening: Float[F64, " row"] | float = 1.0,
) -> tuple[Float[F64, " row"], Float[F64, " row"]]:
    """Return p-value and significance (sigma) of correlation coefficients of noise.

    Parameters
    ----------
    coefficient
        From -1 to 1; NaN stays NaN.
    free
        Dimensions that the polynomial leaves.
    widening
        Of the distribution by correlated noise.

    Returns
    -------
    The probability of this coefficient or a larger one, and the place of that probability in a
    Gaussian; at most 37 sigma, beyond which float64 knows no probability.

    References
    ----------
    Fisher 1915, Biometrika 10 507.
    """
    rest = np.maximum(1 - coefficient**2, _ROUNDING)
    student = coefficient * np.sqrt((free - 1) / rest) / widening
    tail = np.maximum(t.sf(np.abs(student), free - 1), _LEAST_P)
    upper = np.where(student > 0, tail, 1 - tail)
    p_value = np.where(np.isfinite(coefficient), upper, np.nan)
    return p_value, np.where(np.isfinite(coefficient), np.sign(student) * norm.isf(tail), np.nan)


_LEAST_P = 1e-300


def legacy_coefficient(
    one: Float[F64, "row pixel"], other: Float[F64, "row pixel"], good: Bool[B8, "row pixel"]
) -> Float[F64, " row"]:
    """Return the coefficient of the BETIS scripts: the sum of the products of both, normalised.

    Each row is brought to ``(F - min F) / sum(F - min F)``. It is neither bounded nor highest for
    the template itself: compare it with that of the template, or use Pearson's.
    """
    product = (_from_least(one, good) * _from_least(other, good)).sum(axis=1)
    return np.asarray(product)


def _from_least(rows: Float[F64, "row pixel"], good: Bool[B8, "row pixel"]) -> F64:
    least = np.where(good, rows, np.inf).min(axis=1, keepdims=True)
    above = np.where(good, rows - least, 0.0)
    total = above.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(above, total, out=np.full_like(above, np.nan), where=total > 0))


def best_bins(matches: Mapping[str, Match]) -> list[dict[str, str]]:
    """Return, of each template and region, the bin that resembles it most, in words."""
    rows = []
    for name, match in matches.items():
        for i, (low, high) in enumerate(match.regions):
            seen = np.isfinite(match.coefficient[:, i])
            best = int(np.argmax(np.where(seen, match.significance[:, i], -np.inf)))
            values = {
                "coefficient": f"{match.coefficient[best, i]:.3f}",
                "sigma": f"{match.significance[best, i]:.1f}",
                "bin": str(best),
            }
            rows.append(
                {
                    "template": name,
                    "region [Å]": f"{low:g}-{high:g}",
                    "bins": str(int(seen.sum())),
                    "above 3 sigma": str(int((match.significance[seen, i] > _NOTABLE).sum())),
                    **(values if seen.any() else dict.fromkeys(values, "–")),
                }
            )
    return rows


_NOTABLE = 3.0


def _joined(parts: Sequence[Match]) -> Match:
    values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in MEASURED}
    return Match(regions=parts[0].regions, **values)
