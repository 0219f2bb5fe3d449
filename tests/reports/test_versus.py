"""`lanewise compare`: what it calls worse, what it leaves open, and the exit code of its gate."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import ARMS, ENHANCER_ARMS, Arm, StudyFiles, edit_record, folder_of

from bench.cli.main import main
from reports.columns import quality_columns
from reports.compare import OVER_SEEDS, unpaired
from reports.side import keep, read_side
from reports.tasks import task_of
from reports.versus import slower

DENSE, SIMD = ARMS[0], ARMS[4]
SLOWER = Arm("simd-8x1-s70", 0.010, 0.070, "8x1", 0.7, "group")
WORSE = Arm("simd-8x1-s70", 0.090, 0.056, "8x1", 0.7, "group")


def study(root: Path, arms: Sequence[Arm], **settings: Any) -> Path:
    return StudyFiles(root, audio=0, **settings).write(arms)


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lanewise", "compare", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    study(tmp_path / "runs" / "old", [DENSE, SIMD])
    return run


@pytest.mark.parametrize(
    ("arms", "more", "code", "says"),
    [
        ([DENSE, SIMD], [], 0, "no loss beyond the margins"),
        ([DENSE, SLOWER], [], 4, "worse: simd-8x1-s70, speed.rtf: slower, x1.2"),
        ([DENSE, SLOWER], ["--margin-speed", "0.5"], 0, "no loss"),
        ([DENSE, WORSE], [], 4, "worse: simd-8x1-s70, quality.nll_bits: inferior, +0.08"),
        ([DENSE, WORSE], ["--margin-quality", "0.2"], 0, "no loss"),
        ([DENSE, WORSE], ["--margin-quality", "0.2", "--margin-quality", "pesq_wb=0.05"], 4,
         "quality.pesq_wb: inferior"),
        ([DENSE], [], 4, "worse: simd-8x1-s70, quality.nll_bits: gone"),
        ([DENSE], ["--arm", "dense-continued"], 0, "no loss"),
    ],
)  # fmt: skip
def test_gate(tmp_path: Path, compare: Any, arms: list[Arm], more: list[str], code: int, says: str) -> None:
    study(tmp_path / "runs" / "new", arms)
    found, _, err = compare("old", "new", "--gate", *more)
    assert (found, says in err) == (code, True), err
    assert compare("old", "new", *more)[0] == 0, "without --gate it only tells"


def test_what_cannot_be_decided_fails_the_strict_gate_alone(tmp_path: Path, compare: Any) -> None:
    unsteady = Arm("simd-8x1-s70", 0.010, 0.056, "8x1", 0.7, "group", verdict="unstable")
    study(tmp_path / "runs" / "new", [DENSE, unsteady])
    code, _, err = compare("old", "new", "--gate")
    assert (code, "not decided: simd-8x1-s70, speed.rtf: not comparable" in err) == (0, True)
    assert compare("old", "new", "--gate", "--strict")[0] == 4


def test_numbers_recomputed_by_hand(tmp_path: Path, compare: Any) -> None:
    root = study(tmp_path / "runs" / "new", [DENSE, WORSE])
    rows = json.loads(compare("old", "new", "--json")[1])

    def scores(where: Path) -> np.ndarray[Any, Any]:
        record = json.loads((folder_of(where, "simd-8x1-s70") / "record.json").read_text())
        return np.array([row["nll_bits"] for row in record["utterances"]])

    line = next(row for row in rows if row["arm"] == "simd-8x1-s70" and row["metric"] == "quality.nll_bits")
    before, after = scores(tmp_path / "runs" / "old"), scores(root)
    assert (line["a"], line["b"]) == pytest.approx((before.mean(), after.mean()))
    assert line["change"] == pytest.approx((after - before).mean())
    assert line["ci_low"] == pytest.approx(line["change"]), "the same noise in both: only the shift is left"
    speed = next(row for row in rows if row["arm"] == "simd-8x1-s70" and row["metric"] == "speed.rtf")
    assert speed["change"] == pytest.approx(1.0)
    assert (line["margin"], speed["margin"]) == (0.02, 0.05)


def test_a_kept_baseline_is_the_study_it_came_from(tmp_path: Path, compare: Any) -> None:
    assert compare("old", "--keep", "baseline.json")[0] == 0
    from_disk, from_file = read_side("old", Path("runs")), read_side("baseline.json", Path("runs"))
    assert (from_disk.arms, from_disk.scores) == (from_file.arms, from_file.scores)
    study(tmp_path / "runs" / "new", [DENSE, WORSE])
    assert compare("baseline.json", "new", "--json")[1] == compare("old", "new", "--json")[1]
    assert Path("baseline.json").stat().st_size < 100_000


def test_two_trials_are_paired_whatever_their_names(compare: Any) -> None:
    code, out, _ = compare("runs/old/trials/0001", "runs/old/trials/0002", "--every")
    assert code == 0
    assert "dense-continued -> simd-8x1-s70" in out
    assert "x0.467" in out  # RTF 0.056 over 0.120


def test_other_seeds_and_hosts_are_said(tmp_path: Path, compare: Any) -> None:
    root = study(tmp_path / "runs" / "new", [DENSE, Arm("simd-8x1-s70", 0.01, 0.056, "8x1", 0.7, "group", seeds=(2,))])
    edit_record(folder_of(root, "simd-8x1-s70"), lambda record: record["timing"].update(cpu="another"))
    _, out, _ = compare("old", "new")
    assert "seeds differ, over utterances, this model only" in out
    assert "speed.vs_dense" in out
    assert "hosts differ" in out


def test_sides_without_a_common_seed_differ_by_their_seeds() -> None:
    """Equal populations whose seeds differ by a margin: paired by utterance, nearly every comparison found a loss."""
    rng = np.random.default_rng(4)
    column = quality_columns(task_of("vocoder"))[0]
    clips = rng.normal(4, 0.3, 20)
    called = 0
    for _ in range(400):
        sides = [
            {str(first + seed): {f"u{i}": float(clip + shift + rng.normal(0, 0.005)) for i, clip in enumerate(clips)}
             for seed, shift in enumerate(rng.normal(0, 0.02, 3))}
            for first in (1, 4)
        ]  # fmt: skip
        found = unpaired(sides[0], sides[1], "b", "a", column, 0.02)
        assert found.basis == OVER_SEEDS
        called += found.significant
    assert called / 400 < 0.08
    few = {"9": {f"u{i}": None if i else 1.0 for i in range(20)}}
    assert unpaired(few, sides[0], "b", "a", column, 0.02).verdict == "open"


def test_an_enhancer_loses_where_si_sdr_falls(tmp_path: Path, compare: Any) -> None:
    root = tmp_path / "runs"
    study(root / "a", ENHANCER_ARMS[:2], task="enhancer", utterances=16)
    lost = Arm("small-dense", 1.6, 0.0016)
    study(root / "b", [ENHANCER_ARMS[0], lost], task="enhancer", utterances=16)
    code, _, err = compare("a", "b", "--gate")
    assert (code, "small-dense, quality.si_sdr: inferior, -0.5" in err) == (4, True)
    assert compare("b", "a", "--gate")[0] == 0
    code, _, err = compare("a", "old")
    assert (code, "task enhancer" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["old"], 2, "either two sides"),
        (["old", "absent"], 2, "is no study"),
        (["old", "old", "--strict"], 2, "--strict needs --gate"),
        (["old", "old", "--margin-quality", "much"], 2, "expected a number of at least 0"),
        (["old", "old", "--margin-quality", "loud=1"], 1, "no quality metric"),
        (["old", "old", "--arm", "absent"], 1, "no arm 'absent'"),
        (["damaged.json", "old"], 1, "no baseline of this version"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, compare: Any, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "damaged.json").write_text("{}", encoding="utf-8")
    found, out, err = compare(*arguments)
    assert (found, says in err, out) == (code, True, ""), err


@given(st.floats(0.5, 2.0), st.floats(0, 0.5), st.floats(0, 0.3))
def test_slow_downs_by_cases(low: float, width: float, margin: float) -> None:
    high = low + width
    expected = "faster" if high < 1 else "as fast" if high <= 1 + margin else "slower" if low > 1 + margin else "open"
    assert slower(low, high, margin) == expected


def test_a_damaged_baseline_is_named(tmp_path: Path) -> None:
    root = study(tmp_path / "old", [DENSE])
    path = tmp_path / "kept.json"
    keep(read_side(str(root), tmp_path), path)
    content = json.loads(path.read_text())
    del content["stable"]
    path.write_text(json.dumps(content))
    with pytest.raises(Exception, match="damaged baseline"):
        read_side(str(path), tmp_path)
