"""The containers that walk through betis: Cube, SnrMap, BinMap, Spectra, Templates, fits.

All are frozen. Axis names: ``y, x`` (FITS axes 2 and 1, from 0), ``wave``, ``spectrum`` (a row:
a bin, a spaxel or a region), ``template``, ``line``, ``group`` (lines fitted together).
Mask True means bad.
"""

from betis.products.binning import BinMap, SnrMap
from betis.products.correlation import NoiseCorrelation, noise_growth
from betis.products.cube import Cube, CubeBlock, CubeSource, Sky
from betis.products.fits import ContinuumFit, LineFit
from betis.products.measured import MeasuredSnr
from betis.products.rows import ContinuumRows, RowStream, SpectraRows
from betis.products.spectra import Spectra
from betis.products.templates import Templates

__all__ = [
    "BinMap",
    "ContinuumFit",
    "ContinuumRows",
    "Cube",
    "CubeBlock",
    "CubeSource",
    "LineFit",
    "MeasuredSnr",
    "NoiseCorrelation",
    "RowStream",
    "Sky",
    "SnrMap",
    "Spectra",
    "SpectraRows",
    "Templates",
    "noise_growth",
]
