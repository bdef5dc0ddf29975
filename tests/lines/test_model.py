"""Laws of the profile and of the picture of a fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf

from betis.errors import InputError
from betis.lines.fit import fit_lines
from betis.lines.model import Problem, columns, gaussian_in_pixels, line_model, line_terms, model_of
from betis.lines.solver import quadratic
from betis.options import LineOptions

EDGES = np.linspace(-60.0, 60.0, 97)
PROBLEM = Problem(
    edges=jnp.linspace(4900.0, 5050.0, 121),
    flux=jnp.asarray(np.random.default_rng(3).normal(0.0, 1.0, 120)),
    weight=jnp.linspace(0.5, 2.0, 120),
    position=jnp.linspace(-1.0, 1.0, 120),
    line_wave=jnp.array([4960.3, 5008.2, 5020.0]),
    excess=jnp.array([200.0, 0.0, 0.0]),
    ratio=jnp.array([[0.336, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    kinematics=jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    lower=jnp.full(8, -jnp.inf),
    upper=jnp.full(8, jnp.inf),
)
PARAMS = jnp.array([30.0, -8.0, 35.0, -60.0, 80.0, 150.0, 0.4, -0.2])


@given(shift=st.floats(-3.0, 3.0), sigma=st.floats(0.05, 6.0))
def test_flux_is_conserved_at_any_width_and_subpixel_shift(shift: float, sigma: float) -> None:
    share = gaussian_in_pixels(EDGES, jnp.asarray(shift), jnp.asarray(sigma)).share
    assert float(share.sum()) == pytest.approx(1.0, abs=1e-12)


@given(center=st.floats(-50.0, 50.0), sigma=st.floats(0.1, 40.0))
def test_profile_is_the_integral_of_a_gaussian(center: float, sigma: float) -> None:
    share = gaussian_in_pixels(EDGES, jnp.asarray(center), jnp.asarray(sigma)).share
    expected = np.diff(0.5 * erf((EDGES - center) / (np.sqrt(2) * sigma)))
    np.testing.assert_allclose(share, expected, atol=1e-11)


@given(center=st.floats(-5.0, 5.0), sigma=st.floats(0.5, 20.0))
def test_derivatives_of_the_profile_are_those_of_its_formula(center: float, sigma: float) -> None:
    """Against automatic differentiation of scipy's erf in JAX."""

    def share(place: jax.Array) -> jax.Array:
        z = (EDGES - place[0]) / (jnp.sqrt(2.0) * place[1])
        return jnp.diff(0.5 * jax.scipy.special.erf(z))

    place = jnp.array([center, sigma])
    own = gaussian_in_pixels(EDGES, place[0], place[1])
    slope, bend = jax.jacfwd(share)(place), jax.jacfwd(jax.jacfwd(share))(place)
    np.testing.assert_allclose(own.by_center, slope[:, 0], atol=1e-11)
    np.testing.assert_allclose(own.by_sigma, slope[:, 1], atol=1e-11)
    np.testing.assert_allclose(own.by_sigma / sigma, bend[:, 0, 0], atol=1e-11)
    np.testing.assert_allclose(own.by_center_sigma, bend[:, 0, 1], atol=1e-11)
    np.testing.assert_allclose(own.by_sigma_sigma, bend[:, 1, 1], atol=1e-11)


def test_a_width_that_is_not_positive_gives_nan() -> None:
    assert np.isnan(gaussian_in_pixels(EDGES, jnp.asarray(0.0), jnp.asarray(0.0)).share).all()


def test_columns_are_the_derivatives_of_the_model() -> None:
    def model(params: jax.Array) -> jax.Array:
        return model_of(params, PROBLEM, line_terms(params, PROBLEM))

    own = jnp.stack(columns(PARAMS, PROBLEM, line_terms(PARAMS, PROBLEM)), axis=1)
    for i, size in enumerate([1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 1.0, 1.0]):
        move = 1e-3 * size * np.eye(8)[i]
        slope = (model(PARAMS + move) - model(PARAMS - move)) / (2e-3 * size)
        np.testing.assert_allclose(own[:, i], slope, atol=1e-8)


def test_the_quadratic_is_that_of_chi2() -> None:
    """The gradient is the slope of chi², the Hessian the slope of the gradient."""
    here = quadratic(PARAMS, PROBLEM)
    for a in range(8):
        move = 1e-4 * np.eye(8)[a]
        up, down = quadratic(PARAMS + move, PROBLEM), quadratic(PARAMS - move, PROBLEM)
        slope = (up.chi2 - down.chi2) / 2e-4
        assert float(here.gradient[a]) == pytest.approx(-0.5 * float(slope), rel=1e-5, abs=1e-5)
        bend = -(up.gradient - down.gradient) / 2e-4
        np.testing.assert_allclose(here.hessian[a], bend, rtol=1e-5, atol=1e-5)


def test_the_picture_of_a_noiseless_fit_is_the_data(simulate) -> None:
    truth = simulate(6, noise=0.0)
    fit = fit_lines(truth.spectra, truth.lines, LineOptions())
    model = line_model(fit, truth.spectra)
    np.testing.assert_allclose(model, truth.spectra.flux, atol=1e-4)
    lines_only = line_model(fit, truth.spectra, background=False)
    total = np.sum(lines_only * np.diff(truth.spectra.edges), axis=1)
    np.testing.assert_allclose(total, fit.flux.sum(axis=1), rtol=1e-9)


def test_the_background_of_the_picture_fills_the_windows_alone(simulate) -> None:
    truth = simulate(3, noise=0.1, level=5.0)
    fit = fit_lines(truth.spectra, truth.lines, LineOptions())
    under = line_model(fit, truth.spectra, window=30.0) - line_model(
        fit, truth.spectra, background=False
    )
    places = truth.lines.waves("air", 0.0)
    near = np.any(np.abs(truth.spectra.wave - places[:, None]) <= 30.0, axis=0)
    np.testing.assert_allclose(under[:, near], 5.0, atol=0.5)
    assert np.all(under[:, ~near] == 0)


def test_a_picture_of_other_spectra_is_refused(simulate) -> None:
    truth = simulate(3)
    fit = fit_lines(truth.spectra, truth.lines, LineOptions())
    with pytest.raises(InputError, match="the fit has 3 rows and the spectra 2"):
        line_model(fit, truth.spectra.take(slice(0, 2)))
