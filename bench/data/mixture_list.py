"""Mixture lists: a table that names speech, noise and ratio of each noisy utterance, checked as a whole when read."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from bench.data.audio import FloatArray, count_samples, read_wav
from bench.data.features import SAMPLE_RATE_HZ
from bench.data.mixing import at_level, mix, stretch
from bench.data.mixtures import Pair
from bench.errors import LanewiseError

COLUMNS = ("id", "speech", "noise", "start_s", "snr_db")
_MOST_DB = 100.0


@dataclass(frozen=True)
class _Line:
    speech: Path
    noise: Path
    start: int
    snr_db: float
    level_db: float | None

    def __call__(self) -> tuple[FloatArray, FloatArray]:
        clean = read_wav(self.speech)
        if self.level_db is not None:
            clean = at_level(clean, self.level_db)
        return mix(clean, stretch(read_wav(self.noise), len(clean), self.start), self.snr_db), clean


def read_mixture_list(path: Path) -> list[Pair]:
    """Read a list of mixtures; every file it names is looked at, none is loaded yet.

    Parameters
    ----------
    path
        A csv file with `COLUMNS` and optionally `level_db` and `kind`; recordings are found from its folder. A noise
        that ends before the speech goes on at its beginning.

    Raises
    ------
    LanewiseError
        The list is missing, empty or lacks a column; a line has a number that is none, names a recording that is
        missing, unreadable or of another sample rate, starts behind the noise's end, or repeats an id.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise LanewiseError(f"{path}: cannot be read as a mixture list ({error}); check the path") from error
    reader = csv.DictReader(lines)
    missing = set(COLUMNS) - set(reader.fieldnames or ())
    if missing:
        raise LanewiseError(f"{path}: no column {', '.join(sorted(missing))}; expected {','.join(COLUMNS)}")
    pairs: dict[str, Pair] = {}
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        id_ = row["id"]
        if not id_ or id_ in pairs or "/" in id_:
            raise LanewiseError(f"{where}: id {id_!r}; expected a new name without a slash")
        try:
            line = _line(row, path.parent)
        except LanewiseError as error:
            raise LanewiseError(f"{where}: {error}") from error
        pairs[id_] = Pair(id_, path.stem, row.get("kind") or "", line.snr_db, line)
    if not pairs:
        raise LanewiseError(f"{path}: lists no mixture; expected at least one line below the header")
    return list(pairs.values())


def _line(row: dict[str, str], folder: Path) -> _Line:
    speech, noise = (folder / (row[key] or "") for key in ("speech", "noise"))
    start = round(_number(row, "start_s", 0.0, 1e6) * SAMPLE_RATE_HZ)
    count_samples(speech)
    length = count_samples(noise)
    if start >= length:
        raise LanewiseError(
            f"start_s is {row['start_s']}, but {noise} lasts {length / SAMPLE_RATE_HZ:.2f} s; start earlier"
        )
    level = _number(row, "level_db", -_MOST_DB, 0.0) if row.get("level_db") else None
    return _Line(speech, noise, start, _number(row, "snr_db", -_MOST_DB, _MOST_DB), level)


def _number(row: dict[str, str], key: str, low: float, high: float) -> float:
    try:
        value = float(row[key] or "")
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise LanewiseError(f"{key} is {row[key]!r}; expected a number from {low:g} to {high:g}")
    return value
