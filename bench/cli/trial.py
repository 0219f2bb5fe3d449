"""`lanewise trial`: one arm, end to end."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import allow_cache
from bench.errors import LanewiseError

if TYPE_CHECKING:
    from bench.config.schema import TrialConfig
    from bench.trial.record import Record

TRIALS = Path("runs/trial")
"""Where trials of no study go, and the cache that they share."""

_SOUND = (("quality.pesq_wb", "PESQ-wb"), ("quality.estoi", "ESTOI"), ("quality.dnsmos_ovr", "DNSMOS overall"))
_COST = (
    ("speed.rtf", "real-time factor"),
    ("speed.vs_dense", "times faster than dense"),
    ("size.bytes", "bytes"),
    ("sparsity.achieved", "sparsity"),
)
_SHOWN = {
    "vocoder": (("quality.nll_bits", "NLL, bits per sample"), *_SOUND, *_COST),
    "enhancer": (
        ("quality.si_sdr", "SI-SDR, dB"),
        ("quality.gain.si_sdr", "gain in SI-SDR, dB"),
        *_SOUND,
        *_COST,
        ("size.compression", "times smaller than f32"),
    ),
}


@click.command()
@click.argument("config", metavar="CONFIG.yaml", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Set a key over the file's value (may repeat)."
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Folder; default runs/trial/<name>."
)
@click.option(
    "--tracking-uri", metavar="URI", help="MLflow store; default MLFLOW_TRACKING_URI, or SQLite in the folder."
)
@allow_cache
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and do nothing.")
@click.option("--keys", is_flag=True, help="Print every key with its values, default and meaning.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout: the record, the plan or the keys.")
def command(
    config: Path | None,
    overrides: tuple[str, ...],
    out: Path | None,
    tracking_uri: str | None,
    dry_run: bool,
    keys: bool,
    as_json: bool,
) -> int:
    """Run one arm: train, prune, recover, pack, time, synthesise, score, record.

    An interrupted trial goes on where it stopped when the same command is given again; nothing is done twice.
    Without CONFIG.yaml the defaults and --set make the configuration.

    \b
    Examples:
      lanewise trial --keys
      lanewise trial arm.yaml
      lanewise trial arm.yaml --set prune.sparsity=0.9 --set prune.tile=8x1 --out runs/mine
      lanewise trial arm.yaml --dry-run --json | jq .config.prune
    """
    if keys:
        _print_keys(as_json)
        return 0
    from bench.config.flat import arm_name, config_hash, dump, flatten
    from bench.config.load import load

    if config is None and not overrides:
        raise click.UsageError("give CONFIG.yaml or --set KEY=VALUE (`lanewise trial --keys` lists the keys)")
    resolved = load(config, overrides, here=True)
    folder = out or TRIALS / f"{arm_name(resolved)}-{config_hash(resolved)[:8]}"
    if dry_run:
        plan = {"arm": arm_name(resolved), "config_hash": config_hash(resolved), "out": str(folder)}
        _print_plan(plan, dump(resolved), flatten(resolved), as_json)
        return 0
    return _run(resolved, folder, None if out else TRIALS / "cache", tracking_uri, as_json)


def _run(config: "TrialConfig", folder: Path, cache: Path | None, tracking_uri: str | None, as_json: bool) -> int:
    from bench.trial.run import run_trial
    from bench.trial.tracking import Tracking
    from bench.trial.view import view_tags

    name = folder.resolve().name
    tracking = Tracking(folder, name, tracking_uri)
    record = run_trial(config, folder, study=name, cache=cache, tracking=tracking)
    tracking.log_study(finished=True, view=view_tags(config.task, config.train.steps))
    if as_json:
        click.echo(json.dumps(asdict(record), indent=1))
    _print_record(record, folder)
    if record.state != "complete":
        raise LanewiseError(f"{record.trial['name']}: {record.state}: {record.reason}")
    return 0


def _print_record(record: "Record", folder: Path) -> None:
    click.echo(f"{record.params['arm']}: {record.state}, {record.trial['seconds']} s", err=True)
    for key, label in _SHOWN[str(record.study["task"])]:
        value = record.metrics.get(key)
        shown = f"{value:.4g}" if value is not None else f"missing: {record.reasons.get(key, 'no reason given')}"
        low, high = (record.metrics.get(f"{key}.{bound}") for bound in ("ci_low", "ci_high"))
        interval = f"  (95 % {low:.4g} to {high:.4g})" if low is not None and high is not None else ""
        click.echo(f"  {label:<26}{shown}{interval}", err=True)
    verdict = record.tags.get("lanewise.timing_verdict", "not timed")
    click.echo(f"  {'timing':<26}{verdict}\n  {'everything is in':<26}{folder}", err=True)


def _print_plan(plan: dict[str, Any], config: dict[str, Any], params: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**plan, "config": config, "params": params}, indent=1))
        return
    import yaml

    head = "\n".join(f"# {key}: {value}" for key, value in plan.items())
    click.echo(f"{head}\n{yaml.safe_dump(config, sort_keys=False)}", nl=False)


def _print_keys(as_json: bool) -> None:
    from bench.config.reference import key_rows

    rows = key_rows()
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    for row in rows:
        click.echo(f"{row.key}  ({row.values}; default {row.default})")
        click.echo(textwrap.fill(row.meaning, 100, initial_indent="    ", subsequent_indent="    "))
