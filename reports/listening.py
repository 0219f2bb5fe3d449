"""Which utterances one listens to, and their audio as data: URIs."""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.errors import LanewiseError
from reports.analysis import Analysis
from reports.loader import BASELINE

MOST_SYSTEMS = 16
BUDGET_BYTES = 12_000_000  # of encoded audio; base64 adds a third, and the page must stay below 20 MB


@dataclass(frozen=True)
class Choice:
    """An utterance to listen to, and why it was chosen."""

    utterance: str
    why: str


def systems(analysis: Analysis) -> list[str]:
    """References, dense-continued, then arms by NLL, as far as they have audio; at most `MOST_SYSTEMS`."""
    heard = set(analysis.study.audio["arm"])
    return [name for name in (*analysis.references, *analysis.arms) if name in heard][:MOST_SYSTEMS]


def audio_of(analysis: Analysis, system: str, utterance: str) -> Path | None:
    """The first seed's audio of one utterance; None where it was not stored."""
    audio = analysis.study.audio
    found = audio[(audio["arm"] == system) & (audio["utterance"] == utterance)]
    return None if found.empty else Path(found["path"].iloc[0])


def choose(analysis: Analysis) -> list[Choice]:
    """Utterances on which pruning cost most, typically and least, by mean loss to dense-continued.

    Only utterances that the most systems have audio of are candidates. Without losses, the first three by name.
    """
    names = systems(analysis)
    audio = analysis.study.audio
    counts = audio[audio["arm"].isin(names)].groupby("utterance")["arm"].nunique()
    if counts.empty:
        return []
    candidates = sorted(counts[counts == counts.max()].index)
    losses = _losses(analysis)
    ranked = sorted((name for name in candidates if name in losses), key=lambda name: (losses[name], name))
    if len(ranked) < 3:
        return [Choice(name, "stored utterance") for name in candidates[:3]]
    return [
        Choice(ranked[-1], f"largest loss, {losses[ranked[-1]]:+.3f} {analysis.task.unit}"),
        Choice(ranked[len(ranked) // 2], f"median loss, {losses[ranked[len(ranked) // 2]]:+.3f} {analysis.task.unit}"),
        Choice(ranked[0], f"smallest loss, {losses[ranked[0]]:+.3f} {analysis.task.unit}"),
    ]


def _losses(analysis: Analysis) -> dict[str, float]:
    """Mean loss (of the primary metric; positive is worse) of the pruned arms to dense-continued, per utterance."""
    base = analysis.scores.get((BASELINE, analysis.primary), {})
    found: dict[str, list[float]] = {}
    for arm in filter(analysis.is_pruned, analysis.arms):
        for seed, scores in analysis.scores.get((arm, analysis.primary), {}).items():
            for name, score in scores.items():
                before = base.get(seed, {}).get(name)
                if score is not None and before is not None:
                    found.setdefault(name, []).append(analysis.task.sign * (before - score))
    return {name: math.fsum(losses) / len(losses) for name, losses in found.items()}


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


def flac_uri(path: Path) -> str:
    """The file as 16-bit FLAC in a data: URI (bit-exact for the 16-bit files that trials store)."""
    samples, rate = read_audio(path)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class Row:
    """One utterance of the listening page: a (system, URI or None) pair for each system."""

    choice: Choice
    players: tuple[tuple[str, str | None], ...]


def rows(analysis: Analysis) -> tuple[list[Row], list[str]]:
    """Rows of players, and names of the chosen utterances that did not fit into the page."""
    made: list[Row] = []
    dropped: list[str] = []
    used = 0
    for choice in choose(analysis):
        players = []
        for system in systems(analysis):
            path = audio_of(analysis, system, choice.utterance)
            players.append((system, None if path is None else flac_uri(path)))
        size = sum(math.ceil(len(uri) * 3 / 4) for _, uri in players if uri)
        if used + size > BUDGET_BYTES:
            dropped.append(choice.utterance)
            continue
        used += size
        made.append(Row(choice, tuple(players)))
    return made, dropped
