"""`lanewise doctor`: what this host is, what it can run, what is missing and how to get it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

import click

from bench import host
from bench.errors import LanewiseError

_REQUIRED = {
    "numpy": "numpy",
    "scipy": "scipy",
    "torch": "torch",
    "safetensors": "safetensors",
    "soundfile": "soundfile",
    "pydantic": "pydantic",
    "yaml": "PyYAML",
    "rich": "rich",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
    "jinja2": "jinja2",
    "optuna": "optuna",
    "mlflow": "mlflow",
    "threadpoolctl": "threadpoolctl",
}
_OPTIONAL = {
    "pesq": ("PESQ scores", "pip install pesq"),
    "pystoi": ("STOI and ESTOI scores", "pip install pystoi"),
    "visqol": ("ViSQOL scores", "pip install 'visqol-python[lattice,accel]'"),
    "speechmos": ("DNSMOS scores", "pip install speechmos onnxruntime"),
    "pyworld": ("log-F0, voicing and mel-cepstral scores", "pip install pyworld 'setuptools>=77.0.3,<81'"),
    "optuna_dashboard": ("Optuna's dashboard", "pip install 'lanewise[dashboard]'"),
    "ethosu": ("estimates by Arm's compiler for Ethos-U", "pip install 'lanewise[vela]'"),
    "av": ("rebuilding the embedded corpus from its source", "pip install 'lanewise[corpus]'"),
}
_MKL = ("oneMKL beside the engine's kernels", "pip install 'lanewise[peers]'")  # a library, not a module
_BUILD_ENGINE = "pip install -e . (in the project's directory; needs a C++ compiler)"


@dataclass(frozen=True)
class Check:
    """One line of the examination; `remedy` is the command that helps when it is not `ok`."""

    name: str
    ok: bool
    required: bool
    detail: str
    remedy: str = ""


@click.command(name="doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--no-clock", is_flag=True, help="Skip the clock's examination (some seconds).")
@click.option("--json", "as_json", is_flag=True, help="One object on stdout.")
def command(no_clock: bool, as_json: bool) -> None:
    """Examine this host: CPU, ISAs, clock stability, required and optional parts.

    Exit code 0 unless something required is missing.

    \b
    Examples:
      lanewise doctor
      lanewise doctor --json | jq .isas.runnable
    """
    checks = [python_version(), compiler(), engine(), *packages(), cache_directory()]
    has_engine = next(check.ok for check in checks if check.name == "engine")
    found: dict[str, Any] = {"host": host.describe(), "isas": isas() if has_engine else None, "clock": None}
    if has_engine and not no_clock:
        found["clock"] = clock()
    missing = [check for check in checks if check.required and not check.ok]
    found |= {"checks": [asdict(check) for check in checks], "ok": not missing}
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        _print(found, checks)
    if missing:
        listed = "; ".join(f"{check.name} ({check.detail}): {check.remedy}" for check in missing)
        raise LanewiseError(f"required and missing: {listed}")


def python_version() -> Check:
    """Python 3.11 or newer."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), True, version, "install Python 3.11 or newer")


def compiler() -> Check:
    """Return whether a C++ compiler is there; it is needed to build the engine, not to run it."""
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
            return Check("C++ compiler", True, False, (shown.stdout.splitlines() or [name])[0])
    return Check("C++ compiler", False, False, "none found", "apt-get install g++ (or set CXX)")


def engine() -> Check:
    """Return whether the compiled engine loads."""
    try:
        from bench.engine import isas
    except (ImportError, LanewiseError) as error:
        return Check("engine", False, True, str(error), _BUILD_ENGINE)
    return Check("engine", True, True, f"runs {', '.join(isas())}")


def packages() -> list[Check]:
    """Look for required and optional packages without importing them."""
    from bench.measure.speed import mkl

    checks = [
        Check(package, _is_there(module), True, "required", f"pip install {package}")
        for module, package in _REQUIRED.items()
    ]
    checks += [
        Check(module, _is_there(module), False, purpose, remedy) for module, (purpose, remedy) in _OPTIONAL.items()
    ]
    return [*checks, Check("mkl", mkl.is_installed(), False, *_MKL)]


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def cache_directory() -> Check:
    """Return whether this host's facts can be kept."""
    remedy = "set LANEWISE_CACHE to a directory that can be written"
    try:
        writable = os.access(host.cache_dir(), os.W_OK)
    except OSError as error:
        return Check("cache directory", False, True, error.strerror or "cannot be made", remedy)
    return Check("cache directory", writable, True, "writable" if writable else "not writable", remedy)


def isas() -> dict[str, Any]:
    """ISAs of this build, those that the host runs, and the one used by default."""
    from bench.engine import isa

    return {"compiled": isa.built_isas(), "runnable": isa.isas(), "default": isa.resolve_isa(None)}


def clock() -> dict[str, Any]:
    """Run the gate for some seconds at most on a 64 KiB read and report how steady the core was."""
    from bench.measure.speed.gate import GateRules, measure
    from bench.measure.speed.roofs import read_candidates

    run = measure(read_candidates("read", 65536)[-1:], rules=GateRules(minimum=200, maximum=200, patience_s=8))
    return {
        "nominal_ghz": run.nominal_ghz,
        "rejected_share": run.rejected / max(run.rejected + run.accepted, 1),
        "relative_mad": next(iter(run.timings.values())).relative_mad,
        "core": run.core,
        "verdict": run.verdict,
        "why": run.why,
    }


def _print(found: dict[str, Any], checks: list[Check]) -> None:
    about = found["host"]
    caches = ", ".join(f"{level} {size // 1024} KiB" for level, size in about["caches_bytes"].items())
    click.echo(f"cpu      {about['cpu']}, {about['cores']} usable cores, {caches or 'caches unknown'}")
    click.echo(f"memory   {about['memory_bytes'] / 2**30:.1f} GiB; {about['os']}")
    if found["isas"]:
        for isa in found["isas"]["compiled"]:
            state = "runs here" if isa in found["isas"]["runnable"] else "this CPU lacks it"
            mark = ", default" if isa == found["isas"]["default"] else ""
            click.echo(f"isa      {isa}: {state}{mark}")
    if found["clock"]:
        seen = found["clock"]
        click.echo(
            f"clock    {seen['verdict']}: {seen['nominal_ghz']:.2f} GHz nominal, {seen['rejected_share']:.0%} of "
            f"samples rejected, spread {seen['relative_mad']:.1%}{'; ' + seen['why'] if seen['why'] else ''}"
        )
    for check in checks:
        state = "ok     " if check.ok else ("MISSING" if check.required else "absent ")
        click.echo(f"{state}  {check.name}: {check.detail}" + ("" if check.ok else f"  ->  {check.remedy}"))
