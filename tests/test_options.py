"""Every knob: documented, frozen, light to import, with a default that works."""

import dataclasses
import subprocess
import sys
from typing import get_args, get_origin, get_type_hints

import pytest

from betis import options
from betis.extinction import law_names
from betis.linelist import load_line_set
from betis.options import Options

STAGES = [getattr(Options(), field.name) for field in dataclasses.fields(Options)]
KNOBS = [
    pytest.param(stage, field, id=f"{type(stage).__name__}.{field.name}")
    for stage in STAGES
    for field in dataclasses.fields(stage)
]


@pytest.mark.parametrize(("stage", "field"), KNOBS)
def test_each_knob_says_what_it_is(stage, field):
    assert field.metadata["doc"]
    assert "unit" in field.metadata
    assert field.kw_only


@pytest.mark.parametrize(("stage", "field"), KNOBS)
def test_each_default_is_a_value_that_its_own_rules_allow(stage, field):
    value, hint = field.default, get_type_hints(type(stage))[field.name]
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if value is not None:
        assert low is None or value >= low
        assert high is None or value <= high
    if str(get_origin(hint)) == "typing.Literal":
        assert value in get_args(hint)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: type(stage).__name__)
def test_options_cannot_be_changed_in_place(stage):
    name = dataclasses.fields(stage)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(stage, name, None)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: type(stage).__name__)
def test_options_are_given_by_name(stage):
    with pytest.raises(TypeError, match="positional argument"):
        type(stage)(1)


def test_the_defaults_name_things_that_exist():
    chosen = Options()
    lines = load_line_set(chosen.lines.line_set)
    assert {chosen.snr.line, chosen.snr.tracer} <= set(lines.names)
    assert {chosen.prepare.law, chosen.continuum.law} <= set(law_names())


def test_the_sky_windows_are_in_order_and_apart():
    edges = [edge for window in Options().prepare.sky_windows for edge in window]
    assert edges == sorted(edges)
    assert len(set(edges)) == len(edges)


def test_options_load_no_numerical_library():
    code = (
        "import sys, betis.options\n"
        "print(*sorted({'numpy', 'jax', 'astropy', 'matplotlib', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert options.__doc__
