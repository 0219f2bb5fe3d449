"""What a record looks like in MLflow: pure translations from one to the other."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.trial.pictures import STEPS
from bench.trial.record import FILE_NAME, Record, Scalar, utterance_metrics

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Param, RunTag

STATUS = {
    "complete": "FINISHED",
    "infeasible": "FINISHED",
    "failed": "FAILED",
    "stopped_early": "KILLED",
    "skipped": "KILLED",
    "interrupted": "KILLED",
}
"""MLflow's run status of each state; the tag `lanewise.state` keeps the six apart."""

MAX_BATCH = 1000
"""MLflow's limit on metrics in one `log_batch`."""

DIGEST_LENGTH = 16
"""Of a dataset's digest, which MLflow's table of runs shows whole."""

TABLE_FILE = "utterances.json"
_TABLE_TAG = "mlflow.loggedArtifacts"


def params(flat: Mapping[str, Scalar]) -> "list[Param]":
    """Return parameters; what does not apply is written `none`, so that every run has every key."""
    from mlflow.entities import Param

    return [Param(key, param_text(value)) for key, value in flat.items()]


def param_text(value: Scalar) -> str:
    """Return a parameter as MLflow keeps it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)


def tags(flat: Mapping[str, Any]) -> "list[RunTag]":
    """Return tags."""
    from mlflow.entities import RunTag

    return [RunTag(key, str(value)[:5000]) for key, value in flat.items()]


def points(values: Mapping[str, float | None], stamp_ms: int) -> "list[Metric]":
    """Return single values as metrics, missing ones left out."""
    from mlflow.entities import Metric

    return [Metric(key, float(value), stamp_ms, 0) for key, value in values.items() if value is not None]


def metrics(record: Record, present: Mapping[str, float], stamp_ms: int) -> "list[Metric]":
    """Return the record's metrics that differ from what the run has, and its curves if the run has none yet.

    Curves are thinned evenly (their last point kept) so that everything fits one batch.
    """
    from mlflow.entities import Metric

    finals = [item for item in points(record.metrics, stamp_ms) if present.get(item.key) != item.value]
    curves = {key: values for key, values in record.curves.items() if key != "step"}
    if not curves or any(curve_key(name) in present for name in curves):
        return finals
    room = (MAX_BATCH - len(finals)) // len(curves)
    for name, values in curves.items():
        pairs = zip(record.curves["step"], values, strict=True)
        drawn = [(int(step or 0), float(value)) for step, value in pairs if value is not None]
        stride = max(1, -(-len(drawn) // room))
        thinned = drawn[::-1][::stride][::-1]
        finals += [Metric(curve_key(name), value, stamp_ms, step) for step, value in thinned]
    return finals


def curve_key(name: str) -> str:
    """Return the metric key of a training curve."""
    return f"curve.{name}"


def contradicts(record: Record, run_params: Mapping[str, str], run_metrics: Mapping[str, float]) -> bool:
    """Whether a run says something that updating cannot put right: other parameters, or metrics the record lacks."""
    gone = {key for key, value in record.metrics.items() if value is None}
    return contradicts_params(record.params, run_params) or any(key in gone for key in run_metrics)


def contradicts_params(flat: Mapping[str, Scalar], run_params: Mapping[str, str]) -> bool:
    """Whether a run has a parameter of another value, which MLflow will never change, or that is unknown here."""
    wanted = {key: param_text(value) for key, value in flat.items()}
    return any(wanted.get(key) != value for key, value in run_params.items())


def artifacts(record: Record, folder: Path) -> list[tuple[Path, str | None]]:
    """Return the record's existing files with the artifact folder of each (None: the top)."""
    listed: list[str] = [FILE_NAME]
    for value in (value for kind, value in record.artifacts.items() if kind != STEPS):  # those make an image grid
        listed += [str(item) for item in value] if isinstance(value, list) else [str(value)] if value else []
    paths = [Path(item) for item in dict.fromkeys(listed)]
    return [
        (folder / path, str(path.parent) if path.parent != Path() else None)
        for path in paths
        if not path.is_absolute() and ".." not in path.parts and (folder / path).is_file()
    ]


def datasets(record: Record) -> "list[DatasetInput]":
    """Return the recordings (and the noise) of a trial as inputs of its run.

    Their digest begins as `lanewise.data_hash`: of every recording, its split and the definition of the features.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    found = record.tags.get("lanewise.data_hash")
    if found is None:
        return []
    keys = ("corpus", "noise") if record.study["task"] == "enhancer" else ("corpus",)
    named = {key: record.params.get(f"data.{key}") for key in keys}
    sources = {key: str(value) for key, value in named.items() if value}
    name = " + ".join(Path(source.partition(":")[2] or source).name for source in sources.values())
    source = json.dumps({**sources, "data_hash": found}, sort_keys=True)
    profile = json.dumps({"test_clips": len(record.utterances)})
    dataset = Dataset(name[:500], found[:DIGEST_LENGTH], "lanewise", source, profile=profile)
    return [DatasetInput(dataset, [InputTag("mlflow.data.context", "training, evaluation")])]


@contextlib.contextmanager
def utterance_table(record: Record) -> Iterator[Path]:
    """Yield a temporary file: the per-utterance scores as the table that MLflow joins over runs.

    Written by hand because `log_table` appends to what is there, so that logging twice would double the rows.
    """
    scores = utterance_metrics(str(record.study["task"]))
    columns = ["trial", "arm", "id", *scores]
    fixed = [record.trial.get("name"), record.params.get("arm")]
    rows = [[*fixed, row["id"], *(row.get(name) for name in scores)] for row in record.utterances]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TABLE_FILE
        path.write_text(json.dumps({"columns": columns, "data": rows}), encoding="utf-8")
        yield path


def table_tag() -> dict[str, str]:
    """Return the tag by which MLflow finds the table."""
    return {_TABLE_TAG: json.dumps([{"path": TABLE_FILE, "type": "table"}])}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
