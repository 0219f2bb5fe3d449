"""Pictures of an arm's way: how sparsity rises through its phases, and the stages of its trial."""

from typing import get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from bench.config.load import validate
from bench.config.yaml_lines import parse
from bench.sparsity.schedule import Kind, Schedule
from bench.trial.learning import arm_plan
from bench.trial.pipeline import VERSIONS
from reports.figures.style import INK, PALETTE, figure

ARM = "reg: {kind: group_lasso, tile: 16x1}\nprune: {kind: magnitude, tile: 16x1, sparsity: 0.7, schedule: %s}"


def phases() -> Figure:
    """Sparsity by step under every schedule, over the phases of an arm with the default shares."""
    with figure(7.6, 3.4) as drawn:
        axes = drawn.subplots()
        styles = ("-", "--", "-.", ":", (0, (6, 2)), (0, (3, 1, 1, 1, 1, 1)))
        for place, (kind, style) in enumerate(zip(get_args(Kind), styles, strict=True)):
            plan = arm_plan(validate(parse(ARM % kind, "arm")))
            assert plan.prune is not None
            schedule = Schedule(kind, plan.prune.sparsity, plan.phases.reg_end, plan.phases.prune_end)
            steps = range(plan.phases.steps + 1)
            axes.plot(steps, [schedule.sparsity_at(step) for step in steps], label=kind, color=PALETTE[place],
                      linestyle=style, linewidth=1.8)  # fmt: skip
        ends = arm_plan(validate(parse(ARM % "cubic", "arm"))).phases
        spans = (("regularise", 0, ends.reg_end), ("prune", ends.reg_end, ends.prune_end),
                 ("recover, masks fixed", ends.prune_end, ends.steps))  # fmt: skip
        for name, start, end in spans:
            axes.axvline(start, color=INK, linewidth=0.6)
            axes.text((start + end) / 2, 0.76, name, ha="center", va="bottom")
        axes.set(xlim=(0, ends.steps), ylim=(0, 0.82), xlabel="step of the arm (train.steps = 400)",
                 ylabel="share of tiles pruned")  # fmt: skip
        axes.legend(title="prune.schedule", loc="upper left", bbox_to_anchor=(1.01, 1.0))
        return drawn


STAGES = {
    "recordings": (0.0, 3.0, "recordings", ()),
    "features": (1.0, 3.0, "features", ("recordings",)),
    "dense": (2.0, 3.0, "dense model\n(shared by arms)", ("features",)),
    "arm": (3.25, 3.0, "arm: regularise,\nprune, recover", ("dense",)),
    "pack": (4.6, 3.0, "pack\nmodel.lwm", ("arm",)),
    "nll": (6.0, 4.4, "nll\nof the packed model", ("pack",)),
    "scores": (6.0, 3.45, "scores\nby utterance", ("pack",)),
    "speed": (6.0, 2.5, "speed\nalone on the host", ("pack",)),
    "int8": (6.0, 1.55, "int8\nthe same, once more", ("pack",)),
    "pictures": (6.0, 0.6, "pictures\nmasks, spectrograms", ("pack",)),
    "record": (7.5, 2.5, "record.json", ("nll", "scores", "speed", "int8", "pictures")),
    "mlflow": (8.7, 3.2, "MLflow", ("record",)),
    "report": (8.7, 1.8, "report", ("record",)),
}
"""Boxes of the pipeline: place, words, and what they are made from."""
OUTSIDE = {"recordings", "features", "dense", "arm", "record", "mlflow", "report"}
"""Those that are no stages of `bench.trial.pipeline` that measures: made elsewhere, or by all of it."""


def pipeline() -> Figure:
    """The stages of a vocoder's trial, from recordings to report."""
    unknown = set(STAGES) - OUTSIDE - set(VERSIONS)
    assert not unknown, f"the pipeline has no stage {unknown}"
    with figure(9.4, 3.9) as drawn:
        axes = drawn.subplots()
        axes.set(xlim=(-0.55, 9.25), ylim=(0, 5.0))
        axes.set_axis_off()
        for name, (x, y, _, sources) in STAGES.items():
            for source in sources:
                _arrow(axes, STAGES[source][:2], (x, y), _width(source), _width(name))
        for name, (x, y, words, _) in STAGES.items():
            _box(axes, x, y, words, name)
        return drawn


def _width(name: str) -> float:
    """Half the width of a box."""
    return {"arm": 0.56, "nll": 0.68, "scores": 0.68, "speed": 0.68, "int8": 0.68, "pictures": 0.68,
            "mlflow": 0.42, "report": 0.42, "features": 0.35, "dense": 0.5}.get(name, 0.47)  # fmt: skip


def _box(axes: Axes, x: float, y: float, words: str, name: str) -> None:
    half = _width(name)
    colour = "#E8F1F8" if name not in OUTSIDE else "#FFFFFF"
    axes.add_patch(
        FancyBboxPatch(
            (x - half, y - 0.36),
            2 * half,
            0.72,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=colour,
            edgecolor=PALETTE[0],
            linewidth=1.0,
        )
    )
    axes.text(x, y, words, ha="center", va="center", fontsize=7)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], leave: float, arrive: float) -> None:
    axes.add_patch(
        FancyArrowPatch(
            (start[0] + leave, start[1]),
            (end[0] - arrive, end[1]),
            arrowstyle="-|>",
            mutation_scale=8,
            color=INK,
            linewidth=0.8,
            shrinkA=0,
            shrinkB=1,
        )
    )
