"""Pairs of noisy and clean speech that a model is judged on: made at set ratios, or read as they are.

What is mixed depends on (seed, names) alone: neither the order of the recordings nor what else is mixed changes it.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from bench.data.audio import FloatArray
from bench.data.corpus import Clip
from bench.data.mixing import SNR_DB, at_level, babble, coloured, lively_stretch, mix
from bench.data.noise import NoiseSet
from bench.errors import LanewiseError

LEVEL_DB = -30.0
"""Level of the speech in test mixtures: leaves room for noise at -5 dB with peaks 25 dB above its level."""
KINDS = ("environment", "babble", "music", "coloured")


@dataclass(frozen=True)
class Utterance:
    """Clean speech of a test condition."""

    id: str
    speaker: str
    clip: Clip


@dataclass(frozen=True)
class Pair:
    """One noisy utterance and what it should become.

    Attributes
    ----------
    id
        Unique in its set.
    condition
        Such as "seen speaker" or the name of a test set.
    kind, snr_db
        Noise and ratio; "" and None where a corpus does not tell.
    """

    id: str
    condition: str
    kind: str
    snr_db: float | None
    make: Callable[[], tuple[FloatArray, FloatArray]] = field(repr=False)

    def load(self) -> tuple[FloatArray, FloatArray]:
        """Noisy and clean samples (n,), aligned.

        Raises
        ------
        LanewiseError
            A recording cannot be used, is silent, or would clip; the message names the pair.
        """
        try:
            return self.make()
        except LanewiseError as error:
            raise LanewiseError(f"{self.id}: {error}") from error


@lru_cache(maxsize=512)
def _samples(clip: Clip) -> FloatArray:
    return clip.audio()


def noise_stretch(
    noises: NoiseSet, kind: str, split: str, speaker: str, samples: int, rng: np.random.Generator
) -> FloatArray:
    """Return a stretch of noise of one kind; babble is made of voices other than `speaker`.

    Raises
    ------
    LanewiseError
        The set has no recording of that kind in that split.
    """
    if kind == "coloured":
        return coloured(samples, rng)
    clips = noises.select("voice" if kind == "babble" else kind, split)
    if kind == "babble":
        clips = [clip for clip in clips if clip.speaker != speaker]
    if not clips:
        raise LanewiseError(
            f"the noise set {noises.name} has no {kind} in split {split}; it has {', '.join(noises.kinds)}"
        )
    if kind == "babble":
        speakers = sorted({clip.speaker for clip in clips})
        voices = [[_samples(clip) for clip in clips if clip.speaker == one] for one in speakers]
        return babble(voices, samples, rng)
    return lively_stretch(_samples(clips[int(rng.integers(len(clips)))]), samples, rng)


def mixtures(
    utterances: Sequence[Utterance],
    noises: NoiseSet,
    split: str,
    condition: str,
    kinds: Sequence[str] = KINDS,
    snrs_db: Sequence[float] = SNR_DB,
    seed: int = 0,
) -> list[Pair]:
    """Every utterance in every kind of noise at every ratio; the stretch of noise is the same at all ratios.

    Parameters
    ----------
    utterances
        Clean speech.
    noises, split
        The noise set and which of its recordings are used.
    condition
        Name of the condition.
    """
    pairs = []
    for utterance in utterances:
        for kind in kinds:
            for snr_db in snrs_db:
                name = f"{utterance.id}.{kind}.{snr_db:+g}dB"
                make = _Mixing(utterance, noises, split, kind, snr_db, seed)
                pairs.append(Pair(name, condition, kind, snr_db, make))
    return pairs


@dataclass(frozen=True)
class _Mixing:
    utterance: Utterance
    noises: NoiseSet
    split: str
    kind: str
    snr_db: float
    seed: int

    def __call__(self) -> tuple[FloatArray, FloatArray]:
        clean = at_level(_samples(self.utterance.clip), LEVEL_DB)
        rng = np.random.default_rng([self.seed, zlib.crc32(f"{self.utterance.id}\0{self.kind}".encode())])
        noise = noise_stretch(self.noises, self.kind, self.split, self.utterance.speaker, len(clean), rng)
        return mix(clean, noise, self.snr_db), clean


def utterances_of(clips: Sequence[Clip], speaker: str) -> list[Utterance]:
    """Clean speech of one speaker as utterances."""
    return [Utterance(f"{speaker}.{clip.id}", speaker, clip) for clip in clips]


def unseen_speakers(noises: NoiseSet, split: str = "test") -> list[Utterance]:
    """Voices of a noise set as clean speech: speakers that training hears neither as target nor in babble."""
    heard = {clip.speaker for clip in noises.select("voice", "train")}
    voices = [clip for clip in noises.select("voice", split) if clip.speaker not in heard]
    return [Utterance(clip.id, clip.speaker, clip) for clip in voices]


def evenly(pairs: list[Pair], count: int | None) -> list[Pair]:
    """Return `count` of the pairs (None: all), always the same ones, evenly over conditions, noises and ratios."""
    if count is None or count >= len(pairs):
        return pairs
    rng = np.random.default_rng(0)
    groups: dict[tuple[str, str, float | None], list[int]] = {}
    for index in rng.permutation(len(pairs)):
        pair = pairs[index]
        groups.setdefault((pair.condition, pair.kind, pair.snr_db), []).append(int(index))
    queues = list(groups.values())
    turns = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    return [pairs[index] for index in sorted(turns[:count])]
