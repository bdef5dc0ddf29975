"""Classes are those of the published demarcations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.derived.classes import diagram_classes, width_classes
from betis.derived.fluxes import Quantity


def ratios(name, x, y):
    def quantity(value):
        value = np.atleast_1d(np.asarray(value, dtype=float))
        return Quantity(value=value, error=value, unit="", meaning="", lines=())

    return {name: quantity(x), "LOG_OIII_HB": quantity(y)}


KNOWN = [
    ("BPT_NII", "LOG_NII_HA", -0.5, -0.5, "star formation"),
    ("BPT_NII", "LOG_NII_HA", -0.2, 0.0, "composite"),
    ("BPT_NII", "LOG_NII_HA", 0.1, 0.8, "AGN or LIER"),
    ("BPT_NII", "LOG_NII_HA", 0.2, -1.2, "composite"),
    ("BPT_NII", "LOG_NII_HA", 0.6, -2.0, "AGN or LIER"),
    ("BPT_SII", "LOG_SII_HA", -0.5, -0.3, "star formation"),
    ("BPT_SII", "LOG_SII_HA", -0.1, 0.9, "Seyfert"),
    ("BPT_SII", "LOG_SII_HA", 0.2, 0.2, "LIER"),
    ("BPT_SII", "LOG_SII_HA", 0.5, -1.0, "LIER"),
    ("BPT_OI", "LOG_OI_HA", -1.8, -0.3, "star formation"),
    ("BPT_OI", "LOG_OI_HA", -1.0, 0.9, "Seyfert"),
    ("BPT_OI", "LOG_OI_HA", -0.4, 0.2, "LIER"),
]


@pytest.mark.parametrize(("name", "abscissa", "x", "y", "expected"), KNOWN)
def test_places_in_the_diagrams(name, abscissa, x, y, expected):
    classes = diagram_classes(name, ratios(abscissa, x, y))
    assert classes.names[classes.value[0] - 1] == expected


@pytest.mark.parametrize(("x", "y"), [(np.nan, 0.0), (0.0, np.nan), (np.inf, 0.0)])
def test_what_is_not_known_has_no_class(x, y):
    assert diagram_classes("BPT_NII", ratios("LOG_NII_HA", x, y)).value[0] == 0


@given(st.floats(-3, 2), st.floats(-2, 2))
def test_more_oxygen_never_leads_back_to_star_formation(x, y):
    classes = diagram_classes("BPT_NII", ratios("LOG_NII_HA", [x, x], [y, y + 0.3])).value
    assert classes[0] <= classes[1]


def test_widths():
    found = width_classes(np.array([-1.0, 2.9, 3.1, 13.9, 14.1, np.nan]), np.ones(6, bool))
    assert found.value.tolist() == [1, 1, 2, 2, 3, 0]
    assert width_classes(np.array([20.0]), np.zeros(1, bool)).value[0] == 0
