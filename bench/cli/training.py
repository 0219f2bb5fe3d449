"""What the commands that train a dense model share: options, checks, and what is said of a full disk."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.errors import LanewiseError, UsageError

C = TypeVar("C", bound=Callable[..., Any])
COUNT = click.IntRange(1)


def training_options(
    steps: int, rate: float, batch: int, save_every: int, validate_every: int, unit: str, data: str
) -> Callable[[C], C]:
    """Decorator with the options of a training, by their defaults; `unit` and `data` name what a batch is made of."""

    def option(*names: str, **settings: Any) -> Callable[[C], C]:
        return click.option(*names, show_default="default" in settings and not settings.get("is_flag"), **settings)

    options = (
        option("--steps", type=COUNT, default=steps, help="Optimiser steps."),
        option("--rate", default=rate, help="Peak learning rate."),
        option("--batch", type=COUNT, default=batch, help=f"{unit} per step."),
        option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, help=f"Of the initial weights and of {data}."),
        option("--device", default="cpu", type=click.Choice(["cpu", "cuda"])),
        click.option("--threads", type=click.IntRange(0, 1024), default=0, help="CPU threads; 0 uses every core."),
        option("--save-every", type=COUNT, default=save_every, help="Steps between checkpoints."),
        option("--validate-every", type=COUNT, default=validate_every, help="Steps between validations."),
        click.option("--dry-run", is_flag=True, help="Print the plan and stop."),
    )

    def decorate(command: C) -> C:
        for add in reversed(options):
            command = add(command)
        return command

    return decorate


def check_training(out: Path, rate: float, usual: float, device: str, threads: int) -> None:
    """Refuse what cannot be trained so, and take the threads; `usual` is a learning rate to suggest.

    Raises
    ------
    UsageError
        Naming the option.
    """
    import torch

    if out.suffix != ".safetensors":
        raise UsageError(f"OUT is {out}; it must end in .safetensors")
    if not 0 < rate <= 1:
        raise UsageError(f"--rate {rate:g}: expected a learning rate above 0 and at most 1, such as {usual:g}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this host has no CUDA device that torch can use; leave the option out")
    if threads:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def saving(out: Path) -> Iterator[None]:
    """Say what to do when a model or its checkpoint cannot be written.

    Raises
    ------
    LanewiseError
        It could not.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise LanewiseError(
            f"{out}: cannot be saved ({error}); free space, and the same command goes on from the last checkpoint"
        ) from error
