"""Whole trials on a tiny corpus: results, resumption after every kind of end, failures recorded, caching."""

import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.engine.vocoder import read_header
from bench.errors import LanewiseError, UsageError
from bench.trial import judging, pictures
from bench.trial.context import StopEarly
from bench.trial.record import Record, empty_metrics
from bench.trial.run import run_trial
from tests.trial.conftest import tiny_config


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> tuple[Path, Record]:
    folder = tmp_path_factory.mktemp("trial")
    return folder, run_trial(tiny_config(tiny_corpus), folder, study="tiny", number=3, cache=shared_cache)


def figures(record: Record) -> dict[str, Any]:
    """What must not depend on how often a trial was interrupted."""
    return {"metrics": record.metrics, "utterances": record.utterances, "curves": record.curves}


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was done already and must not be done again")


def test_a_trial_ends_with_a_complete_record(finished: tuple[Path, Record]) -> None:
    folder, record = finished
    assert record == Record.read(folder)
    assert record.state == "complete"
    assert record.trial["name"] == "t0003-simd-8x1-s70-seed0"
    assert set(record.metrics) == set(empty_metrics())
    assert record.metrics["quality.stoi.n"] == 2
    assert {
        key for key, value in record.metrics.items() if value is None and not key.endswith((".ci_low", ".ci_high"))
    } == {key for key in record.reasons if key in record.metrics}
    assert record.reasons["speed.rtf"] == "measure.speed is false"
    assert record.tags["lanewise.data_hash"].endswith("-mel1")
    assert record.reasons["valid.loss.restarted"] == "recover.kind is finetune: no weights are put back"
    milestones = [record.metrics[f"valid.loss{phase}"] for phase in (".start", ".penalised", ".pruned", "")]
    assert all(value is not None and 0 < value < 12 for value in milestones)


def test_the_packed_model_is_as_sparse_as_asked(finished: tuple[Path, Record]) -> None:
    _, record = finished
    tiles = 3 * 16 * 16 // 8
    assert record.metrics["sparsity.achieved"] == pytest.approx(round(0.7 * tiles) / tiles)
    assert record.curves["sparsity"][-1] == pytest.approx(record.metrics["sparsity.achieved"])


def test_its_artifacts_are_there(finished: tuple[Path, Record]) -> None:
    folder, record = finished
    listed = [item for value in record.artifacts.values() for item in (value if isinstance(value, list) else [value])]
    kinds = {"config", "model", "audio", "masks", "masks_by_step", "snapshots", "spectrograms"}
    assert set(record.artifacts) == kinds
    assert len(record.artifacts["audio"]) == len(record.artifacts["spectrograms"]) == 1
    assert record.artifacts["masks"] == ["masks/gru.recurrent.png", "masks.npz"]
    steps = record.facts["snapshots"]["steps"]
    assert (steps[0], steps[-1]) == (0, record.curves["step"][-1])
    assert record.artifacts["masks_by_step"] == [f"masks/steps/gru.recurrent@{step}.png" for step in steps]
    assert all((folder / item).stat().st_size > 100 for item in listed)


def test_curves_share_one_axis(finished: tuple[Path, Record]) -> None:
    _, record = finished
    assert record.curves["step"] == list(range(13))
    assert {len(values) for values in record.curves.values()} == {13}
    assert [value is not None for value in record.curves["valid_loss"]][::4] == [True] * 4


def test_running_it_again_does_nothing(
    finished: tuple[Path, Record], tiny_corpus: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, record = finished
    for target in ("bench.learn.arm.train_arm", "bench.learn.dense.train_dense", "bench.engine.pack.pack_vocoder"):
        monkeypatch.setattr(target, refuse)
    for name in ("nlls", "synthesise", "score"):
        monkeypatch.setattr(judging, name, refuse)
    monkeypatch.setattr(pictures, "draw", refuse)
    again = run_trial(tiny_config(tiny_corpus), folder, study="tiny", number=3, cache=shared_cache)
    assert figures(again) == figures(record)
    assert again.trial["started"] == record.trial["started"]
    assert again.trial["seconds"] == record.trial["seconds"]


def test_an_interrupted_trial_goes_on_to_the_same_result(
    finished: tuple[Path, Record], tiny_corpus: Path, tmp_path: Path
) -> None:
    config = tiny_config(tiny_corpus)
    steps: list[int] = []

    def interrupt(step: int, bits: float) -> None:
        steps.append(step)
        if len(steps) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(config, tmp_path, number=3, on_step=interrupt)
    record = Record.read(tmp_path)
    assert record.state == "interrupted"
    assert record.reasons["quality.nll_bits"].startswith("the trial ended before")
    record = run_trial(config, tmp_path, number=3, on_step=interrupt)
    assert steps == list(range(1, 13)), "every step exactly once"
    assert figures(record) == figures(finished[1])


def _run_until_killed(config: Any, folder: Path) -> None:
    def kill(step: int, bits: float) -> None:
        if step == 7:
            os.kill(os.getpid(), signal.SIGKILL)

    run_trial(config, folder, number=3, on_step=kill)


def test_a_killed_trial_goes_on_from_its_checkpoint(
    finished: tuple[Path, Record], tiny_corpus: Path, tmp_path: Path
) -> None:
    config = tiny_config(tiny_corpus)
    process = multiprocessing.get_context("spawn").Process(target=_run_until_killed, args=(config, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "record.json").exists()
    steps: list[int] = []
    record = run_trial(config, tmp_path, number=3, on_step=lambda step, _: steps.append(step))
    assert steps == list(range(5, 13)), "from the checkpoint of step 4"
    assert figures(record) == figures(finished[1])


def test_a_failed_stage_keeps_what_was_found_and_is_resumed(
    finished: tuple[Path, Record],
    tiny_corpus: Path,
    tmp_path: Path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(tiny_corpus)
    with monkeypatch.context() as patch:

        def broken(*_: Any) -> Any:
            raise RuntimeError("no speech today")

        patch.setattr(judging, "score", broken)
        failed = run_trial(config, tmp_path, number=3, cache=shared_cache)
    assert failed.state == "failed"
    assert failed.reason == "RuntimeError: no speech today"
    assert "no speech today" in (tmp_path / "traceback.txt").read_text()
    assert failed.metrics["valid.loss"] is not None
    assert failed.metrics["size.bytes"] is not None
    assert failed.reasons["quality.stoi"] == "the trial ended before (RuntimeError: no speech today)"
    assert Record.read(tmp_path) == failed
    monkeypatch.setattr(judging, "nlls", refuse)
    monkeypatch.setattr("bench.learn.arm.train_arm", refuse)
    record = run_trial(config, tmp_path, number=3, cache=shared_cache)
    assert record.state == "complete"
    assert not (tmp_path / "traceback.txt").exists()
    assert figures(record) == figures(finished[1])


def test_a_trial_may_be_stopped_early(tiny_corpus: Path, tmp_path: Path, shared_cache: Path) -> None:
    def stop(step: int, bits: float) -> None:
        if step == 3:
            raise StopEarly("dominated with 95 % confidence")

    config = tiny_config(tiny_corpus, "seed.recover=5")
    record = run_trial(config, tmp_path, cache=shared_cache, on_step=stop)
    assert (record.state, record.reason) == ("stopped_early", "dominated with 95 % confidence")
    assert record.metrics["speed.rtf"] is None


def test_a_host_that_cannot_be_timed_does_not_spoil_the_trial(
    tiny_corpus: Path, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise LanewiseError("no clock")

    monkeypatch.setattr("bench.measure.speed.rtf.measure_rtf", fails)
    record = run_trial(tiny_config(tiny_corpus, "measure.speed=true"), tmp_path, cache=shared_cache)
    assert record.state == "complete"
    assert record.reasons["speed.rtf"] == "no clock"
    assert record.tags["lanewise.timing_verdict"] == "not timed: no clock"
    assert not (tmp_path / "stages" / "speed.json").exists(), "a failure is not kept: the next run times again"


def test_a_delta_network_is_what_is_packed_and_judged(tiny_corpus: Path, tmp_path: Path, shared_cache: Path) -> None:
    dense = ("reg={}", "prune={}", "measure.metrics=[]")
    plain = run_trial(tiny_config(tiny_corpus, *dense), tmp_path / "plain", cache=shared_cache)
    found = run_trial(tiny_config(tiny_corpus, *dense, "pack.delta=0.05"), tmp_path / "delta", cache=shared_cache)
    assert read_header(tmp_path / "delta" / "model.lwm")["delta"] == pytest.approx(0.05)
    assert found.curves == plain.curves  # the same training
    assert found.metrics["valid.loss"] != plain.metrics["valid.loss"]  # but chosen by what is packed
    assert found.metrics["quality.nll_bits"] != plain.metrics["quality.nll_bits"]
    assert found.facts["delta"]["threshold"] == 0.05
    assert 0 < found.facts["delta"]["skipped"] < 1
    assert "delta" not in plain.facts
    assert found.reasons["quality.nll_bits_int8"] == "a delta network runs in f32 only"


def _timing(verdict: str, rtf: float, samples: int) -> Any:
    class Result:
        rtf_dense = kernel_us = vs_dense = vs_limit = 1.0

        def timing(self) -> dict[str, Any]:
            return {"verdict": verdict, "samples_us": {"model": [1.0] * samples, "dense": [1.0] * samples}}

    result: Any = Result()
    result.rtf = rtf
    return result


def test_an_unstable_timing_is_tried_again_and_the_better_one_kept(
    tiny_corpus: Path, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings = [
        _timing("unstable", 0.1, 5),
        _timing("unstable", 0.2, 3),  # fewer samples: no better
        LanewiseError("no clock"),
        _timing("unstable", 0.3, 9),
        _timing("stable", 0.4, 2),
    ]

    def measured(*_: Any, **__: Any) -> Any:
        found = timings.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr("bench.measure.speed.rtf.measure_rtf", measured)
    config = tiny_config(tiny_corpus, "measure.speed=true")
    found = []
    for _ in range(6):  # the sixth measures nothing
        record = run_trial(config, tmp_path, cache=shared_cache)
        found.append((record.metrics["speed.rtf"], record.tags["lanewise.timing_verdict"]))
    rtfs, verdicts = zip(*found, strict=True)
    assert rtfs == (0.1, 0.1, 0.1, 0.3, 0.4, 0.4)
    assert verdicts == ("unstable",) * 4 + ("stable",) * 2


def test_a_changed_package_has_the_clips_scored_again(
    finished: tuple[Path, Record],
    tiny_corpus: Path,
    tmp_path: Path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "trial"))
    monkeypatch.setattr(judging, "nlls", refuse)
    made: list[int] = []
    score = judging.score
    monkeypatch.setattr(judging, "score", lambda *given: made.append(1) or score(*given))
    for said, runs in (("pystoi (not installed)", 1), ("pystoi (not installed)", 1), ("pystoi 9", 2)):
        monkeypatch.setattr("bench.measure.sound.metric.installed", lambda name, said=said: said)
        record = run_trial(tiny_config(tiny_corpus), folder, study="tiny", number=3, cache=shared_cache)
        assert record.tags["lanewise.metric.stoi"] == said
        assert len(made) == runs


def test_a_changed_recording_changes_everything(
    finished: tuple[Path, Record], tiny_corpus: Path, tmp_path: Path, shared_cache: Path
) -> None:
    import soundfile

    changed = tmp_path / "corpus"
    shutil.copytree(tiny_corpus, changed)
    name = (changed / "split.csv").read_text().splitlines()[1].split(",")[0]
    audio, rate = soundfile.read(changed / f"{name}.flac", dtype="int16")
    audio[1000] += 1
    soundfile.write(changed / f"{name}.flac", audio, rate, subtype="PCM_16")
    record = run_trial(tiny_config(changed), tmp_path / "trial", cache=shared_cache)
    before = finished[1]
    assert record.tags["lanewise.data_hash"] != before.tags["lanewise.data_hash"]
    assert record.tags["lanewise.model_sha256"] != before.tags["lanewise.model_sha256"]
    assert record.metrics["quality.nll_bits"] != before.metrics["quality.nll_bits"]


def test_arms_share_the_dense_model(
    finished: tuple[Path, Record],
    tiny_corpus: Path,
    tmp_path: Path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.learn.dense.train_dense", refuse)
    continued = ["reg.kind=none", "reg.tile=null", "prune.kind=none", "prune.sparsity=null"]
    dense = run_trial(tiny_config(tiny_corpus, *continued), tmp_path / "dense", cache=shared_cache)
    random = ["reg.kind=none", "reg.tile=null", "prune.kind=random", "prune.tile=8x1"]
    control = run_trial(tiny_config(tiny_corpus, *random), tmp_path / "random", cache=shared_cache)
    assert dense.state == control.state == "complete", (dense.reason, control.reason)
    assert (dense.metrics["sparsity.achieved"], dense.metrics["train.lambda"]) == (0, None)
    assert control.metrics["sparsity.achieved"] == finished[1].metrics["sparsity.achieved"]
    starts = {item.metrics["valid.loss.start"] for item in (dense, control, finished[1])}
    assert len(starts) == 1, "every arm starts from the same model"
    assert len({item.metrics["valid.loss"] for item in (dense, control, finished[1])}) == 3
    assert list(dense.params) == list(control.params) == list(finished[1].params)


def test_an_arm_and_its_dense_model_are_trained_where_the_configuration_says(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    trained: list[str] = []

    class ReachedError(Exception):
        pass

    def note(self: torch.nn.Module, device: str) -> torch.nn.Module:
        trained.append(str(device))
        if device != "cpu":
            raise ReachedError  # this host may have no such device
        return self

    monkeypatch.setattr(torch.nn.Module, "to", note)
    for device in ("cuda", "cpu"):
        record = run_trial(tiny_config(tiny_corpus, f"train.device={device}"), tmp_path / device)
        assert record.state == ("failed" if device == "cuda" else "complete"), record.reason
    assert trained == ["cuda", "cpu", "cpu"], "the dense model, then the arm"
    assert record.params["train.device"] == "cpu"


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="needs a CUDA device")
def test_training_on_a_cuda_device_comes_near_that_on_the_cpu(
    finished: tuple[Path, Record], tiny_corpus: Path, tmp_path: Path
) -> None:
    record = run_trial(tiny_config(tiny_corpus, "train.device=cuda"), tmp_path)
    assert record.state == "complete", record.reason
    assert record.metrics["valid.loss"] == pytest.approx(finished[1].metrics["valid.loss"], abs=0.05)
    assert record.metrics["sparsity.achieved"] == finished[1].metrics["sparsity.achieved"]


def test_a_grid_of_lambdas_is_decided_on_validation(tiny_corpus: Path, tmp_path: Path, shared_cache: Path) -> None:
    config = tiny_config(tiny_corpus, "tune={key: reg.lambda, grid: [1e-4, 0.5, 1]}")
    record = run_trial(config, tmp_path, cache=shared_cache)
    assert record.state == "complete", record.reason
    tried = record.facts["tune"]
    assert (tried["key"], tried["values"]) == ("reg.lambda", [1e-4, 0.5, 1])
    best = int(np.argmin(tried["valid"]))
    assert record.metrics["train.lambda"] == tried["values"][best] == record.metrics["train.tuned"]
    assert record.metrics["valid.loss"] == tried["valid"][best]
    assert [curve[-1] for curve in tried["curves"]] == tried["valid"]


def test_a_value_with_which_training_diverges_is_out(
    tiny_corpus: Path, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.learn.fit import DivergedError
    from bench.trial import learning

    real = learning._arm

    def diverging(trial: Any) -> Any:
        if trial.config.train.lr > bad:
            raise DivergedError("training diverged at step 3 (loss nan); lower the learning rate")
        return real(trial)

    monkeypatch.setattr(learning, "_arm", diverging)
    config, bad = tiny_config(tiny_corpus, "tune={key: train.lr, grid: [1e-4, 0.5]}", "measure.speed=false"), 0.1
    record = run_trial(config, tmp_path / "one", cache=shared_cache)
    assert (record.state, record.metrics["train.tuned"]) == ("complete", 1e-4)
    bad = 0.0
    failed = run_trial(config, tmp_path / "none", cache=shared_cache)
    assert failed.state == "failed"
    assert "training diverged at step 3" in str(failed.reason)


def test_a_folder_of_another_trial_is_refused(finished: tuple[Path, Record], tiny_corpus: Path) -> None:
    with pytest.raises(UsageError, match="holds trial t0003-simd-8x1-s70-seed0 of another configuration"):
        run_trial(tiny_config(tiny_corpus, "seed.recover=9"), finished[0])


def test_mask_density_is_the_local_mean() -> None:
    mask = np.random.default_rng(0).random((770, 130)) < 0.3
    density = pictures.mask_density(mask, most=100)
    assert density.shape == (97, 65)
    slow = [[mask[r : r + 8, c : c + 2].mean() for c in range(0, 130, 2)] for r in range(0, 770, 8)]
    np.testing.assert_allclose(density, slow, rtol=1e-6)


def test_an_arm_is_judged_in_int8_beside_f32_and_alone(
    finished: tuple[Path, Record], tiny_corpus: Path, tmp_path: Path, shared_cache: Path
) -> None:
    assert "no int8 kernel for 8x1" in finished[1].reasons["quality.nll_bits_int8"]
    tiles = ("prune.tile=16x1", "reg.tile=16x1")
    beside, alone = (
        run_trial(tiny_config(tiny_corpus, *tiles, f"pack.format={fmt}"), tmp_path / fmt, cache=shared_cache)
        for fmt in ("f32", "int8")
    )
    figures = beside.metrics
    assert (tmp_path / "f32" / "model-int8.lwm").read_bytes() == (tmp_path / "int8" / "model.lwm").read_bytes()
    assert figures["size.bytes_int8"] == alone.metrics["size.bytes"] != figures["size.bytes"]
    assert figures["quality.nll_bits_int8"] == pytest.approx(alone.metrics["quality.nll_bits"])
    assert figures["quality.nll_bits_int8"] != figures["quality.nll_bits"]
    assert figures["quality.nll_bits_int8"] == pytest.approx(figures["quality.nll_bits"], abs=0.3)
    assert alone.params["arm"] == "simd-16x1-s70-int8"
    assert "itself is packed as int8" in alone.reasons["speed.rtf_int8"]
    assert alone.curves == beside.curves, "never trained again"
