"""Sorting the spectra: what ionises their gas, and whether it is diffuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from betis.arrays import B8, F64, I32
from betis.derived.fluxes import Quantity

__all__ = [
    "CURVES",
    "DIAGRAMS",
    "DIFFUSE",
    "STAR_FORMING",
    "Classes",
    "Curve",
    "NamedCurve",
    "diagram_classes",
    "kauffmann_nii",
    "kewley_nii",
    "kewley_oi",
    "kewley_sii",
    "width_classes",
]

Points = Float[F64, " point"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A demarcation, and the abscissa at which it falls to minus infinity."""

    at: Callable[[Points], Points]
    end: float

    def below(self, x: Points, y: Points) -> Bool[B8, " point"]:
        """Tell the points under the curve, which are left of its end."""
        left = x < self.end
        return np.asarray(left & (y < self.at(np.where(left, x, self.end - 1.0))))


@dataclass(frozen=True, kw_only=True, eq=False)
class Classes:
    """A class for each spectrum.

    Attributes
    ----------
    value : [spectrum]
        0 where it has none; else one of ``names``.
    names
        Class by number, from 1.
    meaning
        In words, with its source.
    """

    value: Int[I32, " spectrum"]
    names: tuple[str, ...]
    meaning: str


def kewley_nii(x: Points) -> Points:
    """Return the maximum starburst line in [N II]/Ha (Kewley et al. 2001, ApJ 556 121, eq. 5)."""
    return 0.61 / (x - 0.47) + 1.19


def kewley_sii(x: Points) -> Points:
    """Return the maximum starburst line in [S II]/Ha (Kewley et al. 2001, ApJ 556 121, eq. 6)."""
    return 0.72 / (x - 0.32) + 1.30


def kewley_oi(x: Points) -> Points:
    """Return the maximum starburst line in [O I]/Ha (Kewley et al. 2001, ApJ 556 121, eq. 7)."""
    return 0.73 / (x + 0.59) + 1.33


def kauffmann_nii(x: Points) -> Points:
    """Return the line of pure star formation (Kauffmann et al. 2003, MNRAS 346 1055, eq. 1)."""
    return 0.61 / (x - 0.05) + 1.3


def _seyfert_sii(x: Points) -> Points:
    """Return the line of Seyferts above LINERs (Kewley et al. 2006, MNRAS 372 961, eq. 9)."""
    return 1.89 * x + 0.76


def _seyfert_oi(x: Points) -> Points:
    """Return the line of Seyferts above LINERs (Kewley et al. 2006, MNRAS 372 961, eq. 10)."""
    return 1.18 * x + 1.30


_KEWLEY = {
    "LOG_NII_HA": Curve(at=kewley_nii, end=0.47),
    "LOG_SII_HA": Curve(at=kewley_sii, end=0.32),
    "LOG_OI_HA": Curve(at=kewley_oi, end=-0.59),
}
_KAUFFMANN = Curve(at=kauffmann_nii, end=0.05)
_SEYFERT: dict[str, Callable[[Points], Points]] = {
    "LOG_SII_HA": _seyfert_sii,
    "LOG_OI_HA": _seyfert_oi,
}
DIAGRAMS = {"BPT_NII": "LOG_NII_HA", "BPT_SII": "LOG_SII_HA", "BPT_OI": "LOG_OI_HA"}
"""Name of the classes, and of the abscissa of their diagram; the ordinate is LOG_OIII_HB."""


@dataclass(frozen=True, kw_only=True)
class NamedCurve:
    """A demarcation to be drawn between two abscissae."""

    name: str
    at: Callable[[Points], Points]
    first: float
    last: float


CURVES = {
    "LOG_NII_HA": (
        NamedCurve(name="Kewley+01", at=kewley_nii, first=-2.5, last=0.35),
        NamedCurve(name="Kauffmann+03", at=kauffmann_nii, first=-1.28, last=-0.05),
    ),
    "LOG_SII_HA": (
        NamedCurve(name="Kewley+01", at=kewley_sii, first=-2.5, last=0.2),
        NamedCurve(name="Kewley+06", at=_seyfert_sii, first=-0.31, last=0.5),
    ),
    "LOG_OI_HA": (
        NamedCurve(name="Kewley+01", at=kewley_oi, first=-2.5, last=-0.7),
        NamedCurve(name="Kewley+06", at=_seyfert_oi, first=-1.12, last=0.0),
    ),
}
"""Demarcations by the abscissa of their diagram."""

_ABSCISSAE = {
    "LOG_NII_HA": "[N II] 6583 / Halpha",
    "LOG_SII_HA": "[S II] 6716+6731 / Halpha",
    "LOG_OI_HA": "[O I] 6300 / Halpha",
}
DIFFUSE, STAR_FORMING = 3.0, 14.0
"""EW(Halpha), Angstrom, between the classes of Lacerda et al. 2018, MNRAS 474 3727."""


def diagram_classes(name: str, ratios: Mapping[str, Quantity]) -> Classes:
    """Return the classes of one diagnostic diagram; 0 where a ratio is not known.

    [N II]: star formation below Kauffmann+2003, composite up to Kewley+2001, AGN or LI(N)ER above.
    [S II] and [O I]: star formation below Kewley+2001, above it Seyfert or LI(N)ER as in
    Kewley+2006.
    """
    abscissa = DIAGRAMS[name]
    x, y = ratios[abscissa].value, ratios["LOG_OIII_HB"].value
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    is_starburst = _KEWLEY[abscissa].below(x, y)
    if name == "BPT_NII":
        value = np.where(_KAUFFMANN.below(x, y), 1, np.where(is_starburst, 2, 3))
        names = ("star formation", "composite", "AGN or LIER")
        source = "Kauffmann+2003, Kewley+2001"
    else:
        value = np.where(is_starburst, 1, np.where(y > _SEYFERT[abscissa](x), 2, 3))
        names, source = ("star formation", "Seyfert", "LIER"), "Kewley+2001, 2006"
    return Classes(
        value=np.where(known, value, 0).astype(np.int32),
        names=names,
        meaning=f"[O III] 5007 / Hbeta against {_ABSCISSAE[abscissa]} ({source})",
    )


def width_classes(width: Float[F64, " spectrum"], usable: Bool[B8, " spectrum"]) -> Classes:
    """Return the classes by the equivalent width (Angstrom) of Halpha; 0 where it is not known.

    References
    ----------
    Lacerda et al. 2018, MNRAS 474 3727: hDIG below 3, mDIG 3 to 14, SFc above 14 Angstrom.
    """
    known = usable & np.isfinite(width)
    value = 1 + np.searchsorted([DIFFUSE, STAR_FORMING], np.where(known, width, 0.0))
    return Classes(
        value=np.where(known, value, 0).astype(np.int32),
        names=("hDIG", "mDIG", "SFc"),
        meaning="EW(Halpha) below 3, 3 to 14, above 14 Angstrom (Lacerda+2018)",
    )
