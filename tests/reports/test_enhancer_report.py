"""A study of an enhancer: the same report in its own words; numbers against an independent recomputation."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import DENSE_BYTES, ENHANCER_ARMS, Arm, StudyFiles, edit_record, folder_of

from reports.analysis import Analysis, analyse
from reports.build import build_report
from reports.conditions import by_condition
from reports.headline import headline
from reports.loader import NOISY, load_study
from reports.page import render
from reports.tables import write_csv


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = StudyFiles(tmp_path_factory.mktemp("study"), utterances=16, audio=2, hidden=32, task="enhancer")
    return files.write(ENHANCER_ARMS)


@pytest.fixture(scope="module")
def analysis(study: Path) -> Analysis:
    return analyse(load_study(study))


def records(study: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted(study.glob("trials/*/record.json"))]
    return {record["params"]["arm"]: record for record in found}


def test_the_headline_speaks_of_decibels_and_bytes(analysis: Analysis) -> None:
    words = "\n".join(sentence.text for sentence in headline(analysis))
    assert "non-inferior to (within 0.1 dB of) dense-continued is weight-1x1-s90." in words
    assert "Of the pruned arms weight-1x1-s90 has the highest SI-SDR." in words
    assert re.search(r"higher than that of random-16x4-s80 \(95 % interval \+2\.\d", words)
    assert "changes the SI-SDR of its noisy input by +6." in words
    assert "kB as entropy-coded" in words
    assert "NLL" not in words
    assert " bit" not in words


def test_scores_gains_and_sizes_recomputed_by_hand(study: Path, analysis: Analysis) -> None:
    rows = {row["arm"]: row for row in csv.DictReader(io.StringIO(write_csv(analysis)))}
    dense = records(study)["dense-continued"]["utterances"]
    for arm, record in records(study).items():
        for key in ("si_sdr", "sdr", "pesq_wb", "stoi", "estoi", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovr"):
            after = np.array([row[key] for row in record["utterances"]])
            before = np.array([row[f"noisy.{key}"] for row in record["utterances"]])
            assert float(rows[arm][f"quality.{key}"]) == pytest.approx(after.mean(), rel=1e-9)
            assert float(rows[arm][f"quality.gain.{key}"]) == pytest.approx((after - before).mean(), rel=1e-9)
            assert float(rows[NOISY][f"quality.{key}"]) == pytest.approx(before.mean(), rel=1e-9)
            if arm != "dense-continued":
                of_dense = np.array([row[key] for row in dense])
                assert float(rows[arm][f"quality.{key}_diff"]) == pytest.approx((after - of_dense).mean(), rel=1e-6)
        for key in (
            "size.entropy",
            "size.f32_bytes",
            "size.compression",
            "accel.dsp.speedup",
            "speed.frame_us",
            "speed.vs_dense",
        ):
            assert float(rows[arm][key]) == pytest.approx(record["metrics"][key], rel=1e-9)
        assert rows[arm]["vela.bytes"] == "" if "vela.bytes" in rows[arm] else True
        sparsity = record["metrics"]["sparsity.achieved"]
        if sparsity:
            assert float(rows[arm]["speed.theory"]) == pytest.approx(1 / (1 - sparsity), rel=1e-9)


def test_every_condition_recomputed_by_hand(study: Path, analysis: Analysis) -> None:
    found = by_condition(analysis)
    assert {"seen speaker", "unseen speaker"} == set(found["condition"])
    by_arm = records(study)
    for row in found.to_dict("records"):
        mine = [
            clip for clip in by_arm["dense-continued" if row["system"] == NOISY else row["system"]]["utterances"]
            if clip["condition"] == row["condition"]
            and row["kind"] in (clip["kind"], "all")
            and (np.isnan(row["snr_db"]) or clip["snr_db"] == row["snr_db"])
        ]  # fmt: skip
        key = row["metric"].removeprefix("quality.")
        prefix = "noisy." if row["system"] == NOISY else ""
        assert row["n"] == len(mine)
        assert row["value"] == pytest.approx(np.mean([clip[prefix + key] for clip in mine]), rel=1e-9)
        if row["system"] != NOISY:
            gains = [clip[key] - clip[f"noisy.{key}"] for clip in mine]
            assert row["gain"] == pytest.approx(np.mean(gains), rel=1e-9)
            assert row["gain_ci_low"] <= row["gain"] <= row["gain_ci_high"]


def test_the_page_says_what_the_records_say(study: Path, analysis: Analysis) -> None:
    out = build_report(study).parent
    page = (out / "report.html").read_text(encoding="utf-8")
    page = re.sub(r'<script type="application/json" id="clips">.*?</script>', "", page)
    assert {path.stem for path in (out / "figures").glob("*.svg")} >= {"quality_vs_size", "quality_vs_throughput"}
    assert (out / "conditions.csv").is_file()
    assert "published elsewhere, on other data with another model (arXiv 2111.02351)" in page
    times = DENSE_BYTES / analysis.value("weight-1x1-s90", "size.entropy")
    assert f"{times:.1f}" in page
    assert "noisy input" in page
    assert "NLL" not in page
    assert not re.search(r"\bnan\b", re.sub(r'data-sort="nan"|base64,[^"]*', "", page), re.IGNORECASE)


def test_missing_scores_of_either_side_are_counted(study: Path, tmp_path: Path) -> None:
    import shutil

    root = Path(shutil.copytree(study, tmp_path / "copy", ignore=shutil.ignore_patterns("report", "audio")))

    def drop(record: dict[str, Any]) -> None:
        for row, key in ((0, "si_sdr"), (0, "gain.si_sdr"), (1, "noisy.si_sdr"), (1, "gain.si_sdr")):
            record["utterances"][row][key] = None
        record["utterances"][0]["reasons"] = dict.fromkeys(("si_sdr", "gain.si_sdr"), "the clean speech is silent")
        record["utterances"][1]["reasons"] = dict.fromkeys(("noisy.si_sdr", "gain.si_sdr"), "the input is silent")

    edit_record(folder_of(root, "unit-s50"), drop)
    found = analyse(load_study(root))
    assert found.estimates["unit-s50", "quality.si_sdr"].n_failed == 1
    assert found.estimates["unit-s50", "quality.gain.si_sdr"].n_failed == 2
    reasons = found.study.utterances.dropna(subset="reason")
    assert set(reasons["reason"]) == {"the clean speech is silent", "the input is silent"}


def test_a_task_that_reports_do_not_know_is_one_clear_error(tmp_path: Path) -> None:
    root = StudyFiles(tmp_path, audio=0, task="singer").write(ENHANCER_ARMS[:1])
    with pytest.raises(Exception, match="of task 'singer'; reports know vocoder and enhancer"):
        load_study(root)


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        (ENHANCER_ARMS[:1], "no pruned arm finished"),
        (ENHANCER_ARMS[2:3], "there is no baseline: the study has no arm dense-continued"),
        ((ENHANCER_ARMS[0], ENHANCER_ARMS[3]), "No pruned arm was shown to be non-inferior"),
    ],
)
def test_partial_studies_still_give_a_page(tmp_path: Path, arms: tuple[Arm, ...], expected: str) -> None:
    root = StudyFiles(tmp_path, audio=0, task="enhancer").write(arms)
    page = render(analyse(load_study(root)), {})
    assert expected in page
    assert not re.search(r"\bnan\b", page.replace('data-sort="nan"', ""), re.IGNORECASE)


def test_a_study_without_sizes_timings_or_conditions(tmp_path: Path) -> None:
    root = StudyFiles(tmp_path, audio=0, task="enhancer").write(ENHANCER_ARMS[:3])

    def strip(record: dict[str, Any]) -> None:
        record.update(timing={}, metrics={}, curves={})
        for row in record["utterances"]:
            for key in ("kind", "condition", "snr_db"):
                del row[key]

    for path in root.glob("trials/*/record.json"):
        edit_record(path.parent, strip)
    page = build_report(root).read_text(encoding="utf-8")
    assert 'id="conditions"' not in page
    assert "not measured" in page
    assert not (root / "report" / "conditions.csv").exists()
