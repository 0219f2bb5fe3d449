"""The main table: numbers once as a data frame, then written as CSV, Markdown and LaTeX.

The same study gives the same bytes: rows and columns have a fixed order, numbers a fixed format, and nothing says when
the table was made.
"""

import csv
import io
import math
import re
from collections.abc import Callable
from typing import Any

import pandas as pd

from reports.analysis import Analysis
from reports.columns import Column
from reports.compare import Difference
from reports.conditions import by_condition

PARAMS_ASIDE = ("seed.dense", "seed.recover")


def table_data(analysis: Analysis) -> pd.DataFrame:
    """One row per arm, seeds collapsed, then one per reference system; numbers in the records' own units.

    Columns: `arm`, `kind` (arm or reference), `n_seeds`, `seeds`, the parameters; each metric with `_ci_low`,
    `_ci_high`, `_n`, `_n_failed`; each quality metric's paired difference to dense-continued (`_diff`,
    `_diff_ci_low`, `_diff_ci_high`, `_diff_n`, `_verdict`); `timing.verdict`.
    """
    return pd.DataFrame(_rows(analysis))


def _rows(analysis: Analysis) -> list[dict[str, Any]]:
    params = param_keys(analysis)
    arms = [_row(analysis, arm, True, params) for arm in analysis.arms]
    return arms + [_row(analysis, name, False, params) for name in analysis.references]


def _row(analysis: Analysis, arm: str, is_arm: bool, params: list[str]) -> dict[str, Any]:
    study = analysis.study
    row: dict[str, Any] = {"arm": arm, "kind": "arm" if is_arm else "reference"}
    row["n_seeds"] = len(study.cells(arm, "seed")) if is_arm else None
    row |= {key: " ".join(dict.fromkeys(_plain(value) for value in study.cells(arm, key))) if is_arm else None
            for key in PARAMS_ASIDE if key in study.trials}  # fmt: skip
    row |= {key: analysis.param(arm, key) if is_arm else None for key in params}
    for column in analysis.columns:
        found = analysis.estimates.get((arm, column.key))
        row[column.key] = found.value if found else math.nan
        row[f"{column.key}_ci_low"] = found.ci_low if found else math.nan
        row[f"{column.key}_ci_high"] = found.ci_high if found else math.nan
        row[f"{column.key}_n"] = found.n if found else 0
        row[f"{column.key}_n_failed"] = found.n_failed if found else 0
    for column in analysis.columns:
        if column.key.startswith("quality."):
            delta = analysis.differences.get((arm, column.key))
            row[f"{column.key}_diff"] = delta.value if delta else math.nan
            row[f"{column.key}_diff_ci_low"] = delta.ci_low if delta else math.nan
            row[f"{column.key}_diff_ci_high"] = delta.ci_high if delta else math.nan
            row[f"{column.key}_diff_n"] = delta.n_pairs if delta else 0
            row[f"{column.key}_verdict"] = delta.verdict if delta else None
    verdicts = {verdict for verdict in study.cells(arm, "timing.verdict") if isinstance(verdict, str)}
    row["timing.verdict"] = "; ".join(sorted(verdicts)) if is_arm else None
    return row


def param_keys(analysis: Analysis) -> list[str]:
    """Parameters of the study's arms, in a fixed order."""
    groups = ("task", "reg.", "prune.", "quant.", "recover.", "pack.", "simd.", "model.", "train.", "data.")
    keys = [key for key in analysis.study.trials.columns if key == "task" or key.startswith(groups[1:])]
    return sorted(keys, key=lambda key: (next(i for i, group in enumerate(groups) if key.startswith(group)), key))


def _plain(value: object) -> str:
    """A parameter as text; whole floats (pandas makes them of integers beside nulls) as integers."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return format(value, ".10g")
    return str(value)


def table_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """The table as rows for JSON: missing values are None."""
    data = table_data(analysis)
    return [
        {str(key): _json_value(value) for key, value in row.items()} for row in data.astype(object).to_dict("records")
    ]


def _json_value(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return None if math.isnan(number) else int(number) if number.is_integer() else number


def write_csv(analysis: Analysis) -> str:
    """`table.csv` as text."""
    rows, text = _rows(analysis), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_plain(value) for value in row.values()] for row in rows)
    return text.getvalue()


def write_conditions(analysis: Analysis) -> str:
    """`conditions.csv` as text: scores and gains by condition, kind of noise and ratio."""
    return str(by_condition(analysis).map(_plain).to_csv(index=False, lineterminator="\n"))


def write_markdown(analysis: Analysis) -> str:
    """`table.md`: every metric with its interval, best and not significantly worse in bold, what was not run named."""
    blank = " | ".join(["not run"] * (len(analysis.columns) + 1))
    absent = [arm for arm in analysis.study.not_run if arm not in analysis.arms]
    return "\n".join(
        [
            "| " + " | ".join(["arm", *_headings(analysis, analysis.columns)]) + " |",
            "|" + "---|" * (len(analysis.columns) + 2),
            *(
                "| " + " | ".join([escape_markdown(name), *cells]) + " |"
                for name, cells in _body(analysis, analysis.columns, lambda text: f"**{text}**", " [{}, {}]", "*{}*")
            ),
            *(f"| {escape_markdown(arm)} | {blank} |" for arm in absent),
            "",
            f"{_legend(analysis)}",
            "",
        ]
    )


def write_latex(analysis: Analysis) -> str:
    """`table.tex`: a booktabs `tabular` of the metrics that a paper shows."""
    columns = tuple(column for column in analysis.columns if column.key in analysis.task.paper)
    header = ["Arm", *(escape_latex(heading) for heading in _headings(analysis, columns))]
    interval = " {{\\scriptsize [{}, {}]}}"
    body = _body(analysis, columns, lambda text: f"\\textbf{{{text}}}", interval, "\\textit{{{}}}")
    lines = [f"% {line}" for line in (f"lanewise report, study {one_line(analysis.study.name)}", _legend(analysis))]
    lines += ["% needs \\usepackage{booktabs}", f"\\begin{{tabular}}{{l{'r' * (len(columns) + 1)}}}", "\\toprule"]
    lines += [" & ".join(header) + " \\\\", "\\midrule"]
    for name, cells in body:
        if analysis.references and name == analysis.references[0]:
            lines.append("\\midrule")
        cells = [re.sub(r"(?<![\w-])-(?=\d)", "$-$", cell).replace("–", "--") for cell in cells]
        lines.append(" & ".join([escape_latex(name), *cells]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _headings(analysis: Analysis, columns: tuple[Column, ...]) -> list[str]:
    """Headings with arrows; the difference to dense-continued follows the primary metric."""
    headings = []
    for column in columns:
        headings.append(f"{column.label} {column.arrow}".rstrip())
        if column.key == analysis.primary:
            headings.append(analysis.task.delta)
    return headings


def _body(
    analysis: Analysis, columns: tuple[Column, ...], bold: Callable[[str], str], interval: str, failed: str
) -> list[tuple[str, list[str]]]:
    rows = []
    for arm in (*analysis.arms, *analysis.references):
        cells = []
        for column in columns:
            found = analysis.estimates.get((arm, column.key))
            if found is None:
                cells += ["–", "–"] if column.key == analysis.primary else ["–"]
                continue
            text = column.show(found.value)
            if arm in analysis.marked.get(column.key, frozenset()):
                text = bold(text)
            if not math.isnan(found.ci_low) and found.ci_low != found.ci_high:
                text += interval.format(column.show(found.ci_low), column.show(found.ci_high))
            if found.n_failed and column.key.startswith("quality."):
                text += " " + failed.format(f"{found.n_failed} missing")
            cells.append(text)
            if column.key == analysis.primary:
                value, bounds, verdict = describe(analysis.differences.get((arm, analysis.primary)), column)
                cells.append(f"{value}{interval.format(*bounds[1:-1].split(', ')) if bounds else ''} {verdict}".strip())
        rows.append((arm, cells))
    return rows


def _legend(analysis: Analysis) -> str:
    """What brackets and bold mean in this study."""
    bases = sorted({e.basis for (_, key), e in analysis.estimates.items() if key.startswith("quality.") and e.basis})
    return (
        f"Brackets: 95 % intervals of quality {' or '.join(bases) or 'not available'}. Bold: best, and all not "
        f"significantly worse than best. Arrows point to better. References are no arms. {analysis.task.references}"
    )


def describe(delta: Difference | None, column: Column) -> tuple[str, str, str]:
    """A paired difference as words: its value, its interval in brackets, its verdict."""
    if delta is None or math.isnan(delta.value):
        return "–", "", ""
    value, low, high = (
        f"{number * column.scale:+.{column.decimals}f}" for number in (delta.value, delta.ci_low, delta.ci_high)
    )
    if delta.reason:
        return value, "", "not called"
    return value, f"[{low}, {high}]", delta.verdict


def one_line(text: str) -> str:
    """`text` on one line, without control characters (a terminal would obey them)."""
    shown = (c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return re.sub(r"\s+", " ", "".join(shown))


def escape_markdown(text: str) -> str:
    """`text` safe inside a Markdown table cell: one line, no markup, no HTML."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", text)


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "×": r"$\times$", "µ": r"$\mu$", "↓": r"$\downarrow$",
    "↑": r"$\uparrow$", "Δ": r"$\Delta$", "–": "--",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """`text` safe inside a LaTeX cell (T1 and UTF-8 input assumed for other letters)."""
    return "".join(_LATEX.get(c, c) for c in one_line(text))
