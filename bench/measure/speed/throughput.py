"""How training throughput grows with the arms that are trained at once: data first, then a picture.

Counts of arms are interleaved at random, round after round, so that a host that slows down slows all of them. What is
timed is whole steps: batches, forward, backward, clipping, Adam and regularizers; validation and checkpoints are not.
"""

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import LanewiseError
from bench.progress import Progress, say

if TYPE_CHECKING:
    import pandas as pd

    from bench.learn.arm import ArmPlan
    from bench.learn.stack import Stack
    from bench.learn.task import Task

_KINDS = (None, "1x1", "column", "16x1")
"""Regularizer tiles that the arms take in turn: dense, Lasso, column-wise and SIMD-size group Lasso."""
_SEEDS = 3
"""Recovery seeds that the arms take in turn; those of one seed share their batches, as in a study."""
_STEPS = 1_000_000
"""Of the plan: so many that no phase ends while it is timed."""


@dataclass(frozen=True)
class Load:
    """What is trained.

    Attributes
    ----------
    hidden, batch, segment
        GRU units, segments per step, GRU steps per segment.
    device
        "cpu" or "cuda".
    width
        The most arms in one program; by default all on a GPU, one on a CPU.
    """

    hidden: int = 256
    batch: int = 32
    segment: int = 400
    device: str = "cpu"
    width: int | None = None


def measure(counts: Sequence[int], load: Load, rounds: int, steps: int, seed: int = 0) -> list[dict[str, Any]]:
    """Time steps of stacks of arms.

    Parameters
    ----------
    counts
        Numbers of arms.
    load
        What each of them trains.
    rounds, steps
        Samples per count, and steps per sample.
    seed
        Of the order of samples.

    Returns
    -------
    list of dict
        One row per sample: `arms, round, seconds` (of one step of all arms), `arm_steps_per_s, programs`. Numbers of
        arms that do not fit the GPU beside the smaller ones are left out, and said.

    Raises
    ------
    LanewiseError
        Not even the smallest number fits.
    """
    import torch

    stacks: dict[int, Stack] = {}
    order = random.Random(seed)
    rows = []

    def sample(count: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            stacks[count].step(lambda *_: None)
        if load.device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / steps

    with Progress("arm-steps", sum(counts) * (1 + rounds * steps)) as progress:
        for count in sorted(counts):
            try:
                stack = _stack(count, load)
                stack.step(lambda *_: None)  # warm: buffers, and on a GPU the capture
            except torch.OutOfMemoryError as error:
                if not stacks:
                    raise LanewiseError(f"{count} arms do not fit the memory of the GPU; give fewer --arms") from error
                say(f"{count} arms do not fit the memory of the GPU beside {', '.join(map(str, stacks))}; left out")
                break
            stacks[count] = stack
            progress.advance(count)
        for number in range(rounds):
            for count in order.sample(list(stacks), len(stacks)):
                seconds = sample(count)
                rows.append(
                    {
                        "arms": count,
                        "round": number,
                        "seconds": seconds,
                        "arm_steps_per_s": count / seconds,
                        "programs": len(stacks[count].programs),
                    }
                )
                progress.advance(count * steps, f"{count} arms: {count / seconds:.3g} arm-steps/s")
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per number of arms: `arms, programs, step_ms, arm_steps_per_s` (medians), `low, high, vs_one`.

    `low` and `high` are the extremes of the samples; `vs_one` is the median over that of one arm, None without it.
    """
    found = []
    for count in sorted({row["arms"] for row in rows}):
        mine = [row for row in rows if row["arms"] == count]
        rates = [row["arm_steps_per_s"] for row in mine]
        found.append(
            {
                "arms": count,
                "programs": mine[0]["programs"],
                "step_ms": 1e3 * statistics.median(row["seconds"] for row in mine),
                "arm_steps_per_s": statistics.median(rates),
                "low": min(rates),
                "high": max(rates),
            }
        )
    one = next((row["arm_steps_per_s"] for row in found if row["arms"] == 1), None)
    return [row | {"vs_one": row["arm_steps_per_s"] / one if one else None} for row in found]


def _stack(count: int, load: Load) -> "Stack":
    """Return arms on recordings of noise: what they learn does not matter here."""
    import torch

    from bench.learn.dataset import ClipData, scales
    from bench.learn.stack import Stack, Start
    from bench.learn.task import vocoder
    from bench.models.wavernn import Arch, SubbandWaveRNN

    arch, rng = Arch(hidden=load.hidden), np.random.default_rng(0)
    frames = load.segment // arch.steps_per_frame
    long = 2 * frames * arch.steps_per_frame
    clips = [
        ClipData(
            f"noise {number}",
            rng.standard_normal((2 * frames, arch.mels), dtype=np.float32),
            rng.standard_normal((long, arch.bands), dtype=np.float32),
        )
        for number in range(4)
    ]
    torch.manual_seed(0)
    models = [SubbandWaveRNN(arch) for _ in range(count)]
    for model in models:
        model.set_scales(*scales(clips))
    tasks = [_unjudged(vocoder(models[0], clips, clips[:1], load.batch, frames, seed)) for seed in range(_SEEDS)]
    return Stack(
        [
            Start(model.to(load.device), tasks[number % _SEEDS], _plan(number), number % _SEEDS)
            for number, model in enumerate(models)
        ],
        load.width,
    )


def _unjudged(task: "Task") -> "Task":
    """Return the task with a validation that takes no time."""
    assert task.stacked is not None, "a vocoder's task"
    stacked = replace(task.stacked, validate=lambda _, weights: [0.0] * len(next(iter(weights.values()))))
    return replace(task, validate=lambda _: 0.0, stacked=stacked)


def _plan(number: int) -> "ArmPlan":
    from bench.learn.arm import ArmPlan, Regularization
    from bench.learn.fit import Optimisation
    from bench.sparsity.tile import Tile

    tile = _KINDS[number % len(_KINDS)]
    options: dict[str, float | str] = {"form": "proximal", "lambda": "controlled", "target": 0.35}
    reg = Regularization(Tile.parse(tile), "group_lasso", options) if tile else None
    steps = _STEPS if reg else 0
    return ArmPlan(Optimisation(_STEPS, 3e-4), reg=reg, reg_steps=steps, validate_every=_STEPS, checkpoint_every=_STEPS)


def draw(rows: "pd.DataFrame", title: str, path: Path) -> None:
    """Draw arm-steps per second against arms, every sample and the median, beside what proportional growth would be.

    `rows` are those of `measure`; the file's ending says the kind of image.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    style: Any = {"font.size": 9, "svg.hashsalt": "lanewise", "axes.spines.top": False, "axes.spines.right": False}
    medians = rows.groupby("arms")["arm_steps_per_s"].median()
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.scatter(rows["arms"], rows["arm_steps_per_s"], s=14, color="#56B4E9", label="a sample", zorder=2)
        axes.plot(medians.index, medians, "o-", color="#0072B2", ms=5, label="median", zorder=3)
        first = medians.index[0]
        ideal = medians.index / first * medians.iloc[0]
        axes.plot(medians.index, ideal, "--", color="#8C959F", lw=1, label="all arms in the time of one")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_ylim(rows["arm_steps_per_s"].min() / 2, max(ideal[-1], rows["arm_steps_per_s"].max()) * 1.3)
        axes.xaxis.set_major_locator(FixedLocator(list(medians.index)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=20))
        axes.yaxis.set_minor_formatter(NullFormatter())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("arms trained at once")
        axes.set_ylabel("arm-steps per second")
        axes.grid(visible=True, color="#D8DEE4", lw=0.6)
        axes.legend(frameon=False)
        axes.set_title(title, loc="left", fontsize=9)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
