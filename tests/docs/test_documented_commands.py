"""Every command line of the documentation parses; those of the guides run, on small data, in the order of the text."""

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))
from synthetic import ARMS, StudyFiles, write_wav

from bench.cli.main import cli, main
from bench.data.corpus import load_corpus

ROOT = Path(__file__).parents[2]
GUIDES = ("reading-the-report.md", "your-own-study.md", "how-speed-and-sound-are-measured.md")
NOT_RUN_HERE = {
    "kernels --fast": "times kernels; tests/speed runs the code",
    "rtf": "times a model; tests/speed runs the code",
    "dashboard": "tests/studies/test_commands.py starts it",
    "report demo": "as `report runs/paper`",
}
"""Beginnings of command lines that are parsed only, and why."""
Command = Callable[[str], None]


def lines(text: str) -> list[str]:
    """Command lines inside fenced blocks: without comment, and up to the first pipe."""
    blocks = re.findall(r"```(?:sh|bash|console)?\n(.*?)```", text, re.DOTALL)
    found = [line.split("   #")[0].split(" | ")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in found if line.startswith("lanewise ") and "..." not in line]


def documents() -> list[tuple[str, str]]:
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [(path.name, line) for path in paths for line in lines(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("document", "line"), documents())
def test_parses(document: str, line: str) -> None:
    arguments = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        found = command.get_command(context, arguments[0])
        assert found is not None, f"{document}: there is no command {arguments[0]!r}"
        command, arguments = found, arguments[1:]
    try:
        command.parse_args(click.Context(command, info_name=line), list(arguments))
    except click.exceptions.Exit:
        pass  # --help and --version
    except click.BadParameter as error:
        if "does not exist" not in error.message:
            raise


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)

    def command(line: str) -> None:
        if any(line.startswith(f"lanewise {beginning}") for beginning in NOT_RUN_HERE):
            return
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(line)[1:])
        _, err = capsys.readouterr()
        assert (ended.value.code or 0) == expected(line), f"{line}\n{err}"

    return command


def expected(line: str) -> int:
    """Exit code that the text promises."""
    return 4 if "--gate" in line else 0


def guide(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_reading_the_report(tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.build.draw_all", lambda *_: {})  # drawn in tests/reports
    StudyFiles(tmp_path / "runs" / "paper", audio=3).write((ARMS[0], ARMS[5]))
    worse = StudyFiles(tmp_path / "runs" / "paper-new", audio=0)
    worse.write((ARMS[0],))  # an arm has gone: what a gate is for
    for line in lines(guide("reading-the-report.md")):
        if not line.startswith("lanewise sweep"):  # of a real study, below
            run(line)
    assert (tmp_path / "my-test" / "mushra.yaml").is_file()
    assert (tmp_path / "baseline.json").is_file()


def test_your_own_study(tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWISE_REHEARSAL", "1")
    monkeypatch.setattr("reports.build.draw_all", lambda *_: {})
    recordings = tmp_path / "my" / "recordings"
    recordings.mkdir(parents=True)
    clips = sorted(load_corpus("embedded").split("train"), key=lambda clip: (clip.seconds, clip.id))[:12]
    for clip in clips:
        shutil.copy(clip.path, recordings / clip.path.name)
    shutil.copy(ROOT / "bench" / "models" / "pretrained" / "dense.safetensors", tmp_path / "my" / "dense.safetensors")
    text = guide("your-own-study.md")
    study = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert study is not None
    (tmp_path / "my" / "study.yaml").write_text(study.group(1), encoding="utf-8")
    for line in lines(text):
        run(line)


def test_how_speed_and_sound_are_measured(tmp_path: Path, run: Command) -> None:
    import numpy as np

    for name, noise in (("recording", 0.0), ("synthesis", 0.05)):
        write_wav(tmp_path / f"{name}.wav", 12, noise, np.random.default_rng(0))
    for line in lines(guide("how-speed-and-sound-are-measured.md")):
        run(line)
