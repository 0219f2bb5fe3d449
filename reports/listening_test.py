"""Stimuli of a listening test: equally loud wav files of equal length, set-ups for webMUSHRA, trials for ABX.

webMUSHRA (https://github.com/audiolabs/webMUSHRA, doc/experimenter.md) refuses a page whose stimuli differ in length,
are more than twelve or, in a strict MUSHRA page, last more than twelve seconds. File names say nothing about the
system: `stimuli.csv` and `abx-key.csv` are the experimenter's.
"""

import csv
import shutil
from dataclasses import dataclass
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray

from bench.errors import LanewiseError, UsageError
from reports.analysis import Analysis
from reports.levels import matching_gains_db
from reports.listening import audio_of, choose, read_audio, systems
from reports.loader import BASELINE, NOISY, RECORDING

MOST_SYSTEMS = 12  # ITU-R BS.1534: more than twelve signals on a page tire the listener
LONGEST_S = 12.0  # of the same


@dataclass(frozen=True)
class Stimulus:
    """One written file."""

    file: str
    utterance: str
    system: str
    gain_db: float
    seconds: float


def write_test(
    analysis: Analysis, out: Path, arms: tuple[str, ...], utterances: int, metric: str | None, seed: int
) -> list[Stimulus]:
    """Write `stimuli/`, `stimuli.csv`, `mushra.yaml`, `pairs.yaml`, `abx/`, `abx.csv` and `abx-key.csv` below `out`.

    `pairs.yaml` compares with the recording; where dense-continued is among the systems, `pairs-dense.yaml` compares
    the others with it.

    Parameters
    ----------
    arms : systems to compare; every arm with audio when empty
    utterances : how many: the worst, the median and the best first
    metric : quality key that ranks the utterances; the primary one when None
    seed : of the shuffling

    Raises
    ------
    UsageError
        A system is unknown or has no audio, or there are too many for one page.
    LanewiseError
        No audio is stored, or the reference's is missing.
    """
    heard = systems(analysis)
    unknown = [arm for arm in arms if arm not in heard]
    if unknown:
        raise UsageError(f"no audio of {unknown[0]!r}; there is audio of {', '.join(heard) or 'nothing'}")
    if RECORDING not in heard:
        raise LanewiseError(f"{analysis.study.root}: no audio of the {RECORDING}s is stored (references.json)")
    compared = [name for name in heard if name != RECORDING and (not arms or name in arms or name == NOISY)]
    if len(compared) > MOST_SYSTEMS:
        raise UsageError(
            f"{len(compared)} systems are too many for one page (at most {MOST_SYSTEMS}); choose with --arm"
        )
    rng = np.random.default_rng(seed)
    (out / "stimuli").mkdir(parents=True, exist_ok=True)
    written: list[Stimulus] = []
    for number, choice in enumerate(choose(analysis, metric, most=utterances)[:utterances], start=1):
        paths = {name: audio_of(analysis, name, choice.utterance) for name in (RECORDING, *compared)}
        audio = {name: read_audio(path) for name, path in paths.items() if path is not None}
        if RECORDING not in audio:
            raise LanewiseError(f"no recording of {choice.utterance} is stored")
        audio = {name: (fitted(samples, len(audio[RECORDING][0])), rate) for name, (samples, rate) in audio.items()}
        gains = matching_gains_db([samples for samples, _ in audio.values()])
        letters = rng.permutation(len(audio) - 1)
        for place, ((name, (samples, rate)), gain) in enumerate(zip(audio.items(), gains, strict=True)):
            stem = "reference" if name == RECORDING else f"c{letters[place - 1] + 1:02d}"
            file = f"stimuli/u{number:02d}-{stem}.wav"
            louder = samples * np.float32(10 ** (gain / 20))
            soundfile.write(out / file, np.clip(louder, -1, 1), rate, subtype="PCM_16")
            written.append(Stimulus(file, choice.utterance, name, round(gain, 2), len(samples) / rate))
    _write_csv(out / "stimuli.csv", ["file", "utterance", "system", "gain_db"],
               [[s.file, s.utterance, s.system, f"{s.gain_db:+.2f}"] for s in written])  # fmt: skip
    _write_yaml(out / "mushra.yaml", analysis, written, "mushra", RECORDING)
    _write_yaml(out / "pairs.yaml", analysis, written, "paired_comparison", RECORDING)
    if any(s.system == BASELINE for s in written) and len(compared) > 1:
        others = [s for s in written if s.system != RECORDING]
        _write_yaml(out / "pairs-dense.yaml", analysis, others, "paired_comparison", BASELINE)
    _write_abx(out, written, rng)
    return written


def fitted(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Samples cut, or with silence appended, to a length."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def _write_yaml(path: Path, analysis: Analysis, stimuli: list[Stimulus], kind: str, compared_with: str) -> None:
    """A webMUSHRA configuration; paths are those of a folder `configs/<name of the output folder>` of webMUSHRA.

    Pairs are those of the system `compared_with` and each of the others: one of the two is the reference once more.
    """
    folder = f"configs/{path.parent.resolve().name}"
    pages: list[Any] = [
        {"type": "generic", "id": "welcome", "name": "Welcome", "content": "Use headphones in a quiet room."}
    ]
    first = next(s for s in stimuli if s.system == compared_with)
    pages.append(
        {"type": "volume", "id": "volume", "name": "Volume", "content": "Set a comfortable volume, then leave it.",
         "stimulus": f"{folder}/{first.file}", "defaultVolume": 0.5}
    )  # fmt: skip
    trials: list[Any] = ["random"]
    for utterance in dict.fromkeys(s.utterance for s in stimuli):
        mine = [s for s in stimuli if s.utterance == utterance]
        reference = next(s for s in mine if s.system == compared_with)
        conditions = {Path(s.file).stem.rpartition("-")[2]: f"{folder}/{s.file}" for s in mine if s is not reference}
        page: dict[str, Any] = {
            "type": kind, "id": Path(reference.file).stem.partition("-")[0], "name": "Compare with the reference",
            "content": "", "showWaveform": False, "enableLooping": True, "reference": f"{folder}/{reference.file}",
        }  # fmt: skip
        if kind == "mushra":
            page |= {"createAnchor35": True, "createAnchor70": False, "strict": reference.seconds <= LONGEST_S}
        else:
            page |= {"unforced": "I hear no difference"}
        trials.append({**page, "stimuli": dict(sorted(conditions.items()))})
    pages.append(trials)
    pages.append({"type": "finish", "name": "Thank you", "content": "Thank you.", "showResults": False,
                  "writeResults": True})  # fmt: skip
    content = {
        "testname": f"{escape(analysis.study.name)}: {kind}", "testId": f"lanewise_{path.stem}", "bufferSize": 2048,
        "stopOnErrors": True, "showButtonPreviousPage": True, "remoteService": "service/write.php", "pages": pages,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _write_abx(out: Path, stimuli: list[Stimulus], rng: np.random.Generator) -> None:
    """Pairs with the recording or dense-continued: A and B in random order, X a copy of one under another name."""
    trials: list[list[str]] = []
    key: list[list[str]] = []
    (out / "abx").mkdir(exist_ok=True)
    for utterance in dict.fromkeys(s.utterance for s in stimuli):
        mine = [s for s in stimuli if s.utterance == utterance]
        for pair in combinations(mine, 2):
            if not {s.system for s in pair} & {RECORDING, BASELINE}:
                continue
            a, b = pair if rng.random() < 0.5 else pair[::-1]
            is_a = bool(rng.random() < 0.5)
            x = f"abx/x{len(trials) + 1:04d}.wav"
            shutil.copyfile(out / (a if is_a else b).file, out / x)
            trials.append([a.file, b.file, x])
            key.append([utterance, a.system, b.system, "a" if is_a else "b"])
    order = rng.permutation(len(trials))
    numbered = [(str(place + 1), trials[i], key[i]) for place, i in enumerate(order)]
    _write_csv(out / "abx.csv", ["trial", "a", "b", "x"], [[number, *trial] for number, trial, _ in numbered])
    _write_csv(out / "abx-key.csv", ["trial", "utterance", "a", "b", "x_is"], [[n, *found] for n, _, found in numbered])


def _write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
