"""Whole trials of enhancers on a few recordings: trained in integers, packed, run by the engine, scored and weighed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from bench.config.load import validate
from bench.config.schema import TrialConfig
from bench.config.yaml_lines import ConfigError, parse
from bench.engine.enhancer import Enhancer as PackedEnhancer
from bench.learn.enhancement import si_sdr_db
from bench.measure import accelerator
from bench.models.checkpoint import save_enhancer
from bench.models.enhancer import Enhancer, EnhancerArch
from bench.models.quantised import Quantisation, QuantisedEnhancer
from bench.trial.record import Record, empty_metrics
from bench.trial.run import run_trial

TINY = """\
task: enhancer
data: {corpus: "folder:%(corpus)s", noise: "folder:%(noise)s"}
model: {init: "%(init)s"}
train: {steps: 6, batch: 2, seconds: 0.5, validate_every: 3, checkpoint_every: 3}
quant: {kind: int8}
pack: {format: int8}
measure: {metrics: [si_sdr, estoi], audio_clips: 1, speed: false, test_clips: 4, valid_clips: 2}
"""


@pytest.fixture(scope="module")
def folder(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("enhancer")
    rng = np.random.default_rng(0)
    for index in range(3):
        path = root / "noise" / "hiss" / f"n{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.05 * rng.standard_normal(16_000), 16_000)
    torch.manual_seed(0)
    save_enhancer(root / "dense.safetensors", Enhancer(EnhancerArch(hidden=16, fc=16, mels=16)), {})
    integers = QuantisedEnhancer(EnhancerArch(hidden=16, fc=16, mels=16), Quantisation())
    save_enhancer(root / "integers.safetensors", integers, {})
    save_enhancer(root / "deep.safetensors", Enhancer(EnhancerArch(hidden=16, layers=3, fc=16, mels=16)), {})
    return {"corpus": tiny_corpus, "noise": root / "noise", "init": root / "dense.safetensors"}


def config(folder: dict[str, Path], *overrides: str) -> TrialConfig:
    return validate(parse(TINY % folder, "tiny.yaml").override(overrides))


def trial(folder: dict[str, Path], out: Path, *overrides: str) -> Record:
    record = run_trial(config(folder, *overrides), out, cache=folder["init"].parent / "cache")
    assert record.state == "complete", record.reason
    return Record.read(out)


def test_every_number_of_a_joint_arm(folder: dict[str, Path], tmp_path: Path) -> None:
    record = trial(folder, tmp_path, "prune.kind=magnitude", "prune.tile=4x4", "prune.sparsity=0.5")
    assert record.study["task"] == "enhancer"
    assert set(empty_metrics("enhancer")) <= set(record.metrics)
    for key, value in record.metrics.items():
        if value is None and not key.endswith((".ci_low", ".ci_high", ".n", ".n_failed")):
            assert record.reasons[key], key
    assert len(record.utterances) == 4
    for row in record.utterances:
        assert row["gain.si_sdr"] == pytest.approx(row["si_sdr"] - row["noisy.si_sdr"])
        assert row["kind"] in ("hiss", "coloured")
    gains = [row["gain.si_sdr"] for row in record.utterances]
    assert record.metrics["quality.gain.si_sdr"] == pytest.approx(float(np.mean(gains)))
    assert record.metrics["sparsity.achieved"] == pytest.approx(0.5, abs=0.02)
    arch = EnhancerArch(hidden=16, fc=16, mels=16)
    assert record.metrics["size.f32_bytes"] == 4 * arch.parameters
    assert record.metrics["size.dense"] > record.metrics["size.bitmap"]  # type: ignore[operator]
    heard = [row for row in record.utterances if row["audio"]]
    assert len(heard) == 1
    clips = {key: read(tmp_path / heard[0][key]) for key in ("audio", "audio_noisy", "audio_clean")}
    assert len({len(clip) for clip in clips.values()}) == 1
    # what was kept is what the packed model makes of what was kept, whatever its level
    packed = PackedEnhancer(tmp_path / "model.lwm")
    assert si_sdr_db(clips["audio"], packed.enhance(clips["audio_noisy"])) > 20
    assert si_sdr_db(clips["audio_clean"], clips["audio_noisy"]) == pytest.approx(heard[0]["noisy.si_sdr"], abs=0.1)
    assert len(record.artifacts["masks"]) == 7
    assert (tmp_path / record.artifacts["spectrograms"][0]).is_file()


def read(path: Path) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = soundfile.read(path, dtype="float32")[0]
    return samples


def test_units_leave_a_smaller_network_and_weights_a_dense_kernel(folder: dict[str, Path], tmp_path: Path) -> None:
    unit = trial(folder, tmp_path / "unit", "prune.kind=magnitude", "prune.tile=unit", "prune.sparsity=0.9")
    dense = trial(folder, tmp_path / "dense")
    weight = trial(folder, tmp_path / "weight", "prune.kind=magnitude", "prune.tile=1x1", "prune.sparsity=0.5")
    assert unit.metrics["size.bytes"] < dense.metrics["size.bytes"]  # type: ignore[operator]
    assert unit.metrics["size.dense"] < dense.metrics["size.dense"]  # type: ignore[operator]
    assert unit.metrics["size.activation_bytes"] < dense.metrics["size.activation_bytes"]  # type: ignore[operator]
    dense_us, unit_us = (float(record.metrics["accel.units-sram.us"] or 0) for record in (dense, unit))
    assert unit.metrics["accel.units-sram.speedup"] == pytest.approx(dense_us / unit_us)
    assert unit_us < dense_us
    assert "as_dense" not in unit.facts
    assert len(weight.facts["as_dense"]) == 6  # the engine has no int8 kernel for single weights
    assert weight.metrics["size.bytes"] == dense.metrics["size.bytes"]
    vectors = 2 * 64 + 16 + 16 + 2 * 16  # biases, and what normalises features
    pruned = dense.metrics["size.nonzeros"] - vectors  # type: ignore[operator]
    assert weight.metrics["size.nonzeros"] == pytest.approx(vectors + pruned / 2, abs=3)  # zeros that it stores, too
    assert weight.metrics["size.bitmap"] < dense.metrics["size.dense"]  # type: ignore[operator]


def test_float_arms_say_what_only_integers_have(folder: dict[str, Path], tmp_path: Path) -> None:
    record = trial(folder, tmp_path, "quant.kind=none", "pack.format=f32")
    assert record.metrics["size.compression"] is None
    assert record.reasons["size.compression"] == "the arm computes in float32"
    assert not any(key.startswith("accel.") for key in record.metrics)


def test_integers_that_the_engine_does_not_have_are_judged_in_torch(folder: dict[str, Path], tmp_path: Path) -> None:
    record = trial(folder, tmp_path, "quant.weights=tensor", "quant.activations=static")
    assert all(row["si_sdr"] is not None for row in record.utterances)
    assert "a scale for each row" in record.reasons["speed.rtf"]


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ("pack.format=f32", "pack.format", "set it to int8"),
        ("quant.kind=none", "pack.format", "set quant.kind"),
        ("quant.kind=none quant.weights=tensor", "quant.kind", "mean nothing"),
        ("model.init=dense", "model.init", "train-enhancer"),
        ("model.init=shiped", "model.init", "no such checkpoint"),
        ("model.hidden=20", "model.hidden", "has 16"),
        ("model.head=20", "model.head", "no such thing"),
        ("pack.delta=0.1", "pack.delta", "no such thing"),
        ("data.noise=hiss", "data.noise", "folder:PATH"),
        ("data.noise=folder:nowhere", "data.noise", "no such folder"),
        ("measure.metrics=mcd_db", "measure.metrics", "of task enhancer"),
        ("prune.kind=magnitude prune.sparsity=0.5 prune.matrices=gru.recurrent", "prune.matrices", "rnn1.input"),
        ("prune.kind=magnitude prune.sparsity=1 prune.tile=unit", "prune.sparsity", "leaves none"),
        ("data.corpus=voicebank:/ data.noise=folder:/", "data.noise", "its own noise"),
        ("prune.kind=magnitude prune.schedule=offline recover.kind=rewind", "recover.kind", "nothing is trained"),
        ("reg.kind=skip_update", "reg.kind", "no such thing"),
        ("task=vocoder model.init=shipped pack.format=f32", "quant.kind", "no such thing"),
    ],
)
def test_bad_settings_are_named(folder: dict[str, Path], change: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(folder, *change.split())
    assert any(
        ".".join(map(str, item.keys)).startswith(key) and message in str(item) for item in caught.value.problems
    ), caught.value


def test_silent_validation_speech_is_named_before_anything_is_trained(folder: dict[str, Path], tmp_path: Path) -> None:
    time = np.arange(12_000) / 16_000
    for name in ("p1_1", "p2_1", "p3_silent"):
        clean = 0.1 * np.sin(900 * time) * (name != "p3_silent")
        for part in ("trainset_28spk", "testset"):
            for kind, audio in (("clean", clean), ("noisy", clean + 0.01 * np.cos(5000 * time))):
                path = tmp_path / "vb" / f"{kind}_{part}_wav" / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, audio, 16_000)
    setting = ("data.noise=embedded", f"data.corpus=voicebank:{tmp_path / 'vb'}")
    record = run_trial(config(folder, *setting), tmp_path / "out")
    assert record.state == "failed"
    assert "trainset_28spk.p3_silent: silent" in str(record.reason)


def test_a_start_that_computes_in_integers_stays_so(folder: dict[str, Path]) -> None:
    start = f"model.init={folder['init'].with_name('integers.safetensors')}"
    with pytest.raises(ConfigError, match="computes in int8; set it to int8"):
        config(folder, start, "quant.kind=none", "pack.format=f32")
    assert config(folder, start).quant.kind == "int8"


def test_every_matrix_of_the_checkpoint_is_pruned_by_default(folder: dict[str, Path]) -> None:
    found = config(folder, f"model.init={folder['init'].with_name('deep.safetensors')}").prune.matrices
    layers = [f"rnn{layer}.{part}" for layer in (1, 2, 3) for part in ("input", "recurrent")]
    assert found == (*layers, "fc.hidden", "fc.mask")


def test_an_edited_accelerator_is_asked_again(
    folder: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trial(folder, tmp_path / "a").metrics["accel.none-sram.us"]
    slower = tmp_path / "accelerators.yaml"
    slower.write_text(re.sub(r"clock_mhz: \S+", "clock_mhz: 1", accelerator.SHIPPED.read_text()))
    monkeypatch.setattr(accelerator, "SHIPPED", slower)
    assert trial(folder, tmp_path / "a").metrics["accel.none-sram.us"] > 10 * before  # type: ignore[operator]


def test_noisy_scores_are_made_once(folder: dict[str, Path], tmp_path: Path) -> None:
    first = trial(folder, tmp_path / "a", "seed.recover=1")
    second = trial(folder, tmp_path / "b", "seed.recover=2")
    assert [row["noisy.si_sdr"] for row in first.utterances] == [row["noisy.si_sdr"] for row in second.utterances]
    kept = list((folder["init"].parent / "cache" / "noisy").glob("*/scores.json"))
    assert len(kept) == 1
    assert json.loads(kept[0].read_text()).keys() == {row["id"] for row in first.utterances}
    other = trial(folder, tmp_path / "c", "seed.recover=1", "measure.metrics=si_sdr,sdr,estoi")
    assert all(row["noisy.sdr"] is not None for row in other.utterances)
