"""Masks over training as MLflow's image grids want them: files whose names say key, step and time.

`MlflowClient.log_image` draws a random name at each call, so that logging a run twice shows everything twice. Here the
name follows from the record, and the same file is written again.
"""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from bench.trial.pictures import STEPS, step_of
from bench.trial.record import Record

FOLDER = "images"
TAG = {"mlflow.loggedImages": "True"}
"""By which MLflow's pages know that a run has an image grid."""


def image_key(matrix: str) -> str:
    """Return the key of a matrix's pictures; what is before the slash is a section of MLflow's charts."""
    return f"masks/{matrix}"


@contextlib.contextmanager
def image_grid(record: Record, folder: Path, stamp_ms: int) -> Iterator[Path | None]:
    """Yield a temporary folder of pictures to be logged as `FOLDER`; None where the record has none."""
    paths = [folder / name for name in record.artifacts.get(STEPS, []) if (folder / name).is_file()]
    if not paths:
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        for path in paths:
            matrix, step = step_of(path)
            whole = Path(name) / file_name(image_key(matrix), step, stamp_ms)
            shutil.copyfile(path, whole)
            _small(path, whole.with_name(f"{whole.stem}+compressed.webp"))
        yield Path(name)


def file_name(key: str, step: int, stamp_ms: int) -> str:
    """Return the name by which MLflow's pages know the picture of a key at a step."""
    unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{key}@{step}@{stamp_ms}")
    return f"{key.replace('/', '~')}+step+{step}+timestamp+{stamp_ms}+{unique}.png"


def _small(source: Path, target: Path) -> None:
    """Write the copy that the grid itself shows."""
    from matplotlib.image import imread, imsave

    imsave(target, imread(source), format="webp")
