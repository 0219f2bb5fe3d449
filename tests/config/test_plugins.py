"""Plug-ins: loaded once, pinned to their content, confined to their folder, and clear about what is wrong with them."""

from pathlib import Path

import pytest

from bench.config import plugins
from bench.config.flat import config_hash, dump, flatten
from bench.config.load import from_dict, load, validate
from bench.config.yaml_lines import ConfigError, Document, parse
from bench.errors import UsageError
from bench.sparsity import catalogue
from bench.sparsity.tile import Tile

RIDGE = """\
from bench.sparsity.catalogue import MethodInfo, register
from bench.sparsity.method import Method


@register(MethodInfo("ridge", "regularizer", "", "l2 decay", "this test", "none"))
class Ridge(Method):
    pass
"""
TRIAL = """\
plugins: [ridge.py]
reg: {kind: ridge, lambda: 0.1}
"""


@pytest.fixture(autouse=True)
def fresh_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test tables of its own, as a new process has."""
    for module, name in ((catalogue, "METHODS"), (catalogue, "_LOADED"), (plugins, "_SOURCES")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))


def write(folder: Path, code: str = RIDGE, trial: str = TRIAL) -> Path:
    (folder / "ridge.py").write_text(code)
    path = folder / "trial.yaml"
    path.write_text(trial)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_its_method_can_be_named(tmp_path: Path) -> None:
    config = load(write(tmp_path))
    assert config.reg.kind == "ridge"
    assert catalogue.load("regularizer", "ridge").__name__ == "Ridge"
    (pinned,) = config.plugins
    assert pinned.startswith("ridge.py@")
    assert flatten(config)["plugins"] == pinned


def test_each_content_is_run_once(tmp_path: Path) -> None:
    path = write(tmp_path, f"{RIDGE}\nopen({str(tmp_path / 'log')!r}, 'a').write('run ')\n")
    assert load(path) == load(path)
    assert (tmp_path / "log").read_text() == "run "


def test_a_changed_file_is_another_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = config_hash(load(write(tmp_path)))
    for module, name in ((catalogue, "METHODS"), (catalogue, "_LOADED"), (plugins, "_SOURCES")):
        table = {key: value for key, value in getattr(module, name).items() if key != ("regularizer", "ridge")}
        monkeypatch.setattr(module, name, table)
    assert config_hash(load(write(tmp_path, RIDGE + "# changed\n"))) != before


def test_no_plugins_say_nothing(tmp_path: Path) -> None:
    config = from_dict({})
    assert config.plugins == ()
    assert flatten(config)["plugins"] is None
    assert from_dict({"plugins": None}) == config


def test_what_it_resolves_to_is_valid_beside_a_copy(tmp_path: Path) -> None:
    config = load(write(tmp_path))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, text in plugins.sources(config.plugins).items():
        (copy / name).write_text(text)
    assert validate(Document(str(copy / "config.yaml"), dump(config))) == config
    (copy / "ridge.py").write_text(RIDGE + "# changed\n")
    with pytest.raises(ConfigError, match="is not the one that is asked for"):
        validate(Document(str(copy / "config.yaml"), dump(config)))


def test_without_a_file_it_is_looked_for_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    document = parse("", "defaults").override(["plugins=ridge.py", "reg.kind=ridge", "reg.lambda=0.1"])
    assert validate(document).reg.kind == "ridge"


@pytest.mark.parametrize(
    ("code", "line", "said"),
    [
        ("x = (\n", 1, "SyntaxError: '(' was never closed"),
        ("x = 1\n\ny = z\n", 3, "NameError: name 'z' is not defined"),
        ("import torch.no_such_part\n", 1, "ModuleNotFoundError"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("def f():\n    raise ValueError('no')\n\n\nf()\n", 2, "ValueError: no"),
        (RIDGE.replace('"ridge"', '"lasso"'), 5, "regularizer 'lasso': the name is taken; choose another"),
        (RIDGE.replace('"ridge"', '"none"'), 5, "regularizer 'none': the name is taken; choose another"),
        (RIDGE.replace("Ridge(Method)", "Ridge"), 5, "Ridge must be a bench.sparsity.method.Method that is no Pruner"),
        (RIDGE.replace('"regularizer"', '"pruner"'), 5, "Ridge must be a bench.sparsity.method.Pruner"),
        (RIDGE.replace('"regularizer"', '"prunner"'), 5, "got role 'prunner', expected one of regularizer, pruner"),
        (RIDGE.replace(', "none")', ")"), 5, "TypeError"),
    ],
)
def test_a_broken_one_is_one_error_of_its_file_and_line(tmp_path: Path, code: str, line: int, said: str) -> None:
    before = dict(catalogue.METHODS)
    message = complaint(write(tmp_path, code))
    assert message.startswith(f"{tmp_path}/trial.yaml:1: plugins[0]: {tmp_path}/ridge.py:{line}: ")
    assert said in message
    assert before == catalogue.METHODS


def test_what_it_registered_before_it_failed_is_taken_back(tmp_path: Path) -> None:
    tile = "from bench.sparsity.own import register_tile\nregister_tile('mine', lambda shape, gates: None)\n"
    complaint(write(tmp_path, RIDGE + tile + "raise RuntimeError\n"))
    with pytest.raises(UsageError, match="unknown name 'mine'"):
        Tile.parse("mine")
    assert load(write(tmp_path)).reg.kind == "ridge"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../ridge.py", "expected a file in the folder of the file that names it"),
        ("sub/../../ridge.py", "expected a file in the folder of the file that names it"),
        ("/etc/ridge.py", "expected a file in the folder of the file that names it"),
        ("missing.py", "missing.py: there is no such file"),
        ("ridge.txt", "expected the name of a Python file such as my_method.py"),
        ("folder.py", "folder.py: there is no such file"),
        ("3", "got 3, expected the name of a Python file"),
        ("link.py", "expected a file in the folder of the file that names it"),
        ("loop.py", "there is no such file"),
        ("latin.py", "is not UTF-8 text"),
        ("ridge.py@0123456789abcdef", "is not the one that is asked for (0123456789abcdef)"),
        ("ridge.py, ./ridge.py", "'./ridge.py' is named twice"),
    ],
)
def test_names_that_are_refused(tmp_path: Path, name: str, said: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "folder.py").mkdir()
    (here / "latin.py").write_bytes(b"# \xe9\n")
    (tmp_path / "ridge.py").write_text(RIDGE)
    (here / "link.py").symlink_to(tmp_path / "ridge.py")
    (here / "loop.py").symlink_to(here / "loop.py")
    message = complaint(write(here, trial=TRIAL.replace("ridge.py", name)))
    assert said in message
    assert "trial.yaml:1: plugins[" in message


def test_a_regularizer_without_control_needs_a_number(tmp_path: Path) -> None:
    said = "trial.yaml:2: reg.lambda: missing: reg.kind 'ridge' cannot be 'controlled'; give a number"
    assert said in complaint(write(tmp_path, trial="plugins: [ridge.py]\nreg: {kind: ridge}\n"))
    tuned = "plugins: [ridge.py]\nreg: {kind: ridge}\ntune: {key: reg.lambda, grid: [0.1, 1.0]}\n"
    assert load(write(tmp_path, trial=tuned)).tune.grid == (0.1, 1.0)


def test_a_regularizer_without_lambda_works_as_it_is(tmp_path: Path) -> None:
    code = RIDGE.replace('"none")', '"none", strength="none")')
    prune = "prune: {kind: magnitude, sparsity: 0.5}\n"
    config = load(write(tmp_path, code, f"plugins: [ridge.py]\nreg: {{kind: ridge}}\n{prune}"))
    assert config.reg.target is None
    assert flatten(config)["reg.lambda"] is None
    message = complaint(write(tmp_path, code, f"plugins: [ridge.py]\nreg: {{kind: ridge, lambda: 1}}\n{prune}"))
    assert "trial.yaml:2: reg.lambda: got 1.0, but reg.kind 'ridge' has no lambda; leave it out" in message


def test_something_that_is_no_list_is_refused(tmp_path: Path) -> None:
    assert "got 3, expected a list such as [my_method.py]" in complaint(write(tmp_path, trial="plugins: 3\n"))
