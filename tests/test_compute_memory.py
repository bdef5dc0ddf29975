"""Chunks by free memory, halves where it ends, several devices: played on the CPU."""

import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from betis import compute
from betis.compute import devices, programs, rows, workers
from betis.errors import ConfigError
from betis.options import ComputeOptions

RANDOM = np.random.default_rng(4)
VALUES = RANDOM.normal(size=(300, 16))
MATRIX = RANDOM.normal(size=(16, 16))


def outer(row, matrix):
    """Needs some memory a row beside what comes and goes."""
    square = jnp.sin(row[:, None] * row) @ matrix
    return jnp.linalg.norm(square), square[0]


def halve(state, target):
    value, done = state
    near = jnp.abs(value - target) < 1e-6
    return jnp.where(done | near, value, 0.5 * (value + target)), done | near


class Device:
    """A stand-in for a device that knows its memory."""

    platform = "gpu"

    def __init__(self, stats):
        self.memory_stats = lambda: stats


@pytest.fixture
def own_programs():
    """No program of another test, none left to them."""
    programs._programs.cache_clear()
    yield
    programs._programs.cache_clear()


@pytest.fixture
def gpu(monkeypatch, own_programs):
    """Make the CPU pass for a GPU with some free memory, bytes, which the test may change."""
    memory = {"free": 10**12}
    monkeypatch.setattr(programs, "free_bytes", lambda _: memory["free"])
    for module in (devices, programs, rows):
        monkeypatch.setattr(module, "is_gpu", lambda: True)
    monkeypatch.setattr(compute, "is_gpu", lambda: True)
    yield memory
    compute.fresh_workers()


@pytest.fixture
def sent(monkeypatch):
    """Sizes of the chunks that are sent to a device."""
    sizes = []
    fetched = rows._Batch._fetched

    def noting(self, index, size, device):
        sizes.append(size)
        return fetched(self, index, size, device)

    monkeypatch.setattr(rows._Batch, "_fetched", noting)
    return sizes


def run(chunk=4):
    return compute.map_rows(outer, [VALUES], [MATRIX], chunk=chunk)


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    ("stats", "free"),
    [
        ({"bytes_limit": 1000, "bytes_in_use": 300}, 700),
        ({"bytes_in_use": 300}, None),
        (None, None),
    ],
)
def test_free_memory_is_what_jax_may_still_take(stats, free):
    assert compute.devices.free_bytes(Device(stats)) == free


def test_the_memory_of_the_host_bounds_no_chunk(sent, own_programs):
    assert compute.devices.free_bytes(jax.devices()[0]) is None
    run(chunk=4)
    assert set(sent) == {4}


def test_a_gpu_with_much_memory_takes_large_chunks_and_the_same_program_for_any_rows(gpu, sent):
    expected = run()
    made = compute.programs_made()
    few = compute.map_rows(outer, [VALUES[:3]], [MATRIX], chunk=4)
    assert set(sent) == {programs.GPU_CHUNK}
    assert compute.programs_made() == made
    same(few, [value[:3] for value in expected])


@pytest.mark.parametrize("free", [10**4, 10**5, 10**6, 3 * 10**6])
def test_chunks_take_no_more_memory_than_there_is(gpu, sent, free):
    expected = run()
    programs._programs.cache_clear()
    sent.clear()
    gpu["free"] = free
    same(run(), expected)
    (size,) = set(sent)
    shapes = programs.shapes_of([VALUES], [MATRIX])
    program = programs.program_of(outer, 1)
    room = 0.8 * free / devices.WORKERS_PER_GPU
    assert size == 1 << (size.bit_length() - 1)
    assert program._bytes(shapes, size) <= room or size == 1
    assert size == programs.GPU_CHUNK or program._bytes(shapes, 4 * size) > room


def test_the_chunk_is_chosen_once_however_much_is_free_later(gpu, sent):
    run()
    gpu["free"] = 10**4
    run()
    assert len(set(sent)) == 1


def failing(monkeypatch, most, text="RESOURCE_EXHAUSTED: Out of memory"):
    """Let every chunk of more rows than there is memory for fail; return the sizes tried."""
    fetched, tried = rows._Batch._fetched, []

    def fail(self, index, size, device):
        tried.append(size)
        if size > most:
            raise jax.errors.JaxRuntimeError(text)
        return fetched(self, index, size, device)

    monkeypatch.setattr(rows._Batch, "_fetched", fail)
    return tried


def test_a_chunk_that_finds_no_memory_is_halved_until_it_does(gpu, monkeypatch):
    expected = run()
    tried = failing(monkeypatch, most=100)
    told = []
    found = compute.map_rows(outer, [VALUES], [MATRIX], progress=told.append)
    same(found, expected)
    assert sum(told) == len(VALUES)
    assert {64, 128, 256, 512, 1024} == set(tried)
    tried.clear()
    same(run(), expected)
    assert set(tried) == {64}


def test_an_iteration_is_halved_as_well(gpu, monkeypatch):
    targets = 10.0 ** RANDOM.uniform(-3, 3, 700)
    start = (np.zeros(700), np.zeros(700, bool))
    expected = compute.run_until_done(halve, start, [targets], n_step=(3, 60))
    assert expected[1].all()
    tried = failing(monkeypatch, most=70)
    found = compute.run_until_done(halve, start, [targets], n_step=(3, 60))
    np.testing.assert_array_equal(found[0], expected[0])
    assert min(tried) == 64


def test_an_iteration_on_a_gpu_is_that_on_the_cpu(own_programs, request):
    targets = 10.0 ** RANDOM.uniform(-3, 3, 700)
    start = (np.zeros(700), np.zeros(700, bool))
    here = compute.run_until_done(halve, start, [targets], n_step=(3, 60))
    request.getfixturevalue("gpu")
    there = compute.run_until_done(halve, start, [targets], n_step=(3, 60))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not start[1].any()


def test_a_host_core_without_memory_takes_halves_too(own_programs, monkeypatch):
    targets = 10.0 ** RANDOM.uniform(-3, 3, 700)
    start = (np.zeros(700), np.zeros(700, bool))
    expected = compute.run_until_done(halve, start, [targets], n_step=(3, 60), chunk=64)
    tried = failing(monkeypatch, most=20)
    found = compute.run_until_done(halve, start, [targets], n_step=(3, 60), chunk=64)
    np.testing.assert_array_equal(found[0], expected[0])
    assert min(tried) == 16


def test_no_memory_for_one_row_is_said(gpu, monkeypatch):
    tried = failing(monkeypatch, most=0)
    with pytest.raises(MemoryError, match=r"no memory for one row of 'outer'; end what else runs"):
        run()
    assert min(tried) == 1


def test_another_error_of_a_device_is_not_taken_for_a_lack_of_memory(gpu, monkeypatch):
    tried = failing(monkeypatch, most=0, text="INTERNAL: cuFFT failed")
    with pytest.raises(jax.errors.JaxRuntimeError, match="cuFFT failed"):
        run()
    assert set(tried) == {programs.GPU_CHUNK}


def test_one_chunk_is_sent_while_another_computes(gpu, monkeypatch):
    """Two chunks meet: neither ends before the other has begun."""
    fetched, meeting = rows._Batch._fetched, threading.Barrier(devices.WORKERS_PER_GPU, timeout=60)

    def met(self, index, size, device):
        meeting.wait()
        return fetched(self, index, size, device)

    monkeypatch.setattr(rows._Batch, "_fetched", met)
    monkeypatch.setattr(programs, "GPU_CHUNK", len(VALUES) // devices.WORKERS_PER_GPU + 1)
    run()
    assert not meeting.broken


def test_blocks_are_larger_where_a_gpu_computes(gpu, monkeypatch):
    assert next(compute.blocks(10**6)) == slice(0, compute.GPU_BLOCK)
    monkeypatch.setattr(compute, "is_gpu", lambda: False)
    assert next(compute.blocks(10**6)) == slice(0, compute.BLOCK)


@pytest.mark.parametrize("cores", [1, 2, 3, 7])
def test_the_number_of_cores_changes_no_bit(cores):
    targets = 10.0 ** RANDOM.uniform(-3, 3, 700)
    start = (np.zeros(700), np.zeros(700, bool))

    def both():
        return *run(), *compute.run_until_done(halve, start, [targets], n_step=(3, 60), chunk=8)

    expected = both()
    made = compute.programs_made()
    compute.configure(ComputeOptions(cores=cores))
    try:
        assert compute.devices.n_worker() == cores
        found = both()
    finally:
        compute.configure()
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert compute.programs_made() == made


def test_workers_stay_until_others_are_wanted():
    compute.configure(ComputeOptions(cores=2))
    try:
        names = {workers.each_computed([lambda _: threading.current_thread().ident] * 9)[0]}
        kept = workers._workers()
        assert workers._workers() is kept
        compute.fresh_workers()
        assert workers._workers() is not kept
        assert names
    finally:
        compute.configure()


def test_a_worker_that_hangs_is_left_behind():
    compute.configure(ComputeOptions(cores=1))
    let_go, hangs = threading.Event(), threading.Event()

    def hang(_device):
        hangs.set()
        let_go.wait(60)

    stuck = threading.Thread(target=workers.each_computed, args=([hang],))
    stuck.start()
    try:
        assert hangs.wait(60)
        compute.fresh_workers()
        assert workers.each_computed([lambda _: 7]) == [7]
        assert stuck.is_alive()
    finally:
        let_go.set()
        stuck.join()
        compute.configure()


def test_after_an_error_nothing_more_is_begun(monkeypatch):
    begun, waited_for = [], threading.Event()
    wait = workers.wait

    def waiting(futures, timeout):
        waited_for.set()
        return wait(futures, timeout)

    monkeypatch.setattr(workers, "wait", waiting)

    def work(number, _device):
        begun.append(number)
        if number == 1:
            raise ZeroDivisionError
        assert number == 0 or waited_for.wait(60)

    compute.configure(ComputeOptions(cores=1))
    try:
        with pytest.raises(ZeroDivisionError):
            workers.each_computed([partial(work, number) for number in range(50)])
        assert workers.each_computed([lambda _: 3]) == [3]
        assert begun in ([0, 1], [0, 1, 2])
    finally:
        compute.configure()


TWO_DEVICES = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
from betis import compute
from betis.compute import devices, programs, rows
from tests.test_compute_memory import MATRIX, VALUES, outer
for module in (devices, programs, rows):
    module.is_gpu = lambda: True
programs.GPU_CHUNK = 16
programs.free_bytes = lambda device: 10**9
compute.configure()
used, fetched = set(), rows._Batch._fetched
def noting(self, index, size, device):
    used.add(device)
    return fetched(self, index, size, device)
rows._Batch._fetched = noting
matrix = compute.replicate(MATRIX)
assert len(matrix.addressable_shards) == len(jax.devices()) == 2
assert devices.n_worker() == 4
for shared in (matrix, MATRIX):
    found = compute.map_rows(outer, [VALUES], [shared])
assert used == set(jax.devices())
np.savez({file!r}, *found)
"""


def test_two_devices_share_the_rows_and_change_nothing(tmp_path):
    file = str(tmp_path / "found.npz")
    code = TWO_DEVICES.replace("{file!r}", repr(file))
    root = Path(__file__).parents[1]
    call = [sys.executable, "-c", code]
    made = subprocess.run(call, cwd=root, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with np.load(file) as found:
        same([found["arr_0"], found["arr_1"]], run())


def test_a_gpu_asked_for_in_vain_changes_nothing():
    before = compute.devices.n_worker()
    if jax.default_backend() == "gpu":
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="'gpu' was asked for"):
        compute.configure(ComputeOptions(device="gpu", cores=before + 1))
    assert compute.devices.n_worker() == before
