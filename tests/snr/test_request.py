"""A text says what the S/N is measured of, or is refused in one sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.errors import ConfigError
from betis.linelist import load_line_set
from betis.snr.request import CONTINUUM_WINDOW, line_names, parse_request

NAMES = st.lists(st.sampled_from(load_line_set().names), min_size=1, max_size=4, unique=True)


@given(names=NAMES)
def test_a_sum_has_its_lines_in_one_term(names):
    request = parse_request(" + ".join(names))
    assert request.terms == (tuple(names),)
    assert request.labels == ("+".join(names),)
    assert request.window is None


@given(names=NAMES)
def test_the_worst_of_lines_has_a_term_for_each(names):
    request = parse_request(f"min({', '.join(names)})")
    assert request.terms == tuple((name,) for name in names)
    assert line_names(request.text) == tuple(names)


def test_sums_may_be_among_the_worst():
    request = parse_request("min(Ha6563,SII6716+SII6731)")
    assert request.terms == (("Ha6563",), ("SII6716", "SII6731"))
    assert request.names == ("Ha6563", "SII6716", "SII6731")
    assert request.labels == ("Ha6563", "SII6716+SII6731")


def test_the_same_line_twice_is_one_term():
    assert parse_request("min(Ha6563,Ha6563)").terms == (("Ha6563",),)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("continuum", CONTINUUM_WINDOW),
        ("continuum:5100-5200.5", (5100.0, 5200.5)),
        ("continuum: 5100 - 5200", (5100.0, 5200.0)),
    ],
)
def test_the_continuum_has_a_window_and_no_lines(text, window):
    request = parse_request(text)
    assert request.window == window
    assert request.terms == ()
    assert request.labels == ("".join(text.split()),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "Ha6563+",
        "Ha6563,SII6731",
        "Ha6563+Ha6563",
        "min(Ha6563",
        "min()",
        "min(min(Ha6563))",
        "continuum:",
        "continuum:5600-5500",
        "continuum:5500",
        "min(continuum,Ha6563)",
        "continuum:5500-5600+Ha6563",
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(text):
    with pytest.raises(ConfigError, match=r"cannot be measured of '.*'; expected a line \(SII6731"):
        parse_request(text)
