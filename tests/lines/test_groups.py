"""Laws of the groups: who is fitted with whom."""

import numpy as np
import pytest

from betis.errors import FitError
from betis.linelist import Line, LineSet, load_line_set
from betis.lines.groups import fit_groups, free_flux, group_classes
from betis.options import LineOptions
from betis.products import Spectra


def _line(name: str, air: float, ratio_of: str = "") -> Line:
    return Line(name=name, air=air, label=name, kinematics=name, ratio_of=ratio_of, ratio=0.5)


def test_lines_are_together_where_windows_overlap_and_only_there() -> None:
    lines = LineSet(name="x", lines=tuple(_line(c, 0.0) for c in "ABCD"))
    group = fit_groups(lines, [6000.0, 5000.0, 5059.0, 5120.0], 30.0)
    assert group.tolist() == [2, 0, 0, 1]


def test_tied_lines_are_together_however_far_apart() -> None:
    lines = LineSet(name="x", lines=(_line("A", 0), _line("B", 0), _line("C", 0, "A")))
    assert fit_groups(lines, [5000.0, 5500.0, 6000.0], 30.0).tolist() == [0, 1, 0]


def test_a_line_outside_is_a_group_by_itself_and_comes_last() -> None:
    lines = LineSet(name="x", lines=(_line("A", 0), _line("B", 0), _line("C", 0, "A")))
    assert fit_groups(lines, [np.nan, 5000.0, np.nan], 30.0).tolist() == [1, 0, 2]


def test_ties_are_followed_to_the_free_line() -> None:
    lines = LineSet(name="x", lines=(_line("A", 0), _line("B", 0, "A"), _line("C", 0, "B")))
    assert free_flux(lines, "C") == ("A", 0.25)


def test_a_circle_of_ties_is_refused() -> None:
    lines = LineSet(name="x", lines=(_line("A", 0, "B"), _line("B", 0, "A")))
    with pytest.raises(FitError, match="flux of A in the line set 'x' is tied to itself"):
        free_flux(lines, "A")


def test_few_shapes_hold_all_groups_of_the_standard_set() -> None:
    """Every shape is a program to compile: at most one for 1, 2, 3 and more lines."""
    line_set = load_line_set()
    wave = np.arange(3600.0, 9300.0, 1.25)
    gas = Spectra(wave, np.zeros(wave.size), np.ones(wave.size), lsf=2.5)
    kinds = group_classes(line_set, line_set.waves("air", 0.0), gas, LineOptions())
    assert [kind.line.shape[1] for kind in kinds] == [1, 2, 3]
    lines = np.concatenate([kind.line[kind.line >= 0] for kind in kinds])
    assert sorted(lines) == list(range(len(line_set.lines)))


def test_shapes_are_the_same_for_galaxies_at_other_redshifts() -> None:
    line_set = load_line_set()
    shapes = set()
    for redshift in (0.003, 0.01, 0.02, 0.03):
        wave = np.arange(4750.0, 9350.0, 1.25) / (1 + redshift)
        gas = Spectra(wave, np.zeros(wave.size), np.ones(wave.size), redshift=redshift)
        places = line_set.waves("air", redshift)
        inside = np.where((places > wave[0]) & (places < wave[-1]), places, np.nan)
        kinds = group_classes(line_set, inside, gas, LineOptions())
        shapes.add(tuple((kind.edges.shape[1], kind.n_param) for kind in kinds))
    assert len(shapes) <= 2


def test_windows_apart_are_joined_by_a_pixel_that_is_none() -> None:
    lines = LineSet(name="x", lines=(_line("A", 5000.0), _line("B", 5200.0, "A")))
    wave = np.arange(4800.0, 5400.0, 1.0)
    gas = Spectra(wave, np.zeros(wave.size), np.ones(wave.size))
    kind = group_classes(lines, np.array([5000.0, 5200.0]), gas, LineOptions(window=10.0))[0]
    assert np.all(np.diff(kind.edges) > 0)
    picked = kind.pixel[0][kind.inside[0]]
    assert np.all(np.abs(wave[picked] - 5000.0) <= 10) ^ np.any(wave[picked] > 5100)
    assert np.sum(~kind.inside[0][: picked.size + 1]) == 1
