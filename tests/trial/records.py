"""A complete record as a trial writes it, for tests."""

from typing import Any

from bench.trial.record import UTTERANCE_METRICS, Record, empty_metrics


def example(number: int = 3, state: str = "complete", **params: Any) -> Record:
    """Return a record with two utterances, curves and every metric key."""
    return Record(
        study={"name": "demo", "task": "vocoder"},
        trial={
            "number": number,
            "name": f"t{number:04d}-simd-16x1-s70-seed1",
            "config_hash": "0123456789abcdef",
            "started": "2026-11-22T10:00:00+00:00",
            "ended": "2026-11-22T10:01:30+00:00",
            "seconds": 90.0,
        },
        state=state,
        reason=None if state == "complete" else "RuntimeError: boom",
        params={"arm": "simd-16x1-s70", "reg.kind": "group_lasso", "reg.lambda": 1e-4, "prune.score": None, **params},
        metrics=empty_metrics() | {"quality.nll_bits": 2.5, "speed.rtf": 0.03, "valid.loss": 2.4},
        reasons={"quality.pesq_wb": "no utterance detected"},
        tags={"lanewise.version": "0.1.0", "lanewise.isa": "avx2"},
        utterances=[
            {"id": name, **dict.fromkeys(UTTERANCE_METRICS), "nll_bits": 2.5, "reasons": {}, "audio": None}
            for name in ("a", "b")
        ],
        timing={"isa": "avx2", "verdict": "stable"},
        curves={"step": [0, 10, 20], "train_loss": [3.0, 2.8, 2.6], "lambda": [None, 1e-4, 0.0]},
        artifacts={"model": "model.lwm", "config": "config.yaml", "audio": ["audio/a.wav"], "masks": []},
    )
