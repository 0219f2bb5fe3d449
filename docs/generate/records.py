"""The page of results: the record of a trial, its metrics and tags, and the same in MLflow and in a report's table."""

import inspect
from dataclasses import fields

from bench.measure.encodings import ENCODINGS
from bench.measure.sound.registry import SCORES
from bench.measure.speed.enhancer import EnhancerSpeed
from bench.measure.speed.kernels import COLUMNS
from bench.measure.speed.rtf import RtfResult
from bench.trial.mirror import STATUS
from bench.trial.record import ENHANCER_SCORES, SCHEMA, STATES, UTTERANCE_METRICS, Record, empty_metrics
from docs.generate.markdown import code, page, table
from reports.columns import Column, quality_columns, trial_columns
from reports.tasks import TASKS

NAME = "results"

WORDS = {
    "valid.loss": "What everything is chosen by, on validation clips: NLL in bits per sample, or minus the mean SI-SDR "
    "gain in dB. After recovery; of a vocoder with `pack.delta` as the engine computes it.",
    "valid.loss.start": "The same of the dense model that the arm starts from.",
    "valid.loss.penalised": "The same after the regularizer's phase, before anything is pruned.",
    "valid.loss.pruned": "The same when pruning has ended, before recovery.",
    "valid.loss.restarted": "The same after kept weights were put back or drawn anew (`recover.kind` rewind, scratch).",
    "train.lambda": "Lambda that the regularizer used; the last one, if it was controlled.",
    "train.tuned": "Value of `tune.key` that validation chose.",
    "speed.rtf_dense": "Real-time factor of the dense version, timed interleaved with it.",
    "vela.bytes": "Bytes of the weights as Arm's compiler stores them.",
    "vela.flash_us": "Time of a frame by Arm's compiler, weights in flash.",
    "vela.sram_us": "Time of a frame by Arm's compiler, weights in SRAM.",
}
"""Metrics of which a report's columns say nothing, or less."""

TAGS = {
    "lanewise.version": "of Lanewise",
    "lanewise.git": "commit that it ran from, or `none`",
    "lanewise.git_dirty": "whether the checkout had uncommitted changes",
    "lanewise.cpu": "name of the CPU",
    "lanewise.isa": "instruction set that the engine used",
    "lanewise.config_hash": "16 digits that name what the configuration computes",
    "lanewise.trial_number": "number in the study",
    "lanewise.data_hash": "of the recordings and the definition of the features",
    "lanewise.init_hash": "of the checkpoint that the arm started from; `dense` or `scratch` where there is none",
    "lanewise.metric.NAME": "packages, with versions, that compute a sound metric",
    "lanewise.model_sha256": "of `model.lwm`",
    "lanewise.timing_verdict": "`stable`, `unstable`, or why nothing was timed",
    "lanewise.timing_verdict_int8": "the same of the int8 twin",
    "lanewise.tuned": "the key that was tuned, and the validation loss at each value",
    "lanewise.stop_reason": "why the trial did not complete; empty where it did",
    "lanewise.rehearsal": "`yes`: a rehearsal, its figures are made up",
}
"""Tags of a record."""

MLFLOW_TAGS = {
    "lanewise.kind": "`study` (the parent run) or `trial`",
    "lanewise.study": "name of the study",
    "lanewise.trial_id": "`STUDY/NNNN`: finds a trial's run",
    "lanewise.state": "the record's `state`; `running` before there is a record",
    "lanewise.reason": "the record's `reason`",
    "lanewise.record_sha256": "of the `record.json` that the run was made from",
    "lanewise.objectives": "parent run: the study's objectives",
    "lanewise.margin.METRIC": "parent run: the margins that the study fixed",
}
"""Tags that MLflow's runs have beside those of the record."""

CURVES = {
    "step": "optimiser step; 0 is the dense model",
    "train_loss": "training loss of the step: bits per sample, or what `train.loss` names",
    "valid_loss": "validation loss, every `train.validate_every` steps and where a phase ends",
    "sparsity": "pruned share of `prune.matrices`",
    "lambda": "strength of the regularizer",
}

FIELDS = {
    "study": "`name` and `task`",
    "trial": "`number`, `name`, `config_hash`, `started` and `ended` (ISO 8601, UTC), and `seconds`",
    "state": f"one of {', '.join(map(code, STATES))}",
    "reason": "why the state is not `complete`; null where it is",
    "params": "flat dotted settings ([the keys of a trial](configuration.md)), the same on every trial; null where one "
    "does not apply",
    "metrics": "flat dotted numbers, below; null where one is missing",
    "reasons": "metric -> why it is missing",
    "tags": "`lanewise.*`, below: identity and circumstances",
    "utterances": "one row per test clip: `id`, scores (null where missing), `reasons`, `audio` (path or null)",
    "timing": "raw timing samples of model, dense, kernel and read limit, accepted and rejected; ISA, CPU, core, "
    "clock, verdict",
    "curves": "training curves, below",
    "artifacts": "paths below the trial's folder",
    "facts": "`methods`: what regularizer and pruner have to say (thresholds, bits, storage); `tune`: the values that "
    "were tried, each one's outcome and curve; `delta`: threshold and share of columns skipped; `as_dense`: matrices "
    "of an enhancer that run dense, zeros and all",
    "schema": f"version of this layout: {SCHEMA}",
}

STATE_WORDS = {
    "complete": "every stage has run",
    "failed": "a stage raised: `reason`, and `traceback.txt` beside the record",
    "stopped_early": "the study ended it, since it could not join the front (`stop_dominated`)",
    "skipped": "the study's grid holds a combination that cannot exist; `reason` says why",
    "infeasible": "complete, but outside the study's `constraints`",
    "interrupted": "saved; it goes on when run again, or is timed by a quiet host",
}

FILES = {
    "record.json": "the record",
    "config.yaml": "the resolved configuration; `lanewise trial` runs it again",
    "model.lwm": "the packed model ([packed-format.md](../packed-format.md))",
    "model_int8.lwm": "the same in int8, where its tiles have such kernels",
    "masks.npz": "masks (out, in) of the pruned matrices, by state-dict key",
    "snapshots.npz": "masks on the way through training, one bit a weight (`facts.snapshots` says of which steps)",
    "audio/": "synthesised or enhanced clips, `measure.audio_clips` of them",
    "masks/, spectrograms/": "pictures",
    "stages/": "what each stage found, with the hash of its inputs: why a resumed trial repeats nothing",
    "traceback.txt": "of a failed trial",
}


def record_fields() -> list[list[str]]:
    """Return the record's keys with what they hold."""
    known = [item.name for item in fields(Record)]
    assert set(FIELDS) == set(known), set(FIELDS) ^ set(known)
    return [[code(name), FIELDS[name]] for name in known]


def attributes(of: type) -> list[list[str]]:
    """Return the attributes of a class, as its docstring has them, each line of names with its meaning."""
    found: list[list[str]] = []
    known = {item.name for item in fields(of)}
    for line in inspect.cleandoc(str(of.__doc__)).splitlines():
        if line and not line.startswith(" ") and set(line.split(", ")) <= known:
            found.append([", ".join(map(code, line.split(", "))), ""])
        elif found and line.startswith("    "):
            found[-1][1] = f"{found[-1][1]} {line.strip()}".strip()
    named = {name.strip("`") for row in found for name in row[0].split(", ")}
    assert named == known, named ^ known
    return found


def metric_rows() -> list[list[str]]:
    """Return every metric of a record that can be named beforehand: key, task, better, meaning."""
    columns: dict[str, Column] = {}
    for task in TASKS.values():
        speed, size = trial_columns(empty_metrics(task.name))
        for column in (*quality_columns(task), *speed, *size):
            columns.setdefault(column.key, column)
    tasks: dict[str, list[str]] = {}
    for name in TASKS:
        for key in empty_metrics(name):
            if not key.endswith((".ci_low", ".ci_high", ".n", ".n_failed")):
                tasks.setdefault(key, []).append(name)
    rows = []
    for key, of in tasks.items():
        shown = columns.get(key)
        words = WORDS.get(key) or (shown.help if shown else None)
        assert words, f"{key}: no words for it"
        better = "lower" if key.startswith(("valid.", "vela.")) else shown.better if shown else ""
        rows.append([code(key), "both" if len(of) > 1 else of[0], better, words])
    return rows


def text() -> str:
    """Return the page."""
    assert set(STATE_WORDS) == set(STATES) == set(STATUS), "states"
    assert set(UTTERANCE_METRICS) | set(ENHANCER_SCORES) <= {*SCORES, "nll_bits"}, "scores"
    states = [[code(state), STATUS[state], STATE_WORDS[state]] for state in STATES]
    sizes = {column.key: column.help for column in trial_columns([f"size.{name}" for name in ENCODINGS])[1]}
    encodings = ", ".join(f"`size.{name}` ({sizes[f'size.{name}'].rstrip('.').lower()})" for name in ENCODINGS)
    return page(
        "# Results: records, metrics, MLflow, tables",
        "## record.json",
        "`trials/NNNN/record.json` is the truth of a trial; MLflow and reports are made from it and can be made again. "
        "Reports also read records from MLflow's artifacts.",
        table(["key", "holds"], record_fields()),
        table(["state", "in MLflow", "meaning"], states),
        "A trial's folder:",
        table(["file", "holds"], [[code(name), words] for name, words in FILES.items()]),
        "## Metrics",
        "Each `quality.*` metric has its 95 % interval over utterances (`.ci_low`, `.ci_high`), the utterances it "
        "rests on (`.n`) and those without a score (`.n_failed`). A metric that is missing is null, and `reasons` says "
        "why. Times are in microseconds.",
        table(["metric", "task", "better", "meaning"], metric_rows()),
        "Of an enhancer there are also, by what encodings and assumed accelerators there are: "
        f"{encodings}, `size.entropy_bound` (what no coder of the same contexts can go below); `accel.NAME.us`, "
        "`accel.NAME.speedup` ([accelerators.md](../accelerators.md)).",
        "Rows of `utterances` hold the same scores without `quality.`; of an enhancer also those of the noisy input "
        "(`noisy.NAME`), the gain (`gain.NAME`), `condition`, `kind` and `snr_db`.",
        "## Curves",
        table(["curve", "holds"], [[code(key), words] for key, words in CURVES.items()]),
        "Lists of equal length, null where a step has no value. In MLflow: metrics `curve.NAME`, thinned to what one "
        "batch takes.",
        "## Tags",
        table(["tag", "holds"], [[code(key), words] for key, words in TAGS.items()]),
        "## In MLflow",
        "A study is an experiment with one parent run, a trial a child run of it. Parameters are the record's `params` "
        "([the keys of a trial](configuration.md), `none` where one does not apply; every run has every key), metrics, "
        "tags and artifacts the record's; `utterances.json` is the table of scores. Beside them:",
        table(["tag", "holds"], [[code(key), words] for key, words in MLFLOW_TAGS.items()]),
        "The parent run counts trials by state (`trials.complete`, ...). The shared view (`lanewise dashboard` prints "
        "its links) opens the grid of masks at `train.steps`; the page of a single run opens it at step 0, which "
        "cannot be chosen there: move its slider to the end.",
        "## table.csv",
        "One row for each arm, its seeds together, then one for each reference system: `arm`, `kind` (arm or "
        "reference), `n_seeds`, `seed.*`, the parameters; each metric with `_ci_low`, `_ci_high`, `_n`, `_n_failed`; "
        "of quality metrics the paired difference to dense-continued (`_diff`, `_diff_ci_low`, `_diff_ci_high`, "
        "`_diff_n`, `_verdict`); `timing.verdict`. A report adds `speed.theory` (what Amdahl's law promises) and, of "
        "enhancers, `size.smallest` (the smallest encoding).",
        "## JSON of `lanewise rtf`",
        "Of a vocoder; `model` is its path, or the shape that `--like` named:",
        table(["key", "holds"], attributes(RtfResult)),
        "Of an enhancer:",
        table(["key", "holds"], attributes(EnhancerSpeed)),
        "## JSON of `lanewise kernels`",
        "A list of rows, one for each kernel (`kernel` is `lanewise`, or another library's name) and shape: "
        f"{', '.join(map(code, COLUMNS))}. `us` is the time of a product, `limit_us` that of reading its bytes, "
        "`vs_limit` = `limit_us` / `us`, `vs_best_dense` = best dense time of the same format and run "
        "(of `best_dense`) / `us`. "
        "`call_us`, part of `us`, is what another library's call costs by itself; `gops` counts two operations per "
        "stored weight, `ops_per_byte` those over the bytes of weights and indices.",
    )
