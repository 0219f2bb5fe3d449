"""The columns and charts with which MLflow's pages open on a study: a view as MLflow itself shares them by link.

A view is a tag of the experiment, JSON of the page's state (deflated: a tag has room for 5,000 characters);
`viewStateShareKey` in the address names it. The keys are those of MLflow 3 (`ExperimentPageUIState`,
`RunsChartsCardConfig`).
"""

import base64
import json
import zlib
from typing import Any

from bench.trial.image_grid import image_key

KEY = "lanewise"
TAG = f"mlflow.sharedViewState.{KEY}"
PRIMARY = {"vocoder": "quality.nll_bits", "enhancer": "quality.si_sdr"}
PICTURED = {"vocoder": "gru.recurrent", "enhancer": "rnn1.recurrent"}
"""The matrix whose masks over training are shown."""
_SECTIONS = ("Trade-offs", "Arms", "Training", "Masks")


def view_tags(task: str, steps: int) -> dict[str, str]:
    """Return the experiment's tags that hold the view of trials of so many steps."""
    text = json.dumps(view(task, steps), sort_keys=True)
    return {TAG: f"deflate;{base64.b64encode(zlib.compress(text.encode(), 9)).decode('ascii')}"}


def view_path(experiment_id: str, charts: bool = False) -> str:
    """Return the address of the view below MLflow's own: the table of trials, or their charts."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"/#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}{mode}"


def view(task: str, steps: int) -> dict[str, Any]:
    """Return the page's state: columns, order and charts for a task.

    The grid of masks opens at step `steps`, the end of training; MLflow's own grids open at 0, where nothing is pruned.
    """
    primary = PRIMARY[task]
    params = ("arm", "prune.tile", "prune.sparsity", "reg.kind", "reg.tile", "seed.recover")
    metrics = (primary, "quality.pesq_wb", "quality.estoi", "speed.rtf", "speed.vs_dense", "size.bytes",
               "sparsity.achieved")  # fmt: skip
    columns = [f"params.`{key}`" for key in params] + [f"metrics.`{key}`" for key in metrics]
    columns += [
        "tags.`lanewise.state`",
        "tags.`lanewise.timing_verdict`",
        "attributes.`Models`",
        "attributes.`Dataset`",
    ]
    return {
        "searchFilter": "tags.`lanewise.kind` = 'trial'",
        "orderByKey": f"metrics.`{primary}`",
        "orderByAsc": task == "vocoder",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "runsHiddenMode": "FIRST_20_RUNS",
        "hideEmptyCharts": False,
        "isAccordionReordered": True,
        "autoRefreshEnabled": True,
        "compareRunSections": [_section(name) for name in _SECTIONS],
        "compareRunCharts": _charts(task, primary, steps),
    }


def _charts(task: str, primary: str, steps: int) -> list[dict[str, Any]]:
    def scatter(x: str, y: str) -> dict[str, Any]:
        axes = {"xaxis": {"type": "METRIC", "key": x}, "yaxis": {"type": "METRIC", "key": y}}
        return _chart("SCATTER", "Trade-offs", f"{x} {y}", **axes)

    def of_metric(kind: str, section: str, key: str) -> dict[str, Any]:
        more = {"xAxisKey": "step", "selectedMetricKeys": [key]} if kind == "LINE" else {}
        return _chart(kind, section, key, metricKey=key, **more)

    image = image_key(PICTURED[task])
    return [
        scatter("speed.rtf", primary),
        scatter("size.bytes", primary),
        _chart("PARALLEL", "Trade-offs", "parallel", selectedParams=["prune.tile", "prune.sparsity"],
               selectedMetrics=["speed.rtf", "size.bytes", primary], showAllRuns=False),
        *(of_metric("BAR", "Arms", key) for key in (primary, "speed.rtf", "speed.vs_dense", "size.bytes")),
        *(of_metric("LINE", "Training", f"curve.{key}") for key in ("valid_loss", "train_loss", "sparsity")),
        _chart("IMAGE", "Masks", image, imageKeys=[image], step=steps, showRunParams=False),
    ]  # fmt: skip


def _chart(kind: str, section: str, name: str, **more: Any) -> dict[str, Any]:
    common = {"uuid": f"lanewise {kind} {name}", "type": kind, "metricSectionId": f"lanewise {section}"}
    return {**common, "runsCountToCompare": 20, "deleted": False, "isGenerated": False, **more}


def _section(name: str) -> dict[str, Any]:
    columns, height_px = (1, 720) if name == "Masks" else (2, 360)
    return {"uuid": f"lanewise {name}", "name": name, "display": True, "isReordered": True, "deleted": False,
            "isGenerated": False, "columns": columns, "cardHeight": height_px}  # fmt: skip
