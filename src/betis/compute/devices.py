"""What computes: the devices that JAX finds, how many chunks each has, memory that is free.

On the CPU each worker runs its own chunk on the one device that JAX has there: XLA runs calls of
several threads side by side, and one program serves all. A GPU has two workers: while one waits for
what it has sent, the other sends the next chunk, so that transfers hide behind computation.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from betis.cache import cache_folder
from betis.errors import ConfigError
from betis.options import ComputeOptions

__all__ = [
    "WORKERS_PER_GPU",
    "configure",
    "devices",
    "free_bytes",
    "host_cores",
    "is_gpu",
    "n_worker",
    "placed",
    "replicate",
]

WORKERS_PER_GPU = 2
"""Chunks that a GPU holds at once: one computes, the other comes or goes."""


@dataclass(kw_only=True)
class _Chosen:
    """What `configure` was told: host cores (0: all), and whether only the CPU may be used."""

    cores: int = 0
    cpu_only: bool = False


_CHOSEN = _Chosen()


def configure(options: ComputeOptions | None = None) -> None:
    """Choose the device, the host cores to use and the folder of compiled programs.

    Raises
    ------
    ConfigError
        Where a GPU is asked for and there is none.
    """
    chosen = options or ComputeOptions()
    settings: dict[str, Any] = {
        "jax_enable_x64": True,
        # Where a kernel uses float32, a GPU would otherwise multiply with 10 bits (TF32).
        "jax_default_matmul_precision": "highest",
        "jax_compilation_cache_dir": str(cache_folder() / "jax"),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    if chosen.device == "cpu":
        settings["jax_platforms"] = "cpu"
    update: Callable[[str, Any], None] = jax.config.update
    for name, value in settings.items():
        update(name, value)
    if chosen.device == "gpu" and jax.default_backend() != "gpu":
        raise ConfigError(
            f"the device 'gpu' was asked for, but JAX finds only {jax.default_backend()!r}; "
            "install jax with CUDA, or use --device cpu"
        )
    _CHOSEN.cores, _CHOSEN.cpu_only = chosen.cores, chosen.device == "cpu"


def devices() -> list[jax.Device]:
    """Return the devices of this process that compute: all its GPUs, or the CPU."""
    found: list[jax.Device] = jax.local_devices(backend="cpu" if _CHOSEN.cpu_only else None)
    return found


def is_gpu() -> bool:
    """Return whether a GPU computes."""
    return str(devices()[0].platform) != "cpu"


def n_worker() -> int:
    """Return how many chunks are under way at once."""
    if is_gpu():
        return WORKERS_PER_GPU * len(devices())
    return _CHOSEN.cores or host_cores()


def free_bytes(device: jax.Device) -> int | None:
    """Return the memory that is free on a device; None where that bounds no chunk, as on the CPU.

    Of what JAX may take: it sets three quarters of a GPU aside when it starts.
    """
    found: dict[str, int] | None = device.memory_stats()
    if not found or "bytes_limit" not in found:
        return None
    return found["bytes_limit"] - found["bytes_in_use"]


def replicate(arrays: Any) -> Any:
    """Copy arrays that every row sees to all devices; those that are there stay."""
    here = devices()
    if len(here) == 1:
        return jax.device_put(arrays, here[0])
    mesh = jax.sharding.Mesh(here, ("device",))
    everywhere: Callable[..., jax.sharding.PartitionSpec] = jax.sharding.PartitionSpec
    return jax.device_put(arrays, jax.sharding.NamedSharding(mesh, everywhere()))


def placed(value: Any, device: jax.Device) -> jax.Array:
    """Return an array on one device: a replicated one's copy there, or what is sent now."""
    if isinstance(value, jax.Array):
        for shard in value.addressable_shards:
            if shard.device == device and shard.data.shape == value.shape:
                return jnp.asarray(shard.data)
    return jnp.asarray(jax.device_put(value, device))


def host_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
