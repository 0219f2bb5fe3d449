"""Training mixtures, made on the fly: each step's batch depends on (seed, step) alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.data.audio import FloatArray
from bench.data.corpus import Clip
from bench.data.features import SAMPLE_RATE_HZ
from bench.data.mixing import at_level, babble, coloured, lively_stretch, mix
from bench.data.mixtures import Pair
from bench.data.noise import NoiseSet
from bench.data.noisy_corpora import NoisyCorpus
from bench.data.resample import resample
from bench.errors import LanewiseError

SPEEDS = (0.8, 0.9, 1.0, 1.1, 1.2)
"""Each voice is also heard slower and faster, pitch with it: more talkers than there are."""
NATURAL = SPEEDS.index(1.0)
LEVEL_DB = (-38.0, -18.0)
SNR_DB = (-7.0, 18.0)
SHARES = {"environment": 0.22, "babble": 0.40, "music": 0.22, "coloured": 0.16}
"""How often each kind of noise occurs, the hardest most; kinds that a noise set lacks fall out."""
OTHER_SHARE = 0.5
"""Of a kind that is none of these (a folder of one's own)."""
EQUALISED = 0.5
"""Share of noises, and half as many voices, that get a random smooth filter."""
_STORED_DB = -26.0
_STORED_LEVEL = 10 ** (_STORED_DB / 20)


@dataclass(frozen=True)
class NoisySpeech:
    """Random stretches of clean speech in random noise.

    Parameters
    ----------
    voices
        Training clips by speaker.
    noises
        Noise set; its train split is used. Its training voices are targets too.
    main
        Share of targets by the speakers of `voices`; the others are the noise set's voices.
    seconds, batch
        Length of a stretch and stretches per batch.
    """

    voices: dict[str, list[Clip]]
    noises: NoiseSet
    main: float = 0.75
    seconds: float = 2.0
    batch: int = 32
    _prompts: dict[str, list[list[FloatArray]]] = field(default_factory=dict, init=False, repr=False)
    _streams: dict[str, list[FloatArray]] = field(default_factory=dict, init=False, repr=False)
    _recordings: dict[str, list[FloatArray]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        voices = {speaker: list(clips) for speaker, clips in self.voices.items()}
        for clip in self.noises.select("voice", "train"):
            voices.setdefault(clip.speaker, []).append(clip)
        for speaker, clips in voices.items():
            natural = [at_level(clip.audio(), _STORED_DB) for clip in clips]
            self._prompts[speaker] = [
                [resample(audio, round(speed * 100), 100) for audio in natural] for speed in SPEEDS
            ]
            self._streams[speaker] = [np.concatenate(prompts) for prompts in self._prompts[speaker]]
            if len(self._streams[speaker][-1]) < self.samples:
                raise LanewiseError(
                    f"speaker {speaker} has {len(self._streams[speaker][-1]) / SAMPLE_RATE_HZ:.1f} s of training "
                    f"speech, less than one stretch of {self.seconds:g} s; give more, or shorter stretches"
                )
        for kind in self.noises.kinds:
            if kind == "voice":
                continue
            recordings = [at_level(clip.audio(), _STORED_DB) for clip in self.noises.select(kind, "train")]
            if recordings:
                self._recordings[kind] = recordings

    @property
    def samples(self) -> int:
        """Samples of a stretch."""
        return round(self.seconds * SAMPLE_RATE_HZ)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of noise that can be made of what is there."""
        has_babble = len(self._prompts) > 1
        known = [k for k in SHARES if k in self._recordings or k == "coloured" or (k == "babble" and has_babble)]
        return (*known, *(kind for kind in self._recordings if kind not in SHARES))

    def __call__(self, step: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Noisy and clean speech of one step, each (batch, samples)."""
        rng = np.random.default_rng([seed, step])
        pairs = [self._pair(rng) for _ in range(self.batch)]
        return np.stack([noisy for noisy, _ in pairs]), np.stack([clean for _, clean in pairs])

    def _pair(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        speaker = self._speaker(rng)
        speed = NATURAL if rng.random() < 0.5 else int(rng.integers(len(SPEEDS)))
        clean = lively_stretch(self._streams[speaker][speed], self.samples, rng, _STORED_LEVEL)
        if rng.random() < EQUALISED / 2:
            clean = equalised(clean, rng, 4.0)
        clean = at_level(clean, rng.uniform(*LEVEL_DB))
        kinds = self.kinds
        shares = np.array([SHARES.get(kind, OTHER_SHARE) for kind in kinds])
        noise = self._noise(str(rng.choice(kinds, p=shares / shares.sum())), speaker, rng)
        if rng.random() < EQUALISED:
            noise = equalised(noise, rng, 8.0)
        return limited(clean, noise, rng.uniform(*SNR_DB))

    def _speaker(self, rng: np.random.Generator) -> str:
        main = list(self.voices)
        others = [speaker for speaker in self._prompts if speaker not in self.voices]
        group: Sequence[str] = main if not others or rng.random() < self.main else others
        return group[int(rng.integers(len(group)))]

    def _noise(self, kind: str, speaker: str, rng: np.random.Generator) -> FloatArray:
        if kind == "coloured":
            return coloured(self.samples, rng)
        if kind == "babble":
            others = [prompts for name, by_speed in self._prompts.items() if name != speaker for prompts in by_speed]
            return babble(others, self.samples, rng)
        recordings = self._recordings[kind]
        weights = np.sqrt([len(recording) for recording in recordings])
        chosen = recordings[int(rng.choice(len(recordings), p=weights / weights.sum()))]
        return lively_stretch(chosen, self.samples, rng, _STORED_LEVEL)


@dataclass(frozen=True)
class PairedSpeech:
    """Random stretches of recordings that are noisy as they are.

    Parameters
    ----------
    pairs
        Noisy and clean recordings; one shorter than a stretch is followed by zeros.
    seconds, batch
        Length of a stretch and stretches per batch.
    """

    pairs: list[Pair]
    seconds: float = 2.0
    batch: int = 32

    def __call__(self, step: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Noisy and clean speech of one step, each (batch, samples)."""
        rng = np.random.default_rng([seed, step])
        samples = round(self.seconds * SAMPLE_RATE_HZ)
        found: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        for index in rng.integers(len(self.pairs), size=self.batch):
            recordings = self.pairs[int(index)].load()
            start = int(rng.integers(max(len(recordings[0]) - samples, 0) + 1))
            for kept, recording in zip(found, recordings, strict=True):
                part = recording[start : start + samples]
                kept.append(np.pad(part, (0, samples - len(part))))
        return np.stack(found[0]), np.stack(found[1])


TrainingMixtures = NoisySpeech | PairedSpeech


def training_mixtures(corpus: NoisyCorpus, seconds: float, batch: int) -> TrainingMixtures:
    """Return what gives the batches of a noisy corpus."""
    if corpus.noises is None:
        return PairedSpeech(corpus.train, seconds, batch)
    return NoisySpeech(corpus.voices, corpus.noises, seconds=seconds, batch=batch)


def limited(clean: FloatArray, noise: FloatArray, snr_db: float) -> tuple[FloatArray, FloatArray]:
    """Mixture and clean speech at a ratio, both turned down where the mixture would pass full scale."""
    quiet = np.float32(1e-2)  # no ratio of training clips there
    noisy = mix(clean * quiet, noise, snr_db) / quiet
    gain = np.float32(min(1.0, 0.99 / float(np.abs(noisy).max())))
    return noisy * gain, clean * gain


def equalised(audio: FloatArray, rng: np.random.Generator, depth_db: float) -> FloatArray:
    """Filter with a random gain that is smooth over frequency, of `depth_db` standard deviation."""
    bins = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE_HZ)
    octaves = np.log2(np.maximum(bins, 62.5) / 62.5)
    gain_db = np.interp(octaves, np.arange(8), depth_db * rng.standard_normal(8))
    return np.asarray(np.fft.irfft(np.fft.rfft(audio) * 10 ** (gain_db / 20), len(audio)), dtype=np.float32)
