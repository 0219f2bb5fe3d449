"""`report.html`: one file that needs nothing else, from disk or inside a sandboxed frame."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports import listening, page_conditions, page_masks, page_table, page_timing, published
from reports.analysis import Analysis
from reports.figures import fronts
from reports.headline import headline, is_short
from reports.ranking import rank
from reports.svg import inline
from reports.tables import param_keys

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("report.js", "listen.js", "masks.js")

_FRONT = (
    "Each point is an arm, drawn by its paired difference to dense-continued (star, dashed line); bars are 95 % "
    "intervals, the grey band is the non-inferiority margin. The line joins the arms that are Pareto-optimal by their "
    "means; a dark ring marks those that are so in at least 95 % of a joint bootstrap, faded points are dominated in "
    "at least 95 %, the rest is ambiguous. Point at an arm for its full configuration."
)
CAPTIONS = {
    "quality_vs_rtf": ("Quality against speed", f"{_FRONT} Hollow points have no stable timing and compete with none."),
    "quality_vs_size": ("Quality against memory", _FRONT),
    "quality_vs_throughput": (
        "Quality against throughput",
        f"{_FRONT} Speed-ups follow the stated models of the accelerators; nothing here was measured on one.",
    ),
    "sparsity_vs_speedup": (
        "Where sparsity pays",
        "Speed-up of the whole path over the dense engine of the same number format. A structure pays where its line "
        "is above the dashed one; the legend prints where they cross.",
    ),
    "scaling": (
        "Large and sparse, or small and dense",
        "Above: quality over non-zero weights, one line for each family of arms that differ in sparsity (dense: in "
        "size) alone; the lower line at a weight count is the better use of those weights. Below: the RTF that the "
        "read limit predicts (the time to read what is left of the recurrent matrix, plus what a step takes besides, "
        "a line over that time fitted to the network's arms) over the measured one; the band is 15 %. Orange points "
        "lie outside: their product is not at its limit.",
    ),
    "gain_by_noise": (
        "Gain by noise",
        "Improvement over the noisy input by kind of noise and ratio; bands are 95 % intervals.",
    ),
    "ranks": (
        "Ranks",
        "Mean rank of each arm over the utterances with half a critical difference to each side (Friedman, Nemenyi, "
        "5 %): arms whose bars do not touch differ. The dotted line ends the best arm's bar.",
    ),
    "read_limit": (
        "Roofline",
        "The recurrent product against what this host allows: the memory that delivers its bytes, and the peak of its "
        "number format, both measured in the same run. Nothing can be beyond its limit: a cross there is an error of "
        "measurement. `lanewise kernels --roofline` draws every kernel.",
    ),
    "learning_curves": ("Learning curves", "Validation loss and sparsity over training; bands span the seeds."),
    "masks": (
        "Masks",
        "Blue weights stay. Gates of the recurrent matrix (output rows by input columns), then a corner enlarged with "
        "the grid of the pruning tile.",
    ),
    "weights": (
        "Weights",
        "How many weights of each size are left: the dense start (grey), the end of pruning, the end of recovery. The "
        "last bins hold everything beyond.",
    ),
}
IN_SHORT = {
    "quality_vs_rtf": "Speed", "quality_vs_size": "Memory", "quality_vs_throughput": "Throughput",
    "sparsity_vs_speedup": "Break-even", "scaling": "Scaling", "learning_curves": "Curves",
}  # fmt: skip
"""Titles in the row of links, which fits a screen."""
NOT_ON_PAGE = ("spectrograms", "masks_over_training")
"""Figures whose place the page fills with something that moves: see listen.js and masks.js."""


def render(analysis: Analysis, figures: Mapping[str, Path], command: str | None = None) -> str:
    """The page as text.

    Parameters
    ----------
    figures : SVG file of each figure by name
    command : what makes the page again; by default `lanewise report` of the study's directory
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    listen = listening.page(analysis)
    masks, masks_dropped = page_masks.arms(analysis)
    drawn = [
        {"name": name, "title": CAPTIONS[name][0], "caption": CAPTIONS[name][1],
         "short": IN_SHORT.get(name, CAPTIONS[name][0]),
         "svg": inline(path.read_text(encoding="utf-8"), name, CAPTIONS[name][0])}
        for name, path in figures.items()
        if name not in NOT_ON_PAGE
    ]  # fmt: skip
    return environment.get_template("report.html.j2").render(
        study=analysis.study,
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        js=Markup("\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)),
        short=is_short(analysis),
        sentences=headline(analysis),
        judge=analysis.task.judge,
        references=analysis.task.references,
        headings=page_table.headings(analysis),
        rows=page_table.rows(analysis),
        columns=analysis.columns,
        margins=[(key.removeprefix("quality."), value) for key, value in analysis.margins.items()],
        figures=drawn,
        listen=listen,
        clips=_script_json(listen.clips),
        masks=masks,
        masks_dropped=masks_dropped,
        masks_json=_script_json(masks),
        word=analysis.task.word,
        ranking=rank(analysis, analysis.primary),
        conditions=page_conditions.table(analysis),
        published=published.rows(analysis),
        tooltips=_script_json(_tooltips(analysis)),
        timing=page_timing.timing_rows(analysis),
        engines=page_timing.ENGINES,
        provenance=page_timing.provenance(analysis),
        trials=analysis.study.trials.sort_values(["number", "arm"]).to_dict("records"),
        command=command or page_timing.command(analysis),
    )


def _script_json(value: object) -> Markup:
    """JSON that no name can end early inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _tooltips(analysis: Analysis) -> list[str]:
    """What pointing at an arm tells, by the arm's number: its main figures, its fronts, its configuration."""
    keys = (analysis.primary, analysis.task.second, "speed.rtf", "speed.vs_dense", fronts.size_key(analysis),
            "sparsity.achieved")  # fmt: skip
    shown = [column for column in analysis.columns if column.key in keys]
    verdicts = [(what, page_table.front_of(analysis, key)) for key, what in page_table.fronts_of(analysis)]
    params = param_keys(analysis)
    tips = []
    for arm in analysis.arms:
        lines = [arm, *(f"{column.label}: {column.show(analysis.value(arm, column.key))}" for column in shown)]
        for what, found in verdicts:
            if arm in found and not math.isnan(found[arm][0]):
                lines.append(f"front, {what}: {found[arm][1]} (P = {found[arm][0]:.2f})")
        lines += [f"{key} = {value}" for key in params if (value := analysis.param(arm, key)) is not None]
        tips.append("\n".join(lines))
    return tips
