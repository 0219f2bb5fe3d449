"""What a configuration asks of the host that runs it. Any host may read, plan and report it."""

from collections.abc import Iterator

from bench.config.findings import Finding
from bench.config.schema import TrialConfig
from bench.config.yaml_lines import ConfigError, Document
from bench.errors import UsageError


def host_findings(config: TrialConfig, trains: bool = True) -> Iterator[Finding]:
    """Yield what this host lacks to run a trial; one that `trains` no arm (it only times them) needs no such device."""
    from bench import engine

    try:
        engine.resolve_isa(config.simd.isa)
    except UsageError as error:
        yield Finding(("simd", "isa"), str(error).removeprefix("isa: "))
    if trains and config.train.device != "cpu":
        import torch  # seconds, paid by those who ask for another device than the CPU

        if not torch.cuda.is_available():
            what = f"got {config.train.device!r}, but torch sees no CUDA device on this host"
            yield Finding(("train", "device"), f"{what}; use cpu, or another host")


def check_host(document: Document, config: TrialConfig) -> None:
    """Refuse a trial that this host cannot run.

    Raises
    ------
    ConfigError
        At the line of the document, which `config` is the meaning of.
    """
    problems = [document.problem(found.keys, found.message) for found in host_findings(config)]
    if problems:
        raise ConfigError(problems)
