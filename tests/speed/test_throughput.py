"""Training throughput: what is measured, and how it is put together; nothing here depends on how fast the host is."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from bench.cli.main import cli
from bench.errors import LanewiseError
from bench.learn.stack import Stack
from bench.measure.speed import throughput
from bench.measure.speed.throughput import Load, measure, summary

SMALL = ["--hidden", "32", "--batch", "2", "--segment", "40"]


def test_every_count_is_sampled_in_every_round() -> None:
    rows = measure([1, 3], Load(32, 2, 40), rounds=2, steps=2)
    assert sorted((row["round"], row["arms"]) for row in rows) == [(0, 1), (0, 3), (1, 1), (1, 3)]
    assert {row["arms"]: row["programs"] for row in rows} == {1: 1, 3: 3}
    assert all(row["arm_steps_per_s"] == row["arms"] / row["seconds"] for row in rows)
    assert {row["programs"] for row in measure([4], Load(32, 2, 40, width=4), rounds=1, steps=1)} == {1}


def test_numbers_that_do_not_fit_the_gpu_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, room = throughput._stack, 3

    def stack(count: int, load: Load) -> Stack:
        if count > room:
            raise torch.OutOfMemoryError
        return real(count, load)

    monkeypatch.setattr(throughput, "_stack", stack)
    assert {row["arms"] for row in measure([4, 1, 3, 8], Load(32, 2, 40), rounds=1, steps=1)} == {1, 3}
    assert "4 arms do not fit the memory of the GPU beside 1, 3; left out" in capsys.readouterr().err
    with pytest.raises(LanewiseError, match="4 arms do not fit the memory of the GPU; give fewer --arms"):
        measure([4], Load(32, 2, 40), rounds=1, steps=1)


def test_a_summary_compares_medians_with_one_arm() -> None:
    def sample(arms: int, number: int, rate: float) -> dict[str, Any]:
        return {"arms": arms, "round": number, "seconds": arms / rate, "arm_steps_per_s": rate, "programs": 1}

    rows = [sample(*row) for row in [(1, 0, 2.0), (1, 1, 4.0), (1, 2, 3.0), (4, 0, 9.0), (4, 1, 6.0), (4, 2, 5.0)]]
    one, four = summary(rows)
    assert (one["arm_steps_per_s"], one["low"], one["high"], one["vs_one"]) == (3.0, 2.0, 4.0, 1.0)
    assert (four["arm_steps_per_s"], four["vs_one"], four["arms"]) == (6.0, 2.0, 4)
    assert four["step_ms"] == pytest.approx(1e3 * 4 / 6)
    assert summary(rows[3:])[0]["vs_one"] is None


def test_command_writes_rows_figure_and_its_data(tmp_path: Path) -> None:
    figure = tmp_path / "growth.svg"
    words = [
        "throughput",
        "--arms",
        "2,1",
        *SMALL,
        "--rounds",
        "2",
        "--device",
        "cpu",
        "--json",
        "--figure",
        str(figure),
    ]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    rows = json.loads(done.stdout)
    assert [row["arms"] for row in rows] == [1, 2]
    assert {row["load"] for row in rows} == {"GRU 32, 2 x 40"}
    data = pd.read_csv(figure.with_suffix(".csv"))
    assert summary(data.to_dict("records"))[1]["arm_steps_per_s"] == pytest.approx(rows[1]["arm_steps_per_s"])
    assert "arm-steps per second" in figure.read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--arms", "0,2"], "--arms 0"),
        (["--segment", "50"], "--segment 50"),
        (["--figure", "growth.txt"], "--figure growth.txt"),
    ],
)
def test_bad_input_is_refused(words: list[str], says: str) -> None:
    from bench.errors import UsageError

    with pytest.raises(UsageError, match=says):
        CliRunner().invoke(cli, ["throughput", *words], catch_exceptions=False)
