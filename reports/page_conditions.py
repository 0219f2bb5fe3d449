"""The page's table of scores by condition, kind of noise and ratio."""

import math
from typing import Any

from reports.analysis import Analysis
from reports.conditions import baseline_first, by_condition
from reports.loader import NOISY


def table(analysis: Analysis) -> dict[str, Any] | None:
    """Headings (systems) and rows (groups of clips): the primary metric, below it the gain; None without groups."""
    data = by_condition(analysis, (analysis.primary,))
    column = analysis.column(analysis.primary)
    if data.empty or column is None:
        return None
    systems = baseline_first(list(dict.fromkeys(data["system"])))
    rows = []
    for (condition, kind, snr), group in data.groupby(["condition", "kind", "snr_db"], sort=False, dropna=False):
        by_system = {str(row["system"]): row for row in group.to_dict("records")}
        cells = []
        for system in systems:
            row = by_system.get(system)
            if row is None:
                cells.append(("–", ""))
                continue
            gain = "" if system == NOISY or math.isnan(row["gain"]) else f"{row['gain']:+.2f}"
            if gain and not math.isnan(row["gain_ci_low"]):
                gain += f" [{row['gain_ci_low']:+.2f}, {row['gain_ci_high']:+.2f}]"
            cells.append((column.show(row["value"]), gain))
        ratio = "all" if math.isnan(float(str(snr))) else f"{float(str(snr)):g}"
        n = max(int(row["n"]) for row in by_system.values())
        rows.append({"condition": condition, "kind": kind, "ratio": ratio, "n": n, "cells": cells})
    return {"systems": systems, "rows": rows, "label": column.label}
