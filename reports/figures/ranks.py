"""Ranks of the arms with their critical difference: arms whose bars do not touch differ."""

from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.figures.style import INK, empty, figure, looks, short
from reports.loader import BASELINE
from reports.ranking import Ranking, rank


def data(analysis: Analysis) -> Ranking | None:
    """Ranking by the primary metric."""
    return rank(analysis, analysis.primary)


def draw(analysis: Analysis) -> Figure:
    """Mean rank of each arm, half a critical difference to each side."""
    found = data(analysis)
    if found is None:
        return empty("Arms are ranked from two arms and six common utterances on.")
    look = looks(analysis.arms, BASELINE)
    numbers = {arm: number for number, arm in enumerate(analysis.arms)}
    with figure(7.6, 0.9 + 0.24 * len(found.arms)) as drawn:
        axes = drawn.subplots()
        for place, (arm, mean) in enumerate(zip(found.arms, found.ranks, strict=True)):
            half = found.critical / 2
            axes.plot([mean - half, mean + half], [place, place], color=look[arm].colour, linewidth=1.6)
            (mark,) = axes.plot(mean, place, look[arm].marker, color=look[arm].colour, markersize=6.5)
            mark.set_gid(f"point-{numbers[arm]}-rank")
        axes.axvline(found.ranks[0] + found.critical / 2, color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(found.arms)), [short(arm) for arm in found.arms])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(
            f"mean rank by {analysis.task.word} over {found.blocks} utterances (1 is best); critical difference "
            f"{found.critical:.2f}"
        )
        return drawn
