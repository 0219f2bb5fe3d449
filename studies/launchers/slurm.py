"""Workers as SLURM jobs, by submitit (which also has a local executor: `--launcher-set cluster=local`).

Settings are submitit's: `slurm_partition=gpu`, `timeout_min=1440`, `gpus_per_node=1`, `cpus_per_task=8`, ... and
`folder`, where its own files go. A job that SLURM preempts or that dies leaves its trial to the others; jobs that
wait in the queue cost the study nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.progress import say
from studies.processes import changed_environment


def launch(command: Sequence[str], environment: Mapping[str, str], workers: int, settings: Mapping[str, str]) -> None:
    """Submit `workers` jobs and wait for them; see `studies.launchers`."""
    import submitit
    from submitit.helpers import CommandFunction

    folder = Path(settings.get("folder", "submitit-jobs"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # submitit's job files are pickles: nobody else may write them
    executor = submitit.AutoExecutor(folder=folder, cluster=settings.get("cluster"))
    parameters = {key: value for key, value in settings.items() if key not in ("folder", "cluster")}
    numbers = {key: int(value) for key, value in parameters.items() if value.isdigit()}
    executor.update_parameters(**({"timeout_min": 1440} | parameters | numbers))
    # Jobs inherit the environment (sbatch's --export=ALL), so that no password is written to a job's file.
    with changed_environment(environment):
        jobs = [executor.submit(CommandFunction(list(command), verbose=False)) for _ in range(workers)]
    say(f"jobs {', '.join(job.job_id for job in jobs)} submitted; their output is in {folder}")
    for job in jobs:
        error = job.exception()
        if error is not None:
            say(f"job {job.job_id} ended: {str(error).strip().splitlines()[-1]}")
