"""[O III] 4959 whose free partner is off the axis lost the error of the stars under it."""

from dataclasses import replace

import numpy as np

from betis.continuum.fit import no_continuum
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.options import LineOptions
from betis.products import Spectra


def test_a_tied_line_alone_on_the_axis_counts_the_error_of_its_own_depth():
    wave = np.arange(4900.0, 4990.0, 1.25)
    gas = Spectra(wave, np.random.default_rng(1).normal(0, 1, wave.size), np.ones(wave.size), lsf=2)
    chosen = load_line_set().select(["OIII4959", "OIII5007"])
    none = no_continuum(gas)
    place = chosen.waves("air", 0.0)[:1]
    some = replace(none, core_wave=place, core_err=np.array([[5.0]]))
    without, counted = (fit_lines(gas, chosen, LineOptions(), continuum=c) for c in (none, some))
    assert counted.flux_err[0, 0] > without.flux_err[0, 0] + 5.0
