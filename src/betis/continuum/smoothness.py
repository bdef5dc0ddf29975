"""How uneven a distribution of light is over ages and metallicities."""

import numpy as np
from jaxtyping import Float

from betis.arrays import F64, Index
from betis.products import Templates


def unevenness(templates: Templates, weight: float) -> Float[F64, "template template"]:
    """Return the matrix ``P`` for which ``x P x`` is what uneven light adds to chi-square.

    The sum of the squared second differences of the light along age at each metallicity, and along
    metallicity at each age, times the square of ``weight``: one over the difference that is
    thought likely, in units of the median flux of the spectrum. Neighbours are those that the
    base has; their distances do not matter.

    Parameters
    ----------
    templates
        The base, on a grid of ages (yr) and metallicities that need not be full.
    weight
        0 for a matrix of zeros.

    References
    ----------
    Press et al. 1992, Numerical Recipes, section 18.5 (linear regularisation).
    """
    total = np.zeros((templates.n_template, templates.n_template))
    if weight == 0:
        return total
    for shared, along in (
        (templates.metallicity, templates.age),
        (templates.age, templates.metallicity),
    ):
        for value in np.unique(shared):
            line = np.flatnonzero(shared == value)
            total += _of_line(line[np.argsort(along[line])], templates.n_template)
    return weight**2 * total


def _of_line(line: Index, n_template: int) -> Float[F64, "template template"]:
    """Return the squares of the second differences along successive templates."""
    differences = np.zeros((max(line.size - 2, 0), n_template))
    for row, first in zip(differences, range(line.size), strict=False):
        row[line[first : first + 3]] = 1.0, -2.0, 1.0
    return np.asarray(differences.T @ differences)
