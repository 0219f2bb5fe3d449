"""What this host is: CPU, caches, versions, code state. Never a host name, user name or path."""

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGES = ("numpy", "scipy", "torch", "optuna", "mlflow", "onnxruntime", "pesq", "pystoi", "visqol-python", "librosa")
_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def cache_dir() -> Path:
    """Return the directory for facts about this host (made if missing): LANEWISE_CACHE, else XDG's cache directory."""
    chosen = os.environ.get("LANEWISE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    path = Path(chosen) if chosen else (Path(base) if base else Path.home() / ".cache") / "lanewise"
    path.mkdir(parents=True, exist_ok=True)
    return path


@cache
def _cpuinfo() -> dict[str, str]:
    """First processor's entry of /proc/cpuinfo; empty where there is none."""
    if not _CPUINFO.exists():
        return {}
    first = _CPUINFO.read_text().split("\n\n")[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def cpu_name() -> str:
    """Name of the CPU as it calls itself, for instance "AMD EPYC 9554"."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def cpu_key() -> str:
    """CPU name plus family, model and stepping, since guests often hide the model behind one name."""
    info = _cpuinfo()
    numbers = "/".join(info.get(key, "?") for key in ("cpu family", "model", "stepping"))
    return f"{cpu_name()} ({platform.machine()} {numbers})"


def cache_sizes() -> dict[str, int]:
    """Bytes of core 0's data caches, for instance {"L1d": 49152, "L2": 1048576, "L3": 33554432}; empty if unknown."""
    sizes: dict[str, int] = {}
    for index in sorted(_CACHES.glob("index*")):
        kind, level = (index / "type").read_text().strip(), (index / "level").read_text().strip()
        if kind != "Instruction":
            text = (index / "size").read_text().strip()
            unit = {"K": 1024, "M": 1024**2, "G": 1024**3}.get(text[-1], 1)
            sizes[f"L{level}" + ("d" if kind == "Data" else "")] = int(text.rstrip("KMG")) * unit
    return sizes


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that results depend on (read from metadata: nothing is imported)."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def git_state() -> dict[str, Any]:
    """{"sha": commit or None, "dirty": whether tracked files differ or None}; None outside a git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=False
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):  # no git, or a file system too slow to ask
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changes = git("status", "--porcelain", "--untracked-files=no")
    return {"sha": git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def describe() -> dict[str, Any]:
    """Everything above as one JSON-ready object: cpu, cores, memory_bytes, caches_bytes, os, packages, git."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_bytes": memory,
        "caches_bytes": cache_sizes(),
        "os": f"{platform.system()} {platform.release()}",
        "packages": package_versions(),
        "git": git_state(),
    }


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
