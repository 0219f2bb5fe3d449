"""Workers as Ray tasks, spread over a cluster's nodes.

Settings: `address` (default `auto`, the cluster that this machine belongs to), `num_cpus` and `num_gpus` of a worker;
`num_gpus=0.25` puts four arms on each GPU.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence

from bench.progress import say


def launch(command: Sequence[str], environment: Mapping[str, str], workers: int, settings: Mapping[str, str]) -> None:
    """Run `workers` tasks and wait for them; see `studies.launchers`."""
    import ray

    started_here = not ray.is_initialized()
    if started_here:
        ray.init(address=settings.get("address", "auto"), log_to_driver=False)
    needs = {key: float(settings[key]) for key in ("num_cpus", "num_gpus") if key in settings}

    @ray.remote(max_retries=3, scheduling_strategy="SPREAD", **needs)  # type: ignore[untyped-decorator]
    def worker(words: Sequence[str], added: Mapping[str, str]) -> tuple[str, int]:
        done = subprocess.run(words, env=dict(os.environ) | dict(added), check=False)
        return ray.get_runtime_context().get_node_id(), done.returncode

    try:
        # The environment goes as an argument: what a task's `runtime_env` holds, Ray writes to its logs.
        ended = ray.get([worker.remote(list(command), dict(environment)) for _ in range(workers)])
    finally:
        if started_here:
            ray.shutdown()
    say(f"{workers} workers ended on {len({node for node, _ in ended})} nodes")
