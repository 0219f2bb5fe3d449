"""The page of keys: of a trial, of a study file, and of every method's own options, from the schema itself."""

import re
from collections.abc import Iterator

from bench.cli.methods import option_text
from bench.config.reference import KeyHelp, key_rows
from bench.config.schema import TrialConfig
from bench.sparsity.entries import ENTRIES
from docs.generate.markdown import code, page, table
from studies import study_file

NAME = "configuration"


def sections() -> Iterator[tuple[str, list[KeyHelp]]]:
    """Yield the schema's sections, by name, each with its keys; first the keys of no section."""
    found: dict[str, list[KeyHelp]] = {}
    for row in key_rows():
        found.setdefault(row.key.rpartition(".")[0].partition(".")[0], []).append(row)
    yield from found.items()


def about(section: str) -> str:
    """Return what the schema says of a section."""
    model = TrialConfig.model_fields[section].annotation
    assert isinstance(model, type)
    return str(model.__doc__)


def study_keys() -> list[list[str]]:
    """Return the rows of the table of a study file's keys, which the reader's own documentation holds."""
    rows = [re.findall(r"^\| (`\w+`) \| (.*) \|$", line) for line in str(study_file.__doc__).splitlines()]
    found = [list(row[0]) for row in rows if row]
    assert [row[0].strip("`") for row in found] == list(study_file.KEYS), "a key is not documented"
    return found


def text() -> str:
    """Return the page."""
    parts = []
    for section, rows in sections():
        if section:
            parts.append(f"### {section}\n\n{about(section)}")
        cells = [[code(row.key), row.values, code(row.default), row.meaning] for row in rows]
        parts.append(table(["key", "values", "default", "meaning"], cells))
    options = [
        [f"`{'reg' if entry.role == 'regularizer' else 'prune'}.options.{key}`", entry.name, option_text(option)]
        for entry in ENTRIES
        for key, option in entry.options.items()
    ]
    tuned = [
        [code(entry.name), entry.role, code(entry.main.key), f"{entry.main.low:g} to {entry.main.high:g}"]
        for entry in ENTRIES
    ]
    objectives = [
        [code(key), direction, study_file.ONLY.get(key, "both")] for key, direction in study_file.OBJECTIVES.items()
    ]
    margins = [
        [code(key), task, f"{value:g}"] for task, values in study_file.MARGINS.items() for key, value in values.items()
    ]
    return page(
        "# Keys",
        "## Of a trial",
        "`lanewise trial FILE.yaml` reads these; `base` and each of the `arms` of a study file set them, and "
        "`--set key=value` wins over both. Nested (`prune: {tile: 16x1}`) and dotted (`prune.tile: 16x1`) are the "
        "same. A default `null` means that the value follows from others, as the meaning says; "
        "`lanewise trial FILE.yaml --dry-run` prints what it comes to. Unknown keys are refused with file, line and "
        "the nearest name.",
        *parts,
        "## Options of the methods",
        "Keys of `reg.options` and `prune.options`, and what `tune.size` varies where `tune.key` names nothing else.",
        table(["key", "method", "meaning (allowed; default)"], options),
        table(["method", "role", "tuned by default", "grid between"], tuned),
        "## Of a study file",
        table(["key", "meaning"], study_keys()),
        f"`mode` is one of {', '.join(map(code, study_file.MODES))}. Objectives and constraints name these metrics:",
        table(["objective", "direction", "task"], objectives),
        "Margins where a study file names none (in the metric's unit; keys of `margins`):",
        table(["metric", "task", "margin"], margins),
    )
