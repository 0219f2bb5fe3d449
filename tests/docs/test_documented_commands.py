"""Every command line of the documentation runs, in the order of its page, on small data; see `tables` for exceptions.

Pages are found, not listed: a command line in a new page is run or fails here.
"""

import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bench.cli.main import main
from bench.measure.speed import clock
from bench.measure.speed.gate import GateRules
from docs.generate.commands import ENVIRONMENT
from tests.docs import command_lines, world
from tests.docs.command_lines import ROOT, Line, documents, lines, name
from tests.docs.tables import ADDED, INSTEAD, NOT_RUN, short

EVERY = [line for document in documents() for line in lines(document)]
PAGES = [document for document in documents() if lines(document)]
TOOLS = ("bash", "cc", "cmake", "cp", "jq", "make", "openssl", "pkg-config")
"""Programs beside `lanewise` that the pages use; where one is missing, its lines are skipped and named."""


def why_not(line: Line) -> str | None:
    """Why a line is not run, None if it is."""
    return next((why for beginning, why in NOT_RUN.items() if line.text.startswith(beginning)), None)


# ---- what is written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", documents(), ids=name)
def test_no_command_hides(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    help_of_commands = "reference" in document.parts  # whose examples are checked below
    assert not command_lines.hidden(text, ("text",) if help_of_commands else ())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```\nlanewise doctor\n```\n", "```"),
        ("```text\nlanewise doctor\n```\n", "lanewise doctor"),
        ("- a list\n\n  ```sh\n  lanewise doctor\n  ```\n", "  ```sh"),
        ("~~~sh\nlanewise doctor\n~~~\n", "~~~sh"),
        ("so:\n\n    docker compose up\n", "    docker compose up"),
        ("```sh\nlanewise doctor\n```\n", None),
    ],
)
def test_hidden_commands_are_found(text: str, found: str | None) -> None:
    assert command_lines.hidden(text)[:1] == ([] if found is None else [found])


def test_lines_are_commands_as_a_shell_takes_them() -> None:
    page = "```sh\nlanewise a \\\n  --b 'c  d'   # why\n\n# only a remark\nmake e\n```\n```text\nmake f\n```\n"
    assert command_lines.commands(page) == ["lanewise a  --b 'c  d'", "make e"]


@pytest.mark.parametrize("line", [line for line in EVERY if line.program == "lanewise"], ids=lambda line: line.text)
def test_parses(line: Line) -> None:
    command_lines.check_arguments(command_lines.arguments(line.text))


@pytest.mark.parametrize("text", sorted({text for document in documents() for text in command_lines.inline(document)}))
def test_commands_named_in_text_exist(text: str) -> None:
    command_lines.check_inline(text)


@pytest.mark.parametrize("text", command_lines.examples())
def test_examples_of_help_parse(text: str) -> None:
    command_lines.check_arguments(command_lines.arguments(text))


def test_the_tables_of_exceptions_hold_nothing_else() -> None:
    texts = {line.text for line in EVERY}
    assert {*ADDED, *INSTEAD} <= texts, {*ADDED, *INSTEAD} - texts
    assert not set(ADDED) & set(INSTEAD)
    unused = [beginning for beginning in NOT_RUN if not any(text.startswith(beginning) for text in texts)]
    assert not unused
    assert not [text for text in (*ADDED, *INSTEAD) if why_not(Line("", text))]


def test_extras_that_pages_name_exist() -> None:
    known = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for document in documents():
        for found in re.findall(r"lanewise\[([\w,]+)\]", document.read_text(encoding="utf-8")):
            assert set(found.split(",")) <= known, f"{name(document)}: {found}"


@pytest.mark.parametrize("line", [line for line in EVERY if why_not(line)], ids=lambda line: line.text)
def test_what_is_not_run_names_what_exists(line: Line) -> None:
    words = shlex.split(line.text)
    for flag, value in itertools.pairwise(words):
        if flag == "-f":
            assert (ROOT / value).is_file(), f"{value}: no such file"
    for test in re.findall(r"tests/[\w/]+\.py", why_not(line) or ""):
        assert (ROOT / test).is_file(), test
    if line.program == "export":
        assert set(re.findall(r"\b([A-Z_]+)=", line.text)) <= set(ENVIRONMENT)
    if words[:2] == ["docker", "compose"]:
        services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
        if "run" in words:
            after = words[words.index("--rm") + 1 :]
            assert after[0] in services
            command_lines.check_arguments([*services[after[0]]["entrypoint"][1:], *after[1:]])
        elif "--scale" in words:
            assert words[words.index("--scale") + 1].partition("=")[0] in services
    if words[:2] == ["docker", "run"]:
        command_lines.check_arguments(words[words.index("lanewise") + 1 :])
    if words[:3] == ["kubectl", "create", "secret"]:
        manifest = (ROOT / "docker" / "kubernetes.yaml").read_text()
        for key in re.findall(r"--from-literal=(\w+)=", line.text):
            assert f"{{name: {words[4]}, key: {key}}}" in manifest


# ---- what is run -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted, made once."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LANEWISE_REHEARSAL", "1")
        world.build(folder)
    return folder


@pytest.fixture
def place(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it as the working directory, where studies rehearse and timings are short."""
    folder = tmp_path / "place"
    shutil.copytree(prepared, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LANEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LANEWISE_REHEARSAL", "1")
    monkeypatch.setattr("bench.config.checkpoints.PRETRAINED", folder / world.PRETRAINED)
    monkeypatch.setattr("reports.build.draw_all", lambda *_: {})  # drawn in tests/reports
    monkeypatch.setattr(GateRules.__init__, "__defaults__", (1, 1, 20.0, 0.5, 0.0))
    monkeypatch.setattr(clock, "_STATE_S", 0.05)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("document", PAGES, ids=name)
def test_page(document: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    own = command_lines.files(document)
    for file, content in own.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(content, encoding="utf-8")
    plugins = any(file.endswith(".py") for file in own)  # which would stay in this process
    skipped = []
    for line in lines(document):
        text = short(line.text).replace(" /shared/", " shared/")
        if why_not(line):
            continue
        missing = [tool for tool in TOOLS if re.search(rf"(^|\| |\$\(){tool} ", text) and not shutil.which(tool)]
        if missing:
            skipped.append(f"{line.text} ({missing[0]} is not installed)")
        elif line.program == "export":
            for variable in shlex.split(text)[1:]:
                key, _, value = variable.partition("=")
                monkeypatch.setenv(key, os.path.expandvars(value).replace("~", os.environ["HOME"]))
        elif line.program == "lanewise" and not plugins:
            call(text, capfd)
        else:
            shell(text)
    if skipped:
        pytest.skip("; ".join(skipped))


def call(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Run a `lanewise` line in this process, and what its output is piped into in the shell."""
    first, _, rest = text.partition(" | ")
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(first)[1:])
    out, err = capfd.readouterr()
    assert (ended.value.code or 0) == expected(text), f"{text}\n{err}"
    if rest:
        shell(rest, given=out)


def shell(text: str, given: str = "") -> None:
    """Run a line by bash; `lanewise` and `python` are this environment's."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    folder = Path.cwd()
    if text.startswith("cmake"):  # built once for all runs, in the repository
        text, folder = text.replace("build/native", "build/documented"), ROOT
    done = subprocess.run(
        ["bash", "-c", text], input=given, capture_output=True, text=True, env=environment, cwd=folder, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


def expected(text: str) -> int:
    """Exit code that the text promises."""
    return 4 if "--gate" in text else 0
