"""A small study written to disk as trials write it: plausible numbers, real wav files, one known truth per arm."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
CPU = "AMD EPYC 9R14 (Zen 4)"


@dataclass(frozen=True)
class Arm:
    """What is true of an arm: its NLL loss to dense-continued in bits, its speed, its structure."""

    name: str
    loss: float
    rtf: float
    tile: str | None = None
    sparsity: float | None = None
    reg: str = "none"
    seeds: Sequence[int] = (1,)
    state: str = "complete"
    verdict: str = "stable"


ARMS = (
    Arm("dense-continued", 0.0, 0.120),
    Arm("small-dense", 0.090, 0.052),
    Arm("lasso-1x1-s70", 0.055, 0.101, "1x1", 0.7, "lasso"),
    Arm("column-s70", 0.310, 0.049, "column", 0.7, "group"),
    Arm("simd-8x1-s70", 0.010, 0.056, "8x1", 0.7, "group"),
    Arm("simd-16x1-s70", 0.120, 0.051, "16x1", 0.7, "group"),
    Arm("simd-16x1-s90", 0.350, 0.034, "16x1", 0.9, "group"),
    Arm("random-16x1-s70", 0.420, 0.051, "16x1", 0.7),
)


ENHANCER_ARMS = (
    Arm("dense-continued", 0.0, 0.0040),
    Arm("small-dense", 1.10, 0.0016),
    Arm("weight-1x1-s90", 0.05, 0.0035, "1x1", 0.9, "lasso"),
    Arm("block-16x4-s80", 0.60, 0.0012, "16x4", 0.8, "group"),
    Arm("unit-s50", 0.90, 0.0018, "unit", 0.5, "group"),
    Arm("random-16x4-s80", 2.40, 0.0012, "16x4", 0.8),
)
"""`loss` is in dB of SI-SDR."""
KINDS = (("seen speaker", "environment", 0.0), ("seen speaker", "babble", 5.0), ("unseen speaker", "environment", 5.0),
         ("unseen speaker", "music", 10.0))  # fmt: skip
DENSE_BYTES = 3_875_840


@dataclass
class StudyFiles:
    """A study directory under construction."""

    root: Path
    utterances: int = 12
    audio: int = 4
    hidden: int = 64
    steps: int = 120
    name: str = "synthetic"
    number: int = 0
    about: dict[str, Any] = field(default_factory=dict)
    task: str = "vocoder"

    def write(self, arms: Sequence[Arm] = ARMS) -> Path:
        """Write every arm's trials, the references and `study.yaml`."""
        for arm in arms:
            for seed in arm.seeds:
                self.trial(arm, seed)
        self.references()
        about = {"name": self.name, **self.about}
        (self.root / "study.yaml").write_text(json.dumps(about), encoding="utf-8")  # JSON is YAML
        return self.root

    def ids(self) -> list[str]:
        return [f"conf-{i:02d}" for i in range(self.utterances)]

    def trial(self, arm: Arm, seed: int) -> Path:
        self.number += 1
        folder = self.root / "trials" / f"{self.number:04d}"
        folder.mkdir(parents=True)
        rng = np.random.default_rng([self.number, seed])
        utterances = [self._utterance(arm, i, rng, folder) for i in range(self.utterances)]
        masks = self._mask(arm, rng)
        if masks is not None:
            np.savez_compressed(folder / "masks.npz", **{self.matrix: masks})
        record = self._record(arm, seed, rng, utterances, masks)
        record["facts"] = {"snapshots": self._snapshots(masks, folder)}
        (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
        return folder

    @property
    def matrix(self) -> str:
        return "gru.w_hh" if self.task == "vocoder" else "rnn.0.w_hh"

    def _snapshots(self, masks: NDArray[np.bool_] | None, folder: Path) -> dict[str, Any]:
        """A dense start, then ever fewer weights: what a trial keeps of its matrix over training."""
        gates = 3 if self.task == "vocoder" else 4
        shape = (gates * self.hidden, self.hidden)
        rng = np.random.default_rng(self.number)
        weights = rng.normal(0, 0.1, shape)
        end = np.ones(shape, bool) if masks is None else masks
        steps = [0, self.steps // 4, self.steps // 2, self.steps]
        drop = rng.random(shape)
        kept = [end | (drop >= share) for share in (0.0, 0.5, 1.0, 1.0)]
        np.savez_compressed(folder / "snapshots.npz", **{self.matrix: np.stack([np.packbits(one) for one in kept])})
        counts = [np.histogram(np.clip(weights[one], -0.4, 0.4), 64, (-0.4, 0.4))[0].tolist() for one in kept]
        zeros = [int(one.size - one.sum()) for one in kept]
        facts = {"shape": list(shape), "gates": gates, "limit": 0.4, "zeros": zeros, "counts": counts}
        return {"steps": steps, "matrices": {self.matrix: facts}}

    def _utterance(self, arm: Arm, index: int, rng: np.random.Generator, folder: Path) -> dict[str, Any]:
        hard = 0.25 * np.sin(index)  # how hard a clip is: shared by all arms, which is why pairing pays
        audio = None
        if index < self.audio:
            audio = f"audio/{self.ids()[index]}.wav"
            write_wav(folder / audio, index, noise=0.01 + 0.2 * arm.loss, rng=rng)
            if self.task == "enhancer":
                write_wav(folder / f"audio/{self.ids()[index]}.clean.wav", index, 0.0, np.random.default_rng(index))
                write_wav(folder / f"audio/{self.ids()[index]}.noisy.wav", index, 0.5, np.random.default_rng(index))
        if self.task == "enhancer":
            return self._enhanced(arm, index, rng, audio, hard)
        return {
            "id": self.ids()[index],
            "nll_bits": 3.4 + hard + arm.loss + rng.normal(0, 0.004),
            "pesq_wb": 1.9 - 2 * arm.loss + 0.1 * hard + rng.normal(0, 0.02),
            "stoi": 0.95 - 0.1 * arm.loss + rng.normal(0, 0.003),
            "estoi": 0.88 - 0.2 * arm.loss + rng.normal(0, 0.004),
            "mcd_db": 5.2 + 4 * arm.loss + rng.normal(0, 0.05),
            "logf0_rmse": 0.12 + 0.1 * arm.loss + rng.normal(0, 0.01),
            "voicing_error": 0.08 + 0.1 * arm.loss + rng.normal(0, 0.004),
            "mrstft": 1.1 + arm.loss + rng.normal(0, 0.02),
            "visqol": 3.3 - arm.loss + rng.normal(0, 0.05),
            "dnsmos_sig": 3.1 - arm.loss + rng.normal(0, 0.04),
            "dnsmos_bak": 3.8 - arm.loss + rng.normal(0, 0.04),
            "dnsmos_ovr": 2.75 - arm.loss + rng.normal(0, 0.03),
            "reasons": {},
            "audio": audio,
        }

    def _enhanced(
        self, arm: Arm, index: int, rng: np.random.Generator, audio: str | None, hard: float
    ) -> dict[str, Any]:
        """A row of an enhancer's record: scores after, and before as `noisy.*`."""
        condition, kind, snr = KINDS[index % len(KINDS)]
        before = {
            "si_sdr": snr + hard, "sdr": snr + hard + 0.2, "pesq_wb": 1.4 + 0.05 * snr, "stoi": 0.80 + 0.01 * snr,
            "estoi": 0.60 + 0.015 * snr, "dnsmos_sig": 2.6, "dnsmos_bak": 2.1, "dnsmos_ovr": 2.0,
        }  # fmt: skip
        gains = {
            "si_sdr": 8.0 - 0.3 * snr, "sdr": 8.2 - 0.3 * snr, "pesq_wb": 0.6, "stoi": 0.06, "estoi": 0.12,
            "dnsmos_sig": 0.4, "dnsmos_bak": 1.5, "dnsmos_ovr": 0.7,
        }  # fmt: skip
        share = {"si_sdr": 1.0, "sdr": 1.0, "pesq_wb": 0.15}
        after = {
            key: value + gains[key] - share.get(key, 0.03) * arm.loss + rng.normal(0, 0.05 * share.get(key, 0.1))
            for key, value in before.items()
        }
        return {
            "id": self.ids()[index], "condition": condition, "kind": kind, "snr_db": snr, **after,
            **{f"noisy.{key}": value for key, value in before.items()},
            **{f"gain.{key}": after[key] - value for key, value in before.items()}, "reasons": {}, "audio": audio,
            **{key: f"audio/{self.ids()[index]}.{key[6:]}.wav" for key in ("audio_noisy", "audio_clean") if audio},
        }  # fmt: skip

    def _mask(self, arm: Arm, rng: np.random.Generator) -> NDArray[np.bool_] | None:
        if arm.sparsity is None or arm.tile is None:
            return None
        rows = self.hidden if arm.tile in ("column", "unit") else int(arm.tile.split("x")[0])
        gates = 3 if self.task == "vocoder" else 4
        tiles = rng.random((gates * self.hidden // rows, self.hidden)) >= arm.sparsity
        return np.repeat(tiles, rows, axis=0)

    def _record(
        self, arm: Arm, seed: int, rng: np.random.Generator, utterances: list[dict[str, Any]], masks: Any
    ) -> dict[str, Any]:
        us = arm.rtf * 1000
        density = 1.0 if masks is None else float(masks.mean())
        steps = list(range(0, self.steps + 1, 20))
        record = {
            "schema": 3,
            "study": {"name": self.name, "task": self.task},
            "trial": {
                "number": self.number, "name": f"{arm.name}/{seed}", "config_hash": f"{self.number:08x}",
                "started": "2026-11-22T10:00:00+00:00", "ended": "2026-11-22T10:01:30+00:00", "seconds": 90.0,
            },
            "state": arm.state,
            "reason": None if arm.state == "complete" else "the loss diverged at step 12",
            "params": {
                "arm": arm.name, "task": self.task, "reg.kind": arm.reg, "reg.tile": arm.tile, "reg.lambda": None,
                "prune.kind": None if arm.tile is None else "magnitude", "prune.tile": arm.tile,
                "prune.matrices": "gru.recurrent", "prune.sparsity": arm.sparsity, "simd.width": None,
                "model.hidden": self.hidden, "train.steps": self.steps, "seed.dense": 0, "seed.recover": seed,
            },
            "metrics": {
                "valid.loss": 3.5 + arm.loss, "speed.rtf": arm.rtf, "speed.rtf_dense": 0.12,
                "speed.kernel_us": us / 40, "speed.vs_dense": 0.12 / arm.rtf, "speed.vs_limit": 0.9,
                "size.bytes": int(4e6 * density), "size.nonzeros": int(1e6 * density),
                "sparsity.achieved": 1 - density,
            },
            "reasons": {},
            "tags": {"lanewise.version": "0.1.0", "lanewise.git": "0123abc", "lanewise.host.cpu": CPU,
                     "lanewise.timing_verdict_int8": arm.verdict},
            "utterances": utterances,
            "timing": {
                "isa": "avx512", "cpu": CPU, "verdict": arm.verdict, "nominal_ghz": 3.68, "rejected": 4,
                "why": "" if arm.verdict == "stable" else "2 samples accepted in 60 s", "pinned": 1,
                "samples_us": {
                    "model": list(us * (1 + np.abs(rng.normal(0, 0.004, 21)))),
                    "dense": list(120 * (1 + np.abs(rng.normal(0, 0.004, 21)))),
                    "kernel": list(us / 40 * (1 + np.abs(rng.normal(0, 0.004, 21)))),
                    "limit": list(us / 40 * 0.9 * (1 + np.abs(rng.normal(0, 0.002, 21)))),
                },
                "product": {"bytes": int(60_000 * us / 50), "operations": int(25_000 * us / 50), "peak_gops": 118.0},
                "parts_us": {"conditioning": 0.3, "gru": us / 40, "heads": 1.1, "sampling": 0.6, "synthesis": 0.2},
            },
            "curves": {
                "step": steps, "train_loss": [3.9 - 0.003 * s for s in steps],
                "valid_loss": [3.8 + arm.loss * s / self.steps - 0.002 * s for s in steps],
                "sparsity": [(arm.sparsity or 0.0) * min(1.0, 2 * s / self.steps) for s in steps],
                "lambda": [0.0 for _ in steps],
            },
            "facts": {},
            "artifacts": {
                "snapshots": ["snapshots.npz"],
                "audio": [row["audio"] for row in utterances if row["audio"]],
                "masks": [] if masks is None else ["masks.npz"],
            },
        }  # fmt: skip
        if self.task == "enhancer":
            record["metrics"] = self._enhancer_metrics(arm, density)
            del record["timing"]["samples_us"]["kernel"], record["timing"]["samples_us"]["limit"]
            record["timing"]["parts_us"] = {}
        else:
            record["metrics"]["speed.rtf_int8"] = arm.rtf / 3
        return record

    def _enhancer_metrics(self, arm: Arm, density: float) -> dict[str, float | None]:
        int8 = DENSE_BYTES / 4
        return {
            "valid.loss": -8.0 + arm.loss, "speed.rtf": arm.rtf, "speed.rtf_dense": 0.004,
            "speed.frame_us": arm.rtf * 16_000, "speed.vs_dense": 0.004 / arm.rtf,
            "size.bytes": int(DENSE_BYTES * max(density, 0.05)), "size.f32_bytes": DENSE_BYTES,
            "size.dense": int8, "size.bitmap": int8 * (density + 1 / 8), "size.relative": int8 * density * 1.6,
            "size.blocks": int8 * density * 1.1, "size.entropy": int8 * (0.75 * density + 0.01),
            "size.entropy_bound": int8 * 0.75 * density, "size.activation_bytes": 9_800,
            "accel.edge_npu.us": 400 * density, "accel.edge_npu.speedup": 1 / density,
            "accel.dsp.us": 900 * density + 100, "accel.dsp.speedup": 1000 / (900 * density + 100),
            "size.compression": DENSE_BYTES / (int8 * (0.75 * density + 0.01)), "sparsity.achieved": 1 - density,
            "vela.bytes": None,
        }  # fmt: skip

    def references(self) -> None:
        rng = np.random.default_rng(7)
        if self.task == "enhancer":  # what goes in and what should come out stands in every record
            return
        truth = {
            "recording": (4.64, 1.0, 2.98),
            "copy-synthesis": (4.14, 0.996, 2.95),
            "griffin-lim": (3.17, 0.974, 2.94),
        }
        systems = {}
        for noise, (system, (pesq, estoi, dnsmos)) in enumerate(truth.items()):
            rows = []
            for index, name in enumerate(self.ids()):
                audio = f"references/{system}/{name}.wav" if index < self.audio else None
                if audio:
                    write_wav(self.root / audio, index, noise=0.004 * noise, rng=rng)
                rows.append(
                    {
                        "id": name, "nll_bits": None, "pesq_wb": pesq, "estoi": estoi,
                        "dnsmos_ovr": dnsmos + rng.normal(0, 0.02), "reasons": {"nll_bits": "not a model"},
                        "audio": audio,
                    }
                )  # fmt: skip
            systems[system] = rows
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "references.json").write_text(json.dumps({"systems": systems}), encoding="utf-8")


def write_wav(path: Path, index: int, noise: float, rng: np.random.Generator) -> None:
    """A voiced glide with a syllable rhythm: about a second, 16 bit."""
    t = np.arange(RATE + 1600 * index) / RATE
    phase = 2 * np.pi * np.cumsum(110 + 30 * np.sin(2 * np.pi * (0.7 + 0.1 * index) * t)) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 24))
    rhythm = 0.5 - 0.5 * np.cos(2 * np.pi * 3 * t)
    samples = 0.12 * rhythm * voice + noise * 0.1 * rng.standard_normal(len(t))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1, 1), RATE, subtype="PCM_16")


def edit_record(folder: Path, change: Any) -> None:
    """Apply `change(record)` to the record of a trial's folder."""
    path = folder / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def folder_of(root: Path, arm: str) -> Path:
    """The first trial folder of an arm."""
    for path in sorted(root.glob("trials/*/record.json")):
        if json.loads(path.read_text(encoding="utf-8"))["params"]["arm"] == arm:
            return path.parent
    raise AssertionError(f"no trial of {arm}")
