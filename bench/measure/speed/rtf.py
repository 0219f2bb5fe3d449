"""Real-time factor of a packed vocoder: gated, beside its dense engine version and the read limit.

One sample is a run over 8 mel frames (80 ms of speech at a hop of 160), from features to waveform: that is one block of
the engine's conditioning, so every part weighs what it weighs in a long utterance. RTF = time / duration of the audio.
"""

import os
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import LanewiseError
from bench.measure.speed import roofs
from bench.measure.speed.gate import Candidate, GateRules, measure

SAMPLE_FRAMES = 8
RECURRENT = "gru.w_hh"


@dataclass(frozen=True)
class RtfResult:
    """Speed of a packed model on this host; times in microseconds.

    Attributes
    ----------
    rtf, rtf_dense
        Processing seconds per second of audio, one core; of the model and of the dense version of its architecture.
    us_per_step
        Time of one GRU step with everything around it (`rtf` in other units).
    parts_us
        The same split into conditioning, gru, heads, sampling, synthesis; sums to `us_per_step`. The shares come from
        runs of the same interleaved measurement that read the clock after each part.
    skipped
        Share of the recurrent columns that a delta threshold left out over the frames timed (0 without one): as much as
        in voiced speech, less than in silence.
    parts_sum_us
        What the parts of those runs that the gate accepted add up to, as measured, before the scaling to `us_per_step`.
    kernel_us, limit_us
        The recurrent product alone, and the fastest way to read its bytes (`roofs.limits`).
    product
        The recurrent product on the roofline: `bytes` that it reads, `operations` (2 per stored weight) and `peak_gops`
        of its number format on this ISA, where that has an instruction for it.
    vs_dense, vs_limit
        rtf_dense / rtf, and limit_us / kernel_us.
    dense
        What the dense figure was taken from: "given", "itself" or "twin" (same sizes, random weights).
    format, isa
        Number format of the recurrent matrix (the dense twin has the same), and instruction set.
    samples, rejected
        Accepted samples of the model, and rejected samples of the whole run.
    samples_us
        Raw accepted samples: model, dense (per step), kernel, limit (per product).
    rejected_us
        The same of rejected samples, the latest 21 each.
    verdict, why
        "stable" or "unstable", of the figures that `rtf` and `vs_dense` rest on; and what was objected to whom. An
        objection to kernel or limit alone touches `vs_limit`, and leaves the verdict.
    nominal_ghz, cpu, pinned
        Nominal clock, CPU and the core measured on.
    """

    rtf: float
    rtf_dense: float
    us_per_step: float
    parts_us: dict[str, float]
    skipped: float
    parts_sum_us: float
    kernel_us: float
    limit_us: float
    product: dict[str, float]
    vs_dense: float
    vs_limit: float
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
        return {key: getattr(self, key) for key in (*keys, "parts_us", "product", "dense")}


def measure_rtf(
    model_path: str | os.PathLike[str],
    dense_path: str | os.PathLike[str] | None = None,
    isa: str | None = None,
    *,
    rules: GateRules | None = None,
    seed: int = 0,
    hidden: int | None = None,
) -> RtfResult:
    """Measure a packed model, its dense version and the read limit in one gated run.

    Parameters
    ----------
    model_path
        A `*.lwm` file.
    dense_path
        The dense version of the same architecture; None packs a twin with random weights into a temporary file (the
        engine's speed does not depend on the values of its weights), or takes the model itself if it is dense (and
        skips no columns, and has all of its units).
    isa
        As in `bench.engine.resolve_isa`.
    rules
        Of the gate; tests shorten it.
    seed
        Of the random order of samples.
    hidden
        GRU units of the dense version that is packed as twin, where the model lost some; by default the model's own.

    Raises
    ------
    LanewiseError
        If a file is missing or damaged, or `dense_path` is of another architecture or not dense.
    """
    from bench.engine import Vocoder
    from bench.engine.matvec import bind
    from bench.engine.stored import read_matrix
    from bench.engine.vocoder import read_header

    header = read_header(model_path)
    model = Vocoder(model_path, isa)
    with tempfile.TemporaryDirectory() as folder:
        if dense_path is not None:
            source = "given"
            _check_dense(dense_path, read_header(dense_path), header)
            dense = Vocoder(dense_path, isa)
        elif is_dense(header) and model.delta is None and hidden in (None, header["dims"]["hidden"]):
            source, dense = "itself", model
        else:
            source = "twin"
            twin = Path(folder) / "dense.lwm"
            pack_twin(twin, header, hidden)
            dense = Vocoder(twin, isa)
    stored = read_matrix(Path(model_path), header, RECURRENT)
    product = bind(stored, model.isa)
    x = np.random.default_rng(0).uniform(-1, 1, header["dims"]["hidden"]).astype(np.float32)
    parts: list[dict[str, float]] = []

    def split(times: int) -> float:
        parts.extend(model.parts_us(SAMPLE_FRAMES) for _ in range(times))
        return sum(sum(p.values()) for p in parts[-times:]) * steps * 1e3

    steps = SAMPLE_FRAMES * model.steps_per_frame
    candidates = [
        Candidate("model", lambda times: sum(model.time_steps(SAMPLE_FRAMES) for _ in range(times))),
        Candidate("dense", lambda times: sum(dense.time_steps(SAMPLE_FRAMES) for _ in range(times))),
        Candidate("parts", split),
        Candidate("kernel", lambda times: float(product.run_ns(x, times))),
    ]
    limits = roofs.limits(RECURRENT, product.read_ns)
    peak = roofs.peak_of(stored.number, model.isa)
    peaks = [peak] if peak is not None else []
    run = measure([*candidates, *limits, *(found.candidate for found in peaks)], rules=rules, seed=seed)
    timings = {name: run.timings[name] for name in ("model", "dense", "kernel")} | {"limit": roofs.limit(limits, run)}
    per_call = {"model": steps, "dense": steps, "kernel": 1, "limit": 1}
    us = {name: timings[name].us / calls for name, calls in per_call.items()}
    step_us = header["dims"]["bands"] / header["dims"]["sample_rate_hz"] * 1e6
    budget = median_parts(parts)
    objections = {name: timing.why for name, timing in timings.items() if timing.why}
    return RtfResult(
        rtf=us["model"] / step_us,
        rtf_dense=us["dense"] / step_us,
        us_per_step=us["model"],
        parts_us=scale_parts(budget, us["model"]),
        skipped=model.skipped(model.timing_mel(SAMPLE_FRAMES)),
        parts_sum_us=run.us("parts") / steps,
        kernel_us=us["kernel"],
        limit_us=us["limit"],
        product={
            "bytes": product.bytes,
            "operations": 2 * stored.nonzeros,
            **({"peak_gops": roofs.fastest(peaks, run)[0].per_ns} if peaks else {}),
        },
        vs_dense=us["dense"] / us["model"],
        vs_limit=us["limit"] / us["kernel"],
        dense=source,
        format=_entry(header)["number"],
        isa=model.isa,
        samples=len(timings["model"].samples_us),
        rejected=run.rejected,
        samples_us={n: [s / calls for s in timings[n].samples_us] for n, calls in per_call.items()},
        rejected_us={n: [s / calls for s in timings[n].rejected_us] for n, calls in per_call.items()},
        verdict="unstable" if objections.keys() & {"model", "dense"} else "stable",
        why="; ".join(f"{name}: {why}" for name, why in objections.items()),
        nominal_ghz=run.nominal_ghz,
        cpu=run.cpu,
        pinned=run.core,
    )


def median_parts(parts: list[dict[str, float]]) -> dict[str, float]:
    """Median of each part over the faster half of the split runs.

    The faster half: split runs are not gated one by one, and shares must not mix clock states.
    """
    faster = sorted(parts, key=lambda p: sum(p.values()))[: max(1, (len(parts) + 1) // 2)]
    return {name: statistics.median(p[name] for p in faster) for name in faster[0]}


def scale_parts(budget: Mapping[str, float], us_per_step: float) -> dict[str, float]:
    """Scale parts to sum to the unsplit time of a step: takes out what reading the clock cost (up to 0.1 us)."""
    scale = us_per_step / sum(budget.values())
    return {name: value * scale for name, value in budget.items()}


def is_dense(header: Mapping[str, Any]) -> bool:
    """Whether a packed model is dense and skips nothing."""
    return "delta" not in header and all(matrix["tile"] == "dense" for matrix in header["matrices"])


def _check_dense(path: str | os.PathLike[str], dense: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    if not is_dense(dense):
        raise LanewiseError(
            f"{os.fspath(path)}: expected a dense packed model to compare with, this one is sparse or skips columns"
        )
    sizes = {key: size for key, size in model["dims"].items() if key != "table_bytes"}  # that is their format's
    differing = [key for key, size in sizes.items() if dense["dims"].get(key) != size]
    if differing:
        raise LanewiseError(
            f"{os.fspath(path)}: another architecture than the model's ({', '.join(sorted(differing))} differ); "
            "expected its dense version"
        )


def pack_twin(path: Path, header: Mapping[str, Any], hidden: int | None = None) -> None:
    """Pack a dense model of the header's architecture, or of that with more units, and formats with random weights."""
    from bench.engine.pack import pack_vocoder

    numbers = {matrix["name"]: matrix["number"] for matrix in header["matrices"]}
    size = {} if hidden is None else {"hidden": hidden}
    tensors = random_tensors(header["dims"] | size)
    pack_vocoder(path, header["arch"] | size, tensors, fmt=numbers, tables=header["tables"])


def _entry(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the header says of the recurrent matrix."""
    return next(matrix for matrix in header["matrices"] if matrix["name"] == RECURRENT)


def random_tensors(dims: Mapping[str, int], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Tensors of an architecture (`dims` of a packed model's header), of the spread that training starts from."""
    rng = np.random.default_rng(seed)
    b, h, e, c = dims["bands"], dims["hidden"], dims["embed"], dims["cond"]
    f, p, mels = dims["head"], dims["bands"] * 3 * dims["mixtures"], dims["mels"]
    shapes = {
        "embed": (b, 256, e),
        "cond.conv1.weight": (c, mels, dims["conv1_taps"]),
        "cond.conv1.bias": (c,),
        "cond.conv2.weight": (c, c, dims["conv2_taps"]),
        "cond.conv2.bias": (c,),
        "gru.w_embed": (3 * h, b * e),
        "gru.w_cond": (3 * h, c),
        "gru.w_hh": (3 * h, h),
        "gru.b_ih": (3 * h,),
        "gru.b_hh": (3 * h,),
        "head.fc.weight": (f, h),
        "head.fc.bias": (f,),
        "head.out.weight": (p, f),
        "head.out.bias": (p,),
        "pqmf.synthesis": (b, dims["pqmf_taps"]),
    }
    tensors = {name: rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    ones = {"mel_std": mels, "band_scale": b}
    return tensors | {"mel_mean": np.zeros(mels, np.float32)} | {k: np.ones(n, np.float32) for k, n in ones.items()}
