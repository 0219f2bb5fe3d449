"""Which documented command lines are not run as they stand, and why. Everything else is.

A line that is in no table is run as it is written; an entry that no document needs any longer fails a test.
"""

_SLURM = (
    "lanewise sweep run STUDY.yaml --out /shared/runs/paper --workers 16 --launcher slurm  "
    "--launcher-set slurm_partition=cpu --launcher-set cpus_per_task=4 --launcher-set timeout_min=720"
)
_TRAIN = "lanewise train my/dense.safetensors --corpus folder:my/16k --hidden 384"

ADDED: dict[str, str] = {
    # Hours of training, or jobs of a cluster: the plan.
    _TRAIN: "--dry-run",
    "lanewise train-enhancer my/enhancer.safetensors --corpus folder:my/16k --noise folder:my/noise": "--dry-run",
    "lanewise trial trial.yaml": "--dry-run",  # tests/trial/test_tutorial.py runs it
    "lanewise sweep run studies/enhancement.yaml": "--fast --dry-run",
    "lanewise throughput": "--arms 1,2 --hidden 32 --batch 2 --segment 40 --rounds 1 --device cpu",
    _SLURM: "--dry-run",
    # Servers that stay until Ctrl-C: they start, answer, and stop.
    "lanewise dashboard runs/my-study": "--check --port 15310",
    # Few metrics: the others are computed alike.
    "lanewise score my/16k/one.wav one-again.wav": "--metrics stoi,pesq_wb",
}
"""Line -> options with which it is run, for less work."""

INSTEAD: dict[str, str] = {
    # A GPU.
    "lanewise sweep run studies/paper.yaml --set train.device=cuda --stack 64 --dry-run":
        "lanewise sweep run studies/paper.yaml --stack 64 --dry-run --out runs/not-yet",
    "lanewise sweep run studies/paper.yaml --set train.device=cuda --stack 64":
        "lanewise sweep run studies/paper.yaml --stack 64 --dry-run --out runs/not-yet",
    "lanewise sweep resume runs/paper --stack 64": "lanewise sweep resume runs/rehearsed --stack 64",
    "make demo": "make -n demo",
    "make test": "make -n test",
    # One process instead of many.
    "lanewise sweep run STUDY.yaml --out /shared/runs/paper --timing later --workers 8":
        "lanewise sweep run STUDY.yaml --out /shared/runs/paper --timing later --workers 1",
    "lanewise worker /shared/runs/paper --workers 2": "lanewise worker /shared/runs/paper --workers 1",
    # `runs/paper` of these pages is written by hand, with audio; it has no database.
    "lanewise worker runs/paper": "lanewise worker runs/rehearsed",
    "lanewise sweep status runs/paper": "lanewise sweep status runs/rehearsed",
    "lanewise sweep status runs/paper --watch": "lanewise sweep status runs/rehearsed --watch",
}  # fmt: skip
"""Line -> what is run in its place."""

NOT_RUN: dict[str, str] = {
    "apt-get download": "downloads packages",
    "lanewise data prepare asterisk-core-sounds-en-g722_1.6.1-1_all.deb": "a package; tests/data/test_prepare.py",
    "lanewise data noise *.deb": "needs five packages; tests/data/test_noise_prepare.py",
    "docker compose": "needs a Docker daemon; tests/studies/test_docker.py runs what its services run",
    "docker build": "needs a Docker daemon and the packages of an image",
    "docker run": "needs a Docker daemon and an image",
    "kubectl": "needs a cluster",
    "export LANEWISE_STORAGE": "names a server; tests/studies/test_two_hosts.py has one",
    "export MLFLOW_TRACKING_URI": "names a server; tests/studies/test_two_hosts.py has one",
    "lanewise sweep resume /shared/runs/paper --workers 16 --launcher ray": "Ray; tests/studies/test_launchers.py",
    "lanewise dashboard runs/paper": "as `dashboard runs/my-study` in README.md",
    "lanewise sweep campaign": "minutes; tests/studies/test_campaign.py",
}
"""Beginnings of lines that one machine cannot run, and why; they are parsed, and what they name has to exist."""


def short(line: str) -> str:
    """Return what is run for a line."""
    return INSTEAD.get(line, f"{line} {ADDED.get(line, '')}".strip())
