"""Operations and bytes of a row in each kernel, against what the machine can do.

    python benchmarks/roofline.py [--spectra 64] [--sets standard betis41]

The kernels of a continuum fit and of line fits with errors from realisations, on MUSE's axis. They
are timed on arrays that they got in a real fit: kernels that iterate for one step, or one normal
matrix, from the start. Operations and bytes are what XLA counts for one row (the body of a loop
once; what stays in caches counts as bytes, too). On the CPU times are those of the processor, one
core, so that other programs hardly change them; on a GPU wall clock. The peaks are measured
beside: a large product of float64 matrices, a large sum of two vectors.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from betis import compute
from betis.compute import programs, rows
from betis.io.templates import load_templates
from betis.linelist import load_line_set
from betis.lines.fit import fit_lines
from betis.options import LineOptions
from continuum import engine
from continuum import mocks as star_mocks
from lines import mock as line_mocks

LIMITED = ("fit_row", "lm_step")
"""Kernels whose first shared array is the number of steps."""

OFTEN = 10000


class Peak(NamedTuple):
    """What the machine does in a second, of one core or the GPU; ``near`` of its caches."""

    operations: float
    bytes: float
    near: float


class Cost(NamedTuple):
    """Of one row."""

    operations: float
    bytes: float
    memory: float
    seconds: float


def clock() -> float:
    return time.perf_counter() if compute.is_gpu() else time.process_time()


def fastest(work: Callable[[], Any], repeats: int = 7) -> float:
    spent = []
    for _ in range(repeats):
        start = clock()
        jax.block_until_ready(work())
        spent.append(clock() - start)
    return min(spent)


def measured_peak() -> Peak:
    side, size = (8192, 1 << 28) if compute.is_gpu() else (1024, 1 << 24)
    square, vector, short = jnp.ones((side, side)), jnp.ones(size), jnp.ones(1 << 12)
    product, total, often = jax.jit(jnp.matmul), jax.jit(jnp.add), jax.jit(sum_often)
    jax.block_until_ready((product(square, square), total(vector, vector), often(short, short)))
    far = 3 * vector.nbytes / fastest(lambda: total(vector, vector))
    near = 3 * OFTEN * short.nbytes / fastest(lambda: often(short, short))
    return Peak(2 * side**3 / fastest(lambda: product(square, square)), far, max(near, far))


def sum_often(start: jax.Array, step: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, OFTEN, lambda _, value: value + step, start)


def caught(work: Callable[[], Any]) -> dict[Any, Any]:
    """Return the batch of most rows of each program that some work needs, its arrays as given."""
    batches: dict[Any, Any] = {}
    begin = rows._Batch.__init__

    def noting(self: Any, program: Any, given: Any, *more: Any) -> None:
        begin(self, program, [np.array(value) for value in given], *more)
        key = program.name, self._one
        if key not in batches or len(batches[key]._rows[0]) < len(given[0]):
            batches[key] = self

    rows._Batch.__init__ = noting  # type: ignore[method-assign]
    try:
        work()
    finally:
        rows._Batch.__init__ = begin  # type: ignore[method-assign]
    return batches


def cost(batch: Any) -> Cost:
    program = batch._program
    if program.name in LIMITED:
        batch._shared = {
            device: [jnp.ones_like(values[0]), *values[1:]]
            for device, values in batch._shared.items()
        }
    # Counted for one row where a loop over rows would count once.
    size = batch.size if compute.is_gpu() else 1
    shapes = programs.with_rows(batch._one, size, program.n_rows)
    made = program.compiled(shapes, compute.devices.devices()[0])
    counted, held = made.cost_analysis(), made.memory_analysis()
    index = np.resize(np.arange(len(batch._rows[0])), batch.size * 4)
    indices = np.split(index, 4)
    batch.computed(indices)
    return Cost(
        counted.get("flops", np.nan) / size,
        counted.get("bytes accessed", np.nan) / size,
        held.temp_size_in_bytes / size,
        fastest(lambda: batch.computed(indices)) / index.size,
    )


def show(label: str, found: Cost, peak: Peak) -> None:
    done, moved = found.operations / found.seconds, found.bytes / found.seconds
    shares = {"operations": done / peak.operations, "bytes": moved / peak.near}
    most = max(shares, key=lambda name: shares[name])
    bound = most if shares[most] > 0.3 else "neither: loops, latency"
    print(
        f"{label:34s} {found.operations / 1e6:9.3f} {found.bytes / 1e6:9.3f} "
        f"{found.memory / 1e6:8.3f} {1e6 * found.seconds:9.1f} {done / 1e9:7.2f} "
        f"{moved / 1e9:7.2f} {found.operations / found.bytes:7.2f} "
        f"{100 * shares['operations']:5.0f} % {100 * shares['bytes']:5.0f} %  {bound}",
        flush=True,
    )


def show_all(label: str, work: Callable[[], Any], peak: Peak, least: float = 0.02) -> None:
    """Show the kernels that some work calls; of several shapes, that of most operations."""
    costs: dict[str, Cost] = {}
    for (name, _), batch in caught(work).items():
        found = cost(batch)
        if name not in costs or found.operations > costs[name].operations:
            costs[name] = found
    most = max(found.seconds for found in costs.values())
    for name, found in costs.items():
        if found.seconds > least * most:
            show(f"{label}: {name.strip('_')}", found, peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=int, default=64)
    parser.add_argument("--sets", nargs="*", default=["standard", "betis41"])
    arguments = parser.parse_args()
    compute.configure()
    peak = measured_peak()
    what = "the GPU" if compute.is_gpu() else "one core, processor time"
    print(
        f"{what}: {peak.operations / 1e9:.1f} GFLOP/s, {peak.bytes / 1e9:.1f} GB/s from "
        f"memory, {peak.near / 1e9:.1f} GB/s from the caches"
    )
    print(
        f"{'kernel, of one row':34s} {'MFLOP':>9s} {'MB':>9s} {'MB held':>8s} {'us':>9s} "
        f"{'GFLOP/s':>7s} {'GB/s':>7s} {'FLOP/B':>7s} {'of peak':>7s} {'of peak':>7s}  bound by"
    )
    base = load_templates("bpass")
    spectra, _ = star_mocks(base, arguments.spectra, 30.0)
    show_all("stars", lambda: engine(base, spectra)(spectra), peak)
    for name in arguments.sets:
        gas, line_set = line_mocks(arguments.spectra), load_line_set(name)
        options = LineOptions(line_set=name, errors="realisations", realisations=16)
        show_all(name, lambda g=gas, s=line_set, o=options: fit_lines(g, s, o), peak)


if __name__ == "__main__":
    main()
