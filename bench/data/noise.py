"""Noise recordings by kind and split: the embedded set, or a folder of one's own.

A noise set is named by a spec: `embedded` or `folder:PATH` (`PATH/<kind>/*.wav`, every recording in one split as a
whole; `noise.csv` with id, kind and split decides which, otherwise one in ten goes to each of valid and test).
"""

import csv
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from bench.data.audio import AUDIO_SUFFIXES, count_samples
from bench.data.corpus import SPLITS, Clip, every_nth_split
from bench.data.features import SAMPLE_RATE_HZ
from bench.errors import LanewiseError, UsageError

EMBEDDED_NOISE_ROOT = Path(__file__).parent / "corpora" / "noise"
FIELDS = ("id", "kind", "split", "speaker", "seconds", "sha256", "source")
_SUFFIXES = (*AUDIO_SUFFIXES, ".opus", ".ogg")


@dataclass(frozen=True)
class NoiseClip(Clip):
    """One recording of a noise set.

    Attributes
    ----------
    kind
        "environment", "music", "voice" (whose clips are summed to babble) or a folder's name.
    speaker
        Who speaks, of a voice; otherwise "".
    """

    kind: str
    speaker: str = ""


@dataclass(frozen=True)
class NoiseSet:
    """A named set of noise recordings, sorted by kind and id."""

    name: str
    root: Path
    clips: list[NoiseClip] = field(repr=False)

    def select(self, kind: str, split: str) -> list[NoiseClip]:
        """Recordings of one kind in one split."""
        return [clip for clip in self.clips if clip.kind == kind and clip.split == split]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that occur, sorted."""
        return tuple(sorted({clip.kind for clip in self.clips}))

    def content_hash(self) -> str:
        """SHA-256 over every recording's kind, id, split, speaker and file bytes."""
        total = hashlib.sha256()
        for clip in self.clips:
            total.update(f"{clip.kind}\0{clip.id}\0{clip.split}\0{clip.speaker}\0{clip.sha256()}\n".encode())
        return total.hexdigest()


def load_noise(spec: str) -> NoiseSet:
    """Load the noise set that `spec` names.

    Raises
    ------
    UsageError
        The spec is not `embedded` or `folder:PATH`.
    LanewiseError
        The folder is missing or empty, a recording does not fit, or table and recordings disagree.
    """
    kind, _, path = spec.partition(":")
    if spec == "embedded":
        return _load(spec, EMBEDDED_NOISE_ROOT)
    if kind != "folder" or not path:
        raise UsageError(f"unknown noise set {spec!r}; expected embedded or folder:PATH")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise LanewiseError(f"{root}: no such folder of noise recordings; check the path")
    return _load(spec, root)


def _load(name: str, root: Path) -> NoiseSet:
    base = root / "audio" if (root / "audio").is_dir() else root
    files = {
        f"{path.parent.relative_to(base).as_posix()}/{path.stem}": path
        for path in sorted(path for path in base.rglob("*") if path.suffix.lower() in _SUFFIXES)
    }
    if not files:
        raise LanewiseError(f"{base}: no noise recordings; expected files ending in {', '.join(_SUFFIXES)}")
    table = root / "noise.csv"
    rows = _read_table(table) if table.is_file() else _split_by_kind(list(files))
    for key in sorted(rows.keys() ^ files.keys()):
        what = "has no recording" if key in rows else f"lacks a line for {files[key]}"
        raise LanewiseError(f"{table}: {key} {what}; make the table and the recordings agree")
    clips = []
    for key, path in sorted(files.items()):
        kind, _, id_ = key.rpartition("/")
        split, speaker = rows[key]
        seconds = count_samples(path) / SAMPLE_RATE_HZ
        clips.append(NoiseClip(id_, path, split, seconds, "noise" if kind in ("", ".") else kind, speaker))
    return NoiseSet(name, root, clips)


def _split_by_kind(keys: list[str]) -> dict[str, tuple[str, str]]:
    by_kind: dict[str, list[str]] = {}
    for key in keys:
        by_kind.setdefault(key.rpartition("/")[0], []).append(key)
    return {key: (split, "") for group in by_kind.values() for key, split in every_nth_split(group).items()}


def _read_table(path: Path) -> dict[str, tuple[str, str]]:
    """(split, speaker) by `kind/id`."""
    rows: dict[str, tuple[str, str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"id", "kind", "split"} - set(reader.fieldnames or ())
        if missing:
            raise LanewiseError(f"{path}: no column {', '.join(sorted(missing))}; expected at least id,kind,split")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            key = f"{row['kind']}/{row['id']}"
            if row["split"] not in SPLITS:
                raise LanewiseError(f"{where}: unknown split {row['split']!r} of {key}; expected {', '.join(SPLITS)}")
            if key in rows:
                raise LanewiseError(f"{where}: {key} occurs twice; keep one line")
            rows[key] = row["split"], row.get("speaker") or ""
    return rows
