"""Time of a packed enhancer per frame: gated, beside its dense engine version.

One sample is a stream over 8 frames (128 ms of speech at a hop of 256), from samples to samples; its memory is taken
before the clock starts. RTF = time / duration of the audio.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import LanewiseError
from bench.measure.speed.gate import Candidate, GateRules, measure
from bench.measure.speed.rtf import is_dense, median_parts, scale_parts

SAMPLE_FRAMES = 8


@dataclass(frozen=True)
class EnhancerSpeed:
    """Speed of a packed enhancer on this host; times in microseconds.

    Attributes
    ----------
    frame_us, frame_us_dense
        Time of one frame (a hop of samples), everything included; of the model and of its dense version.
    rtf, rtf_dense
        Processing seconds per second of audio, one core: the same in other units.
    vs_dense
        frame_us_dense / frame_us.
    parts_us
        `frame_us` split into analysis (transform and features), recurrent layers, mask (both full layers) and
        resynthesis; the shares come from runs of the same interleaved measurement that read the clock after each part.
    parts_sum_us
        What the parts of those runs add up to, as measured, before the scaling to `frame_us`.
    dense
        What the dense figure was taken from: "given", "itself" or "twin" (same sizes, random weights).
    format, isa
        Number format of the matrices (the dense twin has the same), and instruction set.
    samples, rejected
        Accepted samples of the model, and rejected samples of the whole run.
    samples_us, rejected_us
        Raw accepted samples per frame of model and dense, and rejected ones (the latest 21 each).
    verdict, why
        "stable" or "unstable", of model and dense; and what was objected to whom.
    nominal_ghz, cpu, pinned
        Nominal clock, CPU and the core measured on.
    """

    frame_us: float
    frame_us_dense: float
    rtf: float
    rtf_dense: float
    vs_dense: float
    parts_us: dict[str, float]
    parts_sum_us: float
    dense: str
    format: str
    isa: str
    samples: int
    rejected: int
    samples_us: dict[str, list[float]]
    rejected_us: dict[str, list[float]]
    verdict: str
    why: str
    nominal_ghz: float
    cpu: str
    pinned: int | None

    def to_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)

    def timing(self) -> dict[str, Any]:
        """The `timing` part of a trial's record."""
        keys = ("isa", "cpu", "pinned", "nominal_ghz", "verdict", "why", "rejected", "samples_us", "rejected_us")
        return {key: getattr(self, key) for key in (*keys, "parts_us", "dense")}


def measure_enhancer(
    model_path: str | os.PathLike[str],
    isa: str | None = None,
    rules: GateRules | None = None,
    *,
    dense_path: str | os.PathLike[str] | None = None,
    seed: int = 0,
    hidden: int | None = None,
    fc: int | None = None,
) -> EnhancerSpeed:
    """Measure a packed enhancer and its dense version in one gated run.

    Parameters
    ----------
    model_path
        A `*.lwm` file.
    isa
        As in `bench.engine.resolve_isa`.
    rules
        Of the gate; tests shorten it.
    dense_path
        The dense version; None packs a twin with random weights into a temporary file (the engine's speed does not
        depend on the values of its weights), or takes the model itself if it is dense and has all of its units.
    seed
        Of the random order of samples.
    hidden, fc
        Units of each recurrent and of the full layer of the dense version that is packed as twin, where the model lost
        some; by default the model's own.

    Raises
    ------
    LanewiseError
        If a file is missing or damaged, or `dense_path` is not dense, or of another front end.
    """
    from bench.engine import Enhancer
    from bench.engine.vocoder import read_header

    model = Enhancer(model_path, isa)
    whole = whole_dims(model.header["dims"], hidden, fc)
    with tempfile.TemporaryDirectory() as folder:
        if dense_path is not None:
            source = "given"
            dense = Enhancer(dense_path, isa)
            _check_dense(dense_path, dense.header, whole)
        elif is_dense(model.header) and whole == model.header["dims"]:
            source, dense = "itself", model
        else:
            source, twin = "twin", Path(folder) / "dense.lwm"
            pack_twin(twin, read_header(model_path), hidden, fc)
            dense = Enhancer(twin, isa)
    parts: list[dict[str, float]] = []

    def split(times: int) -> float:
        parts.extend(model.parts_us(SAMPLE_FRAMES) for _ in range(times))
        return sum(sum(p.values()) for p in parts[-times:]) * SAMPLE_FRAMES * 1e3

    candidates = [
        Candidate("model", lambda times: sum(model.time_frames(SAMPLE_FRAMES) for _ in range(times))),
        Candidate("dense", lambda times: sum(dense.time_frames(SAMPLE_FRAMES) for _ in range(times))),
        Candidate("parts", split),
    ]
    run = measure(candidates, rules=rules, seed=seed)
    timings = {name: run.timings[name] for name in ("model", "dense")}
    us = {name: timing.us / SAMPLE_FRAMES for name, timing in timings.items()}
    hop_us = model.hop / model.sample_rate_hz * 1e6
    objections = {name: timing.why for name, timing in timings.items() if timing.why}
    return EnhancerSpeed(
        frame_us=us["model"],
        frame_us_dense=us["dense"],
        rtf=us["model"] / hop_us,
        rtf_dense=us["dense"] / hop_us,
        vs_dense=us["dense"] / us["model"],
        parts_us=scale_parts(median_parts(parts), us["model"]),
        parts_sum_us=run.us("parts") / SAMPLE_FRAMES,
        dense=source,
        format=number_format(model.header),
        isa=model.isa,
        samples=len(timings["model"].samples_us),
        rejected=run.rejected,
        samples_us={name: [s / SAMPLE_FRAMES for s in timing.samples_us] for name, timing in timings.items()},
        rejected_us={name: [s / SAMPLE_FRAMES for s in timing.rejected_us] for name, timing in timings.items()},
        verdict="unstable" if objections else "stable",
        why="; ".join(f"{name}: {why}" for name, why in objections.items()),
        nominal_ghz=run.nominal_ghz,
        cpu=run.cpu,
        pinned=run.core,
    )


def whole_dims(dims: Mapping[str, Any], hidden: int | None, fc: int | None) -> dict[str, Any]:
    """Sizes of the model before it lost units."""
    given = {} if hidden is None else {f"hidden{layer}": hidden for layer in range(dims["layers"])}
    return dict(dims) | given | ({} if fc is None else {"fc": fc})


def number_format(header: Mapping[str, Any]) -> str:
    """Number format of an enhancer's matrices."""
    return str(header["matrices"][0]["number"])


def pack_twin(path: Path, header: Mapping[str, Any], hidden: int | None = None, fc: int | None = None) -> None:
    """Pack a dense enhancer of the header's sizes, or with more units, and format with random weights."""
    from bench.engine.pack_enhancer import pack_enhancer, shapes

    rng = np.random.default_rng(0)
    tensors = {
        key: rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)
        for key, shape in shapes(whole_dims(header["dims"], hidden, fc)).items()
    }
    tensors["feature_std"] = np.ones_like(tensors["feature_std"])
    # What the packer reads of an architecture beside the tensors' shapes.
    front_end = {key: header["dims"][key] for key in ("cell", "n_fft", "hop", "low_hz", "sample_rate_hz")}
    pack_enhancer(path, front_end, tensors, fmt=number_format(header))


def _check_dense(path: str | os.PathLike[str], dense: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
    if not is_dense(dense):
        raise LanewiseError(f"{os.fspath(path)}: expected a dense packed enhancer to compare with, this one is sparse")
    units = ("hidden", "fc", "mask_bits")  # units may have been lost; the other is their format's
    differing = [k for k, size in whole.items() if not k.startswith(units) and dense["dims"].get(k) != size]
    if differing:
        raise LanewiseError(
            f"{os.fspath(path)}: another architecture than the model's ({', '.join(sorted(differing))} differ); "
            "expected its dense version"
        )
