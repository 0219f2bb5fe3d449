"""A trial's recordings: read once per process, whatever the number of trials."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.schema import TrialConfig
from bench.data.audio import FloatArray
from bench.data.corpus import Corpus, features, load_corpus
from bench.data.features import FEATURE_VERSION, HOP
from bench.data.noisy_corpora import NoisyCorpus, load_noisy

if TYPE_CHECKING:
    from bench.learn.dataset import ClipData
    from bench.models.wavernn import Arch


@dataclass(frozen=True)
class Recordings:
    """A corpus with its features.

    Attributes
    ----------
    corpus
        Clips by split.
    hash
        Of every recording, its split and the definition of the features: it changes whenever the data do.
    mels
        Log-mel frames (frames, 80) by clip id.
    """

    corpus: Corpus
    hash: str
    mels: dict[str, FloatArray]
    _bands: "dict[tuple[str, int, int], ClipData]" = field(default_factory=dict, repr=False)

    def ids(self, split: str, count: int | None = None) -> list[str]:
        """Return the ids of a split, the first `count` of them."""
        return [clip.id for clip in self.corpus.split(split)][:count]

    def audio(self, ids: Sequence[str]) -> dict[str, FloatArray]:
        """Return recordings cut to whole frames."""
        by_id = {clip.id: clip for clip in self.corpus.clips}
        return {name: by_id[name].audio()[: len(self.mels[name]) * HOP] for name in ids}

    def clips(self, ids: Sequence[str], arch: "Arch") -> "list[ClipData]":
        """Return clips as training and evaluation read them; the band split is made once per clip."""
        from bench.learn.dataset import clip_data

        for name, audio in self.audio(
            [name for name in ids if (name, arch.bands, arch.hop) not in self._bands]
        ).items():
            self._bands[name, arch.bands, arch.hop] = clip_data(name, self.mels[name], audio, arch)
        return [self._bands[name, arch.bands, arch.hop] for name in ids]


def load(spec: str, cache_dir: Path) -> Recordings:
    """Load the corpus that `data.corpus` names and its features, cached below `cache_dir`.

    Raises
    ------
    LanewiseError
        A recording does not fit; the message names it.
    """
    return _load(spec, _content(spec), cache_dir)


def content(config: TrialConfig) -> str:
    """Return what names a trial's recordings and their splits, and the definition of a vocoder's features.

    Raises
    ------
    LanewiseError
        The corpus cannot be read.
    """
    if config.task == "enhancer":
        return load_noisy(config.data.corpus, config.data.noise).content_hash
    return _content(config.data.corpus)


def _content(spec: str) -> str:
    return f"{load_corpus(spec).content_hash()}-mel{FEATURE_VERSION}"


@lru_cache(maxsize=2)
def _load(spec: str, content: str, cache_dir: Path) -> Recordings:
    corpus = load_corpus(spec)
    return Recordings(corpus, content, features(corpus, cache_dir / "features"))


@lru_cache(maxsize=2)
def load_mixtures(spec: str, noise: str) -> NoisyCorpus:
    """Load the noisy corpus that `data.corpus` and `data.noise` name.

    Raises
    ------
    LanewiseError
        A recording does not fit; the message names it.
    """
    return load_noisy(spec, noise)
