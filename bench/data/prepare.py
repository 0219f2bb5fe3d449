"""Build the embedded corpus from the Debian package: decode, choose, split, write FLAC files and `split.csv`.

The same package gives the same samples (G.722 decoding is bit-exact), the same table and, with the same libFLAC,
the same file bytes.
"""

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data import allison
from bench.data.audio import write_wav
from bench.data.debian import package_files
from bench.data.features import SAMPLE_RATE_HZ
from bench.errors import LanewiseError
from bench.progress import track

SPLIT_FIELDS = ("id", "split", "family", "seconds", "sha256")
_SAMPLES_PER_BYTE = 2
"""G.722 at 64 kbit/s: 8000 octets, 16000 samples a second."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` wrote."""

    root: Path
    rows: list[dict[str, str]]
    left_out: dict[str, str]
    """Reason for every clip of the package that is not in the corpus."""

    def seconds(self) -> dict[str, float]:
        """Length of each split."""
        total: dict[str, float] = {}
        for row in self.rows:
            total[row["split"]] = total.get(row["split"], 0.0) + float(row["seconds"])
        return total


def decode_g722(data: bytes, name: str = "clip") -> npt.NDArray[np.int16]:
    """Decode raw G.722 at 64 kbit/s (ITU-T G.722 mode 1) to 16 kHz samples, shape (2 * len(data),).

    Raises
    ------
    LanewiseError
        PyAV is not installed, or the data cannot be decoded as a whole.
    """
    try:
        import av
    except ImportError as error:
        raise LanewiseError("decoding G.722 needs PyAV: `pip install 'lanewise[corpus]'`") from error
    if not data:
        raise LanewiseError(f"{name}: empty G.722 file; unpack the package again")
    try:
        with av.open(io.BytesIO(data), mode="r", format="g722") as container:
            samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    except (av.FFmpegError, ValueError) as error:
        raise LanewiseError(f"{name}: cannot be decoded as G.722 ({error}); unpack the package again") from error
    if samples.dtype != np.int16 or len(samples) != _SAMPLES_PER_BYTE * len(data):
        raise LanewiseError(f"{name}: decoded to {len(samples)} samples, expected {_SAMPLES_PER_BYTE * len(data)}")
    return samples


def _voice_clips(source: Path) -> dict[str, bytes]:
    """G.722 content by clip name (path below the voice folder), sorted."""
    files = package_files(source, ".g722")
    marker = f"{allison.VOICE_FOLDER}/"
    inside = {path.split(marker, 1)[1]: data for path, data in files.items() if marker in f"/{path}"}
    if source.name == allison.VOICE_FOLDER:
        inside = files
    if not inside:
        raise LanewiseError(
            f"{source}: no {allison.VOICE_FOLDER}/*.g722 inside; expected the Debian package {allison.PACKAGE} "
            f"{allison.PACKAGE_VERSION} or the folder it was unpacked into (`lanewise data fetch embedded`)"
        )
    return {name.removesuffix(".g722"): data for name, data in sorted(inside.items())}


def reason_to_leave_out(name: str, samples: npt.NDArray[np.int16]) -> str | None:
    """Why a clip is not usable, or None."""
    if allison.NOT_SPEECH.fullmatch(name):
        return "not speech"
    if name in allison.SAME_TAKE:
        return "same recording as another clip"
    if len(samples) < allison.MIN_SECONDS * SAMPLE_RATE_HZ:
        return f"shorter than {allison.MIN_SECONDS:g} s"
    if int(np.abs(samples.astype(np.int32)).max()) < 1000:
        return "almost silent"
    return None


def prepare(source: Path, out: Path) -> Prepared:
    """Write the embedded corpus of `source` into `out`: `audio/<id>.flac` and `split.csv`.

    Audio of an earlier preparation in `out` is replaced; nothing else there (licence, README) is touched.

    Parameters
    ----------
    source : Path
        The `.deb` file or the folder it was unpacked into.
    out : Path
        Folder of the corpus.

    Raises
    ------
    LanewiseError
        The source is not that package or is damaged, PyAV is missing, or `out` has other recordings in audio/.
    """
    clips = _voice_clips(source)
    rows: list[dict[str, str]] = []
    left_out: dict[str, str] = {}
    kept: dict[str, npt.NDArray[np.int16]] = {}
    for name, data in clips.items():
        samples = decode_g722(data, name)
        reason = reason_to_leave_out(name, samples)
        if reason is not None:
            left_out[name] = reason
            continue
        where = allison.place(name)
        clip = allison.clip_id(name)
        kept[clip] = samples
        rows.append(
            {
                "id": clip,
                "split": where.split,
                "family": where.family,
                "seconds": f"{len(samples) / SAMPLE_RATE_HZ:.4f}",
                "sha256": pcm_sha256(samples),
            }
        )
    if not rows:
        raise LanewiseError(f"{source}: none of its {len(clips)} clips is usable speech of at least 1 s")
    rows.sort(key=lambda row: row["id"])
    audio = out / "audio"
    foreign = sorted({path.name for path in audio.glob("*")} - {f"{clip}.flac" for clip in kept})
    if foreign:
        raise LanewiseError(f"{audio}: holds {foreign[0]}, which this package does not make; name a new folder")
    for row in track(rows, "writing clips", len(rows)):
        write_wav(audio / f"{row['id']}.flac", kept[row["id"]] / np.float64(32768.0))
    with (out / "split.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, SPLIT_FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return Prepared(out, rows, left_out)


def pcm_sha256(samples: npt.NDArray[np.int16]) -> str:
    """Hash of the samples as little-endian 16-bit integers: independent of the container and its encoder."""
    return hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()
