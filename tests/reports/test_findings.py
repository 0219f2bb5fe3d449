"""What a report says: numbers against an independent recomputation, verdicts against the truth behind the records."""

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import ARMS, Arm, StudyFiles, edit_record, folder_of

from bench.errors import LanewiseError
from reports.analysis import Analysis, analyse
from reports.headline import headline
from reports.loader import load_study
from reports.tables import table_rows, write_csv, write_latex, write_markdown


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return StudyFiles(tmp_path_factory.mktemp("study"), audio=0).write()


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "copy", ignore=shutil.ignore_patterns("report")))


def analysed(root: Path) -> Analysis:
    return analyse(load_study(root))


def words(root: Path) -> str:
    return "\n".join(sentence.text for sentence in headline(analysed(root)))


def csv_rows(text: str) -> dict[str, dict[str, str]]:
    return {row["arm"]: row for row in csv.DictReader(io.StringIO(text))}


def permute_labels(root: Path, names: dict[str, str]) -> None:
    def rename(record: dict[str, Any]) -> None:
        record["params"]["arm"] = names.get(record["params"]["arm"], record["params"]["arm"])

    for path in root.glob("trials/*/record.json"):
        edit_record(path.parent, rename)


def test_every_number_of_the_table_recomputed_by_hand(study: Path) -> None:
    rows = csv_rows(write_csv(analysed(study)))
    records = [json.loads(path.read_text()) for path in study.glob("trials/*/record.json")]
    dense = next(r for r in records if r["params"]["arm"] == "dense-continued")
    checked = 0
    for record in records:
        row = rows[record["params"]["arm"]]
        for metric in ("nll_bits", "pesq_wb", "stoi", "estoi", "mcd_db", "logf0_rmse", "voicing_error", "mrstft",
                       "visqol", "dnsmos_ovr", "dnsmos_sig", "dnsmos_bak"):  # fmt: skip
            scores = np.array([u[metric] for u in record["utterances"]])
            assert float(row[f"quality.{metric}"]) == pytest.approx(scores.mean(), rel=1e-9)
            assert int(row[f"quality.{metric}_n"]) == len(scores)
            assert int(row[f"quality.{metric}_n_failed"]) == 0
            assert_near_t_interval(scores, row, f"quality.{metric}")
            checked += 5
            if record is not dense:
                base = {u["id"]: u[metric] for u in dense["utterances"]}
                delta = np.array([u[metric] - base[u["id"]] for u in record["utterances"]])
                assert float(row[f"quality.{metric}_diff"]) == pytest.approx(delta.mean(), rel=1e-6, abs=1e-9)
                assert_near_t_interval(delta, row, f"quality.{metric}_diff")
                checked += 3
        for key in ("speed.rtf", "speed.vs_dense", "speed.kernel_us", "speed.vs_limit", "size.bytes", "size.nonzeros"):
            assert float(row[key]) == pytest.approx(record["metrics"][key], rel=1e-9)
        for key, value in record["params"].items():
            assert row[key] == ("" if value is None else str(value))
    assert checked > 700


def assert_near_t_interval(values: np.ndarray, row: dict[str, str], key: str) -> None:
    """A bootstrap interval of a mean lies near Student's t interval (2.201: 97.5 % at 11 degrees of freedom)."""
    half = 2.201 * values.std(ddof=1) / np.sqrt(len(values))
    low, high = float(row[f"{key}_ci_low"]), float(row[f"{key}_ci_high"])
    assert low == pytest.approx(values.mean() - half, abs=0.3 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.3 * half)


def test_verdicts_marks_and_headline_tell_the_truth(study: Path) -> None:
    analysis = analysed(study)
    verdicts = {arm: analysis.differences[arm, "quality.nll_bits"].verdict for arm in analysis.arms[1:]}
    assert verdicts.pop("simd-8x1-s70") == "non-inferior"
    assert set(verdicts.values()) == {"inferior"}
    assert analysis.marked["quality.nll_bits"] == {"dense-continued"}
    assert analysis.marked["speed.rtf"] == {"simd-16x1-s90"}
    assert analysis.marked["size.bytes"] == {"simd-16x1-s90"}
    text = words(study)
    assert "fastest pruned arm that is non-inferior to (within 0.02 bit of) dense-continued is simd-8x1-s70" in text
    assert "This study is short: its arms were trained for 120 steps" in text
    assert "studies/paper.yaml" in text
    assert "1 seed: every interval speaks of this model only" in text


def test_permuted_labels_move_headline_and_marks(copy: Path) -> None:
    swap = {"simd-8x1-s70": "column-s70", "column-s70": "simd-8x1-s70", "simd-16x1-s90": "lasso-1x1-s70",
            "lasso-1x1-s70": "simd-16x1-s90"}  # fmt: skip
    permute_labels(copy, swap)
    analysis = analysed(copy)
    assert "dense-continued is column-s70" in words(copy)
    assert analysis.marked["speed.rtf"] == {"lasso-1x1-s70"}
    assert "**0.0340**" in next(line for line in write_markdown(analysis).splitlines() if "lasso" in line)


def test_a_missing_score_is_counted_and_its_pair_dropped(copy: Path) -> None:
    folder = folder_of(copy, "simd-8x1-s70")
    before = json.loads((folder / "record.json").read_text())

    def lose(record: dict[str, Any]) -> None:
        record["utterances"][3]["nll_bits"] = None
        record["utterances"][3]["reasons"] = {"nll_bits": "the clip is silent"}

    edit_record(folder, lose)
    row = csv_rows(write_csv(analysed(copy)))["simd-8x1-s70"]
    left = [u["nll_bits"] for i, u in enumerate(before["utterances"]) if i != 3]
    assert float(row["quality.nll_bits"]) == pytest.approx(np.mean(left), rel=1e-9)
    assert (row["quality.nll_bits_n"], row["quality.nll_bits_n_failed"], row["quality.nll_bits_diff_n"]) == (
        "11",
        "1",
        "11",
    )
    assert "Scores missing: simd-8x1-s70 (1)" in words(copy)
    assert "1 missing" in write_latex(analysed(copy))


def test_marks_include_all_that_are_not_worse(tmp_path: Path) -> None:
    twins = [Arm("dense-continued", 0.0, 0.12), Arm("a", 0.1, 0.05, "8x1", 0.7), Arm("b", 0.1, 0.05, "16x1", 0.7)]
    analysis = analysed(StudyFiles(tmp_path, audio=0).write([*twins, Arm("worse", 0.3, 0.06, "1x1", 0.7)]))
    assert {"a", "b"} <= analysis.marked["speed.rtf"]
    assert "worse" not in analysis.marked["speed.rtf"]
    assert analysis.marked["quality.nll_bits"] == {"dense-continued"}


def test_three_seeds_give_a_t_interval_over_seeds(tmp_path: Path) -> None:
    seeds = (1, 2, 3)
    arms = [Arm("dense-continued", 0.0, 0.12, seeds=seeds), Arm("simd", 0.1, 0.05, "16x1", 0.7, seeds=seeds)]
    root = StudyFiles(tmp_path, audio=0, steps=4000).write(arms)
    analysis = analysed(root)
    found = analysis.differences["simd", "quality.nll_bits"]
    means: dict[tuple[str, int], float] = {}
    for path in root.glob("trials/*/record.json"):
        record = json.loads(path.read_text())
        key = record["params"]["arm"], record["params"]["seed.recover"]
        means[key] = float(np.mean([u["nll_bits"] for u in record["utterances"]]))
    delta = np.array([means["simd", seed] - means["dense-continued", seed] for seed in seeds])
    half = 4.302652730 * delta.std(ddof=1) / np.sqrt(3)  # t, 97.5 %, 2 degrees of freedom
    assert (found.ci_low, found.ci_high) == pytest.approx((delta.mean() - half, delta.mean() + half), rel=1e-6)
    assert (found.n_pairs, found.n_seeds, found.basis) == (36, 3, "over seeds")
    assert "short" not in words(root)
    assert csv_rows(write_csv(analysis))["simd"]["seed.recover"] == "1 2 3"


def test_arm_without_common_seed_is_not_compared(tmp_path: Path) -> None:
    arms = [Arm("dense-continued", 0.0, 0.12, seeds=(1,)), Arm("simd", 0.1, 0.05, "16x1", 0.7, seeds=(2,))]
    root = StudyFiles(tmp_path, audio=0).write(arms)
    assert analysed(root).differences["simd", "quality.nll_bits"].verdict == "open"
    assert "shares no seeds with dense-continued" in words(root)


def test_too_few_utterances_call_nothing(tmp_path: Path) -> None:
    root = StudyFiles(tmp_path, utterances=5, audio=0).write(ARMS[:4])
    analysis = analysed(root)
    assert {delta.verdict for delta in analysis.differences.values()} == {"open"}
    assert "only 5 pairs of scores" in words(root)
    assert analysis.marked["quality.nll_bits"] == {"dense-continued"}


def test_unreadable_records_are_named(copy: Path) -> None:
    folder = folder_of(copy, "column-s70")
    (folder / "record.json").write_text('{"schema": 1, "params"', encoding="utf-8")
    edit_record(folder_of(copy, "lasso-1x1-s70"), lambda record: record.update(schema=99))
    study = load_study(copy)
    assert {item.state for item in study.left_out} == {"unreadable"}
    assert any("schema 99" in item.reason for item in study.left_out)
    assert len(study.trials) == len(ARMS) - 2


def test_a_repeated_trial_counts_once(copy: Path) -> None:
    first = folder_of(copy, "lasso-1x1-s70")
    shutil.copytree(first, copy / "trials" / "0099")
    study = load_study(copy)
    assert [(item.trial, item.state) for item in study.left_out] == [(first.name, "repeated")]


def test_arms_that_share_a_name_but_not_their_settings_stay_apart(tmp_path: Path) -> None:
    arms = [ARMS[0], Arm("simd", 0.1, 0.05, "16x1", 0.7), Arm("simd", 0.3, 0.03, "16x1", 0.9)]
    names = load_study(StudyFiles(tmp_path, audio=0).write(arms)).arms
    assert names == ["dense-continued", "simd (prune.sparsity=0.7)", "simd (prune.sparsity=0.9)"]


def test_the_baseline_keeps_its_name(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, audio=0)
    for steps in (60, 120, 240):  # three settings of the baseline; the arms are trained like the second
        files.steps = steps
        files.trial(ARMS[0], 1)
    files.steps = 120
    root = files.write([Arm("simd", 0.1, 0.05, "16x1", 0.7), Arm("column", 0.3, 0.05, "column", 0.7)])
    study = load_study(root)
    assert study.arms[:3] == [
        "dense-continued (train.steps=60)",
        "dense-continued",
        "dense-continued (train.steps=240)",
    ]
    assert study.cells("dense-continued", "train.steps") == [120]
    assert analyse(study).arms[0] == "dense-continued"
    assert "No verdict" not in words(root)


def test_without_a_baseline_the_report_says_which_arm_is_needed(tmp_path: Path) -> None:
    arms = [Arm("dense", 0.0, 0.12), Arm("small-dense", 0.1, 0.05), Arm("simd", 0.1, 0.05, "16x1", 0.7)]
    text = words(StudyFiles(tmp_path / "none", audio=0).write(arms))
    assert "there is no baseline: the study has no arm dense-continued" in text
    assert "Add `dense-continued: {}` to the `arms:` of the study file" in text
    assert "If dense is that model, give it this name." in text
    assert "no NLL difference can be called" not in text, "said once, not once per arm"
    failed = [Arm("dense-continued", 0.0, 0.12, state="failed"), arms[2]]
    text = words(StudyFiles(tmp_path / "failed", audio=0).write(failed))
    assert "the baseline dense-continued did not finish (trial 0001 failed: the loss diverged at step 12)" in text


def test_arms_that_speed_does_not_tell_apart_are_all_named(tmp_path: Path) -> None:
    dense, slow = Arm("dense-continued", 0.0, 0.12), Arm("slow", 0.0, 0.09, "4x1", 0.7)
    equals = [Arm("a", 0.005, 0.0500, "8x1", 0.7), Arm("b", 0.005, 0.0501, "16x1", 0.7)]
    text = words(StudyFiles(tmp_path / "level", audio=0).write([dense, slow, *equals]))
    assert (
        "The fastest pruned arms that are non-inferior to (within 0.02 bit of) dense-continued are a and b, "
        "which are not distinguishable (the intervals of their RTF ratios hold 1)."
    ) in text
    assert "a: RTF 0.0500" in text
    assert "b: RTF 0.0501" in text
    assert "the study names no best of them" in text
    apart = [equals[0], Arm("b", -0.1, 0.0501, "16x1", 0.7)]
    text = words(StudyFiles(tmp_path / "apart", audio=0).write([dense, slow, *apart]))
    assert "Of these b has the lowest NLL." in text
    worse = [slow, Arm("a", 0.3, 0.0500, "8x1", 0.7), Arm("b", 0.3, 0.0501, "16x1", 0.7)]
    text = words(StudyFiles(tmp_path / "worse", audio=0).write([dense, *worse]))
    assert "The fastest of all pruned arms were a and b, which are not distinguishable" in text
    lost = [Arm("a", 0.3, 0.0500, "8x1", 0.7), Arm("b", 0.3, 0.0501, "16x1", 0.7)]
    text = words(StudyFiles(tmp_path / "lost", audio=0).write([dense, *lost]))
    assert "not shown to differ from that of" in next(line for line in text.splitlines() if "smallest loss" in line)


def test_the_smallest_vocoder_on_a_par_is_named_in_the_form_that_was_scored(tmp_path: Path) -> None:
    root = StudyFiles(tmp_path, audio=0).write([Arm("dense-continued", 0.0, 0.12), Arm("a", 0.0, 0.05, "16x1", 0.7)])
    for folder in sorted(root.glob("trials/*")):
        edit_record(folder, lambda record: record["metrics"].update({"size.bytes_int8": 1000}))
    said = r"The smallest file that is non-inferior is a's: [\d.]{4,} kB as size, 3\.\d times smaller"
    assert re.search(said, words(root))


def test_margins_come_from_the_study(copy: Path) -> None:
    (copy / "study.yaml").write_text("name: synthetic\nmargins: {nll_bits: 0.2}\n", encoding="utf-8")
    analysis = analysed(copy)
    assert analysis.differences["simd-16x1-s70", "quality.nll_bits"].verdict == "non-inferior"
    (copy / "study.yaml").write_text("name: synthetic\nmargins: {nll_bits: -1}\n", encoding="utf-8")
    with pytest.raises(LanewiseError, match="above 0"):
        analysed(copy)


def test_json_rows_are_the_table(study: Path) -> None:
    analysis = analysed(study)
    rows = json.loads(json.dumps(table_rows(analysis), allow_nan=False))
    by_csv = csv_rows(write_csv(analysis))
    assert [row["arm"] for row in rows] == list(by_csv)
    for row in rows:
        for key, value in row.items():
            shown = by_csv[row["arm"]][key]
            assert shown == "" if value is None else isinstance(value, str) or float(shown) == pytest.approx(value)
