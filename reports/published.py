"""What was published elsewhere, beside a study's own arms: other data, another model, no comparison."""

import math
from dataclasses import dataclass

from reports.analysis import Analysis
from reports.headline import smallest
from reports.loader import BASELINE

MOST_ARMS = 12
SOURCE = "published elsewhere, on other data with another model (arXiv 2111.02351)"
_DELTA = "quality.sdr"


@dataclass(frozen=True)
class Row:
    """One line: what it is, its size, how many times smaller and faster than dense, what that cost in SDR."""

    system: str
    size: str
    compression: str
    throughput: str
    sdr: str
    source: str


PUBLISHED = (
    Row("weight pruning", "3.7 MB to 87 kB", "42", "not stated", "-0.1 dB", SOURCE),
    Row("block pruning", "not stated", "not stated", "6.7", "-0.59 dB", SOURCE),
    Row(
        "unit pruning", "not stated", "not stated", "not stated", "not stated", f"{SOURCE}; no number in reachable text"
    ),
)


def rows(analysis: Analysis) -> list[Row]:
    """Published lines, then the study's pruned arms; empty for tasks of which nothing is known."""
    if analysis.task.name != "enhancer":
        return []
    arms = [arm for arm in analysis.arms if analysis.is_pruned(arm)][:MOST_ARMS]
    return [*PUBLISHED, *(_own(analysis, arm) for arm in arms)]


def _own(analysis: Analysis, arm: str) -> Row:
    dense, found = analysis.value(arm, "size.f32_bytes"), smallest(analysis, arm)
    size = compression = "not measured"
    if found:
        size = f"{found[0] / 1e3:.1f} kB as {found[1].label.removesuffix(', kB')}"
        if not math.isnan(dense):
            size, compression = f"{dense / 1e6:.1f} MB to {size}", f"{dense / found[0]:.1f}"
    speeds = [c for c in analysis.columns if c.key == "speed.vs_dense" or c.key.endswith(".speedup")]
    known = [
        (analysis.value(arm, c.key), c.label.removesuffix(", ×").removesuffix("× dense") or "this CPU") for c in speeds
    ]
    throughput = ", ".join(f"{value:.2f} ({name})" for value, name in known if not math.isnan(value))
    delta = analysis.differences.get((arm, _DELTA))
    sdr = "not measured"
    if delta is not None and not math.isnan(delta.value):
        between = "" if math.isnan(delta.ci_low) else f" [{delta.ci_low:+.2f}, {delta.ci_high:+.2f}]"
        sdr = f"{delta.value:+.2f} dB{between}"
    return Row(arm, size, compression, throughput or "not measured", sdr, f"this study, against {BASELINE}")
