"""The tree of errors."""

import inspect
import re

import pytest

from betis import errors

CLASSES = dict(inspect.getmembers(errors, inspect.isclass))


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__))
    assert drawn == CLASSES.keys() - {"BetisError"}


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - {"BetisError"}))
def test_each_error_is_caught_as_a_betis_error_and_as_no_other(name):
    assert CLASSES[name].__bases__ == (errors.BetisError,)
    with pytest.raises(errors.BetisError, match=r"^one plain sentence$"):
        raise CLASSES[name]("one plain sentence")


def test_a_betis_error_is_not_an_error_of_python():
    assert errors.BetisError.__bases__ == (Exception,)
