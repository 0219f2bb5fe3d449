"""What the stages of one trial share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.schema import TrialConfig
from bench.data.mixtures import evenly
from bench.data.noisy_corpora import NoisyCorpus
from bench.trial import corpus
from bench.trial.cache import StageCache
from bench.trial.corpus import Recordings
from bench.trial.stages import Stages

if TYPE_CHECKING:
    from bench.models.wavernn import Arch

OnStep = Callable[[int, float], None]
"""Hears (optimizer step of the arm, training NLL in bits); may raise `StopEarly`."""


class StopEarly(Exception):  # noqa: N818 (an outcome, not an error)
    """Raised by a study's `on_step` to end a trial whose outcome is settled; the message is the reason."""


@dataclass
class Trial:
    """One trial under way.

    Attributes
    ----------
    config
        Resolved configuration.
    folder
        Where everything about this trial is written.
    cache
        Stages shared with other trials.
    on_step
        Called after each optimizer step of the arm.
    timing
        Whether this host times the packed model; else that is left to another.
    untimed
        Set when a timing was left to another host.
    """

    config: TrialConfig
    folder: Path
    cache: StageCache
    on_step: OnStep | None = None
    timing: bool = True
    untimed: bool = False

    @cached_property
    def stages(self) -> Stages:
        """Results kept in the folder."""
        return Stages(self.folder)

    @cached_property
    def recordings(self) -> Recordings:
        """The corpus with its features."""
        return corpus.load(self.config.data.corpus, self.cache.root)

    @cached_property
    def mixtures(self) -> NoisyCorpus:
        """The noisy corpus of an enhancer."""
        return corpus.load_mixtures(self.config.data.corpus, self.config.data.noise)

    @cached_property
    def isa(self) -> str:
        """The instruction set that the engine uses."""
        from bench import engine

        return engine.resolve_isa(self.config.simd.isa)

    @property
    def test_ids(self) -> list[str]:
        """Ids of the test clips that are judged."""
        return self.recordings.ids("test", self.config.measure.test_clips)

    @property
    def valid_ids(self) -> list[str]:
        """Ids of the validation clips of the validation NLL."""
        return self.recordings.ids("valid", self.config.measure.valid_clips)

    @property
    def valid_names(self) -> list[str]:
        """What the validation loss is of: ids of clips or, of an enhancer, of noisy ones."""
        if self.config.task == "enhancer":
            return [pair.id for pair in evenly(self.mixtures.valid, self.config.measure.valid_clips)]
        return self.valid_ids

    @property
    def arch(self) -> "Arch":
        """Sizes of a model that is trained here (a checkpoint brings its own)."""
        from bench.models.wavernn import Arch

        model = self.config.model
        assert model.hidden is not None, "the configuration is resolved"
        assert model.head is not None
        assert model.mixtures is not None
        return Arch(hidden=model.hidden, head=model.head, mixtures=model.mixtures, causal=bool(model.causal))
