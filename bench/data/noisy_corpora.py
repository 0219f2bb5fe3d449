"""Noisy speech to train and judge an enhancer on: the embedded mixtures, VoiceBank-DEMAND and DNS by path.

A noisy corpus is named by a spec: `voicebank:PATH`, `dns:PATH`, or that of clean speech (see `bench.data.corpus`),
which is mixed with a noise set. As everywhere, nothing is resampled while loading.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from bench.data.audio import AUDIO_SUFFIXES, FloatArray, count_samples, read_wav
from bench.data.corpus import Clip, every_nth_split, load_corpus
from bench.data.features import SAMPLE_RATE_HZ
from bench.data.mixtures import KINDS, Pair, mixtures, unseen_speakers, utterances_of
from bench.data.noise import NoiseClip, NoiseSet, load_noise
from bench.digest import file_sha256
from bench.errors import LanewiseError

VALID_SNR_DB = (0.0, 10.0)
_HELD_OUT = ("p226", "p287")
"""Speakers of VoiceBank's training set that are commonly kept for validation."""
_FILE_ID = re.compile(r"fileid_(\d+)$")
_DNS_SNR = re.compile(r"_snr(-?\d+)_")


@dataclass(frozen=True)
class NoisyCorpus:
    """What an enhancer learns from and is judged on.

    Attributes
    ----------
    name, content_hash
        Spec, and a hash of everything below.
    voices, noises
        Clean speech by speaker and the noises to mix it with in training; empty and None where `train` has pairs.
    train
        Noisy and clean recordings to train on.
    valid, test
        Pairs to choose by, and pairs to judge by once.
    """

    name: str
    content_hash: str
    voices: dict[str, list[Clip]] = field(repr=False)
    noises: NoiseSet | None = field(repr=False)
    train: list[Pair] = field(repr=False)
    valid: list[Pair] = field(repr=False)
    test: list[Pair] = field(repr=False)


def load_noisy(spec: str, noise: str = "embedded") -> NoisyCorpus:
    """Load the noisy corpus that `spec` names; `noise` is the noise set for clean speech.

    Raises
    ------
    LanewiseError
        A folder has not the layout, a recording does not fit or has no partner; `UsageError` where a spec is unknown.
    """
    kind, _, path = spec.partition(":")
    if kind in _LAYOUTS and path:
        root = Path(path).expanduser()
        if not root.is_dir():
            raise LanewiseError(f"{root}: no such folder; unpack the corpus there, or name the folder it lies in")
        return _LAYOUTS[kind](spec, root)
    corpus, noises = load_corpus(spec), load_noise(noise)
    speaker = Path(path).name or spec  # part of each id: where the folder lies is no part of it
    heard = {split: utterances_of(corpus.split(split), speaker) for split in ("valid", "test")}
    valid = mixtures(heard["valid"], noises, "valid", "valid", _kinds(noises, "valid"), VALID_SNR_DB)
    kinds = _kinds(noises, "test")
    test = mixtures(heard["test"], noises, "test", "seen speaker", kinds)
    test += mixtures(unseen_speakers(noises), noises, "test", "unseen speaker", kinds)
    digest = f"{corpus.content_hash()}+{noises.content_hash()}"
    return NoisyCorpus(spec, digest, {speaker: corpus.split("train")}, noises, [], valid, test)


def _kinds(noises: NoiseSet, split: str) -> list[str]:
    """Kinds of noise that can be made of a split, the usual ones first."""
    there = {clip.kind for clip in noises.clips if clip.split == split}
    there = there - {"voice"} | {"coloured"} | ({"babble"} if "voice" in there else set())
    return [kind for kind in KINDS if kind in there] + sorted(there - set(KINDS))


@dataclass(frozen=True)
class _Files:
    noisy: Path
    clean: Path

    def __call__(self) -> tuple[FloatArray, FloatArray]:
        return read_wav(self.noisy), read_wav(self.clean)


def _file_pair(noisy: Path, clean: Path, condition: str, kind: str = "", snr_db: float | None = None) -> Pair:
    lengths = count_samples(noisy), count_samples(clean)
    if lengths[0] != lengths[1]:
        raise LanewiseError(f"{noisy} has {lengths[0]} samples, {clean} has {lengths[1]}; they must be one recording")
    return Pair(f"{condition}.{noisy.stem}", condition, kind, snr_db, _Files(noisy, clean))


def _audio(folder: Path) -> dict[str, Path]:
    """Recordings below a folder by name without suffix."""
    if not folder.is_dir():
        raise LanewiseError(f"{folder}: missing; this folder has not the layout of the corpus")
    files = {path.stem: path for path in sorted(folder.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES}
    if not files:
        raise LanewiseError(f"{folder}: holds no recordings; unpack the corpus again")
    return files


def _hash(pairs: list[Pair], clips: list[Clip]) -> str:
    total = hashlib.sha256()
    for pair in pairs:
        assert isinstance(pair.make, _Files)
        total.update(f"{pair.id}\0{file_sha256(pair.make.noisy)}\0{file_sha256(pair.make.clean)}\n".encode())
    for clip in clips:
        total.update(f"{clip.id}\0{clip.split}\0{clip.sha256()}\n".encode())
    return total.hexdigest()


def _voicebank(spec: str, root: Path) -> NoisyCorpus:
    """VoiceBank-DEMAND: `{clean,noisy}_trainset_28spk_wav`, `{clean,noisy}_testset_wav`; log files tell the noise."""
    train = _voicebank_set(root, "trainset_28spk")
    test = _voicebank_set(root, "testset")
    speakers = sorted({_speaker(pair) for pair in train})
    held_out = set(_HELD_OUT) if set(_HELD_OUT) <= set(speakers) else set(speakers[-1:])
    if held_out == set(speakers):
        raise LanewiseError(f"{root}: one speaker only ({speakers[0]}); one more is needed to validate on")
    valid = [pair for pair in train if _speaker(pair) in held_out]
    rest = [pair for pair in train if _speaker(pair) not in held_out]
    return NoisyCorpus(spec, _hash(train + test, []), {}, None, rest, valid, test)


def _speaker(pair: Pair) -> str:
    return pair.id.split(".", 1)[1].split("_")[0]


def _voicebank_set(root: Path, part: str) -> list[Pair]:
    noisy, clean = _audio(root / f"noisy_{part}_wav"), _audio(root / f"clean_{part}_wav")
    for name in sorted(noisy.keys() ^ clean.keys()):
        raise LanewiseError(f"{root}: {name} of {part} is only in one of noisy and clean; unpack the corpus again")
    known = _voicebank_log(root / f"log_{part}.txt")
    return [_file_pair(noisy[name], clean[name], part, *known.get(name, ("", None))) for name in sorted(noisy)]


def _voicebank_log(path: Path) -> dict[str, tuple[str, float | None]]:
    """Noise and ratio by name from lines `p232_001 bus 17.5`; without the file nothing is known."""
    if not path.is_file():
        return {}
    found: dict[str, tuple[str, float | None]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            name, kind, snr_db = line.split()
            found[name] = kind, float(snr_db)
        except ValueError:
            raise LanewiseError(f"{path}, line {number}: got {line!r}, expected `name noise ratio`") from None
    return found


def _dns(spec: str, root: Path) -> NoisyCorpus:
    """DNS challenge: `datasets/{clean,noise}` to mix, `datasets/test_set/synthetic/<part>/{clean,noisy}` to judge."""
    base = root / "datasets" if (root / "datasets").is_dir() else root
    voices = _split_clips(_audio(base / "clean"))
    noises = NoiseSet(spec, base / "noise", [_as_noise(clip) for clip in _split_clips(_audio(base / "noise"))])
    test = [pair for part in ("no_reverb", "with_reverb") for pair in _dns_set(base / "test_set/synthetic" / part)]
    if not test:
        raise LanewiseError(f"{base}/test_set/synthetic: neither no_reverb/ nor with_reverb/; unpack the test set")
    heard = utterances_of([clip for clip in voices if clip.split == "valid"], "dns")
    valid = mixtures(heard, noises, "valid", "valid", ("noise",), VALID_SNR_DB)
    train = [clip for clip in voices if clip.split == "train"]
    return NoisyCorpus(spec, _hash(test, [*voices, *noises.clips]), {"dns": train}, noises, [], valid, test)


def _as_noise(clip: Clip) -> NoiseClip:
    return NoiseClip(clip.id, clip.path, clip.split, clip.seconds, "noise")


def _split_clips(files: dict[str, Path]) -> list[Clip]:
    if len(files) < 3:
        raise LanewiseError(f"{next(iter(files.values())).parent}: {len(files)} recordings; at least 3 are needed")
    splits = every_nth_split(list(files))
    return [
        Clip(name, path, splits[name], count_samples(path) / SAMPLE_RATE_HZ) for name, path in sorted(files.items())
    ]


def _dns_set(folder: Path) -> list[Pair]:
    if not folder.is_dir():
        return []
    noisy, clean = ({_file_id(path): path for path in _audio(folder / part).values()} for part in ("noisy", "clean"))
    for number in sorted(noisy.keys() ^ clean.keys()):
        raise LanewiseError(f"{folder}: fileid_{number} is only in one of noisy and clean; unpack the test set again")
    pairs = []
    for number in sorted(noisy):
        told = _DNS_SNR.search(noisy[number].stem)
        snr_db = float(told[1]) if told else None
        pairs.append(_file_pair(noisy[number], clean[number], folder.name, "noise", snr_db))
    return pairs


def _file_id(path: Path) -> int:
    found = _FILE_ID.search(path.stem)
    if found is None:
        raise LanewiseError(f"{path}: its name does not end in fileid_<number>; unpack the test set again")
    return int(found[1])


_LAYOUTS = {"voicebank": _voicebank, "dns": _dns}
