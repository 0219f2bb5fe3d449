"""Entry point `lanewise`: finds the subcommand, turns errors into one message and an exit code.

Subcommands are named here by string, so that `lanewise --help` imports none of them and so that
`bench` never imports `studies` or `reports`, which sit above it.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from bench import __version__
from bench.errors import LanewiseError, describe, did_you_mean

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("studies.demo:command", "The main job on the embedded corpus: a small study, then its report."),
    "sweep": ("studies.cli:sweep", "Run, resume, stop or look at a study."),
    "worker": ("studies.cli:worker", "One worker process that joins a study, on any machine."),
    "trial": ("bench.cli.trial:command", "Run a single arm, end to end."),
    "train": ("bench.cli.train:command", "Train a dense vocoder, with checkpoints and resume."),
    "train-enhancer": (
        "bench.cli.train_enhancer:command",
        "Train a dense enhancer, with checkpoints and resume.",
    ),
    "throughput": ("bench.cli.throughput:command", "Training steps per second by the arms trained at once."),
    "methods": ("bench.cli.methods:command", "List the regularizers and pruners, and what each has to tune."),
    "kernels": ("bench.cli.kernels:command", "Time the matrix-vector kernels against dense and the read limit."),
    "rtf": ("bench.cli.rtf:command", "Gated real-time factor of a packed model on this host."),
    "pack": ("bench.cli.pack:command", "Pack a trained checkpoint into a file that the engine runs."),
    "synth": ("bench.cli.synth:command", "Synthesise speech with a packed model."),
    "enhance": ("bench.cli.enhance:command", "Take noise out of speech with a packed enhancer."),
    "score": ("bench.cli.score:command", "Score degraded audio against its reference."),
    "score-enhancer": (
        "bench.cli.score_enhancer:command",
        "Score a trained enhancer on noisy speech, before and after.",
    ),
    "footprint": (
        "bench.cli.footprint:command",
        "Size of an enhancer as stored, and its speed on assumed accelerators.",
    ),
    "report": ("reports.cli:report", "Make report.html, tables and figures of a study."),
    "compare": ("reports.compare_cli:compare", "Compare two trials, two studies, or a study with a kept baseline."),
    "listening-test": ("reports.listening_cli:listening_test", "Write the stimuli of a listening test (MUSHRA, ABX)."),
    "tracking": ("studies.mirroring:tracking", "Rebuild a study's mirror in MLflow from its records."),
    "dashboard": ("studies.dashboard:command", "Open MLflow (and optuna-dashboard) on a study."),
    "data": ("bench.cli.data:command", "List, fetch, check and prepare corpora."),
    "doctor": ("bench.cli.doctor:command", "What this host is, what it can run and what is missing."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:  # click would look for the nearest among commands that are not loaded
            if args[0] in COMMANDS:
                raise
            hint = did_you_mean(args[0], COMMANDS) or f"; there are: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {args[0]!r}{hint}", error.ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lanewise")
def cli() -> None:
    """Which sparsity, structure and SIMD width really pay for a speech RNN on this CPU, and what they cost in sound."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 ok, 1 failed, 2 usage, 3 failed trials, 4 threshold breached, 130 interrupted.

    Parameters
    ----------
    arguments
        Words after `lanewise`; by default those that the process was started with.
    """
    try:
        code = cli(arguments, prog_name="lanewise", standalone_mode=False)
        sys.stdout.flush()  # a full disk behind `>` shows here, where it can be said
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LanewiseError as error:
        print(f"lanewise: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        _drop_output()
        sys.exit(1)
    except OSError as error:  # the host refuses a file; what a command can say better, it has said by now
        print(f"lanewise: {describe(error)}", file=sys.stderr)
        _drop_output()
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        print("lanewise: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _drop_output() -> None:
    """Throw away what stdout does not take, or Python tries once more when it exits, and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
