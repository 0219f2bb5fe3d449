"""Is a corpus what it says: every recording readable, splits apart, nothing used twice, no wording shared?"""

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.data.corpus import EMBEDDED_ROOT, SPLITS, Corpus
from bench.data.features import log_mel
from bench.data.prepare import pcm_sha256
from bench.data.wording import SAME_WORDING, Match, shared_wording
from bench.errors import LanewiseError
from bench.progress import track

_WORDING_MAX_HOURS = 2.0
"""Beyond this the search, which grows with the square of the corpus, is left out unless asked for."""

_FULL_SCALE = 32768.0


@dataclass
class Findings:
    """Result of `check`."""

    corpus: str
    content_hash: str
    clips: dict[str, int]
    seconds: dict[str, float]
    problems: list[str] = field(default_factory=list)
    closest_wording: list[Match] = field(default_factory=list)
    wording_searched: bool = False


def check(corpus: Corpus, wording: bool | None = None) -> Findings:
    """Check a corpus as a whole and list every problem, instead of ending at the first.

    Parameters
    ----------
    corpus : Corpus
    wording : bool or None
        Search for wording that splits share; None does so for corpora of up to 2 hours.
    """
    findings = Findings(
        corpus=corpus.name,
        content_hash=corpus.content_hash(),
        clips={split: len(corpus.split(split)) for split in SPLITS},
        seconds={split: round(corpus.seconds(split), 3) for split in SPLITS},
    )
    by_audio: dict[str, list[str]] = defaultdict(list)
    splits = {clip.id: clip.split for clip in corpus.clips}
    mels = {}
    hours = sum(findings.seconds.values()) / 3600.0
    findings.wording_searched = hours <= _WORDING_MAX_HOURS if wording is None else wording
    for clip in track(corpus.clips, "reading", len(corpus.clips)):
        try:
            audio = clip.audio()
            mel = log_mel(audio)
        except LanewiseError as error:
            findings.problems.append(str(error))
            continue
        if not audio.any():
            findings.problems.append(f"{clip.path}: holds digital silence only; remove it")
            continue
        if findings.wording_searched:
            mels[clip.id] = mel
        by_audio[pcm_sha256(np.rint(audio * _FULL_SCALE).clip(-32768, 32767).astype(np.int16))].append(clip.id)
    for clips in by_audio.values():
        if len({splits[clip] for clip in clips}) > 1:
            where = ", ".join(f"{clip} ({splits[clip]})" for clip in clips)
            findings.problems.append(f"the same recording lies in several splits: {where}")
    if corpus.root == EMBEDDED_ROOT:
        findings.problems += table_problems(corpus.root / "split.csv", by_audio)
    if findings.wording_searched and mels:
        matches = shared_wording(mels, splits)
        findings.closest_wording = matches[:5]
        findings.problems += [
            f"{match.clip} ({match.split}) at {match.start_s:.1f} s, {match.seconds:.1f} s long, has wording of "
            f"{match.other_clip} ({match.other_split}): distance {match.distance:.3f}, limit {SAME_WORDING:.2f}"
            for match in matches
            if match.distance < SAME_WORDING
        ]
    return findings


def table_problems(table: Path, clips_by_hash: dict[str, list[str]]) -> list[str]:
    """Disagreements of a split.csv with the audio, and families that lie in more than one split."""
    problems: list[str] = []
    hash_of = {clip: digest for digest, clips in clips_by_hash.items() for clip in clips}
    family_splits: dict[str, set[str]] = defaultdict(set)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            family_splits[row["family"]].add(row["split"])
            if hash_of.get(row["id"]) != row["sha256"]:
                problems.append(f"{table}: the samples of {row['id']} are not those that were prepared")
    problems += [
        f"{table}: family {family} lies in {' and '.join(sorted(found))}"
        for family, found in sorted(family_splits.items())
        if len(found) > 1
    ]
    return problems
