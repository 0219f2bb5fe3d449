"""What a study would do: its trials, which are done or cached, and what the rest would cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.config.flat import flatten
from bench.config.schema import TrialConfig
from bench.urls import redact
from studies.folder import StudyFolder
from studies.plan import Planned
from studies.run import ended
from studies.stacking import StackPlan
from studies.states import ENDED
from studies.status import align
from studies.study_file import Study

if TYPE_CHECKING:
    from studies.rows import Row

STEP_S = 0.15
"""Seconds of one optimizer step: GRU 256, 16 x 400 GRU steps, a busy two-core host (measured once; only for plans)."""
_SCORE_S = 1.2
"""Seconds to synthesise and score one test clip with every metric."""
_SPEED_S = 15.0
"""Seconds that gated timing takes."""


def estimate_s(config: TrialConfig) -> float:
    """Return a rough cost of a trial in seconds, dense pre-training (shared and cached) not included."""
    size = (config.model.hidden or 256) / 256
    work = config.train.batch * config.train.segment / (16 * 400)
    tries = len(config.tune.grid or (0,))
    clips = config.measure.test_clips or 40
    return (
        STEP_S * config.train.steps * tries * size * work + _SCORE_S * clips + (_SPEED_S if config.measure.speed else 0)
    )


def plan_rows(
    trials: Sequence[Planned], known: "Sequence[Row]", stacks: StackPlan | None = None
) -> list[dict[str, Any]]:
    """Return one flat row per planned trial: `number, arm, state, skip, estimate_s, duplicate_of` and its settings.

    `state` is `new`, `skipped` (then `skip` says why) or what the study's database says of the trial; where it has run,
    `estimate_s` is 0. With `stacks`, `stack` is the number of the stack that trains its arm, counted from 1, or null,
    and `alone` then says why it has none.
    """
    placed = {job.number: at for at, jobs in enumerate(stacks.stacks, 1) for job in jobs} if stacks else {}
    reasons = {number: why for number, _, why in stacks.alone} if stacks else {}
    first: dict[str, int] = {}
    measured = [row.seconds for row in known if row.state == "complete" and row.seconds]
    rows = []
    for number, planned in enumerate(trials):
        row = known[number] if number < len(known) else None
        digest = planned.config_hash
        twin = first.setdefault(digest, number) if digest else number
        done = row is not None and ended(row)
        typical = sum(measured) / len(measured) if measured else None
        cost = (
            0.0
            if done or twin != number or planned.skip
            else typical
            if typical or planned.config is None
            else estimate_s(planned.config)
        )
        rows.append(
            {
                "number": number,
                "arm": planned.arm,
                "state": row.state if row else "skipped" if planned.skip else "new",
                "skip": planned.skip,
                "estimate_s": cost,
                "duplicate_of": twin if twin != number else None,
                "config_hash": digest,
                **({"stack": placed.get(number), "alone": reasons.get(number)} if stacks else {}),
                **(flatten(planned.config) if planned.config else {}),
            }
        )
    return rows


def plan_text(study: Study, folder: StudyFolder, rows: Sequence[dict[str, Any]], workers: int) -> str:
    """Return the plan for people."""
    done = sum(row["state"] in ENDED for row in rows)
    costs = [row["estimate_s"] for row in rows if row["estimate_s"] is not None]
    unknown = [row for row in rows if row["estimate_s"] is None]
    if unknown and costs:
        costs += [sum(costs) / len(costs)] * len(unknown)
    lines = [
        f"{study.name}: {len(rows)} trials, {done} done; mode {study.mode}; objectives {', '.join(study.objectives)}",
        f"folder {folder.root}, database {redact(folder.storage_url())}",
        f"cached stages: {_cached(folder)}",
    ]
    cells = [["trial", "arm", "seed", "steps", "regularizer", "pruned", "state", "est. s"]]
    for row in rows:
        cells.append(
            [
                str(row["number"]),
                row["arm"] or "(drawn by the sampler)",
                _text(row.get("seed.recover")),
                _text(row.get("train.steps")),
                _pair(row, "reg"),
                " ".join(filter(None, [_pair(row, "prune"), _text(row.get("prune.sparsity"), "")])),
                f"same as {row['duplicate_of']}" if row["duplicate_of"] is not None else row["state"],
                "?" if row["estimate_s"] is None else f"{row['estimate_s']:.0f}",
            ]
        )
    minutes = sum(costs) / 60 / workers
    count = f"{workers} worker{'s' if workers > 1 else ''}"
    lines += [f"skipped {row['arm']}: {row['skip']}" for row in rows if row["skip"]]
    total = f"estimated cost: {minutes:.0f} minutes with {count}, dense training not counted"
    return "\n".join([*lines, *align(cells), total])


def _cached(folder: StudyFolder) -> str:
    """Return how many results of each shared stage the study's cache holds (unfinished ones have hidden names)."""
    stages = sorted(path for path in folder.cache.glob("*") if path.is_dir() and path.name != "features")
    counts = {path.name: sum(1 for entry in path.iterdir() if not entry.name.startswith(".")) for path in stages}
    return ", ".join(f"{count} {stage}" for stage, count in counts.items() if count) or "none"


def _pair(row: dict[str, Any], section: str) -> str:
    kind = row.get(f"{section}.kind")
    return "-" if kind in (None, "none") else f"{kind} {row.get(f'{section}.tile')}"


def _text(value: Any, missing: str = "-") -> str:
    return missing if value is None else f"{value:g}" if isinstance(value, float) else str(value)
