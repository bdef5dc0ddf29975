"""E(B-V) of the Milky Way towards a field, from the maps of the optional package dustmaps."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from typing import Any

from betis.errors import ConfigError, InputError
from betis.io.wcs import celestial_wcs
from betis.products import Sky

SFD_RECALIBRATION = 2.742 / 3.1
"""E(B-V) over that of the SFD map: A_V = 2.742 E(B-V)_SFD at R_V = 3.1 (F99).

Schlafly & Finkbeiner 2011, ApJ 737 103, Table 6 (Landolt V).
"""

_MAPS = {
    "sfd": ("sfd", "SFDQuery", SFD_RECALIBRATION),
    "planck": ("planck", "PlanckQuery", 1.0),
    "lenz2017": ("lenz2017", "Lenz2017Query", 1.0),
}
"""Module and class of dustmaps, and what its E(B-V) is multiplied by."""


def map_names() -> tuple[str, ...]:
    """Return the names of the maps that can be asked."""
    return tuple(_MAPS)


def reddening(name: str, sky: Sky) -> float:
    """Return E(B-V) in mag at the centre of a field.

    Parameters
    ----------
    name
        "sfd" (Schlegel, Finkbeiner & Davis 1998, ApJ 500 525, recalibrated: see
        `SFD_RECALIBRATION`), "planck" (Planck Collaboration 2014, A&A 571 A11), or "lenz2017"
        (Lenz et al. 2017, ApJ 846 38).
    sky
        Gives the position, by its celestial WCS.

    Raises
    ------
    ConfigError
        Where the map is unknown, or the package or the map's own files are not installed.
    InputError
        Where the cube has no celestial WCS, or lies outside the map.
    """
    module, query, calibration = _known(name)
    position = field_center(sky)
    if position is None:
        raise InputError(
            "the cube has no celestial WCS, so the dust map cannot be asked for its position; "
            "give --ebv or --av in place of --dust-map"
        )
    ebv = calibration * float(_ask(name, module, query, position))
    if not math.isfinite(ebv) or ebv < 0:
        raise InputError(
            f"the dust map {name} has no E(B-V) at {position.to_string('hmsdms', precision=0)}; "
            "use another map, or give --ebv or --av"
        )
    return ebv


def field_center(sky: Sky) -> Any:
    """Return the position of the middle of a field, a SkyCoord; None where there is no WCS."""
    wcs = celestial_wcs(sky.wcs)
    n_y, n_x = sky.shape
    return None if wcs is None else wcs.pixel_to_world((n_x - 1) / 2, (n_y - 1) / 2)


def _known(name: str) -> tuple[str, str, float]:
    if name not in _MAPS:
        raise ConfigError(
            f"the dust map {name!r} is unknown; expected one of {', '.join(map_names())}"
        )
    return _MAPS[name]


def _ask(name: str, module: str, query: str, position: Any) -> float:
    try:
        maps = importlib.import_module(f"dustmaps.{module}")
    except ImportError as error:
        raise ConfigError(
            f"the dust map {name} needs the package dustmaps, which cannot be imported ({error}); "
            "install it with: pip install 'betis[dustmaps]'"
        ) from error
    try:
        # It prints how to get the maps; the error below says the same in one sentence.
        with contextlib.redirect_stdout(io.StringIO()):
            return float(getattr(maps, query)()(position))
    except OSError as error:
        raise ConfigError(
            f"the files of the dust map {name} cannot be read ({error}); download them once with: "
            f'python -c "import dustmaps.{module} as m; m.fetch()"'
        ) from error
