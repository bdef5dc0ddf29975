"""Mean ages and metallicities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.continuum.populations import mean_populations


def test_one_template_alone_gives_its_own_age_and_metallicity(templates):
    weights = np.eye(templates.n_template)
    means = mean_populations(weights, templates, templates.flux[:, 2000])
    for by in (means.log_age_light, means.log_age_mass):
        assert by == pytest.approx(np.log10(templates.age))
    for by in (means.metallicity_light, means.metallicity_mass):
        assert by == pytest.approx(np.log10(templates.metallicity))


@given(share=st.floats(0.01, 0.99), factor=st.floats(1e-20, 1e20))
def test_equal_masses_weigh_equally_by_mass_whatever_their_light(templates, share, factor):
    norm = templates.flux[:, 2000]
    weights = np.zeros((1, templates.n_template))
    weights[0, [0, 6]] = (
        factor * np.array([share, 1 - share]) * norm[[0, 6]] / templates.mass_fraction[[0, 6]]
    )
    mean = mean_populations(weights, templates, norm).log_age_mass[0]
    ages = np.log10(templates.age[[0, 6]])
    assert mean == pytest.approx(share * ages[0] + (1 - share) * ages[1])


def test_the_old_weigh_more_by_mass_than_by_light(templates):
    weights = np.ones((1, templates.n_template))
    means = mean_populations(weights, templates, templates.flux[:, 2000])
    assert means.log_age_mass[0] > means.log_age_light[0] + 0.3


def test_no_light_has_no_age(templates):
    weights = np.zeros((1, templates.n_template))
    assert np.isnan(mean_populations(weights, templates, templates.flux[:, 2000])).all()
