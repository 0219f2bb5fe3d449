"""A trial in a few lines of Markdown, for MLflow's description of its run. Pure."""

from pathlib import Path

from bench.trial.pictures import STEPS
from bench.trial.record import Record

NOTE = "mlflow.note.content"
"""Tag that MLflow shows as the description of a run or an experiment."""

SHOWN = {
    "quality.nll_bits": ("NLL, bits a sample", "{:.3f}", 1.0),
    "quality.si_sdr": ("SI-SDR, dB", "{:.2f}", 1.0),
    "quality.pesq_wb": ("PESQ-wb", "{:.2f}", 1.0),
    "speed.rtf": ("RTF", "{:.4f}", 1.0),
    "speed.vs_dense": ("times the dense engine's speed", "{:.2f}", 1.0),
    "size.bytes": ("packed model, kB", "{:.0f}", 1e-3),
    "sparsity.achieved": ("pruned", "{:.1%}", 1.0),
}
"""Label, form and factor of the metrics that a description names."""
_MARKS = set("\\`*_{}[]()#+!|~>")


def describe(record: Record, experiment_id: str, run_id: str) -> str:
    """Return the headline of a trial, its main figures with their intervals, and links to what it left."""
    arm, state = plain(str(record.params.get("arm"))), record.state.replace("_", " ")
    seeds = f"seeds {record.params.get('seed.dense')} (dense), {record.params.get('seed.recover')} (after)"
    head = (
        f"**{arm}**: {state}"
        + (f" ({plain(record.reason)})" if record.reason else "")
        + f". {setting(record)}; {seeds}."
    )
    rows = [row for key, (label, form, factor) in SHOWN.items() if (row := _row(record, key, label, form, factor))]
    table = ["", "| | | 95 % interval |", "|---|---|---|", *rows] if rows else []
    verdict = record.tags.get("lanewise.timing_verdict")
    timing = ["", f"Timing: {plain(verdict)} on {plain(record.tags.get('lanewise.cpu', '?'))}."] if verdict else []
    base = f"#/experiments/{experiment_id}/runs/{run_id}"
    return "\n".join(
        [head, *table, *timing, "", " · ".join(f"[{word}]({base}/{rest})" for word, rest in _links(record))]
    )


def setting(record: Record) -> str:
    """Return what makes the arm, in words."""
    params = record.params
    words = []
    if params.get("prune.kind") not in (None, "none"):
        words.append(
            f"{params.get('prune.kind')}, tile {params.get('prune.tile')}, sparsity {params.get('prune.sparsity')}"
        )
    if params.get("reg.kind") not in (None, "none"):
        words.append(f"{params.get('reg.kind')} on {params.get('reg.tile')}")
    return plain("; ".join(words)) or "dense"


def plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    line = "".join(c if c.isprintable() else " " for c in text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in _MARKS else c for c in line)


def _row(record: Record, key: str, label: str, form: str, factor: float) -> str | None:
    value, low, high = (record.metrics.get(name) for name in (key, f"{key}.ci_low", f"{key}.ci_high"))
    if value is None:
        return None
    bounds = "" if low is None or high is None else f"{form.format(low * factor)} to {form.format(high * factor)}"
    return f"| {label} | {form.format(value * factor)} | {bounds} |"


def _links(record: Record) -> list[tuple[str, str]]:
    kept = record.artifacts
    found = [("record", "artifacts/record.json"), ("configuration", "artifacts/config.yaml")]
    for word, kind in (("audio", "audio"), ("spectrograms", "spectrograms"), ("masks", "masks")):
        if kept.get(kind):
            found.append((word, f"artifacts/{Path(str(kept[kind][0])).as_posix()}"))
    if kept.get(STEPS):
        found.append(("masks over training", "model-metrics"))
    if kept.get("traceback"):
        found.append(("traceback", f"artifacts/{kept['traceback']}"))
    return found
