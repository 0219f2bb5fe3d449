"""`lanewise trial` as a user meets it: data on stdout, words on stderr, exit codes."""

import json
import sys
from pathlib import Path

import pytest

from bench.cli.main import main
from tests.trial.conftest import TINY


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lanewise", "trial", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_dry_run_prints_the_plan_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "arm.yaml"
    path.write_text("model: {init: dense}\nreg: {kind: lasso}\nprune: {kind: magnitude, sparsity: 0.7}\n")
    assert run(monkeypatch, "arm.yaml", "--set", "prune.sparsity=0.9", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["arm"] == "lasso-1x1-s90"
    assert plan["config"]["prune"]["sparsity"] == 0.9
    assert plan["params"]["prune.matrices"] == "gru.recurrent"
    assert [item.name for item in tmp_path.iterdir()] == ["arm.yaml"]


def test_the_plan_is_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.config.load import load

    assert run(monkeypatch, "--set", "model.init=dense", "--dry-run") == 0
    path = tmp_path / "again.yaml"
    path.write_text(capsys.readouterr().out)
    assert load(path).model.init == "dense"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "reg.kidn=lasso"], "--set reg.kidn=lasso: reg.kidn: unknown key; did you mean 'kind'?"),
        (["no-such.yaml"], "no-such.yaml: cannot be read"),
        ([], "give CONFIG.yaml or --set"),
    ],
)
def test_mistakes_exit_with_2_and_one_message(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_keys_lists_the_configuration(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--keys", "--json") == 0
    assert "prune.sparsity" in {row["key"] for row in json.loads(capsys.readouterr().out)}
    assert run(monkeypatch, "--keys") == 0
    assert "prune.sparsity  (number" in capsys.readouterr().out


def test_a_trial_gives_its_record_as_json(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY % tiny_corpus)
    out = tmp_path / "out"
    assert run(monkeypatch, str(path), "--out", str(out), "--json", "--set", "measure.metrics=stoi") == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert record == json.loads((out / "record.json").read_text())
    assert record["state"] == "complete"
    assert "real-time factor" in captured.err
    assert "missing: measure.speed is false" in captured.err
    assert "going on without it" in captured.err
