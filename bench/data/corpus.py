"""Corpora: the embedded one and adapters for a folder of recordings, LJSpeech-1.1 and JSUT 1.1.

A corpus is named by a spec: `embedded`, `folder:PATH`, `ljspeech:PATH` or `jsut:PATH`. Nothing is resampled or
skipped while loading: a recording that does not fit is one clear error.
"""

import csv
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.data.audio import AUDIO_SUFFIXES, FloatArray, count_samples, read_wav
from bench.data.cache import features
from bench.data.features import SAMPLE_RATE_HZ
from bench.digest import file_sha256
from bench.errors import LanewiseError, UsageError, did_you_mean

__all__ = ["EMBEDDED_ROOT", "SPLITS", "Clip", "Corpus", "every_nth_split", "features", "load_corpus", "read_split"]

SPLITS = ("train", "valid", "test")
EMBEDDED_ROOT = Path(__file__).parent / "corpora" / "allison"

_HELD_OUT_SHARE = 10
_HELD_OUT_MAX = 100
"""One clip in ten, at most about a hundred, goes to each of valid and test where no split.csv says otherwise."""
_SHOWN = 10
"""Most recordings that one error names."""


@dataclass(frozen=True)
class Clip:
    """One recording of a corpus."""

    id: str
    path: Path
    split: str
    seconds: float

    def audio(self) -> FloatArray:
        """Samples, float32 (n,), full scale = 1; see `bench.data.audio.read_wav` for what is refused."""
        return read_wav(self.path)

    def sha256(self) -> str:
        """Hash of the file's bytes, hexadecimal."""
        try:
            return file_sha256(self.path)
        except OSError as error:
            raise LanewiseError(f"{self.path}: cannot be read ({error.strerror}); check the corpus") from error


@dataclass(frozen=True)
class Corpus:
    """A named set of clips, sorted by id."""

    name: str
    root: Path
    clips: list[Clip] = field(repr=False)

    def split(self, split: str) -> list[Clip]:
        """Clips of one split ("train", "valid" or "test"), sorted by id."""
        return [clip for clip in self.clips if clip.split == split]

    def seconds(self, split: str) -> float:
        """Length of one split."""
        return math.fsum(clip.seconds for clip in self.split(split))

    def content_hash(self) -> str:
        """SHA-256 over every clip's id, split and file bytes: any change of the data changes it."""
        total = hashlib.sha256()
        for clip in self.clips:
            total.update(f"{clip.id}\0{clip.split}\0{clip.sha256()}\n".encode())
        return total.hexdigest()


def load_corpus(spec: str) -> Corpus:
    """Load the corpus that `spec` names.

    Parameters
    ----------
    spec : str
        `embedded`, `folder:PATH`, `ljspeech:PATH` (folder with metadata.csv and wavs/) or `jsut:PATH` (folder with
        basic5000/ and others, each with wav/ and transcript_utf8.txt).

    Raises
    ------
    UsageError
        The spec is not one of these.
    LanewiseError
        The folder has not that layout, a recording does not fit, or a split is empty.
    """
    kind, _, path = spec.partition(":")
    if spec == "embedded":
        return _build("embedded", EMBEDDED_ROOT, _folder_files(EMBEDDED_ROOT))
    if kind not in _LAYOUTS or not path:
        hint = did_you_mean(kind, ["embedded", *_LAYOUTS])
        allowed = ", ".join(f"{known}:PATH" for known in _LAYOUTS)
        raise UsageError(f"unknown corpus {spec!r}{hint}; expected embedded, {allowed}")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise LanewiseError(f"{root}: no such folder; `lanewise data fetch {kind}` says how to get this corpus")
    return _build(spec, root, _LAYOUTS[kind](root))


def every_nth_split(ids: list[str]) -> dict[str, str]:
    """Split sorted ids without chance: in each run of `period` clips one is for valid and one for test.

    `period` is 10, or larger so that valid and test have about a hundred clips each at most.
    """
    period = min(max(_HELD_OUT_SHARE, math.ceil(len(ids) / _HELD_OUT_MAX)), max(len(ids), 3))
    at = {period // 3: "valid", 2 * period // 3: "test"}
    return {clip: at.get(index % period, "train") for index, clip in enumerate(sorted(ids))}


def read_split(path: Path) -> dict[str, str]:
    """Read the columns `id` and `split` of a split.csv.

    Raises
    ------
    LanewiseError
        A column is missing, a split is unknown or an id occurs twice.
    """
    splits: dict[str, str] = {}
    reader = csv.DictReader(_lines(path))
    missing = {"id", "split"} - set(reader.fieldnames or ())
    if missing:
        raise LanewiseError(f"{path}: no column {', '.join(sorted(missing))}; expected at least id,split")
    for row in reader:
        clip, split = row["id"], row["split"]
        where = f"{path}, line {reader.line_num}"
        if split not in SPLITS:
            raise LanewiseError(f"{where}: unknown split {split!r} of {clip}; expected {', '.join(SPLITS)}")
        if clip in splits:
            raise LanewiseError(f"{where}: {clip} occurs twice; keep one line")
        splits[clip] = split
    return splits


def _lines(path: Path) -> list[str]:
    """Lines of a table, ends kept."""
    try:
        return path.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise LanewiseError(f"{path}: cannot be read ({error.strerror}); check the corpus") from error
    except UnicodeDecodeError as error:
        raise LanewiseError(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _build(name: str, root: Path, files: dict[str, Path]) -> Corpus:
    table = root / "split.csv"
    if table.is_file():
        splits = read_split(table)
        for clip in sorted(splits.keys() ^ files.keys()):
            what = "has no recording" if clip in splits else f"lacks a line for {files[clip]}"
            raise LanewiseError(f"{table}: {clip} {what}; make the table and the recordings agree")
    else:
        splits = every_nth_split(list(files))
    clips, problems = [], []
    for clip, path in sorted(files.items()):
        try:
            clips.append(Clip(clip, path, splits[clip], count_samples(path) / SAMPLE_RATE_HZ))
        except LanewiseError as error:
            problems.append(str(error))
    if problems:
        head = [f"{len(problems)} of {len(files)} recordings of {name} do not fit:"] if len(problems) > 1 else []
        rest = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise LanewiseError("\n  ".join([*head, *problems[:_SHOWN], *rest]))
    corpus = Corpus(name, root, clips)
    for split in SPLITS:
        if not corpus.split(split):
            raise LanewiseError(f"{root}: no clip for {split}; give at least 3 recordings, or lines in {table}")
    return corpus


def _folder_files(root: Path) -> dict[str, Path]:
    """Every wav and flac below `root/audio`, or `root` without one; the id is the path from there, `.` for `/`."""
    base = root / "audio" if (root / "audio").is_dir() else root
    files: dict[str, Path] = {}
    for path in sorted(path for path in base.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES):
        clip = path.relative_to(base).with_suffix("").as_posix().replace("/", ".")
        if clip in files:
            raise LanewiseError(f"{path} and {files[clip]} have the same id {clip}; rename one")
        files[clip] = path
    if not files:
        raise LanewiseError(f"{base}: no recordings; expected files ending in {' or '.join(AUDIO_SUFFIXES)}")
    return files


def _listed_files(table: Path, separator: str, wavs: Path) -> dict[str, Path]:
    """Recordings named by the first field of each line of a transcript table."""
    if not table.is_file():
        raise LanewiseError(f"{table}: missing; this folder has not the layout of the corpus")
    files: dict[str, Path] = {}
    for number, line in enumerate(map(str.rstrip, _lines(table)), start=1):
        clip, found, _ = line.partition(separator)
        if not line.strip():
            continue
        path = wavs / f"{clip}.wav"
        if not found or clip in files or path.parent != wavs:  # an id is a name: no table leads out of its folder
            raise LanewiseError(f"{table}, line {number}: expected a new id, then {separator!r}, then text")
        if not path.is_file():
            raise LanewiseError(f"{table}, line {number}: {path} is missing; unpack the corpus again")
        files[clip] = path
    if not files:
        raise LanewiseError(f"{table}: names no recording; unpack the corpus again")
    return files


def _ljspeech_files(root: Path) -> dict[str, Path]:
    """LJSpeech-1.1: metadata.csv (`id|text|normalised text`) and wavs/<id>.wav."""
    return _listed_files(root / "metadata.csv", "|", root / "wavs")


def _jsut_files(root: Path) -> dict[str, Path]:
    """JSUT 1.1: <part>/transcript_utf8.txt (`id:text`) and <part>/wav/<id>.wav for basic5000 and other parts."""
    tables = sorted(root.glob("*/transcript_utf8.txt"))
    if not tables:
        raise LanewiseError(f"{root}: no <part>/transcript_utf8.txt; expected the folder jsut_ver1.1 with basic5000/")
    files: dict[str, Path] = {}
    for table in tables:
        part = _listed_files(table, ":", table.parent / "wav")
        for clip in sorted(part.keys() & files.keys()):
            raise LanewiseError(f"{table}: id {clip} occurs in another part too; keep one")
        files.update(part)
    return files


_LAYOUTS: dict[str, Callable[[Path], dict[str, Path]]] = {
    "folder": _folder_files,
    "ljspeech": _ljspeech_files,
    "jsut": _jsut_files,
}
