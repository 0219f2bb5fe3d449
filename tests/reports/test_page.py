"""The report's files: complete, self-contained, the same bytes every time, unharmed by names, honest about gaps."""

import csv
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from synthetic import ARMS, Arm, StudyFiles, edit_record

from bench.errors import LanewiseError
from reports.analysis import analyse
from reports.build import build_report, make_report
from reports.loader import load_study
from reports.page import render

SHOWN = (*ARMS[:4], ARMS[6])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return StudyFiles(tmp_path_factory.mktemp("study"), hidden=32).write(SHOWN)


@pytest.fixture(scope="module")
def report(study: Path) -> Path:
    return build_report(study)


def page_without_figures(root: Path) -> str:
    page = render(analyse(load_study(root)), {})
    return re.sub(r'<script type="application/json" id="clips">.*?</script>', "", page)


def test_writes_everything_the_contract_names(report: Path) -> None:
    names = {str(path.relative_to(report.parent)) for path in report.parent.rglob("*.*")}
    figures = ("quality_vs_rtf", "quality_vs_size", "sparsity_vs_speedup", "scaling", "ranks", "read_limit",
               "learning_curves", "masks", "masks_over_training", "weights", "spectrograms")  # fmt: skip
    expected = {"report.html", "table.csv", "table.md", "table.tex"}
    assert names == expected | {f"figures/{name}.{kind}" for name in figures for kind in ("png", "svg")}


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ([Arm("simd-16x1-s70", 0.1, 0.05, "16x1", 0.7)], "there is no baseline: the study has no arm dense-continued"),
        ([Arm("dense-continued", 0.0, 0.12)], "no pruned arm finished"),
        ([*ARMS[:3], Arm("column-s70", 0.3, 0.05, "column", 0.7, state="failed")], "trial 0004 (column-s70, failed)"),
        (
            [ARMS[0], Arm("simd", 0.1, 0.05, "16x1", 0.7, verdict="unstable")],
            "No stable timing: simd",
        ),
        ([ARMS[0], ARMS[5]], "No pruned arm was shown to be non-inferior"),
    ],
)
def test_partial_studies_still_give_a_report(tmp_path: Path, arms: list[Arm], expected: str) -> None:
    page = page_without_figures(StudyFiles(tmp_path, audio=1).write(arms))
    assert expected in page
    assert not re.search(r"\bnan\b", re.sub(r'data-sort="nan"|base64,[^"]*', "", page), re.IGNORECASE)


def test_records_without_anything_optional(tmp_path: Path) -> None:
    root = StudyFiles(tmp_path, audio=0).write(ARMS[:3])
    (root / "references.json").unlink()
    for path in root.glob("trials/*/record.json"):
        (path.parent / "masks.npz").unlink(missing_ok=True)
        edit_record(path.parent, lambda record: record.update(timing={}, curves={}, tags={}, metrics={}))
    page = build_report(root).read_text(encoding="utf-8")
    assert "No audio is stored" in page
    assert "No stable timing" in page


HOSTILE = (
    '<script>alert(1)</script><img src="http://evil.example/x.png">',
    r"\input{/etc/passwd} $x_1$ & 50% #~^ {}|",
    "ｽﾋﾟｰﾄﾞ‮abc\nline two\x07 — ünïcode 語",
    "very-long-" * 40,
    '--> ]]> " onmouseover="alert(1)',
)


def test_hostile_names_do_no_harm(tmp_path: Path) -> None:
    arms = [ARMS[0], *(Arm(name, 0.1 * i, 0.05, "16x1", 0.7) for i, name in enumerate(HOSTILE))]
    root = StudyFiles(tmp_path, name="<b>study</b>", audio=1).write(arms)
    out = build_report(root).parent
    page = (out / "report.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert elements.count("script") == 4
    assert elements.count("img") == 0
    assert elements.count("b") == 1  # the word Bold of the legend
    assert not elements.handlers
    tex = (out / "table.tex").read_text(encoding="utf-8")
    assert r"\input" not in tex
    assert r"\textbackslash{}input\{/etc/passwd\} \$x\_1\$ \& 50\% \#" in tex
    body = [line for line in tex.splitlines() if line.endswith(r"\\") and not line.startswith("Arm")]
    assert len(body) == len(arms) + 3
    columns = tex.split("tabular}{l")[1].index("}") + 1
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {columns}
    markdown = (out / "table.md").read_text(encoding="utf-8").splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in markdown if line.startswith("|")}) == 1
    rows = csv.DictReader(io.StringIO((out / "table.csv").read_text(encoding="utf-8")))
    assert {row["arm"] for row in rows} >= set(HOSTILE)


class Elements(HTMLParser):
    """The page's elements as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.handlers: list[str] = []
        self.outside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        for key, value in attrs:
            if key.startswith("on"):
                self.handlers.append(key)
            if key in ("src", "href", "data", "action") and not str(value).startswith(("data:", "#")):
                self.outside.append(f"{tag} {key}={value}")

    def count(self, tag: str) -> int:
        return self.seen.count(tag)


def test_page_needs_nothing_from_outside(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    elements = Elements(page)
    assert not elements.outside
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"url\((?!#)", page)
    pruned = sum(arm.tile is not None for arm in SHOWN)
    strips = len(SHOWN)
    assert elements.count("svg") == 8 + pruned + strips, (
        "masks over training have a histogram each in place of one figure"
    )
    assert elements.count("canvas") == 4 * (len(SHOWN) + 3) + pruned * (3 + 1)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert report.stat().st_size < 20_000_000


def test_a_page_of_two_thousand_trials_stays_below_40_mb(tmp_path: Path) -> None:
    sizes = []
    for arms in (30, 90):
        root = tmp_path / str(arms)
        StudyFiles(root, utterances=31, audio=1, hidden=32).write(
            [ARMS[0], *(Arm(f"arm-{i:04d}", 0.01 + i / 500, 0.05, "16x1", 0.7) for i in range(arms - 1))]
        )
        sizes.append(build_report(root).stat().st_size)
    growth = (sizes[1] - sizes[0]) / 60
    assert growth > 0
    assert sizes[1] + growth * (2000 - 90) < 40e6


def test_same_study_gives_the_same_bytes(study: Path, report: Path, tmp_path: Path) -> None:
    again = make_report(study, tmp_path / "again", pdf=True).page.parent
    files = sorted(path.relative_to(again) for path in again.rglob("*.*") if path.suffix != ".pdf")
    different = [str(path) for path in files if (again / path).read_bytes() != (report.parent / path).read_bytes()]
    assert not different
    on_request = list(again.glob("figures/*.pdf"))
    assert len(on_request) == len(list(again.glob("figures/*.svg")))
    assert not any(b"CreationDate" in path.read_bytes() for path in on_request)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "no such study directory"),
        (lambda root: (root / "trials").mkdir(parents=True), "no records"),
        (
            lambda root: StudyFiles(root, audio=0).write([Arm("simd", 0.1, 0.05, state="failed")]),
            "none of 1 trials finished",
        ),
    ],
)
def test_nothing_to_report_is_one_clear_error(tmp_path: Path, prepare: Callable[[Path], Any], message: str) -> None:
    prepare(tmp_path / "study")
    with pytest.raises(LanewiseError, match=message):
        build_report(tmp_path / "study")
