"""`record.json`: everything that a trial found out. MLflow and reports are made from it and from nothing else."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bench.errors import LanewiseError
from bench.trial.files import read_json, write_json

SCHEMA = 3
FILE_NAME = "record.json"
STATES = ("complete", "failed", "stopped_early", "skipped", "infeasible", "interrupted")

UTTERANCE_METRICS = (
    "nll_bits",
    "pesq_wb",
    "stoi",
    "estoi",
    "mcd_db",
    "logf0_rmse",
    "voicing_error",
    "mrstft",
    "visqol",
    "dnsmos_sig",
    "dnsmos_bak",
    "dnsmos_ovr",
)
"""Scores of a vocoder's utterance, keys of `utterances` rows; each becomes `quality.<name>` with its interval."""

ENHANCER_SCORES = ("si_sdr", "sdr", "pesq_wb", "stoi", "estoi", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovr")
"""Scores of an enhanced utterance. Rows hold them of the noisy input, too (`noisy.<name>`), and the difference
(`gain.<name>`)."""

_COMMON_METRICS = (
    "valid.loss",
    "valid.loss.start",
    "valid.loss.penalised",
    "valid.loss.pruned",
    "valid.loss.restarted",
    "train.lambda",
    "train.tuned",
    "speed.rtf",
    "speed.rtf_dense",
    "speed.vs_dense",
    "size.bytes",
    "size.nonzeros",
    "sparsity.achieved",
)
TRIAL_METRICS = {
    "vocoder": (
        *_COMMON_METRICS,
        "speed.kernel_us",
        "speed.vs_limit",
        "speed.rtf_int8",
        "quality.nll_bits_int8",
        "size.bytes_int8",
    ),
    "enhancer": (
        *_COMMON_METRICS,
        "speed.frame_us",
        "size.f32_bytes",
        "size.activation_bytes",
        "size.compression",
        "vela.bytes",
        "vela.flash_us",
        "vela.sram_us",
    ),
}
"""Metrics with one value for the whole trial, by task; an enhancer has also `size.<encoding>` and `accel.<name>.*`, by
what encodings and accelerators there are. `valid.loss` is NLL in bits, or minus the improvement of SI-SDR in dB;
`valid.loss.*` are of the dense start, after the penalised phase, after pruning, and after the kept weights were put
back or drawn anew (`recover.kind` rewind, scratch): what each costs stays apart. `train.tuned` is the value of
`tune.key` that validation chose. `size.compression` is dense float32 bytes over those of the smallest encoding."""

Scalar = str | int | float | bool | None


@dataclass
class Record:
    """One trial's results.

    Attributes
    ----------
    study
        `name` and `task`.
    trial
        `number`, `name`, `config_hash`, `started` and `ended` (ISO 8601, UTC) and `seconds`.
    state
        One of `STATES`; `reason` says why when it is not `complete`.
    params
        Flat dotted settings (`bench.config.flatten`), the same keys on every trial.
    metrics
        Flat dotted numbers, None when missing; `reasons` then says why.
    tags
        `lanewise.*`: identity and circumstances.
    utterances
        One row per test clip: `id`, `utterance_metrics` (None when missing), `reasons`, `audio` (path or None); of an
        enhancer also `condition`, `kind` and `snr_db`.
    timing, curves, artifacts
        Raw timing samples; training curves (lists of equal length); paths below the trial's folder.
    facts
        `methods`: what regularizer and pruner have to say (thresholds, bits, storage); `tune`: the key of which several
        values were tried, the values, each one's final validation outcome and curve; `delta`: the threshold, and the
        share of the recurrent matrix's columns that it left out of the synthesis of the test clips; `snapshots`: the
        pruned matrices at a few steps of training, `bench.learn.snapshots.Snapshots.facts`, whose bits are in the
        artifact `snapshots`.
    """

    study: dict[str, Scalar]
    trial: dict[str, Scalar]
    state: str
    reason: str | None = None
    params: dict[str, Scalar] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    utterances: list[dict[str, Any]] = field(default_factory=list)
    timing: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    artifacts: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def write(self, folder: Path) -> Path:
        """Write `record.json` into a trial's folder, whole or not at all.

        Raises
        ------
        LanewiseError
            The record breaks its own schema (NaN included), or the folder cannot be written.
        """
        path = folder / FILE_NAME
        content = asdict(self)
        _check(content, path)
        write_json(path, content)
        return path

    @staticmethod
    def read(path: Path) -> "Record":
        """Read a record from its file or its trial's folder.

        Raises
        ------
        LanewiseError
            The file is missing, cut short, of another schema, or not a record at all.
        """
        path = path / FILE_NAME if path.is_dir() else path
        content = read_json(path)
        _check(content, path)
        return Record(**content)


def utterance_metrics(task: str) -> tuple[str, ...]:
    """Return the keys of an utterance's row that are averaged."""
    if task == "vocoder":
        return UTTERANCE_METRICS
    return (*ENHANCER_SCORES, *(f"gain.{name}" for name in ENHANCER_SCORES))


def aggregate(
    utterances: Iterable[Mapping[str, Any]], seed: int, task: str = "vocoder"
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return `quality.*` metrics (mean, 95 % interval over utterances, counts) and the reasons for missing ones.

    Parameters
    ----------
    utterances
        Rows of a record.
    seed
        Of the bootstrap.
    task
        Whose scores they are.
    """
    from bench.measure.statistics import mean_interval

    rows = list(utterances)
    metrics: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name in utterance_metrics(task):
        key = f"quality.{name}"
        found = mean_interval([row.get(name) for row in rows], seed=seed)
        metrics |= {key: found.mean, f"{key}.ci_low": found.low, f"{key}.ci_high": found.high}
        metrics |= {f"{key}.n": found.n, f"{key}.n_failed": found.n_failed}
        if not found.n:
            given = [why[name] for why in (row.get("reasons") or {} for row in rows) if name in why]
            reasons[key] = given[0] if given else "no test clip was scored"
    return metrics, reasons


def empty_metrics(task: str = "vocoder") -> dict[str, float | None]:
    """Return every metric key of a task's record, all missing."""
    suffixes = ("", ".ci_low", ".ci_high", ".n", ".n_failed")
    quality = [f"quality.{name}{suffix}" for name in utterance_metrics(task) for suffix in suffixes]
    return dict.fromkeys([*quality, *TRIAL_METRICS[task]])


_TYPES: dict[str, type] = {
    "study": dict,
    "trial": dict,
    "state": str,
    "params": dict,
    "metrics": dict,
    "reasons": dict,
    "tags": dict,
    "utterances": list,
    "timing": dict,
    "curves": dict,
    "artifacts": dict,
    "facts": dict,
}


def _check(content: Any, path: Path) -> None:
    """Raise LanewiseError unless `content` is a record of this schema."""

    def wrong(message: str) -> LanewiseError:
        return LanewiseError(f"{path}: {message}")

    if not isinstance(content, dict) or "schema" not in content:
        raise wrong("is not a trial's record (no key 'schema'); expected a record.json that Lanewise wrote")
    if content["schema"] != SCHEMA:
        raise wrong(
            f"has record schema {content['schema']!r}, this version reads {SCHEMA}; use the version that wrote it"
        )
    known = {item.name for item in fields(Record)}
    problems = [f"unknown key {key!r}" for key in sorted(set(content) - known)]
    problems += [f"missing key {key!r}" for key in sorted(known - set(content))]
    for key, kind in _TYPES.items():
        if key in content and not isinstance(content[key], kind):
            problems.append(f"{key!r} is {type(content[key]).__name__}, expected {kind.__name__}")
    if problems:
        raise wrong("; ".join(problems))
    if content["state"] not in STATES:
        raise wrong(f"state is {content['state']!r}, expected one of {', '.join(STATES)}")
    if content["state"] != "complete" and not content["reason"]:
        raise wrong(f"state is {content['state']!r} without a reason")
    for key, value in content["metrics"].items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise wrong(f"metric {key!r} is {value!r}, expected a number or null")
        if value is not None and not math.isfinite(value):
            raise wrong(f"metric {key!r} is {value}, expected a finite number, or null and a reason")
    for row in content["utterances"]:
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise wrong("an utterance has no id")
