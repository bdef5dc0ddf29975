"""Adaptive emission-line binning and line fitting for integral-field spectroscopy.

The public names load what they need when they are first used: importing betis is light.
"""

from typing import TYPE_CHECKING, Any

from betis.errors import BetisError, ConfigError, FitError, InputError, RunFolderError
from betis.flags import Flag

if TYPE_CHECKING:
    from betis.api import (
        fit_continuum,
        fit_lines,
        line_snr,
        load_templates,
        make_maps,
        prepare,
        quadtree,
        read_cube,
        resample,
        run,
        stack,
        voronoi,
    )
    from betis.maps import Maps
    from betis.products import BinMap, ContinuumFit, Cube, LineFit, SnrMap, Spectra, Templates
    from betis.resampling import Resampled

__version__ = "0.1.0"

__all__ = [
    "BetisError",
    "BinMap",
    "ConfigError",
    "ContinuumFit",
    "Cube",
    "FitError",
    "Flag",
    "InputError",
    "LineFit",
    "Maps",
    "Resampled",
    "RunFolderError",
    "SnrMap",
    "Spectra",
    "Templates",
    "fit_continuum",
    "fit_lines",
    "line_snr",
    "load_templates",
    "make_maps",
    "prepare",
    "quadtree",
    "read_cube",
    "resample",
    "run",
    "stack",
    "voronoi",
]

_PRODUCTS = {"BinMap", "ContinuumFit", "Cube", "LineFit", "SnrMap", "Spectra", "Templates"}
_ROOMS = {"Maps": "betis.maps", "Resampled": "betis.resampling"}


def __getattr__(name: str) -> Any:
    """Load a public name from the room it lives in."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'betis' has no attribute {name!r}")
    room = "betis.products" if name in _PRODUCTS else _ROOMS.get(name, "betis.api")
    return getattr(import_module(room), name)


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
