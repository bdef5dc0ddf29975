"""Chunks, compaction and devices change nothing in the results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from betis import compute
from betis.cache import cache_folder
from betis.errors import ConfigError
from betis.options import ComputeOptions

RANDOM = np.random.default_rng(1)
ROWS = RANDOM.normal(size=(37, 5))
SCALES = RANDOM.uniform(0.5, 2.0, 37)
SHARED = RANDOM.normal(size=(5, 3))
SHUFFLE = RANDOM.permutation(37)

COMPUTED: list[str] = []


def project(row, scale, matrix):
    """Return what depends on the whole row, as a tree."""
    COMPUTED.append("project")
    return {"sum": scale * jnp.sum(jnp.sin(row)), "product": jnp.exp(-(row**2)) @ matrix}


def count_once(row):
    COMPUTED.append("count_once")
    return jnp.cumsum(row)


def halve(state, target):
    """Go half of the way to the target; a row is done when it is near."""
    COMPUTED.append("halve")
    value, count, done = state
    near = jnp.abs(value - target) < 1e-6
    finished = done | near
    return (
        jnp.where(finished, value, 0.5 * (value + target)),
        jnp.where(finished, count, count + 1),
        finished,
    )


def never_done(state, target):
    value, count, done = state
    return value + target, count + 1, done & False


def start(n_row):
    return np.zeros(n_row), np.zeros(n_row, dtype=np.int32), np.zeros(n_row, dtype=bool)


def expected():
    return {
        "sum": SCALES * np.sin(ROWS).sum(axis=1),
        "product": np.exp(-(ROWS**2)) @ SHARED,
    }


def test_numbers_have_double_precision():
    assert jnp.zeros(1).dtype == np.float64


@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_rows_come_back_in_their_order_whatever_the_chunk(chunk):
    found = compute.map_rows(project, [ROWS, SCALES], [SHARED], chunk=chunk)
    for name, values in expected().items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-14)


@settings(max_examples=15)
@given(n_row=st.integers(1, 37))
def test_the_rows_of_a_padded_chunk_do_not_leak(n_row):
    found = compute.map_rows(project, [ROWS[:n_row], SCALES[:n_row]], [SHARED], chunk=4)
    assert found["product"].shape == (n_row, 3)
    np.testing.assert_allclose(found["sum"], expected()["sum"][:n_row], rtol=1e-12)


def test_shuffling_the_rows_shuffles_the_results():
    plain = compute.map_rows(project, [ROWS, SCALES], [SHARED], chunk=4)
    mixed = compute.map_rows(project, [ROWS[SHUFFLE], SCALES[SHUFFLE]], [SHARED], chunk=4)
    np.testing.assert_allclose(mixed["sum"], plain["sum"][SHUFFLE], rtol=1e-13)


def test_a_bad_row_changes_no_other():
    spoiled = ROWS.copy()
    spoiled[11] = np.nan
    found = compute.map_rows(project, [spoiled, SCALES], [SHARED], chunk=4)["sum"]
    assert np.flatnonzero(np.isnan(found)).tolist() == [11]
    np.testing.assert_allclose(np.delete(found, 11), np.delete(expected()["sum"], 11), rtol=1e-12)


def test_a_kernel_is_compiled_once_for_any_number_of_rows():
    COMPUTED.clear()
    compute.map_rows(count_once, [ROWS], chunk=3)
    traces = COMPUTED.count("count_once")
    for n_row in (1, 2, 8, 36):
        compute.map_rows(count_once, [ROWS[:n_row]], chunk=3)
    assert COMPUTED.count("count_once") == traces == 1


def test_the_progress_adds_up_to_the_rows():
    steps = []
    compute.map_rows(count_once, [ROWS], chunk=3, progress=steps.append)
    assert sum(steps) == 37
    assert len(steps) == -(-37 // (3 * jax.device_count()))


@pytest.mark.parametrize("chunk", [2, 256])
@pytest.mark.parametrize("n_step", [(60,), (3, 5, 60)])
def test_each_row_makes_its_own_number_of_steps(chunk, n_step):
    targets = 3.0 * 10.0 ** np.arange(-8, 9)
    value, count, done = compute.run_until_done(
        halve, start(17), [targets], n_step=n_step, chunk=chunk
    )
    own = np.maximum(0, np.ceil(np.log2(targets / 1e-6)))
    assert done.all()
    np.testing.assert_array_equal(count, own)
    np.testing.assert_allclose(value, targets * (1 - 0.5**own), rtol=1e-12)


@settings(max_examples=15)
@given(n_row=st.integers(1, 37), seed=st.integers(0, 9))
def test_order_and_padding_change_no_row_of_an_iteration(n_row, seed):
    chosen = np.random.default_rng(seed).permutation(37)[:n_row]
    targets = 10.0 ** (3 * SCALES)
    whole = compute.run_until_done(halve, start(37), [targets], chunk=2)
    part = compute.run_until_done(halve, start(n_row), [targets[chosen]], chunk=2)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[chosen], other)


def test_a_row_that_never_ends_is_given_back_undone_after_the_last_phase():
    value, count, done = compute.run_until_done(never_done, start(3), [np.ones(3)], n_step=(2, 3))
    assert not done.any()
    np.testing.assert_array_equal(count, 5)
    np.testing.assert_array_equal(value, 5.0)


def test_rows_that_are_done_already_are_left_alone():
    value, count, done = start(4)
    done[1] = True
    found = compute.run_until_done(halve, (value, count, done), [np.full(4, 8.0)])
    np.testing.assert_array_equal(found[1] > 0, [True, False, True, True])
    assert found[0][1] == 0.0
    assert not value.any()


def test_the_phases_of_an_iteration_share_one_program():
    COMPUTED.clear()
    first = compute.run_until_done(halve, start(37), [SCALES], n_step=(2, 4, 60), chunk=5)
    traces = COMPUTED.count("halve")
    compute.run_until_done(halve, start(23), [SCALES[:23]], n_step=(1, 7, 9, 60), chunk=5)
    assert first[2].all()
    assert COMPUTED.count("halve") == traces


def double(row):
    COMPUTED.append("double")
    return 2 * row


def test_what_is_worked_on_at_once_keeps_its_order_and_shares_its_program():
    COMPUTED.clear()
    found = compute.at_once(lambda k: compute.map_rows(double, [k * ROWS], chunk=3), [1, 2, 3, 4])
    for k, values in enumerate(found, start=1):
        np.testing.assert_allclose(values, 2 * k * ROWS)
    assert COMPUTED.count("double") == 1


def test_an_error_in_what_is_worked_on_at_once_is_raised():
    with pytest.raises(ZeroDivisionError):
        compute.at_once(lambda k: 1 / k, [1, 0])


@pytest.mark.parametrize("n_row", [1, 7, 33, 130])
def test_rows_dealt_to_devices_come_back_in_their_order(n_row):
    targets = 10.0 ** np.random.default_rng(n_row).uniform(-3, 3, n_row)
    value, count, done = compute.run_until_done(
        halve, start(n_row), [targets], n_step=(3, 60), chunk=2
    )
    assert done.all()
    own = np.maximum(0, np.ceil(np.log2(targets / 1e-6)))
    np.testing.assert_array_equal(count, own)
    np.testing.assert_allclose(value, targets * (1 - 0.5**own), rtol=1e-12)


def test_the_cache_folder_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("BETIS_CACHE", raising=False)
    assert cache_folder() == tmp_path / "betis"
    monkeypatch.setenv("BETIS_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_an_error_and_not_a_slow_run():
    with pytest.raises(ConfigError, match=r"'gpu' was asked for, but JAX finds only 'cpu'; inst"):
        compute.configure(ComputeOptions(device="gpu"))
