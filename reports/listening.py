"""Which utterances one listens to, at which level, and their audio for inside the page."""

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.errors import LanewiseError
from reports.analysis import Analysis
from reports.levels import matching_gains_db
from reports.loader import BASELINE

MOST_SYSTEMS = 16
MOST_ROWS = 6
BUDGET_BYTES = 12_000_000  # of encoded audio; base64 adds a third, and the page must stay below 20 MB


@dataclass(frozen=True)
class Choice:
    """An utterance to listen to, and why it was chosen."""

    utterance: str
    why: str


def systems(analysis: Analysis) -> list[str]:
    """References, dense-continued, then arms by NLL, as far as they have audio; at most `MOST_SYSTEMS`."""
    return _with_audio(analysis)[:MOST_SYSTEMS]


def _with_audio(analysis: Analysis) -> list[str]:
    heard = set(analysis.study.audio["arm"])
    return [name for name in (*analysis.references, *analysis.arms) if name in heard]


def audio_of(analysis: Analysis, system: str, utterance: str) -> Path | None:
    """The first seed's audio of one utterance; None where it was not stored."""
    audio = analysis.study.audio
    found = audio[(audio["arm"] == system) & (audio["utterance"] == utterance)]
    return None if found.empty else Path(found["path"].iloc[0])


def choose(analysis: Analysis, metric: str | None = None, most: int = 3) -> list[Choice]:
    """Utterances on which pruning cost most, typically and least, by mean loss to dense-continued; then others.

    Only utterances that the most systems have audio of are candidates. Without losses, the first by name.

    Parameters
    ----------
    metric : quality metric that ranks them; the primary one by default
    """
    key = metric or analysis.primary
    candidates = _candidates(analysis)
    found = losses(analysis, key)
    ranked = _by_loss(candidates, found)
    if len(ranked) < 3:
        return [Choice(name, "stored utterance") for name in candidates[:most]]
    column = analysis.column(key)
    told = [ranked[0], ranked[len(ranked) // 2], ranked[-1]]
    others = [name for name in ranked if name not in told]
    whys = _whys(ranked, found, "" if column is None else column.label)
    return [Choice(name, whys[name]) for name in told + others[: max(0, most - 3)]]


def _candidates(analysis: Analysis) -> list[str]:
    """The utterances that the most systems have audio of, by name."""
    audio = analysis.study.audio
    counts = audio[audio["arm"].isin(systems(analysis))].groupby("utterance")["arm"].nunique()
    return sorted(counts[counts == counts.max()].index)


def _by_loss(candidates: list[str], found: Mapping[str, float]) -> list[str]:
    return sorted((name for name in candidates if name in found), key=lambda name: (-found[name], name))


def _whys(ranked: list[str], found: Mapping[str, float], label: str) -> dict[str, str]:
    """What the loss says of each utterance with audio: its place among them, and among all that were scored."""
    roles = {len(ranked) // 2: "median", len(ranked) - 1: "smallest", 0: "largest"}
    whys = {}
    for place, name in enumerate(ranked):
        what = f"{roles[place]} loss of the {len(ranked)} with audio" if place in roles else "loss"
        rank = 1 + sum(loss > found[name] for loss in found.values())
        whys[name] = f"{what} (rank {rank} of {len(found)}), {label.partition(',')[0]} {found[name]:+.3f}"
    return whys


def losses(analysis: Analysis, key: str) -> dict[str, float]:
    """Mean loss (positive is worse) of the pruned arms to dense-continued, by utterance; empty without them."""
    column = analysis.column(key)
    sign = 1 if column is None else column.sign
    base = analysis.scores.get((BASELINE, key), {})
    found: dict[str, list[float]] = {}
    for arm in filter(analysis.is_pruned, analysis.arms):
        for seed, scores in analysis.scores.get((arm, key), {}).items():
            of_base = base.get(seed, {})
            for name, score in scores.items():
                if score is not None and (before := of_base.get(name)) is not None:
                    found.setdefault(name, []).append(sign * (before - score))
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


def read_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """Mono audio in [-1, 1] and its sampling rate.

    Raises
    ------
    LanewiseError
        The file cannot be read, or has more than one channel.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32")
    except (OSError, soundfile.LibsndfileError) as error:
        raise LanewiseError(f"{path}: cannot be read as audio ({error})") from error
    if samples.ndim != 1:
        raise LanewiseError(f"{path}: expected mono, got {samples.shape[1]} channels")
    return samples, int(rate)


def flac_base64(samples: NDArray[np.float32], rate: int) -> str:
    """Audio as 16-bit FLAC in base64 (bit-exact for the 16-bit files that trials store)."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class Player:
    """One system of a row: its place among the encoded clips (None: not stored) and the gain that matches its level."""

    system: str
    clip: int | None
    gain_db: float


@dataclass(frozen=True)
class Row:
    """One utterance of the listening page; `losses` and what they say by metric label, for ranking the rows."""

    choice: Choice
    players: tuple[Player, ...]
    losses: dict[str, float]
    whys: dict[str, str]


@dataclass(frozen=True)
class Page:
    """All rows, their clips in base64, the systems, the metrics that rows can be ranked by, and what did not fit:
    utterances (`dropped`) and systems (`unheard`)."""

    rows: tuple[Row, ...]
    clips: tuple[str, ...]
    systems: tuple[str, ...]
    metrics: tuple[str, ...]
    dropped: tuple[str, ...]
    unheard: tuple[str, ...]


def page(analysis: Analysis) -> Page:
    """Rows of players as far as the page's budget goes; the worst, the median and the best come first."""
    names = systems(analysis)
    ranked_by = {c.label: losses(analysis, c.key) for c in analysis.columns if _ranks(c.key) and not c.minor}
    ranked_by = {label: found for label, found in ranked_by.items() if found}
    candidates = _candidates(analysis)
    whys = {label: _whys(_by_loss(candidates, found), found, label) for label, found in ranked_by.items()}
    rows: list[Row] = []
    clips: list[str] = []
    dropped: list[str] = []
    used = 0
    for choice in choose(analysis, most=MOST_ROWS):
        heard = {name: read_audio(path) for name in names if (path := audio_of(analysis, name, choice.utterance))}
        encoded = {name: flac_base64(*audio) for name, audio in heard.items()}
        size = sum(len(text) * 3 // 4 for text in encoded.values())
        if used + size > BUDGET_BYTES:
            dropped.append(choice.utterance)
            continue
        used += size
        gains = dict(zip(heard, matching_gains_db([samples for samples, _ in heard.values()]), strict=True))
        places = {name: len(clips) + place for place, name in enumerate(encoded)}
        clips += encoded.values()
        players = tuple(Player(name, places.get(name), round(gains.get(name, 0.0), 2)) for name in names)
        mine = {label: found[choice.utterance] for label, found in ranked_by.items() if choice.utterance in found}
        rows.append(Row(choice, players, mine, {label: whys[label][choice.utterance] for label in mine}))
    unheard = _with_audio(analysis)[MOST_SYSTEMS:]
    return Page(tuple(rows), tuple(clips), tuple(names), tuple(ranked_by), tuple(dropped), tuple(unheard))


def _ranks(key: str) -> bool:
    return key.startswith("quality.") and not key.startswith("quality.gain.") and not key.endswith("_int8")
