"""Help of every command: it has an example and comes at once, without loading what only the work needs."""

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from bench.cli.main import COMMANDS, cli

HEAVY = ("torch", "mlflow", "optuna", "pandas", "matplotlib", "scipy", "numpy", "pydantic", "yaml", "soundfile")


def _paths(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _paths(inner, (*words, name))


def _all() -> list[tuple[str, ...]]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in COMMANDS}
    return [path for name, command in found.items() if command for path in _paths(command, (name,))]


ALL = _all()


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_says_what_it_does_and_shows_an_example(words: tuple[str, ...]) -> None:
    for flag in ("-h", "--help"):
        result = CliRunner().invoke(cli, [*words, flag], prog_name="lanewise")
        assert result.exit_code == 0, result.output
    first, *rest = result.output.splitlines()
    assert first.startswith(f"Usage: lanewise {' '.join(words)}")
    assert any(line.strip().startswith(f"lanewise {' '.join(words)}") for line in rest), "no example"


def test_help_of_every_command_loads_nothing_heavy() -> None:
    script = f"""
import json, sys
from click.testing import CliRunner
from bench.cli.main import cli
for words in {ALL!r}:
    assert CliRunner().invoke(cli, [*words, "--help"]).exit_code == 0
print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_top_names_every_command() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).output
    assert all(f"\n  {name} " in listed for name in COMMANDS)
