"""`lanewise report`, from a directory and from a real MLflow store."""

import json
import sys
from pathlib import Path

import pytest
from synthetic import ARMS, StudyFiles

from bench.cli.main import main

SHOWN = (ARMS[0], ARMS[4], ARMS[5])


def lanewise(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lanewise", "report", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_study_by_name_with_json_alone_on_stdout(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    StudyFiles(here / "runs" / "mine", audio=1).write(SHOWN)
    assert lanewise(monkeypatch, "mine", "--json") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert [row["arm"] for row in document["rows"]][:2] == ["dense-continued", "simd-8x1-s70"]
    assert document["headline"][0]["text"] in err
    page = (here / document["report"]).read_text(encoding="utf-8")
    assert "lanewise report runs/mine" in page


@pytest.mark.parametrize(
    ("make", "arguments", "code", "message"),
    [
        (False, ["nowhere"], 2, "no study 'nowhere'"),
        (True, ["other"], 2, "studies under runs/: mine"),
        (True, ["mine", "--tracking-uri", "sqlite:///x.db"], 2, "--tracking-uri needs --out"),
    ],
)
def test_usage_errors_are_one_message(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    make: bool, arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    if make:
        (here / "runs" / "mine" / "trials").mkdir(parents=True)
    assert lanewise(monkeypatch, *arguments) == code
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert not out


def test_report_from_mlflow_equals_report_from_disk(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.trial.tracking import Tracking

    root = StudyFiles(here / "mine", audio=1).write(SHOWN)
    uri = f"sqlite:///{here / 'mlflow.db'}"
    tracking = Tracking(root, "synthetic", uri)
    tracking.log_study(files={root / "references.json": None, root / "study.yaml": None})
    assert tracking.sync_all() == len(SHOWN)
    assert lanewise(monkeypatch, "mine") == 0
    assert lanewise(monkeypatch, "synthetic", "--tracking-uri", uri, "--out", "from-mlflow") == 0
    for name in ("table.csv", "table.md", "table.tex"):
        assert (here / "from-mlflow" / name).read_bytes() == (root / "report" / name).read_bytes()
    page = (here / "from-mlflow" / "report.html").read_text(encoding="utf-8")
    assert f"lanewise report synthetic --tracking-uri {uri} --out from-mlflow" in page
    assert lanewise(monkeypatch, "absent", "--tracking-uri", uri, "--out", "x") == 2
    assert "no experiment 'absent'" in capsys.readouterr().err
