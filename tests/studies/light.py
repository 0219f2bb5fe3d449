"""A light trial for tests of the harness: same shape as the real one, a few "steps" with a checkpoint after each.

Its results depend on the settings alone; `progress.log` in its folder has one line per step really computed, so that a
test can see repeated work. Environment: LIGHT_STEP_S slows it down; LIGHT_FAIL names an arm that fails.
"""

import hashlib
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.config.flat import config_hash, flatten
from bench.config.schema import TrialConfig
from bench.trial.provenance import provenance
from bench.trial.record import Record, empty_metrics
from bench.trial.tracking import Tracking

STEPS = 5


def light_trial(
    config: TrialConfig, folder: Path, *, study: str, number: int, cache: Path, tracking: Tracking | None
) -> Record:
    """Run the light trial; see `studies.worker.Runner`."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.json"
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"step": 0, "sum": 0.0}
    started = datetime.now(UTC).isoformat()
    while state["step"] < STEPS:
        time.sleep(float(os.environ.get("LIGHT_STEP_S", "0")))
        state = {"step": state["step"] + 1, "sum": state["sum"] + _unit(f"{config_hash(config)} {state['step']}")}
        partial = folder / "checkpoint.partial"
        partial.write_text(json.dumps(state))
        os.replace(partial, checkpoint)
        with (folder / "progress.log").open("a") as log:
            log.write(f"{number} {state['step']}\n")
    failed = config.arm == os.environ.get("LIGHT_FAIL")
    metrics = empty_metrics()
    if not failed:
        metrics |= {"valid.nll_bits": state["sum"], "speed.rtf": 0.5 - 0.4 * (config.prune.sparsity or 0.0)}
    record = Record(
        study={"name": study, "task": "vocoder"},
        trial={
            "number": number,
            "name": f"t{number:04d}",
            "config_hash": config_hash(config),
            "started": started,
            "ended": datetime.now(UTC).isoformat(),
            "seconds": 1.0,
        },
        state="failed" if failed else "complete",
        reason="asked to fail" if failed else None,
        params=flatten(config),
        metrics=metrics,
        tags=provenance(config),
    )
    record.write(folder)
    return record


def _unit(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


if __name__ == "__main__":  # one worker in a process of its own: light.py STUDY.yaml FOLDER
    from studies.folder import StudyFolder
    from studies.run import Options, run_study
    from studies.study_file import load

    run_study(
        load(sys.argv[1]), StudyFolder(Path(sys.argv[2])), Options(recordings=False, tracked=False), runner=light_trial
    )
