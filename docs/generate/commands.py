"""The page of commands: the help of every command, from the tree of commands itself."""

from collections.abc import Iterator

import click

from bench.cli.main import COMMANDS, cli
from docs.generate.markdown import code, page, table

NAME = "commands"
WIDTH = 110

EXIT_CODES = {
    0: "done",
    1: "failed: one message says what, and what to do; no traceback",
    2: "a command line, study file or configuration is wrong; nothing was started",
    3: "`sweep run`, `resume`, `worker`, `status --watch`, `demo`: the study has finished, some of its trials failed",
    4: "`compare --gate`: quality or speed got worse beyond a margin",
    130: "interrupted (Ctrl-C, SIGTERM) after saving; the same command, or `sweep resume`, goes on",
}

ENVIRONMENT = {
    "LANEWISE_ISA": "instruction set of the engine (`lanewise doctor` lists this host's); options and `simd.isa` win",
    "LANEWISE_STORAGE": "URL of Optuna's database, in place of SQLite in the study's folder; may hold a password",
    "MLFLOW_TRACKING_URI": "MLflow's store, in place of SQLite in the study's folder",
    "LANEWISE_CACHE": "folder of what is known of this host (clock, timing lock); default `~/.cache/lanewise`",
    "LANEWISE_CORE": "number of the core to time on; by default the quietest one that the process may use",
    "LANEWISE_REHEARSAL": "`1`: trials of a study take a second and train nothing, to try out a cluster",
    "LANEWISE_REHEARSAL_STEP_S": "seconds that each of a rehearsal's five steps takes",
    "LANEWISE_REHEARSAL_FAIL": "name of an arm that fails in a rehearsal",
}


def tree() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its words after `lanewise`, groups before what they hold."""
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None, name
        yield from _below(command, (name,))


def _below(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _below(inner, (*words, name))


def help_text(words: tuple[str, ...], command: click.Command) -> str:
    """Return what `--help` prints on a terminal of `WIDTH` columns."""
    top = click.Context(cli, info_name="lanewise", **cli.context_settings)  # what a command inherits from it
    context = click.Context(command, parent=top, info_name=" ".join(words), terminal_width=WIDTH)
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def text() -> str:
    """Return the page."""
    rows = [[f"[`lanewise {name}`](#{_anchor((name,))})", about] for name, (_, about) in COMMANDS.items()]
    shown = [f"## lanewise {' '.join(words)}\n\n```text\n{help_text(words, command)}\n```" for words, command in tree()]
    return page(
        "# Commands",
        "Every command prints its help with `-h`. Where there is `--json`, stdout holds one JSON document and nothing "
        "else; progress and messages go to stderr.",
        table(["command", "does"], rows),
        "Exit codes:",
        table(["code", "meaning"], [[str(number), meaning] for number, meaning in EXIT_CODES.items()]),
        "Environment:",
        table(["variable", "meaning"], [[code(name), meaning] for name, meaning in ENVIRONMENT.items()]),
        *shown,
    )


def _anchor(words: tuple[str, ...]) -> str:
    return "-".join(("lanewise", *words))
