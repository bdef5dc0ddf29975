"""What is derived from a mock galaxy's fits, beside the same from its true fluxes."""

import numpy as np
from tests.derived.fits import line_fit

from betis.derived import derive
from betis.derived.classes import DIAGRAMS
from betis.extinction import extinction_curve
from betis.linelist import load_line_set
from betis.options import DerivedOptions

AS_GOOD_AS_EXACT = 1e-9
AIR = {line.name: line.air for line in load_line_set().lines}


def summed(values, bin_id):
    """Return the sums of maps [..., y, x] over bins, [bin, ...]; NaN counts as nothing."""
    inside = bin_id >= 0
    n_bin = int(bin_id.max()) + 1
    flat = np.nan_to_num(values)[..., inside].reshape(-1, int(inside.sum()))
    sums = [np.bincount(bin_id[inside], plane, n_bin) for plane in flat]
    return np.array(sums).T.reshape(n_bin, *values.shape[:-2])


def dust_of(names, options):
    """Return A(line) / A(V) of lines."""
    return extinction_curve(options.law, np.array([AIR[name] for name in names]), options.r_v)


def true_quantities(truth, bin_id, options=None, spaxel=0.04):
    """Return what the true fluxes of each bin tell, all lines known; areas in arcsec² a spaxel."""
    options = options or DerivedOptions()
    flux = summed(truth.flux, bin_id)
    width = flux / summed(truth.continuum, bin_id)[:, None]
    fit = line_fit(flux, AS_GOOD_AS_EXACT * flux, names=truth.names, ew=width)
    area = spaxel * np.bincount(bin_id[bin_id >= 0])
    dust = dust_of(truth.names, options)
    return derive(fit, options, dust=dust, area=area, redshift=truth.redshift)


def without_dust(truth, bin_id):
    """Return the true fluxes of each bin with each spaxel's own dust taken away, [bin, line]."""
    curve = dust_of(truth.names, DerivedOptions())
    return summed(truth.flux * 10 ** (0.4 * curve[:, None, None] * truth.gas_av), bin_id)


def truly_bright(truth, bin_id, fit, lines, limit):
    """Tell the bins in which each line has this S/N by its true flux and the error of the fit."""
    flux = summed(truth.flux, bin_id)
    kept = np.ones(len(flux), bool)
    for name in lines:
        kept &= flux[:, truth.names.index(name)] >= limit * fit.flux_err[:, fit.index(name)]
    return kept


def pulls(found, true, name, kept=None):
    """Return (found - true) / error of a quantity; of the fluxes without dust those of Halpha."""
    mine, theirs = found.quantities[name], true.quantities[name]
    if mine.value.ndim == 1:
        value = (mine.value - theirs.value) / mine.error
    else:
        at, there = found.names.index("Ha6563"), true.names.index("Ha6563")
        value = (mine.value[:, at] - theirs.value[:, there]) / mine.error[:, at]
    return value[np.isfinite(value) & (True if kept is None else kept)]


def confusion(found, true, name):
    """Return how many spectra of each true class (row) were put in each (column, 0 is none)."""
    size = len(found.classes[name].names) + 1
    table = np.zeros((size, size), int)
    np.add.at(table, (true.classes[name].value, found.classes[name].value), 1)
    return table[1:]


def faintest_classified(fit, derived, name):
    """Return the least S/N of the lines that a class rests on, where there is a class."""
    needed = ["Ha6563"]
    if name in DIAGRAMS:
        needed = [
            *derived.quantities[DIAGRAMS[name]].lines,
            *derived.quantities["LOG_OIII_HB"].lines,
        ]
    sums = [[line for line in needed if line.startswith("SII")]]
    sums = [*(part for part in sums if part), *([n] for n in needed if not n.startswith("SII"))]
    kept = derived.classes[name].value > 0
    least = np.full(int(kept.sum()), np.inf)
    for names in sums:
        at = [fit.index(line) for line in names]
        error = np.sqrt(np.sum(fit.flux_err[kept][:, at] ** 2, axis=1))
        least = np.minimum(least, fit.flux[kept][:, at].sum(axis=1) / error)
    return least
