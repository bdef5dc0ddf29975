"""The least-squares problem with bounds against two solvers of scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, nnls

from betis.continuum.bounded import solve_bounded, swept_table, with_secant

N, M = 12, 40


@jax.jit
def solve(hessian, linear, lower, upper, start):
    inside = jnp.clip(start, lower, upper)
    table = swept_table(hessian, (inside > lower) & (inside < upper))
    found = solve_bounded(table, linear - hessian @ inside, inside, (lower, upper), 1e-18)
    return found.values, found.solved


def problem(seed):
    rng = np.random.default_rng(seed)
    # Columns that are all positive are nearly alike, as stellar populations are.
    return rng.random((M, N)) + 0.5, rng.normal(size=M) + 1.0, rng


@given(seed=st.integers(0, 2**31))
def test_is_the_non_negative_solution_of_scipy(seed):
    design, target, rng = problem(seed)
    start = np.maximum(rng.normal(size=N), 0)
    mine, solved = solve(
        design.T @ design, design.T @ target, np.zeros(N), np.full(N, np.inf), start
    )
    assert solved
    assert np.asarray(mine) == pytest.approx(nnls(design, target)[0], abs=1e-6)


@given(seed=st.integers(0, 2**31))
def test_is_the_bounded_solution_of_scipy(seed):
    design, target, rng = problem(seed)
    lower, upper = -rng.random(N), rng.random(N)
    mine, solved = solve(design.T @ design, design.T @ target, lower, upper, np.zeros(N))
    peer = lsq_linear(design, target, (lower, upper), method="bvls", tol=1e-14)
    assert solved
    assert np.asarray(mine) == pytest.approx(peer.x, abs=1e-6)


def test_columns_that_are_the_same_share_without_hanging():
    design, target, _ = problem(1)
    design[:, 1] = design[:, 0]
    mine, solved = solve(
        design.T @ design, design.T @ target, np.zeros(N), np.full(N, np.inf), np.zeros(N)
    )
    least = nnls(design, target)[1]
    assert solved
    assert np.linalg.norm(design @ mine - target) == pytest.approx(least, rel=1e-7)


def test_a_variable_that_nothing_depends_on_stays_where_it_starts():
    design, target, _ = problem(2)
    design[:, 3] = 0.0
    start = np.full(N, 0.25)
    mine, _ = solve(design.T @ design, design.T @ target, np.zeros(N), np.full(N, 1e9), start)
    assert mine[3] >= 0
    assert np.isfinite(mine).all()


@given(seed=st.integers(0, 2**31))
def test_a_secant_gives_the_table_of_the_matrix_that_agrees_with_it(seed):
    design, _, rng = problem(seed)
    hessian, free = design.T @ design, rng.random(N) < 0.6
    step = rng.normal(size=N)
    expected = hessian @ step
    found = expected * rng.uniform(0.5, 2.0, N) + 3.0 * step
    curvature = step @ found
    if curvature < 0.2 * step @ expected:
        found, curvature = 2.0 * expected, 2.0 * step @ expected
    wanted = hessian - np.outer(expected, expected) / (step @ expected)
    wanted += np.outer(found, found) / curvature
    np.testing.assert_allclose(wanted @ step, found)
    mine = with_secant(swept_table(hessian, free), step, expected, found)
    plain = swept_table(jnp.asarray(wanted), jnp.asarray(free))
    ratio = np.asarray(plain.scale / mine.scale)
    sides = np.where(free, 1.0 / ratio, ratio)
    theirs = np.asarray(plain.swept) * sides[:, None] * sides
    np.testing.assert_allclose(mine.swept, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


def test_a_secant_without_curvature_changes_nothing():
    design, _, rng = problem(3)
    hessian, step = design.T @ design, rng.normal(size=N)
    table = swept_table(hessian, np.ones(N, bool))
    for found in (np.zeros(N), -hessian @ step, 0.05 * hessian @ step):
        same = with_secant(table, step, hessian @ step, found)
        np.testing.assert_array_equal(same.swept, table.swept)
