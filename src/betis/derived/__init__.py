"""What follows from the lines: ratios, extinction, densities, classes, with their errors.

``fluxes`` takes what the others need from a fit, ``ratios`` and ``extinction`` make quantities of
it, ``classes`` sorts the spectra, ``derive`` does all of it.
"""

from betis.derived.derive import Derived, derive

__all__ = ["Derived", "derive"]
