"""Dense training from nothing: one loop for every network, resumable at any moment."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from bench import __version__
from bench.learn.fit import Fit, exact
from bench.learn.interrupt import between_steps
from bench.progress import Progress, say

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

V = TypeVar("V")
_SHOWN = 100
"""Steps over which a shown or kept training loss is averaged."""


def pretrain(
    fit: Fit,
    out: Path,
    plan: "DataclassInstance",
    data_hash: str,
    validate: Callable[[int], V],
    text: Callable[[V], str],
    curves: tuple[str, str],
    save_every: int,
    validate_every: int,
    before_step: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Train to the end of the plan, taking up `out`'s checkpoint if there is one; leave the averaged weights in.

    Parameters
    ----------
    fit
        Not yet run.
    out
        The model to be; the checkpoint lies beside it, with the suffix .resume. One of other data is dropped.
    plan, data_hash
        What decides the result, for the model's header.
    validate
        Outcome of the averaged weights, which the model holds meanwhile, at a step: any JSON value.
    text
        An outcome in words.
    curves
        Names of the training and of the validation curve in the header.
    save_every, validate_every
        Steps between checkpoints and between validations.
    before_step
        Called before every step (training pauses there while a speed is measured on this host).

    Returns
    -------
    dict
        The model's header: version, plan, data hash, learning curves, and where a shorter run was extended.
    """
    resume, steps = out.with_suffix(".resume"), fit.optimisation.steps
    valid: list[tuple[int, V]] = []
    extended: list[tuple[int, int]] = []
    if resume.is_file() and Fit.saved_extra(resume)["data_hash"] != data_hash:
        say(f"{resume}: the recordings changed since; training starts anew")
        resume.unlink()
    if resume.is_file():
        stored, _ = fit.restore(resume)
        valid = [(int(step), outcome) for step, outcome in stored["valid"]]
        extended = [(int(at), int(planned)) for at, planned in stored.get("extended", [])]
        if (planned := int(stored["planned_steps"])) < steps:
            extended.append((fit.step, planned))
            say(f"extending a run of {planned} steps to {steps}")
        say(f"resuming at step {fit.step}")

    def save() -> None:
        fit.save(resume, {"valid": valid, "data_hash": data_hash, "extended": extended})

    with Progress("training", steps, fit.step) as progress:

        def on_step(step: int, _: float) -> None:
            if step % validate_every == 0 or step == steps:
                raw = fit.use_average()
                with exact():
                    valid.append((step, validate(step)))
                fit.model.load_state_dict(raw)
            note = f"train {_mean(fit.curve[-_SHOWN:]):.4f}"
            progress.advance(note=f"{note}, valid {text(valid[-1][1])} at {valid[-1][0]}" if valid else note)
            if step % save_every == 0:
                save()
            try:
                if before_step is not None:
                    before_step()
                interruption()
            except KeyboardInterrupt:
                save()
                say(f"stopped at step {fit.step}, saved in {resume}; the same command goes on from there")
                raise

        with between_steps() as interruption:
            fit.run(steps, on_step)
    save()
    fit.use_average()
    parts = [fit.curve[i : i + _SHOWN] for i in range(0, len(fit.curve), _SHOWN)]
    return {
        "version": __version__,
        "plan": asdict(plan),
        "data_hash": data_hash,
        curves[0]: [(part[-1][0], round(_mean(part), 5)) for part in parts],
        curves[1]: valid,
        "extended": [{"at_step": at, "planned_steps": planned} for at, planned in extended],
        "torch": torch.__version__,
    }


def _mean(curve: Sequence[tuple[int, float]]) -> float:
    return sum(loss for _, loss in curve) / len(curve)
