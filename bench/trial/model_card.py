"""A packed model as MLflow logs models: a folder with its description, so that `mlflow.pyfunc` loads and runs it."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench import __version__
from bench.trial.record import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

LOADER = "bench.engine.pyfunc"
_NOT_IN_NAMES = set("/:.%\"'")


def model_name(record: Record) -> str:
    """Return the arm's name without what MLflow allows in no model's name."""
    return "".join("-" if c in _NOT_IN_NAMES else c for c in str(record.params.get("arm") or "model"))


def signature(task: str) -> "ModelSignature":
    """Return what `bench.engine.pyfunc.Packed.predict` takes and gives."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    def floats(*shape: int) -> Schema:
        return Schema([TensorSpec(np.dtype(np.float32), shape)])

    if task == "enhancer":
        return ModelSignature(floats(-1), floats(-1))
    params = [ParamSpec("seed", "long", 0), ParamSpec("utterance", "long", 0), ParamSpec("temperature", "double", 1.0)]
    return ModelSignature(floats(-1, -1), floats(-1), ParamSchema(params))


@contextlib.contextmanager
def model_folder(record: Record, folder: Path, model_id: str, run_id: str) -> Iterator[Path]:
    """Yield a temporary folder: the packed model and MLflow's description of it."""
    from mlflow.models import Model

    name = str(record.artifacts["model"])
    card = Model(model_id=model_id, run_id=run_id, signature=signature(str(record.study["task"])))
    card.add_flavor("python_function", loader_module=LOADER, data=name, python_version="3.11", env={})
    card.add_flavor("lanewise", file=name, task=record.study["task"], version=__version__)
    with tempfile.TemporaryDirectory() as temporary:
        card.save(str(Path(temporary) / "MLmodel"))
        shutil.copyfile(folder / name, Path(temporary) / name)
        yield Path(temporary)


def forget_models(client: "MlflowClient", experiment_id: str, run_id: str) -> None:
    """Delete the models of a run that is to be deleted."""
    for model in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        client.delete_logged_model(model.model_id)


def log_model(client: "MlflowClient", record: Record, folder: Path, experiment_id: str, run_id: str) -> None:
    """Make the trial's packed model its run's model, unless it is that already."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    name = record.artifacts.get("model")
    digest = record.tags.get("lanewise.model_sha256")
    if name is None or digest is None or not (folder / str(name)).is_file():
        return
    for model in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        if model.tags.get("lanewise.model_sha256") == digest and model.status == LoggedModelStatus.READY:
            return
        client.delete_logged_model(model.model_id)
    made = client.create_logged_model(
        experiment_id,
        model_name(record),
        run_id,
        tags={"lanewise.model_sha256": digest, "lanewise.study": str(record.study["name"])},
        model_type=f"lanewise {record.study['task']}",
    )
    with model_folder(record, folder, made.model_id, run_id) as local:
        client.log_model_artifacts(made.model_id, str(local))
    client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
