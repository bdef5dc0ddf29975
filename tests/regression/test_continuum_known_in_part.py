"""A continuum unknown at the blue end made every equivalent width of its row NaN."""

import numpy as np
from scipy.stats import norm

from betis.continuum.fit import no_continuum
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.options import LineOptions
from betis.products import Spectra


def test_equivalent_widths_need_the_continuum_only_where_the_line_is():
    wave = np.arange(4780.0, 6700.0, 1.25)
    edges = np.append(wave, wave[-1] + 1.25) - 0.625
    share = sum(np.diff(norm.cdf(edges, at, 1.6)) / 1.25 for at in (4861.33, 6562.80))
    noise = np.random.default_rng(6).normal(0, 0.5, wave.size)
    gas = Spectra(wave, 200 * share + noise, np.full(wave.size, 0.5), lsf=2.0)
    level = np.full((1, wave.size), 10.0)
    level[:, np.abs(wave - 4861) < 20] = np.nan
    whole, part = no_continuum(gas), no_continuum(gas)
    whole.model[:], part.model[:] = 10.0, level
    chosen = load_line_set().select(["Hb4861", "Ha6563"])
    wanted = fit_lines(gas, chosen, LineOptions(), continuum=whole)
    found = fit_lines(gas, chosen, LineOptions(), continuum=part)
    np.testing.assert_allclose(found.ew[0, 1], wanted.ew[0, 1], rtol=1e-12)
    np.testing.assert_allclose(found.ew_err[0, 1], wanted.ew_err[0, 1], rtol=1e-12)
    assert np.isfinite(wanted.ew).all()
    assert np.isnan(found.ew[0, 0])
